//! Packages of the program under test, made with the tools that make them for a release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::printed;

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).unwrap()
}

/// Runs a command that has to succeed; what it printed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Where packages are made: a target folder of Cargo that has the program and nothing else.
pub(crate) struct Made {
    dir: TempDir,
}

impl Made {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tp-").tempdir().unwrap();
        fs::create_dir(dir.path().join("release")).unwrap();
        let binary = Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld"));
        fs::copy(binary, dir.path().join("release/tunneld")).unwrap();
        Made { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A `cargo` that has the tools of `packaging/package`, and packs this program.
    fn cargo(&self, tool: &str) -> Command {
        let target = Path::new(env!("CARGO_BIN_EXE_tunneld")).ancestors().nth(2);
        let tools = target.unwrap().join("tools/bin");
        let missing = "is not there: `packaging/package tools` installs it";
        assert!(
            tools.join(format!("cargo-{tool}")).exists(),
            "{}/cargo-{tool} {missing}",
            tools.display()
        );
        let path = std::env::var("PATH").unwrap();
        let mut cargo = Command::new("cargo");
        cargo.arg(tool).current_dir(root());
        cargo.env("PATH", format!("{}:{path}", tools.display()));
        cargo.env("CARGO_TARGET_DIR", self.dir());
        cargo
    }

    /// The Debian package.
    pub(crate) fn deb(&self) -> PathBuf {
        let path = self.dir().join("tunneld.deb");
        let mut cargo = self.cargo("deb");
        cargo.args(["--no-build", "--no-strip", "--locked", "--quiet"]);
        cargo.args(["--fast", "--compress-system", "-p", "tunneld", "-o"]);
        run(cargo.arg(&path));
        path
    }

    /// The RPM package with this release.
    pub(crate) fn rpm(&self, release: &str) -> PathBuf {
        let path = self.dir().join(format!("tunneld-{release}.rpm"));
        let mut cargo = self.cargo("generate-rpm");
        cargo.args(["--payload-compress", "none", "-p", "crates/tunneld", "-o"]);
        cargo.arg(&path).arg("--set-metadata");
        run(cargo.arg(format!("release = {release}")));
        path
    }
}
