//! The pieces of work that are measured. Each does the same through whatever listens on `addr`.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use crate::ends::{self, Bulk};
use crate::process::cpu_seconds;

/// One bulk transfer.
pub(crate) struct BulkRun {
    pub(crate) mib_per_s: f64,
    /// Of the process that was asked for; else 0.
    pub(crate) cpu_s_per_gib: f64,
}

/// Moves `mib` over one connection.
pub(crate) fn bulk(way: Bulk, mib: u64, addr: SocketAddr, pid: Option<u32>) -> BulkRun {
    let cpu = || pid.map_or(0.0, cpu_seconds);
    let (cpu_before, start) = (cpu(), Instant::now());
    ends::transfer(addr, way, mib << 20);
    let seconds = start.elapsed().as_secs_f64();
    BulkRun {
        mib_per_s: mib as f64 / seconds,
        cpu_s_per_gib: (cpu() - cpu_before) * 1024.0 / mib as f64,
    }
}

/// How long one byte takes to the target and back.
pub(crate) struct RoundTrips {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// `count` round trips, one after the other, on one connection.
pub(crate) fn round_trips(addr: SocketAddr, count: usize) -> RoundTrips {
    let mut stream = ends::echo_connection(addr).unwrap();
    let mut trip = || {
        let start = Instant::now();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        start.elapsed().as_secs_f64() * 1e6
    };
    for _ in 0..count / 10 {
        trip();
    }
    let mut times: Vec<f64> = (0..count).map(|_| trip()).collect();
    times.sort_by(f64::total_cmp);
    RoundTrips {
        p50_us: times[count / 2],
        p99_us: times[count * 99 / 100],
    }
}

/// Connections that are made, used for one byte there and back, and closed: `at_once` threads make
/// `each` of them.
pub(crate) fn connections_per_second(addr: SocketAddr, at_once: usize, each: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| (0..each).for_each(|_| drop(ends::echo_connection(addr).unwrap())));
        }
    });
    (at_once * each) as f64 / start.elapsed().as_secs_f64()
}

/// 256 KiB in one write on a connection of its own until the target has them, in milliseconds; the
/// median of `count`.
pub(crate) fn fresh_upload_ms(addr: SocketAddr, count: usize) -> f64 {
    let upload = |_| {
        let start = Instant::now();
        ends::upload_at_once(addr, 256 << 10);
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..count).map(upload).collect();
    times.sort_by(f64::total_cmp);
    times[count / 2]
}
