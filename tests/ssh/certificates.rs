//! Certificates in files: they get in where the server knows their authority, and one that is of no
//! use says why.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tunneld_core::failure::{Class, Failure};
use tunneld_core::status::Phase;
use tunneld_lab::agent::LabAgent;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys::{KeyFiles, KeyType, certify, generate, ssh_keygen};
use tunneld_lab::process::Signal;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::support::{LONG, NEVER, Table, text, up};

/// A server that lets in whom an authority has signed, and nobody else.
struct Bed {
    sshd: Sshd,
    authority: KeyFiles,
    _dir: TempDir,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = generate(dir.path(), "authority");
        let line = format!("TrustedUserCAKeys {}", authority.public.display());
        let sshd = Sshd::builder().config(&line).start();
        sshd.authorize_nobody();
        Bed {
            sshd,
            authority,
            _dir: dir,
        }
    }

    /// Signs the server's client key.
    fn sign(&self, options: &[&str]) -> PathBuf {
        let public = &self.sshd.client_key_files().public;
        certify(&self.authority, public, "the id", options)
    }

    /// Signs it for the user that may log in.
    fn sign_for_user(&self, validity: &str) -> PathBuf {
        self.sign(&["-n", self.sshd.user(), "-V", validity])
    }

    fn table(&self) -> Table {
        let table = Table::to(&self.sshd).set("reconnect", NEVER);
        table.forward(free_addr(), free_addr())
    }

    /// What blocks a tunnel.
    fn blocked(&self, daemon: &Daemon) -> Failure {
        let status = daemon.wait_phase("t", Phase::Blocked, LONG);
        assert_eq!(self.sshd.connections_authenticated(), 0);
        status.failure.unwrap()
    }
}

fn certificate_file(path: &Path) -> String {
    text(path.display())
}

#[test]
fn a_certificate_beside_its_key_gets_in() {
    // As ssh finds it: KEY-cert.pub; of every type of key.
    for kind in [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa] {
        let bed = Bed::new();
        let files = ssh_keygen(kind, bed.sshd.dir(), "key", "", &[]);
        let options = ["-n", bed.sshd.user()];
        certify(&bed.authority, &files.public, "id", &options);
        let key = text(files.private.display());
        let _daemon = bed.table().set("identity_file", key).up();
        let kind = kind.as_str().to_uppercase();
        let what = format!("ssh2: {kind}-CERT {} ID id", files.fingerprint());
        bed.sshd.wait_for_log(&what, LONG);
    }
}

#[test]
fn a_certificate_that_is_named_gets_in() {
    // Wherever it lies; its key is in a file, or in an agent.
    let bed = Bed::new();
    let path = bed.sshd.dir().join("elsewhere");
    std::fs::rename(bed.sign_for_user("always:forever"), &path).unwrap();
    let table = bed.table().set("certificate_file", certificate_file(&path));
    table.clone().up();
    let agent = LabAgent::start(&bed.sshd.dir().join("agent.sock"));
    agent.add(bed.sshd.client_key_files());
    let wrong = generate(bed.sshd.dir(), "wrong");
    let socket = text(agent.socket().display());
    let table = table.set("identity_file", text(wrong.private.display()));
    table.set("identity_agent", socket).up();
    assert_eq!(agent.asked().signatures.len(), 1);
}

#[test]
fn a_certificate_that_has_ended_blocks_the_tunnel_until_it_is_renewed() {
    // The date is in the cause, and the new one is read at the next attempt.
    let bed = Bed::new();
    let path = bed.sign_for_user("-2m:-1m");
    let daemon = bed.table().start();
    let failure = bed.blocked(&daemon);
    let cause = format!("certificate {} expired on 20", path.display());
    assert!(failure.cause.contains(&cause), "{failure:?}");
    bed.sign_for_user("-1m:+1h");
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
}

#[test]
fn a_certificate_that_is_of_no_use_is_told_with_its_reason() {
    // Not valid yet, of a host, of another key.
    let bed = Bed::new();
    let other = generate(bed.sshd.dir(), "other");
    let says = |path: PathBuf, part: &str| {
        let table = bed.table().set("certificate_file", certificate_file(&path));
        let daemon = table.start();
        let has = |t: &tunneld_core::status::TunnelStatus| t.failure.is_some();
        let failure = daemon.wait_for("t", LONG, has).failure.unwrap();
        let part = format!("certificate {}{part}", path.display());
        assert!(failure.cause.contains(&part), "{part} in {failure:?}");
        std::fs::remove_file(path).unwrap();
    };
    says(bed.sign_for_user("+1h:+2h"), " is not valid before 20");
    says(
        bed.sign(&["-h"]),
        " is a host certificate, not a user certificate",
    );
    let others = certify(&bed.authority, &other.public, "id", &[]);
    says(others, ": its key SHA256:");
    let missing = bed.sshd.dir().join("missing");
    std::fs::write(&missing, "").unwrap();
    says(missing, " is an empty file, not a user certificate");
}

#[test]
fn a_certificate_that_the_server_does_not_take_is_rejected_like_a_key() {
    // For another user; by an authority that the server does not know.
    let bed = Bed::new();
    bed.sign(&["-n", "somebody-else"]);
    let failure = bed.blocked(&bed.table().start());
    assert!(failure.cause.starts_with("server rejected"), "{failure:?}");
    assert_eq!(failure.class, Class::Blocked);
    let stranger = generate(bed.sshd.dir(), "stranger");
    let public = &bed.sshd.client_key_files().public;
    certify(&stranger, public, "id", &["-n", bed.sshd.user()]);
    let failure = bed.blocked(&bed.table().start());
    assert!(failure.cause.starts_with("server rejected"), "{failure:?}");
}
