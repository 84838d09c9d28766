//! `listen = "fd:NAME"`: sockets that were made by somebody else, before the daemon ran.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tunneld_core::failure::{Class, Stage};
use tunneld_core::status::Phase;
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::process::{poll, require};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, free_addr, free_low_port, try_connect};

use crate::gateway::reload;
use crate::limited::{AWAY, HOME, try_connect_from};
use crate::places::{Folder, Place};
use crate::support::{LONG, Table, carried, ending, exchange, up};

/// A daemon that is started by the first client of one of these sockets, each with its name.
fn activated(sockets: &[(&str, &Place)]) -> DaemonBuilder {
    require("systemd-socket-activate", "systemd");
    let mut words = vec!["systemd-socket-activate".to_owned()];
    words.extend(["-E", "TUNNELD_LOG=debug"].map(str::to_owned));
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    words.push(format!("--fdname={}", names.join(":")));
    for (_, place) in sockets {
        words.extend(["-l".to_owned(), place.to_string()]);
    }
    crate::support::daemon().prefix(&words)
}

/// Waits until the sockets are there: from then on clients can come.
fn activate(builder: DaemonBuilder, toml: &str, place: &Place) -> Daemon {
    let daemon = builder.config(toml).spawn();
    let there = poll(LONG, || place.try_connect().ok());
    // Closed at once: it is the one that starts the daemon.
    assert!(there.is_some(), "nobody listens on {place}");
    daemon
}

struct Rig {
    sshd: Sshd,
    echo: EchoServer,
}

impl Rig {
    fn new() -> Self {
        Rig {
            sshd: Sshd::start(),
            echo: EchoServer::start(),
        }
    }

    fn table(&self, names: &[&str]) -> Table {
        let forward =
            |table: Table, name: &&str| table.forward(format_args!("fd:{name}"), self.echo.addr());
        names.iter().fold(Table::to(&self.sshd), forward)
    }
}

#[test]
fn a_client_that_came_before_the_daemon_is_served() {
    // It waits in the socket's own queue, without a word to it, until the tunnel is there.
    let rig = Rig::new();
    let place = Place::Tcp(free_addr());
    let builder = activated(&[("web", &place)]);
    let daemon = builder.config(&rig.table(&["web"]).toml()).spawn();
    let mut early = poll(LONG, || place.try_connect().ok()).unwrap();
    exchange(&mut early, b"early");
    up(&daemon, "t");
    place.carries(1_000_000, 1);
    exchange(&mut early, b"still here");
    let status = daemon.tunnel("t");
    assert_eq!(status.forwards[0].listen, "fd:web");
    daemon.wait_for_log("listening on fd:web", LONG);
}

#[test]
fn ports_and_socket_files_are_told_apart_by_their_names() {
    // Two names and two targets; both sockets of one name lead to the same one.
    let (rig, folder, other) = (Rig::new(), Folder::new(), EchoServer::start());
    let web = (Place::Tcp(free_addr()), folder.socket("web.sock"));
    let second = Place::Tcp(free_addr());
    let builder = activated(&[("web", &web.0), ("other", &second), ("web", &web.1)]);
    let table = rig.table(&["web"]).forward("fd:other", other.addr());
    let daemon = activate(builder, &table.toml(), &web.0);
    up(&daemon, "t");
    for (n, place) in (0..).zip([&web.0, &web.1, &second]) {
        place.carries(100_000, n);
    }
    assert_eq!(other.accepted(), 1);
    let status = daemon.tunnel("t");
    let bytes = |at: usize| status.forwards[at].bytes_sent;
    assert_eq!((bytes(0), bytes(1)), (200_000, 100_000));
}

#[test]
fn a_name_that_was_not_passed_degrades_the_tunnel_and_tells_where_names_come_from() {
    // The other forward works, and what was passed is named. Nothing at all was passed: the same.
    let rig = Rig::new();
    let place = Place::Tcp(free_addr());
    let table = rig.table(&["web", "nothing"]);
    let some = activate(activated(&[("web", &place)]), &table.toml(), &place);
    let none = rig.table(&["nothing"]).start();
    for (daemon, at, passed) in [(&some, 1, " (passed: web)"), (&none, 0, "")] {
        let status = daemon.wait_phase("t", Phase::Degraded, LONG);
        let failure = status.failure.unwrap();
        assert_eq!(
            (failure.stage, failure.class),
            (Stage::Forward, Class::Transient)
        );
        assert_eq!(
            failure.cause,
            format!("no socket named nothing was passed by the service manager{passed}")
        );
        let hint = failure.hint.clone().unwrap();
        assert!(hint.contains("FileDescriptorName=nothing"), "{hint}");
        assert_eq!(status.forwards[at].failure.as_ref(), Some(&failure));
    }
    place.carries(10_000, 1);
}

#[test]
fn a_socket_outlives_the_forward_that_listens_on_it() {
    // While the tunnel is stopped, or a reload has taken the forward out, a client waits; it is
    // served when the forward is back. The file of the socket stays for whoever made it.
    let (rig, folder) = (Rig::new(), Folder::new());
    let place = folder.socket("web.sock");
    let with = rig.table(&["web"]).forward(free_addr(), rig.echo.addr());
    let without = Table::to(&rig.sshd).forward(free_addr(), rig.echo.addr());
    let mut daemon = activate(activated(&[("web", &place)]), &with.toml(), &place);
    up(&daemon, "t");
    place.carries(10_000, 1);
    let command = |words: &[&str]| assert!(daemon.cli(words).status.success());

    command(&["stop", "t"]);
    let mut waits = place.connect();
    command(&["start", "t"]);
    exchange(&mut waits, b"stopped");
    drop(waits);

    daemon.write_config(&without.toml());
    command(&["reload"]);
    daemon.wait_for("t", LONG, |t| t.forwards.len() == 1 && t.phase == Phase::Up);
    // Whoever wonders why it waits finds it in the log; before, all was well.
    let unused = "no forward listens on the socket web that the service manager passed";
    daemon.wait_for_log(unused, LONG);
    assert_eq!(daemon.log_text().matches(unused).count(), 1);
    let mut waits = place.connect();
    daemon.write_config(&with.toml());
    command(&["reload"]);
    exchange(&mut waits, b"taken out");

    drop(waits);
    assert!(daemon.terminate(LONG).success());
    assert!(folder.at("web.sock").exists(), "the file is not ours");
}

#[test]
fn a_passed_socket_for_both_families_knows_an_ipv4_client_by_its_address() {
    // systemd's `ListenStream=PORT` takes IPv4 clients as ::ffff:127.0.0.1: what `allow` says of
    // 127.0.0.1 holds for them.
    let rig = Rig::new();
    let port = free_low_port();
    let place = Place::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    let everywhere = Place::Tcp(format!("[::]:{port}").parse().unwrap());
    let table =
        Table::to(&rig.sshd).forward_with("fd:web", rig.echo.addr(), "allow = \"127.0.0.1\"");
    let daemon = activate(activated(&[("web", &everywhere)]), &table.toml(), &place);
    up(&daemon, "t");
    let Place::Tcp(addr) = place else {
        unreachable!()
    };
    let mut client = try_connect_from(HOME, addr).unwrap();
    exchange(&mut client, b"allowed");
    let refused = try_connect_from(AWAY, addr).and_then(|mut client| ending(&mut client));
    assert!(tunneld_lab::target::is_reset(&refused.unwrap_err()));
    let forward = daemon.tunnel("t").forwards[0].clone();
    assert_eq!(
        forward.last_refusal.unwrap(),
        "127.0.0.2 is not allowed here (allow)"
    );
}

#[test]
fn a_program_that_the_daemon_starts_gets_no_socket_and_no_word_of_them() {
    // A proxy command sees none of the LISTEN_ variables, and has its three descriptors only.
    let (rig, folder) = (Rig::new(), Folder::new());
    let place = Place::Tcp(free_addr());
    let said = folder.at("said");
    let script = format!(
        "ls /proc/self/fd >{said}.new; env >>{said}.new; mv {said}.new {said}; exit 1",
        said = said.display()
    );
    let table = rig
        .table(&["web"])
        .set("proxy_command", format!("[\"sh\", \"-c\", \"{script}\"]"));
    let daemon = activate(activated(&[("web", &place)]), &table.toml(), &place);
    let seen = poll(LONG, || fs::read_to_string(&said).ok());
    let seen = seen.unwrap_or_else(|| panic!("it was not started:\n{}", daemon.log_text()));
    // The last one is the folder that `ls` looks at.
    assert!(seen.starts_with("0\n1\n2\n3\n"), "{seen}");
    let first = seen.lines().nth(4).unwrap();
    assert!(first.contains('='), "one more descriptor: {seen}");
    assert!(!seen.contains("LISTEN"), "{seen}");
    daemon.wait_for_log("listening on fd:web", LONG);
}

#[test]
fn a_forward_on_a_port_of_its_own_works_beside_a_passed_one() {
    // Both kinds of listening place in one tunnel; a reload turns one into the other.
    let rig = Rig::new();
    let (place, own) = (Place::Tcp(free_addr()), free_addr());
    let named = |listen: &str| {
        let listen = format!(
            "{{ name = \"web\", listen = \"{listen}\", connect = \"{}\" }}",
            rig.echo.addr()
        );
        Table::to(&rig.sshd).raw("local_forward", listen)
    };
    let daemon = activate(
        activated(&[("web", &place)]),
        &named("fd:web").toml(),
        &place,
    );
    up(&daemon, "t");
    place.carries(10_000, 1);
    let change = |table: Table, listen: &str| {
        reload(&daemon, &table);
        daemon.wait_for("t", LONG, |t| {
            t.phase == Phase::Up && t.forwards[0].listen == listen
        });
    };
    change(named(&own.to_string()), &own.to_string());
    poll(LONG, || try_connect(own).ok()).unwrap();
    drop(carried(own));
    change(named("fd:web"), "fd:web");
    place.carries(10_000, 2);
    assert_eq!(daemon.tunnel("t").sessions, 1);
}
