//! The server's certificate: an authority that known_hosts names vouches for its key, for as long as
//! it says and for the hosts that it says.

use std::fs;
use std::path::Path;
use std::process::Command;

use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys::{KeyFiles, KeyType, ssh_keygen};
use tunneld_lab::process::run;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::support::{LONG, Table, fails, text, up};

/// A server whose host key an authority has signed, and the authority.
struct Certified {
    sshd: Sshd,
    authority: KeyFiles,
    kind: KeyType,
}

impl Certified {
    fn new() -> Self {
        Self::with(KeyType::Ed25519, KeyType::Ed25519)
    }

    /// With a host key and an authority of these types.
    fn with(kind: KeyType, authority: KeyType) -> Self {
        let sshd = Sshd::builder().host_keys(&[kind]).start();
        let authority = ssh_keygen(authority, sshd.dir(), "authority", "", &[]);
        let certificate = sshd.dir().join(format!("host_{}-cert.pub", kind.as_str()));
        let mut certified = Certified {
            sshd,
            authority,
            kind,
        };
        let line = format!("HostCertificate {}", certificate.display());
        certified.sshd.restart_with(&line);
        let host = certified.sshd.host();
        certified.sign(&["-n", &host]);
        certified.trust_authority();
        certified
    }

    /// Gives the server a new certificate, made with these arguments of ssh-keygen.
    fn sign(&mut self, args: &[&str]) {
        sign(&self.authority.private, args, &self.sshd, self.kind);
        self.sshd.restart();
    }

    /// Lets known_hosts have the authority, and nothing else.
    fn trust_authority(&self) {
        fs::write(self.sshd.known_hosts(), self.authority_line()).unwrap();
    }

    /// The line that names the authority for the server's port.
    fn authority_line(&self) -> String {
        let key = self.authority.public_line();
        format!("@cert-authority [*]:{} {key}\n", self.sshd.port())
    }

    fn table(&self) -> Table {
        Table::to(&self.sshd)
    }

    /// That the server's certificate is refused for this, and what to do about it.
    fn refuses(&self, what: &str) -> String {
        let failure = blocked(&self.table().forward(free_addr(), free_addr()).start());
        assert_eq!(failure.cause, self.cause(what));
        failure.hint.unwrap()
    }

    fn cause(&self, what: &str) -> String {
        format!(
            "host certificate {what}; {} offered certificate \"the id\", signed by the authority \
             of {}:1",
            self.sshd.addr(),
            self.sshd.known_hosts().display()
        )
    }
}

fn sign(authority: &Path, args: &[&str], sshd: &Sshd, kind: KeyType) {
    let host_key = sshd.dir().join(format!("host_{}.pub", kind.as_str()));
    let mut command = Command::new("ssh-keygen");
    command.arg("-qs").arg(authority).args(["-I", "the id"]);
    run(command.arg("-h").args(args).arg(host_key));
}

/// Waits until the tunnel is blocked over the host's key.
fn blocked(daemon: &Daemon) -> Failure {
    let status = daemon.wait_phase("t", Phase::Blocked, LONG);
    let failure = status.failure.unwrap();
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::HostKey, Class::Blocked),
        "{failure:?}"
    );
    failure
}

fn host_key(daemon: &Daemon) -> String {
    up(daemon, "t").session.unwrap().host_key
}

#[test]
fn a_server_is_trusted_by_its_certificate_alone_whatever_the_types_of_its_keys() {
    // Of the host's key, and of the authority's.
    let (ed25519, ecdsa, rsa) = (KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa);
    for (kind, authority, name) in [
        (ed25519, rsa, "ssh-ed25519-cert-v01@openssh.com"),
        (ecdsa, ed25519, "ecdsa-sha2-nistp256-cert-v01@openssh.com"),
        (rsa, ecdsa, "rsa-sha2-512-cert-v01@openssh.com"),
    ] {
        let certified = Certified::with(kind, authority);
        let (echo, listen) = (EchoServer::start(), free_addr());
        let daemon = certified.table().forward(listen, echo.addr()).up();
        assert_eq!(host_key(&daemon), name);
        echoes(listen).unwrap();
        let known_hosts = certified.sshd.known_hosts();
        let by = format!(
            "@cert-authority {}:1 (certificate \"the id\", valid forever)",
            known_hosts.display()
        );
        assert!(daemon.log_text().contains(&by.replace('"', "\\\"")), "{by}");
    }
}

#[test]
fn a_server_with_a_new_key_and_a_new_certificate_needs_nobody_at_the_client() {
    // What certificates are for.
    let mut certified = Certified::new();
    let daemon = certified.table().forward(free_addr(), free_addr()).up();
    let mark = daemon.log_mark();
    certified.sshd.restart_with_new_host_key();
    let host = certified.sshd.host();
    certified.sign(&["-n", &host]);
    daemon.wait_for_log_from(mark, "tunnel down", LONG);
    assert_eq!(host_key(&daemon), "ssh-ed25519-cert-v01@openssh.com");
    certified.trust_authority();
    assert_eq!(
        fs::read_to_string(certified.sshd.known_hosts()).unwrap(),
        certified.authority_line()
    );
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let mut certified = Certified::new();
    certified.sign(&["-n", "db.example.com,10.255.0.1"]);
    let host = certified.sshd.host();
    let hint = certified.refuses(&format!("is for db.example.com, 10.255.0.1, not {host}"));
    let sign = format!("sign the host's key again, with ssh-keygen -n {host}; or set ");
    assert!(hint.starts_with(&sign), "{hint}");
    certified.sign(&[]);
    certified.refuses("is for no host");
}

#[test]
fn an_expired_certificate_is_refused_and_a_renewed_one_is_taken_without_anybody() {
    let mut certified = Certified::new();
    let host = certified.sshd.host();
    certified.sign(&["-n", &host, "-V", "20220101000000Z:20230101000000Z"]);
    let daemon = certified.table().forward(free_addr(), free_addr()).start();
    let failure = blocked(&daemon);
    let cause = certified.cause("expired on 2023-01-01 00:00:00 UTC");
    assert_eq!(failure.cause, cause);
    assert!(
        failure
            .hint
            .unwrap()
            .starts_with("sign the host's key again (ssh-keygen ")
    );
    certified.sign(&["-n", &host, "-V", "-1d:+52w"]);
    up(&daemon, "t");
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_refused_as_what_time_will_mend() {
    let mut certified = Certified::new();
    let host = certified.sshd.host();
    certified.sign(&["-n", &host, "-V", "20900101000000Z:20910101000000Z"]);
    let daemon = certified.table().forward(free_addr(), free_addr()).start();
    let failure = fails(&daemon, "t", "host certificate");
    let cause = certified.cause("not valid before 2090-01-01 00:00:00 UTC");
    assert_eq!(failure.cause, cause);
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::HostKey, Class::Transient)
    );
}

#[test]
fn a_certificate_of_an_authority_that_nobody_named_is_refused_with_its_fingerprint() {
    let mut certified = Certified::new();
    let dir = certified.sshd.dir();
    let other = ssh_keygen(KeyType::Ed25519, dir, "other", "", &[]);
    sign(
        &other.private,
        &["-n", "127.*"],
        &certified.sshd,
        certified.kind,
    );
    certified.sshd.restart();
    let daemon = certified.table().forward(free_addr(), free_addr()).start();
    let expected = format!(
        "host certificate signed by an authority that no @cert-authority line names: ED25519 {}; {} \
         offered certificate \"the id\"",
        other.fingerprint(),
        certified.sshd.addr()
    );
    assert_eq!(blocked(&daemon).cause, expected);
}

#[test]
fn a_certificate_that_is_no_good_leaves_the_key_in_it_to_its_own_line() {
    // As ssh; and it is said, once.
    let mut certified = Certified::new();
    certified.sign(&["-n", "other"]);
    let lines = certified.authority_line() + &certified.sshd.known_hosts_lines();
    fs::write(certified.sshd.known_hosts(), lines).unwrap();
    let daemon = certified.table().forward(free_addr(), free_addr()).up();
    let part = "host certificate not accepted; the key in it is known";
    let line = daemon.wait_for_log(part, LONG);
    assert!(line.contains("is for other, not "), "{line}");
    let mark = daemon.log_mark();
    certified.sshd.restart();
    daemon.wait_for_log_from(mark, "tunnel down", LONG);
    daemon.wait_for_log_from(mark, "tunnel up", LONG);
    assert_eq!(daemon.log_text().matches(part).count(), 1);
}

#[test]
fn a_revoked_authority_counts_nothing() {
    // Fail closed, also where the key in the certificate is known.
    let certified = Certified::new();
    let key = certified.authority.public_line();
    let own = certified.sshd.known_hosts_lines();
    let lines = certified.authority_line() + &own + &format!("@revoked * {key}\n");
    fs::write(certified.sshd.known_hosts(), &lines).unwrap();
    // It is not even asked for its certificate.
    let daemon = certified.table().forward(free_addr(), free_addr()).up();
    assert_eq!(host_key(&daemon), "ssh-ed25519");
    // Another authority is known, so that it is.
    let dir = certified.sshd.dir();
    let other = ssh_keygen(KeyType::Ed25519, dir, "other", "", &[]).public_line();
    let more = format!("{lines}@cert-authority * {other}\n");
    fs::write(certified.sshd.known_hosts(), more).unwrap();
    let daemon = certified.table().forward(free_addr(), free_addr()).start();
    let cause = blocked(&daemon).cause;
    let start = format!(
        "host certificate authority revoked: {} offered a certificate of ED25519 {}, which ",
        certified.sshd.addr(),
        certified.authority.fingerprint()
    );
    assert!(cause.starts_with(&start), "{cause}");
}

#[test]
fn without_an_authority_no_certificate_is_asked_for() {
    let certified = Certified::new();
    certified.sshd.trust_current_host_keys();
    let daemon = certified.table().forward(free_addr(), free_addr()).up();
    assert_eq!(host_key(&daemon), "ssh-ed25519");
}

#[test]
fn a_pin_is_for_the_key_and_needs_no_authority() {
    let certified = Certified::new();
    let pin = text(certified.sshd.host_keys()[0].fingerprint());
    let table = certified.table().set("host_key_fingerprint", pin);
    let daemon = table.forward(free_addr(), free_addr()).up();
    assert_eq!(host_key(&daemon), "ssh-ed25519");
}
