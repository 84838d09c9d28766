//! `tunneld status --watch`: what changes is seen as it happens, and the terminal is as before.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use tunneld_core::status::{DaemonStatus, Phase};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::http::over_unix;
use tunneld_lab::process::{LineLog, Signal, poll, signal, stat};
use tunneld_lab::terminal::Terminal;

use crate::control_clients::connect;
use crate::support::{Bed, Folder, LONG, assert_exit, assert_has, binary, command, stderr, stdout};
use crate::support::{builder, dead_tunnel, up, within};

const QUICK: &str = "reconnect = { initial = \"50ms\", max = \"100ms\" }\n";

fn watching(daemon: &Daemon, more: &[&str]) -> Command {
    let mut command = command("setsid");
    command
        .arg("--ctty")
        .arg(binary())
        .args(["status", "--watch", "--socket"]);
    command
        .arg(daemon.socket())
        .args(more)
        .env("LC_ALL", "C.UTF-8");
    command
}

/// What was drawn last.
fn frame(terminal: &Terminal) -> String {
    let screen = terminal.screen();
    let last = screen.rsplit("\x1b[H").next().unwrap_or_default();
    last.to_owned()
}

#[track_caller]
fn wait_for_frame(terminal: &Terminal, what: &str, wanted: impl Fn(&str) -> bool) {
    let seen = poll(LONG, || wanted(&frame(terminal)).then_some(()));
    assert!(seen.is_some(), "no {what} in {:?}", frame(terminal));
}

/// A page without its colours.
fn bare(page: &str) -> String {
    let parts = page.split('\x1b');
    let first = |at: usize, part: &str| match at {
        0 => part.to_owned(),
        _ => part
            .split_once(['m', 'K', 'J'])
            .map_or("", |(_, rest)| rest)
            .to_owned(),
    };
    parts
        .enumerate()
        .map(|(at, part)| first(at, part))
        .collect()
}

#[test]
fn changes_are_drawn_and_ctrl_c_gives_the_terminal_back() {
    // Up, down, up again, through a restart of the daemon; then 0, the cursor, and the old screen.
    let mut bed = Bed::new();
    let mut daemon = up(builder().config(&(bed.db() + QUICK)));
    let mut terminal = Terminal::run(watching(&daemon, &[]));
    wait_for_frame(&terminal, "up", |f| bare(f).contains("db  up "));
    bed.sshd.kill9();
    wait_for_frame(&terminal, "down", |f| bare(f).contains("db  waiting "));
    bed.sshd.restart();
    wait_for_frame(&terminal, "up again", |f| bare(f).contains("db  up "));
    daemon.kill9();
    wait_for_frame(&terminal, "absence", |f| {
        f.contains("no daemon on") && f.contains("waiting for it")
    });
    daemon.start_again();
    wait_for_frame(&terminal, "the new one", |f| bare(f).contains("db  up "));
    terminal.press(b"\x03");
    let (status, screen) = terminal.wait_exit(LONG);
    assert_eq!(status.code(), Some(0), "{screen}");
    assert!(screen.starts_with("\x1b[?1049h\x1b[?25l"), "{screen:?}");
    assert!(screen.ends_with("\x1b[?25h\x1b[?1049l"), "{screen:?}");
    for pair in [["\x1b[?1049h", "\x1b[?1049l"], ["\x1b[?25l", "\x1b[?25h"]] {
        assert_eq!(pair.map(|part| screen.matches(part).count()), [1, 1]);
    }
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_for_that_time() {
    // The old screen and the cursor are back while it sleeps; then it draws again.
    let bed = Bed::new();
    let daemon = bed.up();
    let mut terminal = Terminal::run(watching(&daemon, &[]));
    wait_for_frame(&terminal, "up", |f| bare(f).contains("db  up "));
    terminal.press(b"\x1a");
    wait_for_frame(&terminal, "the old screen", |f| {
        f.ends_with("\x1b[?25h\x1b[?1049l")
    });
    sleeps(&terminal);
    signal(terminal.pid(), Signal::CONT);
    wait_for_frame(&terminal, "up again", |f| {
        bare(f).contains("db  up ") && !f.contains("1049l")
    });
    terminal.press(b"\x03");
    assert_eq!(terminal.wait_exit(LONG).0.code(), Some(0));
}

#[test]
fn q_ends_it_and_the_keyboard_is_as_before() {
    // Keys are not shown while it runs; stty(1) finds every mode as it was, also while it sleeps.
    let bed = Bed::new();
    let daemon = bed.up();
    let script = "stty -g; \"$0\" status --watch --socket \"$1\"; echo \"ended $?\"; stty -g";
    let mut shell = command("setsid");
    shell.args(["--ctty", "sh", "-c", script]);
    shell.arg(binary()).arg(daemon.socket());
    let mut terminal = Terminal::run(shell);
    wait_for_frame(&terminal, "up", |f| bare(f).contains("db  up "));
    terminal.press(b"xyz");
    terminal.press(b"q");
    let (status, screen) = terminal.wait_exit(LONG);
    assert_eq!(status.code(), Some(0), "{screen:?}");
    assert!(!screen.contains("xyz"), "{screen:?}");
    let (before, _) = screen.split_once("\n\x1b[?1049h").unwrap();
    let (_, after) = screen.rsplit_once("\x1b[?1049l").unwrap();
    assert_eq!(after, format!("ended 0\n{before}\n"), "{screen:?}");
}

#[test]
fn the_keyboard_is_given_back_with_ctrl_z_and_taken_again() {
    // What is typed is seen while it sleeps; after SIGCONT `q` ends it.
    let bed = Bed::new();
    let daemon = bed.up();
    let mut terminal = Terminal::run(watching(&daemon, &[]));
    wait_for_frame(&terminal, "up", |f| bare(f).contains("db  up "));
    terminal.press(b"\x1a");
    sleeps(&terminal);
    terminal.type_line("typed");
    terminal.wait_for("typed", LONG);
    signal(terminal.pid(), Signal::CONT);
    wait_for_frame(&terminal, "up again", |f| {
        bare(f).contains("db  up ") && !f.contains("1049l")
    });
    terminal.press(b"q");
    assert_eq!(terminal.wait_exit(LONG).0.code(), Some(0));
}

#[test]
fn a_broken_tunnel_is_on_the_screen_however_many_are_well() {
    // The last one by name is blocked: line 1 counts it, and it comes before those that are up.
    let bed = Bed::new();
    let folder = Folder::new();
    let daemon = up(builder().config(&(bed.db() + &dead_tunnel("zz", &folder.key()))));
    let terminal = Terminal::run(watching(&daemon, &[]));
    terminal.resize(80, 6);
    wait_for_frame(&terminal, "zz before db", |f| {
        let page = bare(f);
        let at = |name: &str| page.lines().position(|line| line.starts_with(name));
        page.starts_with("1 of 2 up, 1 waiting") && at("zz  waiting ") < at("db  up ")
    });
}

/// Waits until what runs there is stopped, `T` in ps(1).
#[track_caller]
fn sleeps(terminal: &Terminal) {
    let state = || stat(terminal.pid(), 0);
    let asleep = || (state().as_deref() == Some("T")).then_some(());
    assert!(poll(LONG, asleep).is_some(), "{:?}", state());
}

#[test]
fn another_size_is_another_page() {
    // Drawn again at once, no line wider than the terminal and no more of them than it has.
    let bed = Bed::new();
    let daemon = bed.up();
    let terminal = Terminal::run(watching(&daemon, &[]));
    terminal.resize(120, 30);
    let whole = format!(
        "{} ─▶ {} ─▶ {}  no connections yet",
        bed.listen,
        bed.sshd.host(),
        bed.echo.addr()
    );
    wait_for_frame(&terminal, "a line", |f| bare(f).contains(&whole));
    terminal.resize(20, 2);
    wait_for_frame(&terminal, "short lines", |f| {
        let page = bare(f);
        let fits = page.lines().all(|line| line.chars().count() <= 20);
        fits && page.lines().count() == 2 && page.contains("more lines")
    });
    // Ended by a signal it leaves nothing behind either.
    signal(terminal.pid(), Signal::TERM);
    let (status, screen) = terminal.wait_exit(LONG);
    assert_eq!(status.code(), Some(0));
    assert!(screen.ends_with("\x1b[?25h\x1b[?1049l"), "{screen:?}");
}

#[test]
fn a_pipe_gets_each_change_as_a_page_or_as_a_line_of_json() {
    // Pages with an empty line between them; with --json, an object a line.
    let mut bed = Bed::new();
    let daemon = up(builder().config(&(bed.db() + QUICK)));
    let watch = |more: &[&str]| {
        let mut command = command(binary());
        command
            .args(["status", "--watch", "--socket"])
            .arg(daemon.socket())
            .args(more);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let (mut pages, mut json) = (watch(&[]), watch(&["--json", "db"]));
    let log = LineLog::default();
    log.follow(pages.stdout.take().unwrap());
    assert!(log.wait_for_line(0, "db  up ", LONG).is_some());
    let mut lines = BufReader::new(json.stdout.take().unwrap()).lines();
    let mut next =
        || serde_json::from_str::<DaemonStatus>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next().tunnels[0].phase, Phase::Up);
    bed.sshd.kill9();
    while next().tunnels[0].phase != Phase::Waiting {}
    assert!(log.wait_for_line(0, "db  waiting ", LONG).is_some());
    let lines = log.lines();
    assert!(!lines[0].is_empty() && lines[2].is_empty(), "{lines:#?}");
    assert!(!log.text().contains('\x1b'));
    for child in [&mut pages, &mut json] {
        signal(child.id(), Signal::INT);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_terminal_that_can_do_nothing_gets_page_after_page() {
    // TERM=dumb: each change as for a pipe, with no control sequence; Ctrl-C ends it.
    let mut bed = Bed::new();
    let daemon = up(builder().config(&(bed.db() + QUICK)));
    let mut command = watching(&daemon, &[]);
    command.env("TERM", "dumb");
    let mut terminal = Terminal::run(command);
    terminal.wait_for("db  up ", LONG);
    bed.sshd.kill9();
    terminal.wait_for("db  waiting ", LONG);
    terminal.press(b"\x03");
    let (status, screen) = terminal.wait_exit(LONG);
    assert_eq!(status.code(), Some(0), "{screen}");
    assert!(!screen.contains('\x1b'), "{screen:?}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    // `--watch | head -1` returns although nothing changes any more, without a word.
    let bed = Bed::new();
    let daemon = bed.up();
    let line = "set -o pipefail; \"$0\" status --watch --socket \"$1\" | head -1";
    let mut shell = command("bash");
    shell.args(["-c", line]).arg(binary()).arg(daemon.socket());
    let output = within(&mut shell, LONG);
    assert_exit(&output, 0);
    assert_has(&stdout(&output), &["db  up "]);
    assert_eq!(
        (stdout(&output).lines().count(), stderr(&output).as_str()),
        (1, "")
    );
}

#[test]
fn a_name_that_does_not_exist_is_not_watched() {
    // 1, and the names that exist; on the screen that was there before.
    let bed = Bed::new();
    let daemon = bed.up();
    let (status, screen) = Terminal::run(watching(&daemon, &["bd"])).wait_exit(LONG);
    assert_eq!(status.code(), Some(1));
    let said = screen.rsplit("\x1b[?1049l").next().unwrap();
    assert_eq!(said, "error: no tunnel `bd`; there are: db\n");
}

#[test]
fn a_tunnel_that_is_taken_out_of_the_file_is_not_shown_any_more() {
    // On a terminal the page makes room for that; elsewhere it is said once. It may come back.
    let bed = Bed::new();
    let folder = Folder::new();
    let (db, other) = (bed.db(), dead_tunnel("other", &folder.key()));
    let daemon = up(builder().config(&db));
    let terminal = Terminal::run(watching(&daemon, &["db"]));
    let mut command = command(binary());
    command.args(["status", "--watch", "db", "--socket"]);
    command.arg(daemon.socket());
    let mut pages = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (out, err) = (LineLog::default(), LineLog::default());
    out.follow(pages.stdout.take().unwrap());
    err.follow(pages.stderr.take().unwrap());
    wait_for_frame(&terminal, "up", |f| bare(f).contains("db  up "));
    assert!(out.wait_for_line(0, "db  up ", LONG).is_some());
    daemon.write_config(&other);
    assert_exit(&daemon.reload(), 0);
    let gone = "tunnel `db` is not in the configuration any more; waiting for it";
    let is_gone = |f: &str| bare(f).contains(gone) && !bare(f).contains("db  up ");
    wait_for_frame(&terminal, "loss", is_gone);
    assert!(err.wait_for_line(0, gone, LONG).is_some());
    // Drawn anew, it is gone still.
    terminal.resize(100, 30);
    let frames = || terminal.screen().matches("\x1b[H").count();
    let before = frames();
    assert!(poll(LONG, || (frames() > before + 1).then_some(())).is_some());
    assert!(is_gone(&frame(&terminal)), "{:?}", frame(&terminal));
    // Another change that is not about it.
    daemon.write_config(&other.replace("tunnels.other", "tunnels.another"));
    assert_exit(&daemon.reload(), 0);
    daemon.write_config(&db);
    assert_exit(&daemon.reload(), 0);
    wait_for_frame(&terminal, "up again", |f| bare(f).contains("db  up "));
    let again = || {
        let ups = out
            .lines()
            .iter()
            .filter(|l| l.starts_with("db  up "))
            .count();
        (ups >= 2).then_some(())
    };
    assert!(poll(LONG, again).is_some(), "{}", out.text());
    assert_eq!(err.lines(), [gone]);
    signal(pages.id(), Signal::INT);
    assert_eq!(pages.wait().unwrap().code(), Some(0));
}

#[test]
fn the_stream_of_events_has_so_many_places() {
    // 64 follow; the next one is told so, and `status` goes on; a place that is given up is free.
    let bed = Bed::new();
    let daemon = bed.up();
    // Whether the first event comes; the place is held as long as the stream.
    let follow = || {
        let mut stream = connect(&daemon);
        let request = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
        let is_told =
            lines.next().unwrap().contains(" 200 ") && lines.any(|line| line == "event: status");
        (stream, is_told)
    };
    let followers: Vec<_> = (0..64).map(|_| follow()).collect();
    assert!(followers.iter().all(|(_, is_told)| *is_told));
    let refused = over_unix(daemon.socket(), "GET /v1/events", &[]);
    assert_eq!(refused.json()["kind"], "busy");
    assert_exit(&daemon.cli(&["status"]), 0);
    drop(followers);
    let free = || follow().1.then_some(());
    assert!(poll(Duration::from_secs(30), free).is_some());
}
