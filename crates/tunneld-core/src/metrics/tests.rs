use super::*;
use crate::failure::{Failure, Stage};
use crate::refusal::Refusal;
use crate::status::{
    CertificateStatus, ConnectionCounts, ForwardStatus, Phase, ReloadStatus, TunnelStatus,
};

fn at(seconds: u64) -> Moment {
    Moment {
        unix_ms: 1_000_000_000_000 + seconds * 1000,
        since_start: Duration::from_secs(seconds),
    }
}

fn forward() -> ForwardStatus {
    ForwardStatus {
        name: "pg".parse().unwrap(),
        kind: "local".to_owned(),
        listen: "/run/a \"b\".sock".to_owned(),
        allocated_port: None,
        connect: "localhost:5432".to_owned(),
        failure: None,
        probe_answered: Some(true),
        connections: ConnectionCounts {
            open: 2,
            total: 7,
            refused: 4,
            refused_by: [(Refusal::Limit, 3), (Refusal::Target, 1)].into(),
            stalled: 1,
        },
        bytes_sent: 10,
        bytes_received: 20,
        last_refusal: None,
    }
}

fn tunnel(name: &str, phase: Phase) -> TunnelStatus {
    TunnelStatus {
        name: name.parse().unwrap(),
        phase,
        since_unix_ms: 1_000_000_001_500,
        stopped_by: None,
        destination: "u@h:22".to_owned(),
        down_since_unix_ms: None,
        attempts: 0,
        sessions: 3,
        sessions_open: 2,
        relief_sessions: 1,
        failure: None,
        retry_at_unix_ms: (phase == Phase::Waiting).then_some(1_000_000_060_000),
        session: None,
        forwards: vec![forward()],
        warnings: vec![],
        certificates: vec![CertificateStatus {
            file: "/etc/a\nb".to_owned(),
            key_id: String::new(),
            fingerprint: String::new(),
            valid_after_unix_s: None,
            valid_before_unix_s: Some(2_000_000_000),
        }],
    }
}

fn more() -> More {
    let refused = Failure::transient(Stage::Connect, "connection refused");
    let mut ledger = Ledger::new(at(0));
    ledger.enter(at(1), Phase::Up, None);
    ledger.fail(&refused);
    ledger.enter(at(4), Phase::Waiting, Some(&refused));
    let round_trips = Histogram::default();
    round_trips.note(Duration::from_millis(3));
    round_trips.note(Duration::from_secs(60));
    More {
        ledger,
        round_trips: round_trips.counts(),
        backlog: 4096,
        clogged: 1,
    }
}

/// A daemon of which there is something to tell in every family.
fn scrape() -> Scrape {
    Scrape {
        now: at(10),
        status: DaemonStatus {
            version: "1.2.3".to_owned(),
            pid: 1,
            started_unix_ms: 1_000_000_000_000,
            config: String::new(),
            ready: true,
            stopping: false,
            last_reload: Some(ReloadStatus {
                at_unix_ms: 1_000_000_005_000,
                ok: false,
                error: Some("no".to_owned()),
                accepted: 2,
                refused: 1,
            }),
            needs_restart: Vec::new(),
            tunnels: vec![tunnel("db", Phase::Waiting), tunnel("web", Phase::Up)],
        },
        ready: false,
        tunnels: vec![more(), more()],
        process: Some(Process {
            cpu: Duration::from_millis(1500),
            resident: 1 << 20,
            virt: 1 << 30,
            open_files: 12,
            max_files: Some(1024),
        }),
    }
}

#[test]
fn each_number_is_where_it_belongs() {
    let text = scrape().page(Form::Text);
    for line in [
        "tunneld_build_info{version=\"1.2.3\"} 1",
        "tunneld_start_time_seconds 1000000000",
        "tunneld_ready 0",
        "tunneld_last_reload_success 0",
        "tunneld_last_reload_timestamp_seconds 1000000005",
        "tunneld_reloads_total{result=\"ok\"} 2",
        "tunneld_reloads_total{result=\"refused\"} 1",
        "tunneld_tunnel_state{tunnel=\"db\",state=\"waiting\"} 1",
        "tunneld_tunnel_state{tunnel=\"db\",state=\"up\"} 0",
        "tunneld_tunnel_up{tunnel=\"db\"} 0",
        "tunneld_tunnel_up{tunnel=\"web\"} 1",
        "tunneld_tunnel_transitions_total{tunnel=\"db\",state=\"up\"} 1",
        "tunneld_tunnel_transitions_total{tunnel=\"db\",state=\"blocked\"} 0",
        "tunneld_tunnel_outages_total{tunnel=\"db\"} 1",
        "tunneld_tunnel_failures_total{tunnel=\"db\",stage=\"connect\",class=\"transient\"} 1",
        "tunneld_tunnel_state_seconds_total{tunnel=\"db\",state=\"up\"} 3",
        "tunneld_tunnel_state_seconds_total{tunnel=\"db\",state=\"waiting\"} 6",
        "tunneld_tunnel_state_since_timestamp_seconds{tunnel=\"db\"} 1000000001.5",
        "tunneld_tunnel_next_retry_timestamp_seconds{tunnel=\"db\"} 1000000060",
        "tunneld_keepalive_round_trip_seconds_bucket{tunnel=\"db\",le=\"0.0025\"} 0",
        "tunneld_keepalive_round_trip_seconds_bucket{tunnel=\"db\",le=\"0.005\"} 1",
        "tunneld_keepalive_round_trip_seconds_bucket{tunnel=\"db\",le=\"10.0\"} 1",
        "tunneld_keepalive_round_trip_seconds_bucket{tunnel=\"db\",le=\"+Inf\"} 2",
        "tunneld_keepalive_round_trip_seconds_sum{tunnel=\"db\"} 60.003",
        "tunneld_keepalive_round_trip_seconds_count{tunnel=\"db\"} 2",
        "tunneld_tunnel_sessions_open{tunnel=\"db\"} 2",
        "tunneld_tunnel_sessions_relief{tunnel=\"db\"} 1",
        "tunneld_tunnel_sessions_clogged{tunnel=\"db\"} 1",
        "tunneld_tunnel_backlog_bytes{tunnel=\"db\"} 4096",
        "tunneld_tunnel_sessions_total{tunnel=\"db\"} 3",
        "tunneld_certificate_expiry_timestamp_seconds{tunnel=\"db\",file=\"/etc/a\\nb\"} 2000000000",
        "tunneld_forward_info{tunnel=\"db\",forward=\"pg\",kind=\"local\",listen=\"/run/a \\\"b\\\".sock\",connect=\"localhost:5432\"} 1",
        "tunneld_forward_up{tunnel=\"db\",forward=\"pg\"} 0",
        "tunneld_forward_up{tunnel=\"web\",forward=\"pg\"} 1",
        "tunneld_forward_probe_success{tunnel=\"db\",forward=\"pg\"} 1",
        "tunneld_forward_connections_open{tunnel=\"db\",forward=\"pg\"} 2",
        "tunneld_forward_connections_total{tunnel=\"db\",forward=\"pg\"} 7",
        "tunneld_forward_connections_refused_total{tunnel=\"db\",forward=\"pg\",reason=\"limit\"} 3",
        "tunneld_forward_connections_refused_total{tunnel=\"db\",forward=\"pg\",reason=\"down\"} 0",
        "tunneld_forward_connections_stalled_total{tunnel=\"db\",forward=\"pg\"} 1",
        "tunneld_forward_bytes_total{tunnel=\"db\",forward=\"pg\",direction=\"sent\"} 10",
        "tunneld_forward_bytes_total{tunnel=\"db\",forward=\"pg\",direction=\"received\"} 20",
        "process_cpu_seconds_total 1.5",
        "process_resident_memory_bytes 1048576",
        "process_open_fds 12",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    let retries = text.matches("next_retry_timestamp_seconds{").count();
    assert_eq!(retries, 1, "only who waits has a next attempt");
}

#[test]
fn a_daemon_without_tunnels_or_reloads_has_a_page_too() {
    let mut scrape = scrape();
    scrape.status.tunnels.clear();
    scrape.tunnels.clear();
    scrape.status.last_reload = None;
    scrape.process = None;
    let text = scrape.page(Form::OpenMetrics);
    assert!(text.contains("\ntunneld_last_reload_success 1\n"), "{text}");
    let start = "\ntunneld_last_reload_timestamp_seconds 1000000000\n";
    assert!(text.contains(start), "{text}");
    assert!(text.ends_with("\n# EOF\n"), "{text}");
}

/// What a line says after `# HELP ` or `# TYPE `: a name and the rest.
fn said<'a>(text: &'a str, what: &str) -> Vec<(&'a str, &'a str)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(what));
    lines.map(|line| line.split_once(' ').unwrap()).collect()
}

/// The labels of the samples of a family, `le` left out.
fn labels(text: &str, family: &str) -> String {
    let sample = |line: &&str| {
        let rest = line.strip_prefix(family);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']) || rest.starts_with("_bucket{"))
    };
    let line = text.lines().find(sample).unwrap();
    let names = line.split("=\"").map(|part| {
        let at = part.rfind(['{', ',']).map_or(0, |at| at + 1);
        &part[at..]
    });
    let count = line.matches("=\"").count();
    let names: Vec<_> = names.take(count).filter(|name| *name != "le").collect();
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn the_documentation_lists_every_family_and_no_other() {
    // docs/metrics.md has a row for each, with the words of its HELP.
    let (text, open) = (scrape().page(Form::Text), scrape().page(Form::OpenMetrics));
    let types = said(&open, "# TYPE ");
    let helps = said(&text, "# HELP ");
    assert_eq!(types.len(), helps.len());
    let rows = helps.iter().zip(types).map(|((name, help), (_, kind))| {
        let labels = labels(&text, name);
        format!("| `{name}` | {kind} | {labels} | {help} |")
    });
    let expected: Vec<String> = rows.map(|row| row.replace("|  |", "| |")).collect();
    let documentation = include_str!("../../../../docs/metrics.md");
    let rows = documentation
        .lines()
        .filter(|line| line.starts_with("| `tunneld_") || line.starts_with("| `process_"));
    let rows: Vec<&str> = rows.collect();
    assert_eq!(
        rows,
        expected,
        "docs/metrics.md should have:\n{}",
        expected.join("\n")
    );
}
