//! Much data over a jump host, clients that do not take it, and new keys in the middle of it.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tunneld_core::status::TunnelStatus;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::pattern::{Digest, Pattern, pattern};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, Sink, Source, connect, free_addr, half_close_exchange};

use crate::support::{LATE, LONG, NEVER, Rig, Table, carried, daemon, exchange, session_lost, up};
use crate::ways::logins;

/// More than any test moves.
const ENDLESS: u64 = 1 << 40;

#[test]
fn a_large_download_over_a_jump_host_is_complete() {
    // 64 MiB, every byte.
    const LEN: u64 = 64 << 20;
    let (bastion, source, listen) = (Sshd::start(), Source::start(LEN, 11), free_addr());
    let rig = Rig::new(|t| t.over(&[&bastion]).forward(listen, source.addr()));
    let client = connect(listen);
    client.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(Digest::of(client), Digest::of(Pattern::new(LEN, 11)));
    assert_eq!(rig.status().sessions, 1);
}

#[test]
fn a_large_upload_over_a_jump_host_is_complete() {
    // 64 MiB, every byte.
    const LEN: u64 = 64 << 20;
    let (bastion, sink, listen) = (Sshd::start(), Sink::start(), free_addr());
    let rig = Rig::new(|t| t.over(&[&bastion]).forward(listen, sink.addr()));
    let mut client = connect(listen);
    client.set_write_timeout(Some(LONG)).unwrap();
    std::io::copy(&mut Pattern::new(LEN, 12), &mut client).unwrap();
    drop(client);
    let expected = Digest::of(Pattern::new(LEN, 12));
    assert_eq!(sink.next(LONG), Some(expected));
    assert_eq!(rig.status().sessions, 1);
}

#[test]
fn a_client_that_stalls_behind_a_jump_host_does_not_slow_another_tunnel_over_it() {
    // The other's answers come while megabytes wait for somebody who does not read.
    let slowest = slowest_answer_beside(1, Duration::from_secs(8));
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
}

#[test]
fn forty_clients_that_stall_behind_a_jump_host_do_not_stop_another_tunnel_over_it() {
    // More than one session may hold in all: what is read then is read slowly, and goes on.
    let slowest = slowest_answer_beside(40, Duration::from_secs(10));
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
}

#[test]
fn uploads_into_a_frozen_server_behind_a_jump_host_do_not_slow_another_tunnel_over_it() {
    // What cannot be sent waits for itself alone.
    let sink = Sink::start();
    let beside = Beside::new(sink.addr());
    let writers: Vec<_> = (0..4).map(|_| endless_upload(beside.listen)).collect();
    let busy = |t: &TunnelStatus| t.forwards[0].bytes_sent > 8 << 20;
    beside.daemon.wait_for("one", LONG, busy);
    beside.hosts[0].freeze();
    let slowest = beside.slowest_answer(Duration::from_secs(6));
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    beside.hosts[0].kill_sessions();
    for writer in writers {
        writer.join().unwrap();
    }
}

/// How slow answers become beside as many clients as this that do not read.
fn slowest_answer_beside(stalled: usize, time: Duration) -> Duration {
    let source = Source::start(ENDLESS, 13);
    let beside = Beside::new(source.addr());
    let silent: Vec<_> = (0..stalled).map(|_| connect(beside.listen)).collect();
    let slowest = beside.slowest_answer(time);
    drop(silent);
    slowest
}

/// A tunnel that is misused, and another one over the same jump host, with an echo.
struct Beside {
    daemon: Daemon,
    bastion: Sshd,
    hosts: [Sshd; 2],
    listen: SocketAddr,
    answers: SocketAddr,
    _echo: EchoServer,
}

impl Beside {
    /// The first one leads to `target`.
    fn new(target: SocketAddr) -> Self {
        let (bastion, echo) = (Sshd::start(), EchoServer::start());
        let hosts = [Sshd::start(), Sshd::start()];
        let (listen, answers) = (free_addr(), free_addr());
        let table = |sshd, name| Table::to(sshd).named(name).over(&[&bastion]);
        let one = table(&hosts[0], "one").forward(listen, target);
        let other = table(&hosts[1], "other").forward(answers, echo.addr());
        let daemon = daemon().config(&(one.toml() + &other.toml())).start();
        up(&daemon, "one");
        up(&daemon, "other");
        logins(&bastion, 1);
        Beside {
            daemon,
            bastion,
            hosts,
            listen,
            answers,
            _echo: echo,
        }
    }

    /// How long the other one's slowest answer takes within `time`, on an old connection or a new
    /// one. It keeps its session.
    fn slowest_answer(&self, time: Duration) -> Duration {
        let mut held = carried(self.answers);
        let (mut rounds, mut slowest) = (0, Duration::ZERO);
        let started = Instant::now();
        while started.elapsed() < time {
            let asked = Instant::now();
            exchange(&mut held, b"an old connection");
            slowest = slowest.max(asked.elapsed());
            let asked = Instant::now();
            drop(carried(self.answers));
            slowest = slowest.max(asked.elapsed());
            rounds += 1;
        }
        println!("{rounds} rounds, the slowest in {slowest:?}");
        assert_eq!(self.daemon.tunnel("other").sessions, 1);
        logins(&self.bastion, 1);
        slowest
    }
}

#[test]
fn servers_that_ask_for_new_keys_all_the_time_lose_no_byte_of_a_session_in_a_session() {
    // Both of them, every mebibyte, both ways at once.
    const EACH: usize = 8 << 20;
    let often = || Sshd::builder().config("RekeyLimit 1M").start();
    let bastion = often();
    let rig = Rig::with(often(), |t| t.over(&[&bastion]));
    let listen = rig.listen;
    std::thread::scope(|scope| {
        for seed in 0..3 {
            scope.spawn(move || {
                let bytes = pattern(EACH, seed);
                assert!(half_close_exchange(listen, &bytes).unwrap() == bytes);
            });
        }
    });
    assert_eq!(rig.status().sessions, 1);
}

#[test]
fn a_frozen_server_behind_a_jump_host_is_found_while_an_upload_blocks_the_way() {
    // The session has no TCP connection of its own whose timeout would help.
    let (bastion, sink, listen) = (Sshd::start(), Sink::start(), free_addr());
    let rig = Rig::new(|t| {
        let t = t.over(&[&bastion]).forward(listen, sink.addr());
        t.alive("1s", 2).set("reconnect", NEVER)
    });
    let writers: Vec<_> = (0..4).map(|_| endless_upload(listen)).collect();
    rig.daemon
        .wait_for("t", LONG, |t| t.forwards[1].bytes_sent > 8 << 20);
    let mark = rig.daemon.log_mark();
    rig.sshd.freeze();
    let frozen = Instant::now();
    let (line, found) = session_lost(&rig.daemon, mark);
    let limit = Duration::from_secs(3) + LATE;
    assert!(found - frozen <= limit, "{:?}\n{line}", found - frozen);
    assert!(!line.contains("jump host"), "{line}");
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
