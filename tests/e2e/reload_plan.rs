//! What a reload says: a diff with the connections that each change touches, for people and programs.

use std::io::Write;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::target::{echoes, free_addr};

use crate::support::{Bed, LONG, Transfer, assert_exit, assert_has, builder, daemon_table};
use crate::support::{stderr, stdout, tunnel, tunneld, up};

/// What a dry run with this file prints.
fn planned(daemon: &Daemon, text: &str) -> String {
    daemon.write_config(text);
    let output = daemon.cli(&["reload", "--dry-run"]);
    assert_exit(&output, 0);
    stdout(&output)
}

#[test]
fn every_change_says_how_many_connections_have_to_end() {
    // Those of a forward that goes or leads elsewhere, and all of a session that is replaced; what
    // stays has none. What is said is what happens.
    let bed = Bed::new();
    let (second, moved) = (free_addr(), free_addr());
    let limit = daemon_table("drain_timeout = \"5m\"");
    let echo = bed.echo.addr();
    let file = |pairs: &[_]| tunnel("db", &bed.sshd, pairs) + &limit;
    let one = (bed.listen, echo);
    let two = file(&[one, (second, echo)]);
    let daemon = up(builder().config(&two));
    let kept = Transfer::start(bed.listen, 20);
    let gone = [Transfer::start(second, 21), Transfer::start(second, 22)];

    let said = planned(
        &daemon,
        &two.replace("\nuser", "\ncompression = true\nuser"),
    );
    assert_has(
        &said,
        &[
            "~ db  replace: a new session is made, then the old one drains (3 connections, up to 5m)\n",
        ],
    );
    let said = planned(&daemon, &limit);
    assert_has(
        &said,
        &["- db  stop: no longer in the file (3 connections drain, up to 5m)\n"],
    );
    let plan = format!(
        "~ db  adjust: the session stays\n\
        \x20   - local_forward  {second} → {echo}   (2 connections drain, up to 5m)\n\
        \x20   + local_forward  {moved} → {echo}\n\
         = 0 unchanged\n"
    );
    let less = file(&[one, (moved, echo)]);
    let dry = planned(&daemon, &less);
    assert_eq!(
        dry,
        format!("nothing is changed; a reload does this:\n{plan}")
    );
    let done = daemon.reload();
    assert_exit(&done, 0);
    assert_eq!(stdout(&done), plan);
    echoes(moved).unwrap();
    for transfer in gone.into_iter().chain([kept]) {
        transfer.wait_for_more();
        transfer.finish();
    }
}

#[test]
fn programs_get_the_plan_and_the_problems_as_json() {
    // On stdout and nothing else; a bad file exits 78 with what is wrong place by place.
    let bed = Bed::new();
    let daemon = bed.up();
    let ask = |words: &[&str], code: i32| -> Value {
        let output = daemon.cli(words);
        assert_exit(&output, code);
        assert_eq!(stderr(&output), "");
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    daemon.write_config(&(bed.db() + "connect_timeout = \"5s\"\n"));
    let plan = json!({
        "tunnels": [{
            "tunnel": "db", "action": "adjust", "why": "changed",
            "keys": [{ "key": "connect_timeout", "before": "15s", "after": "5s" }],
        }],
        "daemon": [],
        "needs_restart": [],
    });
    let wanted = |dry: bool| json!({ "dry_run": dry, "plan": plan });
    assert_eq!(ask(&["reload", "--dry-run", "--json"], 0), wanted(true));
    assert_eq!(ask(&["reload", "--json"], 0), wanted(false));
    daemon.write_config("[tunnels.db]\nhosst = 1\n");
    let error = ask(&["reload", "--json"], 78);
    assert_eq!(error["kind"], "bad-config");
    let file = daemon.config_path().display().to_string();
    let problem = json!({
        "file": file, "line": 2, "column": 1, "message": "unknown key `hosst`",
        "hint": "did you mean `host`?",
    });
    let problems = error["diagnostics"].as_array().unwrap();
    assert!(problems.contains(&problem), "{error}");
}

#[test]
fn a_client_that_goes_away_does_not_cancel_the_reload() {
    // What it asked for is done, whether or not somebody is there to hear of it.
    let bed = Bed::new();
    let daemon = bed.up();
    let second = free_addr();
    let pairs = [(bed.listen, bed.echo.addr()), (second, bed.echo.addr())];
    daemon.write_config(&tunnel("db", &bed.sshd, &pairs));
    let mut client = UnixStream::connect(daemon.socket()).unwrap();
    client
        .write_all(b"POST /v1/reload HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    drop(client);
    daemon.wait_for_log("configuration reloaded", LONG);
    daemon.wait_for("db", LONG, |t| {
        t.forwards.len() == 2 && t.phase == Phase::Up
    });
    echoes(second).unwrap();
    // And the next one finds it done.
    assert_eq!(stdout(&daemon.reload()), "= 1 unchanged\n");
}

#[test]
fn a_changed_control_socket_is_told_with_where_the_daemon_is_meanwhile() {
    // It serves at the old place until the restart; a command that looks at the new one says so.
    let bed = Bed::new();
    let daemon = bed.up();
    let elsewhere = daemon.dir().join("elsewhere.sock").display().to_string();
    let table = format!("[daemon]\ncontrol_socket = {elsewhere:?}\n");
    daemon.write_config(&(bed.db() + &table));
    let config = daemon.config_path().display().to_string();
    let lost = tunneld(&["reload", "--config", &config]);
    assert_exit(&lost, 4);
    assert_has(
        &stderr(&lost),
        &[&elsewhere, "if `control_socket` was changed", "--socket"],
    );
    let said = stdout(&daemon.reload());
    let old = daemon.socket().display();
    assert_has(
        &said,
        &[
            "! [daemon]  after a restart only: systemctl restart tunneld\n",
            &format!("      control_socket  {old} → {elsewhere}\n"),
            "with --socket at the old place",
        ],
    );
    assert_exit(&daemon.cli(&["status"]), 0);
}
