//! Clients that ask for much and take nothing, and those that take every place: what that costs.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use tunneld_lab::daemon::Daemon;
use tunneld_lab::http::{Metrics, over_tcp};
use tunneld_lab::process::{open_files, poll};
use tunneld_lab::target::{free_addr, free_low_port};

use crate::control_clients::many_files;
use crate::many_tunnels::Many;
use crate::support::{Bed, LONG, assert_exit, daemon_table, serving};

/// Its memory, in bytes.
fn resident(daemon: &Daemon) -> u64 {
    Metrics::of(daemon.socket()).value("process_resident_memory_bytes") as u64
}

#[test]
fn answers_that_nobody_reads_share_their_memory_and_are_cut_off() {
    // Two hundred clients that ask for megabytes and take none: a handful of pages is kept for them,
    // others are answered meanwhile, and all of them are gone after their time.
    many_files();
    let (many, at) = (Many::new(), free_addr());
    let daemon = many.daemon(&daemon_table(&format!("metrics_listen = \"{at}\"")));
    let answer = over_tcp(at, "GET /metrics", &[]);
    assert!(answer.body.len() > 2 << 20, "{} bytes", answer.body.len());
    let (files, before) = (open_files(daemon.pid()), resident(&daemon));
    let deaf = |n: usize| {
        let mut stream = TcpStream::connect(at).unwrap();
        let path = ["/metrics", "/v1/status"][n % 2];
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let _deaf: Vec<TcpStream> = (0..200).map(deaf).collect();
    assert_eq!(over_tcp(at, "GET /v1/status", &[]).status, 200);
    assert_exit(&daemon.cli(&["status", "t000"]), 3);
    let more = resident(&daemon).saturating_sub(before) >> 20;
    eprintln!("{more} MiB more, of {} MiB", before >> 20);
    assert!(more < 150, "{more} MiB");
    let cut = poll(LONG, || (open_files(daemon.pid()) <= files).then_some(()));
    assert!(cut.is_some(), "they are still connected");
}

#[test]
fn no_address_takes_every_place_of_those_who_follow() {
    // Sixteen of one address; the next is told so, and one of another address follows.
    let (bed, port) = (Bed::new(), free_low_port());
    let everywhere = SocketAddr::new("::".parse().unwrap(), port);
    let _daemon = serving(everywhere, "", &bed.db());
    let follow = |ip: &str| {
        let mut stream = TcpStream::connect((ip, port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let request = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        (stream, line.split(' ').nth(1).unwrap().to_owned())
    };
    let held: Vec<_> = (0..16).map(|_| follow("127.0.0.1")).collect();
    assert!(held.iter().all(|(_, code)| code == "200"));
    assert_eq!(follow("127.0.0.1").1, "503");
    assert_eq!(follow("::1").1, "200");
}
