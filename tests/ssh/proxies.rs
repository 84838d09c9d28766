//! Through SOCKS 5 and HTTP proxies, good and bad ones.

use std::fs;

use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, Silent, TcpServer, echoes, free_addr};

use crate::relay::{Proxy, saying, socks5_refusing};
use crate::support::{LONG, NEVER, Rig, Table, daemon, fails, text, up};
use crate::ways::{at_hop, logins};

/// What becomes of a tunnel through a proxy: its first failure, without what names the proxy.
fn refused(scheme: &str, proxy: &TcpServer) -> Failure {
    let sshd = Sshd::start();
    let url = format!("{scheme}://{}", proxy.addr());
    let daemon = Table::to(&sshd)
        .set("proxy", text(&url))
        .set("connect_timeout", text("1s"))
        .set("reconnect", NEVER)
        .forward(free_addr(), free_addr())
        .start();
    let mut failure = fails(&daemon, "t", "");
    let name = format!("proxy {url}: ");
    let cause = failure.cause.strip_prefix(&name);
    let cause = cause.unwrap_or_else(|| panic!("{failure:?}"));
    // Each test has servers of its own.
    failure.cause = cause.replace(&sshd.addr().to_string(), "SSHD");
    assert_eq!(failure.stage, Stage::Connect, "{failure:?}");
    assert!(!sshd.log().contains("Connection from"), "{}", sshd.log());
    failure
}

fn transient(scheme: &str, proxy: &TcpServer, cause: &str) {
    let failure = refused(scheme, proxy);
    assert_eq!(
        (failure.cause.as_str(), failure.class),
        (cause, Class::Transient)
    );
}

/// A person has to act, and is told how.
fn needs_a_person(scheme: &str, proxy: &TcpServer, cause: &str, hint: &str) {
    let failure = refused(scheme, proxy);
    assert_eq!(
        (failure.cause.as_str(), failure.class),
        (cause, Class::Blocked)
    );
    let given = failure.hint.unwrap();
    assert!(given.contains(hint), "{given}");
}

#[test]
fn a_tunnel_through_either_kind_of_proxy_carries_and_the_status_says_so() {
    // The server's first words come in one piece with the proxy's answer, and are not lost.
    for scheme in ["socks5", "http"] {
        let sshd = Sshd::start();
        let proxy = match scheme {
            "http" => Proxy::http(sshd.addr()),
            _ => Proxy::socks5(sshd.addr()),
        };
        let url = format!("{scheme}://{}", proxy.server.addr());
        let rig = Rig::with(sshd, |t| t.set("proxy", text(&url)));
        echoes(rig.listen).unwrap();
        assert_eq!(proxy.asked(), [rig.sshd.addr().to_string()]);
        let way = format!("{} over {url}", rig.sshd.addr());
        assert_eq!(rig.status().session.unwrap().peer, way);
    }
}

#[test]
fn the_name_of_the_server_is_resolved_by_the_proxy_and_looked_up_in_known_hosts() {
    // Nobody here knows it.
    let sshd = Sshd::start();
    let key = sshd.host_keys()[0].public_line();
    fs::write(sshd.known_hosts(), format!("[sshd.invalid]:2022 {key}\n")).unwrap();
    for (scheme, proxy) in [
        ("socks5", Proxy::socks5(sshd.addr())),
        ("http", Proxy::http(sshd.addr())),
    ] {
        let (echo, listen) = (EchoServer::start(), free_addr());
        let url = format!("{scheme}://{}", proxy.server.addr());
        let _daemon = Table::to(&sshd)
            .set("host", text("sshd.invalid"))
            .set("port", 2022)
            .set("proxy", text(url))
            .forward(listen, echo.addr())
            .up();
        echoes(listen).unwrap();
        assert_eq!(proxy.asked(), ["sshd.invalid:2022"], "{scheme}");
    }
}

#[test]
fn the_first_jump_host_is_reached_through_the_proxy_and_the_others_over_it() {
    // The proxy is asked for the jump host and for nothing else.
    let bastion = Sshd::start();
    let proxy = Proxy::socks5(bastion.addr());
    let url = format!("socks5://{}", proxy.server.addr());
    let rig = Rig::new(|t| t.over(&[&bastion]).set("proxy", text(&url)));
    echoes(rig.listen).unwrap();
    assert_eq!(proxy.asked(), [bastion.addr().to_string()]);
    let way = format!("{} over {} over {url}", rig.sshd.addr(), bastion.addr());
    assert_eq!(rig.status().session.unwrap().peer, way);
}

#[test]
fn a_proxy_that_refuses_the_way_to_a_jump_host_is_named_with_that_host() {
    // So that it is known whose rules to change.
    let (bastion, sshd) = (Sshd::start(), Sshd::start());
    let proxy = saying(b"HTTP/1.1 403 Forbidden\r\n\r\n");
    let url = format!("http://{}", proxy.addr());
    let daemon = Table::to(&sshd)
        .over(&[&bastion])
        .set("proxy", text(&url))
        .forward(free_addr(), free_addr())
        .start();
    let failure = fails(&daemon, "t", "403");
    let reach = format!("cannot reach {}: 403 Forbidden", bastion.addr());
    let cause = format!("{}proxy {url}: {reach}", at_hop(&bastion));
    assert_eq!((failure.cause, failure.class), (cause, Class::Blocked));
}

#[test]
fn a_forward_of_tunneld_itself_is_a_proxy_of_either_kind_for_another_tunnel() {
    // One tunnel's dynamic forward leads to the servers behind it.
    let (gateway, sshd, echo) = (Sshd::start(), Sshd::start(), EchoServer::start());
    let proxy = free_addr();
    let first = Table::to(&gateway).named("gateway").dynamic(proxy);
    let listens = [free_addr(), free_addr()];
    let behind = |(scheme, listen)| {
        let url = text(format!("{scheme}://{proxy}"));
        let table = Table::to(&sshd).named(scheme).set("proxy", url);
        table.forward(listen, echo.addr()).toml()
    };
    let schemes = ["socks5", "http"];
    let others: String = schemes.into_iter().zip(listens).map(behind).collect();
    let daemon = daemon().config(&(first.toml() + &others)).start();
    for (name, listen) in schemes.into_iter().zip(listens) {
        up(&daemon, name);
        echoes(listen).unwrap();
    }
    logins(&gateway, 1);
    logins(&sshd, 2);
    let carried = &daemon.tunnel("gateway").forwards[0].connections;
    assert_eq!(carried.open, 2);
}

#[test]
fn an_http_proxy_that_forbids_it_or_wants_a_password_needs_a_person() {
    // Waiting does not change its rules.
    let cases = [
        ("403 Forbidden", "the proxy must allow connections"),
        (
            "407 Proxy Authentication Required",
            "tunneld logs in to no proxy",
        ),
    ];
    for (status, hint) in cases {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nno\n");
        let cause = format!("cannot reach SSHD: {status}");
        needs_a_person("http", &saying(head.as_bytes()), &cause, hint);
    }
}

#[test]
fn an_http_proxy_that_cannot_reach_the_server_is_asked_again() {
    // With its own words in the cause.
    let proxy = saying(b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>");
    transient("http", &proxy, "cannot reach SSHD: 502 Bad Gateway");
}

#[test]
fn a_socks_proxy_that_forbids_it_or_wants_a_password_needs_a_person() {
    // Code 2 of RFC 1928 section 6, and no method that is acceptable.
    let cause = "cannot reach SSHD: not allowed by the proxy's rules";
    let hint = "the proxy must allow connections";
    needs_a_person("socks5", &socks5_refusing(2), cause, hint);
    let proxy = saying(&[5, 0xff]);
    let hint = "tunneld logs in to no proxy";
    needs_a_person("socks5", &proxy, "wants a password", hint);
}

#[test]
fn a_socks_proxy_that_cannot_reach_the_server_is_asked_again() {
    // Codes 5 and 1 of RFC 1928 section 6.
    let cause = "cannot reach SSHD: connection refused";
    transient("socks5", &socks5_refusing(5), cause);
    let cause = "cannot reach SSHD: general failure";
    transient("socks5", &socks5_refusing(1), cause);
}

#[test]
fn what_is_no_proxy_is_told_as_such() {
    // An SSH server, a server of the other kind, noise.
    for words in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], &[0x15, 3, 1, 0, 2, 2, 70]] {
        transient("http", &saying(words), "does not speak HTTP");
        transient("socks5", &saying(words), "does not speak SOCKS 5");
    }
    let http = saying(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    transient("socks5", &http, "does not speak SOCKS 5");
    transient("http", &saying(&[5, 0xff]), "does not speak HTTP");
}

#[test]
fn a_proxy_that_closes_refuses_or_says_nothing_is_told_as_such() {
    // The silent one after connect_timeout.
    for scheme in ["http", "socks5"] {
        let closes = TcpServer::start_anywhere(drop);
        let failure = refused(scheme, &closes);
        let either = ["closed the connection", "connection reset by peer"];
        assert!(either.contains(&failure.cause.as_str()), "{failure:?}");
        let silent = Silent::start();
        transient(scheme, &silent, "connection timed out after 1s");
    }
}

#[test]
fn a_proxy_that_is_not_there_is_waited_for() {
    // It comes up by itself once the proxy does.
    let (sshd, addr) = (Sshd::start(), free_addr());
    let url = format!("http://{addr}");
    let table = Table::to(&sshd).set("proxy", text(&url));
    let daemon = table.forward(free_addr(), free_addr()).start();
    let failure = fails(&daemon, "t", "connection refused");
    assert_eq!(failure.cause, format!("proxy {url}: connection refused"));
    let _proxy = Proxy::http_on(addr, sshd.addr());
    daemon.wait_phase("t", tunneld_core::status::Phase::Up, LONG);
}

#[test]
fn an_answer_without_an_end_is_given_up() {
    // Bounded in size, long before it is in time.
    let endless = TcpServer::start_anywhere(|mut stream| {
        use std::io::Write;
        let line = format!("X-Padding: {}\r\n", "x".repeat(1000));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(line.as_bytes()).is_ok() {}
    });
    let cause = "the answer is longer than 8192 bytes";
    transient("http", &endless, cause);
}
