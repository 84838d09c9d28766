//! Encrypted keys: every one that ssh-keygen makes is opened by its passphrase and by no other, and
//! one that would take for ever is not begun.

use super::*;

const PHRASE: &str = "a secret phrase";

fn locked(path: &Path) -> Box<LockedKey> {
    match KeyFile::read(path).unwrap() {
        KeyFile::Locked(locked) => locked,
        other => panic!("{other:?}"),
    }
}

/// What is wrong, without its beginning.
fn refusal(path: &Path, passphrase: &str) -> String {
    let problem = locked(path).unlock(passphrase).unwrap_err();
    assert_eq!(problem.clone().into_failure().class, Class::Blocked);
    let text = problem.to_string();
    let beginning = format!("key file {}", path.display());
    text.strip_prefix(&beginning).unwrap().to_owned()
}

fn assert_opens(path: &Path, passphrase: &str) {
    let key = locked(path);
    let identity = key.unlock(passphrase).unwrap();
    assert_eq!(identity.fingerprint(), fingerprint_by_ssh_keygen(path));
    for wrong in ["a secret phrasE", "", "x"] {
        assert_eq!(refusal(path, wrong), ": wrong passphrase");
    }
    // Neither the key nor what opens it is in what is printed of it.
    assert!(!format!("{key:?} {identity:?}").contains(passphrase));
}

#[test]
fn every_encrypted_key_of_every_format_is_opened_by_its_passphrase_and_by_no_other() {
    let dir = TempDir::new().unwrap();
    for (kind, args) in KINDS {
        for format in FORMATS {
            if format == "PEM" && kind.starts_with("ECDSA") {
                continue;
            }
            let name = format!("{kind}-{format}").replace(' ', "");
            let args = [args, &["-m", format, "-a", "1"]].concat();
            assert_opens(&keygen(&dir, &name, PHRASE, &args), PHRASE);
        }
    }
}

#[test]
fn every_cipher_of_openssh_opens_or_is_named() {
    let dir = TempDir::new().unwrap();
    for cipher in [
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
        "aes128-cbc",
        "aes256-cbc",
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
    ] {
        let args = ["-t", "ed25519", "-a", "1", "-Z", cipher];
        assert_opens(&keygen(&dir, cipher, "pass ä€ word", &args), "pass ä€ word");
    }
    let args = ["-t", "ed25519", "-a", "1", "-Z", "3des-cbc"];
    let path = keygen(&dir, "3des", PHRASE, &args);
    assert_problem(
        &path,
        " is a key encrypted with `3des-cbc`, which tunneld does not support",
        "ssh-keygen -p -f PATH writes the same key in OpenSSH's own format",
    );
}

#[test]
fn pkcs8_as_openssl_encrypts_it_opens_or_is_named() {
    let dir = TempDir::new().unwrap();
    let plain = keygen(&dir, "plain", "", &["-t", "ecdsa", "-m", "PKCS8"]);
    let encrypt = |name: &str, args: &[&str]| {
        let path = write(&dir, name, "");
        let (from, to) = (plain.display().to_string(), path.display().to_string());
        let pass = format!("pass:{PHRASE}");
        let common = [
            "pkcs8", "-topk8", "-passout", &pass, "-in", &from, "-out", &to,
        ];
        run("openssl", &[&common, args].concat());
        let public = format!("{}.pub", plain.display());
        fs::copy(public, format!("{to}.pub")).unwrap();
        path
    };
    for (name, args) in [
        ("aes128", &["-v2", "aes-128-cbc"][..]),
        ("aes192", &["-v2", "aes-192-cbc"]),
        ("sha512", &["-v2prf", "hmacWithSHA512"]),
        ("scrypt", &["-scrypt", "-scrypt_N", "1024"]),
    ] {
        assert_opens(&encrypt(name, args), PHRASE);
    }
    let path = write(&dir, "ed25519", "");
    let (to, pass) = (path.display().to_string(), format!("pass:{PHRASE}"));
    let args = [
        "genpkey",
        "-algorithm",
        "ed25519",
        "-aes256",
        "-pass",
        &pass,
    ];
    run("openssl", &[&args[..], &["-out", &to]].concat());
    let identity = locked(&path).unlock(PHRASE).unwrap();
    assert_eq!(identity.type_name(), "ED25519");

    let unusual = " is a PKCS#8 key encrypted in an unusual way, which tunneld does not support";
    for (name, args) in [
        ("des3", &["-v2", "des3"][..]),
        ("pbes1", &["-v1", "PBE-SHA1-3DES"]),
    ] {
        let hint = "ssh-keygen -p -f PATH writes the same key in OpenSSH's own format";
        assert_problem(&encrypt(name, args), unusual, hint);
    }
    // Known only once it is tried: the file is read, and not opened.
    let sha1 = encrypt("sha1", &["-v2prf", "hmacWithSHA1"]);
    assert_eq!(refusal(&sha1, PHRASE), unusual);
}

#[test]
fn a_key_that_takes_for_ever_to_open_is_not_begun() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let dir = TempDir::new().unwrap();
    let change = |path: &Path, label: &str, old: &[u8], new: &[u8]| {
        let text = fs::read_to_string(path).unwrap();
        let body: String = text.lines().filter(|l| !l.starts_with('-')).collect();
        let mut blob = STANDARD.decode(body).unwrap();
        let at = blob.windows(old.len()).position(|w| w == old).unwrap();
        blob[at..at + new.len()].copy_from_slice(new);
        let body = STANDARD.encode(blob);
        let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        fs::write(path, text).unwrap();
    };
    let bcrypt = keygen(&dir, "bcrypt", PHRASE, &["-t", "ed25519", "-a", "9"]);
    let fewer = "ssh-keygen -p -a 24 -f PATH writes the same key with fewer rounds";
    let mut old = 9_u32;
    for (rounds, refused) in [(1024, false), (1025, true), (1 << 31, true)] {
        let (from, to) = (old.to_be_bytes(), u32::to_be_bytes(rounds));
        change(&bcrypt, "OPENSSH PRIVATE KEY", &from, &to);
        old = rounds;
        let cause = match refused {
            true => format!(" is a key of {rounds} bcrypt rounds, which tunneld does not support"),
            false => " is encrypted with a passphrase".to_owned(),
        };
        let (said, hint) = problem(&bcrypt);
        assert_eq!(said, cause);
        assert_eq!(hint == fewer, refused);
    }

    let plain = keygen(&dir, "plain", "", &["-t", "ecdsa", "-m", "PKCS8"]);
    let encrypt = |name: &str, args: &[&str]| {
        let path = write(&dir, name, "");
        let (from, to) = (plain.display().to_string(), path.display().to_string());
        let common = [
            "pkcs8", "-topk8", "-passout", "pass:x", "-in", &from, "-out", &to,
        ];
        run("openssl", &[&common, args].concat());
        path
    };
    let pbkdf2 = encrypt("pbkdf2", &["-iter", "66051"]);
    assert!(matches!(KeyFile::read(&pbkdf2), Ok(KeyFile::Locked(_))));
    let (old, most) = (
        [0x02, 0x03, 0x01, 0x02, 0x03],
        [0x02, 0x03, 0x7f, 0xff, 0xff],
    );
    change(&pbkdf2, "ENCRYPTED PRIVATE KEY", &old, &most);
    let cause = " is a key of 8388607 PBKDF2 rounds, which tunneld does not support";
    assert_problem(&pbkdf2, cause, fewer);
    let most = encrypt("most", &["-scrypt", "-scrypt_p", "8"]);
    assert!(matches!(KeyFile::read(&most), Ok(KeyFile::Locked(_))));
    let scrypt = encrypt("scrypt", &["-scrypt", "-scrypt_p", "9"]);
    let cause = " is a key of scrypt cost 1179648, which tunneld does not support";
    assert_problem(&scrypt, cause, fewer);
}

#[test]
fn a_pem_key_of_another_cipher_is_named_with_the_command_that_converts_it() {
    let dir = TempDir::new().unwrap();
    let rewrite = "ssh-keygen -p -f PATH writes the same key in OpenSSH's own format";
    let plain = keygen(&dir, "plain", "", &["-t", "rsa", "-b", "2048", "-m", "PEM"]);
    let path = write(&dir, "aes256", "");
    let (from, to) = (plain.display().to_string(), path.display().to_string());
    let args = ["rsa", "-traditional", "-aes256", "-passout", "pass:x"];
    run(
        "openssl",
        &[&args[..], &["-in", &from, "-out", &to]].concat(),
    );
    let cause = " is an RSA PEM key encrypted with AES-256-CBC, which tunneld does not support";
    assert_problem(&path, cause, rewrite);
    // The command that the hint names does what it says.
    let change = ["-q", "-p", "-P", "x", "-N", "some other", "-f", &to];
    run("ssh-keygen", &change);
    fs::copy(format!("{from}.pub"), format!("{to}.pub")).unwrap();
    let identity = locked(&path).unlock("some other").unwrap();
    assert_eq!(identity.fingerprint(), fingerprint_by_ssh_keygen(&path));

    let text = fs::read_to_string(keygen(
        &dir,
        "rsa",
        PHRASE,
        &["-t", "rsa", "-b", "2048", "-m", "PEM"],
    ))
    .unwrap();
    let iv = text.split("AES-128-CBC,").nth(1).unwrap();
    for (old, new, cause) in [
        (&iv[..4], "XXXX", ": damaged: `DEK-Info` is wrong"),
        (
            "AES-128-CBC",
            "\u{1b}[31m",
            " is an RSA PEM key encrypted with an unknown cipher, which tunneld does not support",
        ),
    ] {
        let path = write(&dir, "bad", text.replacen(old, new, 1));
        assert_eq!(problem(&path).0, cause);
    }
}

#[test]
fn a_damaged_encrypted_key_is_an_error_and_never_a_panic() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let dir = TempDir::new().unwrap();
    for (name, args) in [
        ("openssh", &["-t", "ed25519", "-a", "1"][..]),
        ("pkcs8", &["-t", "ecdsa", "-m", "PKCS8"]),
    ] {
        let path = keygen(&dir, name, PHRASE, args);
        let text = fs::read_to_string(&path).unwrap();
        let label = text.split("-----").nth(1).unwrap();
        let label = label.strip_prefix("BEGIN ").unwrap();
        let body: String = text.lines().filter(|l| !l.starts_with('-')).collect();
        let whole = STANDARD.decode(body).unwrap();
        for at in (0..whole.len()).step_by(3) {
            for (end, value) in [(whole.len(), whole[at] ^ 0x81), (at, 0)] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let body = STANDARD.encode(&damaged[..end]);
                let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
                // Those whose rounds were hit are told before a round is run.
                if let Ok(format::Content::Locked(key)) = format::decode(text.as_bytes())
                    && at % 24 == 0
                {
                    let _ = key.unlock(PHRASE);
                }
            }
        }
    }
}
