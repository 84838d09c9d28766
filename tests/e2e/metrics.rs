//! `/metrics`: in both forms, to a real parser and a real Prometheus, for a thousand tunnels.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tunneld_core::status::Phase;
use tunneld_lab::http::{Metrics, over_tcp, over_unix};
use tunneld_lab::process::{poll, require};
use tunneld_lab::prometheus::Prometheus;
use tunneld_lab::target::{echoes, free_addr};

use crate::many_tunnels::{MANY, Many};
use crate::metrics_alerts::{dashboard_expressions, package};
use crate::support::{Bed, LONG, assert_exit, command, serving};

/// What `promtool check metrics` says about a text.
fn promtool(text: &str) -> std::process::Output {
    require("promtool", "prometheus");
    let mut child = command("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn promtool_has_nothing_to_say_about_the_text() {
    // Neither about its form, nor about the names.
    let bed = Bed::new();
    let daemon = bed.up();
    echoes(bed.listen).unwrap();
    assert_exit(&daemon.reload(), 0);
    let answer = over_unix(daemon.socket(), "GET /metrics", &[]);
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    let output = promtool(&answer.body);
    assert_exit(&output, 0);
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn openmetrics_is_for_whoever_asks_for_it() {
    // Over TCP and on the socket; the numbers are the same.
    let (bed, at) = (Bed::new(), free_addr());
    let daemon = serving(at, "", &bed.db());
    daemon.wait_phase("db", Phase::Up, LONG);
    let wanted = [(
        "Accept",
        "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
    )];
    for answer in [
        over_tcp(at, "GET /metrics", &wanted),
        over_unix(daemon.socket(), "GET /metrics", &wanted),
    ] {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(answer.header("content-type"), Some(kind));
        assert!(answer.body.ends_with("\n# EOF\n"));
        let up = "tunneld_tunnel_up{tunnel=\"db\"}";
        assert_eq!(Metrics(answer.body).value(up), 1.0);
    }
}

#[test]
fn a_real_prometheus_scrapes_it_and_knows_what_rules_and_dashboard_ask_for() {
    // It asks for OpenMetrics, takes every family, and evaluates each expression that we ship.
    let (bed, at) = (Bed::new(), free_addr());
    let daemon = serving(at, "", &bed.db());
    daemon.wait_phase("db", Phase::Up, LONG);
    let prometheus = Prometheus::start(at, &package("prometheus/tunneld.rules.yml"));
    let up = "tunneld_tunnel_up{tunnel=\"db\"} == 1 and on () up{job=\"tunneld\"} == 1";
    let scraped = poll(LONG, || {
        let series = prometheus.query(up).unwrap();
        (!series.is_empty()).then_some(())
    });
    assert!(scraped.is_some(), "{:?}", prometheus.scrape());
    assert_eq!(prometheus.scrape(), ("up".to_owned(), String::new()));
    let names = prometheus.names();
    let text = Metrics::of(daemon.socket()).0;
    let sample = |line: &&str| !line.starts_with('#');
    for line in text.lines().filter(sample) {
        let name = line.split(['{', ' ']).next().unwrap().to_owned();
        assert!(names.contains(&name), "not taken: {name}");
    }
    let rules = prometheus.rules();
    assert!(rules.len() > 5, "{rules:?}");
    for expression in rules.into_iter().chain(dashboard_expressions()) {
        if let Err(problem) = prometheus.query(&expression) {
            panic!("{expression}: {problem}");
        }
    }
}

#[test]
fn reloads_are_counted_and_the_last_one_is_told() {
    // A refused one shows until one is taken.
    let bed = Bed::new();
    let daemon = bed.up();
    let counts = || {
        let metrics = Metrics::of(daemon.socket());
        [
            "tunneld_last_reload_success",
            "tunneld_reloads_total{result=\"ok\"}",
            "tunneld_reloads_total{result=\"refused\"}",
        ]
        .map(|name| metrics.value(name))
    };
    assert_eq!(counts(), [1.0, 0.0, 0.0]);
    daemon.write_config("[tunnels.db]\nhosst = 1\n");
    assert_exit(&daemon.reload(), 78);
    assert_eq!(counts(), [0.0, 0.0, 1.0]);
    let metrics = Metrics::of(daemon.socket());
    let start = metrics.value("tunneld_start_time_seconds");
    assert!(metrics.value("tunneld_last_reload_timestamp_seconds") >= start);
    daemon.write_config(&bed.db());
    assert_exit(&daemon.cli(&["reload", "--dry-run"]), 0);
    assert_eq!(counts(), [0.0, 0.0, 1.0]);
    assert_exit(&daemon.reload(), 0);
    assert_eq!(counts(), [1.0, 1.0, 1.0]);
}

#[test]
fn a_scrape_of_a_thousand_tunnels_is_quick_and_bounded() {
    // And it has every one of them, whatever state it is in.
    let many = Many::new();
    let daemon = many.daemon("");
    let before = Instant::now();
    let metrics = Metrics::of(daemon.socket());
    let took = before.elapsed();
    let series = metrics.0.lines().filter(|l| !l.starts_with('#')).count();
    eprintln!(
        "a scrape of {MANY} tunnels took {took:?}: {} KiB, {series} series",
        metrics.0.len() >> 10
    );
    let ups = metrics.0.matches("\ntunneld_tunnel_up{").count();
    assert_eq!(ups, usize::from(MANY));
    assert!(series < 80 * usize::from(MANY), "{series}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_exit(&promtool(&metrics.0), 0);
}
