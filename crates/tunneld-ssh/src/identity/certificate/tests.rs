//! The promise: every user certificate that ssh-keygen makes is read, with its dates; and whatever
//! else lies in the file is named, with what to do.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tunneld_core::failure::Class;
use tunneld_lab::agent::{LabAgent, SecurityKey, wire_string};
use tunneld_lab::keys::{KeyFiles, KeyType, certify, ssh_keygen};
use tunneld_lab::process::run;

use super::*;

fn key(dir: &TempDir, kind: KeyType, name: &str) -> KeyFiles {
    ssh_keygen(kind, dir.path(), name, "", &[])
}

/// A key, an authority, and where the certificate will be.
fn pair() -> (TempDir, KeyFiles, KeyFiles) {
    let dir = tempfile::tempdir().unwrap();
    let authority = key(&dir, KeyType::Ed25519, "authority");
    let files = key(&dir, KeyType::Ed25519, "key");
    (dir, files, authority)
}

/// A certificate that ssh-keygen made with these options.
fn made(options: &[&str]) -> (TempDir, PathBuf) {
    let (dir, files, authority) = pair();
    let path = certify(&authority, &files.public, "the id", options);
    assert_eq!(path, UserCertificate::beside(&files.private));
    (dir, path)
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The message without its beginning, `certificate PATH`, and the hint with `PATH` for the path.
fn shown(path: &Path, problem: &CertificateProblem) -> (String, String) {
    let text = path.display().to_string();
    let cause = problem.to_string();
    let cause = cause.strip_prefix(&format!("certificate {text}")).unwrap();
    let hint = problem.hint().unwrap_or_default().replace(&text, "PATH");
    (cause.to_owned(), hint)
}

/// What is said of a file with these bytes in it.
fn said_of(bytes: impl AsRef<[u8]>) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cert.pub");
    fs::write(&path, bytes).unwrap();
    shown(&path, &usable(&path).unwrap_err())
}

/// The bytes of a certificate file, and the same file with others.
fn blob_of(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap();
    STANDARD.decode(text.split(' ').nth(1).unwrap()).unwrap()
}

fn line_of(blob: &[u8]) -> String {
    let data = STANDARD.encode(blob);
    format!("ssh-ed25519-cert-v01@openssh.com {data} comment\n")
}

/// What stands before and behind the key of the authority.
fn around_the_signer<'a>(blob: &'a [u8], authority: &KeyFiles) -> (&'a [u8], &'a [u8]) {
    let signer = russh::keys::load_public_key(&authority.public).unwrap();
    let signer = wire_string(&signer.to_bytes().unwrap());
    let mut windows = blob.windows(signer.len());
    let at = windows.position(|w| w == signer).unwrap();
    (&blob[..at], &blob[at + signer.len()..])
}

#[test]
fn certificates_of_every_key_by_every_authority_are_read() {
    // What ssh-keygen wrote into them comes back; nobody's word is taken for the signature.
    let dir = tempfile::tempdir().unwrap();
    let kinds = [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa];
    for by in kinds {
        let (kind, by) = (by, by.as_str());
        let authority = key(&dir, kind, &format!("by_{by}"));
        for kind in kinds {
            let files = key(&dir, kind, &format!("{by}_{}", kind.as_str()));
            let options = ["-n", "one,two", "-O", "no-pty", "-O", "force-command=x y"];
            let path = certify(&authority, &files.public, "the id", &options);
            let certificate = UserCertificate::read(&path).unwrap();
            assert_eq!(certificate.key_id(), "the id");
            assert_eq!(certificate.principals(), ["one", "two"]);
            assert_eq!(certificate.fingerprint(), files.fingerprint());
            assert_eq!(certificate.path(), path);
            usable(&path).unwrap();
        }
    }
}

#[test]
fn an_authority_or_a_key_may_be_a_security_key() {
    // The authority signs through its agent: ssh-keygen -U.
    let (dir, files, authority) = pair();
    let agent = LabAgent::start(&dir.path().join("agent.sock"));
    for kind in [SecurityKey::Ed25519, SecurityKey::Ecdsa] {
        let public = dir.path().join(format!("{kind:?}.pub"));
        fs::write(&public, agent.add_security_key(kind, "ssh:")).unwrap();
        usable(&certify(&authority, &public, "id", &[])).unwrap();
        let mut command = std::process::Command::new("ssh-keygen");
        command.env("SSH_AUTH_SOCK", agent.socket());
        command.args(["-q", "-U", "-I", "id", "-s"]).arg(&public);
        run(command.arg(&files.public));
        usable(&UserCertificate::beside(&files.private)).unwrap();
    }
}

#[test]
fn a_certificate_is_usable_from_its_first_second_to_its_last() {
    // Not in the second at which it ends, as sshd has it.
    let (_dir, path) = made(&["-V", "0x5e0be100:0x5e0d3280"]);
    let certificate = UserCertificate::read(&path).unwrap();
    let (start, end) = (0x5e0b_e100, 0x5e0d_3280);
    assert_eq!(certificate.valid_after(), Some(at(start)));
    assert_eq!(certificate.valid_before(), Some(at(end)));
    certificate.usable_at(at(start)).unwrap();
    certificate.usable_at(at(end - 1)).unwrap();
    let early = certificate.usable_at(at(start - 1)).unwrap_err();
    let late = certificate.usable_at(at(end)).unwrap_err();
    let clocks = "compare the clocks of this machine and the authority: date -u";
    assert_eq!(
        shown(&path, &early),
        (
            " is not valid before 2020-01-01 00:00:00 UTC".to_owned(),
            clocks.to_owned()
        )
    );
    let again = "have the authority sign the key again: ssh-keygen -s AUTHORITY -I NAME -n USER \
                 -V +52w KEY.pub";
    assert_eq!(
        shown(&path, &late),
        (
            " expired on 2020-01-02 00:00:00 UTC".to_owned(),
            again.to_owned()
        )
    );
    // Time alone makes the one right, and not the other.
    assert_eq!(early.into_failure().class, Class::Transient);
    assert_eq!(late.into_failure().class, Class::Blocked);
}

#[test]
fn a_certificate_without_dates_is_valid_for_ever() {
    // What ssh-keygen makes unless told; and dates that no clock reaches are no trouble.
    let (_dir, path) = made(&[]);
    let certificate = UserCertificate::read(&path).unwrap();
    assert_eq!(certificate.valid_after(), None);
    assert_eq!(certificate.valid_before(), None);
    certificate.usable_at(UNIX_EPOCH).unwrap();
    assert!(certificate.principals().is_empty());
    let (_dir, path) = made(&["-V", "0x7fffffffffffffff:forever"]);
    let far = usable(&path).unwrap_err();
    let expected = " is not valid before the year 10000 or later";
    assert_eq!(shown(&path, &far).0, expected);
}

#[test]
fn a_certificate_for_another_key_is_told_from_the_right_one() {
    // Both are named: the file of the key, and the key that the certificate is for.
    let (dir, files, authority) = pair();
    let other = key(&dir, KeyType::Ed25519, "other");
    let path = certify(&authority, &files.public, "id", &[]);
    let certificate = UserCertificate::read(&path).unwrap();
    let data = |files: &KeyFiles| {
        let key = russh::keys::load_public_key(&files.public).unwrap();
        key.key_data().clone()
    };
    certificate
        .certifies(&data(&files), &files.private)
        .unwrap();
    let wrong = certificate.certifies(&data(&other), &other.private);
    let expected = format!(
        " is for another key than {}: {}",
        other.private.display(),
        files.fingerprint()
    );
    let hint = "ssh-keygen -L -f PATH shows the key that it is for".to_owned();
    assert_eq!(shown(&path, &wrong.unwrap_err()), (expected, hint));
}

#[test]
fn what_is_no_user_certificate_is_named() {
    // And where the certificate likely is.
    let (dir, files, authority) = pair();
    let problem = |path: &Path| shown(path, &usable(path).unwrap_err());
    let likely = format!(
        "its certificate is likely {}-cert.pub",
        files.private.display()
    );
    let (cause, hint) = problem(&files.public);
    assert_eq!(cause, " is a plain public key, not a user certificate");
    assert_eq!(hint, likely);
    let (cause, hint) = problem(&files.private);
    assert_eq!(cause, " is a private key, not a user certificate");
    assert_eq!(hint, "its certificate is likely PATH-cert.pub");
    let (cause, _) = problem(dir.path());
    assert_eq!(cause, ": is a directory");
    let (cause, hint) = problem(&dir.path().join("none"));
    assert_eq!(cause, ": no such file");
    assert!(hint.contains("certificate_file"), "{hint}");
    let host = certify(&authority, &files.public, "id", &["-h"]);
    let (cause, hint) = problem(&host);
    assert_eq!(cause, " is a host certificate, not a user certificate");
    assert!(hint.contains("without -h"), "{hint}");
    for (bytes, cause) in [
        ("", " is an empty file, not a user certificate"),
        ("# nothing\n\n", " is an empty file, not a user certificate"),
        ("hello world", " is something else, not a user certificate"),
        (
            &"x".repeat(100_000),
            ": over 64 KiB, too large for a certificate",
        ),
    ] {
        assert_eq!(said_of(bytes).0, cause);
    }
    let binary = said_of(b"\xff\xfe");
    assert_eq!(binary.0, " is binary data, not a user certificate");
}

#[test]
fn a_damaged_certificate_is_not_sent_to_any_server() {
    // Cut short, changed, longer than it says, or with an authority that is a certificate itself.
    let (_dir, files, authority) = pair();
    let path = certify(&authority, &files.public, "the id", &[]);
    let blob = blob_of(&path);
    let not_decoded = " is damaged: not what a certificate holds";
    let cut = line_of(&blob[..blob.len() - 7]);
    let longer = line_of(&[&blob[..], b"x"].concat());
    let other_type = fs::read_to_string(&path)
        .unwrap()
        .replacen("ed25519", "rsa", 1);
    for text in [
        cut.as_str(),
        &longer,
        &other_type,
        "ssh-ed25519-cert-v01@openssh.com",
        "ssh-ed25519-cert-v01@openssh.com %%%",
        "ssh-ed25519-cert-v00@openssh.com AAAA",
    ] {
        assert_eq!(said_of(text).0, not_decoded, "{text}");
    }
    let at = blob.windows(6).position(|w| w == b"the id").unwrap();
    let mut changed = blob.clone();
    changed[at] = b'T';
    let (cause, hint) = said_of(line_of(&changed));
    assert_eq!(cause, " is damaged: its signature does not fit");
    assert_eq!(hint, "ssh-keygen -L -f PATH shows it");
    let (before, after) = around_the_signer(&blob, &authority);
    let nested = [before, &wire_string(&blob), after].concat();
    let expected = " is signed by another certificate, not by a key";
    assert_eq!(said_of(line_of(&nested)).0, expected);
    let bottomless = b"ssh-ed25519-cert-v01@openssh.com".repeat(1000);
    assert_eq!(said_of(line_of(&bottomless)).0, expected);
}

#[test]
fn the_first_line_that_says_anything_is_the_certificate() {
    // As ssh reads it: comments and empty lines before it, whatever else behind it.
    let (_dir, path) = made(&[]);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("\n# mine\r\n  {text}# more\n")).unwrap();
    usable(&path).unwrap();
}

#[test]
fn a_signature_that_the_library_does_not_check_is_the_servers_to_judge() {
    // SHA-1, and RSA keys that are longer than anybody's.
    let (dir, files, authority) = pair();
    let path = certify(&authority, &files.public, "id", &[]);
    let blob = blob_of(&path);
    let (before, _) = around_the_signer(&blob, &authority);
    let long = [
        wire_string(b"ssh-rsa"),
        wire_string(&[3]),
        wire_string(&[77; 1025]),
    ];
    let signature = [wire_string(b"rsa-sha2-512"), wire_string(&[77; 1025])];
    let parts = [
        wire_string(&long.concat()),
        wire_string(&signature.concat()),
    ];
    fs::write(&path, line_of(&[before, &parts.concat()].concat())).unwrap();
    usable(&path).unwrap();
    let authority = key(&dir, KeyType::Rsa, "rsa");
    usable(&certify(
        &authority,
        &files.public,
        "id",
        &["-t", "ssh-rsa"],
    ))
    .unwrap();
}
