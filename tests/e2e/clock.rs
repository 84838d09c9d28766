//! A clock that somebody sets, by a year: what is told of lengths stays true, and nothing waits for it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tunneld_core::history::HistoryReport;
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::process::poll;
use tunneld_lab::target::echoes;

use crate::support::{Bed, Folder, LONG, assert_exit, assert_has, builder, daemon_table};
use crate::support::{dead_tunnel, stdout, up};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// More than any test lasts.
const MINUTES: u64 = 10 * 60 * 1000;

/// A clock for a daemon and its commands; the test's own goes on as it does.
struct Clock {
    folder: Folder,
}

impl Clock {
    fn new() -> Self {
        let clock = Clock {
            folder: Folder::new(),
        };
        clock.set(0);
        clock
    }

    /// So many seconds from the true time.
    fn set(&self, seconds: i64) {
        let (new, file) = (self.folder.at("new"), self.folder.at("time"));
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, file).unwrap();
    }

    fn set_back_by_a_year(&self) {
        self.set(-(YEAR.as_secs() as i64));
    }

    /// faketime(1): the clock on the wall is the one in the file, and no other clock is touched.
    fn of(&self, builder: DaemonBuilder) -> DaemonBuilder {
        builder
            .env("LD_PRELOAD", library().to_str().unwrap())
            .env(
                "FAKETIME_TIMESTAMP_FILE",
                self.folder.at("time").to_str().unwrap(),
            )
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }
}

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap();
    let at = |folder: fs::DirEntry| folder.path().join("faketime/libfaketimeMT.so.1");
    let mut found = folders.map(|folder| at(folder.unwrap()));
    let found = found.find(|path| path.exists());
    found.expect("no libfaketime: install it (apt-get install libfaketime)")
}

fn a_year_ago() -> u64 {
    let now = SystemTime::now() - YEAR;
    now.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Whether a time is of the last minutes of the clock that is a year behind.
fn is_recent(at: u64) -> bool {
    let now = a_year_ago() + 1000;
    at <= now && now - at < MINUTES
}

fn history(daemon: &Daemon, name: &str) -> HistoryReport {
    let output = daemon.cli(&["history", name, "--json"]);
    assert_exit(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_clock_that_is_set_back_by_a_year_changes_no_length_and_no_delay() {
    // In the status, in the history and for a reload, which has tunnels try that have waited; the
    // session stays, and a new one is made when it breaks.
    let (clock, folder) = (Clock::new(), Folder::new());
    let mut bed = Bed::new();
    let delays =
        "reconnect = { initial = \"1s\", max = \"1h\", multiplier = 100.0, jitter = 0.0 }\n";
    let text = bed.db() + &dead_tunnel("gone", &folder.key()) + delays;
    let daemon = up(clock.of(builder().config(&text)));
    let waits = |t: &TunnelStatus| t.phase == Phase::Waiting && t.attempts >= 2;
    let tries = daemon.wait_for("gone", LONG, waits).attempts;
    clock.set_back_by_a_year();

    let db = daemon.tunnel("db");
    assert!(is_recent(db.since_unix_ms), "{db:#?}");
    assert!(is_recent(db.session.unwrap().since_unix_ms));
    let gone = daemon.tunnel("gone");
    assert!(is_recent(gone.since_unix_ms), "{gone:#?}");
    assert!(is_recent(gone.down_since_unix_ms.unwrap()), "{gone:#?}");
    let next = gone.retry_at_unix_ms.unwrap();
    let left = next.checked_sub(a_year_ago()).unwrap();
    assert!(left > 30_000 && left <= 100_000, "{gone:#?}");
    assert_has(&stdout(&daemon.cli(&["status"])), &["next try in 1m"]);
    for (name, entries) in [("db", 2), ("gone", 2)] {
        let report = history(&daemon, name);
        assert_eq!(report.entries.len(), entries, "{report:#?}");
        let lengths = report.entries.iter().map(|e| e.lasted_ms).sum::<u64>();
        assert!(lengths < MINUTES, "{report:#?}");
    }

    let tried = || {
        assert_exit(&daemon.reload(), 0);
        (daemon.tunnel("gone").attempts > tries).then_some(())
    };
    assert!(poll(LONG, tried).is_some(), "{:#?}", daemon.tunnel("gone"));
    let reload = daemon.status().last_reload.unwrap();
    assert!(is_recent(reload.at_unix_ms), "{reload:?}");
    echoes(bed.listen).unwrap();
    assert_eq!(daemon.tunnel("db").sessions, 1);
    bed.sshd.kill9();
    daemon.wait_for("db", LONG, |t| t.phase == Phase::Waiting);
    bed.sshd.restart();
    daemon.wait_phase("db", Phase::Up, LONG);
    // And back: what was told in the wrong time is as long ago as it was.
    clock.set(0);
    let since = daemon.tunnel("db").since_unix_ms;
    assert!(since > a_year_ago() + YEAR.as_millis() as u64 - MINUTES);
}

#[test]
fn a_daemon_that_starts_a_year_before_its_history_goes_on_with_it() {
    // Nothing is set aside, nothing is warned of, and lengths are what they were.
    let (clock, folder) = (Clock::new(), Folder::new());
    let bed = Bed::new();
    let state = format!("state_directory = {:?}", folder.at("state"));
    let text = bed.db() + &daemon_table(&state);
    let mut daemon = up(clock.of(builder().config(&text)));
    assert_eq!(daemon.terminate(LONG).code(), Some(0));
    clock.set_back_by_a_year();
    daemon.start_again();
    daemon.wait_phase("db", Phase::Up, LONG);
    echoes(bed.listen).unwrap();
    let both = || {
        let report = history(&daemon, "db");
        let ups = report.entries.iter().filter(|e| e.phase == Phase::Up);
        (ups.count() == 2).then_some(report)
    };
    let report = poll(LONG, both).expect("one of the runs is not in the history");
    let lengths = report.entries.iter().map(|e| e.lasted_ms).sum::<u64>();
    assert!(lengths < MINUTES, "{report:#?}");
    assert!(is_recent(daemon.tunnel("db").since_unix_ms));
    let log = daemon.log_text();
    assert!(!log.contains(" warn "), "{log}");
}
