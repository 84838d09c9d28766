//! A network that is cut without a word to either side, and mended.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tunneld_core::failure::Stage;
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::net::{B, NetLab};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, read_some};

use crate::support::{
    LATE, LONG, Table, carried, daemon, ending, exchange, fails, pass, session_lost, up,
};

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5432);

/// The daemon at A, sshd and an echo at B, a router between them.
struct Far {
    daemon: Daemon,
    _echo: EchoServer,
    _sshd: Sshd,
    lab: NetLab,
}

impl Far {
    fn new(change: impl FnOnce(Table) -> Table) -> Self {
        let lab = NetLab::new();
        let builder = Sshd::builder().listen(B).port(22);
        let sshd = builder.prefix(&lab.exec_prefix("B")).start();
        let echo = lab.inside("B", || EchoServer::start_on(SocketAddr::new(B, 7)));
        let table = change(Table::to(&sshd).forward(LISTEN, echo.addr()));
        let daemon = daemon()
            .config(&table.toml())
            .prefix(&lab.exec_prefix("A"))
            .start();
        up(&daemon, "t");
        Far {
            daemon,
            _echo: echo,
            _sshd: sshd,
            lab,
        }
    }
}

#[test]
fn a_blackholed_network_is_found_and_its_healing_brings_the_tunnel_back() {
    // No RST, no ICMP: keepalive finds it in time, attempts time out, a client that waits meanwhile
    // is served when the network is back.
    let far = Far::new(|t| t.alive("1s", 2).set("connect_timeout", "\"1s\""));
    let mut client = far.lab.inside("A", || carried(LISTEN));
    let mark = far.daemon.log_mark();
    let before = Instant::now();
    exchange(&mut client, b"last words");
    far.lab.cut();
    let cut = Instant::now();
    let (line, found) = session_lost(&far.daemon, mark);
    assert!(line.contains("no reply to 2 keepalives in 3s"), "{line}");
    assert!(
        found - before >= Duration::from_secs(3),
        "{:?}",
        found - before
    );
    assert!(
        found - cut <= Duration::from_secs(3) + LATE,
        "{:?}",
        found - cut
    );
    ending(&mut client).unwrap_err();
    let failure = fails(&far.daemon, "t", "connection timed out after 1s");
    assert_eq!(failure.stage, Stage::Connect);
    let mut waiting = far.lab.inside("A", || tunneld_lab::target::connect(LISTEN));
    waiting.write_all(b"patience").unwrap();
    far.lab.heal();
    waiting.set_read_timeout(Some(LONG)).unwrap();
    let mut back = [0; 8];
    waiting.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"patience");
    assert_eq!(up(&far.daemon, "t").sessions, 2);
}

#[test]
fn a_short_cut_is_survived_by_the_connections() {
    // Shorter than the limit of keepalive: TCP sends again, and nobody notices.
    let far = Far::new(|t| t.alive("2s", 3));
    let mut client = far.lab.inside("A", || carried(LISTEN));
    far.lab.cut();
    client.write_all(b"into the dark").unwrap();
    pass(Duration::from_secs(1));
    far.lab.heal();
    let mut back = [0; 13];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"into the dark");
    let status = far.daemon.tunnel("t");
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
}

#[test]
fn a_network_that_is_cut_during_an_upload_is_found_in_time() {
    // The socket is full and nothing is acknowledged: the session must not hang in a write.
    let far = Far::new(|t| t.alive("1s", 2).set("connect_timeout", "\"1s\""));
    let uploads = far.lab.inside("A", || {
        let upload = || {
            let client = tunneld_lab::target::connect(LISTEN);
            let mut reader = client.try_clone().unwrap();
            let mut writer = client;
            writer.set_write_timeout(Some(LONG)).unwrap();
            reader.set_read_timeout(Some(LONG)).unwrap();
            let read = std::thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while matches!(read_some(&mut reader, &mut buffer), Ok(1..)) {}
            });
            let write =
                std::thread::spawn(move || while writer.write_all(&[7; 64 << 10]).is_ok() {});
            [read, write]
        };
        [upload(), upload(), upload()]
    });
    far.daemon
        .wait_for("t", LONG, |t| t.forwards[0].bytes_sent > 4 << 20);
    let mark = far.daemon.log_mark();
    far.lab.cut();
    let cut = Instant::now();
    let (line, found) = session_lost(&far.daemon, mark);
    assert!(
        found - cut <= Duration::from_secs(3) + LATE,
        "{:?}\n{line}",
        found - cut
    );
    for thread in uploads.into_iter().flatten() {
        thread.join().unwrap();
    }
    far.lab.heal();
    up(&far.daemon, "t");
}

#[test]
fn a_link_that_is_down_is_said_in_the_systems_words_and_survived() {
    // Without a route a connection fails at once; it is one more thing that waiting can fix.
    let far = Far::new(|t| t.alive("1s", 1).set("connect_timeout", "\"1s\""));
    far.lab.ip("A", "link set eth0 down");
    let failure = fails(&far.daemon, "t", "network is unreachable");
    assert_eq!(failure.stage, Stage::Connect);
    far.lab.ip("A", "link set eth0 up");
    far.lab.ip("A", "route add default via 10.99.1.1");
    up(&far.daemon, "t");
    exchange(&mut far.lab.inside("A", || carried(LISTEN)), b"back");
}
