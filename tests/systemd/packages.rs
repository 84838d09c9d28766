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
    let arch = arch(&made);
    let folder = arch.join("etc/tunneld").metadata().unwrap();
    assert_eq!(folder.permissions().mode() & 0o7777, 0o750, "as tmpfiles.d");
    let arch = files(&arch);
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
        .arg(made.rpm("1")));
    fs::remove_dir_all(rpm.join("db")).unwrap();
    assert_eq!(files(&rpm), arch, "the .rpm, and what makepkg packs");
}

#[test]
fn the_rpm_makes_its_user_and_keeps_the_file() {
    // It does what Fedora's macros for packages of services do, and marks the file as the user's.
    let made = Made::new();
    let rpm = made.rpm("1");
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
            "systemctl --no-reload disable tunneld.service tunneld@.service",
        ),
        (
            "PREUN",
            "systemctl stop tunneld.service 'tunneld@*.service'",
        ),
        ("POSTUN", "systemctl --no-block try-restart"),
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

#[test]
fn an_upgrade_judges_the_files_alike_everywhere() {
    // The scripts of the three packages have the same loop over what runs, with the same indentation.
    let loops = ["debian/postinst", "rpm/postun", "arch/tunneld.install"].map(|script| {
        let text = fs::read_to_string(root().join("packaging").join(script)).unwrap();
        let begin = text.find("        # What it runs as").unwrap();
        let (body, _) = text[begin..].split_once("\n    done").unwrap();
        body.to_owned()
    });
    assert!(loops[0].contains("is not restarted"), "{}", loops[0]);
    assert_eq!(loops[0], loops[1]);
    assert_eq!(loops[0], loops[2]);
}

#[test]
fn the_files_go_to_any_folder() {
    // Named from wherever somebody is, as the program is.
    let made = Made::new();
    let install = |program: &str| {
        let mut command = Command::new(root().join("packaging/install"));
        command.arg("there").current_dir(made.dir());
        command.env("TUNNELD_BIN", program);
        command
    };
    let missing = install("release/none").output().unwrap();
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(
        !missing.status.success() && said.contains("/release/none"),
        "{said}"
    );
    run(&mut install("release/tunneld"));
    for path in [
        "usr/bin/tunneld",
        "usr/share/doc/tunneld/examples/reference.toml",
    ] {
        assert!(made.dir().join("there").join(path).is_file(), "{path}");
    }
}

/// Documents for people with the sources; and the catalog, which
/// is installed elsewhere.
const OF_THE_SOURCES: [&str; 6] = [
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "deny.toml",
    "systemd/tunneld.catalog",
];

/// What a page of Markdown links to, without addresses elsewhere and places within a page.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let marked = page
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let images = page
        .split("src=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let targets = marked
        .chain(images)
        .map(|link| link.split('#').next().unwrap());
    targets.filter(|target| !target.is_empty() && !target.contains(':'))
}

#[test]
fn the_links_in_the_installed_documents_lead_somewhere() {
    // They lie as in the repository.
    let made = Made::new();
    let documents = arch(&made).join("usr/share/doc/tunneld");
    let pages = run(Command::new("find").arg(&documents).args(["-name", "*.md"]));
    let mut followed = 0;
    for path in pages.lines().map(Path::new) {
        let page = fs::read_to_string(path).unwrap();
        for link in links(&page) {
            let of_the_sources = OF_THE_SOURCES.contains(&link.trim_start_matches("../"));
            let there = path.parent().unwrap().join(link).exists();
            assert!(there || of_the_sources, "{}: {link}", path.display());
            followed += 1;
        }
    }
    assert!(followed > 50, "{followed} links");
}
