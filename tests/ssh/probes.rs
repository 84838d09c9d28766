//! Probes: a tunnel is up only while the far ends of its forwards answer.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{open_files, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, Silent, TcpServer, echoes, free_addr, read_some};
use tunneld_lab::unix::UnixServer;

use crate::gateway::{gateway, reload};
use crate::places::Folder;
use crate::support::{LATE, LONG, Table, daemon, up};

/// Which side the forward listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Local,
    Remote,
}

const SIDES: [Side; 2] = [Side::Local, Side::Remote];

/// The same for each side, at the same time.
fn each_side(promise: impl Fn(Side) + Sync) {
    let promise = &promise;
    std::thread::scope(|scope| {
        for side in SIDES {
            scope.spawn(move || promise(side));
        }
    });
}

/// A tunnel `t` with one forward that has a probe.
fn probed(sshd: &Sshd, side: Side, listen: SocketAddr, to: SocketAddr, probe: &str) -> Table {
    let keys = match probe {
        "" => String::new(),
        probe => format!("probe = {probe}"),
    };
    match side {
        Side::Local => Table::to(sshd).forward_with(listen, to, &keys),
        Side::Remote => Table::to(sshd).remote_with(listen, to, &keys),
    }
}

/// Waits until the tunnel is degraded by its probe, for this reason.
#[track_caller]
fn fails(daemon: &Daemon, reason: &str) -> Failure {
    let has = |t: &TunnelStatus| {
        let cause = t.failure.as_ref().map(|f| f.cause.clone());
        t.phase == Phase::Degraded && cause.unwrap_or_default().contains(reason)
    };
    let status = daemon.wait_for("t", LONG, has);
    let failure = status.failure.unwrap();
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Probe, Class::Transient)
    );
    assert_eq!(status.forwards[0].failure.as_ref(), Some(&failure));
    assert!(failure.cause.starts_with("probe of "), "{failure:?}");
    failure
}

/// A web server that answers as it is told, and remembers what it was asked.
struct Web {
    _server: TcpServer,
    says: Arc<Mutex<String>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start(says: &str) -> (Self, SocketAddr) {
        let says = Arc::new(Mutex::new(says.to_owned()));
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let (answer, requests) = (says.clone(), heard.clone());
        let server = TcpServer::start_anywhere(move |mut stream| {
            let request = head(&stream);
            requests.lock().unwrap().push(request);
            let answer = answer.lock().unwrap().clone();
            let _ = stream.write_all(answer.as_bytes());
        });
        let addr = server.addr();
        let web = Web {
            _server: server,
            says,
            heard,
        };
        (web, addr)
    }

    fn says(&self, answer: &str) {
        answer.clone_into(&mut self.says.lock().unwrap());
    }
}

/// The head of a request, up to its empty line.
fn head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    head.join("\n")
}

#[test]
fn a_target_that_stops_degrades_the_tunnel_and_one_that_is_back_mends_it() {
    // `probe = true`, the way there is enough: degraded within interval + timeout, the session and
    // the listening place stay, and up by itself.
    each_side(|side| {
        let (sshd, listen) = (gateway(), free_addr());
        let echo = EchoServer::start();
        let to = echo.addr();
        let probe = "{ interval = \"1s\", timeout = \"500ms\" }";
        let daemon = probed(&sshd, side, listen, to, probe).up();
        echoes(listen).unwrap();
        drop(echo);
        let stopped = Instant::now();
        let failure = fails(&daemon, "connection refused");
        let took = stopped.elapsed();
        println!("{side:?}: degraded after {took:?}: {failure}");
        assert!(took < Duration::from_millis(1500) + LATE, "{took:?}");
        let line = daemon.wait_for_log("tunnel degraded", LONG);
        assert!(line.contains("stage=probe"), "{line}");
        let _echo = EchoServer::start_on(to);
        let status = up(&daemon, "t");
        assert_eq!((status.sessions, status.failure), (1, None));
        echoes(listen).unwrap();
    });
}

#[test]
fn a_target_that_was_never_there_keeps_the_tunnel_from_being_up() {
    // Not even for a moment: degraded is the first that is said.
    each_side(|side| {
        let (sshd, listen, to) = (gateway(), free_addr(), free_addr());
        let daemon = probed(&sshd, side, listen, to, "true").start();
        fails(&daemon, "connection refused");
        let log = daemon.log_text();
        assert!(!log.contains("tunnel up"), "{side:?}: {log}");
        let _echo = EchoServer::start_on(to);
        up(&daemon, "t");
    });
}

#[test]
fn a_tunnel_is_neither_up_nor_ready_before_its_probe_was_answered() {
    // ready_when = all: READY=1 is not sent while the answer is awaited, and is with the answer.
    each_side(|side| {
        let (sshd, listen) = (gateway(), free_addr());
        let released = Arc::new(AtomicBool::new(false));
        let release = released.clone();
        let target = TcpServer::start_anywhere(move |mut stream| {
            poll(LONG, || release.load(Ordering::SeqCst).then_some(()));
            let _ = stream.write_all(b"hello\n");
        });
        let probe = "{ interval = \"1m\", timeout = \"1m\", expect = \"hell\" }";
        let text = probed(&sshd, side, listen, target.addr(), probe).toml()
            + "[daemon]\ncontrol_socket = \"{socket}\"\nready_when = \"all\"\n";
        let daemon = daemon().config(&text).notify().start();
        let asked = poll(LONG, || (target.accepted() == 1).then_some(()));
        assert!(asked.is_some(), "{side:?}: nobody asks the target");
        assert_eq!(daemon.tunnel("t").phase, Phase::Connecting);
        assert!(!daemon.status().ready);
        assert!(!daemon.notifications().iter().any(|m| m.has("READY=1")));
        released.store(true, Ordering::SeqCst);
        let ready = daemon.notify().wait_for("READY=1", LONG);
        assert_eq!(ready.get("STATUS"), Some("1 of 1 up"));
        assert_eq!(up(&daemon, "t").failure, None);
    });
}

#[test]
fn a_failing_probe_shows_wherever_the_state_is_shown() {
    // `tunneld status` and its exit code, STATUS= of the service, and back again.
    let (sshd, listen, to) = (gateway(), free_addr(), free_addr());
    let table = probed(&sshd, Side::Local, listen, to, "{ interval = \"1s\" }");
    let daemon = daemon().config(&table.toml()).notify().start();
    let failure = fails(&daemon, "connection refused");
    let output = daemon.cli(&["status"]);
    assert_eq!(output.status.code(), Some(3));
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(
        page.contains("degraded") && page.contains(&failure.cause),
        "{page}"
    );
    let status = format!("STATUS=0 of 1 up; t: degraded ({})", failure.cause);
    daemon.notify().wait_for(&status, LONG);
    let mark = daemon.notify().mark();
    let _echo = EchoServer::start_on(to);
    daemon.notify().wait_from(mark, "STATUS=1 of 1 up", LONG);
    assert_eq!(daemon.cli(&["status"]).status.code(), Some(0));
}

#[test]
fn the_first_line_of_a_target_is_held_against_what_is_expected() {
    // The banner of an SSH server is what it should be; that of another kind of server is told.
    each_side(|side| {
        let (sshd, listen) = (gateway(), free_addr());
        let probe = "{ interval = \"1s\", expect = \"SSH-2.0\" }";
        let daemon = probed(&sshd, side, listen, sshd.addr(), probe).up();
        let other = TcpServer::start_anywhere(|mut stream| {
            let _ = stream.write_all(b"220 mail\x1b[31m.example.com ESMTP\r\n250 no\r\n");
        });
        let wrong = probed(&sshd, side, listen, other.addr(), probe);
        reload(&daemon, &wrong);
        let failure = fails(&daemon, "it said ");
        assert!(
            failure.cause.ends_with("ESMTP\", not \"SSH-2.0\""),
            "{failure}"
        );
        assert!(!failure.cause.contains('\x1b'), "{failure:?}");
    });
}

#[test]
fn an_http_status_is_held_against_what_is_expected() {
    // The path is asked for, with a host; another status is told, what is not HTTP too, and 200
    // again is well again.
    each_side(|side| {
        let (sshd, listen) = (gateway(), free_addr());
        let (web, to) = Web::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let probe = "{ interval = \"1s\", expect = 200, path = \"/health?deep=1\" }";
        let daemon = probed(&sshd, side, listen, to, probe).up();
        let request = web.heard.lock().unwrap()[0].clone();
        let host = match side {
            Side::Local => to,
            Side::Remote => listen,
        };
        let start = format!("GET /health?deep=1 HTTP/1.0\nHost: {host}\nUser-Agent: tunneld/");
        assert!(request.starts_with(&start), "{request}");
        web.says("HTTP/1.1 503 Service Unavailable\r\n\r\n");
        fails(&daemon, "HTTP status 503, not 200");
        web.says("HTTP/1.1 200 OK\r\n\r\n");
        up(&daemon, "t");
        web.says("nonsense\n");
        fails(&daemon, "it said \"nonsense\", which is not HTTP");
    });
}

#[test]
fn a_target_that_says_nothing_fails_after_the_timeout() {
    // It accepts, and hangs: told with the time, and not before it has passed.
    each_side(|side| {
        let (sshd, listen, silent) = (gateway(), free_addr(), Silent::start());
        let probe = "{ interval = \"2s\", timeout = \"1s\", expect = \"SSH-2.0\" }";
        let before = Instant::now();
        let daemon = probed(&sshd, side, listen, silent.addr(), probe).start();
        fails(&daemon, "no answer in 1s");
        assert!(before.elapsed() >= Duration::from_secs(1));
        // Each try lets go of its connection.
        let again = poll(LONG, || (silent.accepted() >= 3).then_some(()));
        assert!(again.is_some(), "{side:?}: it is not tried again");
        assert!(silent.open() <= 2, "{side:?}: {} stay open", silent.open());
    });
}

#[test]
fn a_target_that_hangs_up_without_a_word_is_told() {
    each_side(|side| {
        let (sshd, listen) = (gateway(), free_addr());
        let target = TcpServer::start_anywhere(drop);
        let probe = "{ interval = \"1s\", expect = \"hello\" }";
        let daemon = probed(&sshd, side, listen, target.addr(), probe).start();
        fails(&daemon, "it closed the connection without a word");
    });
}

#[test]
fn socket_files_are_probed_as_ports_are() {
    // A target on a socket of the server's, and a listening socket there that leads to one here.
    let (sshd, folder) = (gateway(), Folder::new());
    let (target, far) = (folder.at("target.sock"), folder.at("far.sock"));
    let probe = "probe = { interval = \"1s\", expect = 200 }";
    let daemon = Table::to(&sshd)
        .forward_with(free_addr(), target.display(), probe)
        .remote_with(far.display(), target.display(), probe)
        .start();
    // A tunnel that has just begun has none yet.
    let both = |t: &TunnelStatus| {
        let failed = t.forwards.iter().filter(|f| f.failure.is_some());
        failed.count() == 2
    };
    let status = daemon.wait_for("t", LONG, both);
    let cause = |at: usize| status.forwards[at].failure.clone().unwrap().cause;
    assert_eq!(
        cause(0),
        format!("probe of {} failed: connect failed", target.display())
    );
    assert_eq!(
        cause(1),
        format!(
            "probe of {} failed: cannot connect to {}: no such file or directory",
            far.display(),
            target.display()
        )
    );
    let _web = UnixServer::start(&target, |mut stream| {
        let mut request = [0; 1000];
        let n = read_some(&mut stream, &mut request).unwrap();
        assert!(request[..n].starts_with(b"GET / HTTP/1.0\r\nHost: localhost\r\n"));
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
    });
    up(&daemon, "t");
}

#[test]
fn a_probe_that_allow_does_not_let_in_says_so() {
    // It comes from the server itself, and is a client like others.
    let (sshd, listen, echo) = (gateway(), free_addr(), EchoServer::start());
    let keys = |allow: &str| format!("allow = [{allow}], probe = {{ interval = \"1s\" }}");
    let table = |allow: &str| Table::to(&sshd).remote_with(listen, echo.addr(), &keys(allow));
    let daemon = table("\"127.0.0.2\"").start();
    fails(&daemon, "127.0.0.1 is not allowed here (allow)");
    reload(&daemon, &table("\"127.0.0.2\", \"127.0.0.1\""));
    up(&daemon, "t");
}

#[test]
fn probes_leave_nothing_behind() {
    // After a hundred, that were answered and that were not, as often as they may come: as many
    // descriptors as before, here and at the server.
    each_side(|side| {
        let (sshd, listen) = (gateway(), free_addr());
        let (web, to) = Web::start("HTTP/1.1 200 OK\r\n\r\n");
        let asked = || web.heard.lock().unwrap().len();
        let probe = "{ interval = \"100ms\", timeout = \"100ms\", expect = 200 }";
        let slow = "{ interval = \"1h\", timeout = \"10s\", expect = 200 }";
        let daemon = probed(&sshd, side, listen, to, slow).up();
        let session = sshd.sessions()[0];
        let counts = || (open_files(daemon.pid()), open_files(session));
        let before = counts();
        for answer in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 500 Oh\r\n\r\n"] {
            web.says(answer);
            let so_far = asked();
            reload(&daemon, &probed(&sshd, side, listen, to, probe));
            let enough = poll(LONG, || (asked() >= so_far + 50).then_some(()));
            assert!(enough.is_some(), "{side:?}: {} probes", asked() - so_far);
            reload(&daemon, &probed(&sshd, side, listen, to, slow));
            // What was just closing when they were counted may have gone since.
            let back = poll(LONG, || {
                let now = counts();
                (now.0 <= before.0 && now.1 <= before.1).then_some(())
            });
            assert!(back.is_some(), "{side:?}: {:?}, not {before:?}", counts());
        }
        assert_eq!(daemon.tunnel("t").sessions, 1);
    });
}

#[test]
fn a_reload_adds_changes_and_removes_a_probe() {
    // On the live session: what the new file wants to know decides.
    each_side(|side| {
        let (sshd, listen, to) = (gateway(), free_addr(), free_addr());
        let daemon = probed(&sshd, side, listen, to, "").up();
        let change = |probe: &str| {
            let table = probed(&sshd, side, listen, to, probe);
            reload(&daemon, &table);
        };
        change("true");
        fails(&daemon, "connection refused");
        change("false");
        up(&daemon, "t");
        change("{ interval = \"1s\" }");
        fails(&daemon, "connection refused");
        let _echo = EchoServer::start_on(to);
        up(&daemon, "t");
        // An echo answers a request with the request, which is no status line.
        change("{ interval = \"1s\", expect = 200 }");
        fails(&daemon, "it said \"GET / HTTP/1.0\", which is not HTTP");
        change("");
        assert_eq!(up(&daemon, "t").sessions, 1);
    });
}
