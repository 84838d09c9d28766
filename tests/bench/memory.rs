//! Memory: idle tunnels, and idle connections of one tunnel.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use tunneld_lab::process::descendants;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::process::pss_mib;
use crate::table::{Round, Table};
use crate::tunnels::{Client, Pair, Side, start_sshd, start_tunneld, wait_until_carried};
use crate::{Options, ends};

/// How many idle connections one tunnel gets.
const CONNECTIONS: usize = 500;

/// All memory rows.
pub(crate) fn rows(options: &Options, table: &mut Table) {
    if Command::new("autossh").arg("-V").output().is_err() {
        eprintln!("no autossh, so no memory of tunnels: apt-get install autossh");
    } else {
        for count in [1, options.tunnels] {
            idle_tunnels(options, count, table);
        }
        thousand(options, table);
    }
    idle_connections(options, table);
}

/// `count` tunnels in one tunneld, against as many pairs of autossh and ssh.
fn idle_tunnels(options: &Options, count: usize, table: &mut Table) {
    let sshd = start_sshd(None);
    let target = ends::start_target();
    let tunneld = {
        let listen: Vec<SocketAddr> = (0..count).map(|_| free_addr()).collect();
        let daemon = start_tunneld(&options.program, &sshd, target.addr(), &listen);
        listen.into_iter().for_each(wait_until_carried);
        pss_mib(daemon.pid())
    };
    let ssh = pairs_mib(&sshd, target.addr(), count);
    let name = match count {
        1 => "memory (PSS) of 1 idle tunnel, MiB; ssh with autossh".to_owned(),
        n => format!("memory (PSS) of {n} idle tunnels, MiB; {n} × ssh with autossh"),
    };
    table.lower(&name, &[Round { ssh, tunneld }], |mib| *mib);
}

/// A thousand tunnels in one tunneld, against ten times a hundred pairs of autossh and ssh: so many
/// processes of ssh are not started.
fn thousand(options: &Options, table: &mut Table) {
    const TUNNELS: usize = 1000;
    const PAIRS: usize = 100;
    let sshd = start_sshd(None);
    let target = ends::start_target();
    let listen: Vec<SocketAddr> = (0..TUNNELS).map(|_| free_addr()).collect();
    let tunneld = {
        let daemon = start_tunneld(&options.program, &sshd, target.addr(), &listen);
        listen.into_iter().for_each(wait_until_carried);
        pss_mib(daemon.pid())
    };
    let ssh = pairs_mib(&sshd, target.addr(), PAIRS) * (TUNNELS / PAIRS) as f64;
    let name =
        format!("memory (PSS) of {TUNNELS} idle tunnels, MiB; 10 × {PAIRS} × ssh with autossh");
    table.lower(&name, &[Round { ssh, tunneld }], |mib| *mib);
}

/// What `count` pairs of autossh and ssh take.
fn pairs_mib(sshd: &Sshd, target: SocketAddr, count: usize) -> f64 {
    let clients: Vec<Client> = (0..count).map(|_| Client::autossh(sshd, target)).collect();
    for client in &clients {
        wait_until_carried(client.side().addr());
    }
    let pids = clients.iter().map(|client| client.side().pid());
    pids.map(|pid| pss_mib(pid) + descendants(pid).into_iter().map(pss_mib).sum::<f64>())
        .sum()
}

fn idle_connections(options: &Options, table: &mut Table) {
    let pair = Pair::start(&options.program, None);
    let round = Round {
        ssh: kib_per_connection(pair.ssh()),
        tunneld: kib_per_connection(pair.tunneld()),
    };
    let name = format!("memory (PSS) of an idle connection, KiB; {CONNECTIONS} of them");
    table.lower(&name, &[round], |kib| *kib);
}

fn kib_per_connection(side: Side) -> f64 {
    let before = pss_mib(side.pid());
    let open = |_| ends::echo_connection(side.addr()).expect("too few open files are allowed");
    let connections: Vec<TcpStream> = (0..CONNECTIONS).map(open).collect();
    let grown = pss_mib(side.pid()) - before;
    grown * 1024.0 / connections.len() as f64
}
