//! The promise: keys are offered in ssh's order, each by whoever has its private half, and what
//! cannot be offered is told.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tunneld_core::config::{Credential, Sourced};
use tunneld_core::failure::Class;

use super::super::files::Opening;
use super::*;
use crate::identity::KeyFile;
use crate::identity::certificate::UserCertificate;
use tunneld_core::config::Target;

/// Keys and certificates that the real ssh-keygen made.
struct Keys {
    dir: TempDir,
    target: Target,
}

fn sourced<T>(value: T) -> Sourced<T> {
    Sourced { value, span: None }
}

impl Keys {
    fn new() -> Self {
        Keys {
            dir: TempDir::new().unwrap(),
            target: Target::new("host", 22, "user"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) {
        let mut command = Command::new("ssh-keygen");
        let output = command.current_dir(self.dir.path()).args(args).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    /// Makes a key; an empty passphrase leaves it open.
    fn make(&self, name: &str, passphrase: &str) {
        let args = ["-q", "-t", "ed25519", "-a", "1", "-N", passphrase];
        self.run(&[&args[..], &["-C", name, "-f", name]].concat());
    }

    /// Certifies a key: `NAME-cert.pub`.
    fn certify(&self, name: &str, more: &[&str]) {
        if !self.path("ca").exists() {
            self.make("ca", "");
        }
        let public = format!("{name}.pub");
        let args = ["-q", "-s", "ca", "-I", "id", "-n", "user"];
        self.run(&[&args[..], more, &[&public]].concat());
    }

    fn identities(&mut self, names: &[&str]) {
        let file = |name: &&str| sourced(self.path(name));
        self.target.identity_file = names.iter().map(file).collect();
    }

    fn certificates(&mut self, names: &[&str]) {
        let file = |name: &&str| sourced(self.path(name));
        self.target.certificate_file = names.iter().map(file).collect();
    }

    /// The key, or the certificate, of this file as an agent has it.
    fn in_agent(&self, name: &str) -> AgentKey {
        let path = self.path(name);
        if name.ends_with("-cert.pub") {
            let certificate = UserCertificate::read(&path).unwrap();
            let certificate = Box::new(certificate.certificate().clone());
            return AgentKey::Certificate(certificate, "c".to_owned());
        }
        let key = KeyFile::read(&path).unwrap().public().unwrap().clone();
        AgentKey::Key(key.into(), "c".to_owned())
    }

    fn read(&self) -> Files {
        Files::read(&self.target, Opening::Attempt(&|_| ()))
    }

    /// What is offered, each as `FILE` or `agent: …`, and what is wrong with the rest, with the
    /// directory left out.
    fn offered(&self, agent: Option<&[&str]>) -> (Vec<String>, Vec<String>) {
        let agent =
            agent.map(|names| -> Vec<_> { names.iter().map(|name| self.in_agent(name)).collect() });
        let files = self.read();
        let (offers, problems) = files.offers(agent.as_deref(), self.target.identities_only);
        let dir = format!("{}/", self.dir.path().display());
        let what = |offer: &Offer| {
            let label = offer.label();
            assert!(label.contains(&offer.fingerprint()), "{label}");
            let (kind, from) = label.split_once(" SHA256:").unwrap();
            let from = from.split_once(' ').unwrap().1.replace(&dir, "");
            let kind = kind.strip_prefix("ED25519").unwrap();
            format!("{}{kind}", &from[1..from.len() - 1])
        };
        let problem = |problem: &Problem| problem.failure.cause.replace(&dir, "");
        (
            offers.iter().map(what).collect(),
            problems.iter().map(problem).collect(),
        )
    }

    fn assert_offered(&self, agent: Option<&[&str]>, expected: &[&str]) {
        let (offered, problems) = self.offered(agent);
        assert_eq!(offered, expected, "{problems:?}");
        assert_eq!(problems, Vec::<String>::new());
    }
}

#[test]
fn each_key_is_followed_by_the_certificate_beside_it() {
    let mut keys = Keys::new();
    keys.make("a", "");
    keys.make("b", "");
    keys.certify("a", &[]);
    keys.identities(&["a", "b"]);
    keys.assert_offered(None, &["a", "a-cert.pub certificate", "b"]);
}

#[test]
fn named_certificates_come_first_and_leave_out_those_that_lie_beside() {
    let mut keys = Keys::new();
    for name in ["a", "b"] {
        keys.make(name, "");
        keys.certify(name, &[]);
    }
    fs::copy(keys.path("b-cert.pub"), keys.path("named")).unwrap();
    keys.identities(&["a", "b"]);
    keys.certificates(&["named"]);
    keys.assert_offered(None, &["named certificate", "a", "b"]);
}

#[test]
fn keys_that_the_agent_has_come_before_those_that_are_only_in_files() {
    // In the agent's order; what is named is signed by its file, which can always do it.
    let mut keys = Keys::new();
    for name in ["a", "b", "c", "d"] {
        keys.make(name, "");
    }
    keys.identities(&["a", "b", "c"]);
    keys.assert_offered(Some(&["d", "c", "b"]), &["c", "b", "agent: c", "a"]);
    keys.target.identities_only = true;
    keys.assert_offered(Some(&["d", "c", "b"]), &["c", "b", "a"]);
}

#[test]
fn an_agent_signs_for_what_the_files_cannot() {
    // An encrypted key without its passphrase, a public key, and a key that is not here.
    let mut keys = Keys::new();
    keys.make("locked", "secret");
    for name in ["public", "elsewhere"] {
        keys.make(name, "");
    }
    let all = ["locked", "public", "elsewhere"].map(|name| keys.in_agent(name));
    fs::remove_file(keys.path("elsewhere")).unwrap();
    keys.identities(&["locked", "public.pub", "elsewhere"]);
    keys.target.identities_only = true;
    let (offers, problems) = keys.read().offers(Some(&all), true);
    assert!(problems.is_empty());
    assert_eq!(offers.len(), 3);
    for offer in &offers {
        assert!(matches!(offer.signer, SignedBy::Agent(_)));
    }

    let (offered, problems) = keys.offered(Some(&[]));
    assert!(offered.is_empty());
    let expected = [
        "key file locked is encrypted with a passphrase, and the agent does not have it",
        "key file public.pub is a public key, not a private key, and the agent does not have it",
        "key file elsewhere: no such file, and the agent does not have it",
    ];
    assert_eq!(problems, expected);
    let (_, problems) = keys.offered(None);
    assert_eq!(
        problems[0],
        "key file locked is encrypted with a passphrase"
    );
}

#[test]
fn certificates_are_signed_for_by_whoever_has_the_key() {
    let mut keys = Keys::new();
    for name in ["a", "b"] {
        keys.make(name, "");
        keys.certify(name, &[]);
    }
    keys.certificates(&["a-cert.pub", "b-cert.pub"]);
    keys.identities(&["a"]);
    keys.target.identities_only = true;
    // b's private half is only in the agent, as a key or as a certificate.
    for in_agent in ["b", "b-cert.pub"] {
        let (offered, problems) = keys.offered(Some(&[in_agent]));
        let expected = [
            "a-cert.pub certificate",
            "agent: b-cert.pub certificate",
            "a",
        ];
        assert_eq!(offered, expected, "{problems:?}");
    }
    let (offered, problems) = keys.offered(None);
    assert_eq!(offered, ["a-cert.pub certificate", "a"]);
    let key = fingerprint(keys.in_agent("b").key_data());
    let expected = format!("certificate b-cert.pub: its key {key} is in no identity_file");
    assert_eq!(problems.join(""), expected);
    let (_, problems) = keys.offered(Some(&["a"]));
    let expected = format!("{expected}, and the agent does not have it");
    assert_eq!(problems, [expected]);
}

#[test]
fn a_certificate_of_the_agent_is_offered_as_such() {
    let mut keys = Keys::new();
    keys.make("a", "");
    keys.certify("a", &[]);
    keys.assert_offered(
        Some(&["a", "a-cert.pub"]),
        &["agent: c", "agent: c certificate"],
    );
    // Named, it is the one of the file.
    keys.identities(&["a"]);
    keys.assert_offered(Some(&["a", "a-cert.pub"]), &["a", "a-cert.pub certificate"]);
}

#[test]
fn a_certificate_of_the_agent_whose_time_it_is_not_is_told_and_not_offered() {
    let mut keys = Keys::new();
    for name in ["over", "early"] {
        keys.make(name, "");
    }
    keys.certify("over", &["-V", "20200101000000Z:20200102000000Z"]);
    keys.certify("early", &["-V", "20900101000000Z:20910102000000Z"]);
    let all = ["over", "over-cert.pub", "early-cert.pub"].map(|name| keys.in_agent(name));
    let (offers, problems) = keys.read().offers(Some(&all), false);
    assert_eq!(offers.len(), 1);
    let [over, early] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    let cause = format!("certificate {} of the agent expired on 2020-01-02", all[1]);
    assert!(over.failure.cause.starts_with(&cause), "{over:?}");
    assert_eq!(over.failure.class, Class::Blocked);
    let hint = "have the authority sign the key again, and give it to the agent: ssh-add KEY";
    assert_eq!(over.failure.hint.as_deref(), Some(hint));
    let cause = format!(
        "certificate {} of the agent is not valid before 2090",
        all[2]
    );
    assert!(early.failure.cause.starts_with(&cause), "{early:?}");
    assert_eq!(early.failure.class, Class::Transient);
    let hint = "compare the clocks of this machine and the authority: date -u";
    assert_eq!(early.failure.hint.as_deref(), Some(hint));
    // Those that are not to be offered are nobody's concern.
    keys.target.identities_only = true;
    let (offers, problems) = keys.read().offers(Some(&all), true);
    assert_eq!((offers.len(), problems.len()), (0, 0));
}

#[test]
fn nothing_is_offered_twice() {
    let mut keys = Keys::new();
    keys.make("a", "");
    keys.certify("a", &[]);
    fs::copy(keys.path("a"), keys.path("same")).unwrap();
    fs::copy(keys.path("a-cert.pub"), keys.path("again")).unwrap();
    keys.identities(&["a", "same"]);
    keys.certificates(&["a-cert.pub", "again"]);
    keys.assert_offered(Some(&["a"]), &["a-cert.pub certificate", "a"]);
}

#[test]
fn a_certificate_that_is_of_no_use_is_told_and_its_key_offered() {
    let mut keys = Keys::new();
    for name in ["a", "b", "c", "d"] {
        keys.make(name, "");
    }
    keys.certify("a", &["-V", "20200101000000Z:20200102000000Z"]);
    keys.certify("b", &["-h"]);
    keys.certify("d", &[]);
    fs::rename(keys.path("d-cert.pub"), keys.path("c-cert.pub")).unwrap();
    keys.identities(&["a", "b", "c"]);
    let (offered, problems) = keys.offered(None);
    assert_eq!(offered, ["a", "b", "c"]);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].starts_with("certificate a-cert.pub expired on 2020-01-02"));
    assert!(problems[1].starts_with("certificate b-cert.pub is a host certificate"));
    assert!(problems[2].starts_with("certificate c-cert.pub is for another key than c"));
}

#[test]
fn an_encrypted_key_that_shows_its_public_half_is_offered_before_it_is_opened() {
    let mut keys = Keys::new();
    keys.make("locked", "secret");
    let absent = Credential::Named("no-such-credential".to_owned());
    keys.target.passphrase_credential = Some(sourced(absent));
    keys.identities(&["locked"]);
    // Its passphrase is not read yet: the server may not want the key at all.
    keys.assert_offered(None, &["locked"]);
}

#[test]
fn an_encrypted_key_that_shows_nothing_is_opened_first() {
    let mut keys = Keys::new();
    let args = ["-q", "-t", "ecdsa", "-m", "PKCS8", "-N", "secret", "-f"];
    keys.run(&[&args[..], &["locked"]].concat());
    keys.run(&["-q", "-t", "ed25519", "-N", "", "-f", "open"]);
    fs::remove_file(keys.path("locked.pub")).unwrap();
    keys.identities(&["locked", "open"]);
    let (offered, problems) = keys.offered(None);
    assert_eq!(offered, ["open"]);
    assert_eq!(problems, ["key file locked is encrypted with a passphrase"]);

    let passphrase = keys.path("passphrase");
    fs::write(&passphrase, "secret").unwrap();
    Command::new("chmod")
        .arg("600")
        .arg(&passphrase)
        .status()
        .unwrap();
    keys.target.passphrase_credential = Some(sourced(Credential::File(passphrase.clone())));
    let (offers, problems) = keys.read().offers(None, false);
    assert_eq!((offers.len(), problems.len()), (2, 0));
    fs::write(&passphrase, "another").unwrap();
    let (offered, problems) = keys.offered(None);
    assert_eq!(offered, ["open"]);
    assert_eq!(problems, ["key file locked: wrong passphrase"]);
}

#[test]
fn default_keys_that_are_missing_are_passed_over_in_silence() {
    let mut keys = Keys::new();
    for name in ["a", "b"] {
        keys.make(name, "");
    }
    fs::remove_file(keys.path("b")).unwrap();
    keys.identities(&["missing", "b", "a"]);
    keys.target.identity_file_is_default = true;
    keys.assert_offered(None, &["a"]);
    keys.target.identity_file_is_default = false;
    assert_eq!(keys.offered(None).1.len(), 2);
}
