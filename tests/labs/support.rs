//! What every lab needs: servers with an account for the tunnel, the machine that tunneld runs on,
//! and looks at what can be reached.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tunneld_core::status::Phase;
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::keys::{KeyFiles, generate};
use tunneld_lab::process::{printed, require};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::topology::Topology;

use crate::example::Example;

/// How long anything may take before the test gives it up.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What is served where nobody but the tunnel comes.
pub(crate) const PAGE: &str = "<title>behind the tunnel</title>\n";

/// The shell of an account that shall not have one.
const NOLOGIN: &str = "/usr/sbin/nologin";

/// A socket address that is right.
pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// An SSH server at a node, with an account that has no shell, no password, and no key yet.
pub(crate) fn server(lab: &Topology, node: &str, listen: &str, user: &str, config: &str) -> Sshd {
    lab.account(node, user, NOLOGIN);
    login_server(lab, node, listen, config)
}

/// An SSH server at a node, for the accounts that the node has. No key may log in yet.
pub(crate) fn login_server(lab: &Topology, node: &str, listen: &str, config: &str) -> Sshd {
    let listen = addr(listen);
    let builder = Sshd::builder().listen(listen.ip()).port(listen.port());
    let builder = builder.config(config).prefix(&lab.exec_prefix(node));
    let sshd = builder.start();
    sshd.authorize_nobody();
    // The server reads authorized_keys as the account that logs in.
    fs::set_permissions(sshd.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    sshd
}

/// A line of known_hosts for a server, by this name.
pub(crate) fn known_host(sshd: &Sshd, name: &str) -> String {
    let key = sshd.host_keys()[0].public_line();
    match sshd.port() {
        22 => format!("{name} {key}\n"),
        port => format!("[{name}]:{port} {key}\n"),
    }
}

/// The machine that tunneld runs on.
pub(crate) struct Machine {
    builder: DaemonBuilder,
}

impl Machine {
    pub(crate) fn new(lab: &Topology, node: &str) -> Self {
        let binary = Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld"));
        let builder = Daemon::builder(&binary).log_filter("debug");
        let builder = builder.prefix(&lab.exec_prefix(node));
        fs::create_dir(builder.dir().join("keys")).unwrap();
        Machine { builder }
    }

    /// What stands for /etc/tunneld.
    pub(crate) fn dir(&self) -> &Path {
        self.builder.dir()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The key of this name, made when it is first asked for.
    pub(crate) fn key(&self, name: &str) -> KeyFiles {
        let dir = self.path("keys");
        let public = dir.join(format!("{name}.pub"));
        match public.exists() {
            true => KeyFiles {
                private: dir.join(name),
                public,
            },
            false => generate(&dir, name),
        }
    }

    /// Lets the machine's key log in with these rights, and makes the server known by this name.
    pub(crate) fn may_use(&self, sshd: &Sshd, name: &str, rights: &str) {
        self.may_use_with(sshd, name, rights, ("id_ed25519", "known_hosts"));
    }

    /// The same with other files than the usual ones.
    pub(crate) fn may_use_with(&self, sshd: &Sshd, name: &str, rights: &str, files: (&str, &str)) {
        let (key, known_hosts) = (self.key(files.0), self.path(files.1));
        sshd.authorize(&format!("{rights} {}", key.public_line()));
        let old = fs::read_to_string(&known_hosts).unwrap_or_default();
        fs::write(known_hosts, old + &known_host(sshd, name)).unwrap();
    }

    /// Runs tunneld with the example, until this tunnel of it is up.
    pub(crate) fn up(self, example: &Example, tunnel: &str) -> Daemon {
        let daemon = self.builder.config(&example.config()).start();
        daemon.wait_phase(tunnel, Phase::Up, LONG);
        daemon
    }
}

/// Makes sure that a node has no way to an address: there is no route.
pub(crate) fn no_way(lab: &Topology, node: &str, to: &str) {
    assert_eq!(connect_error(lab, node, to), ErrorKind::NetworkUnreachable);
}

/// Makes sure that a node can reach the machine of an address, where nothing listens for it.
pub(crate) fn closed(lab: &Topology, node: &str, to: &str) {
    assert_eq!(connect_error(lab, node, to), ErrorKind::ConnectionRefused);
}

fn connect_error(lab: &Topology, node: &str, to: &str) -> ErrorKind {
    let result = lab.inside(node, || TcpStream::connect_timeout(&addr(to), LONG));
    let error = result.expect_err(&format!("{node} reaches {to}"));
    error.kind()
}

/// Makes sure that a node does not know a name.
pub(crate) fn unknown(lab: &Topology, node: &str, name: &str) {
    let output = lab.command(node, "getent").args(["hosts", name]).output();
    let output = output.unwrap();
    assert!(!output.status.success(), "{node}: {}", printed(&output));
}

/// curl at a node, with nothing from the surroundings of the test.
pub(crate) fn curl(lab: &Topology, node: &str, args: &[&str]) -> Output {
    require("curl", "curl");
    let mut command: Command = lab.command(node, "curl");
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let common = ["-q", "-sS", "--fail", "--max-time", "60"];
    command.args(common).args(args).output().unwrap()
}

/// What is served at a URL, from a node.
pub(crate) fn fetch(lab: &Topology, node: &str, url: &str) -> Vec<u8> {
    let output = curl(lab, node, &[url]);
    assert!(output.status.success(), "{url}: {}", printed(&output));
    output.stdout
}

/// The page at a URL, from a node.
pub(crate) fn page(lab: &Topology, node: &str, url: &str) -> String {
    String::from_utf8(fetch(lab, node, url)).unwrap()
}

/// Makes sure that a URL brings nothing at a node, for this reason in curl's words.
pub(crate) fn fetch_fails(lab: &Topology, node: &str, url: &str, reason: &str) {
    let output = curl(lab, node, &[url]);
    let said = printed(&output);
    assert!(!output.status.success(), "{node} fetched {url}: {said}");
    assert!(said.contains(reason), "{said}");
}

/// Puts a file into a folder that belongs to somebody else, and gives it to them.
pub(crate) fn give(path: &Path, text: &str, owner: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(path, Some(owner), Some(owner)).unwrap();
}
