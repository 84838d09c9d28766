//! `allow` and `max_connections`, on each kind of forward.

use std::net::{Ipv4Addr, SocketAddr};

use tunneld_core::status::Phase;
use tunneld_lab::process::poll;
use tunneld_lab::target::{EchoServer, free_low_port};

use crate::limited::{AWAY, HOME, Kind, Limited, each_kind};
use crate::support::{LONG, exchange};

#[test]
fn a_listener_on_every_address_lets_in_only_what_allow_says() {
    // 0.0.0.0 is reached by everybody: one network is served, others are reset, counted and told.
    let echo = EchoServer::start();
    let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), free_low_port());
    let allow = "allow = [\"127.0.0.0/31\", \"2001:db8::/32\"]";
    let rig = Limited::at(Kind::Local, everywhere, echo.addr(), allow);
    drop(rig.carried(HOME));
    rig.refuses(AWAY);
    drop(rig.carried(HOME));
    let forward = rig.forward(|f| f.connections.refused == 1);
    let why = forward.last_refusal.unwrap();
    assert_eq!(why, "127.0.0.2 is not allowed here (allow)");
    assert_eq!(forward.connections.total, 2);
    let line = rig.daemon.wait_for_log("connection refused", LONG);
    assert!(
        line.contains(&why) && line.contains("peer=127.0.0.2:"),
        "{line}"
    );
}

#[test]
fn allow_holds_on_each_kind_of_forward() {
    // At the server's side too, where the server says who comes.
    each_kind(|kind| {
        let echo = EchoServer::start();
        let rig = Limited::new(kind, echo.addr(), "allow = [\"127.0.0.2\"]");
        drop(rig.carried(AWAY));
        rig.refuses(HOME);
        let forward = rig.forward(|f| f.connections.refused == 1 && f.connections.open == 0);
        let why = forward.last_refusal.unwrap();
        assert_eq!(why, "127.0.0.1 is not allowed here (allow)", "{kind:?}");
        assert_eq!(forward.connections.total, 1, "{kind:?}");
        assert_eq!(echo.accepted(), 1, "{kind:?}");
        assert_eq!(rig.daemon.tunnel("t").phase, Phase::Up);
    });
}

#[test]
fn a_reload_changes_allow_for_new_clients_and_keeps_the_others() {
    // Who is connected stays so, whatever the file says now.
    each_kind(|kind| {
        let echo = EchoServer::start();
        let rig = Limited::new(kind, echo.addr(), "allow = \"127.0.0.1\"");
        let mut early = rig.carried(HOME);
        rig.refuses(AWAY);
        rig.reload("allow = \"127.0.0.2\"");
        let served = poll(LONG, || rig.try_client(AWAY).ok());
        assert!(served.is_some(), "{kind:?}");
        drop(rig.carried(AWAY));
        rig.refuses(HOME);
        exchange(&mut early, b"still here");
        rig.reload("");
        let free = poll(LONG, || rig.try_client(HOME).ok());
        assert!(free.is_some(), "{kind:?}");
        drop((rig.carried(HOME), rig.carried(AWAY)));
        exchange(&mut early, b"still here");
        assert_eq!(rig.daemon.tunnel("t").sessions, 1);
    });
}

#[test]
fn max_connections_refuses_one_more_and_lets_the_next_in_when_one_has_gone() {
    // Counted and told; those that are carried do not notice.
    each_kind(|kind| {
        let echo = EchoServer::start();
        let rig = Limited::new(kind, echo.addr(), "max_connections = 2");
        let (one, mut two) = (rig.carried(HOME), rig.carried(HOME));
        rig.refuses(HOME);
        let forward = rig.forward(|f| f.connections.refused == 1);
        let why = forward.last_refusal.unwrap();
        assert_eq!(why, "more than 2 connections (max_connections)", "{kind:?}");
        assert_eq!(
            (forward.connections.open, forward.connections.total),
            (2, 2)
        );
        exchange(&mut two, b"carried");
        drop(one);
        rig.forward(|f| f.connections.open == 1);
        let mut three = rig.carried(HOME);
        rig.refuses(HOME);
        // A reload makes room at once.
        rig.reload("max_connections = 3");
        let four = poll(LONG, || {
            let mut client = rig.try_client(HOME).ok()?;
            let answered = std::io::Write::write_all(&mut client, b"y").is_ok()
                && std::io::Read::read_exact(&mut client, &mut [0]).is_ok();
            answered.then_some(client)
        });
        assert!(four.is_some(), "{kind:?}");
        exchange(&mut two, b"carried");
        exchange(&mut three, b"carried");
    });
}
