//! Clients of dynamic forwards that talk nonsense, or do not talk: none of them does any harm.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tunneld_core::status::Phase;
use tunneld_lab::pattern::pattern;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, connect, free_addr, is_reset, read_some};

use crate::asking::{Both, PROTOCOLS, Protocol, ask};
use crate::files::{files_are_back, idle_files};
use crate::support::{LONG, Table, ending, exchange, pass, refused};

/// How long a client may take to say where to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `trouble` with a daemon, which is none the worse for it: every descriptor is closed again,
/// the session is the same, and clients are served.
fn unharmed(trouble: impl FnOnce(&Both)) {
    let (both, echo) = (Both::new(), EchoServer::start());
    let served = |both: &Both| {
        for listen in [both.near, both.far] {
            exchange(&mut ask(Protocol::Socks5, listen, echo.addr()), b"served");
        }
    };
    served(&both);
    let before = idle_files(&both.daemon);
    trouble(&both);
    served(&both);
    files_are_back(&both.daemon, before);
    let status = both.daemon.tunnel("t");
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
}

/// A client that is closed by the other side, whatever it is told before; within `limit`.
fn is_closed(mut client: TcpStream, limit: Duration) {
    let start = Instant::now();
    if let Err(error) = ending(&mut client) {
        assert!(is_reset(&error), "not closed: {error}");
    }
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}

/// A client that says this.
fn says(listen: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut client = connect(listen);
    // A client that is closed while it still talks has been heard enough.
    let _ = client.write_all(bytes);
    client
}

#[test]
fn what_is_no_request_is_closed_at_once() {
    // TLS, SSH, other methods and commands, and everything that is longer than it may be.
    let long = "n".repeat(9000);
    let many = "X: y\r\n".repeat(100);
    let nonsense: [String; 12] = [
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".to_owned(),
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "CONNECT nowhere HTTP/1.1\r\n\r\n".to_owned(),
        format!("CONNECT {long}:80 HTTP/1.1\r\n\r\n"),
        format!("CONNECT x:80 HTTP/1.1\r\n{many}\r\n"),
        format!("CONNECT x:80 HTTP/1.1\r\nCookie: {long}"),
        format!("\x04\x01\x00\x50\x7f\x00\x00\x01{long}"),
        format!("\x04\x01\x00\x50\x00\x00\x00\x01me\x00{long}"),
        "\x05\x01\x02".to_owned(),
        "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50".to_owned(),
        "\x05\x01\x00\x05\x01\x00\x09\x7f\x00\x00\x01\x00\x50".to_owned(),
    ];
    unharmed(|both| {
        for listen in [both.near, both.far] {
            for bytes in &nonsense {
                is_closed(
                    says(listen, bytes.as_bytes()),
                    PATIENCE - Duration::from_secs(1),
                );
            }
        }
    });
}

#[test]
fn random_bytes_are_closed() {
    // Those that look like the beginning of a request end as one that is not finished.
    unharmed(|both| {
        for listen in [both.near, both.far] {
            for seed in 0..300 {
                let bytes = pattern(20 + (seed as usize * 7) % 3000, seed);
                let client = says(listen, &bytes);
                let _ = client.shutdown(Shutdown::Write);
                is_closed(client, LONG);
            }
        }
    });
}

/// The beginnings of requests.
fn halves() -> Vec<Vec<u8>> {
    let half = |protocol: Protocol| {
        let mut request = protocol.request("127.0.0.1", 80);
        request.truncate(request.len() - 2);
        request
    };
    let mut halves: Vec<_> = PROTOCOLS.into_iter().map(half).collect();
    halves.push(Vec::new());
    halves
}

#[test]
fn clients_that_fall_silent_in_the_middle_are_given_up_and_hold_up_nobody() {
    // Ten seconds for all that a client has to say.
    let echo = EchoServer::start();
    unharmed(|both| {
        let start = Instant::now();
        let silent: Vec<_> = [both.near, both.far]
            .into_iter()
            .flat_map(|listen| {
                (0..10).flat_map(move |_| halves().into_iter().map(move |h| says(listen, &h)))
            })
            .collect();
        for listen in [both.near, both.far] {
            let mut client = ask(Protocol::Http, listen, echo.addr());
            exchange(&mut client, &pattern(100_000, 1));
        }
        assert!(
            start.elapsed() < PATIENCE,
            "served too late to say anything"
        );
        for client in silent {
            is_closed(client, LONG);
        }
        let took = start.elapsed();
        // Behind the deadline comes a moment for the goodbye.
        assert!(took >= PATIENCE && took < PATIENCE * 2, "{took:?}");
        let refused: u64 = both
            .daemon
            .tunnel("t")
            .forwards
            .iter()
            .map(|f| f.connections.refused)
            .sum();
        assert_eq!(refused, 100);
    });
}

#[test]
fn a_client_that_dribbles_has_no_more_time_than_a_silent_one() {
    unharmed(|both| {
        std::thread::scope(|scope| {
            for listen in [both.near, both.far] {
                scope.spawn(move || {
                    let start = Instant::now();
                    let mut client = says(listen, b"CONNECT x:80 HTTP/1.1\r\nX: ");
                    client
                        .set_read_timeout(Some(Duration::from_millis(200)))
                        .unwrap();
                    // Until the other side has closed, or resets what comes afterwards.
                    while !matches!(read_some(&mut client, &mut [0; 64]), Ok(0)) {
                        if client.write_all(b"y").is_err() {
                            break;
                        }
                        pass(Duration::from_millis(100));
                    }
                    let took = start.elapsed();
                    assert!(took >= PATIENCE && took < PATIENCE * 2, "{took:?}");
                });
            }
        });
    });
}

#[test]
fn silent_clients_take_at_most_the_places_that_there_are_and_give_them_back() {
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let table = Table::to(&sshd).dynamic_with(listen, "max_connections = 3");
    let daemon = table.up();
    let silent: Vec<_> = (0..3).map(|_| says(listen, b"\x05")).collect();
    daemon.wait_for("t", LONG, |t| t.forwards[0].connections.open == 3);
    refused(listen);
    let reason = daemon.tunnel("t").forwards[0].last_refusal.clone();
    assert_eq!(reason.unwrap(), "more than 3 connections (max_connections)");
    for client in silent {
        is_closed(client, LONG);
    }
    daemon.wait_for("t", LONG, |t| t.forwards[0].connections.open == 0);
    exchange(&mut ask(Protocol::Socks5, listen, echo.addr()), b"served");
}
