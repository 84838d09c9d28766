//! What a client that does not read does to the others of its tunnel.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tunneld_core::status::Phase;
use tunneld_lab::pattern::{Digest, Pattern};
use tunneld_lab::process::poll;
use tunneld_lab::target::{Source, connect, echoes, free_addr, read_some};

use crate::support::{LONG, Rig, carried, pass};

/// Round trips of one byte.
struct PingPong {
    count: usize,
    worst: Duration,
    median: Duration,
}

impl PingPong {
    /// On this connection, one after the other, until told to stop; at least one.
    fn run(mut stream: TcpStream, done: &AtomicBool) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut took = Vec::new();
        while took.is_empty() || !done.load(Ordering::SeqCst) {
            let start = Instant::now();
            stream.write_all(b"p").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            took.push(start.elapsed());
            pass(Duration::from_millis(5));
        }
        took.sort();
        PingPong {
            count: took.len(),
            worst: took[took.len() - 1],
            median: took[took.len() / 2],
        }
    }

    fn print(&self, who: &str) {
        let PingPong {
            count,
            worst,
            median,
        } = self;
        println!("{who}: {count} round trips, median {median:?}, worst {worst:?}");
    }
}

/// A tunnel with a forward to an endless sender, and a client of it that reads nothing.
struct Stalled {
    rig: Rig,
    source: SocketAddr,
    client: TcpStream,
    _server: Source,
}

const LEN: u64 = 1 << 40;

impl Stalled {
    /// Returns once the tunnel knows that its session is clogged: a client that comes now is
    /// carried by another one.
    fn new(stall_timeout: &str, before: impl FnOnce(&Rig)) -> Self {
        let server = Source::start(LEN, 7);
        let source = free_addr();
        let rig = Rig::new(|t| {
            t.set("stall_timeout", format!("\"{stall_timeout}\""))
                .forward(source, server.addr())
        });
        before(&rig);
        let client = connect(source);
        client.set_read_timeout(Some(LONG)).unwrap();
        let carries_more = || {
            echoes(rig.listen).unwrap();
            (rig.status().relief_sessions > 0).then_some(())
        };
        poll(LONG, carries_more).expect("no relief session");
        Stalled {
            rig,
            source,
            client,
            _server: server,
        }
    }
}

#[test]
fn clients_before_and_after_one_that_stops_reading_go_on() {
    // An endless sender, a reader that stands still for seconds and then goes on: nothing of what
    // it gets is missing, whoever came after it notices nothing, and whoever came before is slowed
    // down and never stopped.
    let mut before = None;
    let mut stalled = Stalled::new("60s", |rig| before = Some(carried(rig.listen)));
    let before = before.unwrap();
    let after = carried(stalled.rig.listen);
    let done = AtomicBool::new(false);
    let (before, after) = std::thread::scope(|scope| {
        let before = scope.spawn(|| PingPong::run(before, &done));
        let after = scope.spawn(|| PingPong::run(after, &done));
        pass(Duration::from_secs(8));
        done.store(true, Ordering::SeqCst);
        (before.join().unwrap(), after.join().unwrap())
    });
    before.print("opened before");
    after.print("opened after");
    // Far from the stall_timeout of a minute, and the one far from the other.
    assert!(before.worst < Duration::from_secs(15), "{:?}", before.worst);
    assert!(after.worst < Duration::from_secs(2), "{:?}", after.worst);
    let status = stalled.rig.status();
    assert_eq!((status.phase, status.sessions_open), (Phase::Up, 2));
    let resumed = 64 << 20;
    let mut digest = Digest::default();
    let mut rest = (&mut stalled.client).take(resumed);
    let mut buffer = vec![0; 64 << 10];
    while let n @ 1.. = read_some(&mut rest, &mut buffer).unwrap() {
        digest.update(&buffer[..n]);
    }
    assert_eq!(
        digest.finish(),
        Digest::of(Pattern::new(LEN, 7).take(resumed))
    );
    let log = stalled.rig.daemon.log_text();
    assert!(!log.contains("(stall_timeout)"), "{log}");
}

#[test]
fn a_session_that_is_held_back_is_neither_taken_for_dead_nor_kept_when_it_is() {
    // The server answers keepalives all the while; when it is frozen, that is found although a
    // client still does not read.
    let server = Source::start(LEN, 7);
    let source = free_addr();
    let rig = Rig::new(|t| {
        t.set("stall_timeout", "\"120s\"")
            .alive("1s", 3)
            .forward(source, server.addr())
    });
    let _client = connect(source);
    let clogged = || {
        echoes(rig.listen).unwrap();
        (rig.status().relief_sessions > 0).then_some(())
    };
    poll(LONG, clogged).expect("no relief session");
    pass(Duration::from_secs(6));
    assert_eq!(rig.status().sessions_open, 2, "{}", rig.daemon.log_text());
    let mark = rig.daemon.log_mark();
    rig.sshd.freeze();
    let start = Instant::now();
    rig.daemon.wait_for_log_from(mark, "tunnel down", LONG);
    println!("both sessions found dead after {:?}", start.elapsed());
    rig.sshd.thaw();
}

#[test]
fn the_session_for_relief_goes_when_it_is_not_needed_any_more() {
    // Reset after stall_timeout, the client that did not read holds nothing back: the next clients
    // are carried by the first session again.
    let stalled = Stalled::new("2s", |_| {});
    stalled.rig.daemon.wait_for_log("(stall_timeout)", LONG);
    let status = stalled.rig.status();
    assert_eq!((status.phase, status.sessions), (Phase::Up, 2));
    let mut late = carried(stalled.rig.listen);
    let gone = |t: &tunneld_core::status::TunnelStatus| t.relief_sessions == 0;
    stalled.rig.daemon.wait_for("t", LONG, gone);
    crate::support::exchange(&mut late, b"on the session that stays");
    assert!(read_some(&mut connect(stalled.source), &mut [0]).is_ok());
}
