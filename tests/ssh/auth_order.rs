//! ssh's order: tunneld and the real client, given the same files and the same agent, offer the same
//! keys and certificates in the same order.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use tunneld_lab::agent::SshAgent;
use tunneld_lab::keys::{KeyFiles, KeyType, certify, generate, ssh_keygen};
use tunneld_lab::process::printed;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::support::{LONG, NEVER, Table, text, unauthenticated};

/// What is in play: four keys, of which two have a certificate.
struct Bed {
    sshd: Sshd,
    agent: SshAgent,
}

/// How the files and the agent are used.
#[derive(Default)]
struct Case<'a> {
    keys: &'a [&'a str],
    certificates: &'a [&'a str],
    /// What the agent has, in this order.
    agent: &'a [&'a str],
    identities_only: bool,
}

impl Bed {
    fn new() -> Self {
        let sshd = Sshd::start();
        sshd.authorize_nobody();
        let dir = sshd.dir();
        let authority = generate(dir, "authority");
        for (name, kind) in [
            ("a", KeyType::Ed25519),
            ("b", KeyType::Ecdsa),
            ("c", KeyType::Rsa),
            ("d", KeyType::Ed25519),
        ] {
            let files = ssh_keygen(kind, dir, name, "", &[]);
            if name == "a" || name == "c" {
                certify(&authority, &files.public, name, &["-n", sshd.user()]);
            }
        }
        let agent = SshAgent::start(&dir.join("agent"));
        Bed { sshd, agent }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.sshd.dir().join(name)
    }

    /// `SHA256:…`, with `-CERT` after it for a certificate, as the real client offers them.
    fn by_ssh(&self, case: &Case<'_>) -> Vec<String> {
        let mut command = Command::new("ssh");
        let known_hosts = format!("UserKnownHostsFile={}", self.sshd.known_hosts().display());
        for option in ["BatchMode=yes", &known_hosts, "GlobalKnownHostsFile=none"] {
            command.args(["-o", option]);
        }
        for key in case.keys {
            command.arg("-i").arg(self.path(key));
        }
        for certificate in case.certificates {
            let option = format!("CertificateFile={}", self.path(certificate).display());
            command.args(["-o", &option]);
        }
        if case.identities_only {
            command.args(["-o", "IdentitiesOnly=yes"]);
        }
        let to = format!("{}@{}", self.sshd.user(), self.sshd.host());
        let port = self.sshd.port().to_string();
        command.args(["-v", "-F", "none", "-p", &port, &to, "true"]);
        command.env("SSH_AUTH_SOCK", self.agent.socket());
        let output = printed(&command.output().unwrap());
        let offers = output.lines().filter_map(|line| {
            let offer = line.split_once("Offering public key: ")?.1;
            let kind = offer.contains("-CERT ").then_some("-CERT");
            let at = offer.find("SHA256:")?;
            let key = offer[at..].split(' ').next()?;
            Some(format!("{key}{}", kind.unwrap_or_default()))
        });
        let mut seen = HashSet::new();
        // A certificate that is named and in the agent too is offered twice by ssh, and once here.
        offers.filter(|offer| seen.insert(offer.clone())).collect()
    }

    /// The same of tunneld, by what it logs of each try.
    fn by_tunneld(&self, case: &Case<'_>) -> Vec<String> {
        let list = |names: &[&str]| {
            let paths: Vec<_> = names.iter().map(|n| text(self.path(n).display())).collect();
            format!("[{}]", paths.join(", "))
        };
        let mut table = Table::to(&self.sshd)
            .set("identity_file", list(case.keys))
            .set("identity_agent", text(self.agent.socket().display()))
            .set("identities_only", case.identities_only)
            .set("reconnect", NEVER)
            .forward(free_addr(), free_addr());
        if !case.certificates.is_empty() {
            table = table.set("certificate_file", list(case.certificates));
        }
        let daemon = table.start();
        unauthenticated(&daemon);
        daemon.wait_for_log("stage=authenticate", LONG);
        let log = daemon.log();
        let tries = log.iter().filter_map(|line| {
            let with = line.split_once("method=publickey with=\"")?.1;
            let kind = with.contains(" certificate ").then_some("-CERT");
            let at = with.find("SHA256:")?;
            let key = with[at..].split(' ').next()?;
            Some(format!("{key}{}", kind.unwrap_or_default()))
        });
        tries.collect()
    }

    fn compare(&self, case: &Case<'_>, expected: usize) {
        self.agent.ssh_add(&["-D"]);
        for key in case.agent {
            self.agent.add(&self.path(key));
        }
        let by_ssh = self.by_ssh(case);
        assert_eq!(self.by_tunneld(case), by_ssh);
        assert_eq!(by_ssh.len(), expected, "{by_ssh:?}");
    }
}

#[test]
fn keys_in_files_come_in_the_order_of_the_file_each_with_its_certificate_after_it() {
    let case = Case {
        keys: &["b", "a", "d", "c"],
        ..Case::default()
    };
    Bed::new().compare(&case, 6);
}

#[test]
fn named_certificates_come_first_and_those_beside_keys_do_not_count_then() {
    let case = Case {
        keys: &["b", "a", "c"],
        certificates: &["c-cert.pub"],
        ..Case::default()
    };
    Bed::new().compare(&case, 4);
}

#[test]
fn keys_of_the_agent_that_are_named_come_before_its_others_and_those_before_files() {
    // ssh-add has added the certificates too.
    let bed = Bed::new();
    let case = Case {
        keys: &["a", "b"],
        agent: &["d", "c", "b"],
        ..Case::default()
    };
    bed.compare(&case, 6);
    let case = Case {
        keys: &["a", "b"],
        agent: &["d", "c", "b", "a"],
        certificates: &["a-cert.pub"],
        ..Case::default()
    };
    bed.compare(&case, 6);
}

#[test]
fn with_identities_only_the_agents_other_keys_are_left_out() {
    let bed = Bed::new();
    let case = Case {
        keys: &["a", "b"],
        agent: &["d", "c", "b", "a"],
        identities_only: true,
        ..Case::default()
    };
    bed.compare(&case, 3);
}

#[test]
fn each_try_is_logged_with_its_fingerprint_and_its_answer() {
    let bed = Bed::new();
    let wrong = KeyFiles {
        private: bed.path("d"),
        public: bed.path("d.pub"),
    };
    let daemon = table_with(&bed.sshd, &wrong.private).start();
    unauthenticated(&daemon);
    let (user, host) = (bed.sshd.user(), bed.sshd.host());
    let line = format!(
        "debug tried to authenticate tunnel=t host={host} user={user} method=publickey with=\"ED25519 {} \
         ({})\" answer=\"rejected, accepts: publickey\"",
        wrong.fingerprint(),
        wrong.private.display()
    );
    daemon.wait_for_log(&line, LONG);
}

fn table_with(sshd: &Sshd, key: &Path) -> Table {
    Table::to(sshd)
        .set("identity_file", text(key.display()))
        .set("reconnect", NEVER)
        .forward(free_addr(), free_addr())
}
