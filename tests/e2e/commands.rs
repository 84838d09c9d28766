//! `start`, `stop` and `restart`, and where every command finds the file and the daemon.

use std::path::Path;

use tunneld_core::status::Phase;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::target::{echoes, try_connect};

use crate::support::within;
use crate::support::{Bed, Folder, LONG, Transfer, assert_exit, assert_has, binary, builder};
use crate::support::{command, daemon, daemon_table, dead_tunnel, stderr, stdout, tunneld, up};

#[test]
fn stop_takes_a_tunnel_down_and_start_brings_it_back() {
    // A stopped tunnel neither listens nor connects; a started one is as before.
    let bed = Bed::new();
    let daemon = bed.up();
    // The command returns when it is done.
    assert_exit(&daemon.cli(&["stop", "db"]), 0);
    let stopped = daemon.tunnel("db");
    assert_eq!(stopped.phase, Phase::Stopped);
    assert!(stopped.session.is_none() && stopped.retry_at_unix_ms.is_none());
    assert!(try_connect(bed.listen).is_err());
    assert_exit(&daemon.cli(&["start", "db"]), 0);
    daemon.wait_phase("db", Phase::Up, LONG);
    echoes(bed.listen).unwrap();
    // Both are done when they are done already.
    assert_exit(&daemon.cli(&["start", "db"]), 0);
    assert_eq!(daemon.tunnel("db").sessions, 2);
}

#[test]
fn stop_lasts_over_a_nudge_until_the_file_is_reloaded() {
    // `stop` is not undone by SIGUSR1, and is undone by `reload`.
    let bed = Bed::new();
    let folder = Folder::new();
    let patient = "reconnect = { initial = \"300d\", max = \"300d\" }\n";
    let daemon = daemon(&(bed.db() + &dead_tunnel("gone", &folder.key()) + patient));
    daemon.wait_phase("db", Phase::Up, LONG);
    daemon.wait_phase("gone", Phase::Waiting, LONG);
    assert_exit(&daemon.cli(&["stop", "db"]), 0);
    daemon.wait_phase("db", Phase::Stopped, LONG);
    let before = daemon.tunnel("gone").attempts;
    daemon.signal(Signal::USR1);
    // The nudge goes to the tunnels by name: `gone` has heard it after `db`.
    daemon.wait_for("gone", LONG, |t| {
        t.attempts > before && t.phase == Phase::Waiting
    });
    assert_eq!(daemon.tunnel("db").phase, Phase::Stopped);
    assert!(try_connect(bed.listen).is_err());
    // The plan says what it starts again.
    let output = daemon.reload();
    assert_exit(&output, 0);
    assert_has(&stdout(&output), &["+ db  start: was stopped by command\n"]);
    daemon.wait_phase("db", Phase::Up, LONG);
    echoes(bed.listen).unwrap();
}

#[test]
fn restart_makes_a_new_session_and_starts_what_is_stopped() {
    // `restart` of a tunnel that is up: one more session, and the forwards stay; of a stopped one:
    // up again; of several: each.
    let bed = Bed::new();
    let other = Bed::new();
    let second = other.db().replace("tunnels.db", "tunnels.web");
    let daemon = daemon(&(bed.db() + &second));
    daemon.wait_phase("db", Phase::Up, LONG);
    daemon.wait_phase("web", Phase::Up, LONG);
    assert_exit(&daemon.cli(&["restart", "db"]), 0);
    daemon.wait_for("db", LONG, |t| t.sessions == 2 && t.phase == Phase::Up);
    echoes(bed.listen).unwrap();
    assert_eq!(daemon.tunnel("web").sessions, 1);
    assert_exit(&daemon.cli(&["stop", "db"]), 0);
    daemon.wait_phase("db", Phase::Stopped, LONG);
    assert_exit(&daemon.cli(&["restart", "db", "web"]), 0);
    daemon.wait_for("db", LONG, |t| t.sessions == 3 && t.phase == Phase::Up);
    daemon.wait_for("web", LONG, |t| t.sessions == 2 && t.phase == Phase::Up);
}

#[test]
fn a_name_that_does_not_exist_changes_nothing_for_the_others() {
    // 1, every such name is told, and the tunnels that do exist go on as they were.
    let bed = Bed::new();
    let daemon = bed.up();
    for command in ["stop", "start", "restart"] {
        let output = daemon.cli(&[command, "db", "bd", "web"]);
        assert_exit(&output, 1);
        let said = "error: no tunnel `bd`; there are: db\n\
                    error: no tunnel `web`; there are: db\n";
        assert_eq!(
            (stdout(&output).as_str(), stderr(&output)),
            ("", said.to_owned())
        );
        let db = daemon.tunnel("db");
        assert_eq!((db.phase, db.sessions), (Phase::Up, 1), "{command}");
    }
}

#[test]
fn stop_lets_connections_finish_and_returns_when_they_have() {
    // New connections are not accepted meanwhile; the tunnel is down when the command is done.
    let bed = Bed::new();
    let text = bed.db() + &daemon_table("drain_timeout = \"5m\"");
    let daemon = up(builder().config(&text));
    let transfer = Transfer::start(bed.listen, 19);
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| daemon.cli(&["stop", "db"]));
        let closed = poll(LONG, || try_connect(bed.listen).is_err().then_some(()));
        assert!(closed.is_some(), "new connections are accepted");
        transfer.wait_for_more();
        assert!(!stopped.is_finished());
        transfer.finish();
        assert_exit(&stopped.join().unwrap(), 0);
    });
    assert_eq!(daemon.tunnel("db").phase, Phase::Stopped);
    bed.sshd.wait_for_log("disconnect", LONG);
}

#[test]
fn restart_keeps_open_connections_while_they_finish() {
    // The new session is there for new connections; the old one ends with its last connection.
    let bed = Bed::new();
    let text = bed.db() + &daemon_table("drain_timeout = \"5m\"");
    let daemon = up(builder().config(&text));
    let transfer = Transfer::start(bed.listen, 20);
    assert_exit(&daemon.cli(&["restart", "db"]), 0);
    daemon.wait_for("db", LONG, |t| t.sessions == 2 && t.phase == Phase::Up);
    echoes(bed.listen).unwrap();
    transfer.wait_for_more();
    transfer.finish();
    bed.sshd.wait_for_log("disconnect", LONG);
    assert_eq!(daemon.tunnel("db").sessions, 2);
}

#[test]
fn a_file_that_cannot_be_read_is_blamed_and_not_the_daemon() {
    // One that was named: 78, and the reason in one line. Without it, `--socket` still finds the daemon.
    let bed = Bed::new();
    let daemon = bed.up();
    let typo = daemon.dir().join("typo.toml").display().to_string();
    let said = format!(
        "error: cannot read {typo}: no such file or directory; --socket PATH asks the \
         daemon without it\n"
    );
    let commands: [&[&str]; 9] = [
        &["status"],
        &["status", "--watch"],
        &["logs"],
        &["wait", "db"],
        &["history", "db"],
        &["reload"],
        &["start", "db"],
        &["stop", "db"],
        &["restart", "db"],
    ];
    for words in commands {
        let output = tunneld(&[words, &["--config", &typo]].concat());
        assert_exit(&output, 78);
        assert_eq!(stderr(&output), said, "{words:?}");
        let mut command = command(binary());
        let output = within(command.env("TUNNELD_CONFIG", &typo).args(words), LONG);
        assert_exit(&output, 78);
    }
    let socket = daemon.socket().display().to_string();
    assert_exit(
        &tunneld(&["status", "--config", &typo, "--socket", &socket]),
        0,
    );
}

#[test]
fn without_a_file_the_default_socket_is_tried_and_that_is_told() {
    // 4, since nobody answers there; and that the file might have named another one.
    let elsewhere = ["/etc/tunneld/tunneld.toml", "/run/tunneld/control.sock"];
    let theirs = elsewhere.iter().find(|path| Path::new(path).exists());
    assert_eq!(theirs, None, "this machine has a tunneld of its own");
    let output = tunneld(&["status"]);
    assert_exit(&output, 4);
    assert_has(
        &stderr(&output),
        &[
            "no daemon on /run/tunneld/control.sock",
            "hint: cannot read /etc/tunneld/tunneld.toml (no such file",
            "so the default socket was tried\n",
        ],
    );
}

#[test]
fn where_there_is_no_file_at_the_usual_place_there_is_a_way_on() {
    // 78, and what names a file or makes one; whoever named a file knows that.
    let hint = "error: cannot read /etc/tunneld/tunneld.toml: no such file or directory\n\
                hint: --config FILE names another; `tunneld import` makes tunnels of what you have\n";
    let commands: [&[&str]; 6] = [
        &["check"],
        &["run"],
        &["explain"],
        &["test", "db"],
        &["trust", "db"],
        &["authorize", "db"],
    ];
    for words in commands {
        let output = tunneld(words);
        assert_exit(&output, 78);
        assert_eq!(stderr(&output), hint, "{words:?}");
        let output = tunneld(&[words, &["--config", "/nonexistent/t.toml"]].concat());
        assert_exit(&output, 78);
        assert!(!stderr(&output).contains("hint:"), "{words:?}");
    }
}

#[test]
fn a_file_that_is_broken_throughout_is_told_to_hide_the_daemon() {
    // `reload` finds nobody on the default socket: what is wrong comes first, then `--socket`.
    let folder = Folder::new();
    let file = folder.write("t.toml", "this is = not toml [\n");
    let output = tunneld(&["reload", "--config", &file]);
    assert_exit(&output, 78);
    let said = stderr(&output);
    let hint = format!(
        "hint: {file} does not say where the daemon is, so the default socket was tried; \
         --socket PATH names another\n"
    );
    assert!(said.ends_with(&hint), "{said}");
    assert_has(&said, &[&format!("{file}:1:"), "no daemon on /run/tunneld"]);
    // One that says nothing of it in good TOML means the default.
    let file = folder.write("u.toml", "[tunnels.db]\nhosst = 1\n");
    let output = tunneld(&["reload", "--config", &file]);
    assert!(
        !stderr(&output).contains("does not say"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_socket_is_found_through_the_file() {
    // The commands ask the daemon of the file that `--config` or TUNNELD_CONFIG names.
    let bed = Bed::new();
    let daemon = bed.up();
    let config = daemon.config_path().display().to_string();
    assert_exit(&tunneld(&["status", "--config", &config]), 0);
    assert_exit(&tunneld(&["--config", &config, "status"]), 0);
    let by_env = |words: &[&str]| {
        let mut command = command(binary());
        within(command.env("TUNNELD_CONFIG", &config).args(words), LONG)
    };
    assert_exit(&by_env(&["status", "db"]), 0);
    assert_has(&stdout(&by_env(&["check"])), &[&config, "no errors"]);
    assert_exit(&by_env(&["reload", "--dry-run"]), 0);
}

#[test]
fn the_socket_can_be_named() {
    // `--socket` and TUNNELD_SOCKET win over the file, for the daemon and for its commands.
    let bed = Bed::new();
    let folder = Folder::new();
    let other = folder.at("other.sock").display().to_string();
    let named = up(builder().config(&bed.db()));
    let socket = named.socket().display().to_string();
    let mut by_env = command(binary());
    let output = within(by_env.env("TUNNELD_SOCKET", &socket).arg("status"), LONG);
    assert_exit(&output, 0);
    let config = named.config_path().display().to_string();
    let output = tunneld(&["status", "--config", &config, "--socket", &other]);
    assert_exit(&output, 4);
    assert_has(&stderr(&output), &[&other]);
    // A daemon that is told so listens there and not where its file says.
    let elsewhere = Bed::new();
    let there = builder()
        .config(&elsewhere.db())
        .env("TUNNELD_SOCKET", &other)
        .spawn();
    there.wait_for_log("ready", LONG);
    assert_exit(&tunneld(&["status", "--socket", &other]), 0);
    assert!(!there.socket().exists());
}

#[test]
fn a_daemon_that_is_given_a_relative_path_finds_its_hooks() {
    // They run in another folder than the daemon.
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::new();
    let hook = "on_up = [\"bin/note\"]\nlocal_forward";
    let text = bed.db().replacen("local_forward", hook, 1);
    let start = "cd \"${3%/*}\" && exec \"$0\" run --config \"${3##*/}\"";
    let builder = builder().config(&text).prefix(&["sh", "-c", start]);
    let (bin, seen) = (builder.dir().join("bin"), builder.dir().join("seen"));
    std::fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$TUNNELD_CONFIG\" >{}.new\n",
        seen.display()
    );
    let script = format!("{script}mv {0}.new {0}\n", seen.display());
    std::fs::write(bin.join("note"), script).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bin.join("note"), mode).unwrap();
    let daemon = up(builder);
    let told = poll(LONG, || std::fs::read_to_string(&seen).ok());
    let told = told.unwrap_or_else(|| panic!("it did not run:\n{}", daemon.log_text()));
    assert_eq!(told.trim_end(), daemon.config_path().display().to_string());
}
