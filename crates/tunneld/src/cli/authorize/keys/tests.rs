//! The promise: the line has the key that logs in, and what could be mistaken for it is told.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use tunneld_core::config::Sourced;
use tunneld_lab::keys::{KeyFiles, KeyType, generate, ssh_keygen};
use tunneld_lab::process::run;

use super::*;

fn files(paths: &[&Path]) -> Vec<Sourced<PathBuf>> {
    let file = |path: &&Path| Sourced {
        value: path.to_path_buf(),
        span: None,
    };
    paths.iter().map(file).collect()
}

fn target(identities: &[&Path]) -> Target {
    Target {
        identity_file: files(identities),
        ..Target::new("db.example.com", 22, "tunnel")
    }
}

fn keygen(dir: &TempDir, name: &str, passphrase: &str) -> KeyFiles {
    ssh_keygen(KeyType::Ed25519, dir.path(), name, passphrase, &["-a", "1"])
}

/// What the lines have behind their options.
fn lines(keys: &Keys) -> Vec<&str> {
    let mut lines = Vec::new();
    for key in &keys.found {
        let (Key::Plain { line } | Key::Authority { line, .. }) = key;
        lines.push(line.as_str());
    }
    lines
}

#[track_caller]
fn found(target: &Target) -> Keys {
    Keys::of(target, None).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn none(target: &Target) -> String {
    match Keys::of(target, None) {
        Ok(keys) => panic!("{:?}", keys.found),
        Err(said) => said,
    }
}

#[test]
fn a_key_is_told_by_the_file_beside_it_or_by_itself() {
    // The file beside it has the comment that people gave it.
    let dir = TempDir::new().unwrap();
    let key = keygen(&dir, "id", "");
    let line = key.public_line();
    fs::write(&key.public, format!("{line} tunneld@web1\n")).unwrap();
    let keys = found(&target(&[&key.private]));
    assert_eq!(lines(&keys), [format!("{line} tunneld@web1")]);
    fs::remove_file(&key.public).unwrap();
    let keys = found(&target(&[&key.private]));
    assert_eq!(lines(&keys), [format!("{line} id")]);
    assert!(keys.hints.is_empty(), "{:?}", keys.hints);
}

#[test]
fn the_public_half_of_another_key_is_not_taken_for_this_one() {
    // A key that was made anew, with the old file beside it.
    let dir = TempDir::new().unwrap();
    let (key, other) = (keygen(&dir, "id", ""), keygen(&dir, "other", ""));
    fs::copy(&other.public, &key.public).unwrap();
    let keys = found(&target(&[&key.private]));
    let right = Command::new("ssh-keygen")
        .arg("-yf")
        .arg(&key.private)
        .output();
    let right = String::from_utf8(right.unwrap().stdout).unwrap();
    assert_eq!(lines(&keys), [right.trim_end()]);
    let hint = keys.hints.join("\n");
    assert!(hint.contains("id.pub is not the public half of"), "{hint}");
}

#[test]
fn an_encrypted_key_shows_its_own_half_whatever_lies_beside_it() {
    // OpenSSH's format has it in clear; the comment is encrypted.
    let dir = TempDir::new().unwrap();
    let (key, other) = (
        keygen(&dir, "id", "a passphrase"),
        keygen(&dir, "other", ""),
    );
    let line = key.public_line();
    let keys = found(&target(&[&key.private]));
    assert_eq!(lines(&keys), [format!("{line} id")]);
    fs::copy(&other.public, &key.public).unwrap();
    let keys = found(&target(&[&key.private]));
    assert_eq!(lines(&keys), [line.as_str()]);
    let hint = keys.hints.join("\n");
    assert!(hint.contains("id.pub is not the public half of"), "{hint}");
    fs::remove_file(&key.public).unwrap();
    assert_eq!(lines(&found(&target(&[&key.private]))), [line]);
}

#[test]
fn a_key_that_shows_nothing_is_told_by_the_file_beside_it() {
    // PKCS#8 encrypts both halves.
    let dir = TempDir::new().unwrap();
    let options = ["-m", "PKCS8"];
    let key = ssh_keygen(KeyType::Ecdsa, dir.path(), "id", "a passphrase", &options);
    let keys = found(&target(&[&key.private]));
    assert_eq!(lines(&keys), [format!("{} id", key.public_line())]);
    fs::remove_file(&key.public).unwrap();
    let said = none(&target(&[&key.private]));
    let path = key.private.display();
    assert_eq!(
        said,
        format!(
            "no public key is known for tunnel@db.example.com:22\n  \
             key file {path} is encrypted with a passphrase\n\
             hint: --key FILE.pub names it"
        )
    );
}

#[test]
fn a_public_key_in_place_of_a_private_one_is_a_key_of_the_agent() {
    // As with ssh. What else the agent has is not asked, and that is said.
    let dir = TempDir::new().unwrap();
    let key = keygen(&dir, "id", "");
    fs::remove_file(&key.private).unwrap();
    let mut target = target(&[&key.public]);
    target.identity_agent = Some(IdentityAgent::Variable("SSH_AUTH_SOCK".to_owned()));
    let keys = found(&target);
    assert_eq!(lines(&keys), [format!("{} id", key.public_line())]);
    let hint = "the agent $SSH_AUTH_SOCK is not asked for its keys: --key FILE.pub names one";
    assert_eq!(keys.hints, [hint]);
    target.identity_file.clear();
    assert!(none(&target).contains(hint));
}

#[test]
fn default_keys_may_be_missing_and_named_ones_may_not() {
    let dir = TempDir::new().unwrap();
    let (key, missing) = (generate(dir.path(), "id"), dir.path().join("none"));
    let mut target = target(&[&missing, &key.private]);
    let keys = found(&target);
    assert_eq!(lines(&keys), [key.public_line()]);
    assert!(
        keys.hints[0].ends_with("none: no such file"),
        "{:?}",
        keys.hints
    );
    target.identity_file_is_default = true;
    assert!(found(&target).hints.is_empty());
}

#[test]
fn several_keys_have_a_line_each_and_one_is_enough() {
    // The same one twice is one.
    let dir = TempDir::new().unwrap();
    let (one, two) = (generate(dir.path(), "one"), generate(dir.path(), "two"));
    let keys = found(&target(&[&one.private, &two.private, &one.private]));
    assert_eq!(lines(&keys), [one.public_line(), two.public_line()]);
    assert_eq!(
        keys.hints,
        ["tunnel@db.example.com:22 has 2 keys; one line is enough"]
    );
}

#[test]
fn the_key_that_is_named_is_taken_instead() {
    let dir = TempDir::new().unwrap();
    let (key, other) = (generate(dir.path(), "id"), generate(dir.path(), "other"));
    let target = target(&[&key.private]);
    let keys = Keys::of(&target, Some(&other.public)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(lines(&keys), [other.public_line()]);
    for wrong in [&other.private, &dir.path().join("none")] {
        assert!(Keys::of(&target, Some(wrong)).is_err());
    }
}

#[test]
fn a_key_with_a_certificate_is_let_in_by_the_line_of_its_authority_alone() {
    // A line of the key itself would let it in when the certificate has ended.
    let dir = TempDir::new().unwrap();
    let (key, ca) = (keygen(&dir, "id", ""), keygen(&dir, "ca", ""));
    let sign = |options: &[&str]| {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-I", "web1", "-s"]).arg(&ca.private);
        run(command.args(options).arg(&key.public));
    };
    sign(&["-n", "ops,tunnel"]);
    let keys = found(&target(&[&key.private]));
    assert_eq!(lines(&keys), [format!("{} CA of web1", ca.public_line())]);
    assert!(keys.hints.is_empty(), "{:?}", keys.hints);
    let Key::Authority { principal, .. } = &keys.found[0] else {
        panic!("{:?}", keys.found);
    };
    assert_eq!(principal.as_deref(), Some("tunnel"));
    // Beside no key, as one in the agent has it.
    let moved = dir.path().join("moved.pub");
    fs::rename(dir.path().join("id-cert.pub"), &moved).unwrap();
    let mut agents = target(&[]);
    agents.certificate_file = files(&[&moved]);
    assert_eq!(
        lines(&found(&agents)),
        [format!("{} CA of web1", ca.public_line())]
    );
    agents.certificate_file = files(&[&key.public]);
    assert!(none(&agents).contains("id.pub: a public key, not a certificate"));
}

#[test]
fn a_certificate_that_is_of_no_use_or_of_too_much_says_so() {
    let dir = TempDir::new().unwrap();
    let (key, ca) = (keygen(&dir, "id", ""), keygen(&dir, "ca", ""));
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-I", "x", "-O", "clear", "-s"]);
    run(command.arg(&ca.private).arg(&key.public));
    let hints = found(&target(&[&key.private])).hints.join("\n");
    assert!(
        hints.contains("id-cert.pub does not permit port forwarding"),
        "{hints}"
    );
    assert!(
        hints.contains("id-cert.pub has no principal that a line can name"),
        "{hints}"
    );
}
