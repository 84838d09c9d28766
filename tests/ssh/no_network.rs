//! A machine that has no network yet: no address of its own, no route, nobody to ask for names.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tunneld_core::failure::{Class, Stage};
use tunneld_lab::net::{B, NetLab};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes};

use crate::support::{LONG, Table, daemon, fails, text, up};

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5432);
const NAMED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5433);

#[test]
fn a_start_without_any_network_says_so_and_ends_well_when_the_network_comes() {
    // Not even the loopback is there, and no resolver; the start settles all the same.
    let lab = NetLab::new();
    for device in ["lo", "eth0"] {
        lab.ip("A", &format!("link set {device} down"));
    }
    let sshd = Sshd::builder().listen(B).port(22);
    let sshd = sshd.prefix(&lab.exec_prefix("B")).start();
    let echo = lab.inside("B", || EchoServer::start_on(SocketAddr::new(B, 7)));
    let names = tempfile::tempdir().unwrap();
    let at = |file: &str| names.path().join(file);
    fs::write(at("hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::write(at("nsswitch.conf"), "hosts: files dns\n").unwrap();
    fs::write(at("resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
    let script = "for file in hosts nsswitch.conf resolv.conf; do \
                  mount --bind \"$0/$file\" /etc/$file || exit; done; exec \"$@\"";
    let folder = names.path().to_str().unwrap();
    let netns = lab.name("A");
    let prefix = ["ip", "netns", "exec", &netns, "sh", "-c", script, folder];
    let table = Table::to(&sshd).forward(LISTEN, echo.addr());
    let named = Table::to(&sshd)
        .named("named")
        .set("host", text("b.example"))
        .set("host_key_alias", text(B))
        .forward(NAMED, echo.addr());
    let daemon = daemon()
        .config(&(table.toml() + &named.toml()))
        .prefix(&prefix)
        .notify()
        .start();
    let failure = fails(&daemon, "t", "network is unreachable");
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Connect, Class::Transient)
    );
    let failure = fails(&daemon, "named", "name");
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Resolve, Class::Transient)
    );
    daemon.notify().wait_for("READY=1", LONG);
    // Clients may come, and wait.
    assert_eq!(daemon.tunnel("t").forwards[0].failure, None);

    for device in ["lo", "eth0"] {
        lab.ip("A", &format!("link set {device} up"));
    }
    lab.ip("A", "route add default via 10.99.1.1");
    let hosts = format!("127.0.0.1 localhost\n{B} b.example\n");
    fs::write(at("hosts"), hosts).unwrap();
    for (name, listen) in [("t", LISTEN), ("named", NAMED)] {
        up(&daemon, name);
        lab.inside("A", || echoes(listen)).unwrap();
    }
}
