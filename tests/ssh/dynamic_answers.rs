//! What the clients of dynamic forwards are told, and what becomes of the bytes behind a request.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::pattern::pattern;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{AfterEof, EchoServer, connect, free_addr, is_reset, read_some};

use crate::asking::{BY_NAME, Both, PROTOCOLS, Protocol, ask, told};
use crate::support::{LONG, Table, ending, exchange};

/// The words of the last refusal of the forward that listens here.
fn last_refusal(both: &Both, listen: SocketAddr) -> String {
    let status = both.daemon.tunnel("t");
    let mut forwards = status.forwards.into_iter();
    let forward = forwards.find(|f| f.listen == listen.to_string());
    forward.unwrap().last_refusal.unwrap_or_default()
}

#[test]
fn what_a_client_sends_behind_its_request_arrives_first_and_once() {
    // In every protocol, on either side, however much it is.
    let (both, after) = (Both::new(), AfterEof::start());
    for listen in [both.near, both.far] {
        for (n, protocol) in PROTOCOLS.into_iter().enumerate() {
            for early in [1, 700, 300_000] {
                let bytes = pattern(early + 10, n as u64);
                let (ip, port) = (after.addr().ip().to_string(), after.addr().port());
                let request = protocol.request(&ip, port);
                let mut client = connect(listen);
                client.set_read_timeout(Some(LONG)).unwrap();
                client
                    .write_all(&[&request, &bytes[..early]].concat())
                    .unwrap();
                assert_eq!(protocol.answer(&mut client), protocol.granted());
                client.write_all(&bytes[early..]).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                let mut back = Vec::new();
                client.read_to_end(&mut back).unwrap();
                assert!(back == bytes, "{protocol:?} at {listen}, {early} bytes");
            }
        }
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_understood() {
    let (both, echo) = (Both::new(), EchoServer::start());
    for listen in [both.near, both.far] {
        for protocol in PROTOCOLS {
            let (ip, port) = (echo.addr().ip().to_string(), echo.addr().port());
            let mut client = connect(listen);
            for byte in protocol.request(&ip, port) {
                client.write_all(&[byte]).unwrap();
            }
            assert_eq!(protocol.answer(&mut client), protocol.granted());
            exchange(&mut client, b"there");
        }
    }
}

/// What each protocol says for one and the same refusal.
fn codes(socks5: u16, http: u16) -> impl Fn(Protocol) -> u16 {
    move |protocol| match protocol {
        Protocol::Socks4 | Protocol::Socks4a => 0x5b,
        Protocol::Socks5 => socks5,
        Protocol::Http => http,
    }
}

#[test]
fn a_port_that_nobody_listens_on_is_connection_refused() {
    let (both, dead) = (Both::new(), free_addr());
    let code = codes(5, 502);
    for listen in [both.near, both.far] {
        for protocol in PROTOCOLS {
            let said = told(protocol, listen, &dead.ip().to_string(), dead.port());
            assert_eq!(said, code(protocol), "{protocol:?} at {listen}");
        }
        let reason = last_refusal(&both, listen);
        assert!(reason.ends_with("connection refused"), "{reason}");
    }
}

#[test]
fn a_name_that_nobody_knows_is_host_unreachable() {
    let both = Both::new();
    let code = codes(4, 502);
    // Each name is known, but at the other side.
    for (listen, name) in [(both.near, "near.internal"), (both.far, "far.internal")] {
        for protocol in BY_NAME {
            let said = told(protocol, listen, name, 80);
            assert_eq!(said, code(protocol), "{protocol:?} at {listen}");
        }
        let reason = last_refusal(&both, listen);
        assert!(reason.contains(name), "{reason}");
    }
}

#[test]
fn each_of_many_clients_at_once_is_told_its_own_refusal() {
    // Connections that are made, that are refused and that go the other way come in between.
    let (both, dead, echo) = (Both::new(), free_addr(), EchoServer::start());
    let (ip, port) = (dead.ip().to_string(), dead.port());
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| assert_eq!(told(Protocol::Socks5, both.near, &ip, port), 5));
            scope.spawn(|| {
                let said = told(Protocol::Socks5, both.near, "near.internal", 80);
                assert_eq!(said, 4);
            });
            scope.spawn(|| exchange(&mut ask(Protocol::Socks5, both.near, echo.addr()), b"one"));
            scope.spawn(|| exchange(&mut ask(Protocol::Http, both.far, echo.addr()), b"two"));
        }
    });
}

#[test]
fn a_target_that_the_server_does_not_permit_is_not_allowed() {
    let echo = EchoServer::start();
    let both = Both::with(&format!("PermitOpen {}", echo.addr()), "");
    let code = codes(2, 403);
    for protocol in PROTOCOLS {
        let said = told(protocol, both.near, "127.0.0.1", 80);
        assert_eq!(said, code(protocol), "{protocol:?}");
        exchange(&mut ask(protocol, both.near, echo.addr()), b"allowed");
    }
    let reason = last_refusal(&both, both.near);
    assert!(reason.contains("administratively prohibited"), "{reason}");
}

#[test]
fn a_tunnel_that_is_down_is_told_as_what_it_is() {
    // With `while_down = "refuse"`: at once, in the client's own words.
    let mut both = Both::with("", "while_down = \"refuse\"");
    both.sshd.kill9();
    both.daemon.wait_for("t", LONG, |t| t.phase != Phase::Up);
    let code = codes(1, 503);
    for protocol in PROTOCOLS {
        let said = told(protocol, both.near, "127.0.0.1", 80);
        assert_eq!(said, code(protocol), "{protocol:?}");
    }
    assert_eq!(last_refusal(&both, both.near), "the tunnel is down");
}

#[test]
fn a_client_that_asks_during_an_outage_is_answered_by_the_next_session() {
    let echo = EchoServer::start();
    let mut both = Both::with("", "wait_timeout = \"60s\"");
    both.sshd.kill9();
    both.daemon.wait_for("t", LONG, |t| t.phase != Phase::Up);
    let mut client = connect(both.near);
    client.set_read_timeout(Some(LONG)).unwrap();
    let (ip, port) = (echo.addr().ip().to_string(), echo.addr().port());
    let request = Protocol::Socks5.request(&ip, port);
    client.write_all(&request).unwrap();
    // It is held: there is a forward that waits with it.
    let waits = |t: &TunnelStatus| t.forwards.iter().any(|f| f.connections.open == 1);
    both.daemon.wait_for("t", LONG, waits);
    both.sshd.restart();
    assert_eq!(Protocol::Socks5.answer(&mut client), 0);
    exchange(&mut client, b"carried");
}

#[test]
fn a_server_that_is_killed_resets_the_client_it_was_asked_for() {
    let (mut sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let _daemon = Table::to(&sshd).dynamic(listen).up();
    let mut client = ask(Protocol::Socks5, listen, echo.addr());
    exchange(&mut client, b"half an answer");
    sshd.kill9();
    let error = ending(&mut client).unwrap_err();
    assert!(is_reset(&error), "{error}");
}

#[test]
fn a_client_that_goes_while_it_asks_leaves_nothing_behind() {
    // Neither a connection nor a channel: the next ones are served by the same session.
    let (both, echo) = (Both::new(), EchoServer::start());
    let (ip, port) = (echo.addr().ip().to_string(), echo.addr().port());
    for listen in [both.near, both.far] {
        for protocol in PROTOCOLS {
            let request = protocol.request(&ip, port);
            for part in [0, 1, request.len() / 2, request.len()] {
                connect(listen).write_all(&request[..part]).unwrap();
            }
        }
    }
    let gone = |t: &TunnelStatus| t.forwards.iter().all(|f| f.connections.open == 0);
    let status = both.daemon.wait_for("t", LONG, gone);
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
    for listen in [both.near, both.far] {
        let mut client = ask(Protocol::Http, listen, echo.addr());
        exchange(&mut client, b"served");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_some(&mut client, &mut [0]).unwrap(), 0);
    }
}
