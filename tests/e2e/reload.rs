//! Reload is a transaction: what it changes is said tunnel by tunnel, and the rest is not touched.

use tunneld_core::status::Phase;
use tunneld_lab::process::Signal;
use tunneld_lab::process::poll;
use tunneld_lab::target::{EchoServer, echoes, free_addr, try_connect};

use crate::support::{Bed, Folder, LONG, Transfer, assert_exit, assert_has, builder, daemon};
use crate::support::{daemon_table, dead_tunnel, stderr, stdout, tunnel, up};

#[test]
fn a_transfer_lives_through_ten_reloads() {
    // Ten reloads that change another tunnel and another forward of the same tunnel; every byte of
    // a transfer on an untouched forward arrives, over one session.
    let bed = Bed::new();
    let web = EchoServer::start();
    let (second, other) = (free_addr(), free_addr());
    let file = |n: usize| {
        // Each time another target, so that each reload has something to do.
        let target = |kind: usize| {
            if n % 4 / 2 == kind {
                web.addr()
            } else {
                bed.echo.addr()
            }
        };
        let db = [(bed.listen, bed.echo.addr()), (second, target(0))];
        let mut text = tunnel("db", &bed.sshd, &db);
        if n.is_multiple_of(2) {
            text += &tunnel("web", &bed.sshd, &[(other, target(1))]);
        }
        text
    };
    let daemon = daemon(&file(0));
    daemon.wait_phase("db", Phase::Up, LONG);
    let transfer = Transfer::start(bed.listen, 1);
    for n in 1..=10 {
        daemon.write_config(&file(n));
        let output = daemon.reload();
        assert_exit(&output, 0);
        let said = stdout(&output);
        assert!(
            said.contains("~ db  adjust") || said.contains(" web "),
            "{said}"
        );
        transfer.wait_for_more();
        echoes(second).unwrap();
    }
    let db = daemon.wait_phase("db", Phase::Up, LONG);
    assert_eq!((db.sessions, db.forwards[0].connections.total), (1, 1));
    transfer.finish();
}

#[test]
fn the_plan_has_a_line_for_each_tunnel_that_changes_and_counts_the_rest() {
    // start, stop, replace, adjust, each with its reason; the unchanged ones are counted.
    let (bed, folder) = (Bed::new(), Folder::new());
    let kept = bed.db();
    // They wait for one thing only, so that no reload has them try sooner.
    let once = "reconnect = { initial = \"300d\", max = \"300d\" }\n";
    let dead = |name: &str| dead_tunnel(name, &folder.key()) + once;
    let (adjusted, replaced, gone) = (dead("adjusted"), dead("replaced"), dead("gone"));
    let daemon = up(builder().config(&[&kept[..], &adjusted, &replaced, &gone].concat()));
    let adjusted = adjusted + "connect_timeout = \"7s\"\n";
    let replaced = replaced.replace("\"nobody\"", "\"somebody\"");
    daemon.write_config(&[&kept[..], &adjusted, &replaced, &dead("new")].concat());
    let planned = daemon.cli(&["reload", "--dry-run"]);
    assert_exit(&planned, 0);
    let plan = "\
~ adjusted  adjust: the session stays
      connect_timeout  15s → 7s
- gone      stop: no longer in the file
+ new       start: new in the file
~ replaced  replace: a new session is made, then the old one ends
      user           nobody → somebody
= 1 unchanged
";
    let dry = "nothing is changed; a reload does this:\n";
    assert_eq!(stdout(&planned), format!("{dry}{plan}"));
    let done = daemon.reload();
    assert_exit(&done, 0);
    assert_eq!(stdout(&done), plan);
    let names: Vec<_> = daemon
        .status()
        .tunnels
        .iter()
        .map(|t| t.name.to_string())
        .collect();
    assert_eq!(names, ["adjusted", "db", "new", "replaced"]);
    // Nothing is left to do.
    assert_eq!(stdout(&daemon.reload()), "= 4 unchanged\n");
}

#[test]
fn a_dry_run_changes_nothing() {
    // Neither the tunnels nor what `status` says of the last reload.
    let bed = Bed::new();
    let daemon = bed.up();
    let before = daemon.status();
    daemon.write_config(&bed.db().replace("tunnels.db", "tunnels.other"));
    let output = daemon.cli(&["reload", "--dry-run"]);
    assert_exit(&output, 0);
    assert_has(
        &stdout(&output),
        &["nothing is changed; ", "- db     stop", "+ other  start"],
    );
    let after = daemon.status();
    assert_eq!(
        (after.last_reload, after.tunnels),
        (before.last_reload, before.tunnels)
    );
    echoes(bed.listen).unwrap();
}

#[test]
fn sighup_reloads_too() {
    // As `reload`, for whoever has only the process: a good file is applied, a bad one refused.
    let bed = Bed::new();
    let daemon = bed.up();
    let second = free_addr();
    let pairs = [(bed.listen, bed.echo.addr()), (second, bed.echo.addr())];
    daemon.write_config(&tunnel("db", &bed.sshd, &pairs));
    daemon.signal(Signal::HUP);
    daemon.wait_for("db", LONG, |t| {
        t.forwards.len() == 2 && t.phase == Phase::Up
    });
    echoes(second).unwrap();
    assert!(daemon.status().last_reload.unwrap().ok);
    let mark = daemon.log_mark();
    daemon.write_config("garbage");
    daemon.signal(Signal::HUP);
    daemon.wait_for_log_from(mark, "reload refused", LONG);
    assert!(!daemon.status().last_reload.unwrap().ok);
    echoes(second).unwrap();
}

#[test]
fn daemon_keys_that_need_a_restart_are_named() {
    // By the command, with both values, and in the log; drain_timeout takes effect at once and is not
    // one of them.
    let bed = Bed::new();
    let daemon = up(builder().config(&(bed.db() + &daemon_table("drain_timeout = \"10s\""))));
    let table =
        daemon_table("ready_when = \"all\"\nstart_timeout = \"9s\"\ndrain_timeout = \"1s\"");
    daemon.write_config(&(bed.db() + &table));
    let output = daemon.reload();
    assert_exit(&output, 0);
    let said = stdout(&output) + &stderr(&output);
    let plan = "\
~ [daemon]
      drain_timeout  10s → 1s
! [daemon]  after a restart only: systemctl restart tunneld
      ready_when     settled → all
      start_timeout  30s → 9s
= 1 unchanged
";
    assert_eq!(said, plan);
    daemon.wait_for_log("only after a restart: ready_when, start_timeout", LONG);
}

#[test]
fn daemon_keys_that_need_a_restart_are_named_until_there_is_one() {
    // By each reload of a person, its dry run and its JSON, and by `status`; no more when the file says
    // again what the daemon runs with.
    let bed = Bed::new();
    let daemon = bed.up();
    let changed = daemon_table("ready_when = \"all\"\nstart_timeout = \"9s\"");
    daemon.write_config(&(bed.db() + &changed));
    let keys = "ready_when     settled → all\n      start_timeout  30s → 9s\n";
    for words in [&["reload"][..], &["reload"], &["reload", "--dry-run"]] {
        assert_has(&stdout(&daemon.cli(words)), &[keys]);
    }
    let json = stdout(&daemon.cli(&["reload", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let named = json["plan"]["needs_restart"].as_array().unwrap();
    let named: Vec<_> = named.iter().map(|key| &key["key"]).collect();
    assert_eq!(named, ["ready_when", "start_timeout"]);
    let line = "warning: changed in [daemon] and in force only after a restart: ready_when, start_timeout\n";
    assert_has(&stdout(&daemon.cli(&["status"])), &[line]);
    assert_eq!(
        daemon.status().needs_restart,
        ["ready_when", "start_timeout"]
    );
    let told = || daemon.log_text().matches("only after a restart").count();
    let all = poll(LONG, || (told() >= 3).then_some(()));
    assert!(all.is_some() && told() == 3, "{}", told());
    daemon.write_config(&bed.db());
    assert_eq!(stdout(&daemon.reload()), "= 1 unchanged\n");
    assert!(daemon.status().needs_restart.is_empty());
}

#[test]
fn reloads_at_the_same_time_are_all_answered() {
    // One after the other, whoever asks: each gets its own answer.
    let bed = Bed::new();
    let daemon = bed.up();
    std::thread::scope(|scope| {
        let ask = |words: &'static [&'static str]| {
            let daemon = &daemon;
            scope.spawn(move || daemon.cli(words))
        };
        let asked: Vec<_> = (0..4)
            .flat_map(|_| [ask(&["reload"]), ask(&["reload", "--dry-run"])])
            .collect();
        daemon.signal(Signal::HUP);
        for answer in asked {
            let output = answer.join().unwrap();
            assert_exit(&output, 0);
            assert_has(&stdout(&output), &["1 unchanged"]);
        }
    });
    // The signal has a reload of its own, or that of a command which was not read yet when it came.
    let log = || daemon.log_text().matches("configuration reloaded").count();
    let all = poll(LONG, || (log() >= 4).then_some(()));
    assert!(all.is_some(), "{} reloads", log());
    assert!(log() <= 5, "{} reloads", log());
    assert_eq!(daemon.tunnel("db").sessions, 1);
}

#[test]
fn enabled_stops_and_starts_a_tunnel() {
    // `enabled = false` in the file is a stopped tunnel; `true` brings it back. One that is new and
    // not enabled is told.
    let bed = Bed::new();
    let daemon = bed.up();
    let later = "[tunnels.later]\nhost = \"h\"\nenabled = false\nlocal_forward = \"7:h:7\"\n";
    daemon.write_config(&(bed.db() + later));
    assert_eq!(
        stdout(&daemon.cli(&["reload", "--dry-run"])),
        "nothing is changed; a reload does this:\n\
         = later  new in the file, enabled = false\n= 1 unchanged\n"
    );
    daemon.write_config(&(bed.db() + "enabled = false\n"));
    assert_has(
        &stdout(&daemon.reload()),
        &["- db  stop: enabled = false\n"],
    );
    daemon.wait_phase("db", Phase::Stopped, LONG);
    assert_exit(&daemon.cli(&["status"]), 0);
    daemon.write_config(&bed.db());
    assert_has(
        &stdout(&daemon.reload()),
        &["+ db  start: enabled = true\n"],
    );
    daemon.wait_phase("db", Phase::Up, LONG);
    echoes(bed.listen).unwrap();
}

#[test]
fn a_removed_tunnel_finishes_and_may_come_back_meanwhile() {
    // Its open connection goes on, its place is free at once, and the tunnel that the next reload
    // brings back under its name takes the place again.
    let (bed, other) = (Bed::new(), Bed::new());
    let rest =
        other.db().replace("tunnels.db", "tunnels.web") + &daemon_table("drain_timeout = \"5m\"");
    let both = bed.db() + &rest;
    let daemon = up(builder().config(&both));
    let transfer = Transfer::start(bed.listen, 17);
    daemon.write_config(&rest);
    assert_has(
        &stdout(&daemon.reload()),
        &["- db  stop: no longer in the file (1 connection drains, up to 5m)\n"],
    );
    let free = poll(LONG, || try_connect(bed.listen).is_err().then_some(()));
    assert!(free.is_some(), "{} still listens", bed.listen);
    transfer.wait_for_more();
    daemon.write_config(&both);
    assert_has(
        &stdout(&daemon.reload()),
        &["+ db  start: new in the file\n"],
    );
    daemon.wait_phase("db", Phase::Up, LONG);
    echoes(bed.listen).unwrap();
    transfer.wait_for_more();
    transfer.finish();
}
