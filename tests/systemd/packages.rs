//! The packages for Debian, Fedora and Arch have the same in them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::made::{Made, root, run};

/// The files below a folder, by the names that all packages have for them, with their modes.
fn files(folder: &Path) -> BTreeMap<String, u32> {
    let listed = run(Command::new("find")
        .args([".", "-type", "f", "-printf", "%P\\n"])
        .current_dir(folder));
    let mut all = BTreeMap::new();
    for path in listed.lines() {
        // Debian's own, and what stands in the others for its `copyright`.
        let own = ["copyright", "changelog.Debian.gz", "lintian/", "licenses/"];
        if own.iter().any(|part| path.contains(part)) {
            continue;
        }
        let mode = folder.join(path).metadata().unwrap().permissions().mode() & 0o7777;
        let path = path.strip_suffix(".gz").unwrap_or(path);
        let path = path.replace("vendor-completions", "site-functions");
        all.insert(
            path.replace("doc/tunneld/changelog", "doc/tunneld/CHANGELOG.md"),
            mode,
        );
    }
    all
}

/// What `makepkg` would pack: the folder that `package()` has filled.
fn arch(made: &Made) -> std::path::PathBuf {
    // The sources as they lie there after build(), with the program where that has left it.
    let sources = made.dir().join("src/tunneld");
    fs::create_dir_all(&sources).unwrap();
    for entry in fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "target" {
            symlink(entry.path(), sources.join(entry.file_name())).unwrap();
        }
    }
    symlink(made.dir(), sources.join("target")).unwrap();
    let folder = made.dir().join("pkg");
    run(Command::new("bash")
        .args(["-euc", "source \"$startdir/PKGBUILD\"; package"])
        .current_dir(sources.parent().unwrap())
        .env("startdir", root().join("packaging/arch"))
        .env("pkgdir", &folder)
        .env_remove("TUNNELD_BIN"));
    folder
}

#[test]
fn the_packages_have_the_same_files() {
    // Three lists and a script: whatever is added to one of them belongs into the others.
    let made = Made::new();
    let arch = files(&arch(&made));
    assert_eq!(arch["usr/bin/tunneld"], 0o755);
    assert!(arch.len() > 30, "{arch:#?}");

    let deb = made.dir().join("deb");
    run(Command::new("dpkg-deb").arg("-x").arg(made.deb()).arg(&deb));
    assert_eq!(files(&deb), arch, "the .deb, and what makepkg packs");

    let rpm = made.dir().join("rpm");
    fs::create_dir(&rpm).unwrap();
    run(Command::new("rpm")
        .args([
            "--install",
            "--nodeps",
            "--noscripts",
            "--dbpath",
            "/db",
            "--root",
        ])
        .arg(&rpm)
        .arg(made.rpm()));
    fs::remove_dir_all(rpm.join("db")).unwrap();
    assert_eq!(files(&rpm), arch, "the .rpm, and what makepkg packs");
}

#[test]
fn the_rpm_makes_its_user_and_keeps_the_file() {
    // It does what Fedora's macros for packages of services do, and marks the file as the user's.
    let made = Made::new();
    let rpm = made.rpm();
    let ask = |what: &[&str]| run(Command::new("rpm").arg("-qp").args(what).arg(&rpm));
    let flags = ask(&["--qf", "[%{FILENAMES} %{FILEFLAGS:fflags}\\n]"]);
    let config = "/etc/tunneld/tunneld.toml cn";
    assert!(flags.lines().any(|line| line == config), "{flags}");
    for (script, does) in [
        ("POSTIN", "systemd-sysusers tunneld.conf"),
        ("POSTIN", "systemd-tmpfiles --create tunneld.conf"),
        ("POSTIN", "journalctl --update-catalog"),
        ("POSTIN", "systemctl --no-reload preset tunneld.service"),
        (
            "PREUN",
            "systemctl --no-reload disable --now tunneld.service",
        ),
        ("POSTUN", "systemctl try-restart tunneld.service"),
    ] {
        let text = ask(&["--qf", &format!("%{{{script}}}")]);
        assert!(text.contains(does), "{script} has no {does:?}:\n{text}");
        run(Command::new("sh").args(["-n", "-c", &text]));
    }
    assert!(ask(&["--requires"]).lines().any(|line| line == "systemd"));
}

#[test]
fn the_recipes_name_the_version_of_the_program() {
    // A release changes Cargo.toml; what Debian and Arch want to have written goes with it.
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let changelog = read("packaging/debian/changelog");
    let first = format!("tunneld ({version}-1) ");
    assert!(changelog.starts_with(&first), "{changelog}");
    let recipe = read("packaging/arch/PKGBUILD");
    assert!(
        recipe
            .lines()
            .any(|line| line == format!("pkgver={version}"))
    );
    for file in ["PKGBUILD", "tunneld.install"] {
        let path = root().join("packaging/arch").join(file);
        run(Command::new("bash").arg("-n").arg(path));
    }
}
