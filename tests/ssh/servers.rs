//! What works with which server: the table of docs/servers.md is true.
//!
//! Each server is asked for everything that the table has a row for. What it has must work, and
//! what it has not must be told as such: a table that promises too little is wrong as well.

use std::any::Any;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys::{KeyFiles, KeyType, certify, ssh_keygen};
use tunneld_lab::login::Passwords;
use tunneld_lab::others::{Other, PASSWORD};
use tunneld_lab::process::poll;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr, free_port, try_connect};
use tunneld_lab::unix::{self, UnixServer};

use crate::support::{LONG, Table, secret, text};

const TABLE: &str = include_str!("../../docs/servers.md");

/// What a server is asked for: a row of the table.
type Row = (&'static str, fn(&Case) -> bool);

const ROWS: [Row; 14] = [
    ("Ed25519 key", |case| case.logs_in_with(&case.key)),
    ("RSA key, with SHA-2", |case| {
        let rsa = case.authorize(KeyType::Rsa);
        case.logs_in_with(&rsa)
    }),
    ("ECDSA key", |case| {
        let ecdsa = case.authorize(KeyType::Ecdsa);
        case.logs_in_with(&ecdsa)
    }),
    ("user certificate", Case::logs_in_by_certificate),
    ("password", |case| case.logs_in_by_password()),
    ("`compression`", |case| {
        case.carries_local(|t| t.set("compression", true))
    }),
    ("keepalive is answered", |case| {
        let table = case.table().alive("1s", 3);
        let daemon = table.forward(free_addr(), free_addr()).start();
        let answered = || {
            let session = daemon.tunnel("t").session?;
            session.round_trip_us
        };
        case.logged_in(&daemon) && poll(PATIENCE, answered).is_some()
    }),
    ("`local_forward`", |case| case.carries_local(|t| t)),
    ("`local_forward` to a unix socket", |case| {
        let target = case.path("target.sock");
        let _echo = UnixServer::echo(&target);
        let listen = free_addr();
        let daemon = case.table().forward(listen, target.display()).start();
        case.logged_in(&daemon) && echoes(listen).is_ok()
    }),
    ("`remote_forward`", |case| {
        // Where servers let others listen unless they are told to let them listen everywhere.
        let ip = Ipv4Addr::LOCALHOST.into();
        let listen = SocketAddr::new(ip, free_port(ip));
        let echo = EchoServer::start();
        let daemon = case.table().remote(listen, echo.addr()).start();
        is_up(&daemon) && echoes(listen).is_ok()
    }),
    ("`remote_forward` of a unix socket", |case| {
        let (listen, echo) = (case.path("listen.sock"), EchoServer::start());
        let daemon = case.table().remote(listen.display(), echo.addr()).start();
        is_up(&daemon) && unix_echoes(&listen)
    }),
    ("`dynamic_forward`", |case| {
        let (listen, echo) = (free_addr(), EchoServer::start());
        let daemon = case.table().dynamic(listen).start();
        case.logged_in(&daemon) && echoes_through(listen, echo.addr())
    }),
    ("as a jump host", |case| {
        let (sshd, listen, echo) = (Sshd::start(), free_addr(), EchoServer::start());
        let hop = format!("[{}]", case.hop());
        let table = Table::to(&sshd)
            .set("proxy_jump", hop)
            .forward(listen, echo.addr());
        let daemon = table.start();
        is_up(&daemon) && echoes(listen).is_ok()
    }),
    ("announces its host keys", |case| case.announces()),
];

/// How long is waited for what a server may not do at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server, with a folder for what its rows need.
struct Case {
    addr: SocketAddr,
    user: String,
    key: KeyFiles,
    authorized_keys: PathBuf,
    known_hosts: PathBuf,
    dir: PathBuf,
    _server: Box<dyn Any>,
}

impl Case {
    fn openssh() -> Self {
        let passwords = Passwords::new(PASSWORD);
        let sshd = passwords
            .sshd("PasswordAuthentication yes")
            .host_keys(&[KeyType::Ed25519, KeyType::Ecdsa])
            .start();
        Case {
            addr: sshd.addr(),
            user: sshd.user().to_owned(),
            key: sshd.client_key_files().clone(),
            authorized_keys: sshd.authorized_keys(),
            known_hosts: sshd.known_hosts(),
            dir: sshd.dir().to_owned(),
            _server: Box::new((sshd, passwords)),
        }
    }

    fn other(server: Other) -> Self {
        Case {
            addr: server.addr(),
            user: server.user().to_owned(),
            key: server.client_key().clone(),
            authorized_keys: server.authorized_keys(),
            known_hosts: server.known_hosts(),
            dir: server.dir().to_owned(),
            _server: Box::new(server),
        }
    }

    /// Compares what works with what the column of `name` says.
    fn keeps_to(&self, name: &str) {
        let column = column(name);
        let said: Vec<_> = column.iter().map(|(row, _)| row.as_str()).collect();
        let rows: Vec<_> = ROWS.iter().map(|(row, _)| *row).collect();
        assert_eq!(said, rows, "the rows of docs/servers.md");
        let found: Vec<_> = ROWS
            .iter()
            .map(|(row, works)| ((*row).to_owned(), works(self)))
            .collect();
        assert_eq!(
            found, column,
            "{name}: what works, and what docs/servers.md says"
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn table(&self) -> Table {
        Table::new(self.addr, &self.user, &self.key.private, &self.known_hosts)
    }

    fn hop(&self) -> String {
        format!(
            "{{ host = \"{}\", port = {}, user = \"{}\", identity_file = \"{}\", known_hosts = \"{}\" }}",
            self.addr.ip(),
            self.addr.port(),
            self.user,
            self.key.private.display(),
            self.known_hosts.display()
        )
    }

    /// One more key that may log in.
    fn authorize(&self, kind: KeyType) -> KeyFiles {
        let key = ssh_keygen(
            kind,
            &self.dir,
            &format!("client_{}", kind.as_str()),
            "",
            &[],
        );
        self.allow(&key.public_line());
        key
    }

    /// One more line of authorized_keys.
    fn allow(&self, line: &str) {
        let old = fs::read_to_string(&self.authorized_keys).unwrap();
        fs::write(&self.authorized_keys, format!("{old}{line}\n")).unwrap();
    }

    /// Whether it has let the tunnel `t` in.
    fn logged_in(&self, daemon: &Daemon) -> bool {
        let settled = |s: &TunnelStatus| s.session.is_some() || s.failure.is_some();
        daemon.wait_for("t", LONG, settled).session.is_some()
    }

    fn logs_in(&self, table: Table) -> bool {
        self.logged_in(&table.forward(free_addr(), free_addr()).start())
    }

    fn logs_in_with(&self, key: &KeyFiles) -> bool {
        let file = text(key.private.display());
        self.logs_in(self.table().set("identity_file", file))
    }

    fn logs_in_by_password(&self) -> bool {
        let file = secret(&self.dir, "password", PASSWORD);
        let rejected = ssh_keygen(KeyType::Ed25519, &self.dir, "rejected", "", &[]);
        let table = self
            .table()
            .set("identity_file", text(rejected.private.display()));
        self.logs_in(table.set("password_credential", file))
    }

    fn logs_in_by_certificate(&self) -> bool {
        let make = |name| ssh_keygen(KeyType::Ed25519, &self.dir, name, "", &[]);
        let (authority, key) = (make("authority"), make("certified"));
        certify(&authority, &key.public, "id", &["-n", &self.user]);
        let line = format!("cert-authority {}", authority.public_line());
        self.allow(&line);
        self.logs_in_with(&key)
    }

    fn carries_local(&self, change: impl FnOnce(Table) -> Table) -> bool {
        let (listen, echo) = (free_addr(), EchoServer::start());
        let daemon = change(self.table()).forward(listen, echo.addr()).start();
        self.logged_in(&daemon) && echoes(listen).is_ok()
    }

    /// Whether a key of the host that is not known yet is learnt from the host itself.
    fn announces(&self) -> bool {
        let known = self.path("one_key");
        let lines = fs::read_to_string(&self.known_hosts).unwrap();
        let first = lines.lines().find(|line| line.contains("ssh-ed25519"));
        fs::write(&known, format!("{}\n", first.unwrap())).unwrap();
        let table = self.table().set("known_hosts", text(known.display()));
        let table = table.set("update_host_keys", true);
        let daemon = table.forward(free_addr(), free_addr()).start();
        let learnt = || {
            let lines = fs::read_to_string(&known).unwrap().lines().count();
            (lines > 1).then_some(())
        };
        self.logged_in(&daemon) && poll(PATIENCE, learnt).is_some()
    }
}

fn is_up(daemon: &Daemon) -> bool {
    let refused = |s: &TunnelStatus| s.forwards.iter().any(|f| f.failure.is_some());
    let settled = |s: &TunnelStatus| match s.phase {
        Phase::Degraded => refused(s),
        phase => phase == Phase::Up || s.failure.is_some(),
    };
    daemon.wait_for("t", LONG, settled).phase == Phase::Up
}

fn unix_echoes(path: &Path) -> bool {
    let Ok(mut client) = unix::try_connect(path) else {
        return false;
    };
    let mut back = [0];
    client.write_all(b"x").is_ok() && client.read_exact(&mut back).is_ok() && &back == b"x"
}

/// An echo through SOCKS 5 (RFC 1928).
fn echoes_through(proxy: SocketAddr, to: SocketAddr) -> bool {
    let IpAddr::V4(ip) = to.ip() else {
        return false;
    };
    let ask = || -> std::io::Result<[u8; 1]> {
        let mut client = try_connect(proxy)?;
        client.write_all(&[5, 1, 0])?;
        client.read_exact(&mut [0; 2])?;
        let address = [&[5, 1, 0, 1][..], &ip.octets(), &to.port().to_be_bytes()].concat();
        client.write_all(&address)?;
        client.read_exact(&mut [0; 10])?;
        client.write_all(b"x")?;
        let mut back = [0];
        client.read_exact(&mut back)?;
        Ok(back)
    };
    ask().is_ok_and(|back| &back == b"x")
}

/// The rows of the table and what they say of a server.
fn column(server: &str) -> Vec<(String, bool)> {
    let mut lines = TABLE.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim_matches('|');
        inner
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let head = cells(lines.next().unwrap());
    let at = head.iter().position(|cell| cell.starts_with(server));
    let at = at.unwrap_or_else(|| panic!("docs/servers.md has no column {server}"));
    let said = |line: &str| {
        let cells = cells(line);
        let works = match cells[at].as_str() {
            "yes" => true,
            "no" => false,
            other => panic!("docs/servers.md: {other:?} is neither yes nor no"),
        };
        (cells[0].clone(), works)
    };
    lines.skip(1).map(said).collect()
}

#[test]
fn openssh_does_what_the_table_says() {
    // The reference: what it does not do, nobody can promise.
    Case::openssh().keeps_to("OpenSSH");
}

#[test]
fn dropbear_does_what_the_table_says() {
    // The server of routers and small machines.
    Case::other(Other::dropbear(&["-W", "1048576"])).keeps_to("Dropbear");
}

#[test]
fn tinyssh_does_what_the_table_says() {
    // It lets people in and forwards nothing: a tunnel to it must say so.
    Case::other(Other::tinysshd()).keeps_to("TinySSH");
}

#[test]
fn asyncssh_does_what_the_table_says() {
    // A server that is written in Python, as programs carry it with them.
    Case::other(Other::asyncssh(&asyncssh_python())).keeps_to("AsyncSSH");
}

/// The python of the virtual environment that tests/run makes beside the build.
fn asyncssh_python() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../asyncssh/bin/python")
}
