//! A reload that a person asks for has the tunnels that wait try at once: something was mended.

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::Signal;
use tunneld_lab::target::echoes;

use crate::support::{Bed, LONG, assert_exit, assert_has, builder, daemon, daemon_table};
use crate::support::{stderr, stdout};

/// The first delay is over at once, and the next one never.
const ONE_TRY: &str = "reconnect = { initial = \"1ms\", max = \"300d\" }\n";

/// A daemon whose tunnel `db` is not let in, and waits for days; with this in `[daemon]`.
fn blocked(bed: &Bed, keys: &str) -> Daemon {
    bed.sshd.authorize_nobody();
    let text = bed.db() + ONE_TRY + &daemon_table(keys);
    let daemon = builder().config(&text).log_filter("debug").start();
    daemon.wait_phase("db", Phase::Blocked, LONG);
    daemon
}

fn let_in(bed: &Bed) {
    bed.sshd
        .authorize(&bed.sshd.client_key_files().public_line());
}

/// Waits until it is blocked again, after this many tries.
#[track_caller]
fn has_tried(daemon: &Daemon, times: u32) {
    let is_so = |t: &TunnelStatus| t.phase == Phase::Blocked && t.attempts >= times;
    assert_eq!(daemon.wait_for("db", LONG, is_so).attempts, times);
}

#[test]
fn a_blocked_tunnel_comes_up_by_the_reload_after_what_kept_it_was_mended() {
    // By the command, which says so, and so does its dry run, which has nobody try.
    let bed = Bed::new();
    let daemon = blocked(&bed, "");
    let words = "= db  unchanged, and tries again now\n= 0 unchanged\n";
    let dry = stdout(&daemon.cli(&["reload", "--dry-run"]));
    assert_has(&dry, &[words]);
    has_tried(&daemon, 1);
    let output = daemon.reload();
    assert_exit(&output, 0);
    assert_eq!(
        (stdout(&output), stderr(&output)),
        (words.into(), "".into())
    );
    has_tried(&daemon, 2);
    let_in(&bed);
    let json = stdout(&daemon.cli(&["reload", "--json"]));
    assert_has(&json, &["\"tries_now\": true"]);
    daemon.wait_phase("db", Phase::Up, LONG);
    echoes(bed.listen).unwrap();
    assert_eq!(stdout(&daemon.reload()), "= 1 unchanged\n");
}

#[test]
fn a_waiting_tunnel_tries_at_sighup_too() {
    let mut bed = Bed::new();
    bed.sshd.kill9();
    let patient =
        "reconnect = { initial = \"1s\", multiplier = 100, jitter = 0, max = \"300d\" }\n";
    let daemon = daemon(&(bed.db() + patient));
    let waits = |t: &TunnelStatus| t.phase == Phase::Waiting && t.attempts > 1;
    daemon.wait_for("db", LONG, waits);
    bed.sshd.restart();
    daemon.signal(Signal::HUP);
    daemon.wait_phase("db", Phase::Up, LONG);
    echoes(bed.listen).unwrap();
}

#[test]
fn however_often_somebody_reloads_the_first_delay_is_kept() {
    // A server does not bear more for it; a tunnel that has waited so long tries once.
    let bed = Bed::new();
    bed.sshd.authorize_nobody();
    let text = |initial: &str| {
        let once = ONE_TRY.replace("1ms", initial);
        bed.db() + &once
    };
    let daemon = daemon(&text("200d"));
    daemon.wait_phase("db", Phase::Blocked, LONG);
    for _ in 0..5 {
        assert_eq!(stdout(&daemon.reload()), "= 1 unchanged\n");
    }
    has_tried(&daemon, 1);
    daemon.write_config(&text("1ms"));
    assert_has(
        &stdout(&daemon.reload()),
        &["~ db  adjust: it tries again now\n"],
    );
    has_tried(&daemon, 2);
}

#[test]
fn a_reload_by_the_watch_has_them_try_where_the_file_has_changed() {
    // A file that is written again as it was is none.
    let bed = Bed::new();
    let daemon = blocked(&bed, "watch = true");
    let text = std::fs::read_to_string(daemon.config_path()).unwrap();
    let mark = daemon.log_mark();
    daemon.write_config(&text);
    daemon.wait_for_log_from(mark, "the configuration has not changed", LONG);
    has_tried(&daemon, 1);
    // Wrong, and as it was before: nothing else is in force.
    daemon.write_config("garbage");
    daemon.wait_for_log("reload refused", LONG);
    daemon.write_config(&text);
    daemon.wait_for_log("configuration reloaded", LONG);
    has_tried(&daemon, 1);
    let_in(&bed);
    daemon.write_config(&format!("# Its key is there now.\n{text}"));
    daemon.wait_phase("db", Phase::Up, LONG);
}
