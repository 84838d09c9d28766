//! One connection through a local forward: every byte, both ends, and resets.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};

use tunneld_core::status::TunnelStatus;
use tunneld_lab::pattern::{Digest, Pattern, pattern};
use tunneld_lab::process::poll;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{
    AfterEof, Resetter, TcpServer, connect, free_addr, half_close_exchange, is_reset, reset,
};

use crate::support::{LONG, Rig, Table, carried, ending};

#[test]
fn a_client_that_closes_its_side_gets_every_byte_of_the_answer() {
    // The target speaks only after the end of file, and with all that it got.
    let sshd = Sshd::start();
    let (after, listen) = (AfterEof::start(), free_addr());
    let _daemon = Table::to(&sshd).forward(listen, after.addr()).up();
    for (n, len) in [0, 1, 4095, 32768, 32769, 3_000_001]
        .into_iter()
        .enumerate()
    {
        let bytes = pattern(len, n as u64);
        assert!(
            half_close_exchange(listen, &bytes).unwrap() == bytes,
            "{len} bytes"
        );
    }
    let closed = poll(LONG, || (after.open() == 0).then_some(()));
    assert!(closed.is_some(), "finished connections stay open");
}

#[test]
fn a_target_that_closes_its_side_gets_every_byte_that_the_client_still_sends() {
    // The other direction of half-close: an end of file from the target does not end the upload.
    const LEN: u64 = 3_000_001;
    let (sender, received) = mpsc::channel();
    let target = TcpServer::start_anywhere(move |mut stream| {
        stream.write_all(b"that is all").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = sender.send(Digest::of(stream));
    });
    let sshd = Sshd::start();
    let listen = free_addr();
    let _daemon = Table::to(&sshd).forward(listen, target.addr()).up();
    let mut client = connect(listen);
    let mut said = String::new();
    client.set_read_timeout(Some(LONG)).unwrap();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "that is all");
    std::io::copy(&mut Pattern::new(LEN, 5), &mut client).unwrap();
    drop(client);
    let got = received.recv_timeout(LONG).unwrap();
    assert_eq!(got, Digest::of(Pattern::new(LEN, 5)));
}

#[test]
fn bytes_both_ways_at_once_are_not_mixed_up() {
    // Eight connections of one session, each with its own bytes, up and down at the same time.
    let rig = Rig::new(|t| t);
    let listen = rig.listen;
    std::thread::scope(|scope| {
        for n in 0..8 {
            scope.spawn(move || {
                let bytes = pattern(1_500_000, n);
                assert!(half_close_exchange(listen, &bytes).unwrap() == bytes);
            });
        }
    });
    let done = |t: &TunnelStatus| t.forwards[0].connections.open == 0;
    let status = rig.daemon.wait_for("t", LONG, done);
    let forward = &status.forwards[0];
    let all = 8 * 1_500_000;
    assert_eq!((forward.bytes_sent, forward.bytes_received), (all, all));
    assert_eq!((forward.connections.total, status.sessions), (8, 1));
}

#[test]
fn a_client_that_resets_ends_the_connection_to_the_target() {
    // Nothing is left behind at the far side, idle or in the middle of a transfer.
    let rig = Rig::new(|t| t);
    let idle = carried(rig.listen);
    let mut busy = carried(rig.listen);
    busy.write_all(&[7; 300_000]).unwrap();
    assert_eq!(rig.echo.open(), 2);
    reset(idle);
    reset(busy);
    let closed = poll(LONG, || (rig.echo.open() == 0).then_some(()));
    assert!(closed.is_some(), "the target's connections stay open");
    let none = |t: &TunnelStatus| t.forwards[0].connections.open == 0;
    assert_eq!(rig.daemon.wait_for("t", LONG, none).sessions, 1);
}

#[test]
fn a_client_that_resets_while_much_comes_in_ends_the_connection_to_the_target() {
    // A download that nobody wants any more is stopped, and the session serves on.
    let target = TcpServer::start_anywhere(
        |mut stream| {
            while stream.write_all(&[7; 64 << 10]).is_ok() {}
        },
    );
    let listen = free_addr();
    let rig = Rig::new(|t| t.forward(listen, target.addr()));
    for _ in 0..3 {
        let mut client = connect(listen);
        client.read_exact(&mut [0; 100_000]).unwrap();
        reset(client);
    }
    let closed = poll(LONG, || (target.open() == 0).then_some(()));
    assert!(closed.is_some(), "the target still sends");
    drop(carried(rig.listen));
    assert_eq!(rig.status().sessions, 1);
}

#[test]
fn a_target_that_resets_ends_the_connection_of_the_client() {
    // SSH has no word for a reset; the client's connection ends all the same, and soon.
    let sshd = Sshd::start();
    let (target, listen) = (Resetter::start(), free_addr());
    let _daemon = Table::to(&sshd).forward(listen, target.addr()).up();
    let mut client = connect(listen);
    client.write_all(b"xy").unwrap();
    match ending(&mut client) {
        Ok(0) => {}
        Ok(n) => panic!("{n} bytes from nowhere"),
        Err(error) => assert!(is_reset(&error), "{error}"),
    }
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_an_answer_resets_the_client() {
    // Half an answer must not look like a whole one.
    let hold = Mutex::new(Vec::new());
    let target = TcpServer::start_anywhere(move |mut stream| {
        stream.write_all(b"half an ans").unwrap();
        hold.lock().unwrap().push(stream);
    });
    let mut sshd = Sshd::start();
    let listen = free_addr();
    let _daemon = Table::to(&sshd).forward(listen, target.addr()).up();
    let mut client = connect(listen);
    client.read_exact(&mut [0; 11]).unwrap();
    sshd.kill9();
    let error = ending(&mut client).unwrap_err();
    assert!(is_reset(&error), "{error}");
}
