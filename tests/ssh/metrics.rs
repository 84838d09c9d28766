//! The numbers of `/metrics` are true: they are those of a test that counts itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tunneld_core::refusal::Refusal;
use tunneld_core::status::{ForwardStatus, Phase};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::http::Metrics;
use tunneld_lab::process::poll;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, Source, TcpServer, connect, echoes, free_addr};

use crate::limited::{Limited, each_kind};
use crate::support::{LONG, NEVER, Rig, carried, refused};

/// Waits for a sample of `/metrics` to be as wanted, and returns it.
#[track_caller]
fn until(daemon: &Daemon, sample: &str, wanted: impl Fn(f64) -> bool) -> f64 {
    let mut last = None;
    let found = poll(LONG, || {
        let value = Metrics::of(daemon.socket()).value(sample);
        last = Some(value);
        wanted(value).then_some(value)
    });
    found.unwrap_or_else(|| panic!("{sample} is {last:?}"))
}

#[test]
fn bytes_and_connections_are_those_that_were_carried() {
    // On each kind of forward: sent is what the clients sent, received what they got.
    const SENT: usize = 300_000;
    const BACK: usize = 1_234;
    each_kind(|kind| {
        let half = move |mut stream: TcpStream| {
            let mut asked = vec![0; SENT];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(&asked[..BACK]).unwrap();
        };
        let server = TcpServer::start_anywhere(half);
        let rig = Limited::new(kind, server.addr(), "name = \"f\"");
        let mut client = rig.client();
        client.write_all(&vec![7; SENT]).unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), BACK, "{kind:?}");
        drop(client);
        let of = |what: &str| format!("tunneld_forward_{what}");
        let labels = "{tunnel=\"t\",forward=\"f\"}";
        let open = of(&format!("connections_open{labels}"));
        until(&rig.daemon, &open, |open| open == 0.0);
        let metrics = Metrics::of(rig.daemon.socket());
        let bytes = |way| {
            let sample = format!("bytes_total{{tunnel=\"t\",forward=\"f\",direction=\"{way}\"}}");
            metrics.value(&of(&sample))
        };
        // The two sides of a dynamic forward's question are not part of what is carried.
        assert_eq!(bytes("sent"), SENT as f64, "{kind:?}");
        assert_eq!(bytes("received"), BACK as f64, "{kind:?}");
        let total = of(&format!("connections_total{labels}"));
        assert_eq!(metrics.value(&total), 1.0, "{kind:?}");
        assert_eq!(metrics.value(&of(&format!("up{labels}"))), 1.0);
    });
}

/// How many connections of the tunnel's forward with this name were refused for this.
fn refusals(daemon: &Daemon, forward: &str, why: Refusal) -> f64 {
    let reason = why.as_str();
    let sample = format!(
        "tunneld_forward_connections_refused_total{{tunnel=\"t\",forward=\"{forward}\",reason=\"{reason}\"}}"
    );
    until(daemon, &sample, |count| count > 0.0)
}

#[test]
fn refused_connections_are_counted_by_what_they_were_refused_for() {
    // One of each; and the sum of the status is their sum.
    let echo = EchoServer::start();
    let [limited, barred, dead, free] = [(); 4].map(|()| free_addr());
    let mut rig = Rig::new(|t| {
        t.set("reconnect", NEVER)
            .forward_with(
                limited,
                echo.addr(),
                "name = \"limited\", max_connections = 1",
            )
            .forward_with(
                barred,
                echo.addr(),
                "name = \"barred\", allow = \"127.0.0.2\"",
            )
            .forward_with(
                dead,
                free_addr(),
                "name = \"dead\", while_down = \"refuse\"",
            )
            .dynamic_with(free, "name = \"free\"")
    });
    let _first = carried(limited);
    for listen in [limited, barred, dead] {
        refused(listen);
    }
    let mut client = connect(free);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    for (forward, why) in [
        ("limited", Refusal::Limit),
        ("barred", Refusal::NotAllowed),
        ("dead", Refusal::Target),
        ("free", Refusal::Handshake),
    ] {
        assert_eq!(refusals(&rig.daemon, forward, why), 1.0, "{forward}");
    }
    let named =
        |f: &&ForwardStatus| ["limited", "barred", "dead", "free"].contains(&f.name.as_str());
    for forward in rig.status().forwards.iter().filter(named) {
        let sum: u64 = forward.connections.refused_by.values().sum();
        assert_eq!((forward.connections.refused, sum), (1, 1), "{forward:?}");
    }
    rig.sshd.kill9();
    rig.daemon.wait_phase("t", Phase::Waiting, LONG);
    refused(dead);
    assert_eq!(refusals(&rig.daemon, "dead", Refusal::Down), 1.0);
    let up = "tunneld_forward_up{tunnel=\"t\",forward=\"dead\"}";
    assert_eq!(Metrics::of(rig.daemon.socket()).value(up), 0.0);
}

#[test]
fn what_the_servers_rules_forbid_is_counted_as_such() {
    // AllowTcpForwarding no.
    let sshd = Sshd::builder().config("AllowTcpForwarding no").start();
    let rig = Rig::with(sshd, |t| t);
    refused(rig.listen);
    let forward = rig.status().forwards[0].name.to_string();
    assert_eq!(refusals(&rig.daemon, &forward, Refusal::Prohibited), 1.0);
}

#[test]
fn a_server_that_dies_shows_in_transitions_failures_and_times() {
    // Up, down, up again; and the histogram of the round trips goes on where it was.
    let mut rig = Rig::new(|t| {
        let delays = r#"{ initial = "500ms", max = "500ms", jitter = 0.0 }"#;
        t.alive("100ms", 10).set("reconnect", delays)
    });
    let trips = "tunneld_keepalive_round_trip_seconds_count{tunnel=\"t\"}";
    let before = until(&rig.daemon, trips, |count| count >= 2.0);
    rig.sshd.kill9();
    rig.daemon.wait_phase("t", Phase::Waiting, LONG);
    let down = Metrics::of(rig.daemon.socket());
    assert_eq!(down.value("tunneld_tunnel_up{tunnel=\"t\"}"), 0.0);
    assert!(down.value(trips) >= before);
    rig.sshd.restart();
    rig.daemon.wait_phase("t", Phase::Up, LONG);
    echoes(rig.listen).unwrap();
    let counted = down.value(trips);
    until(&rig.daemon, trips, |count| count >= counted + 2.0);

    let metrics = Metrics::of(rig.daemon.socket());
    let state = |family: &str, state: &str| {
        metrics.value(&format!(
            "tunneld_tunnel_{family}{{tunnel=\"t\",state=\"{state}\"}}"
        ))
    };
    assert_eq!(state("state", "up"), 1.0);
    assert_eq!(state("state", "waiting"), 0.0);
    assert_eq!(state("transitions_total", "up"), 2.0);
    assert!(state("transitions_total", "waiting") >= 1.0);
    assert!(state("state_seconds_total", "waiting") > 0.0);
    assert!(state("state_seconds_total", "up") > 0.2);
    let broke = "tunneld_tunnel_failures_total{tunnel=\"t\",stage=\"session\",class=\"transient\"}";
    assert!(metrics.value(broke) >= 1.0);
    assert_eq!(
        metrics.value("tunneld_tunnel_sessions_total{tunnel=\"t\"}"),
        2.0
    );
    assert_eq!(
        metrics.value("tunneld_tunnel_sessions_open{tunnel=\"t\"}"),
        1.0
    );
    let sum = metrics.value("tunneld_keepalive_round_trip_seconds_sum{tunnel=\"t\"}");
    assert!(sum > 0.0 && sum < 60.0, "{sum}");
}

#[test]
fn a_client_that_does_not_read_shows_as_backlog_and_then_as_stalled() {
    // What is held for it is told while it is held, and that it was cut off when it was.
    let source = Source::start(1 << 40, 9);
    let listen = free_addr();
    let rig = Rig::new(|t| {
        t.set("stall_timeout", "\"2s\"")
            .forward_with(listen, source.addr(), "name = \"f\"")
    });
    let client = connect(listen);
    let backlog = "tunneld_tunnel_backlog_bytes{tunnel=\"t\"}";
    let held = until(&rig.daemon, backlog, |bytes| bytes >= f64::from(4 << 20));
    assert!(held < f64::from(64 << 20), "{held}");
    let stalled = "tunneld_forward_connections_stalled_total{tunnel=\"t\",forward=\"f\"}";
    until(&rig.daemon, stalled, |count| count == 1.0);
    until(&rig.daemon, backlog, |bytes| bytes == 0.0);
    drop(client);
}

#[test]
fn a_next_attempt_has_its_time_and_a_forward_its_probe() {
    // Both are there while they mean something, and not at all otherwise.
    let (echo, probed) = (EchoServer::start(), free_addr());
    let mut rig = Rig::new(|t| {
        t.set("reconnect", NEVER)
            .forward_with(probed, echo.addr(), "name = \"f\", probe = true")
    });
    let probe = "tunneld_forward_probe_success{tunnel=\"t\",forward=\"f\"}";
    let retry = "tunneld_tunnel_next_retry_timestamp_seconds{tunnel=\"t\"}";
    let up = Metrics::of(rig.daemon.socket());
    assert_eq!(up.value(probe), 1.0);
    assert!(!up.0.contains(retry), "{}", up.0);
    rig.sshd.kill9();
    let status = rig.daemon.wait_phase("t", Phase::Waiting, LONG);
    let down = Metrics::of(rig.daemon.socket());
    assert!(!down.0.contains(probe), "{}", down.0);
    let expected = Duration::from_millis(status.retry_at_unix_ms.unwrap()).as_secs_f64();
    let at = down.value(retry);
    assert!((at - expected).abs() < 0.1, "{at} {expected}");
}
