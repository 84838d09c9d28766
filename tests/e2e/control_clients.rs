//! Clients of the control socket that do harm, by design or not: others are served all the same, and
//! what is asked in a wrong way is answered with a kind that programs understand.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::http::over_unix;
use tunneld_lab::process::{open_files, poll};
use tunneld_lab::target::echoes;

use crate::support::{
    Bed, LONG, assert_exit, assert_has, binary, command, machine, stderr, stdout, within,
};

/// Lets this process have more files than the 1024 of a shell.
pub(crate) fn many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

pub(crate) fn connect(daemon: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Reads until the daemon closes.
fn rest(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    if let Err(e) = stream.read_to_end(&mut answer) {
        assert_eq!(e.kind(), ErrorKind::ConnectionReset, "{e}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks in these words, and returns the code and the JSON of the answer.
fn ask(daemon: &Daemon, request: &str) -> (u16, Value) {
    let mut stream = connect(daemon);
    stream.write_all(request.as_bytes()).unwrap();
    let answer = rest(&mut stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert_has(&head.to_lowercase(), &["content-type: application/json"]);
    (code, serde_json::from_str(body).unwrap())
}

/// Asserts that `status` is answered at once.
#[track_caller]
fn serves(daemon: &Daemon) {
    let before = Instant::now();
    assert_exit(&daemon.cli(&["status"]), 0);
    let took = before.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
}

#[test]
fn a_thousand_idle_clients_keep_nobody_waiting() {
    // Twice as many as have a place: `status` is answered at once, and so is a command; those that
    // have been idle for longest are sent away for it.
    many_files();
    let bed = Bed::new();
    let daemon = bed.up();
    let mut idle: Vec<UnixStream> = (0..1000).map(|_| connect(&daemon)).collect();
    serves(&daemon);
    assert_exit(&daemon.cli(&["reload", "--dry-run"]), 0);
    assert_eq!(rest(&mut idle[0]), "");
    assert!(open_files(daemon.pid()) < 700);
    echoes(bed.listen).unwrap();
}

#[test]
fn half_requests_keep_nobody_waiting() {
    // A thousand clients that have said half of what they want.
    many_files();
    let bed = Bed::new();
    let daemon = bed.up();
    let half = |_| {
        let mut stream = connect(&daemon);
        // It may have been sent away already.
        let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: tun");
        stream
    };
    let _half: Vec<UnixStream> = (0..1000).map(half).collect();
    serves(&daemon);
}

#[test]
fn a_client_that_never_reads_is_cut_off_and_fills_no_memory() {
    // It asks again and again: soon the daemon hears it no more, and then closes.
    let bed = Bed::new();
    let daemon = bed.up();
    let before = open_files(daemon.pid());
    let mut deaf = connect(&daemon);
    deaf.set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let request = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let mut heard = 0;
    while heard < 64 << 20 {
        match deaf.write(&request) {
            Ok(n) => heard += n,
            Err(_) => break,
        }
    }
    assert!(heard < 8 << 20, "{heard} bytes of requests were taken");
    serves(&daemon);
    let closed = poll(LONG, || (open_files(daemon.pid()) <= before).then_some(()));
    assert!(closed.is_some(), "it is still connected");
    assert_eq!(daemon.tunnel("db").phase, Phase::Up);
}

#[test]
fn what_is_asked_in_a_wrong_way_is_refused_with_a_kind() {
    // Wrong method, wrong words, a body without end, a tunnel that is not there: JSON each time.
    let bed = Bed::new();
    let daemon = bed.up();
    let end = "Host: x\r\nConnection: close\r\n\r\n";
    for (request, code, kind) in [
        ("DELETE /v1/status HTTP/1.1", 405, "method-not-allowed"),
        ("GET /v1/reload HTTP/1.1", 405, "method-not-allowed"),
        (
            "GET /v1/tunnels/db/stop HTTP/1.1",
            405,
            "method-not-allowed",
        ),
        (
            "POST /v1/reload?dry_run=perhaps HTTP/1.1",
            400,
            "bad-request",
        ),
        ("GET /v1/tunnels/%ff/history HTTP/1.1", 400, "bad-request"),
        ("POST /v1/tunnels/%ff/stop HTTP/1.1", 400, "bad-request"),
        ("POST /v1/tunnels/bd/stop HTTP/1.1", 404, "no-such-tunnel"),
        ("POST /v1/tunnels/db/explode HTTP/1.1", 404, "not-found"),
        ("GET /v2/status HTTP/1.1", 404, "not-found"),
        (
            "POST /v1/reload HTTP/1.1\r\nContent-Length: 99999999",
            413,
            "too-large",
        ),
        (
            "GET /v1/status HTTP/1.1\r\nContent-Length: 99999999",
            413,
            "too-large",
        ),
    ] {
        let (got, error) = ask(&daemon, &format!("{request}\r\n{end}"));
        assert_eq!(
            (got, &error["kind"]),
            (code, &Value::from(kind)),
            "{request}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(!message.is_empty() && !message.contains('\n'), "{error}");
    }
    // Headers without end: HTTP's own words, as there is no request yet.
    let mut stream = connect(&daemon);
    let long = format!(
        "GET /v1/status HTTP/1.1\r\nX: {}\r\n{end}",
        "x".repeat(1 << 20)
    );
    let _ = stream.write_all(long.as_bytes());
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(String::from_utf8_lossy(&head), "HTTP/1.1 431");
    assert_eq!(daemon.tunnel("db").phase, Phase::Up);
}

#[test]
fn old_http_and_requests_in_a_row_are_answered() {
    // HTTP/1.0 gets its answer and the end; three requests at once get three answers in their order.
    let bed = Bed::new();
    let daemon = bed.up();
    let (code, status) = ask(&daemon, "GET /v1/status HTTP/1.0\r\n\r\n");
    assert_eq!(
        (code, &status["tunnels"][0]["name"]),
        (200, &Value::from("db"))
    );
    let mut stream = connect(&daemon);
    let requests = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n\
                    POST /v1/tunnels/bd/stop HTTP/1.1\r\nHost: x\r\n\r\n\
                    POST /v1/reload?dry_run=true HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).unwrap();
    let answers = rest(&mut stream);
    let codes: Vec<&str> = answers.matches("HTTP/1.1 ").collect();
    assert_eq!(codes.len(), 3, "{answers}");
    let at = |part: &str| {
        answers
            .find(part)
            .unwrap_or_else(|| panic!("no {part}: {answers}"))
    };
    assert!(at("\"tunnels\":[{\"name\"") < at("no-such-tunnel"));
    assert!(at("no-such-tunnel") < at("\"dry_run\":true"));
}

#[test]
fn a_web_page_reads_and_commands_nothing_through_a_forwarded_socket() {
    // `ssh -L 9000:/run/tunneld/control.sock`: what a browser posts for a page is not carried out, and
    // a page whose own name leads there reads nothing. What has a page for people is not there at all.
    let bed = Bed::new();
    let daemon = bed.up();
    let ask = |request: &str, headers: &[_]| over_unix(daemon.socket(), request, headers);
    for header in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-origin"),
    ] {
        for path in ["/v1/tunnels/db/stop", "/v1/reload", "/v1/nothing"] {
            let answer = ask(
                &format!("POST {path}"),
                &[("Host", "localhost:9000"), header],
            );
            assert_eq!(
                (answer.status, answer.json()["kind"].as_str()),
                (403, Some("cross-site"))
            );
        }
    }
    for host in [
        "evil.example",
        "evil.example:9000",
        "localhost.evil.example",
    ] {
        for request in ["GET /v1/status", "GET /metrics", "POST /v1/tunnels/db/stop"] {
            let answer = ask(request, &[("Host", host)]);
            assert_eq!(
                (answer.status, answer.json()["kind"].as_str()),
                (421, Some("wrong-host"))
            );
        }
    }
    let machine = machine();
    for host in [
        "localhost",
        "x",
        "",
        "127.0.0.1:9000",
        "[::1]:9000",
        &machine,
    ] {
        assert_eq!(
            ask("GET /v1/status", &[("Host", host)]).status,
            200,
            "{host}"
        );
        assert_eq!(
            ask("POST /v1/reload", &[("Host", host)]).status,
            200,
            "{host}"
        );
    }
    assert_eq!(ask("GET /", &[]).status, 404);
    let tunnel = daemon.tunnel("db");
    assert_eq!((tunnel.phase, tunnel.sessions), (Phase::Up, 1));
}

#[test]
fn numbers_are_told_at_least_every_hour() {
    // Whatever number of seconds is asked for: the first event comes, and the daemon goes on.
    let bed = Bed::new();
    let daemon = bed.up();
    for every in [0, 3601, u64::MAX] {
        let mut stream = connect(&daemon);
        let request = format!("GET /v1/events?every={every} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with("data: {")), "{every}");
    }
    assert!(
        !daemon.log_text().contains("panicked"),
        "{}",
        daemon.log_text()
    );
    serves(&daemon);
}

/// Runs a command as the user `nobody`.
fn as_nobody(daemon: &Daemon, words: &[&str]) -> std::process::Output {
    let mut setpriv = command("setpriv");
    setpriv
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(binary())
        .args(words)
        .arg("--socket")
        .arg(daemon.socket());
    within(&mut setpriv, LONG)
}

fn group(path: &Path, gid: u32, mode: u32) {
    chown(path, None, Some(gid)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_user_without_permission_is_told_the_group_that_has_it() {
    // Whether the socket keeps the user out or its folder; and in that group the user is served.
    let bed = Bed::new();
    let daemon = bed.up();
    // The group 1 is `daemon` on Debian and everywhere else.
    group(daemon.socket(), 1, 0o660);
    for mode in [0o755, 0o750] {
        group(daemon.dir(), 1, mode);
        for words in [&["status"][..], &["stop", "db"], &["reload"]] {
            let output = as_nobody(&daemon, words);
            assert_exit(&output, 4);
            let socket = daemon.socket().display().to_string();
            let denied = format!("cannot ask the daemon on {socket}: permission denied");
            let advice = "hint: join its group: `sudo usermod -aG daemon nobody`";
            assert_has(&stderr(&output), &[&denied, advice]);
            assert_eq!(
                (stdout(&output).as_str(), stderr(&output).lines().count()),
                ("", 2)
            );
        }
    }
    // Root's own group is no advice.
    group(daemon.dir(), 0, 0o700);
    assert_has(
        &stderr(&as_nobody(&daemon, &["status"])),
        &["hint: use sudo\n"],
    );
    group(daemon.socket(), 65534, 0o660);
    group(daemon.dir(), 65534, 0o750);
    assert_exit(&as_nobody(&daemon, &["status"]), 0);
    assert_eq!(daemon.tunnel("db").phase, Phase::Up);
}
