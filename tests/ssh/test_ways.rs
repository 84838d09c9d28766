//! `tunneld test` over proxies, programs and jump hosts: each step and each failure stands with the host
//! that it is of, and the fix names the key of the file that leads there.

use std::fs;

use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, free_addr};

use crate::program::RELAY;
use crate::relay::{Proxy, socks5_refusing};
use crate::support::{Table, text};
use crate::tested::{ends_with, json, line, marked, names, tested};
use crate::ways::hop;

#[test]
fn a_proxy_is_what_is_looked_up_and_what_the_server_is_reached_over() {
    // Of either kind.
    for scheme in ["socks5", "http"] {
        let (sshd, echo) = (Sshd::start(), EchoServer::start());
        let proxy = match scheme {
            "http" => Proxy::http(sshd.addr()),
            _ => Proxy::socks5(sshd.addr()),
        };
        let at = proxy.server.addr();
        let table = Table::to(&sshd).set("proxy", text(format!("{scheme}://{at}")));
        let said = tested(&table.forward(free_addr(), echo.addr()), 0);
        let resolved = line(&said, "✓", "resolve");
        assert!(resolved.ends_with(&format!("{0}: {0}", at.ip())), "{said}");
        let over = format!("{} over {scheme}://{at}", sshd.addr());
        assert!(line(&said, "✓", "connect").ends_with(&over), "{said}");
    }
}

#[test]
fn a_program_is_what_the_server_is_reached_over() {
    // Nothing is looked up here.
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let table = Table::to(&sshd).set("proxy_command", text(RELAY.0));
    let table = table.forward(free_addr(), echo.addr());
    let said = tested(&table, 0);
    let over = format!("{} over a proxy command", sshd.addr());
    assert!(line(&said, "✓", "connect").ends_with(&over), "{said}");
    let steps = ["connect", "host-key", "key-exchange", "authenticate"];
    assert_eq!(names(&json(&table, 0)["hosts"][0]["steps"], "step"), steps);
}

#[test]
fn a_program_that_leads_nowhere_is_no_connection() {
    // One that ends, and one that says nothing.
    let sshd = Sshd::start();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let table = table.set("connect_timeout", text("1s"));
    for (command, step, cause) in [
        ("echo no route >&2; exit 3", "connect", "status 3: no route"),
        ("sleep 1000", "key exchange", "did not speak SSH within 1s"),
    ] {
        let command = format!("sh -c '{command}'");
        let said = tested(&table.clone().set("proxy_command", text(command)), 3);
        let (failed, fix) = ends_with(&said, step);
        assert!(failed.ends_with(cause), "{said}");
        assert!(fix.contains("`proxy_command`"), "{said}");
        assert!(marked(&said, "✓").is_empty(), "{said}");
    }
}

#[test]
fn a_way_that_ends_early_is_told_with_the_key_that_leads_there() {
    // A proxy and a jump host that are not there, and a server behind each that is not.
    let (sshd, bastion, nobody) = (Sshd::start(), Sshd::start(), free_addr());
    let refusing = socks5_refusing(5);
    let table = |host: std::net::SocketAddr| {
        let table = Table::to(&sshd).set("host", text(host.ip()));
        table
            .set("port", host.port())
            .forward(free_addr(), free_addr())
    };
    let fix = |table: Table, cause: &str| {
        let said = tested(&table, 3);
        let (failed, fix) = ends_with(&said, "connect");
        assert!(failed.ends_with(cause), "{said}");
        fix
    };
    let proxy = |at: std::net::SocketAddr| text(format!("socks5://{at}"));
    let refused = "connection refused";
    let said = fix(table(sshd.addr()).set("proxy", proxy(nobody)), refused);
    assert_eq!(
        said,
        "correct `proxy`, or see that the proxy runs and that no firewall is between"
    );
    let said = fix(table(nobody).set("proxy", proxy(refusing.addr())), refused);
    assert_eq!(
        said,
        "correct `host` and `port`, or see that the server runs and that the proxy reaches it"
    );
    let over = |at: std::net::SocketAddr| format!("[{}]", hop(&bastion, at));
    let said = fix(table(sshd.addr()).set("proxy_jump", over(nobody)), refused);
    assert_eq!(
        said,
        "correct `proxy_jump`, or see that the server runs and that no firewall is between"
    );
    let said = fix(
        table(nobody).set("proxy_jump", over(bastion.addr())),
        refused,
    );
    assert_eq!(
        said,
        "correct `host` and `port`, or see that the server runs and that the jump host reaches it"
    );
}

#[test]
fn a_broken_line_stands_with_the_host_whose_file_has_it() {
    // The server's, and that of the second jump host: the hosts before are not come to.
    let [first, second, sshd] = [Sshd::start(), Sshd::start(), Sshd::start()];
    let table = Table::to(&sshd)
        .over(&[&first, &second])
        .forward(free_addr(), free_addr());
    for broken in [&sshd, &second] {
        let right = fs::read_to_string(broken.known_hosts()).unwrap();
        fs::write(broken.known_hosts(), "broken\n").unwrap();
        let said = tested(&table, 3);
        let (failed, _) = ends_with(&said, "host key");
        let place = format!("{}:1: ", broken.known_hosts().display());
        assert!(failed.contains(&place), "{said}");
        assert_eq!(
            names(&json(&table, 3)["hosts"], "host"),
            [broken.addr().to_string()]
        );
        fs::write(broken.known_hosts(), right).unwrap();
    }
}
