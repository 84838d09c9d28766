//! Passwords for the real `sshd`: an /etc/shadow and a PAM service that one server sees, and nobody
//! else. Needs root and util-linux.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::process::run;
use crate::sshd::{Sshd, SshdBuilder};

/// The day on which a password was changed that has not expired, as shadow(5) counts.
const SOME_DAY: &str = "19000";

/// The files that say which password is right. They can be changed while the server runs.
pub struct Passwords {
    dir: TempDir,
    user: String,
}

impl Passwords {
    /// The user that runs the test logs in with `password`.
    pub fn new(password: &str) -> Self {
        let passwords = Passwords {
            dir: tempfile::Builder::new().prefix("tl-").tempdir().unwrap(),
            user: run(Command::new("id").arg("-un")).trim().to_owned(),
        };
        passwords.set(password);
        passwords.set_pam(&["auth required pam_unix.so", "account required pam_unix.so"]);
        passwords
    }

    /// Changes the password.
    pub fn set(&self, password: &str) {
        self.write_shadow(password, SOME_DAY);
    }

    /// Makes this the password, which has to be changed at the next login.
    pub fn set_expired(&self, password: &str) {
        self.write_shadow(password, "0");
    }

    fn write_shadow(&self, password: &str, changed: &str) {
        let hash = run(Command::new("openssl").args(["passwd", "-6", password]));
        let line = format!("{}:{}:{changed}:0:99999:7:::\n", self.user, hash.trim());
        // In place: what is mounted is this very file.
        fs::write(self.path("shadow"), line).unwrap();
    }

    /// The lines of pam.conf(5) for `sshd`; those for a session are added.
    pub fn set_pam(&self, lines: &[&str]) {
        let text = format!("{}\nsession required pam_permit.so\n", lines.join("\n"));
        fs::write(self.path("pam"), text).unwrap();
    }

    /// A server that takes the password by these methods, for all users.
    pub fn sshd(&self, config: &str) -> SshdBuilder {
        let script = "mount --bind \"$0/shadow\" /etc/shadow && \
                      mount --bind \"$0/pam\" /etc/pam.d/sshd && exec \"$@\"";
        let dir = self.dir.path().to_str().unwrap();
        let prefix = ["unshare", "--mount", "sh", "-c", script, dir].map(str::to_owned);
        let config = format!("PermitRootLogin yes\n{config}");
        Sshd::builder().prefix(&prefix).config(&config)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
