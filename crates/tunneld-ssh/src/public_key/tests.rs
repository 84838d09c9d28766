//! The promise: what is told of a key is what ssh-keygen wrote, and no file makes more than one line.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;
use crate::identity::Identity;

fn keygen(dir: &TempDir, args: &[&str]) {
    let output = Command::new("ssh-keygen")
        .current_dir(dir.path())
        .arg("-q")
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
}

fn key(dir: &TempDir, name: &str, kind: &str) -> PathBuf {
    let args = ["-t", kind, "-N", "", "-C", "who@where", "-f", name];
    keygen(dir, &args);
    dir.path().join(name)
}

fn text(path: &Path, suffix: &str) -> String {
    let path = format!("{}{suffix}", path.display());
    fs::read_to_string(path).unwrap().trim_end().to_owned()
}

fn read(path: &Path) -> Public {
    Public::read(path).unwrap()
}

fn problem(dir: &TempDir, bytes: &[u8]) -> String {
    let path = dir.path().join("bad");
    fs::write(&path, bytes).unwrap();
    let said = Public::read(&path).unwrap_err().to_string();
    let place = format!("{}: ", path.display());
    said.strip_prefix(&place).unwrap().to_owned()
}

#[test]
fn the_public_half_of_a_key_is_the_line_that_ssh_keygen_wrote() {
    // From the file beside it, and from the key itself; PEM has no room for a comment.
    let dir = TempDir::new().unwrap();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let path = key(&dir, kind, kind);
        let line = text(&path, ".pub");
        let from_key = PublicLine::of_key_file(&KeyFile::read(&path).unwrap()).unwrap();
        assert_eq!(from_key.line, line);
        let identity = Identity::read(&path).unwrap();
        assert_eq!(from_key.fingerprint, identity.fingerprint());
        assert_eq!(
            read(&dir.path().join(format!("{kind}.pub"))),
            Public::Key(from_key)
        );
    }
}

#[test]
fn a_certificate_tells_who_signed_it_and_what_it_allows() {
    let dir = TempDir::new().unwrap();
    let (ca, id) = (key(&dir, "ca", "ed25519"), key(&dir, "id", "ecdsa"));
    let sign = |options: &[&str]| {
        keygen(
            &dir,
            &[&["-s", "ca", "-I", "some id"], options, &["id.pub"]].concat(),
        );
        match read(&dir.path().join("id-cert.pub")) {
            Public::Certificate(certified) => *certified,
            Public::Key(key) => panic!("{key:?}"),
        }
    };
    let words = text(&ca, ".pub");
    let words = words.strip_suffix(" who@where").unwrap();
    let whole = sign(&["-n", "tunnel,ops"]);
    assert_eq!(whole.authority.line, format!("{words} CA of some id"));
    assert_eq!(
        whole.fingerprint,
        Identity::read(&id).unwrap().fingerprint()
    );
    assert_eq!(whole.principals, ["tunnel", "ops"]);
    assert!(whole.forwards && whole.force_command.is_none());
    let limited = sign(&["-O", "clear", "-O", "force-command=/bin/x \"y\""]);
    assert!(!limited.forwards && limited.principals.is_empty());
    assert_eq!(limited.force_command.unwrap(), "/bin/x \"y\"");
    keygen(&dir, &["-s", "ca", "-I", "x", "-h", "-n", "host", "id.pub"]);
    let host = Public::read(&dir.path().join("id-cert.pub")).unwrap_err();
    assert!(
        host.to_string()
            .ends_with(": is a host certificate, not a user certificate")
    );
}

#[test]
fn a_certificate_that_no_server_takes_is_told_and_gets_no_line() {
    // Its time is over, its signature does not fit, or it is made to exhaust the stack.
    let dir = TempDir::new().unwrap();
    let (_, id) = (key(&dir, "ca", "ed25519"), key(&dir, "id", "ed25519"));
    let path = dir.path().join("id-cert.pub");
    let reason = || {
        let said = Public::read(&path).unwrap_err().to_string();
        let begins = format!("{}: ", path.display());
        said.strip_prefix(&begins).unwrap().to_owned()
    };
    let args = [
        "-s",
        "ca",
        "-I",
        "x",
        "-V",
        "0x5e0be100:0x5e0d3280",
        "id.pub",
    ];
    keygen(&dir, &args);
    assert_eq!(reason(), "expired on 2020-01-02 00:00:00 UTC");

    keygen(&dir, &["-s", "ca", "-I", "x", "id.pub"]);
    let line = text(&id, "-cert.pub");
    let words: Vec<&str> = line.split(' ').collect();
    let mut blob = STANDARD.decode(words[1]).unwrap();
    let last = blob.len() - 1;
    blob[last] ^= 1;
    fs::write(&path, format!("{} {}\n", words[0], STANDARD.encode(&blob))).unwrap();
    assert_eq!(reason(), "is damaged: its signature does not fit");

    let name = words[0].as_bytes();
    let deep: Vec<u8> = [&[0, 0, 0, 32], name, &[0, 0, 0, 0]].concat().repeat(1000);
    fs::write(&path, format!("{} {}\n", words[0], STANDARD.encode(deep))).unwrap();
    assert_eq!(reason(), "is signed by another certificate, not by a key");
    // By the name of a plain key, it is no plain key either.
    fs::write(&path, format!("ssh-ed25519 {}\n", STANDARD.encode(&blob))).unwrap();
    assert_eq!(reason(), "not an OpenSSH public key");
}

#[test]
fn what_is_no_public_key_is_said_plainly() {
    let dir = TempDir::new().unwrap();
    let path = key(&dir, "id", "ed25519");
    let line = text(&path, ".pub");
    let private = text(&path, "");
    let no_key = "not an OpenSSH public key";
    for (bytes, said) in [
        (&b""[..], "it is empty"),
        (b"# nothing\n\n", "it is empty"),
        (b"hello\n", no_key),
        (private.as_bytes(), no_key),
        (b"ssh-ed25519 AAAA\n", no_key),
        (
            b"ssh-ed25519-cert-v01@openssh.com AAAA\n",
            "is damaged: not what a certificate holds",
        ),
        (b"\x00\xff\xfe", "binary data, not a public key"),
    ] {
        assert_eq!(problem(&dir, bytes), said);
    }
    let missing = Public::read(&dir.path().join("none")).unwrap_err();
    assert!(missing.is_missing() && missing.to_string().ends_with(": no such file"));
    let folder = Public::read(dir.path()).unwrap_err();
    assert!(!folder.is_missing(), "{folder}");
    // Only the first key counts, and a comment stays on its line.
    let many = format!("# mine\n\n{line} \x1b[31m\x07red\r\nssh-rsa BBBB\n");
    fs::write(dir.path().join("many"), many).unwrap();
    let Public::Key(first) = read(&dir.path().join("many")) else {
        panic!("a key");
    };
    assert_eq!(first.line, format!("{line}  [31m red"));
}
