//! The exit codes that scripts depend on: 0, 1, 2, 3, 4 and 78, one by one.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tunneld_core::status::Phase;
use tunneld_lab::target::free_addr;

use crate::support::{
    Bed, Folder, LONG, assert_exit, assert_has, binary, command, daemon, dead_tunnel,
};
use crate::support::{stderr, stdout, tunneld, within};

#[test]
fn zero_is_done() {
    // 0: every command that did what it was asked for.
    let bed = Bed::new();
    let daemon = bed.up();
    let commands: [&[&str]; 12] = [
        &["check"],
        &["trust", "db"],
        &["status"],
        &["status", "db"],
        &["test", "db"],
        &["reload", "--dry-run"],
        &["reload"],
        &["restart", "db"],
        &["stop", "db"],
        &["start", "db"],
        &["wait", "db"],
        &["wait", "--timeout", "5s"],
    ];
    for command in commands {
        let output = daemon.cli(command);
        assert_exit(&output, 0);
        assert!(
            stderr(&output).is_empty(),
            "{command:?}: {}",
            stderr(&output)
        );
    }
    daemon.wait_phase("db", Phase::Up, LONG);
}

#[test]
fn one_is_failed() {
    // 1: the daemon is there, and cannot do it: no tunnel has that name.
    let bed = Bed::new();
    let daemon = bed.up();
    let commands: [&[&str]; 8] = [
        &["status", "bd"],
        &["status", "bd", "--watch"],
        &["wait", "bd"],
        &["trust", "bd"],
        &["test", "bd"],
        &["stop", "bd"],
        &["start", "bd"],
        &["restart", "bd", "db"],
    ];
    for command in commands {
        let output = daemon.cli(command);
        assert_exit(&output, 1);
        assert_has(&stderr(&output), &["no tunnel `bd`"]);
        assert!(stdout(&output).is_empty(), "{}", stdout(&output));
    }
    // The names that exist are told, and nonsense is refused in the same words.
    for command in ["stop", "test", "trust", "status", "wait"] {
        assert_has(&stderr(&daemon.cli(&[command, "bd"])), &["there are: db"]);
    }
    for nonsense in ["../db", "d b", "", "\u{e9}", "%00", &"x".repeat(5000)] {
        let output = daemon.cli(&["stop", nonsense]);
        assert_exit(&output, 1);
        assert_has(&stderr(&output), &["no tunnel"]);
    }
    assert_eq!(daemon.tunnel("db").phase, Phase::Up);
}

/// A fingerprint of nothing.
const PIN: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

#[test]
fn two_is_usage() {
    // 2: what was typed makes no sense, and the message says what would.
    for (command, said) in [
        (&["stop"][..], "NAME"),
        (&["statsu"], "status"),
        (&["test"], "NAME"),
        (&["test", "a", "b"], "unexpected argument"),
        (&["test", "a", "--log-level", "much"], "debug"),
        (&["status", "--jsno"], "--json"),
        (&["wait", "--timeout", "soon"], "is not a duration"),
        (&["history", "db", "-n", "0"], "a number from 1 to 100"),
        (&["history", "db", "-n", "x"], "a number from 1 to 100"),
        (&["reload", "now"], "unexpected argument"),
        (&["run", "--log-format", "xml"], "journal"),
        (&["trust"], "NAME"),
        (&["trust", "db", "--yes"], "would trust whoever answers"),
        (&["trust", "db", "--fingerprint", PIN], "--yes"),
        (&["trust", "db", "--yes", "--fingerprint", "x"], "SHA256:"),
    ] {
        let output = tunneld(command);
        assert_exit(&output, 2);
        assert_has(&stderr(&output), &[said, "--help"]);
    }
}

#[test]
fn three_is_not_up() {
    // 3: `status` when a tunnel that should be up is not; a stopped one is as it should be, unless
    // it was asked for by name. `test` when something does not work.
    let bed = Bed::new();
    let folder = Folder::new();
    let daemon = daemon(&(bed.db() + &dead_tunnel("gone", &folder.key())));
    daemon.wait_phase("db", Phase::Up, LONG);
    daemon.wait_phase("gone", Phase::Waiting, LONG);
    assert_exit(&daemon.cli(&["status"]), 3);
    assert_exit(&daemon.cli(&["status", "gone"]), 3);
    assert_exit(&daemon.cli(&["status", "--json"]), 3);
    assert_exit(&daemon.cli(&["wait", "--timeout", "0"]), 3);
    assert_exit(&daemon.cli(&["wait", "gone", "--timeout", "0"]), 3);
    assert_exit(&daemon.cli(&["test", "gone"]), 3);
    assert_exit(&daemon.cli(&["test", "gone", "--json"]), 3);
    assert_exit(&daemon.cli(&["status", "db"]), 0);
    assert_exit(&daemon.cli(&["stop", "gone"]), 0);
    daemon.wait_phase("gone", Phase::Stopped, LONG);
    assert_exit(&daemon.cli(&["status"]), 0);
    assert_exit(&daemon.cli(&["status", "gone"]), 3);
}

#[test]
fn four_is_no_daemon() {
    // 4: nobody answers on the socket, which is named, with what to look at.
    let folder = Folder::new();
    let socket = folder.at("nobody.sock").display().to_string();
    for command in [
        &["status"][..],
        &["reload"],
        &["wait", "--timeout", "0"],
        &["stop", "a"],
        &["start", "a"],
        &["restart", "a"],
    ] {
        let output = tunneld(&[command, &["--socket", &socket]].concat());
        assert_exit(&output, 4);
        assert_has(
            &stderr(&output),
            &[&socket, "no such file", "systemctl status tunneld"],
        );
        assert!(stdout(&output).is_empty());
    }
    // A socket that a dead daemon left behind says the same in its own words.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let output = tunneld(&["status", "--socket", &socket]);
    assert_exit(&output, 4);
    assert_has(
        &stderr(&output),
        &[
            &socket,
            "connection refused",
            "left its socket behind",
            "systemctl",
        ],
    );
}

#[test]
fn seventy_eight_is_a_bad_file() {
    // 78: `check`, `run`, `test`, `trust` and `reload` of a file that is wrong.
    let folder = Folder::new();
    let file = folder.write("t.toml", "[tunnels.db]\nhosst = 1\n");
    assert_exit(&tunneld(&["check", &file]), 78);
    assert_exit(&tunneld(&["run", "--config", &file]), 78);
    assert_exit(&tunneld(&["trust", "db", "--config", &file]), 78);
    let output = tunneld(&["test", "db", "--json", "--config", &file]);
    assert_exit(&output, 78);
    assert_has(&stderr(&output), &["unknown key `hosst`", "errors"]);
    assert!(stdout(&output).is_empty());
    let bed = Bed::new();
    let daemon = bed.up();
    daemon.write_config("[tunnels.db]\nhosst = 1\n");
    assert_exit(&daemon.reload(), 78);
    assert_exit(&daemon.cli(&["reload", "--dry-run"]), 78);
}

#[test]
fn a_taken_socket_is_a_failed_start() {
    // 1: `run` that cannot have its socket.
    let bed = Bed::new();
    let folder = Folder::new();
    let text = bed
        .db()
        .replace(&bed.listen.to_string(), &free_addr().to_string());
    let file = folder.write("t.toml", &text);
    let daemon = bed.up();
    let socket = daemon.socket().display().to_string();
    let output = tunneld(&["run", "--config", &file, "--socket", &socket]);
    assert_exit(&output, 1);
    assert_has(&stderr(&output), &["another tunneld answers on", &socket]);
    assert_eq!(daemon.tunnel("db").phase, Phase::Up);
}

#[test]
fn a_file_that_the_service_may_not_read_comes_with_what_gives_it_to_read() {
    // 78: root has edited it, or one that it includes, with a umask of 077; or made a folder so.
    let folder = Folder::new();
    let file = folder.write("t.toml", "include = \"t.d/*.toml\"\n");
    fs::create_dir(folder.at("t.d")).unwrap();
    let included = folder.write("t.d/a.toml", &dead_tunnel("db", &folder.key()));
    let at = |name: &str| folder.at(name).display().to_string();
    let all = [at(""), file.clone(), at("t.d"), included.clone()];
    let (top, top_name) = (at(""), at("").trim_end_matches('/').to_owned());
    for (closed, name, bits) in [
        (&file, &file, "r"),
        (&top, &top_name, "rx"),
        (&included, &included, "r"),
        (&at("t.d"), &at("t.d"), "rx"),
    ] {
        for path in &all {
            let mode = if path == closed { 0o700 } else { 0o755 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut run = command("setpriv");
        run.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        let output = within(run.arg(binary()).args(["run", "--config", &file]), LONG);
        assert_exit(&output, 78);
        let commands = format!("sudo chgrp nogroup {name} && sudo chmod g+{bits} {name}\n");
        let said = stderr(&output);
        assert_has(
            &said,
            &[
                "permission denied\n",
                ": tunneld runs as nobody, ",
                &commands,
            ],
        );
    }
}
