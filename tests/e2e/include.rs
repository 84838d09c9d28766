//! `include`: tunnels in several files, for every command, and each problem where it is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use tunneld_core::status::Phase;
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::target::{echoes, free_addr};

use crate::support::{Bed, Folder, LONG, assert_exit, assert_has, builder, stderr, stdout};
use crate::support::{tunnel, tunneld};

const INCLUDE: &str = "include = [\"d/*.toml\"]\n";

/// Checks a file, and returns what was said.
fn checked(file: &str, code: i32) -> String {
    let output = tunneld(&["check", file]);
    assert_exit(&output, code);
    stdout(&output) + &stderr(&output)
}

/// A tunnel with a key that is there.
fn small(name: &str, port: u16) -> String {
    format!(
        "[tunnels.{name}]\nhost = \"{name}\"\nuser = \"u\"\nidentity_file = \"../id\"\n\
         local_forward = \"{port}:a:1\"\n"
    )
}

/// A folder with a file that includes `d/*.toml`.
fn folder() -> (Folder, String) {
    let folder = Folder::new();
    fs::create_dir(folder.at("d")).unwrap();
    let file = folder.write("t.toml", INCLUDE);
    (folder, file)
}

#[test]
fn every_file_that_matches_is_read_and_no_other() {
    // In the order of the names; hidden files, backups, and a pattern without a match are no matter.
    let (folder, file) = folder();
    assert_has(&checked(&file, 0), &["t.toml: 0 tunnels, no errors"]);
    folder.write("d/b.toml", &small("b", 1));
    folder.write("d/a.toml", &small("a", 2));
    for name in ["d/.c.toml", "d/a.toml~", "d/.a.toml.swp", "d/a.toml.bak"] {
        folder.write(name, "garbage");
    }
    assert_has(&checked(&file, 0), &["t.toml: 2 tunnels, no errors"]);
    let output = tunneld(&["check", "--print", &file]);
    let key = folder.at("d/../id").display().to_string();
    let key = format!("identity_file = [{key:?}]  # b.toml:4");
    assert_has(
        &stdout(&output),
        &["[tunnels.\"a\"]", "host = \"b\"  # b.toml:2", &key],
    );
}

#[test]
fn a_file_is_read_once_even_if_two_patterns_match_it() {
    // Nor does a pattern that matches the file itself include it again. A link is what it leads to.
    let (folder, file) = folder();
    let own = small("own", 1).replace("../id", "id");
    folder.write("d/a.toml", &small("a", 2));
    symlink(folder.at("d/a.toml"), folder.at("d/z.toml")).unwrap();
    let include = "include = [\"*.toml\", \"d/a.toml\", \"*/*.toml\"]\n";
    folder.write("t.toml", &(include.to_owned() + &own));
    assert_has(&checked(&file, 0), &["t.toml: 2 tunnels, no errors"]);
}

#[test]
fn a_file_that_a_stranger_can_change_is_not_included() {
    // It can have programs run. Its group may write it; its owner may be that of the file itself.
    let (folder, file) = folder();
    let path = folder.write("d/a.toml", &small("a", 1));
    let as_it_is = |mode: u32, owner: u32, main: u32| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        chown(&path, Some(owner), None).unwrap();
        chown(&file, Some(main), None).unwrap();
    };
    for (mode, owner, main) in [(0o664, 0, 0), (0o660, 4711, 4711), (0o644, 0, 4711)] {
        as_it_is(mode, owner, main);
        assert_has(&checked(&file, 0), &["1 tunnel, no errors"]);
    }
    as_it_is(0o666, 0, 0);
    let cannot = format!("cannot include `d/*.toml`: {path}");
    let said = format!("{cannot}: others can change it: mode 0666 (chmod o-w {path})");
    assert_has(&checked(&file, 78), &[&said]);
    as_it_is(0o644, 4711, 0);
    let said = format!("{cannot}: it belongs to another user: 4711 (chown root {path})");
    assert_has(&checked(&file, 78), &[&said]);
    // One that is named, too.
    folder.write("t.toml", "include = [\"d/a.toml\"]\n");
    let said = "cannot include `d/a.toml`: it belongs to another user: 4711";
    assert_has(&checked(&file, 78), &[said]);
}

#[test]
fn every_problem_names_its_own_file() {
    // A duplicate name both places; a file that is not there, a link that leads nowhere, a folder
    // and a pipe the pattern.
    let (folder, file) = folder();
    folder.write("d/a.toml", &small("a", 1));
    folder.write(
        "d/b.toml",
        &("\n".to_owned() + &small("a", 2) + "prot = 1\n"),
    );
    let (a, b) = (folder.at("d/a.toml"), folder.at("d/b.toml"));
    let (a, b) = (a.display(), b.display());
    assert_has(
        &checked(&file, 78),
        &[
            &format!("error: there are two tunnels `a`\n --> {b}:2:10\n"),
            &format!("the first is at {a}:1"),
            &format!(" --> {b}:7:1\n"),
            "did you mean `port`?",
            "2 errors",
        ],
    );
    folder.write("d/b.toml", &small("b", 2).replace("../id", "../none"));
    assert_has(&checked(&file, 78), &[&format!("{b}:4:17"), "no such file"]);
    fs::remove_file(folder.at("d/b.toml")).unwrap();

    folder.write("t.toml", "include = [\"d/a.toml\", \"d/none.toml\"]\n");
    assert_has(
        &checked(&file, 78),
        &[
            "cannot include `d/none.toml`: no such file",
            &format!("{file}:1:24"),
            "has to be there",
        ],
    );
    folder.write("t.toml", "include = \"d\"\n");
    let said = checked(&file, 78);
    assert_has(&said, &["cannot include `d`: is a directory"]);
    assert!(!said.contains("has to be there"), "{said}");
    folder.write("t.toml", INCLUDE);
    let odd = folder.at("d/b.toml");
    let refused = |what: &str| {
        let said = format!("cannot include `d/*.toml`: {}: {what}", odd.display());
        assert_has(&checked(&file, 78), &[&said, &format!("{file}:1:12")]);
    };
    symlink("nowhere", &odd).unwrap();
    refused("no such file");
    fs::remove_file(&odd).unwrap();
    fs::create_dir(&odd).unwrap();
    refused("is a directory");
    fs::remove_dir(&odd).unwrap();
    assert!(Command::new("mkfifo").arg(&odd).status().unwrap().success());
    refused("not a regular file");
}

#[test]
fn there_is_an_end_to_files_and_bytes() {
    // A thousand files, and four MiB with all of them.
    let (folder, file) = folder();
    for n in 0..1_000 {
        folder.write(&format!("d/{n:04}.toml"), "#\n");
    }
    assert_has(&checked(&file, 0), &["no errors"]);
    folder.write("d/x.toml", "#\n");
    assert_has(&checked(&file, 78), &["more than 1000 files are included"]);
    fs::remove_file(folder.at("d/x.toml")).unwrap();
    let large = "#".repeat(3 << 20);
    folder.write("d/0001.toml", &large);
    assert_has(&checked(&file, 0), &["no errors"]);
    folder.write("d/0002.toml", &large);
    assert_has(
        &checked(&file, 78),
        &["0002.toml: with it the files have more than 4194304 bytes"],
    );
}

/// A daemon whose file includes `d/*.toml`.
fn including(bed: &Bed, more: &str) -> DaemonBuilder {
    let builder = builder().config(&(INCLUDE.to_owned() + more));
    fs::create_dir(builder.dir().join("d")).unwrap();
    write(builder.dir(), "db", &bed.db());
    builder
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join("d").join(format!("{name}.toml")), text).unwrap();
}

/// Reloads, and returns what was printed.
fn reloaded(daemon: &Daemon, code: i32) -> String {
    let output = daemon.reload();
    assert_exit(&output, code);
    stdout(&output) + &stderr(&output)
}

#[test]
fn a_tunnel_comes_and_goes_with_its_file() {
    // The others are not touched. A bad file changes nothing, and its own name is in the report.
    let bed = Bed::new();
    let daemon = including(&bed, "").start();
    daemon.wait_phase("db", Phase::Up, LONG);
    let second = free_addr();
    let web = tunnel("web", &bed.sshd, &[(second, bed.echo.addr())]);
    write(daemon.dir(), "web", &web);
    assert_has(&reloaded(&daemon, 0), &["web"]);
    daemon.wait_phase("web", Phase::Up, LONG);
    echoes(second).unwrap();
    write(daemon.dir(), "bad", "[tunnels.x]\nhots = 1\n");
    let place = daemon.dir().join("d/bad.toml:2:1").display().to_string();
    assert_has(&reloaded(&daemon, 78), &[&place, "is unchanged"]);
    fs::remove_file(daemon.dir().join("d/bad.toml")).unwrap();
    fs::remove_file(daemon.dir().join("d/web.toml")).unwrap();
    assert_has(&reloaded(&daemon, 0), &["web"]);
    let names: Vec<_> = daemon
        .status()
        .tunnels
        .into_iter()
        .map(|t| t.name)
        .collect();
    assert_eq!(names, ["db".parse().unwrap()]);
    assert_eq!(daemon.tunnel("db").sessions, 1);
    echoes(bed.listen).unwrap();
}

#[test]
fn the_daemon_can_be_asked_while_an_included_file_is_wrong() {
    // The control socket is that of the file itself.
    let bed = Bed::new();
    let daemon = including(&bed, "").start();
    daemon.wait_phase("db", Phase::Up, LONG);
    write(daemon.dir(), "db", "garbage [");
    let config = daemon.config_path().display().to_string();
    assert_exit(&tunneld(&["status", "--config", &config]), 0);
}
