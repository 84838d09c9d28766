//! What `tunneld authorize` prints, put where it belongs.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::printed;
use tunneld_lab::sshd::Sshd;

use crate::intruder::Intruder;
use crate::support::Table;

/// Runs `tunneld authorize` with this file.
pub(crate) fn authorize(config: &str, args: &[&str]) -> Output {
    let dir = TempDir::new().unwrap();
    let path: PathBuf = dir.path().join("tunneld.toml");
    fs::write(&path, config).unwrap();
    let binary = Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld"));
    let mut command = Command::new(binary);
    command.env("HOME", dir.path()).env_remove("SSH_AUTH_SOCK");
    command.arg("authorize").args(args);
    command.arg("--config").arg(&path).output().unwrap()
}

/// What it prints.
#[track_caller]
pub(crate) fn authorized(config: &str, args: &[&str]) -> String {
    let output = authorize(config, args);
    assert!(output.status.success(), "{args:?}: {}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What limits a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Its line, on a server that allows everything.
    Line,
    /// The block, and a line without any options.
    Block,
    /// Both, as they are printed.
    Both,
}

const EACH: [By; 3] = [By::Line, By::Block, By::Both];

/// The same however the key is limited, at the same time.
pub(crate) fn each_by(promise: impl Fn(By) + Sync) {
    let promise = &promise;
    std::thread::scope(|scope| {
        for by in EACH {
            scope.spawn(move || promise(by));
        }
    });
}

/// What the forwards of these tests need of a server and a line cannot bring.
pub(crate) const OPEN: &str = "GatewayPorts clientspecified\nStreamLocalBindUnlink yes";

impl By {
    /// Puts what is printed for a host of the way where it belongs.
    pub(crate) fn put(self, sshd: &mut Sshd, config: &str, names: &[&str]) {
        let hop = format!("{}@{}", sshd.user(), sshd.addr());
        let print = |part| {
            let args = [names, &["--hop", &hop, "--only", part]].concat();
            authorized(config, &args)
        };
        match self {
            By::Block => sshd.set_key_options(""),
            By::Line | By::Both => {
                fs::write(sshd.authorized_keys(), print("authorized_keys")).unwrap();
            }
        }
        match self {
            By::Line => sshd.restart_with(OPEN),
            By::Block | By::Both => sshd.restart_with_block(&print("sshd_config")),
        }
    }
}

/// A tunnel that is up with exactly the rights that are printed for it.
pub(crate) struct Proof {
    pub(crate) by: By,
    pub(crate) daemon: Daemon,
    pub(crate) sshd: Sshd,
}

impl Proof {
    /// The table is made for a server that allows everything until then.
    pub(crate) fn new(by: By, table: impl FnOnce(Table) -> Table) -> Self {
        let mut sshd = Sshd::start();
        let table = table(Table::to(&sshd));
        by.put(&mut sshd, &table.toml(), &["t"]);
        let daemon = table.up();
        Proof { by, daemon, sshd }
    }

    pub(crate) fn intruder(&self) -> Intruder<'_> {
        Intruder::at(&self.sshd)
    }
}
