//! SSH servers other than OpenSSH's, as Debian and PyPI have them, started as their manuals say.
//!
//! They read their accounts and authorized_keys from fixed places: each runs in a mount namespace
//! of its own, with a folder of the test over the home and files of the test over those of /etc.
//! That takes root.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::keys::{KeyFiles, KeyType, ssh_keygen};
use crate::process::{LineLog, poll, prefixed, require, run};
use crate::service::Service;
use crate::target::{free_ip, free_port};

/// How long `ssh-keyscan` may take to get a key.
const SCAN_TIMEOUT: Duration = Duration::from_secs(20);

/// Below the folder of a server.
const AUTHORIZED_KEYS: &str = "home/.ssh/authorized_keys";

/// A running SSH server with throw-away keys. Dropped, it is killed.
pub struct Other {
    addr: SocketAddr,
    client_key: KeyFiles,
    service: Service,
    dir: TempDir,
}

/// A folder and an address for a server that is to be started.
struct Place {
    dir: TempDir,
    addr: SocketAddr,
    client_key: KeyFiles,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        let ip = free_ip().into();
        let client_key = ssh_keygen(KeyType::Ed25519, dir.path(), "client_key", "", &[]);
        let place = Place {
            addr: SocketAddr::new(ip, free_port(ip)),
            client_key,
            dir,
        };
        let ssh = place.path("home/.ssh");
        fs::create_dir_all(&ssh).unwrap();
        fs::copy(&place.client_key.public, place.path(AUTHORIZED_KEYS)).unwrap();
        for path in [place.path("home"), ssh] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The words that run a program with the folder `home` over the home of root, whose password
    /// is [`PASSWORD`].
    fn at_home(&self) -> Vec<String> {
        let hash = run(Command::new("openssl").args(["passwd", "-6", PASSWORD]));
        let shadow = format!("root:{}:19000:0:99999:7:::\n", hash.trim());
        fs::write(self.path("shadow"), shadow).unwrap();
        let script =
            r#"mount --bind "$0/home" /root && mount --bind "$0/shadow" /etc/shadow && exec "$@""#;
        let dir = self.dir.path().to_str().unwrap();
        ["unshare", "--mount", "sh", "-c", script, dir]
            .map(str::to_owned)
            .to_vec()
    }

    fn start(self, command: &mut Command, ready: &str) -> Other {
        let service = Service::start(command, ready);
        let other = Other {
            addr: self.addr,
            client_key: self.client_key,
            service,
            dir: self.dir,
        };
        other.scan();
        other
    }
}

/// The password of root at a server of this module.
pub const PASSWORD: &str = "correct horse battery staple";

impl Other {
    /// Dropbear, from the package `dropbear-bin`: `dropbear -F -E -R -p ADDRESS`, with an Ed25519
    /// and an RSA host key, and with `options` of dropbear(8).
    pub fn dropbear(options: &[&str]) -> Self {
        require("dropbear", "dropbear-bin");
        let place = Place::new();
        let mut command = prefixed(&place.at_home(), "dropbear");
        command.args(["-F", "-E"]);
        for kind in ["ed25519", "rsa"] {
            let key = place.path(kind);
            run(Command::new("dropbearkey")
                .args(["-t", kind, "-f"])
                .arg(&key));
            command.arg("-r").arg(key);
        }
        command
            .args(["-p", &place.addr.to_string(), "-P"])
            .arg(place.path("pid"))
            .args(options);
        place.start(&mut command, "Not backgrounding")
    }

    /// TinySSH, from the package `tinysshd`, started for each connection by systemd's socket
    /// activation, as its unit does it.
    pub fn tinysshd() -> Self {
        require("tinysshd", "tinysshd");
        require("systemd-socket-activate", "systemd");
        let place = Place::new();
        let keys = place.path("keys");
        run(Command::new("tinysshd-makekey").arg(&keys));
        let mut command = prefixed(&place.at_home(), "systemd-socket-activate");
        command
            .args(["--listen", &place.addr.to_string(), "--inetd", "--accept"])
            .args(["/usr/sbin/tinysshd", "-v"])
            .arg(keys);
        place.start(&mut command, "Listening on ")
    }

    /// AsyncSSH, from PyPI, in the virtual environment of this `python`.
    pub fn asyncssh(python: &Path) -> Self {
        assert!(
            python.exists(),
            "no {}: tests/run makes it (python3 -m venv, pip install asyncssh)",
            python.display()
        );
        let place = Place::new();
        let host_key = |kind: KeyType| {
            let name = format!("host_{}", kind.as_str());
            ssh_keygen(kind, place.dir.path(), &name, "", &[]).private
        };
        let script = place.path("server.py");
        fs::write(&script, include_str!("others/asyncssh_server.py")).unwrap();
        let mut command = Command::new(python);
        command
            .arg(script)
            .args([
                place.addr.ip().to_string(),
                place.addr.port().to_string(),
                PASSWORD.to_owned(),
            ])
            .arg(place.path(AUTHORIZED_KEYS))
            .args([KeyType::Ed25519, KeyType::Ecdsa].map(host_key));
        place.start(&mut command, "listening")
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Who may log in, with [`Other::client_key`] or [`PASSWORD`].
    pub fn user(&self) -> &'static str {
        "root"
    }

    /// The key that may log in.
    pub fn client_key(&self) -> &KeyFiles {
        &self.client_key
    }

    /// Its authorized_keys, read afresh at every login.
    pub fn authorized_keys(&self) -> PathBuf {
        self.dir.path().join(AUTHORIZED_KEYS)
    }

    /// Its host keys, as `ssh-keyscan` finds them.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.path().join("known_hosts")
    }

    /// Its folder, for more files that shall go when it goes.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has printed.
    pub fn log(&self) -> &LineLog {
        self.service.log()
    }

    fn scan(&self) {
        let found = poll(SCAN_TIMEOUT, || {
            let mut command = Command::new("ssh-keyscan");
            command.args(["-p", &self.addr.port().to_string()]);
            let lines = run(command.arg(self.addr.ip().to_string()));
            (!lines.is_empty()).then_some(lines)
        });
        let lines = found.unwrap_or_else(|| panic!("no host key:\n{}", self.log().text()));
        fs::write(self.known_hosts(), lines).unwrap();
    }
}
