//! `/healthz` and `/readyz`, over TCP and over the control socket; and what may not be asked for there.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::Value;
use tunneld_core::status::Phase;
use tunneld_lab::http::{Answer, over_tcp, over_unix};
use tunneld_lab::notify::Notification;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::target::{connect, echoes, free_addr, free_low_port};

use crate::support::{
    Bed, Folder, LONG, assert_exit, assert_has, builder, daemon_table, dead_tunnel, machine,
    serving, up,
};

/// Asks again until the answer has this status.
#[track_caller]
fn until(status: u16, ask: impl Fn() -> Answer) -> Answer {
    let mut last = None;
    let found = poll(LONG, || {
        let answer = ask();
        let done = answer.status == status;
        last = Some(format!("{answer:?}"));
        done.then_some(answer)
    });
    found.unwrap_or_else(|| panic!("not {status}: {last:?}"))
}

#[test]
fn ready_is_what_ready_when_says_now_and_names_who_is_in_the_way() {
    // One tunnel is up, and one is not: it depends on what is asked for.
    let (bed, folder, at) = (Bed::new(), Folder::new(), free_addr());
    let tunnels = bed.db() + &dead_tunnel("web", &folder.key());
    for (ready_when, status) in [("settled", 200), ("any", 200), ("all", 503)] {
        let more = format!("ready_when = \"{ready_when}\"");
        let daemon = serving(at, &more, &tunnels);
        daemon.wait_phase("db", Phase::Up, LONG);
        daemon.wait_phase("web", Phase::Waiting, LONG);
        let answer = until(status, || over_tcp(at, "GET /readyz", &[]));
        let json = answer.json();
        assert_eq!(json["ready"], Value::Bool(status == 200), "{json}");
        assert_eq!(json["ready_when"], ready_when);
        let same = over_unix(daemon.socket(), "GET /readyz", &[]);
        assert_eq!(same.status, status, "{same:?}");
        if status == 503 {
            let waits = json["waiting_for"].as_array().unwrap();
            assert_eq!(waits.len(), 1, "{json}");
            assert_eq!(waits[0]["tunnel"], "web");
            let cause = waits[0]["cause"].as_str().unwrap();
            assert_has(cause, &["connection refused"]);
            // It is stopped on purpose: nobody waits for it any more.
            daemon.cli(&["stop", "web"]);
            until(200, || over_tcp(at, "GET /readyz", &[]));
        }
    }
}

#[test]
fn what_was_asked_for_at_the_start_is_asked_for_until_the_end() {
    // A reload says that another `ready_when` needs a restart; what is told here is no different.
    let (bed, folder, at) = (Bed::new(), Folder::new(), free_addr());
    let tunnels = bed.db() + &dead_tunnel("web", &folder.key());
    let daemon = serving(at, "ready_when = \"any\"", &tunnels);
    daemon.wait_phase("db", Phase::Up, LONG);
    until(200, || over_tcp(at, "GET /readyz", &[]));
    let keys = format!("metrics_listen = \"{at}\"\nready_when = \"all\"");
    daemon.write_config(&(tunnels + &daemon_table(&keys)));
    let reloaded = daemon.reload();
    assert_exit(&reloaded, 0);
    daemon.wait_for_log("in force only after a restart: ready_when", LONG);
    let answer = over_tcp(at, "GET /readyz", &[]);
    assert_eq!(
        (answer.status, &answer.json()["ready_when"]),
        (200, &"any".into())
    );
    let metrics = over_tcp(at, "GET /metrics", &[]).body;
    assert_has(&metrics, &["\ntunneld_ready 1\n"]);
}

#[test]
fn a_daemon_that_stops_is_alive_and_not_ready() {
    // While connections drain, whoever balances load sends nobody here any more.
    let (bed, at) = (Bed::new(), free_addr());
    let mut daemon = serving(at, "drain_timeout = \"1m\"", &bed.db());
    daemon.wait_phase("db", Phase::Up, LONG);
    until(200, || over_tcp(at, "GET /readyz", &[]));
    let client = connect(bed.listen);
    daemon.wait_for("db", LONG, |t| t.forwards[0].connections.open == 1);
    daemon.signal(Signal::TERM);
    until(503, || over_tcp(at, "GET /readyz", &[]));
    let alive = over_tcp(at, "GET /healthz", &[]);
    assert_eq!((alive.status, alive.body.as_str()), (200, "ok\n"));
    drop(client);
    assert_eq!(daemon.wait_exit(LONG).code(), Some(0));
}

#[test]
fn a_daemon_that_stops_before_it_was_ready_does_not_become_ready() {
    // The tunnel that was in the way is stopped then, and such do not count; a client holds up the end.
    let (bed, folder, at) = (Bed::new(), Folder::new(), free_addr());
    let keys = format!("metrics_listen = \"{at}\"\nready_when = \"all\"\ndrain_timeout = \"1m\"");
    let text = bed.db() + &dead_tunnel("web", &folder.key()) + &daemon_table(&keys);
    let mut daemon = builder().config(&text).notify().start();
    daemon.wait_phase("db", Phase::Up, LONG);
    daemon.wait_phase("web", Phase::Waiting, LONG);
    until(503, || over_tcp(at, "GET /readyz", &[]));
    let client = connect(bed.listen);
    daemon.wait_for("db", LONG, |t| t.forwards[0].connections.open == 1);
    daemon.signal(Signal::TERM);
    daemon.notify().wait_for("STOPPING=1", LONG);
    daemon.wait_phase("web", Phase::Stopped, LONG);
    let ready = |m: &Notification| m.has("READY=1");
    let said = daemon.notify().wait_until(0, Duration::from_secs(2), ready);
    assert!(said.is_none(), "{:#?}", daemon.notifications());
    assert_eq!(over_tcp(at, "GET /readyz", &[]).status, 503);
    assert!(!daemon.status().ready);
    drop(client);
    assert_eq!(daemon.wait_exit(LONG).code(), Some(0));
    assert!(!daemon.notifications().iter().any(ready));
}

#[test]
fn over_tcp_nothing_can_be_commanded() {
    // What is posted there is turned away with an error that programs understand, and does nothing.
    let (bed, at) = (Bed::new(), free_addr());
    let daemon = serving(at, "", &bed.db());
    daemon.wait_phase("db", Phase::Up, LONG);
    daemon.write_config("[tunnels.db]\nhosst = 1\n");
    for path in [
        "/v1/reload",
        "/v1/reload?dry_run=true",
        "/v1/tunnels/db/stop",
        "/v1/tunnels/db/restart",
    ] {
        for method in ["POST", "GET", "PUT"] {
            let answer = over_tcp(at, &format!("{method} {path}"), &[]);
            assert!([404, 405].contains(&answer.status), "{answer:?}");
            let kind = answer.json()["kind"].as_str().unwrap().to_owned();
            assert!(kind == "not-found" || kind == "method-not-allowed");
        }
    }
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/v1/status",
        "/v1/events",
    ] {
        let answer = over_tcp(at, &format!("POST {path}"), &[]);
        assert_eq!(answer.status, 405, "{answer:?}");
        assert_eq!(answer.json()["kind"], "method-not-allowed");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    }
    let status = daemon.status();
    assert_eq!(status.last_reload, None);
    assert_eq!(status.tunnels[0].sessions, 1);
    echoes(bed.listen).unwrap();
}

#[test]
fn head_answers_as_get_does_without_the_body() {
    // As load balancers ask.
    let (bed, at) = (Bed::new(), free_addr());
    let daemon = serving(at, "", &bed.db());
    daemon.wait_phase("db", Phase::Up, LONG);
    until(200, || over_tcp(at, "HEAD /readyz", &[]));
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = over_tcp(at, &format!("HEAD {path}"), &[]);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
        assert!(answer.header("content-length").is_some(), "{answer:?}");
        let answer = over_unix(daemon.socket(), &format!("HEAD {path}"), &[]);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
    }
}

#[test]
fn a_web_page_whose_name_leads_here_reads_nothing() {
    // DNS rebinding: on a loopback address a request is for an address, localhost or this machine.
    let (bed, at) = (Bed::new(), free_addr());
    let daemon = serving(at, "", &bed.db());
    let ask = |host: &str| over_tcp(at, "GET /metrics", &[("Host", host)]);
    let machine = machine();
    for host in ["localhost", "127.0.0.1:9478", "[::1]", machine.as_str()] {
        assert_eq!(ask(host).status, 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:9478",
        "localhost.evil.example",
    ] {
        let answer = ask(host);
        assert_eq!(answer.status, 421, "{host}");
        assert_eq!(answer.json()["kind"], "wrong-host");
        assert!(!answer.body.contains("db"), "{answer:?}");
    }
    assert_eq!(over_unix(daemon.socket(), "GET /metrics", &[]).status, 200);
}

#[test]
fn a_loopback_address_in_the_form_of_ipv6_is_one() {
    // `::ffff:127.0.0.1` is what a browser reaches as 127.0.0.1.
    let bed = Bed::new();
    let at = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), free_low_port());
    let _daemon = serving(at, "", &bed.db());
    let foreign = [("Host", "evil.example")];
    for path in ["/metrics", "/v1/status", "/"] {
        let ask = |headers: &[_]| over_tcp(at, &format!("GET {path}"), headers).status;
        assert_eq!((ask(&[]), ask(&foreign)), (200, 421), "{path}");
    }
}

#[test]
fn on_every_address_tunnels_are_told_by_the_names_of_this_machine() {
    // `[::]`: Prometheus elsewhere knows the machine by the name that its DNS has, for its metrics; a
    // web page whose name leads here reads neither tunnels nor the page.
    let bed = Bed::new();
    let port = free_low_port();
    let everywhere = SocketAddr::new("::".parse().unwrap(), port);
    let _daemon = serving(everywhere, "", &bed.db());
    let machine = machine();
    let domain = format!("{machine}.internal.example:{port}");
    for ip in ["127.0.0.1", "::1"] {
        let at = SocketAddr::new(ip.parse().unwrap(), port);
        let ask = |path: &str, host: &str| over_tcp(at, &format!("GET {path}"), &[("Host", host)]);
        for path in ["/metrics", "/healthz", "/readyz"] {
            until(200, || ask(path, "db1.internal.example:9478"));
        }
        for path in ["/", "/v1/status", "/v1/events", "/v1/tunnels/db/history"] {
            let answer = ask(path, "evil.example");
            assert_eq!(answer.status, 421, "{path}");
            assert_eq!(answer.json()["kind"], "wrong-host");
        }
        for path in ["/", "/v1/status", "/v1/tunnels/db/history"] {
            for host in ["localhost", "192.0.2.1:9478", &machine, &domain] {
                assert_eq!(ask(path, host).status, 200, "{path} for {host}");
            }
        }
    }
}

#[test]
fn a_port_that_is_busy_keeps_no_tunnel_down_and_is_asked_for_again() {
    // It is told once, with who has it, as far as the daemon may see that; when it is free, it is served.
    let (bed, at) = (Bed::new(), free_addr());
    let holder = TcpListener::bind(at).unwrap();
    let table = daemon_table(&format!("metrics_listen = \"{at}\"\nsandbox = false"));
    let daemon = up(builder().config(&(bed.db() + &table)));
    let line = daemon.wait_for_log("no metrics and no health over HTTP", LONG);
    let pid = std::process::id().to_string();
    assert_has(&line, &[&at.to_string(), "address already in use", &pid]);
    echoes(bed.listen).unwrap();
    drop(holder);
    let asked = std::time::Instant::now();
    daemon.wait_for_log("serving metrics on http://", LONG);
    assert!(asked.elapsed() < Duration::from_secs(15));
    assert_eq!(over_tcp(at, "GET /healthz", &[]).status, 200);
    let told = daemon
        .log_text()
        .matches("no metrics and no health")
        .count();
    assert_eq!(told, 1, "{}", daemon.log_text());
}
