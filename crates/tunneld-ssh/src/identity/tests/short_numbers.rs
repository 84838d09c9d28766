//! A P-256 key whose secret number begins with zeros, as one of 256 does, is read and opened as any
//! other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::{HashAlg, PublicKey};

use super::*;

const PHRASE: &str = "a secret phrase";

/// A key of OpenSSL's, with this number, as ssh-keygen writes it.
fn key(dir: &TempDir, number: [u8; 32], passphrase: &str, cipher: &str) -> PathBuf {
    // RFC 5915 section 3: without its public half, which OpenSSL finds.
    let mut der = b"\x30\x31\x02\x01\x01\x04\x20".to_vec();
    der.extend(number);
    der.extend(b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07");
    let (from, to) = (write(dir, "der", der), write(dir, "key", ""));
    let (from, to) = (from.display().to_string(), to.display().to_string());
    run(
        "openssl",
        &["ec", "-inform", "DER", "-in", &from, "-out", &to],
    );
    let rewrite = ["-q", "-p", "-N", passphrase, "-f", &to];
    // The fewest rounds that there are.
    run(
        "ssh-keygen",
        &[&rewrite[..], &["-a", "1", "-Z", cipher]].concat(),
    );
    let public = run("ssh-keygen", &["-y", "-P", passphrase, "-f", &to]).stdout;
    fs::write(format!("{to}.pub"), public).unwrap();
    PathBuf::from(to)
}

/// The key is whole: what it signs is signed by the public half.
fn assert_signs(key: &Identity, path: &Path) {
    let public = fs::read_to_string(format!("{}.pub", path.display())).unwrap();
    let public = PublicKey::from_openssh(&public).unwrap();
    let signature = key.key().sign("test", HashAlg::Sha512, b"text").unwrap();
    public.verify("test", b"text", &signature).unwrap();
}

#[test]
fn a_key_with_a_short_number_is_read_and_opened() {
    let dir = TempDir::new().unwrap();
    for (zeros, fill) in [(0, 0x42), (1, 0x42), (1, 0x92), (2, 0x92), (15, 0x42)] {
        let mut number = [fill; 32];
        number[..zeros].fill(0);
        let path = key(&dir, number, "", "aes256-ctr");
        assert_signs(&Identity::read(&path).unwrap(), &path);
        for cipher in [
            "aes256-ctr",
            "aes128-cbc",
            "aes256-gcm@openssh.com",
            "chacha20-poly1305@openssh.com",
        ] {
            let path = key(&dir, number, PHRASE, cipher);
            let KeyFile::Locked(locked) = KeyFile::read(&path).unwrap() else {
                panic!("{cipher}");
            };
            assert_signs(&locked.unlock(PHRASE).unwrap(), &path);
            let problem = locked.unlock("another").unwrap_err().to_string();
            assert!(problem.ends_with(": wrong passphrase"), "{problem}");
        }
    }
}

#[test]
fn a_damaged_key_with_a_short_number_is_an_error_or_a_key_and_never_a_panic() {
    let dir = TempDir::new().unwrap();
    let mut number = [0x42; 32];
    number[0] = 0;
    let path = key(&dir, number, "", "aes256-ctr");
    let text = fs::read_to_string(path).unwrap();
    let body: String = text.lines().filter(|l| !l.starts_with('-')).collect();
    let whole = STANDARD.decode(body).unwrap();
    let label = "OPENSSH PRIVATE KEY";
    for at in 0..whole.len() {
        for value in [0, whole[at] ^ 1, whole[at] ^ 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let body = STANDARD.encode(damaged);
            let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
            if let Ok(format::Content::Open(key)) = format::decode(text.as_bytes()) {
                let _ = key.sign("test", HashAlg::Sha512, b"text");
            }
        }
    }
}
