//! The promise: what keeps a target from logging in is found before it is tried, with the words of
//! the attempt, and each key is opened once.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tunneld_core::config::{IdentityAgent, Sourced};
use tunneld_lab::keys::{KeyFiles, KeyType, certify, generate, ssh_keygen};

use super::*;

const PHRASE: &str = "a secret phrase";

fn sourced<T>(value: T) -> Sourced<T> {
    Sourced { value, span: None }
}

fn target(keys: &[&Path]) -> Target {
    let mut target = Target::new("host", 22, "user");
    target.identity_file = keys.iter().map(|key| sourced((*key).to_owned())).collect();
    target
}

fn inspected(target: &Target) -> Vec<Finding> {
    inspect(target, &mut KeyChecks::new()).findings
}

/// The only thing that is wrong: its file, what is said, and whether it passes.
#[track_caller]
fn finding(target: &Target) -> (PathBuf, Failure, bool) {
    let mut found = inspected(target);
    assert_eq!(found.len(), 1, "{found:?}");
    let found = found.remove(0);
    (found.file.unwrap(), found.failure, found.passes)
}

fn secret(dir: &TempDir, name: &str, text: &str) -> Credential {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Credential::File(path)
}

fn locked(dir: &TempDir, name: &str, format: &str) -> KeyFiles {
    let args = ["-a", "1", "-m", format];
    ssh_keygen(KeyType::Ecdsa, dir.path(), name, PHRASE, &args)
}

#[test]
fn a_certificate_of_no_use_beside_a_key_is_found() {
    let dir = TempDir::new().unwrap();
    let files = generate(dir.path(), "id");
    let target = target(&[&files.private]);
    assert!(inspected(&target).is_empty());
    certify(&files, &files.public, "id", &[]);
    assert!(inspected(&target).is_empty());
    let path = certify(
        &files,
        &files.public,
        "id",
        &["-V", "0x5e0be100:0x5e0d3280"],
    );
    let (file, failure, passes) = finding(&target);
    assert_eq!(file, files.private);
    let cause = format!(
        "certificate {} expired on 2020-01-02 00:00:00 UTC",
        path.display()
    );
    assert_eq!(failure.cause, cause);
    assert_eq!(failure.class, Class::Blocked);
    assert!(
        failure
            .hint
            .unwrap()
            .starts_with("have the authority sign the key again")
    );
    assert!(passes, "a reload is not refused for a date");
}

#[test]
fn a_named_certificate_without_its_key_is_found_where_no_agent_could_have_it() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (generate(dir.path(), "one"), generate(dir.path(), "two"));
    let path = certify(&one, &two.public, "id", &[]);
    let mut target = target(&[&one.private]);
    target.certificate_file = vec![sourced(path.clone())];
    let (file, failure, passes) = finding(&target);
    assert_eq!(file, path);
    let key = two.fingerprint();
    let cause = format!(
        "certificate {}: its key {key} is in no identity_file",
        path.display()
    );
    assert_eq!(failure.cause, cause);
    assert_eq!(failure.class, Class::Blocked);
    let hint = "name the private key that the certificate is for in identity_file";
    assert_eq!(failure.hint.unwrap(), hint);
    assert!(!passes);
    target.identity_agent = Some(IdentityAgent::Variable("ANY".to_owned()));
    assert!(inspected(&target).is_empty());
    target.identity_agent = None;
    target.identity_file.push(sourced(two.private));
    assert!(inspected(&target).is_empty());
}

#[test]
fn a_socket_that_is_not_there_is_found() {
    let dir = TempDir::new().unwrap();
    let files = generate(dir.path(), "id");
    let mut target = target(&[&files.private]);
    let socket = dir.path().join("agent");
    target.identity_agent = Some(IdentityAgent::Socket(socket.clone()));
    let (file, failure, passes) = finding(&target);
    assert_eq!(file, socket);
    assert_eq!(
        failure.cause,
        format!("agent {}: no such file", socket.display())
    );
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.hint.unwrap().starts_with("start the agent"));
    assert!(passes, "it may be starting");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(inspected(&target).is_empty());
}

#[test]
fn a_public_half_is_enough_where_an_agent_may_have_the_key() {
    // `identity_file = "id.pub"`, or `id` where only `id.pub` is here.
    let dir = TempDir::new().unwrap();
    let files = generate(dir.path(), "id");
    fs::remove_file(&files.private).unwrap();
    for key in [&files.public, &files.private] {
        let mut target = target(&[key]);
        assert_eq!(finding(&target).1.class, Class::Blocked);
        target.identity_agent = Some(IdentityAgent::Variable("ANY".to_owned()));
        assert!(inspected(&target).is_empty());
    }
}

#[test]
fn a_passphrase_is_tried_where_it_can_be_read() {
    // A wrong one is found, and one that only the service has is not missed; at the start none is.
    let dir = TempDir::new().unwrap();
    for format in ["RFC4716", "PKCS8"] {
        let files = locked(&dir, format, format);
        if format == "PKCS8" {
            fs::remove_file(&files.public).unwrap();
        }
        let mut target = target(&[&files.private]);
        assert!(
            finding(&target)
                .1
                .cause
                .ends_with(" is encrypted with a passphrase")
        );
        let mut with = |credential| target.passphrase_credential = Some(sourced(credential));
        with(secret(&dir, "wrong", "something else"));
        let wrong = target.clone();
        let (file, failure, passes) = finding(&wrong);
        assert_eq!((file, passes), (files.private.clone(), false));
        let name = files.private.display();
        assert_eq!(failure.cause, format!("key file {name}: wrong passphrase"));
        assert_eq!(failure.class, Class::Blocked);
        assert!(
            failure
                .hint
                .unwrap()
                .starts_with("correct what passphrase_credential names")
        );
        assert!(
            inspect(&wrong, &mut KeyChecks::without_opening())
                .findings
                .is_empty()
        );
        let mut with = |credential| target.passphrase_credential = Some(sourced(credential));
        with(Credential::Named("absent".to_owned()));
        let unread = inspect(&target, &mut KeyChecks::new());
        assert!(unread.findings.is_empty() && unread.has_key);
        let right = secret(&dir, "right", PHRASE);
        target.passphrase_credential = Some(sourced(right));
        assert!(inspected(&target).is_empty());
    }
}

#[test]
fn each_key_is_opened_once_with_each_passphrase() {
    let dir = TempDir::new().unwrap();
    let key = locked(&dir, "one", "PKCS8");
    let mut checks = KeyChecks::new();
    for name in ["a", "b"] {
        let mut target = target(&[&key.private]);
        let passphrase = secret(&dir, name, PHRASE);
        target.passphrase_credential = Some(sourced(passphrase));
        for _ in 0..20 {
            assert!(inspect(&target, &mut checks).findings.is_empty());
        }
    }
    assert_eq!(checks.done.len(), 2);
    // What was found out once is not looked at again.
    secret(&dir, "a", "something else");
    let mut target = target(&[&key.private]);
    target.passphrase_credential = Some(sourced(Credential::File(dir.path().join("a"))));
    assert!(inspect(&target, &mut checks).findings.is_empty());
}

#[test]
fn keys_that_are_left_when_the_time_is_over_are_not_opened() {
    // The one that takes too long is judged; what was found out stays.
    let dir = TempDir::new().unwrap();
    let wrong = secret(&dir, "wrong", "something else");
    let with = |name| {
        let key = locked(&dir, name, "RFC4716");
        let mut target = target(&[&key.private]);
        target.passphrase_credential = Some(sourced(wrong.clone()));
        target
    };
    let (one, two) = (with("one"), with("two"));
    let mut checks = KeyChecks::within(Duration::from_nanos(1));
    let mut found = |target| inspect(target, &mut checks).findings.len();
    assert_eq!([found(&one), found(&two), found(&one)], [1, 0, 1]);
}
