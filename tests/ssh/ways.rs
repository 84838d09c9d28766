//! What tests of the way to a server need: jump hosts in a table, and what a process has.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tunneld_core::failure::{Class, Failure};
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys::{KeyFiles, generate};
use tunneld_lab::process::{has_ended, poll};
use tunneld_lab::sshd::Sshd;

use crate::support::{LONG, Table, pass};

impl Table {
    /// Over these jump hosts, each with its own key and known_hosts.
    pub(crate) fn over(self, hops: &[&Sshd]) -> Self {
        let hops: Vec<_> = hops.iter().map(|sshd| hop(sshd, sshd.addr())).collect();
        self.set("proxy_jump", format!("[{}]", hops.join(", ")))
    }
}

/// The table of a jump host that is reached at this address.
pub(crate) fn hop(sshd: &Sshd, addr: SocketAddr) -> String {
    format!(
        "{{ host = \"{}\", port = {}, user = \"{}\", identity_file = \"{}\", known_hosts = \"{}\" }}",
        addr.ip(),
        addr.port(),
        sshd.user(),
        sshd.client_key().display(),
        sshd.known_hosts().display()
    )
}

/// A key that may log in as every user of the machine at the servers that are made with it.
pub(crate) struct Everybody {
    pub(crate) key: KeyFiles,
    keys: PathBuf,
    _dir: TempDir,
}

impl Everybody {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A server reads the keys as the user that wants to log in.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (key, keys) = (generate(dir.path(), "key"), dir.path().join("keys"));
        fs::write(&keys, key.public_line()).unwrap();
        Everybody {
            key,
            keys,
            _dir: dir,
        }
    }

    pub(crate) fn sshd(&self) -> Sshd {
        let config = format!("AuthorizedKeysFile {}", self.keys.display());
        Sshd::builder().config(&config).start()
    }
}

/// How the cause of a failure at a jump host begins.
pub(crate) fn at_hop(sshd: &Sshd) -> String {
    format!("jump host {}: ", sshd.addr())
}

/// Waits until a tunnel is blocked.
pub(crate) fn blocked(daemon: &Daemon, name: &str) -> Failure {
    let status = daemon.wait_phase(name, Phase::Blocked, LONG);
    let failure = status.failure.unwrap();
    assert_eq!(failure.class, Class::Blocked, "{failure:?}");
    failure
}

/// Waits until a server has seen this many logins, and makes sure that it has not seen more.
pub(crate) fn logins(sshd: &Sshd, wanted: usize) {
    // sshd writes the line while the client goes on already.
    poll(LONG, || {
        (sshd.connections_authenticated() >= wanted).then_some(())
    });
    assert_eq!(sshd.connections_authenticated(), wanted, "{}", sshd.log());
}

/// Waits until a server has this many connections: each is served by a process of its own.
pub(crate) fn connections(sshd: &Sshd, wanted: usize) {
    let there = poll(LONG, || (sshd.sessions().len() == wanted).then_some(()));
    assert!(
        there.is_some(),
        "{} connections, not {wanted}\n{}",
        sshd.sessions().len(),
        sshd.log()
    );
}

/// The open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> BTreeSet<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let number = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse().ok()
    };
    entries.filter_map(number).collect()
}

/// Waits until all of these processes have ended.
pub(crate) fn end(pids: &[u32]) {
    let over = poll(LONG, || {
        pids.iter().all(|pid| has_ended(*pid)).then_some(())
    });
    let left: Vec<_> = pids.iter().filter(|pid| !has_ended(**pid)).collect();
    assert!(over.is_some(), "these live on: {left:?}");
}

/// How many descriptors a daemon has once nothing more is being closed.
pub(crate) fn settled(pid: u32) -> usize {
    let mut last = descriptors(pid);
    let still = poll(LONG, || {
        pass(Duration::from_millis(300));
        let now = descriptors(pid);
        let same = now == last;
        last = now;
        same.then_some(())
    });
    assert!(still.is_some(), "{last:?}");
    last.len()
}
