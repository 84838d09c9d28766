//! What a client, a server or a script does over and over is a few lines, however often it does it;
//! and a journal that does not take them holds nobody up.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tunneld_core::events;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::fault::{Fault, Refusal};
use tunneld_lab::journal::Journal;
use tunneld_lab::keys::generate;
use tunneld_lab::process::{Signal, prefixed, run, signal};
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::target::{echoes, free_addr, read_some};

use crate::journal::{id, in_journal, wait_for};
use crate::support::{Bed, Folder, LONG, daemon_table, tunnel_table, up};

/// Connects that often, four at a time, says something, and waits for the end.
fn flood(at: SocketAddr, times: usize, says: &[u8]) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..times / 4 {
                    // It may be sent away before it is quite there, or has said that.
                    if let Ok(mut stream) = TcpStream::connect(at) {
                        let _ = stream.write_all(says);
                        let _ = read_some(&mut stream, &mut [0; 64]);
                    }
                }
            });
        }
    });
}

/// Asks over the control socket that often, on one connection.
fn ask(socket: &Path, times: usize, request: &str) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n");
    for _ in 0..times {
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut bytes = [0; 4096];
        while !is_whole(&answer) {
            let length = read_some(&mut stream, &mut bytes).unwrap();
            assert!(length > 0);
            answer.extend_from_slice(&bytes[..length]);
        }
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.unwrap().parse().unwrap()
}

/// How many connections the tunnel has refused.
fn refused(daemon: &Daemon) -> u64 {
    let forwards = daemon.tunnel("db").forwards;
    forwards
        .iter()
        .map(|forward| forward.connections.refused)
        .sum()
}

#[test]
fn ten_thousand_refused_clients_are_a_few_lines() {
    // Clients from where they may not be, and ones that speak nonsense to a SOCKS port.
    let journal = Journal::start();
    let (bed, allowed, socks) = (Bed::new(), free_addr(), free_addr());
    let text = tunnel_table("db", &bed.sshd)
        + &format!(
            "dynamic_forward = [\"{socks}\"]\nlocal_forward = [{{ listen = \"{allowed}\", \
             connect = \"localhost:1\", allow = [\"192.0.2.0/24\"] }}]\n"
        );
    let daemon = up(in_journal(&journal).config(&text));
    flood(allowed, 10_000, b"");
    flood(socks, 10_000, b"\x05\x01\x7fGET / HTTP/1.1\r\n");
    assert!(refused(&daemon) >= 20_000);
    let lines = journal.entries(&[&id(events::CONNECTION_REFUSED)]);
    assert!((2..=8).contains(&lines.len()), "{lines:#?}");
}

#[test]
fn a_server_that_refuses_thousands_of_channels_is_a_few_lines() {
    // Whatever it is asked for.
    let journal = Journal::start();
    let folder = Folder::new();
    let key = generate(&folder.at(""), "client");
    let fault = Fault::RefuseChannels(Refusal::ConnectFailed);
    let server = LabServer::start(LabOptions::for_key(&key).with_fault(fault));
    folder.write("kh", &server.host_key_line());
    let (listen, socks) = (free_addr(), free_addr());
    let text = format!(
        "[tunnels.db]\nhost = \"{}\"\nport = {}\nuser = \"u\"\nidentity_file = {:?}\n\
         known_hosts = {:?}\nlocal_forward = [\"{listen}:localhost:1\"]\ndynamic_forward = [\"{socks}\"]\n",
        server.addr().ip(),
        server.addr().port(),
        key.private,
        folder.at("kh"),
    );
    let daemon = up(in_journal(&journal).config(&text));
    flood(listen, 2000, b"");
    for port in 1..200_u16 {
        // SOCKS 4, each to another port.
        let [high, low] = port.to_be_bytes();
        flood(socks, 4, &[4, 1, high, low, 127, 0, 0, 1, 0]);
    }
    assert!(refused(&daemon) >= 2700);
    let lines = journal.entries(&[&id(events::CONNECTION_REFUSED)]);
    assert!((2..=6).contains(&lines.len()), "{lines:#?}");
}

#[test]
fn whoever_asks_over_and_over_fills_no_journal() {
    // Reloads of a bad file and of a good one: twenty lines a minute each. Scrapes, questions and
    // nonsense: none.
    let journal = Journal::start();
    let bed = Bed::new();
    let at = free_addr();
    let text = bed.db() + &daemon_table(&format!("metrics_listen = \"{at}\""));
    let daemon = up(in_journal(&journal).config(&text));
    for event in [events::METRICS_LISTENING, events::READY] {
        wait_for(&journal, &[&id(event)]);
    }
    let before = journal.entries(&["SYSLOG_IDENTIFIER=tunneld"]).len();
    flood(at, 2000, b"GET /nothing HTTP/1.0\r\n\r\n");
    flood(at, 2000, b"\0\0\0\0\r\n\r\n");
    ask(daemon.socket(), 2000, "GET /v1/status");
    ask(daemon.socket(), 2000, "GET /metrics");
    ask(daemon.socket(), 2000, "POST /v1/tunnels/none/stop");
    let after = journal.entries(&["SYSLOG_IDENTIFIER=tunneld"]).len();
    assert_eq!(after, before);
    let began = Instant::now();
    ask(daemon.socket(), 300, "POST /v1/reload");
    daemon.write_config("[tunnels.db]\nhosst = 1\n");
    ask(daemon.socket(), 300, "POST /v1/reload");
    let minutes = began.elapsed().as_secs() as usize / 60 + 1;
    for event in [events::RELOADED, events::RELOAD_REFUSED] {
        let lines = journal.entries(&[&id(event)]);
        let most = minutes.max(1) * 20;
        assert!((20..=most).contains(&lines.len()), "{}", lines.len());
    }
}

#[test]
fn a_journal_that_hangs_holds_no_tunnel_up() {
    // Connections are carried as if nothing were; once it reads again, it is told what it has missed.
    let journal = Journal::start();
    let bed = Bed::new();
    let daemon = up(in_journal(&journal).config(&bed.db()).log_filter("debug"));
    let journald = journald(&journal);
    assert!(signal(journald, Signal::STOP));
    let began = Instant::now();
    for _ in 0..600 {
        echoes(bed.listen).unwrap();
    }
    let took = began.elapsed();
    assert_eq!(daemon.tunnel("db").sessions, 1);
    assert!(signal(journald, Signal::CONT));
    assert!(took < Duration::from_secs(30), "{took:?}");
    let lost = loop {
        // A line that it takes is followed by the count.
        echoes(bed.listen).unwrap();
        let told = journal.entries(&[&id(events::LOG_LINES_LOST)]);
        if let Some(first) = told.first() {
            break first["SUPPRESSED"]
                .as_str()
                .unwrap()
                .parse::<u32>()
                .unwrap();
        }
        assert!(began.elapsed() < LONG * 2, "it is not told");
    };
    assert!(lost > 0);
}

/// The process of a journal.
fn journald(journal: &Journal) -> u32 {
    let prefix = journal.exec_prefix();
    let text = run(prefixed(&prefix, "cat").arg("/run/systemd/journald.pid"));
    text.trim().parse().unwrap()
}
