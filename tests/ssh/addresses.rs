//! The host's name: looked up at every attempt, and each of its addresses is tried.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tunneld_core::failure::{Class, Stage};
use tunneld_lab::net::{B, NetLab};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr, free_ip};

use crate::support::{Table, daemon, fails, text, up, with_hosts};

/// A folder with a hosts file, and what names a server in known_hosts.
struct Names {
    hosts: PathBuf,
    known_hosts: PathBuf,
    _dir: TempDir,
}

impl Names {
    fn new(sshd: &Sshd, hosts: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let names = Names {
            hosts: at("hosts"),
            known_hosts: at("known_hosts"),
            _dir: dir,
        };
        names.set(hosts);
        let key = sshd.host_keys()[0].public_line();
        let name = match sshd.port() {
            22 => "bastion.test".to_owned(),
            port => format!("[bastion.test]:{port}"),
        };
        fs::write(&names.known_hosts, format!("{name} {key}\n")).unwrap();
        names
    }

    /// In place: the daemon sees this very file.
    fn set(&self, hosts: &str) {
        fs::write(&self.hosts, hosts).unwrap();
    }

    fn table(&self, sshd: &Sshd) -> Table {
        let known_hosts: &Path = &self.known_hosts;
        Table::to(sshd)
            .set("host", text("bastion.test"))
            .set("known_hosts", text(known_hosts.display()))
    }
}

#[test]
fn a_name_that_does_not_resolve_is_survived_until_it_does() {
    // Nothing is remembered: the name is looked up at every attempt.
    let mut sshd = Sshd::start();
    let (echo, listen) = (EchoServer::start(), free_addr());
    let names = Names::new(&sshd, "127.0.0.1 localhost\n");
    let table = names.table(&sshd).forward(listen, echo.addr());
    let daemon = daemon()
        .config(&table.toml())
        .prefix(&with_hosts(&names.hosts))
        .start();
    let failure = fails(&daemon, "t", "cannot resolve bastion.test: ");
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Resolve, Class::Transient)
    );
    names.set(&format!("{} bastion.test\n", sshd.host()));
    let status = up(&daemon, "t");
    assert_eq!(status.session.unwrap().peer, sshd.addr().to_string());
    echoes(listen).unwrap();
    // And it is looked up again after the session.
    names.set("");
    sshd.restart();
    fails(&daemon, "t", "cannot resolve");
    names.set(&format!("{} bastion.test\n", sshd.host()));
    up(&daemon, "t");
    echoes(listen).unwrap();
}

#[test]
fn an_address_that_refuses_does_not_hide_one_that_answers() {
    // In either order.
    let sshd = Sshd::start();
    let dead = free_ip();
    for order in [
        [dead.to_string(), sshd.host()],
        [sshd.host(), dead.to_string()],
    ] {
        let (echo, listen) = (EchoServer::start(), free_addr());
        let hosts: String = order
            .iter()
            .map(|ip| format!("{ip} bastion.test\n"))
            .collect();
        let names = Names::new(&sshd, &hosts);
        let table = names.table(&sshd).forward(listen, echo.addr());
        let daemon = daemon()
            .config(&table.toml())
            .prefix(&with_hosts(&names.hosts))
            .start();
        let status = up(&daemon, "t");
        assert_eq!(status.session.unwrap().peer, sshd.addr().to_string());
        let log = daemon.log_text();
        assert!(!log.contains("tunnel down"), "{log}");
        echoes(listen).unwrap();
    }
}

#[test]
fn addresses_that_never_answer_do_not_hide_one_that_does() {
    // The next address is tried a quarter of a second later, not after a timeout.
    let lab = NetLab::new();
    let silent = ["10.99.2.77", "10.99.2.78", "10.99.2.79"];
    for ip in silent {
        lab.ip("R", &format!("route add blackhole {ip}/32"));
    }
    let builder = Sshd::builder().listen(B).port(22);
    let sshd = builder.prefix(&lab.exec_prefix("B")).start();
    let mut hosts: String = silent
        .iter()
        .map(|ip| format!("{ip} bastion.test\n"))
        .collect();
    hosts.push_str(&format!("{B} bastion.test\n"));
    let names = Names::new(&sshd, &hosts);
    let table = names.table(&sshd).set("connect_timeout", "\"10s\"");
    let table = table.forward(free_addr(), free_addr());
    let mut prefix = lab.exec_prefix("A");
    prefix.extend(with_hosts(&names.hosts));
    let daemon = daemon().config(&table.toml()).prefix(&prefix).start();
    let status = up(&daemon, "t");
    assert_eq!(status.session.unwrap().peer, sshd.addr().to_string());
    let log = daemon.log_text();
    assert!(!log.contains("tunnel down"), "{log}");
}

#[test]
fn a_server_that_moves_is_found_at_its_new_address() {
    // The old address refuses, the name has a new one: the next attempt goes there.
    let sshd = Sshd::start();
    let dead = free_ip();
    let names = Names::new(&sshd, &format!("{dead} bastion.test\n"));
    let table = names.table(&sshd).forward(free_addr(), free_addr());
    let daemon = daemon()
        .config(&table.toml())
        .prefix(&with_hosts(&names.hosts))
        .start();
    let failure = fails(&daemon, "t", "connection refused");
    assert_eq!(failure.stage, Stage::Connect);
    names.set(&format!("{} bastion.test\n", sshd.host()));
    up(&daemon, "t");
}

#[test]
fn only_the_family_that_is_wanted_is_connected_to() {
    // The name has both; what listens on the other one is never asked.
    let sshd = Sshd::builder().listen("::1".parse().unwrap()).start();
    let trap = TcpListener::bind(("127.0.0.1", sshd.port())).unwrap();
    trap.set_nonblocking(true).unwrap();
    let names = Names::new(&sshd, "127.0.0.1 bastion.test\n::1 bastion.test\n");
    let table = names.table(&sshd).set("address_family", text("inet6"));
    let daemon = daemon()
        .config(&table.forward(free_addr(), free_addr()).toml())
        .prefix(&with_hosts(&names.hosts))
        .start();
    let status = up(&daemon, "t");
    assert_eq!(status.session.unwrap().peer, sshd.addr().to_string());
    let nobody = trap.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_name_without_an_address_of_the_family_that_is_wanted_may_get_one() {
    // The cause says what is missing, the hint which key wants it.
    let sshd = Sshd::builder().listen("::1".parse().unwrap()).start();
    let names = Names::new(&sshd, "127.0.0.1 bastion.test\n");
    let table = names.table(&sshd).set("address_family", text("inet6"));
    let daemon = daemon()
        .config(&table.forward(free_addr(), free_addr()).toml())
        .prefix(&with_hosts(&names.hosts))
        .start();
    let failure = fails(&daemon, "t", "no IPv6 address");
    assert_eq!(
        failure.cause,
        "cannot resolve bastion.test: no IPv6 address"
    );
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Resolve, Class::Transient)
    );
    assert_eq!(failure.hint.unwrap(), "`address_family` is \"inet6\"");
    names.set("::1 bastion.test\n");
    up(&daemon, "t");
}
