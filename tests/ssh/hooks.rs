//! `on_up` and `on_down`: programs are told what becomes of a tunnel, and never hold it up.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tunneld_core::events;
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{Signal, descendants, poll, printed, stat};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::program::array;
use crate::support::{LONG, NEVER, Rig, Table, carried, daemon, exchange, pass, text, up};

/// A program that writes a line each time: what it was called with, and what it was told.
struct Witness {
    dir: TempDir,
}

impl Witness {
    fn new() -> Self {
        let witness = Witness {
            dir: tempfile::tempdir().unwrap(),
        };
        let line = "$1 $TUNNELD_PREVIOUS_STATE>$TUNNELD_STATE $TUNNELD_STAGE $TUNNELD_CLASS";
        witness.script(
            "note",
            &format!("echo \"{line}\" >>{}", witness.seen().display()),
        );
        witness
    }

    fn seen(&self) -> PathBuf {
        self.dir.path().join("seen")
    }

    /// Writes a script and returns its path.
    fn script(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// An array of the program and one word.
    fn note(&self, word: &str) -> String {
        array([&*self.dir.path().join("note").to_string_lossy(), word])
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.seen()).unwrap_or_default();
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// Waits for this many lines.
    #[track_caller]
    fn wait(&self, count: usize) -> Vec<String> {
        let there = poll(LONG, || (self.lines().len() >= count).then(|| self.lines()));
        there.unwrap_or_else(|| panic!("not {count} lines: {:?}", self.lines()))
    }
}

/// `on_up` and `on_down` that are witnessed.
fn witnessed(table: Table, witness: &Witness) -> Table {
    table
        .set("on_up", witness.note("up"))
        .set("on_down", witness.note("down"))
}

/// A hook that is a line for the shell, and how long it may take.
fn shell(line: &str, timeout: &str) -> String {
    let command = array(["/bin/sh", "-c", line]);
    format!("{{ command = {command}, timeout = \"{timeout}\" }}")
}

#[track_caller]
fn none_left(daemon: &Daemon) {
    let none = poll(LONG, || descendants(daemon.pid()).is_empty().then_some(()));
    assert!(none.is_some(), "{:?}", descendants(daemon.pid()));
}

#[test]
fn programs_are_told_when_a_tunnel_is_up_and_when_it_is_no_more() {
    // With the state that it left and the one that it came to, and why.
    let witness = Witness::new();
    let rig = Rig::new(|t| witnessed(t, &witness));
    assert_eq!(witness.wait(1), ["up connecting>up"]);
    rig.sshd.kill_sessions();
    let seen = witness.wait(3);
    assert_eq!(
        &seen[1..],
        ["down up>waiting session transient", "up connecting>up"]
    );
    assert!(rig.daemon.cli(&["stop", "t"]).status.success());
    assert_eq!(witness.wait(4)[3], "down up>stopped");
    assert!(rig.daemon.cli(&["start", "t"]).status.success());
    assert_eq!(witness.wait(5)[4], "up connecting>up");
}

#[test]
fn a_forward_that_is_not_in_place_takes_the_tunnel_out_of_up() {
    // The session stays; the program is told `degraded`, and `up` when it is mended.
    let witness = Witness::new();
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let table = witnessed(Table::to(&sshd).forward(listen, echo.addr()), &witness);
    let daemon = table.up();
    witness.wait(1);
    let taken = echo.addr();
    daemon.write_config(&table.clone().forward(taken, echo.addr()).toml());
    assert!(daemon.reload().status.success());
    assert_eq!(witness.wait(2)[1], "down up>degraded forward transient");
    daemon.write_config(&table.toml());
    assert!(daemon.reload().status.success());
    assert_eq!(witness.wait(3)[2], "up degraded>up");
    // One that can be put in place is no news.
    daemon.write_config(&table.clone().forward(free_addr(), echo.addr()).toml());
    assert!(daemon.reload().status.success());
    assert!(daemon.cli(&["stop", "t"]).status.success());
    assert_eq!(witness.wait(4)[3], "down up>stopped");
    assert_eq!(daemon.tunnel("t").sessions, 1);
}

#[test]
fn the_environment_is_what_is_documented_and_nothing_else() {
    // No secret, no socket of the service manager, no agent; `/` as folder, nothing on standard
    // input, no descriptor of ours, a process group of its own.
    let witness = Witness::new();
    let dir = witness.dir.path();
    let facts = witness.script(
        "facts",
        &format!(
            "cd {}
             tr '\\0' '\\n' </proc/$$/environ >environ
             readlink /proc/$$/fd/0 >new
             for n in $(seq 0 30); do [ -e /proc/$$/fd/$n ] && fds=\"$fds $n\"; done
             echo $fds >>new
             cut -d ' ' -f 5 /proc/$$/stat >>new
             echo $$ >>new
             echo \"$OLDPWD\" >>new
             mv new told",
            dir.display()
        ),
    );
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let table = Table::to(&sshd).forward(listen, echo.addr());
    // What this test was given by whoever started it is not the daemon's own.
    let close = "for fd in /proc/$$/fd/*; do n=${fd##*/}
                 [ $n -le 2 ] || eval \"exec $n>&-\"; done; exec \"$0\" \"$@\"";
    let daemon = daemon()
        .prefix(&["bash", "-c", close])
        .config(&table.set("on_up", text(facts)).toml())
        .env("CREDENTIALS_DIRECTORY", "/run/credentials/x")
        .env("SSH_AUTH_SOCK", "/run/agent")
        .env("WATCHDOG_USEC", "60000000")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .env("INVOCATION_ID", "x")
        .env("DB_PASSWORD", "hunter2")
        .env("LANG", "C.UTF-8")
        .notify()
        .start();
    let began = up(&daemon, "t").since_unix_ms / 1000;
    let facts = poll(LONG, || fs::read_to_string(dir.join("told")).ok()).unwrap();
    let environ = fs::read_to_string(dir.join("environ")).unwrap();
    let mut names: Vec<_> = environ.lines().filter_map(|l| l.split_once('=')).collect();
    names.sort_unstable();
    let (path, peer) = (std::env::var("PATH").unwrap(), sshd.addr().to_string());
    let (home, config) = (daemon.dir().display(), daemon.config_path().display());
    let (home, config, since) = (home.to_string(), config.to_string(), began.to_string());
    let expected = [
        ("HOME", home.as_str()),
        ("LANG", "C.UTF-8"),
        ("PATH", &path),
        ("TUNNELD_CAUSE", ""),
        ("TUNNELD_CLASS", ""),
        ("TUNNELD_CONFIG", &config),
        ("TUNNELD_HOST", &peer),
        ("TUNNELD_NAME", "t"),
        ("TUNNELD_PEER", &peer),
        ("TUNNELD_PREVIOUS_STATE", "connecting"),
        ("TUNNELD_SINCE", &since),
        ("TUNNELD_STAGE", ""),
        ("TUNNELD_STATE", "up"),
    ];
    assert_eq!(names, expected);
    let facts: Vec<&str> = facts.lines().map(str::trim).collect();
    // 10 is the script itself, which the shell has open.
    assert_eq!(&facts[..2], ["/dev/null", "0 1 2 10"]);
    assert_eq!(facts[2], facts[3], "its group is its own");
    assert_eq!(facts[4], "/");
}

#[test]
fn a_program_that_hangs_is_killed_in_its_time_and_holds_nobody_up() {
    // With what it has started, and though it does not listen to SIGTERM.
    let line = "trap '' TERM; sleep 1000 & echo here; wait; wait";
    let rig = Rig::new(|t| t.set("on_up", shell(line, "3s")));
    rig.daemon.wait_for_log("on_up: here", LONG);
    let began = Instant::now();
    assert_eq!(descendants(rig.daemon.pid()).len(), 2);
    // Meanwhile:
    echoes(rig.listen).unwrap();
    assert_eq!(rig.status().phase, Phase::Up);
    let said = "on_up did not end within 3s and was killed";
    rig.daemon.wait_for_log(said, LONG);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    none_left(&rig.daemon);
}

#[test]
fn what_a_program_leaves_behind_ends_with_it() {
    // Its output, too, does not stay open.
    let rig = Rig::new(|t| t.set("on_up", shell("sleep 1000 & echo done", "1m")));
    rig.daemon.wait_for_log("on_up: done", LONG);
    none_left(&rig.daemon);
}

#[test]
fn a_flood_of_output_is_cut_off() {
    // Each line at 1024 characters, a run at a hundred lines; the rest is counted.
    let line = "head -c 5000 /dev/zero | tr '\\\\0' x; echo; seq 2 5000 >&2";
    let rig = Rig::new(|t| t.set("on_up", shell(line, "1m")));
    rig.daemon.wait_for_log("on_up exited with status 0", LONG);
    let log = rig.daemon.log();
    let lines = log.iter().filter_map(|l| l.split_once(" on_up: "));
    let lines: Vec<&str> = lines.map(|(_, line)| line).collect();
    assert_eq!(lines.len(), 101, "{lines:#?}");
    let cut = format!("{}…", "x".repeat(1024));
    assert!(
        lines[0].starts_with(&cut) && lines[0].len() < 1100,
        "{}",
        lines[0]
    );
    assert!(lines[1].starts_with("2 "), "{}", lines[1]);
    assert!(lines[99].starts_with("100 "), "{}", lines[99]);
    let last = "4900 more lines are left out ";
    assert!(lines[100].starts_with(last), "{}", lines[100]);
}

#[test]
fn a_program_that_never_stops_writing_takes_no_processor() {
    // What is beyond the bound is counted and not looked at, and the program waits.
    let rig = Rig::new(|t| t.set("on_up", shell("exec yes", "3s")));
    let before = processor(rig.daemon.pid());
    let said = rig.daemon.wait_for_log("more lines are left out", LONG);
    let took = processor(rig.daemon.pid()) - before;
    assert!(took < Duration::from_secs(1), "{took:?}: {said}");
    rig.daemon.wait_for_log("on_up did not end within 3s", LONG);
}

/// The time that a process has had on processors: the 14th and 15th field of proc_pid_stat(5), in
/// hundredths of a second.
fn processor(pid: u32) -> Duration {
    let field = |n| stat(pid, n).unwrap().parse::<u64>().unwrap();
    let hundredths = field(11) + field(12);
    Duration::from_millis(10 * hundredths)
}

#[test]
fn a_tunnel_that_flaps_has_one_program_at_a_time_and_in_their_order() {
    // What happens while one runs is remembered as the latest only.
    let witness = Witness::new();
    let slow = witness.script(
        "slow",
        &format!(
            "cd {}; mkdir lock || echo overlap >>seen
             sleep 0.3; echo \"$1\" >>seen; rmdir lock",
            witness.dir.path().display()
        ),
    );
    let rig = Rig::new(|t| {
        t.set("on_up", array([slow.as_str(), "up"]))
            .set("on_down", array([slow.as_str(), "down"]))
            .set(
                "reconnect",
                r#"{ initial = "10ms", max = "10ms", jitter = 0.0 }"#,
            )
    });
    for n in 1..=12 {
        rig.sshd.kill_sessions();
        let again = |t: &TunnelStatus| t.sessions > n && t.phase == Phase::Up;
        rig.daemon.wait_for("t", LONG, again);
    }
    // The last word is that it is up.
    let settled = || {
        let lines = witness.lines();
        let last = lines.last().is_some_and(|line| line == "up");
        (last && descendants(rig.daemon.pid()).is_empty()).then_some(lines)
    };
    let lines = poll(LONG, settled).unwrap_or_else(|| panic!("{:?}", witness.lines()));
    let expected = ["up", "down"].into_iter().cycle().take(lines.len());
    assert_eq!(lines, expected.collect::<Vec<_>>());
}

#[test]
fn a_reload_takes_another_program_and_leaves_the_session() {
    // From the next change on, and not for what the tunnel is already.
    let (witness, other) = (Witness::new(), Witness::new());
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let table = Table::to(&sshd).forward(listen, echo.addr());
    let daemon = table.clone().set("on_up", witness.note("up")).up();
    witness.wait(1);
    let mut client = carried(listen);
    daemon.write_config(&witnessed(table, &other).toml());
    let reload = daemon.reload();
    assert!(printed(&reload).contains("adjust"), "{}", printed(&reload));
    exchange(&mut client, b"y");
    assert_eq!(daemon.tunnel("t").sessions, 1);
    drop(client);
    assert!(daemon.cli(&["stop", "t"]).status.success());
    assert_eq!(other.wait(1), ["down up>stopped"]);
    assert_eq!(witness.lines(), ["up connecting>up"]);
}

#[test]
fn a_reload_with_a_program_that_is_not_there_changes_nothing() {
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let table = Table::to(&sshd).forward(listen, echo.addr());
    let daemon = table.up();
    daemon.write_config(&table.set("on_down", text("/nowhere/x")).toml());
    let reload = daemon.reload();
    assert_eq!(reload.status.code(), Some(78), "{}", printed(&reload));
    let said = "cannot run /nowhere/x: no such file or directory";
    assert!(printed(&reload).contains(said), "{}", printed(&reload));
}

#[test]
fn a_program_that_fails_is_a_warning_with_its_fields() {
    // Its status, the signal that killed it, or why it could not be started.
    let witness = Witness::new();
    let gone = witness.script("gone", "exit 0");
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let table = Table::to(&sshd).forward(listen, echo.addr());
    let table = table
        .set("on_up", shell("echo oops >&2; exit 3", "1m"))
        .set("on_down", text(&gone));
    let daemon = daemon()
        .config(&table.toml())
        .args(&["--log-format", "json"])
        .start();
    up(&daemon, "t");
    let line = daemon.wait_for_log("on_up exited with status 3", LONG);
    let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    let fields = [
        ("level", "WARN"),
        ("tunnel", "t"),
        ("hook", "on_up"),
        ("program", "/bin/sh"),
        ("cause", "exited with status 3"),
        ("message_id", events::HOOK_FAILED),
    ];
    for (name, value) in fields {
        assert_eq!(entry[name], value, "{line}");
    }
    let line = daemon.wait_for_log("on_up: oops", LONG);
    let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (name, value) in [("level", "INFO"), ("tunnel", "t"), ("hook", "on_up")] {
        assert_eq!(entry[name], value, "{line}");
    }
    fs::remove_file(&gone).unwrap();
    assert!(daemon.cli(&["stop", "t"]).status.success());
    let said = "on_down cannot be started: no such file or directory";
    daemon.wait_for_log(said, LONG);
    assert_eq!(daemon.tunnel("t").phase, Phase::Stopped);
}

#[test]
fn a_script_that_does_not_say_what_runs_it_is_told_with_what_it_lacks() {
    // It works in the shell of whoever wrote it.
    let witness = Witness::new();
    let script = witness.script("bare", "exit 0");
    fs::write(&script, "exit 0\n").unwrap();
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let table = Table::to(&sshd).forward(listen, echo.addr());
    let daemon = table.set("on_up", text(&script)).up();
    let line = daemon.wait_for_log("on_up cannot be started: exec format error", LONG);
    let hint = daemon.wait_for_log("the program has no `#!` line", LONG);
    assert!(hint.contains("begins with `#!/bin/sh`"), "{line}\n{hint}");
    assert_eq!(daemon.tunnel("t").phase, Phase::Up);
}

#[test]
fn the_end_of_the_daemon_is_told_and_waits_for_the_program() {
    // Also that of a tunnel that a reload takes away. systemd is asked for the time.
    let witness = Witness::new();
    let slow = witness.script(
        "slow",
        &format!(
            "sleep 0.5; echo $TUNNELD_STATE >>{}",
            witness.seen().display()
        ),
    );
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let table = |name| {
        let table = Table::to(&sshd).forward(free_addr(), echo.addr());
        table.named(name).set("on_down", text(&slow))
    };
    let (kept, removed) = (table("kept").toml(), table("removed").toml());
    let mut daemon = daemon()
        .config(&format!("{kept}{removed}"))
        .notify()
        .start();
    up(&daemon, "kept");
    up(&daemon, "removed");
    daemon.write_config(&kept);
    assert!(daemon.reload().status.success());
    assert_eq!(witness.wait(1), ["stopped"]);
    assert!(daemon.terminate(LONG).success());
    assert_eq!(witness.lines(), ["stopped", "stopped"]);
    let sent = daemon.notifications();
    let extended = sent.iter().find_map(|n| n.get("EXTEND_TIMEOUT_USEC"));
    // drain_timeout; the program's timeout, until SIGKILL, until it is gone and its last words are
    // read; and a margin.
    let needed = Duration::from_millis(10_000 + 30_000 + 2000 + 1000 + 250 + 5000);
    let needed = needed.as_micros().to_string();
    assert_eq!(extended, Some(needed.as_str()));
}

#[test]
fn a_program_that_hangs_at_the_end_of_the_daemon_is_told_as_what_it_is() {
    // Its own end comes before the daemon's patience is over.
    let hang = shell("trap '' TERM; echo here; sleep 1000", "1s");
    let mut rig = Rig::new(|t| t.set("on_down", hang));
    assert!(rig.daemon.terminate(LONG).success());
    let said = "on_down did not end within 1s and was killed";
    let log = rig.daemon.log_text();
    assert!(log.contains(said), "{log}");
    assert!(!log.contains("does not wait"), "{log}");
}

#[test]
fn a_second_signal_waits_for_no_program() {
    let witness = Witness::new();
    let hang = shell("trap '' TERM; echo here; sleep 1000", "1h");
    let mut rig = Rig::new(|t| t.set("on_up", witness.note("up")).set("on_down", hang));
    witness.wait(1);
    rig.daemon.signal(Signal::TERM);
    rig.daemon.wait_for_log("on_down: here", LONG);
    let pids = descendants(rig.daemon.pid());
    let began = Instant::now();
    assert!(rig.daemon.terminate(LONG).success());
    assert!(began.elapsed() < Duration::from_secs(5));
    let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
    let gone = poll(LONG, || pids.iter().all(gone).then_some(()));
    assert!(gone.is_some(), "{pids:?}");
}

#[test]
fn a_tunnel_whose_task_dies_is_told_as_down() {
    // In its order before what the next task has to tell.
    let witness = Witness::new();
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let table = witnessed(Table::to(&sshd).forward(listen, echo.addr()), &witness);
    let daemon = daemon()
        .config(&table.toml())
        .env("TUNNELD_INJECT", "panic-on-retry:t")
        .start();
    up(&daemon, "t");
    witness.wait(1);
    daemon.signal(Signal::USR1);
    assert_eq!(
        witness.wait(3),
        [
            "up connecting>up",
            "down up>waiting session transient",
            "up connecting>up"
        ]
    );
}

#[test]
fn a_tunnel_that_never_comes_up_starts_nothing() {
    let witness = Witness::new();
    let (sshd, listen) = (Sshd::start(), free_addr());
    let table = witnessed(Table::to(&sshd).forward(listen, listen), &witness);
    let table = table
        .set("port", free_addr().port())
        .set("reconnect", NEVER);
    let mut daemon = table.start();
    daemon.wait_phase("t", Phase::Waiting, LONG);
    assert!(daemon.terminate(LONG).success());
    pass(Duration::from_millis(100));
    assert!(witness.lines().is_empty(), "{:?}", witness.lines());
}
