//! The two programs that are compared, each with a tunnel to the same server and target.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{kill_tree, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{TcpServer, free_addr};

use crate::ends;
use crate::table::Round;

/// How long a tunnel may take to come up.
pub(crate) const START: Duration = Duration::from_secs(60);

/// One tunnel each, up and proven.
pub(crate) struct Pair {
    ssh: Client,
    tunneld: Side,
    daemon: Daemon,
    target: TcpServer,
    // Dropped last: its clients do not have to notice that it goes.
    _sshd: Sshd,
}

/// Where a program listens, and its process.
#[derive(Clone, Copy)]
pub(crate) struct Side {
    addr: SocketAddr,
    pid: u32,
}

impl Side {
    /// Where its tunnel begins.
    pub(crate) fn addr(self) -> SocketAddr {
        self.addr
    }

    /// The process that does the work.
    pub(crate) fn pid(self) -> u32 {
        self.pid
    }
}

impl Pair {
    /// Starts a real sshd and both programs; with `ciphers`, the server has no other.
    pub(crate) fn start(program: &Path, ciphers: Option<&str>) -> Pair {
        let sshd = start_sshd(ciphers);
        let target = ends::start_target();
        let ssh = Client::ssh(&sshd, target.addr(), ciphers);
        let addr = free_addr();
        let daemon = start_tunneld(program, &sshd, target.addr(), &[addr]);
        let tunneld = Side {
            addr,
            pid: daemon.pid(),
        };
        wait_until_carried(ssh.side.addr);
        wait_until_carried(addr);
        Pair {
            ssh,
            tunneld,
            daemon,
            target,
            _sshd: sshd,
        }
    }

    /// The cipher of tunneld's session.
    pub(crate) fn cipher(&self) -> String {
        let session = self.daemon.tunnel("t0").session;
        session.map(|s| s.cipher).unwrap_or_default()
    }

    /// Where both tunnels lead.
    pub(crate) fn target(&self) -> SocketAddr {
        self.target.addr()
    }

    /// ssh's side.
    pub(crate) fn ssh(&self) -> Side {
        self.ssh.side
    }

    /// tunneld's side.
    pub(crate) fn tunneld(&self) -> Side {
        self.tunneld
    }

    /// Does some work through both, in turns: who begins changes from round to round.
    pub(crate) fn rounds<T>(&self, count: usize, work: impl Fn(Side) -> T) -> Vec<Round<T>> {
        let round = |n: usize| {
            if n.is_multiple_of(2) {
                let ssh = work(self.ssh.side);
                let tunneld = work(self.tunneld);
                Round { ssh, tunneld }
            } else {
                let tunneld = work(self.tunneld);
                let ssh = work(self.ssh.side);
                Round { ssh, tunneld }
            }
        };
        (0..count).map(round).collect()
    }
}

/// The real server; with `ciphers`, it has no other.
pub(crate) fn start_sshd(ciphers: Option<&str>) -> Sshd {
    let line = ciphers.map(|c| format!("Ciphers {c}")).unwrap_or_default();
    let sshd = Sshd::builder().config(&line).log_level("INFO");
    sshd.start()
}

/// A daemon with a tunnel for each of `listen`, once all of them are up.
pub(crate) fn start_tunneld(
    program: &Path,
    sshd: &Sshd,
    target: SocketAddr,
    listen: &[SocketAddr],
) -> Daemon {
    start_tunneld_with(program, sshd, target, listen, "")
}

/// The same, with more lines for `[defaults]`.
pub(crate) fn start_tunneld_with(
    program: &Path,
    sshd: &Sshd,
    target: SocketAddr,
    listen: &[SocketAddr],
    more: &str,
) -> Daemon {
    let mut config = format!(
        "[defaults]\nport = {}\nuser = {:?}\nidentity_file = {:?}\nknown_hosts = {:?}\n{more}\n",
        sshd.port(),
        sshd.user(),
        sshd.client_key(),
        sshd.known_hosts(),
    );
    for (n, listen) in listen.iter().enumerate() {
        config.push_str(&format!(
            "[tunnels.t{n}]\nhost = {:?}\nlocal_forward = [{{ listen = \"{listen}\", \
             connect = \"{target}\", max_connections = 10000 }}]\n",
            sshd.host(),
        ));
    }
    let daemon = Daemon::start(program, &config);
    let all_up = poll(START, || {
        let tunnels = daemon.try_status().ok()?.tunnels;
        let up = tunnels.iter().all(|t| t.phase == Phase::Up);
        up.then_some(())
    });
    assert!(all_up.is_some(), "not up in time:\n{}", daemon.log_text());
    daemon
}

/// A running `ssh`, or an `autossh` with its `ssh`. Dropped, it is killed.
pub(crate) struct Client {
    side: Side,
    child: Child,
}

impl Client {
    /// `ssh -N -L`.
    pub(crate) fn ssh(sshd: &Sshd, target: SocketAddr, ciphers: Option<&str>) -> Client {
        let mut command = sshd.ssh_command();
        if let Some(ciphers) = ciphers {
            command.args(["-c", ciphers]);
        }
        Self::start(command, target)
    }

    /// `ssh -N -L` over a jump host, which is the same server.
    pub(crate) fn ssh_over_itself(sshd: &Sshd, target: SocketAddr) -> Client {
        let quoted = |command: &Command| {
            let args = command.get_args().map(|arg| arg.to_string_lossy());
            args.map(|arg| format!("'{arg}'")).collect::<Vec<_>>()
        };
        let hop = quoted(&sshd.ssh_command()).join(" ");
        let mut command = sshd.ssh_command();
        // As -J, which would not take the keys and hosts of this server.
        command.args(["-o", &format!("ProxyCommand=ssh -W %h:%p {hop}")]);
        Self::start(command, target)
    }

    /// `autossh -M 0 -N -L`.
    pub(crate) fn autossh(sshd: &Sshd, target: SocketAddr) -> Client {
        let mut command = Command::new("autossh");
        command.env("AUTOSSH_GATETIME", "0").args(["-M", "0"]);
        command.args(sshd.ssh_command().get_args());
        command.stdin(Stdio::null());
        Self::start(command, target)
    }

    fn start(mut command: Command, target: SocketAddr) -> Client {
        let addr = free_addr();
        let program = command.get_program().to_owned();
        let child = command
            .arg("-N")
            .args(["-o", "ExitOnForwardFailure=yes", "-L"])
            .arg(format!("{addr}:{target}"))
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {program:?}: {e}"));
        let side = Side {
            addr,
            pid: child.id(),
        };
        Client { side, child }
    }

    /// Where it listens, and its process.
    pub(crate) fn side(&self) -> Side {
        self.side
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        kill_tree(self.child.id());
        // It has been killed: how it ended is known.
        let _ = self.child.wait();
    }
}

/// Waits until a byte comes back through a tunnel.
pub(crate) fn wait_until_carried(addr: SocketAddr) {
    let carried = poll(START, || ends::echo_connection(addr).ok());
    assert!(carried.is_some(), "nothing comes back through {addr}");
}
