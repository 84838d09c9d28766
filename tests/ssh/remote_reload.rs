//! Remote forwards that the file or a person changes, on the live session.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::poll;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr, is_reset, try_connect};

use crate::gateway::{command, gateway, named, reload, who};
use crate::support::{LONG, Table, carried, daemon, ending, exchange, up};

/// A daemon with a local forward that has a client, and one remote forward.
struct Bed {
    daemon: Daemon,
    table: Table,
    listen: SocketAddr,
    held: TcpStream,
    echo: EchoServer,
    sshd: Sshd,
}

impl Bed {
    fn new() -> Self {
        let (sshd, echo) = (gateway(), EchoServer::start());
        let (local, listen) = (free_addr(), free_addr());
        let table = Table::to(&sshd).forward(local, echo.addr());
        let daemon = table.clone().remote(listen, echo.addr()).up();
        Bed {
            held: carried(local),
            daemon,
            table,
            listen,
            echo,
            sshd,
        }
    }

    /// Reloads with this remote forward, if any, until it is in force; nothing else is touched.
    fn change(&mut self, remote: Option<(SocketAddr, SocketAddr)>) {
        let table = self.table.clone();
        let table = match remote {
            Some((listen, connect)) => table.remote(listen, connect),
            None => table,
        };
        reload(&self.daemon, &table);
        let wanted = remote.map(|(listen, connect)| (listen.to_string(), connect.to_string()));
        self.daemon.wait_for("t", LONG, |t| {
            let forward = t.forwards.get(1);
            t.phase == Phase::Up && forward.map(|f| (f.listen.clone(), f.connect.clone())) == wanted
        });
        exchange(&mut self.held, b"untouched");
        assert_eq!(self.daemon.tunnel("t").sessions, 1);
    }
}

/// Nobody listens at an address, soon.
fn freed(listen: SocketAddr) {
    let free = poll(LONG, || TcpListener::bind(listen).ok());
    assert!(free.is_some(), "{listen} is still taken");
}

/// Nobody listens at an address, now.
fn free(listen: SocketAddr) {
    let refused = try_connect(listen).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_reload_adds_a_remote_forward_on_the_live_session() {
    let mut bed = Bed::new();
    bed.change(None);
    bed.change(Some((bed.listen, bed.echo.addr())));
    echoes(bed.listen).unwrap();
}

#[test]
fn a_reload_removes_a_remote_forward_and_frees_its_port_on_the_live_session() {
    let mut bed = Bed::new();
    bed.change(None);
    freed(bed.listen);
}

#[test]
fn a_reload_moves_a_remote_forward_to_another_port_and_frees_the_old_one() {
    let mut bed = Bed::new();
    let new = free_addr();
    bed.change(Some((new, bed.echo.addr())));
    echoes(new).unwrap();
    freed(bed.listen);
}

#[test]
fn a_reload_changes_the_target_of_a_remote_forward_for_new_clients() {
    // One that is carried goes on with the old target.
    let mut bed = Bed::new();
    let other = named("other");
    let mut old = carried(bed.listen);
    bed.change(Some((bed.listen, other.addr())));
    let moved = poll(LONG, || (who(bed.listen) == "other").then_some(()));
    assert!(moved.is_some(), "no client came to the new target");
    exchange(&mut old, b"still the old one");
}

#[test]
fn a_connection_of_a_removed_remote_forward_may_finish() {
    // Within drain_timeout; after it, it is cut.
    let mut bed = Bed::new();
    let daemon = "\n[daemon]\ncontrol_socket = \"{socket}\"\ndrain_timeout = \"8s\"\n";
    let file = |table: &Table| format!("{}{daemon}", table.toml());
    bed.daemon.write_config(&file(
        &bed.table.clone().remote(bed.listen, bed.echo.addr()),
    ));
    command(&bed.daemon, &["reload"]);
    let mut client = carried(bed.listen);
    bed.daemon.write_config(&file(&bed.table));
    command(&bed.daemon, &["reload"]);
    freed(bed.listen);
    exchange(&mut client, b"it goes on");
    exchange(&mut bed.held, b"untouched");
    let ended = ending(&mut client);
    assert!(ended.as_ref().is_ok_and(|n| *n == 0) || ended.is_err_and(|e| is_reset(&e)));
    exchange(&mut bed.held, b"untouched");
}

#[test]
fn stop_frees_the_port_at_the_server_and_start_takes_it_again() {
    // By the time that the command returns; it is never found held.
    let bed = Bed::new();
    for _ in 0..3 {
        command(&bed.daemon, &["stop", "t"]);
        free(bed.listen);
        command(&bed.daemon, &["start", "t"]);
        up(&bed.daemon, "t");
        echoes(bed.listen).unwrap();
    }
    assert!(!bed.daemon.log_text().contains("held"));
}

#[test]
fn a_frozen_server_does_not_hold_up_stop() {
    // It is asked to let go of the port, and not waited for beyond a moment.
    let bed = Bed::new();
    drop(bed.held);
    let idle = |t: &TunnelStatus| t.forwards.iter().all(|f| f.connections.open == 0);
    bed.daemon.wait_for("t", LONG, idle);
    bed.sshd.freeze();
    let start = Instant::now();
    command(&bed.daemon, &["stop", "t"]);
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    bed.sshd.thaw();
    command(&bed.daemon, &["start", "t"]);
    up(&bed.daemon, "t");
    echoes(bed.listen).unwrap();
}

#[test]
fn a_daemon_that_ends_frees_the_port_and_the_next_one_has_it_at_once() {
    let mut bed = Bed::new();
    for _ in 0..3 {
        bed.daemon.terminate(LONG);
        free(bed.listen);
        bed.daemon.start_again();
        up(&bed.daemon, "t");
        echoes(bed.listen).unwrap();
    }
    assert!(!bed.daemon.log_text().contains("held"));
}

#[test]
fn a_session_that_is_replaced_hands_its_port_over() {
    // The new session is made first, and the port is let go for it. A client of before may finish.
    let mut bed = Bed::new();
    let mut old = carried(bed.listen);
    for sessions in 2..=4 {
        command(&bed.daemon, &["restart", "t"]);
        let replaced = |t: &TunnelStatus| t.sessions == sessions && t.phase == Phase::Up;
        bed.daemon.wait_for("t", LONG, replaced);
        // Whoever comes in the moment between the two finds nobody.
        let served = poll(LONG, || echoes(bed.listen).ok());
        assert!(served.is_some(), "nobody listens on {}", bed.listen);
    }
    exchange(&mut old, b"the first session still carries it");
    exchange(&mut bed.held, b"and this one");
    assert!(!bed.daemon.log_text().contains("held"));
}

#[test]
fn a_port_moves_from_one_tunnel_to_another_in_one_reload() {
    // The server has freed it before the other one asks, or it is asked again at once.
    let (sshd, one, other) = (gateway(), named("one"), named("other"));
    let (first, second) = (free_addr(), free_addr());
    let file = |a: SocketAddr, b: SocketAddr| {
        Table::to(&sshd).named("a").remote(a, one.addr()).toml()
            + &Table::to(&sshd).named("b").remote(b, other.addr()).toml()
    };
    let daemon = daemon().config(&file(first, second)).start();
    for name in ["a", "b"] {
        up(&daemon, name);
    }
    assert_eq!((who(first), who(second)), ("one".into(), "other".into()));
    daemon.write_config(&file(second, first));
    command(&daemon, &["reload"]);
    let swapped = || (who(first), who(second)) == ("other".into(), "one".into());
    let soon = poll(Duration::from_secs(20), || swapped().then_some(()));
    assert!(soon.is_some(), "{} {}", who(first), who(second));
    for name in ["a", "b"] {
        assert_eq!(up(&daemon, name).sessions, 1);
    }
}
