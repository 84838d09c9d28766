//! How a connection ends, for every kind of forward: half-close both ways, and resets.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::pattern::{Digest, Pattern, pattern};
use tunneld_lab::process::poll;
use tunneld_lab::target::{Resetter, TcpServer, connect, free_addr, is_reset, read_some, reset};

use crate::asking::{Protocol, ask};
use crate::every_kind::EveryKind;
use crate::gateway::gateway;
use crate::support::{Broken, LONG, Table, ending, text};

const LEN: u64 = 1 << 20;

#[test]
fn a_client_that_finishes_first_gets_the_answer_to_all_that_it_sent() {
    // The target answers only after the end of file, with the digest of what it got.
    let every = EveryKind::to(|mut stream| {
        let got = format!("{:?}", Digest::of(&stream));
        let _ = stream.write_all(got.as_bytes());
    });
    for (way, seed) in every.ways.iter().zip(0..) {
        let mut client = way.connect();
        std::io::copy(&mut Pattern::new(LEN, seed), &mut client).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        let whole = format!("{:?}", Digest::of(Pattern::new(LEN, seed)));
        assert_eq!(said, whole, "{way}");
    }
    all_gone(&every);
}

#[test]
fn a_target_that_finishes_first_gets_all_that_the_client_still_sends() {
    let (sender, received) = mpsc::channel();
    let every = EveryKind::to(move |mut stream| {
        std::io::copy(&mut Pattern::new(LEN, 1), &mut stream).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = sender.send(Digest::until_end(stream));
    });
    for (way, seed) in every.ways.iter().zip(2..) {
        let mut client = way.connect();
        let (got, failed) = Digest::until_end(&client);
        let whole = Digest::of(Pattern::new(LEN, 1));
        assert_eq!(got, whole, "{way}: {failed:?}");
        std::io::copy(&mut Pattern::new(LEN, seed), &mut client).unwrap();
        drop(client);
        let (got, failed) = received.recv_timeout(LONG).unwrap();
        let whole = Digest::of(Pattern::new(LEN, seed));
        assert_eq!(got, whole, "{way}: {failed:?}");
    }
    all_gone(&every);
}

/// Finished connections stay nowhere, and the session is the one that it was.
fn all_gone(every: &EveryKind) {
    let targets = || every.tcp.open() + every.unix.open();
    let closed = poll(LONG, || (targets() == 0).then_some(()));
    assert!(
        closed.is_some(),
        "{} targets are still connected",
        targets()
    );
    let idle = |t: &TunnelStatus| t.forwards.iter().all(|f| f.connections.open == 0);
    let status = every.daemon.wait_for("t", LONG, idle);
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
}

#[test]
fn a_client_that_resets_ends_the_connection_to_the_target() {
    // In the middle of what both send, on either side: more than the sockets hold, and less than
    // what has another session take new connections.
    let every = EveryKind::to(|mut stream| {
        let mut writer = stream.try_clone().unwrap();
        std::thread::spawn(move || writer.write_all(&pattern(2 << 20, 1)));
        while matches!(read_some(&mut stream, &mut [0; 4096]), Ok(1..)) {}
        let _ = stream.shutdown(Shutdown::Both);
    });
    for way in &every.ways {
        let mut client = way.connect();
        client.read_exact(&mut [0; 100_000]).unwrap();
        client.write_all(&pattern(10_000, 1)).unwrap();
        reset(client);
    }
    all_gone(&every);
}

#[test]
fn a_target_that_resets_ends_the_connection_of_the_client() {
    // OpenSSH has no word for a reset: it may come as an end, but soon, and with nothing before.
    let every = EveryKind::to(|mut stream| {
        let _ = stream.read_exact(&mut [0]);
        reset(stream);
    });
    for way in &every.ways {
        let mut client = way.connect();
        client.write_all(b"x").unwrap();
        match ending(&mut client) {
            Ok(n) => assert_eq!(n, 0, "{way}"),
            Err(error) => assert!(is_reset(&error), "{way}: {error}"),
        }
    }
    all_gone(&every);
}

#[test]
fn a_channel_that_is_closed_without_an_end_of_file_has_come_to_a_good_end() {
    // Some servers end every connection so; what came before is delivered, and then the end (RFC
    // 4254 section 5.3).
    let (broken, target, asked) = (Broken::new(None), Resetter::start(), free_addr());
    let fixed = free_addr();
    let table = broken.table.clone().forward(fixed, target.addr());
    let _daemon = table.dynamic(asked).up();
    let clients = [connect(fixed), ask(Protocol::Http, asked, target.addr())];
    for mut client in clients {
        client.write_all(b"x").unwrap();
        assert_eq!(ending(&mut client).unwrap(), 0);
    }
}

#[test]
fn a_server_that_is_killed_resets_the_targets_at_our_side() {
    // Half of an upload must not look like the whole.
    let (sender, ended) = mpsc::channel();
    let target = TcpServer::start_anywhere(move |mut stream| {
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(b"more").unwrap();
        let _ = sender.send(ending(&mut stream));
    });
    let (mut sshd, fixed, asking) = (gateway(), free_addr(), free_addr());
    let table = Table::to(&sshd).remote(fixed, target.addr());
    let _daemon = table.raw("remote_forward", text(asking)).up();
    let mut clients = [connect(fixed), ask(Protocol::Socks5, asking, target.addr())];
    for client in &mut clients {
        client.write_all(b"half").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
    }
    sshd.kill9();
    for _ in clients {
        let end = ended.recv_timeout(LONG).unwrap();
        let error = end.expect_err("an orderly end, not a reset");
        assert!(is_reset(&error), "{error}");
    }
}
