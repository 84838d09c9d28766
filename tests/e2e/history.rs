//! The state directory, whatever it is like: a warning at most, and service goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use tunneld_core::history::HistoryReport;
use tunneld_core::status::Phase;
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::process::poll;

use crate::support::{Folder, LONG, assert_exit, assert_has, builder, daemon_table};
use crate::support::{dead_tunnel, stderr, stdout, tunneld};

/// A daemon that keeps its history in `state`, with tunnels whose servers are not there.
fn keeping(state: &Path, folder: &Folder, tunnels: &[&str]) -> DaemonBuilder {
    let daemon = daemon_table(&format!("state_directory = {state:?}"));
    let tunnels = tunnels.iter().map(|name| dead_tunnel(name, &folder.key()));
    builder().config(&(daemon + &tunnels.collect::<String>()))
}

fn history(daemon: &Daemon, name: &str) -> HistoryReport {
    let output = daemon.cli(&["history", name, "--json"]);
    assert_exit(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits for what is said of the history, and checks that it is said once, and all goes on.
fn warned_once(daemon: &Daemon, part: &str) {
    let line = daemon.wait_for_log("the history", LONG);
    assert_has(&line, &["warn", "cannot be kept in", part]);
    daemon.wait_phase("db", Phase::Waiting, LONG);
    assert_eq!(history(daemon, "db").entries[1].phase, Phase::Waiting);
    let lines = daemon.log();
    let said = lines.iter().filter(|line| line.contains("the history"));
    assert_eq!(said.count(), 1, "{lines:#?}");
}

#[test]
fn a_state_directory_that_is_not_there_is_made() {
    // With mode 0700, and the daemon's file in it with 0600.
    let folder = Folder::new();
    let state = folder.at("var/lib/state");
    let daemon = keeping(&state, &folder, &["db"]).start();
    let file = state.join("history/db.json");
    assert!(poll(LONG, || file.exists().then_some(())).is_some());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&file)), (0o700, 0o600));
    assert!(!daemon.log_text().contains("warn  the history"));
}

#[test]
fn a_state_directory_that_cannot_be_made_or_is_read_only_is_one_warning() {
    // A file in its place; a file system that is mounted read-only.
    let folder = Folder::new();
    let state = folder.at("state");
    fs::write(&state, "").unwrap();
    let daemon = keeping(&state, &folder, &["db"]).start();
    warned_once(
        &daemon,
        "state: not a directory; it is tried again every 30s",
    );
    drop(daemon);
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    let script = format!(
        "mount -t tmpfs -o ro tmpfs {} && exec \"$0\" \"$@\"",
        state.display()
    );
    let daemon = keeping(&state, &folder, &["db"])
        .prefix(&["unshare", "--mount", "sh", "-c", &script])
        .start();
    warned_once(&daemon, "state: read-only file system");
}

#[test]
fn a_full_disk_is_one_warning_and_leaves_no_rest() {
    // The daemon has a file system of 8 KiB, and something else is on it already.
    let folder = Folder::new();
    let state = folder.at("state");
    fs::create_dir(&state).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=8k tmpfs {at} && head -c 8192 /dev/zero > {at}/full; exec \"$0\" \"$@\"",
        at = state.display()
    );
    let daemon = keeping(&state, &folder, &["db"])
        .prefix(&["unshare", "--mount", "sh", "-c", &script])
        .start();
    warned_once(&daemon, "history: no space left on device");
    let seen = format!("/proc/{}/root{}/history", daemon.pid(), state.display());
    assert_eq!(fs::read_dir(seen).unwrap().count(), 0);
}

#[test]
fn corrupt_files_are_set_aside_each_with_a_warning() {
    // Garbage, a file that is too long, another version, a folder, a pipe: and the next run has none.
    let folder = Folder::new();
    let state = folder.at("state");
    fs::create_dir_all(state.join("history")).unwrap();
    let at = |name: &str| state.join("history").join(name);
    fs::write(at("garbage.json"), [0xff, 0, b'{']).unwrap();
    fs::write(at("garbage.json.bad"), "an older one").unwrap();
    fs::write(at("huge.json"), vec![b' '; 2 << 20]).unwrap();
    fs::write(at("newer.json"), "{\"version\": 2}").unwrap();
    fs::create_dir(at("folder.json")).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe.json"), kind, mode, 0).unwrap();
    let names = ["garbage", "huge", "newer", "folder", "pipe"];
    let mut daemon = keeping(&state, &folder, &names).start();
    for name in names {
        daemon.wait_phase(name, Phase::Waiting, LONG);
        let line = daemon.wait_for_log(&format!("{name}.json cannot be used: "), LONG);
        assert_has(
            &line,
            &[
                "warn",
                &format!("it is now {}", at(&format!("{name}.json.bad")).display()),
            ],
        );
        let kept = || at(&format!("{name}.json")).is_file().then_some(());
        assert!(poll(LONG, kept).is_some(), "{name}");
        assert_eq!(history(&daemon, name).entries[1].phase, Phase::Waiting);
    }
    assert_eq!(fs::read(at("garbage.json.bad")).unwrap(), [0xff, 0, b'{']);
    daemon.terminate(LONG);
    let mark = daemon.log_mark();
    daemon.start_again();
    let told = || (history(&daemon, "pipe").entries.len() > 3).then_some(());
    assert!(
        poll(LONG, told).is_some(),
        "{:#?}",
        history(&daemon, "pipe")
    );
    let log = daemon.log();
    assert!(
        !log[mark..]
            .iter()
            .any(|line| line.contains("cannot be used")),
        "{log:#?}"
    );
}

#[test]
fn many_tunnels_are_written_a_few_at_a_time() {
    // Two hundred at once: at most 64 files in a second, and all of them in the end.
    let folder = Folder::new();
    let state = folder.at("state");
    let names: Vec<String> = (0..200).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let _daemon = keeping(&state, &folder, &names).start();
    let files = || {
        let entries = fs::read_dir(state.join("history")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| !name.as_encoded_bytes().starts_with(b"."))
            .count()
    };
    let first = poll(LONG, || (files() > 0).then(Instant::now)).unwrap();
    let all = poll(LONG, || {
        let (now, written) = (first.elapsed().as_secs() as usize, files());
        assert!(written <= 64 * (now + 2), "{written} after {now}s");
        (written == 200).then_some(())
    });
    assert!(all.is_some(), "{}", files());
}

#[test]
fn two_daemons_with_one_state_directory_corrupt_nothing() {
    // The last one that writes wins, and a third finds what it can use.
    let folder = Folder::new();
    let state = folder.at("state");
    let mut daemons = [(); 2].map(|()| keeping(&state, &folder, &["db"]).start());
    for daemon in &mut daemons {
        daemon.wait_phase("db", Phase::Waiting, LONG);
        daemon.terminate(LONG);
    }
    let daemon = keeping(&state, &folder, &["db"]).start();
    let told = || {
        let report = history(&daemon, "db");
        report
            .entries
            .iter()
            .any(|e| e.phase == Phase::Idle)
            .then_some(())
    };
    assert!(poll(LONG, told).is_some());
    assert!(!daemon.log_text().contains("cannot be used"));
}

#[test]
fn a_name_that_does_not_exist_and_a_daemon_that_does_not_run_are_told() {
    // Exit codes 1 and 4, in the words of the other commands, and nothing on stdout.
    let folder = Folder::new();
    let daemon = builder().config(&dead_tunnel("db", &folder.key())).start();
    for (name, shown) in [("bd", "bd"), ("a/../b", "a/../b"), ("", "")] {
        let output = daemon.cli(&["history", name]);
        assert_exit(&output, 1);
        let said = format!("error: no tunnel `{shown}`; there are: db\n");
        assert_eq!((stdout(&output).as_str(), stderr(&output)), ("", said));
    }
    let socket = folder.at("none.sock").display().to_string();
    let output = tunneld(&["history", "db", "--socket", &socket]);
    assert_exit(&output, 4);
    assert_has(
        &stderr(&output),
        &["error: no daemon on ", "hint: is it running?"],
    );
    assert_eq!(stdout(&output), "");
}
