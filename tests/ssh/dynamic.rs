//! Dynamic forwards, and remote ones that ask, with a client that others have written.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Output};

use tunneld_lab::process::{printed, require};
use tunneld_lab::target::{TcpServer, read_some};

use crate::asking::Both;
use crate::support::LONG;

const PAGE: &str = "it is here\n";

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A web server with one page.
fn site(ip: IpAddr) -> TcpServer {
    TcpServer::start(SocketAddr::new(ip, 0), |mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if !matches!(read_some(&mut stream, &mut byte), Ok(1)) {
                return;
            }
            head.push(byte[0]);
        }
        let length = PAGE.len();
        let _ = write!(
            stream,
            "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{PAGE}"
        );
    })
}

/// curl with this option for this proxy, and nothing from the surroundings of the test.
fn curl(option: &str, proxy: SocketAddr, url: &str) -> Output {
    require("curl", "curl");
    let mut command = Command::new("curl");
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let patience = LONG.as_secs().to_string();
    command.args(["-q", "-sS", "--max-time", &patience]);
    if option == "--proxytunnel" {
        command.arg("--proxy").arg(format!("http://{proxy}"));
        command.arg(option);
    } else {
        command.arg(option).arg(proxy.to_string());
    }
    command.arg(url).output().unwrap()
}

/// The page is fetched through this proxy with each of the options.
fn fetches(proxy: SocketAddr, options: &[&str], host: &str, site: &TcpServer) {
    let url = format!("http://{host}:{}/", site.addr().port());
    for option in options {
        let output = curl(option, proxy, &url);
        assert_eq!(printed(&output), PAGE, "{option} {url}");
    }
    assert_eq!(site.accepted(), options.len() as u64);
}

#[test]
fn curl_fetches_by_a_name_that_only_the_far_end_knows() {
    // SOCKS 5, SOCKS 4a, HTTP CONNECT: in each the name goes over as it is.
    let (both, site) = (Both::new(), site(LOOPBACK));
    let options = ["--socks5-hostname", "--socks4a", "--proxytunnel"];
    fetches(both.near, &options, "far.internal", &site);
}

#[test]
fn curl_fetches_from_the_servers_side_by_a_name_that_only_our_side_knows() {
    let (both, site) = (Both::new(), site(LOOPBACK));
    let options = ["--socks5-hostname", "--socks4a", "--proxytunnel"];
    fetches(both.far, &options, "near.internal", &site);
}

#[test]
fn curl_fetches_by_ipv4_address_in_every_protocol() {
    let options = [
        "--socks5",
        "--socks5-hostname",
        "--socks4",
        "--socks4a",
        "--proxytunnel",
    ];
    let both = Both::new();
    for proxy in [both.near, both.far] {
        fetches(proxy, &options, "127.0.0.1", &site(LOOPBACK));
    }
}

#[test]
fn curl_fetches_by_ipv6_address_in_the_protocols_that_have_them() {
    let options = ["--socks5", "--socks5-hostname", "--proxytunnel"];
    let both = Both::new();
    for proxy in [both.near, both.far] {
        let site = site(Ipv6Addr::LOCALHOST.into());
        fetches(proxy, &options, "[::1]", &site);
    }
}

#[test]
fn a_proxy_request_that_is_not_connect_is_told_so() {
    // `--proxy` alone asks for a plain URL with GET: no tunnel can come of that.
    let (both, site) = (Both::new(), site(LOOPBACK));
    let url = format!("http://{}/", site.addr());
    for proxy in [both.near, both.far] {
        let output = curl("--proxy", proxy, &url);
        assert_eq!(printed(&output), "this is a proxy for CONNECT only\n");
    }
    assert_eq!(site.accepted(), 0);
}
