//! The promise: every key that ssh-keygen makes is read, or refused with what it is and what to do;
//! a key that others can read is refused; and no message holds a piece of a key.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use tempfile::TempDir;
use tunneld_core::failure::{Class, Stage};

use super::*;
use crate::known_hosts::ReadFault;

mod passphrases;
mod public_halves;
mod short_numbers;

fn run(program: &str, args: &[&str]) -> std::process::Output {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    output
}

/// A key made by the real ssh-keygen.
fn keygen(dir: &TempDir, name: &str, passphrase: &str, args: &[&str]) -> PathBuf {
    let path = dir.path().join(name);
    let text = path.display().to_string();
    let common = ["-q", "-N", passphrase, "-C", "comment", "-f", &text];
    run("ssh-keygen", &[&common, args].concat());
    path
}

/// The fingerprint that the real ssh-keygen prints for the public half.
fn fingerprint_by_ssh_keygen(path: &Path) -> String {
    let text = format!("{}.pub", path.display());
    let output = run("ssh-keygen", &["-lf", &text]);
    let line = String::from_utf8(output.stdout).unwrap();
    line.split(' ').nth(1).unwrap().to_owned()
}

fn write(dir: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The message without its beginning, `key file PATH`, and the hint with `PATH` for the path.
fn problem(path: &Path) -> (String, String) {
    let problem = Identity::read(path).unwrap_err();
    let text = path.display().to_string();
    let cause = problem.to_string();
    let cause = cause.strip_prefix(&format!("key file {text}")).unwrap();
    let hint = problem.hint().unwrap_or_default().replace(&text, "PATH");
    let failure = problem.into_failure();
    assert_eq!(failure.stage, Stage::Authenticate);
    assert_eq!(failure.class, Class::Blocked);
    (cause.to_owned(), hint)
}

fn assert_problem(path: &Path, cause: &str, hint: &str) {
    assert_eq!(problem(path), (cause.to_owned(), hint.to_owned()));
}

const KINDS: [(&str, &[&str]); 5] = [
    ("ED25519", &["-t", "ed25519"]),
    ("ECDSA nistp256", &["-t", "ecdsa", "-b", "256"]),
    ("ECDSA nistp384", &["-t", "ecdsa", "-b", "384"]),
    ("ECDSA nistp521", &["-t", "ecdsa", "-b", "521"]),
    ("RSA", &["-t", "rsa", "-b", "2048"]),
];

const FORMATS: [&str; 3] = ["RFC4716", "PEM", "PKCS8"];

#[test]
fn every_key_of_every_format_that_ssh_keygen_writes_is_read() {
    let dir = TempDir::new().unwrap();
    for (kind, args) in KINDS {
        for format in FORMATS {
            let name = format!("{kind}-{format}").replace(' ', "");
            let path = keygen(&dir, &name, "", &[args, &["-m", format]].concat());
            let identity = Identity::read(&path).unwrap();
            assert_eq!(identity.type_name(), kind);
            assert_eq!(
                identity.fingerprint(),
                fingerprint_by_ssh_keygen(&path),
                "{name}"
            );
            assert_eq!(identity.path(), path);

            // A signature made with it is one of the public half: the key is whole.
            let public = fs::read_to_string(format!("{}.pub", path.display())).unwrap();
            let public = russh::keys::PublicKey::from_openssh(&public).unwrap();
            let hash = russh::keys::HashAlg::Sha512;
            let signature = identity.key().sign("test", hash, b"text").unwrap();
            public.verify("test", b"text", &signature).unwrap();

            // Windows line ends, and text around the block.
            let text = fs::read_to_string(&path).unwrap().replace('\n', "\r\n");
            let crlf = write(&dir, "crlf", format!("\r\nkey:\r\n{text}\r\n"));
            let again = Identity::read(&crlf).unwrap();
            assert_eq!(again.fingerprint(), identity.fingerprint());
        }
    }
}

#[test]
fn every_encrypted_key_that_ssh_keygen_writes_is_told_as_such() {
    let dir = TempDir::new().unwrap();
    for (kind, args) in KINDS {
        for format in FORMATS {
            let name = format!("{kind}-{format}").replace(' ', "");
            let args = [args, &["-m", format]].concat();
            let path = keygen(&dir, &name, "secret phrase", &args);
            if format == "PEM" && kind.starts_with("ECDSA") {
                let cause = " is an EC PEM key with a passphrase, which tunneld does not support";
                let hint = "ssh-keygen -p -f PATH writes the same key in OpenSSH's own format";
                assert_problem(&path, cause, hint);
                continue;
            }
            let hint = "name its passphrase in passphrase_credential, or take it off: \
                        ssh-keygen -p -f PATH";
            assert_problem(&path, " is encrypted with a passphrase", hint);
        }
    }
}

#[test]
fn a_damaged_key_is_an_error_or_a_key_and_never_a_panic() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let dir = TempDir::new().unwrap();
    for (kind, args) in KINDS {
        for format in ["RFC4716", "PEM", "PKCS8"] {
            let name = format!("{kind}-{format}").replace(' ', "");
            let path = keygen(&dir, &name, "", &[args, &["-m", format]].concat());
            let text = fs::read_to_string(&path).unwrap();
            let label = text
                .split("-----")
                .nth(1)
                .unwrap()
                .strip_prefix("BEGIN ")
                .unwrap();
            let body: String = text.lines().filter(|l| !l.starts_with('-')).collect();
            let whole = STANDARD.decode(body).unwrap();
            let step = 1 + whole.len() / 80;
            for at in (0..whole.len()).step_by(step) {
                for value in [0, 0x80, 0xff, whole[at] ^ 1] {
                    let mut damaged = whole.clone();
                    damaged[at] = value;
                    let block = |bytes: &[u8]| {
                        let body = STANDARD.encode(bytes);
                        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
                    };
                    let _ = format::decode(block(&damaged).as_bytes());
                    let _ = format::decode(block(&damaged[..at]).as_bytes());
                }
            }
        }
    }
}

#[test]
fn keys_that_openssl_writes_are_read_or_named() {
    let dir = TempDir::new().unwrap();
    let openssl = |name: &str, args: &[&str]| {
        let path = write(&dir, name, "");
        let text = path.display().to_string();
        run("openssl", &[args, &["-out", &text]].concat());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let ed = openssl("ed", &["genpkey", "-algorithm", "ed25519"]);
    assert_eq!(Identity::read(&ed).unwrap().type_name(), "ED25519");
    let ec = openssl("ec", &["ecparam", "-genkey", "-name", "prime256v1"]);
    assert!(fs::read_to_string(&ec).unwrap().contains("EC PARAMETERS"));
    assert_eq!(Identity::read(&ec).unwrap().type_name(), "ECDSA nistp256");
    let new_key = "make another key: ssh-keygen -t ed25519 -f NEW";
    assert_problem(
        &openssl("x", &["genpkey", "-algorithm", "x25519"]),
        " is a key of another type (OID 1.3.101.110), which tunneld does not support",
        new_key,
    );
    let small = [
        "genpkey",
        "-quiet",
        "-algorithm",
        "rsa",
        "-pkeyopt",
        "rsa_keygen_bits:768",
    ];
    assert_problem(
        &openssl("small", &small),
        " is an RSA key of only 768 bits, which tunneld does not support",
        new_key,
    );
    let curve = ["ecparam", "-genkey", "-noout", "-name", "secp256k1"];
    assert_problem(
        &openssl("koblitz", &curve),
        " is a key of another type (OID 1.3.132.0.10), which tunneld does not support",
        new_key,
    );
    let der = ["genpkey", "-algorithm", "ed25519", "-outform", "DER"];
    let (cause, _) = problem(&openssl("der", &der));
    assert!(cause.starts_with(": "), "{cause}");
}

#[test]
fn the_public_half_and_a_certificate_are_named_with_the_likely_private_file() {
    let dir = TempDir::new().unwrap();
    let ca = keygen(&dir, "ca", "", &["-t", "ed25519"]);
    let id = keygen(&dir, "id", "", &["-t", "ed25519"]);
    let (ca, id) = (ca.display().to_string(), id.display().to_string());
    run(
        "ssh-keygen",
        &["-q", "-s", &ca, "-I", "x", "-n", "y", &format!("{id}.pub")],
    );
    for (suffix, what) in [(".pub", "a public key"), ("-cert.pub", "a certificate")] {
        let path = PathBuf::from(format!("{id}{suffix}"));
        let cause = format!(" is {what}, not a private key");
        // As ssh-keygen makes it, open to everybody, and as somebody may have closed it.
        for mode in [0o644, 0o600] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_problem(&path, &cause, &format!("its private half is likely {id}"));
        }
    }
    for format in ["PEM", "PKCS8", "RFC4716"] {
        let rsa = keygen(
            &dir,
            &format!("rsa{format}"),
            "",
            &["-t", "rsa", "-b", "1024"],
        );
        let rsa = rsa.display().to_string();
        let public = run("ssh-keygen", &["-e", "-m", format, "-f", &rsa]).stdout;
        let path = write(&dir, "exported", public);
        let cause = " is a public key, not a private key";
        assert_problem(&path, cause, "name the file of its private half");
    }
}

#[test]
fn what_is_no_key_is_said_plainly() {
    let dir = TempDir::new().unwrap();
    let good = keygen(&dir, "good", "", &["-t", "ed25519"]);
    let good = fs::read_to_string(good).unwrap();
    let try_it = "ssh-keygen -y -f PATH tells whether ssh can read it";
    let cut = good.split("-----END").next().unwrap();
    let block = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    let damaged = good.replacen("b3BlbnNzaC1rZXktdjE", "b3BlbnNzaC1rZXktdjI", 1);
    for (text, cause) in [
        (String::new(), ": the file is empty"),
        (" \n".to_owned(), ": the file is empty"),
        ("hello\n".to_owned(), ": no private key in it"),
        (
            cut.to_owned(),
            ": cut short: `-----END OPENSSH PRIVATE KEY-----` is missing",
        ),
        (
            good.replace('b', "!"),
            ": damaged: its contents are not base64",
        ),
        (damaged, ": damaged: not what an OpenSSH key holds"),
        (
            block("CERTIFICATE", "AAAA"),
            ": an X.509 certificate, not a private key",
        ),
        (
            block("PRIVATE KEY", "AAAA"),
            ": damaged: its contents are not DER",
        ),
        (
            block("PRIVATE KEY", ""),
            ": damaged: its contents are not base64",
        ),
        (
            "x".repeat((1 << 20) + 1),
            ": over 1 MiB, too large for a key",
        ),
    ] {
        assert_problem(&write(&dir, "bad", text), cause, try_it);
    }
    let binary = write(&dir, "binary", [0x30, 0xff, 0x00, 0xfe]);
    assert_problem(&binary, ": binary data, not a key file", try_it);
}

#[test]
fn what_is_a_key_of_another_program_is_named_with_the_way_out() {
    let dir = TempDir::new().unwrap();
    let new_key = "make another key: ssh-keygen -t ed25519 -f NEW";
    let rewrite = "ssh-keygen -p -f PATH writes the same key in OpenSSH's own format";
    for (text, what, hint) in [
        (
            "PuTTY-User-Key-File-3: ssh-ed25519\n",
            "a PuTTY key",
            "puttygen PATH -O private-openssh-new -o NEW converts it",
        ),
        (
            "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n",
            "an ssh.com key",
            "ssh-keygen -i -f PATH > NEW converts it",
        ),
        (
            "-----BEGIN DSA PRIVATE KEY-----\nMAA=\n-----END DSA PRIVATE KEY-----\n",
            "a DSA key",
            new_key,
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n",
            "an RSA PEM key of an unusual kind",
            rewrite,
        ),
        (
            "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n",
            "an EC PEM key of an unusual kind",
            rewrite,
        ),
        (
            "-----BEGIN ANY PRIVATE KEY-----\nMAA=\n-----END ANY PRIVATE KEY-----\n",
            "`ANY PRIVATE KEY`",
            rewrite,
        ),
    ] {
        let cause = format!(" is {what}, which tunneld does not support");
        assert_problem(&write(&dir, "other", text), &cause, hint);
    }
}

#[test]
fn what_cannot_be_opened_is_told_in_the_words_of_the_system() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("missing");
    let make = "correct identity_file, or make a key: ssh-keygen -t ed25519 -N '' -f PATH";
    assert_problem(&missing, ": no such file", make);
    assert!(Identity::read(&missing).unwrap_err().is_missing());
    assert_problem(dir.path(), " is a directory", "name the private key in it");
    let knot = dir.path().join("knot");
    symlink(&knot, &knot).unwrap();
    assert_problem(&knot, ": too many levels of symbolic links", "");
    let fifo = dir.path().join("fifo");
    run("mkfifo", &["-m", "600", &fifo.display().to_string()]);
    assert!(problem(&fifo).0.ends_with(": not a regular file"));
}

#[test]
fn a_key_that_anybody_else_may_touch_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = keygen(&dir, "id", "", &["-t", "ed25519"]);
    let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o601, 0o620, 0o610, 0o666, 0o777] {
        set(mode);
        let cause = format!(" is open to others: mode {mode:04o}");
        assert_problem(&path, &cause, "chmod 600 PATH");
    }
    for mode in [0o600, 0o400, 0o700] {
        set(mode);
        Identity::read(&path).unwrap();
    }
}

#[test]
fn a_credential_may_be_group_readable_in_its_directory_only() {
    let dir = TempDir::new().unwrap();
    let path = keygen(&dir, "id", "", &["-t", "ed25519"]);
    let other = TempDir::new().unwrap();
    let read = |directory: &TempDir| Identity::read_for(&path, Some(directory.path()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    assert!(read(&dir).is_ok());
    assert!(read(&other).is_err());
    assert!(Identity::read(&path).is_err());
    // A link in the directory is not a file in it.
    let link = other.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(Identity::read_for(&link, Some(other.path())).is_err());
    for mode in [0o444, 0o460, 0o450] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(read(&dir).is_err(), "{mode:o}");
    }
}

#[test]
fn a_shortage_is_passing_and_a_refusal_is_not() {
    let kind = |fault| IdentityProblemKind::NotReadable {
        reason: "too many open files".to_owned(),
        fault,
    };
    let failure = |kind| {
        IdentityProblem {
            path: "k".into(),
            kind,
        }
        .into_failure()
    };
    assert_eq!(failure(kind(ReadFault::Passing)).class, Class::Transient);
    assert_eq!(
        failure(kind(ReadFault::Passing)).cause,
        "key file k: too many open files"
    );
    let denied = failure(kind(ReadFault::Denied));
    assert_eq!(denied.class, Class::Blocked);
    assert_eq!(
        denied.hint.unwrap(),
        "the user that tunneld runs as must own it"
    );
}

#[test]
fn no_text_about_a_key_holds_a_piece_of_it() {
    let dir = TempDir::new().unwrap();
    for (_, args) in KINDS {
        let name = args.concat();
        let path = keygen(&dir, &name, "", args);
        let text = fs::read_to_string(&path).unwrap();
        let identity = Identity::read(&path).unwrap();
        let said = format!("{identity:?} {identity:#?} {identity}");
        assert!(said.contains(identity.fingerprint()));
        assert!(said.contains(&path.display().to_string()));
        let body: String = text.lines().filter(|l| !l.starts_with('-')).collect();
        // Also broken in the middle, nothing of it gets into the message.
        let broken = write(&dir, "broken", text.replacen("AAAA", "AA!A", 1));
        let problem = Identity::read(&broken).unwrap_err();
        let said = format!("{said} {problem:?} {problem} {:?}", problem.hint());
        for piece in body.as_bytes().windows(8) {
            let piece = std::str::from_utf8(piece).unwrap();
            assert!(!said.contains(piece), "{piece} in {said}");
        }
    }
}
