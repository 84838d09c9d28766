//! Clients that read slowly, or not at all.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, sockopt};
use tunneld_core::status::Phase;
use tunneld_lab::pattern::{Digest, Pattern};
use tunneld_lab::target::{Source, connect, echoes, free_addr, is_reset, read_some};

use crate::support::{LONG, Rig, ending, pass};

/// A client whose kernel takes little on its behalf: what it does not read soon waits upstream.
fn small_client(addr: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 64 << 10).unwrap();
    rustix::net::connect(&socket, &addr).unwrap();
    let client = TcpStream::from(socket);
    client.set_read_timeout(Some(LONG)).unwrap();
    client
}

#[test]
fn a_reader_that_is_slower_than_the_sender_loses_nothing_and_is_not_reset() {
    // It moves, if slowly, and for longer than stall_timeout: that is not a stall.
    const LEN: u64 = 12 << 20;
    let source = Source::start(LEN, 9);
    let listen = free_addr();
    let rig = Rig::new(|t| {
        t.set("stall_timeout", "\"2s\"")
            .forward(listen, source.addr())
    });
    let mut client = small_client(listen);
    let (mut digest, mut buffer) = (Digest::default(), vec![0; 64 << 10]);
    let start = Instant::now();
    loop {
        // 64 KiB each 20 ms for the first half, so that the sender is far ahead.
        if start.elapsed() < Duration::from_secs(4) {
            pass(Duration::from_millis(20));
        }
        match read_some(&mut client, &mut buffer).unwrap() {
            0 => break,
            n => digest.update(&buffer[..n]),
        }
    }
    assert_eq!(digest.finish(), Digest::of(Pattern::new(LEN, 9)));
    assert!(start.elapsed() >= Duration::from_secs(4), "it was not slow");
    let log = rig.daemon.log_text();
    assert!(!log.contains("stall_timeout"), "{log}");
    assert_eq!(rig.status().sessions, 1);
}

#[test]
fn a_reader_that_stops_is_reset_after_stall_timeout_and_others_are_served_then() {
    // It holds the session up until then, and not longer; the session lives on.
    let source = Source::start(1 << 40, 9);
    let listen = free_addr();
    let rig = Rig::new(|t| {
        t.set("stall_timeout", "\"2s\"")
            .forward(listen, source.addr())
    });
    let mut client = small_client(listen);
    let start = Instant::now();
    let line = rig.daemon.wait_for_log("(stall_timeout)", LONG);
    assert!(line.contains("took nothing for 2s"), "{line}");
    assert!(
        start.elapsed() >= Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
    // What was on its way may still be read; the end is a reset.
    let error = ending(&mut client).unwrap_err();
    assert!(is_reset(&error), "{error}");
    echoes(rig.listen).unwrap();
    let status = rig.status();
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
}

#[test]
fn a_client_that_neither_reads_nor_has_anything_to_read_is_left_alone() {
    // Idle is not stalled: stall_timeout is about a full backlog only.
    let rig = Rig::new(|t| t.set("stall_timeout", "\"500ms\""));
    let mut client = crate::support::carried(rig.listen);
    pass(Duration::from_secs(2));
    crate::support::exchange(&mut client, b"still here");
}

#[test]
fn a_client_that_stops_and_goes_on_in_time_loses_nothing() {
    // Held back for a while, then read to the end: every byte is there, in its order.
    const LEN: u64 = 16 << 20;
    let source = Source::start(LEN, 4);
    let listen = free_addr();
    let _rig = Rig::new(|t| {
        t.set("stall_timeout", "\"30s\"")
            .forward(listen, source.addr())
    });
    let client = connect(listen);
    client.set_read_timeout(Some(LONG)).unwrap();
    pass(Duration::from_secs(2));
    assert_eq!(Digest::of(client), Digest::of(Pattern::new(LEN, 4)));
}
