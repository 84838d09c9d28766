//! The real `ssh-agent`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process::{poll, require, run};

/// The real `ssh-agent`. Dropped, it is killed.
pub struct SshAgent {
    socket: PathBuf,
    child: Child,
}

impl SshAgent {
    /// Starts one that listens at `path`, where nothing may be, without any key.
    ///
    /// # Panics
    /// When it is not installed, or does not come up.
    pub fn start(path: &Path) -> Self {
        require("ssh-agent", "openssh-client");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(path)
            .stdout(Stdio::null())
            .spawn()
            .expect("cannot run ssh-agent");
        let agent = SshAgent {
            socket: path.to_owned(),
            child,
        };
        let listens = poll(Duration::from_secs(20), || {
            UnixStream::connect(&agent.socket).ok()
        });
        assert!(listens.is_some(), "ssh-agent did not start");
        agent
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `ssh-add` with these arguments.
    ///
    /// # Panics
    /// When it fails.
    pub fn ssh_add(&self, args: &[&str]) -> String {
        run(self.command().args(args))
    }

    /// Takes a key, and the certificate that lies beside it.
    pub fn add(&self, key: &Path) {
        run(self.command().arg("-q").arg(key));
    }

    /// Locks it: until it is unlocked it shows no keys and signs nothing.
    pub fn lock(&self, password: &str) {
        self.with_password("-x", password);
    }

    /// Unlocks it.
    pub fn unlock(&self, password: &str) {
        self.with_password("-X", password);
    }

    fn with_password(&self, flag: &str, password: &str) {
        let script = self.socket.with_extension("askpass");
        fs::write(&script, format!("#!/bin/sh\necho '{password}'\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = self.command();
        command.arg(flag).env("SSH_ASKPASS", &script);
        run(command.env("SSH_ASKPASS_REQUIRE", "force"));
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh-add");
        command.env("SSH_AUTH_SOCK", &self.socket);
        command
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}
