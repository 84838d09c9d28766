//! Throw-away keys: made by `ssh-keygen`, or in this process.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};

use crate::process::run;

/// The types of key that `ssh-keygen` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `ssh-ed25519`.
    Ed25519,
    /// `ecdsa-sha2-nistp256`.
    Ecdsa,
    /// `ssh-rsa`, 2048 bits: enough for a test, and quick to make.
    Rsa,
}

impl KeyType {
    /// The argument of `ssh-keygen -t`.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyType::Ed25519 => "ed25519",
            KeyType::Ecdsa => "ecdsa",
            KeyType::Rsa => "rsa",
        }
    }

    fn bits(self) -> &'static [&'static str] {
        match self {
            KeyType::Ed25519 => &[],
            KeyType::Ecdsa => &["-b", "256"],
            KeyType::Rsa => &["-b", "2048"],
        }
    }
}

/// A pair of key files in OpenSSH's format: `NAME` (mode 0600) and `NAME.pub`.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    /// The private key.
    pub private: PathBuf,
    /// The public key.
    pub public: PathBuf,
}

impl KeyFiles {
    fn at(dir: &Path, name: &str) -> Self {
        KeyFiles {
            private: dir.join(name),
            public: dir.join(format!("{name}.pub")),
        }
    }

    /// The public key as `TYPE BASE64`, without a comment.
    pub fn public_line(&self) -> String {
        let text = fs::read_to_string(&self.public).expect("cannot read a public key");
        let words: Vec<_> = text.split_whitespace().take(2).collect();
        words.join(" ")
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        russh::keys::load_public_key(&self.public)
            .expect("not a public key")
            .fingerprint(HashAlg::Sha256)
            .to_string()
    }
}

/// Makes a key pair with `ssh-keygen`; an empty `passphrase` leaves it open. `extra` goes in front
/// of the arguments, as in `&["-m", "PEM"]`.
///
/// # Panics
/// When `ssh-keygen` is missing or refuses.
pub fn ssh_keygen(
    kind: KeyType,
    dir: &Path,
    name: &str,
    passphrase: &str,
    extra: &[&str],
) -> KeyFiles {
    let files = KeyFiles::at(dir, name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind.as_str()]);
    if !extra.contains(&"-b") {
        command.args(kind.bits());
    }
    command
        .args(extra)
        .args(["-N", passphrase, "-C", name, "-f"])
        .arg(&files.private);
    run(&mut command);
    files
}

/// Has an authority sign a public key with `ssh-keygen -s`; the certificate, which lies beside the
/// key as `NAME-cert.pub`. `options` are more of its arguments: `&["-n", "root", "-V", "+1h"]`.
///
/// # Panics
/// When `ssh-keygen` is missing or refuses.
pub fn certify(authority: &KeyFiles, public: &Path, id: &str, options: &[&str]) -> PathBuf {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-I", id, "-s"]).arg(&authority.private);
    run(command.args(options).arg(public));
    let name = public.to_str().expect("a path that is not text");
    let name = name.strip_suffix(".pub").unwrap_or(name);
    format!("{name}-cert.pub").into()
}

/// Makes an Ed25519 pair in this process, without any program.
pub fn generate(dir: &Path, name: &str) -> KeyFiles {
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).expect("cannot make a key");
    write(&key, dir, name)
}

fn write(key: &PrivateKey, dir: &Path, name: &str) -> KeyFiles {
    let files = KeyFiles::at(dir, name);
    key.write_openssh_file(&files.private, LineEnding::LF)
        .expect("cannot write a private key");
    key.public_key()
        .write_openssh_file(&files.public)
        .expect("cannot write a public key");
    files
}

/// A pair as [`ssh_keygen`] makes it; RSA keys, which take most of a second, are made once for each
/// `role` of this process and copied.
pub(crate) fn cached(kind: KeyType, dir: &Path, name: &str, role: &'static str) -> KeyFiles {
    /// The bytes of both files, by role.
    type Made = HashMap<&'static str, (Vec<u8>, Vec<u8>)>;
    static MADE: Mutex<Option<Made>> = Mutex::new(None);
    if kind != KeyType::Rsa {
        return ssh_keygen(kind, dir, name, "", &[]);
    }
    let mut made = MADE.lock().unwrap();
    let made = made.get_or_insert_default();
    let files = KeyFiles::at(dir, name);
    if let Some((private, public)) = made.get(role) {
        fs::write(&files.private, private).unwrap();
        fs::set_permissions(&files.private, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&files.public, public).unwrap();
    } else {
        ssh_keygen(kind, dir, name, "", &[]);
        let bytes = |path: &Path| fs::read(path).unwrap();
        made.insert(role, (bytes(&files.private), bytes(&files.public)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_both_makers_are_private_and_agree_with_ssh_keygen() {
        let dir = tempfile::tempdir().unwrap();
        let made = [
            generate(dir.path(), "own"),
            ssh_keygen(KeyType::Ecdsa, dir.path(), "theirs", "", &[]),
            cached(KeyType::Rsa, dir.path(), "rsa", "test"),
            cached(KeyType::Rsa, dir.path(), "copy", "test"),
        ];
        for files in &made {
            let mode = fs::metadata(&files.private).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let list = run(Command::new("ssh-keygen").arg("-lf").arg(&files.private));
            assert!(list.contains(&files.fingerprint()), "{list}");
            let public = run(Command::new("ssh-keygen").arg("-yf").arg(&files.private));
            assert!(public.starts_with(&files.public_line()), "{public}");
        }
        assert_eq!(made[2].fingerprint(), made[3].fingerprint());
    }

    #[test]
    fn a_passphrase_locks_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let files = ssh_keygen(
            KeyType::Ed25519,
            dir.path(),
            "locked",
            "secret",
            &["-a", "1"],
        );
        let open = |word| russh::keys::load_secret_key(&files.private, word);
        assert!(open(None).is_err());
        assert!(open(Some("secret")).is_ok());
    }
}
