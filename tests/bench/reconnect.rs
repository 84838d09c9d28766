//! How long after a server is back a tunnel carries again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tunneld_lab::process::poll;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::table::{Round, Table};
use crate::tunnels::{Client, start_sshd, start_tunneld, wait_until_carried};
use crate::{Options, ends};

/// Long enough for autossh's own delays.
const PATIENCE: Duration = Duration::from_secs(120);

/// Both with their own defaults, and a server that is gone for a while.
pub(crate) fn rows(options: &Options, table: &mut Table) {
    if std::process::Command::new("autossh")
        .arg("-V")
        .output()
        .is_err()
    {
        eprintln!("no autossh, so no reconnects beside it: apt-get install autossh");
        return;
    }
    for away in [Duration::from_millis(200), Duration::from_secs(5)] {
        let rounds: Vec<_> = (0..options.rounds.min(5))
            .map(|_| round(options, away))
            .collect();
        let name = format!("sshd gone for {away:?} and back: first byte after, s");
        table.lower(&name, &rounds, |seconds| *seconds);
    }
}

fn round(options: &Options, away: Duration) -> Round<f64> {
    let target = ends::start_target();
    let ssh = {
        let mut sshd = start_sshd(None);
        let client = Client::autossh(&sshd, target.addr());
        outage(&mut sshd, client.side().addr(), away)
    };
    let tunneld = {
        let mut sshd = start_sshd(None);
        let addr = free_addr();
        let _daemon = start_tunneld(&options.program, &sshd, target.addr(), &[addr]);
        outage(&mut sshd, addr, away)
    };
    Round { ssh, tunneld }
}

/// Seconds from the moment when the server listens again to the first byte through the tunnel.
fn outage(sshd: &mut Sshd, addr: SocketAddr, away: Duration) -> f64 {
    wait_until_carried(addr);
    sshd.kill9();
    std::thread::park_timeout(away);
    sshd.restart();
    let back = Instant::now();
    let carried = poll(PATIENCE, || ends::echo_connection(addr).ok());
    assert!(carried.is_some(), "nothing comes back through {addr}");
    back.elapsed().as_secs_f64()
}
