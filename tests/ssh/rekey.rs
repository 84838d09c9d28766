//! New keys in the middle of transfers.

use std::net::SocketAddr;
use std::time::Instant;

use tunneld_lab::pattern::{Digest, Pattern};
use tunneld_lab::process::POLL;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{Sink, Source, connect, free_addr};

use crate::support::{LONG, Table};

const LEN: u64 = 16 << 20;

fn download(listen: SocketAddr) {
    let client = connect(listen);
    client.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(Digest::of(client), Digest::of(Pattern::new(LEN, 11)));
}

fn upload(listen: SocketAddr, seed: u64) {
    let mut client = connect(listen);
    client.set_write_timeout(Some(LONG)).unwrap();
    std::io::copy(&mut Pattern::new(LEN / 2, seed), &mut client).unwrap();
}

/// How often the server has taken new keys, from its log at DEBUG1.
fn rekeyed(sshd: &Sshd) -> usize {
    sshd.log().matches("set_newkeys: rekeying out").count()
}

#[test]
fn downloads_survive_that_the_server_asks_for_new_keys_again_and_again() {
    // RekeyLimit 1M and four at once: every byte, on one session.
    let sshd = Sshd::builder()
        .config("RekeyLimit 1M")
        .log_level("DEBUG1")
        .start();
    let (source, listen) = (Source::start(LEN, 11), free_addr());
    let daemon = Table::to(&sshd).forward(listen, source.addr()).up();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| download(listen));
        }
    });
    assert!(rekeyed(&sshd) >= 8, "{} rekeys", rekeyed(&sshd));
    assert_eq!(daemon.tunnel("t").sessions, 1);
}

#[test]
fn uploads_and_downloads_together_survive_new_keys() {
    // Both ways at once, four connections each, on one session.
    let sshd = Sshd::builder()
        .config("RekeyLimit 1M")
        .log_level("DEBUG1")
        .start();
    let (source, sink) = (Source::start(LEN, 11), Sink::start());
    let (down, up) = (free_addr(), free_addr());
    let table = Table::to(&sshd).forward(down, source.addr());
    let daemon = table.forward(up, sink.addr()).up();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || download(down));
            scope.spawn(move || upload(up, seed));
        }
    });
    let mut got: Vec<_> = (0..4).map(|_| sink.next(LONG).unwrap()).collect();
    let mut sent: Vec<_> = (0..4)
        .map(|seed| Digest::of(Pattern::new(LEN / 2, seed)))
        .collect();
    got.sort_unstable();
    sent.sort_unstable();
    assert_eq!(got, sent);
    assert!(rekeyed(&sshd) >= 8, "{} rekeys", rekeyed(&sshd));
    assert_eq!(daemon.tunnel("t").sessions, 1);
}

#[test]
fn an_idle_connection_survives_new_keys_by_time() {
    // RekeyLimit with a time: the server asks in the quiet too.
    let config = "RekeyLimit default 1s";
    let sshd = Sshd::builder().config(config).log_level("DEBUG1").start();
    let echo = tunneld_lab::target::EchoServer::start();
    let listen = free_addr();
    let daemon = Table::to(&sshd)
        .alive("200ms", 20)
        .forward(listen, echo.addr())
        .up();
    let mut client = crate::support::carried(listen);
    let twice = tunneld_lab::process::poll(LONG, || (rekeyed(&sshd) >= 2).then_some(()));
    assert!(twice.is_some(), "the server did not ask for new keys");
    crate::support::exchange(&mut client, b"with other keys");
    assert_eq!(daemon.tunnel("t").sessions, 1);
}

/// Waits until the server has taken new keys this often; `flow` goes on meanwhile.
fn until_rekeyed(sshd: &Sshd, wanted: usize, mut flow: impl FnMut()) {
    let begun = Instant::now();
    while rekeyed(sshd) < wanted {
        assert!(begun.elapsed() < LONG, "no new keys\n{}", sshd.log());
        flow();
    }
}

#[test]
fn a_limit_in_bytes_brings_new_keys_while_a_download_goes_on() {
    // The server asks for none: it is the tunnel that does, again and again, and every byte comes.
    let sshd = Sshd::builder().log_level("DEBUG1").start();
    let (source, listen) = (Source::start(LEN, 11), free_addr());
    let table = Table::to(&sshd).set("rekey_limit", "\"1M\"");
    let daemon = table.forward(listen, source.addr()).up();
    until_rekeyed(&sshd, 2, || download(listen));
    assert_eq!(daemon.tunnel("t").sessions, 1);
}

#[test]
fn a_limit_in_bytes_brings_new_keys_while_uploads_go_on() {
    // Several at once: what is sent is in nobody's way.
    let sshd = Sshd::builder().log_level("DEBUG1").start();
    let (sink, listen) = (Sink::start(), free_addr());
    let table = Table::to(&sshd).set("rekey_limit", "\"1M\"");
    let daemon = table.forward(listen, sink.addr()).up();
    until_rekeyed(&sshd, 2, || {
        std::thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || upload(listen, seed));
            }
        });
        for _ in 0..4 {
            let (len, _) = sink.next(LONG).unwrap();
            assert_eq!(len, LEN / 2);
        }
    });
    assert_eq!(daemon.tunnel("t").sessions, 1);
}

#[test]
fn many_downloads_at_once_outlive_a_limit_that_is_far_behind_them() {
    // To ask for new keys in the middle of them would end the session: it is done after them.
    let sshd = Sshd::builder().log_level("DEBUG1").start();
    let (source, listen) = (Source::start(LEN, 11), free_addr());
    let table = Table::to(&sshd).set("rekey_limit", "\"1M 10s\"");
    let daemon = table.forward(listen, source.addr()).up();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| (0..6).for_each(|_| download(listen)));
        }
    });
    until_rekeyed(&sshd, 1, || std::thread::sleep(POLL));
    // Where a download is slow to read there may be a session more; none ends.
    let ended =
        |line: &&String| line.contains("tunnel down") || line.contains("a session has ended");
    assert_eq!(daemon.log().iter().find(ended), None);
}

#[test]
fn a_limit_in_time_brings_new_keys_to_a_connection_that_talks() {
    // The shortest that there may be.
    let sshd = Sshd::builder().log_level("DEBUG1").start();
    let (echo, listen) = (tunneld_lab::target::EchoServer::start(), free_addr());
    let table = Table::to(&sshd).set("rekey_limit", "\"default 10s\"");
    let daemon = table.forward(listen, echo.addr()).up();
    let mut client = crate::support::carried(listen);
    until_rekeyed(&sshd, 1, || {
        crate::support::exchange(&mut client, b"a word");
        std::thread::sleep(POLL);
    });
    crate::support::exchange(&mut client, b"with other keys");
    assert_eq!(daemon.tunnel("t").sessions, 1);
}
