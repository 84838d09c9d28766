//! An SSH server of another maker, Python's asyncssh, that wants another password than the one that
//! it has just taken: OpenSSH's never asks so. Needs python3-asyncssh.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::keys::{KeyFiles, generate};
use crate::service::Service;
use crate::sshd::known_hosts_line;
use crate::target::free_addr;

/// The one of the distribution, which has the distribution's packages.
const PYTHON: &str = "/usr/bin/python3";

const SERVER: &str = include_str!("expired/server.py");

/// A running server that lets nobody in with an old password. Dropped, it is gone.
pub struct ExpiredPassword {
    service: Service,
    addr: SocketAddr,
    host_key: KeyFiles,
    _dir: TempDir,
}

impl ExpiredPassword {
    /// Starts it, and returns once it listens.
    ///
    /// # Panics
    /// Without asyncssh (apt-get install python3-asyncssh), or when it does not come up.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        let (addr, host_key) = (free_addr(), generate(dir.path(), "host"));
        let mut command = Command::new(PYTHON);
        command
            .args(["-u", "-c", SERVER, &addr.ip().to_string()])
            .arg(addr.port().to_string())
            .arg(&host_key.private);
        ExpiredPassword {
            service: Service::start(&mut command, "listens"),
            addr,
            host_key,
            _dir: dir,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The line of known_hosts for it.
    pub fn known_hosts_line(&self) -> String {
        known_hosts_line(self.addr, &self.host_key.public_line())
    }

    /// Waits until it has asked somebody for another password.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_until_it_asks(&self, timeout: Duration) {
        let log = self.service.log();
        let asked = log.wait_for_line(0, "asks for another password", timeout);
        assert!(asked.is_some(), "{}", log.text());
    }
}
