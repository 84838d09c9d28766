//! A server that falls silent is found in `interval × (count_max + 1)`, whatever the data flow.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tunneld_core::failure::{Class, Stage};
use tunneld_core::status::Phase;
use tunneld_lab::process::poll;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{Sink, Source, connect, echoes, free_addr, is_reset, read_some};

use crate::support::{LATE, LONG, Rig, Table, carried, ending, exchange, pass, session_lost};

/// More than any test moves.
const ENDLESS: u64 = 1 << 40;

const SECOND: Duration = Duration::from_secs(1);

/// Freezes the server, and returns since when it stands still.
fn freeze(sshd: &Sshd) -> Instant {
    sshd.freeze();
    Instant::now()
}

/// When the server's last byte came, which is what a silence is counted from: not before the first,
/// not after the second.
type Silent = (Instant, Instant);

/// Freezes the server after an answer of the echo. Whatever else flows: a server that has to wait for
/// a processor may have sent nothing for a while when it is frozen.
fn last_words(rig: &Rig) -> Silent {
    let mut client = carried(rig.listen);
    last_words_to(&mut client, &rig.sshd)
}

fn last_words_to(client: &mut TcpStream, sshd: &Sshd) -> Silent {
    let before = Instant::now();
    exchange(client, b"last words");
    (before, freeze(sshd))
}

#[test]
fn a_frozen_server_is_found_on_an_idle_tunnel_not_earlier_and_not_later() {
    // interval 1s, count_max 2: 3 s after the last byte.
    let rig = Rig::new(|t| t.alive("1s", 2));
    let mut client = carried(rig.listen);
    let mark = rig.daemon.log_mark();
    let (before, frozen) = last_words_to(&mut client, &rig.sshd);
    let (line, found) = session_lost(&rig.daemon, mark);
    assert!(line.contains("no reply to 2 keepalives in 3s"), "{line}");
    assert!(found - before >= 3 * SECOND, "{:?}", found - before);
    assert!(found - frozen <= 3 * SECOND + LATE, "{:?}", found - frozen);
    let error = ending(&mut client).unwrap_err();
    assert!(is_reset(&error), "{error}");
    let status = rig.status();
    let failure = status.failure.unwrap();
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Session, Class::Transient)
    );
    rig.sshd.thaw();
    rig.daemon.wait_phase("t", Phase::Up, LONG);
    echoes(rig.listen).unwrap();
}

#[test]
fn a_frozen_server_is_found_when_no_unanswered_probe_is_allowed() {
    // count_max 0: the session ends at the first check, after one interval, as with ssh.
    let rig = Rig::new(|t| t.alive("2s", 0));
    let mut client = carried(rig.listen);
    let mark = rig.daemon.log_mark();
    let (before, frozen) = last_words_to(&mut client, &rig.sshd);
    let (line, found) = session_lost(&rig.daemon, mark);
    assert!(line.contains("nothing from the server in 2s"), "{line}");
    assert!(found - before >= 2 * SECOND, "{:?}", found - before);
    assert!(found - frozen <= 2 * SECOND + LATE, "{:?}", found - frozen);
}

#[test]
fn a_frozen_server_is_found_in_the_middle_of_a_download() {
    // Bytes that came before count; bytes that do not come any more are silence.
    let source = Source::start(ENDLESS, 1);
    let listen = free_addr();
    let rig = Rig::new(|t| t.alive("1s", 2).forward(listen, source.addr()));
    let reader = std::thread::spawn(move || {
        let mut client = connect(listen);
        client.set_read_timeout(Some(LONG)).unwrap();
        let mut buffer = vec![0; 64 << 10];
        while matches!(read_some(&mut client, &mut buffer), Ok(1..)) {}
    });
    rig.daemon
        .wait_for("t", LONG, |t| t.forwards[1].bytes_received > 8 << 20);
    let mark = rig.daemon.log_mark();
    let (before, frozen) = last_words(&rig);
    let (line, found) = session_lost(&rig.daemon, mark);
    assert!(line.contains("no reply to 2 keepalives in 3s"), "{line}");
    assert!(found - before >= 3 * SECOND, "{:?}", found - before);
    assert!(found - frozen <= 3 * SECOND + LATE, "{:?}", found - frozen);
    reader.join().unwrap();
}

#[test]
fn a_frozen_server_is_found_while_an_upload_blocks_the_socket() {
    // Keepalive requests wait behind the data: the session is found dead all the same.
    let sink = Sink::start();
    let listen = free_addr();
    let rig = Rig::new(|t| t.alive("1s", 2).forward(listen, sink.addr()));
    let writers: Vec<_> = (0..4).map(|_| endless_upload(listen)).collect();
    rig.daemon
        .wait_for("t", LONG, |t| t.forwards[1].bytes_sent > 8 << 20);
    let mark = rig.daemon.log_mark();
    let (before, frozen) = last_words(&rig);
    let (line, found) = session_lost(&rig.daemon, mark);
    assert!(found - before >= 3 * SECOND, "{:?}\n{line}", found - before);
    assert!(
        found - frozen <= 3 * SECOND + LATE,
        "{:?}\n{line}",
        found - frozen
    );
    for writer in writers {
        writer.join().unwrap();
    }
}

fn endless_upload(listen: SocketAddr) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut client = connect(listen);
        client.set_write_timeout(Some(LONG)).unwrap();
        while client.write_all(&[7; 64 << 10]).is_ok() {}
    })
}

#[test]
fn a_frozen_server_is_found_although_a_client_does_not_read() {
    // While the session is held back for a client, silence means nothing: it is found at the
    // latest when the client is given up, and its time after that.
    let source = Source::start(ENDLESS, 1);
    let listen = free_addr();
    let stall = 5 * SECOND;
    let rig = Rig::new(|t| {
        let table = t.alive("1s", 1).set("stall_timeout", "\"5s\"");
        table.forward(listen, source.addr())
    });
    let mark = rig.daemon.log_mark();
    let client = connect(listen);
    wait_until_held_back(&rig);
    let frozen = freeze(&rig.sshd);
    let (line, found) = session_lost(&rig.daemon, mark);
    assert!(line.contains("no reply to 1 keepalive in 2s"), "{line}");
    let latest = stall + 2 * SECOND + LATE;
    assert!(found - frozen <= latest, "{:?}", found - frozen);
    drop(client);
}

/// Waits until nothing moves any more on the second forward.
fn wait_until_held_back(rig: &Rig) {
    let mut last = (0, Instant::now());
    let still = poll(LONG, || {
        let bytes = rig.status().forwards[1].bytes_received;
        if bytes != last.0 {
            last = (bytes, Instant::now());
        }
        (bytes > 0 && last.1.elapsed() > Duration::from_millis(400)).then_some(())
    });
    assert!(still.is_some(), "the client still gets something");
}

#[test]
fn a_silence_shorter_than_the_limit_is_survived() {
    // The connection goes on where it was, on the same session.
    let rig = Rig::new(|t| t.alive("1s", 3));
    let mut client = carried(rig.listen);
    rig.sshd.freeze();
    pass(2 * SECOND);
    rig.sshd.thaw();
    exchange(&mut client, b"still here");
    pass(SECOND);
    exchange(&mut client, b"and now");
    let status = rig.status();
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
}

#[test]
fn an_idle_tunnel_on_a_healthy_server_stays_up_and_its_round_trip_is_known() {
    // Twenty probes, each answered.
    let rig = Rig::new(|t| t.alive("100ms", 20));
    pass(2 * SECOND);
    let status = rig.status();
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
    let round_trip = status.session.unwrap().round_trip_us.unwrap();
    assert!(round_trip < 1_000_000, "{round_trip}");
}

#[test]
fn keepalive_holds_before_a_client_has_ever_connected_and_with_the_server_frozen_at_once() {
    // The clock starts with the session, not with the first byte of a client.
    let sshd = Sshd::start();
    let daemon = Table::to(&sshd)
        .alive("1s", 1)
        .forward(free_addr(), free_addr())
        .up();
    let mark = daemon.log_mark();
    let frozen = freeze(&sshd);
    let (line, found) = session_lost(&daemon, mark);
    assert!(line.contains("no reply to 1 keepalive in 2s"), "{line}");
    assert!(found - frozen <= 2 * SECOND + LATE, "{:?}", found - frozen);
}
