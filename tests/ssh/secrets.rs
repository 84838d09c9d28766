//! What must never be said, in every form in which it could be.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tunneld_lab::keys::KeyFiles;
use tunneld_lab::process::run;

/// Secrets, each in the forms that programs print bytes in.
#[derive(Default)]
pub(crate) struct Secrets {
    forms: Vec<String>,
}

impl Secrets {
    /// A password or a passphrase.
    pub(crate) fn word(&mut self, word: &str) {
        self.forms.push(word.to_owned());
        self.bytes(word.as_bytes());
    }

    /// As `{:?}` and journald print them, in base64, and in hexadecimal digits.
    fn bytes(&mut self, bytes: &[u8]) {
        let list = format!("{bytes:?}");
        let list = list.trim_matches(['[', ']']);
        self.add(list.to_owned());
        self.add(list.replace(' ', ""));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add(hex.to_uppercase());
        self.add(hex);
        let base64 = piped("base64 -w0", bytes);
        let base64 = String::from_utf8(base64).unwrap();
        self.add(base64.trim_end_matches('=').to_owned());
    }

    fn add(&mut self, form: String) {
        if !self.forms.contains(&form) {
            self.forms.push(form);
        }
    }

    /// Every line of a file with a private key.
    pub(crate) fn key_file(&mut self, path: &Path) {
        let text = fs::read_to_string(path).unwrap();
        let secret = |line: &&str| !line.starts_with('-') && line.len() > 16;
        for line in text.lines().filter(secret) {
            self.add(line.to_owned());
        }
    }

    /// Every private key in this folder.
    pub(crate) fn keys_in(&mut self, folder: &Path) {
        // A server takes its folder with it.
        let entries = fs::read_dir(folder).into_iter().flatten();
        for entry in entries {
            let path = entry.unwrap().path();
            let is_key = |text: &str| text.starts_with("-----BEGIN OPENSSH PRIVATE KEY");
            // Sockets and pipes are not to be opened, and what is large is no key.
            let data = fs::symlink_metadata(&path).unwrap();
            if !data.is_file() || data.len() > 64 << 10 {
                continue;
            }
            if fs::read_to_string(&path).is_ok_and(|text| is_key(&text)) {
                self.key_file(&path);
            }
        }
    }

    /// An Ed25519 key that `phrase` opens: its files, and the 32 bytes that it is made of.
    pub(crate) fn ed25519(&mut self, key: &KeyFiles, phrase: &str) {
        self.key_file(&key.private);
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::copy(&key.private, &open).unwrap();
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-p", "-P", phrase, "-N", "", "-f"]);
        run(command.arg(&open));
        self.key_file(&open);
        let text = fs::read_to_string(&open).unwrap();
        let body: String = text.lines().filter(|l| !l.starts_with('-')).collect();
        let private = piped("base64 -d", body.as_bytes());
        let line = key.public_line();
        let (_, public) = line.split_once(' ').unwrap();
        let public = piped("base64 -d", public.as_bytes());
        // OpenSSH's PROTOCOL.key: the public half stands again behind the private one.
        let public = &public[public.len() - 32..];
        let at = private.windows(32).rposition(|bytes| bytes == public);
        let at = at.unwrap();
        self.bytes(&private[at - 32..at]);
    }

    /// None of them is in there.
    #[track_caller]
    pub(crate) fn assert_not_in(&self, said: &str) {
        for form in &self.forms {
            assert!(!said.contains(form.as_str()), "{form} is in\n{said}");
        }
    }
}

/// What a command makes of these bytes.
fn piped(command: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::from(file))
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}");
    output.stdout
}
