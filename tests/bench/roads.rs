//! Over a jump host, and over several sessions.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use tunneld_lab::target::free_addr;

use crate::Options;
use crate::ends::{self, Bulk};
use crate::table::{Round, Table};
use crate::tunnels::{Client, start_sshd, start_tunneld, start_tunneld_with, wait_until_carried};
use crate::work;

/// How many transfers run at once over several sessions.
const STREAMS: usize = 4;

/// Bulk data through a tunnel over a jump host, which is the same server.
pub(crate) fn jump(options: &Options, table: &mut Table) {
    let sshd = start_sshd(Some(crate::AES));
    let target = ends::start_target();
    let ssh = Client::ssh_over_itself(&sshd, target.addr());
    let addr = free_addr();
    let hop = format!("proxy_jump = \"{}:{}\"", sshd.host(), sshd.port());
    let daemon = start_tunneld_with(&options.program, &sshd, target.addr(), &[addr], &hop);
    for addr in [ssh.side().addr(), addr] {
        wait_until_carried(addr);
    }
    for (way, word) in [(Bulk::Down, "down"), (Bulk::Up, "up")] {
        let run = |addr| work::bulk(way, options.mib, addr, None).mib_per_s;
        let rounds: Vec<_> = (0..options.rounds)
            .map(|_| Round {
                ssh: run(ssh.side().addr()),
                tunneld: run(addr),
            })
            .collect();
        table.higher(&format!("over a jump host, {word}, MiB/s"), &rounds, |r| *r);
    }
    drop(daemon);
}

/// Four transfers at once: over one session, and over as many as there are transfers.
pub(crate) fn sessions(options: &Options, table: &mut Table) {
    let sshd = start_sshd(Some(crate::AES));
    let target = ends::start_target();
    let (one, four) = (free_addr(), free_addr());
    let program = &options.program;
    let single = start_tunneld(program, &sshd, target.addr(), &[one]);
    let many = format!("min_sessions = {STREAMS}\nmax_sessions = {STREAMS}");
    let several = start_tunneld_with(program, &sshd, target.addr(), &[four], &many);
    several.wait_for("t0", crate::tunnels::START, |t| {
        t.sessions_open as usize == STREAMS
    });
    for (way, word) in [(Bulk::Down, "down"), (Bulk::Up, "up")] {
        let run = |addr| streams(addr, way, options.mib);
        let rounds: Vec<_> = (0..options.rounds)
            .map(|_| Round {
                ssh: run(one),
                tunneld: run(four),
            })
            .collect();
        let name = format!("aes128-gcm, {STREAMS} streams at once, {word}, MiB/s in all");
        table.higher(&name, &rounds, |r| *r);
    }
    drop((single, several));
}

fn streams(addr: SocketAddr, way: Bulk, mib: u64) -> f64 {
    let start = Instant::now();
    let each = (mib << 20) / STREAMS as u64;
    thread::scope(|scope| {
        for _ in 0..STREAMS {
            scope.spawn(move || ends::transfer(addr, way, each));
        }
    });
    mib as f64 / start.elapsed().as_secs_f64()
}
