//! Two tunnels over one jump host.

use std::net::SocketAddr;

use tunneld_core::failure::Failure;
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::printed;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::support::{LONG, Table, daemon, up};
use crate::ways::{connections, logins};

pub(crate) const NAMES: [&str; 2] = ["a", "b"];

/// Two tunnels to two servers over one jump host.
pub(crate) struct Two {
    pub(crate) daemon: Daemon,
    pub(crate) bastion: Sshd,
    pub(crate) hosts: [Sshd; 2],
    pub(crate) listens: [SocketAddr; 2],
    _echo: EchoServer,
}

impl Two {
    /// Both up.
    pub(crate) fn new(change: impl Fn(Table) -> Table) -> Self {
        let two = Self::start(|_, table| change(table));
        both_up(&two.daemon);
        two
    }

    pub(crate) fn start(change: impl Fn(&str, Table) -> Table) -> Self {
        let (bastion, echo) = (Sshd::start(), EchoServer::start());
        let hosts = [Sshd::start(), Sshd::start()];
        let listens = [free_addr(), free_addr()];
        let mut config = String::new();
        for n in 0..2 {
            let table = Table::to(&hosts[n]).named(NAMES[n]).over(&[&bastion]);
            let table = table.forward(listens[n], echo.addr());
            config += &change(NAMES[n], table).toml();
        }
        Two {
            daemon: daemon().config(&config).start(),
            bastion,
            hosts,
            listens,
            _echo: echo,
        }
    }

    /// Waits until both have lost their session, and returns why. None may be up again meanwhile.
    pub(crate) fn lost(&self) -> [Failure; 2] {
        NAMES.map(|name| {
            let lost = |t: &TunnelStatus| t.phase != Phase::Up && t.failure.is_some();
            self.daemon.wait_for(name, LONG, lost).failure.unwrap()
        })
    }

    /// Waits until both are up and carry, over one login more at the jump host.
    pub(crate) fn back(&self, logins_before: usize) {
        for (name, listen) in NAMES.iter().zip(self.listens) {
            up(&self.daemon, name);
            echoes(listen).unwrap();
        }
        logins(&self.bastion, logins_before + 1);
        connections(&self.bastion, 1);
    }
}

pub(crate) fn both_up(daemon: &Daemon) {
    for name in NAMES {
        up(daemon, name);
    }
}

pub(crate) fn stop(daemon: &Daemon, name: &str) {
    let output = daemon.cli(&["stop", name]);
    assert!(output.status.success(), "{}", printed(&output));
    daemon.wait_phase(name, Phase::Stopped, LONG);
}
