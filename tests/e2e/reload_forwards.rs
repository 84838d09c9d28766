//! A changed forward is changed on the live session: no tunnel reconnects for it.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::poll;
use tunneld_lab::target::{TcpServer, connect, echoes, free_addr, read_all, try_connect};

use crate::support::{Bed, LONG, Transfer, assert_exit, assert_has, builder, daemon_table};
use crate::support::{stdout, tunnel, tunnel_table, up};

/// A server that says its name and closes.
fn named(name: &'static str) -> TcpServer {
    TcpServer::start_anywhere(move |mut stream| {
        let _ = stream.write_all(name.as_bytes());
    })
}

/// What a server says through a forward.
fn asked(listen: SocketAddr) -> String {
    String::from_utf8(read_all(&mut connect(listen), LONG).unwrap()).unwrap()
}

/// Reloads with this file, and checks that it adjusts `db`.
#[track_caller]
fn adjusted(daemon: &Daemon, text: &str) {
    daemon.write_config(text);
    let output = daemon.reload();
    assert_exit(&output, 0);
    assert_has(
        &stdout(&output),
        &["~ db ", "  adjust: the session stays\n", "local_forward  "],
    );
}

/// Waits until `db` is up with forwards on these places.
fn settled(daemon: &Daemon, places: &[SocketAddr]) {
    let wanted: Vec<String> = places.iter().map(ToString::to_string).collect();
    let db = daemon.wait_for("db", LONG, |t| {
        let listens: Vec<&String> = t.forwards.iter().map(|f| &f.listen).collect();
        t.phase == Phase::Up && listens == wanted.iter().collect::<Vec<_>>()
    });
    assert_eq!(db.sessions, 1);
}

#[test]
fn a_changed_target_takes_new_connections_and_old_ones_go_on() {
    // New connections go to the new target at once; an open one goes on at the old target, over
    // the same session, and may finish within drain_timeout.
    let bed = Bed::new();
    let other = named("the other");
    let daemon_keys = daemon_table("drain_timeout = \"5m\"");
    let daemon = up(builder().config(&(bed.db() + &daemon_keys)));
    let transfer = Transfer::start(bed.listen, 2);
    let moved = tunnel("db", &bed.sshd, &[(bed.listen, other.addr())]);
    adjusted(&daemon, &(moved + &daemon_keys));
    // The change reaches the forward a moment after the command has its answer.
    let new = poll(LONG, || says(bed.listen, "the other").then_some(()));
    assert!(new.is_some(), "no connection came to the new target");
    assert_eq!(asked(bed.listen), "the other");
    transfer.wait_for_more();
    settled(&daemon, &[bed.listen]);
    transfer.finish();
}

/// Whether a server says this name at once.
fn says(listen: SocketAddr, name: &str) -> bool {
    let soon = Duration::from_millis(500);
    let said = try_connect(listen).and_then(|mut stream| read_all(&mut stream, soon));
    said.is_ok_and(|bytes| bytes == name.as_bytes())
}

#[test]
fn a_connection_to_an_old_target_is_cut_after_drain_timeout() {
    // Not before, and with a reset, so that nobody takes it for an orderly end.
    let bed = Bed::new();
    let other = named("the other");
    let daemon_keys = daemon_table("drain_timeout = \"2s\"");
    let daemon = up(builder().config(&(bed.db() + &daemon_keys)));
    let transfer = Transfer::start(bed.listen, 3);
    let moved = tunnel("db", &bed.sshd, &[(bed.listen, other.addr())]);
    let before = Instant::now();
    adjusted(&daemon, &(moved + &daemon_keys));
    let end = transfer.outcome().unwrap_err();
    assert!(
        before.elapsed() >= Duration::from_secs(2),
        "{:?}: {end}",
        before.elapsed()
    );
    assert!(end.contains("reset") || end.contains("pipe"), "{end}");
    assert_eq!(asked(bed.listen), "the other");
    settled(&daemon, &[bed.listen]);
}

#[test]
fn forwards_come_and_go_on_the_live_session() {
    // One is added: it works; it is removed: its place is free, and its open connection finishes.
    let bed = Bed::new();
    let second = free_addr();
    let daemon_keys = daemon_table("drain_timeout = \"5m\"");
    let one = bed.db() + &daemon_keys;
    let pairs = [(bed.listen, bed.echo.addr()), (second, bed.echo.addr())];
    let two = tunnel("db", &bed.sshd, &pairs) + &daemon_keys;
    let daemon = up(builder().config(&one));
    adjusted(&daemon, &two);
    settled(&daemon, &[bed.listen, second]);
    let transfer = Transfer::start(second, 4);
    adjusted(&daemon, &one);
    settled(&daemon, &[bed.listen]);
    let free = poll(LONG, || try_connect(second).is_err().then_some(()));
    assert!(free.is_some(), "{second} still listens");
    transfer.wait_for_more();
    echoes(bed.listen).unwrap();
    transfer.finish();
}

#[test]
fn a_changed_place_is_left_and_the_new_one_taken() {
    // The forward listens on the new address, and no longer on the old one.
    let bed = Bed::new();
    let daemon = bed.up();
    let new = free_addr();
    adjusted(&daemon, &tunnel("db", &bed.sshd, &[(new, bed.echo.addr())]));
    settled(&daemon, &[new]);
    echoes(new).unwrap();
    let left = poll(LONG, || try_connect(bed.listen).is_err().then_some(()));
    assert!(left.is_some(), "{} still listens", bed.listen);
}

/// `db` with one forward of this name.
fn with_name(bed: &Bed, name: &str) -> String {
    let (table, listen, connect) = (tunnel_table("db", &bed.sshd), bed.listen, bed.echo.addr());
    format!(
        "{table}local_forward = [{{ name = \"{name}\", listen = \"{listen}\", connect = \"{connect}\" }}]\n"
    )
}

#[test]
fn a_renamed_forward_keeps_its_place() {
    // The name is another one, the address the same: it serves again, over the same session.
    let bed = Bed::new();
    let daemon = up(builder().config(&with_name(&bed, "old")));
    echoes(bed.listen).unwrap();
    adjusted(&daemon, &with_name(&bed, "new"));
    daemon.wait_for("db", LONG, |t| {
        t.phase == Phase::Up
            && t.forwards[0].name.as_str() == "new"
            && t.forwards[0].failure.is_none()
    });
    echoes(bed.listen).unwrap();
    assert_eq!(daemon.tunnel("db").sessions, 1);
}

#[test]
fn a_place_moves_from_one_tunnel_to_another_in_one_reload() {
    // What `web` had, `db` has now, and the other way round; nothing is left behind.
    let bed = Bed::new();
    let (one, other) = (named("one"), named("other"));
    let second = free_addr();
    let file = |db: SocketAddr, web: SocketAddr| {
        tunnel("db", &bed.sshd, &[(db, one.addr())])
            + &tunnel("web", &bed.sshd, &[(web, other.addr())])
    };
    let daemon = up(builder().config(&file(bed.listen, second)));
    daemon.wait_phase("web", Phase::Up, LONG);
    assert_eq!(
        (asked(bed.listen), asked(second)),
        ("one".to_owned(), "other".to_owned())
    );
    adjusted(&daemon, &file(second, bed.listen));
    settled(&daemon, &[second]);
    daemon.wait_for("web", LONG, |t| {
        t.phase == Phase::Up && t.forwards[0].listen == bed.listen.to_string()
    });
    assert_eq!(
        (asked(bed.listen), asked(second)),
        ("other".to_owned(), "one".to_owned())
    );
    assert_eq!(daemon.tunnel("web").sessions, 1);
}
