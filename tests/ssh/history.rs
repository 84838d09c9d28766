//! What a tunnel has been through: its outages with their length and cause, over restarts too.

use std::fs;
use std::time::{Duration, Instant};

use tunneld_core::history::{HistoryReport, Span, Tally};
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::process::{poll, printed};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::support::{LATE, LONG, Table, daemon, fails, pass, text, up};

pub(crate) fn history(daemon: &Daemon) -> HistoryReport {
    let output = daemon.cli(&["history", "t", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", printed(&output)))
}

fn phases(report: &HistoryReport) -> Vec<Phase> {
    report.entries.iter().map(|e| e.phase).collect()
}

fn tally(report: &HistoryReport, span: Span) -> Tally {
    let mut windows = report.availability.iter();
    windows.find(|w| w.window == span).unwrap().tally
}

/// A tunnel `t` to this server, and a daemon that keeps what it has been through in `state`.
fn kept(sshd: &Sshd) -> DaemonBuilder {
    let table = Table::to(sshd).forward(free_addr(), free_addr());
    let builder = daemon().config(&table.toml());
    let state = builder.dir().join("state").display().to_string();
    // As systemd says it where a unit has several.
    builder.env("STATE_DIRECTORY", &format!("{state}:/nowhere"))
}

/// Waits until the file says that the tunnel's last change was to `phase`.
fn written(daemon: &Daemon, phase: &str) {
    let file = daemon.dir().join("state/history/t.json");
    let last = || {
        let page: serde_json::Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
        let entries = page["record"]["entries"].as_array()?;
        (entries.last()?["phase"] == phase).then_some(())
    };
    assert!(
        poll(LONG, last).is_some(),
        "{} is not {phase}",
        file.display()
    );
}

#[test]
fn an_outage_is_told_with_its_cause_and_its_length() {
    // sshd is killed for some seconds: as long as that was, for programs and for people.
    let mut sshd = Sshd::start();
    let daemon = Table::to(&sshd).forward(free_addr(), free_addr()).up();
    assert_eq!(phases(&history(&daemon)), [Phase::Connecting, Phase::Up]);
    sshd.kill9();
    daemon.wait_phase("t", Phase::Waiting, LONG);
    let began = Instant::now();
    fails(&daemon, "t", "connection refused");
    pass(Duration::from_secs(2));
    let down = history(&daemon);
    assert!(
        down.outages[0].over_unix_ms.is_none() && down.outages[0].lasted_ms >= 2000,
        "{down:?}"
    );
    sshd.restart();
    up(&daemon, "t");
    let longest = began.elapsed() + LATE + LATE;
    let report = history(&daemon);
    let [outage] = report.outages.as_slice() else {
        panic!("{report:#?}")
    };
    let length = Duration::from_millis(outage.lasted_ms);
    assert!(
        outage.over_unix_ms.is_some() && length >= Duration::from_secs(2) && length <= longest,
        "{report:#?}"
    );
    let refused = report.entries.iter().find(|e| {
        e.failure
            .as_ref()
            .is_some_and(|f| f.cause == "connection refused")
    });
    assert!(refused.unwrap().times >= 2, "{report:#?}");
    for span in [Span::Hour, Span::Day, Span::Week, Span::All] {
        let tally = tally(&report, span);
        assert_eq!(
            (tally.outages, tally.down_ms),
            (1, outage.lasted_ms),
            "{span:?}"
        );
        assert_eq!(tally.watched_ms, tally.up_ms + tally.down_ms);
    }
    let page = String::from_utf8(daemon.cli(&["history", "t"]).stdout).unwrap();
    for part in [
        "connection refused (",
        "after an outage of ",
        "in 1 outage",
        "since ",
    ] {
        assert!(page.contains(part), "{part:?} is not in:\n{page}");
    }
    assert!(!page.contains("last hour"), "{page}");
    let page = String::from_utf8(daemon.cli(&["history"]).stdout).unwrap();
    assert!(
        page.contains("\nt  up ") && page.contains(" in 1 outage; last "),
        "{page}"
    );
    let every = daemon.cli(&["history", "--json"]).stdout;
    let every: Vec<HistoryReport> = serde_json::from_slice(&every).unwrap();
    assert_eq!(every.len(), 1);
    let page = String::from_utf8(daemon.cli(&["history", "t", "-n", "1"]).stdout).unwrap();
    assert!(
        !page.contains("refused") && page.contains("until now"),
        "{page}"
    );
}

#[test]
fn a_restart_of_the_daemon_keeps_it_and_is_told() {
    // Stopped in good order: what was before is there, then that nothing ran, then what is now.
    let mut sshd = Sshd::start();
    let mut daemon = kept(&sshd).start();
    up(&daemon, "t");
    sshd.kill9();
    daemon.wait_phase("t", Phase::Waiting, LONG);
    sshd.restart();
    up(&daemon, "t");
    let before = history(&daemon);
    daemon.terminate(LONG);
    daemon.start_again();
    up(&daemon, "t");
    let told = || {
        let report = history(&daemon);
        (report.entries.len() > before.entries.len()).then_some(report)
    };
    let report = poll(LONG, told).expect("nothing of the first run");
    let (old, new) = report.entries.split_at(before.entries.len());
    assert_eq!(
        old.iter()
            .map(|e| (e.at_unix_ms, e.phase))
            .collect::<Vec<_>>(),
        before
            .entries
            .iter()
            .map(|e| (e.at_unix_ms, e.phase))
            .collect::<Vec<_>>(),
    );
    let new: Vec<Phase> = new.iter().map(|e| e.phase).collect();
    let expected = [Phase::Stopped, Phase::Idle, Phase::Connecting, Phase::Up];
    assert_eq!(new, expected);
    assert_eq!(report.outages, before.outages);
    assert_eq!(report.since_unix_ms, before.since_unix_ms);
    let all = tally(&report, Span::All);
    assert_eq!(all.outages, 1);
    assert!(all.up_ms > tally(&before, Span::All).up_ms);
    // Each process counts for itself what metrics count.
    assert_eq!(daemon.tunnel("t").sessions, 1);
}

#[test]
fn a_daemon_that_is_killed_loses_a_second_or_two() {
    // SIGKILL while it is down: its outage is there, and what follows is another one.
    let mut sshd = Sshd::start();
    let mut daemon = kept(&sshd).start();
    up(&daemon, "t");
    sshd.kill9();
    daemon.wait_phase("t", Phase::Waiting, LONG);
    written(&daemon, "waiting");
    daemon.kill9();
    sshd.restart();
    daemon.start_again();
    up(&daemon, "t");
    let told = || {
        let report = history(&daemon);
        phases(&report).contains(&Phase::Idle).then_some(report)
    };
    let report = poll(LONG, told).expect("nothing of the first run");
    let phases = phases(&report);
    let end = [Phase::Waiting, Phase::Idle, Phase::Connecting, Phase::Up];
    assert!(
        phases.starts_with(&[Phase::Connecting, Phase::Up]),
        "{phases:?}"
    );
    assert!(phases.ends_with(&end), "{phases:?}");
    assert_eq!(report.outages.len(), 1);
    assert!(report.outages[0].over_unix_ms.is_some() && report.outages[0].failure.is_some());
}

#[test]
fn a_tunnel_that_a_reload_takes_out_and_puts_back_goes_on_with_what_it_had() {
    // Removed, it is written down as stopped; put back, its file is read.
    let sshd = Sshd::start();
    let state = tempfile::tempdir().unwrap();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let other = Table::to(&sshd)
        .named("u")
        .forward(free_addr(), free_addr());
    let head = format!(
        "[daemon]\ncontrol_socket = \"{{socket}}\"\nstate_directory = {}\n",
        text(state.path().display())
    );
    let both = format!("{head}{}{}", table.toml(), other.toml());
    let daemon = daemon().config(&both).start();
    up(&daemon, "t");
    daemon.write_config(&format!("{head}{}", other.toml()));
    assert!(daemon.reload().status.success());
    let file = state.path().join("history/t.json");
    let stopped = || {
        fs::read_to_string(&file)
            .ok()?
            .contains("stopped")
            .then_some(())
    };
    assert!(poll(LONG, stopped).is_some());
    let gone = daemon.cli(&["history", "t"]);
    assert_eq!(gone.status.code(), Some(1), "{}", printed(&gone));
    daemon.write_config(&both);
    assert!(daemon.reload().status.success());
    up(&daemon, "t");
    let expected = [
        Phase::Connecting,
        Phase::Up,
        Phase::Stopped,
        Phase::Connecting,
        Phase::Up,
    ];
    let same = || (phases(&history(&daemon)) == expected).then_some(());
    assert!(poll(LONG, same).is_some(), "{:#?}", history(&daemon));
}

#[test]
fn a_forward_that_a_reload_adds_is_no_outage() {
    // The others go on: it stays up since when it was, nothing is told, and no other phase is written down.
    let (sshd, echo, one, two) = (Sshd::start(), EchoServer::start(), free_addr(), free_addr());
    let table = Table::to(&sshd).forward(one, echo.addr());
    let daemon = daemon().config(&table.toml()).start();
    let since = up(&daemon, "t").since_unix_ms;
    let more = table.forward(two, echo.addr());
    daemon.write_config(&more.remote(free_addr(), echo.addr()).toml());
    assert!(daemon.reload().status.success());
    let all = |t: &TunnelStatus| t.forwards.len() == 3 && t.phase == Phase::Up;
    assert_eq!(daemon.wait_for("t", LONG, all).since_unix_ms, since);
    echoes(two).unwrap();
    let report = history(&daemon);
    assert_eq!(phases(&report), [Phase::Connecting, Phase::Up]);
    assert_eq!(report.outages.len(), 0);
    daemon.wait_for_log("configuration reloaded", LONG);
    assert_eq!(daemon.log_text().matches("tunnel up").count(), 1);
}
