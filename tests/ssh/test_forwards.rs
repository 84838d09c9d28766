//! `tunneld test` and the forwards: what works is said of each, and neither the server nor a running
//! daemon is left with anything else than before.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, Silent, TcpServer, echoes, free_addr, read_some};
use tunneld_lab::unix::UnixServer;

use crate::gateway::{gateway, gateway_with};
use crate::support::{Table, carried, exchange, fails, up};
use crate::tested::{File, json, line, marked, names, said, tested};

#[test]
fn all_that_works_is_said_line_by_line_and_the_ports_are_given_back() {
    // Exit 0; every kind of forward.
    let (sshd, echo) = (gateway(), EchoServer::start());
    let (near, far) = (free_addr(), free_addr());
    // What listens here already is nobody's business.
    let _taken = TcpListener::bind(near).unwrap();
    let table = Table::to(&sshd)
        .forward(near, echo.addr())
        .dynamic(free_addr())
        .remote(far, echo.addr())
        .remote("127.0.0.1:0", echo.addr());
    let text = tested(&table, 0);
    assert!(!text.contains('✗') && !text.contains("fix: "), "{text}");
    let heading = format!("  {}@{}\n", sshd.user(), sshd.addr());
    let start = format!("t: testing, apart from the daemon\n{heading}");
    assert!(text.starts_with(&start), "{text}");
    assert!(text.ends_with("t: everything works\n"), "{text}");

    let steps = [
        "resolve",
        "connect",
        "host key",
        "key exchange",
        "authenticate",
    ];
    let lines = marked(&text, "✓");
    for (line, step) in lines.iter().zip(steps) {
        assert!(line.starts_with(step) && line.contains(" ms "), "{text}");
    }
    let key = sshd.host_keys()[0].fingerprint();
    let place = format!("{key} {}:1", sshd.known_hosts().display());
    assert!(lines[2].ends_with(&place), "{text}");
    let with = sshd.client_key_files();
    let with = format!(
        "publickey ED25519 {} ({})",
        with.fingerprint(),
        with.private.display()
    );
    assert!(lines[4].ends_with(&with), "{text}");
    assert!(lines[5].ends_with("target reached"), "{text}");
    assert!(
        lines[6].ends_with("the server listens; target reached"),
        "{text}"
    );
    assert!(lines[7].contains("the server listens on port "), "{text}");
    let dynamic = line(&text, "·", "dynamic");
    assert!(dynamic.ends_with("any target; asked when used"), "{text}");
    TcpListener::bind(far).expect("the server let go of it");
}

#[test]
fn targets_that_nobody_listens_on_are_told_with_where_they_were_looked_for() {
    // A local forward's at the server, a remote one's here; what works is said beside them.
    let (sshd, echo, nobody) = (gateway(), EchoServer::start(), free_addr());
    let table = Table::to(&sshd)
        .forward_with(free_addr(), nobody, "name = \"near\"")
        .forward_with(free_addr(), echo.addr(), "name = \"good\"")
        .remote_with(free_addr(), nobody, "name = \"far\"");
    let text = tested(&table, 3);
    let near = line(&text, "✗", "near local");
    let cause = format!("cannot reach {nobody}: connect failed: connection refused");
    assert!(near.ends_with(&cause), "{text}");
    let far = line(&text, "✗", "far remote");
    let cause = format!("the server listens; cannot connect to {nobody}: connection refused");
    assert!(far.ends_with(&cause), "{text}");
    assert!(text.contains("fix: start what listens there") && text.contains("this machine"));
    assert!(
        line(&text, "✓", "good local").ends_with("target reached"),
        "{text}"
    );
    assert!(text.ends_with("t: 2 problems\n"), "{text}");

    let report = json(&table, 3);
    let failed = &report["forwards"][0]["checks"][0];
    assert_eq!(failed["failure"]["stage"], "forward");
    assert_eq!(failed["failure"], report["failure"]);
    assert_eq!(report["forwards"][2]["checks"][0]["ok"], true);
}

#[test]
fn a_target_that_the_server_does_not_allow_is_told_with_its_settings() {
    // PermitOpen; and a port that PermitListen does not have.
    let echo = EchoServer::start();
    let sshd = gateway_with("PermitOpen 127.0.0.1:1\nPermitListen 1");
    let table = Table::to(&sshd)
        .forward(free_addr(), echo.addr())
        .remote(free_addr(), echo.addr());
    let text = tested(&table, 3);
    let local = line(&text, "✗", "local");
    assert!(local.ends_with("administratively prohibited"), "{text}");
    let remote = line(&text, "✗", "remote");
    assert!(
        remote.contains("the server refuses to listen on "),
        "{text}"
    );
    for word in ["PermitOpen", "PermitListen"] {
        assert!(
            text.lines()
                .any(|l| l.contains("fix: ") && l.contains(word)),
            "{text}"
        );
    }
}

#[test]
fn the_answer_that_a_probe_expects_is_asked_for() {
    // A target that says another line does not work; the one that says it does.
    let target = TcpServer::start_anywhere(|mut stream| {
        let _ = std::io::Write::write_all(&mut stream, b"220 hello\r\n");
    });
    let sshd = Sshd::start();
    let probe = |name: &str, expect: &str| {
        format!("name = \"{name}\", probe = {{ expect = \"{expect}\" }}")
    };
    let table = Table::to(&sshd)
        .forward_with(free_addr(), target.addr(), &probe("right", "220 "))
        .forward_with(free_addr(), target.addr(), &probe("wrong", "SSH-"));
    let text = tested(&table, 3);
    assert!(
        line(&text, "✓", "right").ends_with("probe answered"),
        "{text}"
    );
    let cause = r#"it said "220 hello", not "SSH-""#;
    assert!(line(&text, "✗", "wrong").ends_with(cause), "{text}");
    assert_eq!(json(&table, 3)["failure"]["stage"], "probe");
}

#[test]
fn a_target_that_is_reached_and_says_nothing_fails_its_probe_as_with_the_daemon() {
    // It is neither far away nor behind a firewall.
    let (sshd, silent) = (Sshd::start(), Silent::start());
    let probe = "probe = { expect = \"SSH-\", timeout = \"300ms\" }";
    let table = Table::to(&sshd).forward_with(free_addr(), silent.addr(), probe);
    let text = tested(&table, 3);
    let cause = format!("probe of {} failed: no answer in 0.3s", silent.addr());
    assert!(line(&text, "✗", "local").ends_with(&cause), "{text}");
    assert!(!text.contains("firewall"), "{text}");
    assert_eq!(fails(&table.start(), "t", "probe").cause, cause);
}

#[test]
fn a_probe_that_is_not_tried_is_said_to_be() {
    // That of a remote forward comes back through the server, to where nobody waits for it.
    let (sshd, echo) = (gateway(), EchoServer::start());
    let probe = "probe = { expect = \"never\" }";
    let table = Table::to(&sshd).remote_with(free_addr(), echo.addr(), probe);
    let text = tested(&table, 0);
    let said = "target reached; probe not tried: it comes back through the server";
    assert!(line(&text, "✓", "remote").ends_with(said), "{text}");
}

/// A place where nobody answers: once nobody fits into its queue any more, the kernel drops what
/// comes.
struct Full {
    at: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Full {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let wait = Duration::from_millis(200);
        let knock = || TcpStream::connect_timeout(&at, wait).ok();
        Full {
            at,
            _queue: std::iter::from_fn(knock).collect(),
            _listener: listener,
        }
    }
}

#[test]
fn many_forwards_are_tried_at_once_and_shown_in_the_order_of_the_file() {
    // Each of two dozen takes a second, and one that works stands between them.
    let (sshd, echo, full) = (gateway(), EchoServer::start(), Full::new());
    let slow = |n: u32| format!("name = \"slow-{n:02}\", probe = {{ timeout = \"1s\" }}");
    let mut table = Table::to(&sshd);
    for n in 0..24 {
        table = table.forward_with(free_addr(), full.at, &slow(n));
        if n == 11 {
            table = table.forward_with(free_addr(), echo.addr(), "name = \"works\"");
        }
    }
    let start = Instant::now();
    let report = json(&table, 3);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(12), "{took:?}");
    let mut expected: Vec<_> = (0..24).map(|n| format!("slow-{n:02}")).collect();
    expected.insert(12, "works".to_owned());
    assert_eq!(names(&report["forwards"], "name"), expected);
    assert_eq!(report["forwards"][12]["ok"], true);
}

#[test]
fn the_daemon_is_asked_once_for_all_forwards_and_again_after_a_refusal() {
    // It has none of them.
    let (sshd, echo) = (gateway(), EchoServer::start());
    let held = free_addr();
    let _holder = TcpListener::bind(held).unwrap();
    let table = Table::to(&sshd)
        .remote(free_addr(), echo.addr())
        .remote(free_addr(), echo.addr());
    let asked = |table: &Table, code: i32| {
        let file = File::new(table);
        std::fs::remove_file(&file.socket).unwrap();
        let daemon = UnixServer::start(&file.socket, |mut stream| {
            let status = r#"{"version":"1","pid":1,"started_unix_ms":1,"config":"c","ready":true,"tunnels":[]}"#;
            let len = status.len();
            let mut request = [0; 1000];
            if matches!(read_some(&mut stream, &mut request), Ok(1..)) {
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n{status}");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        said(&file.command(&[], &[]).output().unwrap(), code);
        // The first time, to see whose it is.
        daemon.accepted() - 1
    };
    assert_eq!(asked(&table, 0), 1);
    assert_eq!(asked(&table.remote(held, echo.addr()), 3), 2);
}

#[test]
fn a_target_that_does_not_answer_is_given_up() {
    // After the time of its probe; else after five seconds.
    let (sshd, full) = (gateway(), Full::new());
    let silent_at = full.at;
    let table = Table::to(&sshd)
        .forward_with(free_addr(), silent_at, "probe = { timeout = \"300ms\" }")
        .remote(free_addr(), silent_at);
    let text = tested(&table, 3);
    let cause = format!("cannot reach {silent_at}: no answer in 0.3s");
    assert!(line(&text, "✗", "local").ends_with(&cause), "{text}");
    let cause = format!("the server listens; cannot connect to {silent_at}: timed out after 5s");
    assert!(line(&text, "✗", "remote").ends_with(&cause), "{text}");
}

#[test]
fn a_port_that_somebody_holds_at_the_server_is_told_as_held() {
    // No daemon runs that could have it.
    let (sshd, echo, held) = (gateway(), EchoServer::start(), free_addr());
    let _holder = TcpListener::bind(held).unwrap();
    let text = tested(&Table::to(&sshd).remote(held, echo.addr()), 3);
    let cause =
        format!("remote port held: something listens on {held} at the server; target reached");
    assert!(line(&text, "✗", "remote").ends_with(&cause), "{text}");
    assert!(
        text.contains("fix: ") && text.contains("ClientAliveInterval"),
        "{text}"
    );
}

#[test]
fn a_socket_at_the_server_is_looked_at_and_its_file_is_not_made() {
    // The next one to ask would be refused: sshd leaves the file behind.
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let far = sshd.dir().join("far.sock");
    let table = Table::to(&sshd).remote(far.display(), echo.addr());
    let text = tested(&table, 0);
    let noted = "target reached; socket not asked for: its file would stay at the server";
    assert!(line(&text, "✓", "remote").ends_with(noted), "{text}");
    assert!(!far.exists());
    let _holder = std::os::unix::net::UnixListener::bind(&far).unwrap();
    let text = tested(&table, 3);
    assert!(
        line(&text, "✗", "remote").contains("remote socket held: "),
        "{text}"
    );
}

/// What a test must not change of a daemon.
fn undisturbed(daemon: &Daemon, far: SocketAddr) {
    let status = daemon.tunnel("t");
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
    echoes(far).unwrap();
}

#[test]
fn a_daemon_that_has_the_tunnel_up_is_not_disturbed() {
    // Its remote ports and sockets stay, its clients go on, and that it has them is no failure.
    let sshd = gateway_with("StreamLocalBindUnlink yes");
    let (echo, near, far) = (EchoServer::start(), free_addr(), free_addr());
    let socket = sshd.dir().join("far.sock");
    let table = Table::to(&sshd)
        .forward(near, echo.addr())
        .remote(far, echo.addr())
        .remote("127.0.0.1:0", echo.addr())
        .remote(socket.display(), echo.addr());
    let daemon = table.up();
    let mut client = carried(near);
    for _ in 0..3 {
        let output = daemon.cli(&["test", "t", "--json"]);
        let report: Value = serde_json::from_str(&said(&output, 0)).unwrap();
        let forwards = report["forwards"].as_array().unwrap();
        let notes: Vec<_> = forwards.iter().map(|f| f["note"].as_str()).collect();
        let in_use = Some("in use by the running daemon");
        assert_eq!(notes, [None, in_use, None, in_use], "{report:#}");
    }
    exchange(&mut client, b"the old connection goes on");
    undisturbed(&daemon, far);
    let unix = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    drop(unix);

    // The same port for somebody who does not know of the daemon is held.
    let text = tested(&Table::to(&sshd).remote(far, echo.addr()), 3);
    assert!(
        line(&text, "✗", "remote").contains("remote port held: "),
        "{text}"
    );
    undisturbed(&daemon, far);
}

#[test]
fn a_daemon_whose_tunnel_is_down_has_its_port_afterwards() {
    // The test takes it, and gives it back.
    let (sshd, echo, far) = (gateway(), EchoServer::start(), free_addr());
    let daemon = Table::to(&sshd).remote(far, echo.addr()).up();
    assert!(daemon.cli(&["stop", "t"]).status.success());
    let text = said(&daemon.cli(&["test", "t"]), 0);
    assert!(
        text.contains("the server listens; target reached"),
        "{text}"
    );
    assert!(daemon.cli(&["start", "t"]).status.success());
    up(&daemon, "t");
    echoes(far).unwrap();
}
