//! `idle_timeout`: a connection on which nothing moves is closed, one on which something moves
//! is not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tunneld_lab::process::poll;
use tunneld_lab::target::{EchoServer, TcpServer};

use crate::limited::{HOME, Kind, Limited, each_kind};
use crate::support::{LONG, ending};

const LIMIT: Duration = Duration::from_secs(3);
const KEYS: &str = "idle_timeout = \"3s\"";

/// Far less than the limit, also on a machine that is busy with other things.
const TICK: Duration = Duration::from_millis(50);

/// How long a connection is watched that is not to be closed.
const WATCHED: Duration = Duration::from_secs(6);

#[test]
fn an_idle_connection_comes_to_an_orderly_end_after_the_limit() {
    // An end of file and not a reset, at both ends, and not before its time.
    each_kind(|kind| {
        let echo = EchoServer::start();
        let rig = Limited::new(kind, echo.addr(), KEYS);
        let before = Instant::now();
        let mut client = rig.carried(HOME);
        let end = ending(&mut client);
        assert_eq!(end.unwrap_or_else(|e| panic!("{kind:?}: {e}")), 0);
        let took = before.elapsed();
        assert!(took >= LIMIT, "{kind:?}: {took:?}");
        let closed = poll(LONG, || (echo.open() == 0).then_some(()));
        assert!(closed.is_some(), "{kind:?}: the target's connection stays");
        let forward = rig.forward(|f| f.connections.open == 0);
        assert_eq!(forward.connections.refused, 0, "{kind:?}");
        // The session lives on.
        drop(rig.carried(HOME));
        assert_eq!(rig.daemon.tunnel("t").sessions, 1);
    });
}

/// Sends a byte each moment until the other side is gone, or it was long enough; whether it was.
fn tick(mut stream: TcpStream) -> bool {
    let start = Instant::now();
    while start.elapsed() < WATCHED {
        if stream.write_all(b".").is_err() {
            return false;
        }
        crate::support::pass(TICK);
    }
    true
}

#[test]
fn a_target_that_alone_speaks_keeps_its_connection() {
    // The client says nothing at all for longer than the limit.
    each_kind(|kind| {
        let target = TcpServer::start_anywhere(|stream| {
            tick(stream);
        });
        let rig = Limited::new(kind, target.addr(), KEYS);
        let mut client = rig.client();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        let wanted = WATCHED.as_millis() / TICK.as_millis() / 2;
        assert!(heard.len() as u128 >= wanted, "{kind:?}: {}", heard.len());
    });
}

#[test]
fn a_client_that_alone_speaks_keeps_its_connection() {
    // The target takes everything and never answers.
    each_kind(|kind| {
        let (sender, received) = mpsc::channel();
        let target = TcpServer::start_anywhere(move |mut stream| {
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard);
            let _ = sender.send(heard.len());
        });
        let rig = Limited::new(kind, target.addr(), KEYS);
        let client = rig.client();
        assert!(tick(client.try_clone().unwrap()), "{kind:?}: it was closed");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let heard = received.recv_timeout(LONG).unwrap();
        let wanted = WATCHED.as_millis() / TICK.as_millis() / 2;
        assert!(heard as u128 >= wanted, "{kind:?}: {heard}");
    });
}

#[test]
fn a_reload_gives_new_connections_another_limit() {
    // An open one keeps the limit that it came with, a new one has none.
    let echo = EchoServer::start();
    let rig = Limited::new(Kind::Local, echo.addr(), KEYS);
    let mut early = rig.carried(HOME);
    rig.reload("idle_timeout = \"0s\"");
    let mut late = rig.carried(HOME);
    assert_eq!(ending(&mut early).unwrap(), 0);
    crate::support::exchange(&mut late, b"still here");
}
