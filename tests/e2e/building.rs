//! How the program is built for packages: with what `cargo` is run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

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
        for name in ["packaging/build", "packaging/cargo"] {
            fs::copy(repository().join(name), sources.path(name)).unwrap();
        }
        sources
    }

    /// Puts somebody else where cargo is.
    fn replace_cargo(&self, script: &str) {
        fs::write(self.path("bin/cargo"), script).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path("bin/cargo"), mode).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn build(&self) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut build = command(self.path("packaging/build"));
        build.env("PATH", format!("{}:{path}", self.path("bin").display()));
        // Cargo makes its home where there is none.
        match std::env::var_os("HOME") {
            Some(home) => build.env("HOME", home),
            None => build.env_remove("HOME"),
        };
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
            build.env_remove(variable);
        }
        build
    }

    fn flags(&self, variable: &str, value: &str) -> Vec<String> {
        let mut build = self.build();
        build.env("CARGO_HOME", self.path("cargo home"));
        let flags = run(build.env(variable, value));
        flags.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_blank_in_the_name_of_a_folder_ends_no_flag_of_the_compiler() {
    // And the packager's own flags are there, however they are given.
    let sources = Sources::new();
    sources.replace_cargo(CARGO);
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

#[test]
fn the_same_sources_make_the_same_bytes_in_any_folder() {
    // A small program, and the real compiler. With cargo-auditable where that is installed, as tests/run
    // sees to: where it lies may have a part in what symbols are called.
    let path = std::env::var_os("PATH").unwrap();
    let tool = std::env::split_paths(&path)
        .map(|folder| folder.join("cargo-auditable"))
        .find(|file| file.is_file());
    let bytes = [Sources::new(), Sources::new()].map(|sources| {
        let manifest = "[package]\nname = \"tunneld\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
        let lock = "version = 4\n\n[[package]]\nname = \"tunneld\"\nversion = \"0.0.0\"\n";
        let main = "fn main() {\n    panic!(\"in {}\", file!());\n}\n";
        fs::create_dir(sources.path("src")).unwrap();
        for (name, text) in [
            ("Cargo.toml", manifest),
            ("Cargo.lock", lock),
            ("src/main.rs", main),
        ] {
            fs::write(sources.path(name), text).unwrap();
        }
        if let Some(tool) = &tool {
            fs::copy(tool, sources.path("bin/cargo-auditable")).unwrap();
        }
        run(&mut sources.build());
        fs::read(sources.path("target/release/tunneld")).unwrap()
    });
    let [one, other] = bytes;
    assert!(one == other, "{} and {} bytes", one.len(), other.len());
}
