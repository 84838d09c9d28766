//! How the program is built for packages: with what `cargo` is run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;
use tunneld_lab::process::run;

use crate::manual_page::repository;
use crate::support::command;

/// The flags of the compiler, one a line, as the one who is run instead of cargo gets them.
const CARGO: &str = "#!/bin/sh\nprintf %s \"$CARGO_ENCODED_RUSTFLAGS\" | tr '\\037' '\\n'\n";

/// A checkout, and a home of cargo, with blanks in their names.
struct Sources {
    dir: TempDir,
}

impl Sources {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("t l-").tempdir().unwrap();
        let sources = Sources { dir };
        for folder in ["packaging", "bin"] {
            fs::create_dir(sources.path(folder)).unwrap();
        }
        let build = repository().join("packaging/build");
        fs::copy(build, sources.path("packaging/build")).unwrap();
        fs::write(sources.path("bin/cargo"), CARGO).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(sources.path("bin/cargo"), mode).unwrap();
        sources
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn flags(&self, variable: &str, value: &str) -> Vec<String> {
        let path = std::env::var("PATH").unwrap();
        let mut build = command(self.path("packaging/build"));
        build.env("PATH", format!("{}:{path}", self.path("bin").display()));
        build.env("CARGO_HOME", self.path("cargo home"));
        build
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        let flags = run(build.env(variable, value));
        flags.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_blank_in_the_name_of_a_folder_ends_no_flag_of_the_compiler() {
    // And the packager's own flags are there, however they are given.
    let sources = Sources::new();
    let registry = sources.path("cargo home/registry/src");
    let remapped = |from: PathBuf, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let ours = [
        remapped(registry, "/registry"),
        remapped(sources.dir.path().to_owned(), "/tunneld"),
    ];
    for (variable, value, theirs) in [
        ("RUSTFLAGS", "", &[][..]),
        ("RUSTFLAGS", " -C  debuginfo=1", &["-C", "debuginfo=1"]),
        ("CARGO_ENCODED_RUSTFLAGS", "", &[]),
        ("CARGO_ENCODED_RUSTFLAGS", "-L\u{1f}/a b", &["-L", "/a b"]),
    ] {
        let wanted: Vec<&str> = ours
            .iter()
            .map(String::as_str)
            .chain(theirs.iter().copied())
            .collect();
        assert_eq!(sources.flags(variable, value), wanted, "{variable}={value}");
    }
}
