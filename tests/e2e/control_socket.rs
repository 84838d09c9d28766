//! The control socket: plain HTTP for whoever may open it, and nothing that comes in stops it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tunneld_core::status::{DaemonStatus, Phase};
use tunneld_lab::target::echoes;

use crate::support::{
    Bed, Folder, LONG, assert_exit, assert_has, binary, builder, command, stderr,
};
use crate::support::{stdout, tunneld, up, within};

fn curl(socket: &Path, arguments: &[&str], path: &str) -> (u16, Value) {
    let mut command = command("curl");
    command
        .args(["-sS", "-w", "\n%{http_code}", "--unix-socket"])
        .arg(socket);
    command.args(arguments).arg(format!("http://tunneld{path}"));
    let output = within(&mut command, LONG);
    assert_exit(&output, 0);
    let text = stdout(&output);
    let (body, code) = text.rsplit_once('\n').unwrap();
    let json = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    (code.parse().unwrap(), json)
}

#[test]
fn curl_can_ask_and_command() {
    // Every request of the documentation works with curl, and every answer is JSON.
    let bed = Bed::new();
    let daemon = bed.up();
    let socket = daemon.socket();
    let (code, status) = curl(socket, &[], "/v1/status");
    assert_eq!(code, 200);
    let status: DaemonStatus = serde_json::from_value(status).unwrap();
    assert_eq!(status.tunnels[0].phase, Phase::Up);

    let post = &["-X", "POST"][..];
    let (code, plan) = curl(socket, post, "/v1/reload?dry_run=true");
    assert_eq!((code, &plan["dry_run"]), (200, &Value::Bool(true)));
    assert_eq!(plan["plan"]["tunnels"][0]["action"], "keep");
    let (code, done) = curl(socket, post, "/v1/tunnels/db/stop");
    assert_eq!((code, &done["command"]), (200, &Value::from("stop")));
    daemon.wait_phase("db", Phase::Stopped, LONG);
    assert_eq!(curl(socket, post, "/v1/tunnels/db/start").0, 200);
    daemon.wait_phase("db", Phase::Up, LONG);

    let (code, error) = curl(socket, post, "/v1/tunnels/bd/stop");
    assert_eq!(
        (code, &error["kind"]),
        (404, &Value::from("no-such-tunnel"))
    );
    let (code, error) = curl(socket, &[], "/v1/nothing");
    assert_eq!((code, &error["kind"]), (404, &Value::from("not-found")));
    assert_eq!(curl(socket, post, "/v1/status").0, 405);
    daemon.write_config("[tunnels.db]\nhosst = 1\n");
    let (code, error) = curl(socket, post, "/v1/reload");
    assert_eq!((code, &error["kind"]), (422, &Value::from("bad-config")));
    assert!(
        error["diagnostics"]
            .as_array()
            .is_some_and(|items| !items.is_empty()),
        "{error}"
    );
}

#[test]
fn a_secret_in_the_file_is_in_no_answer_and_in_no_log() {
    // Somebody has written a password where its place belongs: the line is told without it, to
    // whoever may open the socket, on the terminal and in the journal.
    let bed = Bed::new();
    let daemon = bed.up();
    let place = daemon.config_path().display().to_string();
    for line in [
        "password = \"hunter2\"",
        "password = hunter2",
        "password_credential = \"hunter2!\"",
        "proxy = \"http://me:hunter2@proxy:3128\"",
    ] {
        daemon.write_config(&(bed.db() + line + "\n"));
        let (code, error) = curl(daemon.socket(), &["-X", "POST"], "/v1/reload");
        assert_eq!(code, 422);
        let reload = daemon.reload();
        let check = tunneld(&["check", &place]);
        assert_exit(&reload, 78);
        assert_exit(&check, 78);
        for told in [error.to_string(), stderr(&reload), stderr(&check)] {
            assert_has(&told, &["…"]);
            assert!(!told.contains("hunter2"), "{line}\n{told}");
        }
    }
    assert!(!daemon.log_text().contains("hunter2"));
    assert_eq!(daemon.tunnel("db").phase, Phase::Up);
}

/// Sends bytes, and reads what comes until the daemon closes.
fn say(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    // A daemon that has heard enough may close before everything is said.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    if let Err(e) = stream.read_to_end(&mut answer) {
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{e}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn nonsense_is_answered_or_closed_and_the_daemon_goes_on() {
    // Garbage, half requests, headers and bodies without end: each is ended, none is believed.
    let bed = Bed::new();
    let daemon = bed.up();
    let socket = daemon.socket();
    let close = "Connection: close\r\n\r\n";
    for garbage in [
        &b"\0\xff\x16\x03\x01garbage\r\n\r\n"[..],
        b"SSH-2.0-x\r\n",
        b"GET\r\n\r\n",
    ] {
        let answer = say(socket, garbage);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
    // The first half, and then silence: closed by the daemon.
    let answer = say(socket, b"GET /v1/status HTTP/1.1\r\nHost: tunn");
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    let long = format!(
        "GET /v1/status HTTP/1.1\r\nX: {}\r\n{close}",
        "x".repeat(4 << 20)
    );
    assert!(!say(socket, long.as_bytes()).starts_with("HTTP/1.1 200"));
    let many = format!(
        "GET /v1/status HTTP/1.1\r\n{}{close}",
        "a: b\r\n".repeat(100_000)
    );
    assert!(!say(socket, many.as_bytes()).starts_with("HTTP/1.1 200"));
    let path = format!(
        "POST /v1/tunnels/{}/stop HTTP/1.1\r\nHost: x\r\n{close}",
        "x".repeat(9000)
    );
    assert_has(&say(socket, path.as_bytes()), &["404", "no-such-tunnel"]);
    // A body without end is not waited for.
    let body =
        format!("GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n{close}");
    let answer = say(socket, body.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(daemon.tunnel("db").phase, Phase::Up);
    echoes(bed.listen).unwrap();
}

#[test]
fn idle_clients_do_not_keep_others_waiting() {
    // With 200 clients that say nothing, `status` answers within seconds.
    let bed = Bed::new();
    let daemon = bed.up();
    let connect = |_| UnixStream::connect(daemon.socket()).unwrap();
    let mut idle: Vec<UnixStream> = (0..200).map(connect).collect();
    let before = Instant::now();
    assert_exit(&daemon.cli(&["status"]), 0);
    let took = before.elapsed();
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    // And they do not stay for ever.
    for stream in &mut idle {
        stream.set_read_timeout(Some(LONG)).unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).map_err(|e| {
            assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{e}");
        });
    }
}

#[test]
fn the_socket_is_for_the_owner_and_the_group() {
    // Mode 0660, whatever the umask; and it is gone when the daemon has ended.
    let bed = Bed::new();
    for umask in ["0", "0777"] {
        let shell = format!("umask {umask}; exec \"$0\" \"$@\"");
        let prefix = ["sh", "-c", &shell];
        let mut daemon = up(builder().config(&bed.db()).prefix(&prefix));
        let mode = fs::metadata(daemon.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o660);
        assert_eq!(daemon.terminate(LONG).code(), Some(0));
        assert!(!daemon.socket().exists());
    }
}

#[test]
fn a_stale_socket_is_replaced() {
    // What a killed daemon left behind does not keep the next one from starting.
    let bed = Bed::new();
    let mut first = bed.up();
    first.kill9();
    assert!(
        fs::symlink_metadata(first.socket())
            .unwrap()
            .file_type()
            .is_socket()
    );
    let socket = first.socket().display().to_string();
    let second = builder()
        .config(&bed.db())
        .args(&["--socket", &socket])
        .spawn();
    second.wait_for_log("ready", LONG);
    assert_exit(&tunneld(&["status", "--socket", &socket]), 0);
}

#[test]
fn a_live_socket_is_refused_and_goes_on() {
    // A second daemon ends with 1, says who answers there, and leaves the first one alone.
    let bed = Bed::new();
    let daemon = bed.up();
    let config = daemon.config_path().display().to_string();
    let output = tunneld(&["run", "--config", &config]);
    assert_exit(&output, 1);
    let socket = daemon.socket().display().to_string();
    assert_has(&stderr(&output), &["another tunneld answers on", &socket]);
    assert_exit(&daemon.cli(&["status"]), 0);
    echoes(bed.listen).unwrap();
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    // A file or a folder in the place of the socket: the start fails and says so, the file stays.
    let (bed, folder) = (Bed::new(), Folder::new());
    let file = folder.write("t.toml", &bed.db());
    let in_the_way = folder.write("precious", "data");
    let output = tunneld(&["run", "--config", &file, "--socket", &in_the_way]);
    assert_exit(&output, 1);
    assert_has(&stderr(&output), &[&in_the_way, "not a socket"]);
    assert_eq!(fs::read_to_string(&in_the_way).unwrap(), "data");
    let output = tunneld(&["run", "--config", &file, "--socket", "/proc/nowhere/x.sock"]);
    assert_exit(&output, 1);
    assert_has(
        &stderr(&output),
        &["cannot make the control socket /proc/nowhere/x.sock"],
    );
}

#[test]
fn a_folder_that_may_not_be_written_comes_with_a_way_out() {
    // As who tries the daemon by hand: /run/tunneld is the service's.
    let (bed, folder) = (Bed::new(), Folder::new());
    let file = folder.write("t.toml", &bed.db());
    let closed = folder.at("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    let socket = closed.join("control.sock").display().to_string();
    let mut as_other = command("setpriv");
    as_other.arg("--bounding-set=-dac_override,-dac_read_search");
    as_other.arg(binary());
    as_other.args(["run", "--config", &file, "--socket", &socket]);
    let mut fails = |words: &[&str]| {
        let output = within(&mut as_other, LONG);
        assert_exit(&output, 1);
        assert_has(&stderr(&output), &[&socket, "permission denied", "hint: "]);
        assert_has(&stderr(&output), words);
        as_other.env("RUNTIME_DIRECTORY", "/run/the-units:/run/more");
    };
    fails(&["--socket PATH"]);
    // As a service whose unit makes another folder.
    fails(&[
        "/run/the-units (RuntimeDirectory=)",
        "`control_socket` in [daemon]",
    ]);
}

#[test]
fn a_daemon_that_hangs_is_told_from_one_that_is_gone() {
    // A socket that accepts and never answers does not hang the next start for ever: it is in use.
    let (bed, folder) = (Bed::new(), Folder::new());
    let file = folder.write("t.toml", &bed.db());
    let socket = folder.at("hung.sock");
    let _held = UnixListener::bind(&socket).unwrap();
    let socket = socket.display().to_string();
    let output = tunneld(&["run", "--config", &file, "--socket", &socket]);
    assert_exit(&output, 1);
    assert_has(&stderr(&output), &["another tunneld answers on"]);
}

#[test]
fn a_daemon_that_hangs_and_lets_nobody_in_is_in_use() {
    // Its backlog is full, so that connecting would wait: the next start does not.
    let (bed, folder) = (Bed::new(), Folder::new());
    let file = folder.write("t.toml", &bed.db());
    let socket = folder.at("hung.sock");
    let held = UnixListener::bind(&socket).unwrap();
    rustix::net::listen(&held, 0).unwrap();
    let _first = UnixStream::connect(&socket).unwrap();
    let socket = socket.display().to_string();
    let mut run = command(crate::support::binary());
    run.args(["run", "--config", &file, "--socket", &socket]);
    let output = within(&mut run, Duration::from_secs(10));
    assert_exit(&output, 1);
    assert_has(&stderr(&output), &["another tunneld answers on"]);
}

#[test]
fn commands_do_not_wait_for_ever_for_a_daemon_that_hangs() {
    // 4, with what to do, after ten seconds; `wait` after its own time.
    let folder = Folder::new();
    let path = folder.at("hung.sock");
    let _held = UnixListener::bind(&path).unwrap();
    let socket = path.display().to_string();
    std::thread::scope(|scope| {
        let status = scope.spawn(|| tunneld(&["status", "--socket", &socket]));
        let wait = scope.spawn(|| tunneld(&["wait", "--timeout", "1s", "--socket", &socket]));
        for output in [status.join().unwrap(), wait.join().unwrap()] {
            assert_exit(&output, 4);
            let said = format!("error: the daemon on {socket} does not answer\nhint: it hangs: ");
            assert_has(&stderr(&output), &[&said, "systemctl restart tunneld"]);
        }
    });
}
