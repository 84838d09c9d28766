//! The alert rules and the dashboard that are shipped: valid, and in step with metrics and documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tunneld_lab::process::require;

use crate::manual_page::repository;
use crate::support::{LONG, assert_exit, command, within};

/// A file of `packaging/`.
pub(crate) fn package(name: &str) -> PathBuf {
    let path = repository().join("packaging").join(name);
    path.canonicalize().unwrap()
}

/// Every expression of the dashboard, with something in the place of Grafana's variables.
pub(crate) fn dashboard_expressions() -> Vec<String> {
    let text = fs::read_to_string(package("grafana/tunneld.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    collect(&dashboard, &mut found);
    assert!(found.len() > 10, "{found:?}");
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(expression)) = fields.get("expr") {
                let filled = expression
                    .replace("$__rate_interval", "5m")
                    .replace("$__interval", "5m")
                    .replace("$instance", ".*")
                    .replace("$tunnel", ".*")
                    .replace("$job", "tunneld");
                assert!(!filled.contains('$'), "{filled}");
                found.push(filled);
            }
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// The names of metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|w| w.starts_with("tunneld_") || w.starts_with("process_"));
    ours.map(|w| w.strip_suffix("_bucket").unwrap_or(w).to_owned())
        .collect()
}

fn documentation() -> String {
    fs::read_to_string(repository().join("docs/metrics.md")).unwrap()
}

#[test]
fn rules_and_dashboard_use_only_metrics_that_there_are() {
    // Those of docs/metrics.md, which a test of its own compares with /metrics.
    let known = crate::manual::metrics();
    let rules = fs::read_to_string(package("prometheus/tunneld.rules.yml")).unwrap();
    let rules = rules.lines().filter(|line| line.contains("expr: "));
    let rules = rules.map(ToOwned::to_owned);
    for expression in rules.chain(dashboard_expressions()) {
        for name in metrics_in(&expression) {
            assert!(known.contains(&name), "{name}: {expression}");
        }
    }
}

#[test]
fn the_alerts_pass_promtool_and_its_tests() {
    // `check rules` for their form, `test rules` for when each comes, and when it does not.
    require("promtool", "prometheus");
    for (what, file) in [("check", "tunneld.rules.yml"), ("test", "tests.yml")] {
        let file = package(&format!("prometheus/{file}"));
        let mut promtool = command("promtool");
        let output = within(promtool.args([what, "rules"]).arg(file), LONG);
        assert_exit(&output, 0);
    }
}

#[test]
fn each_alert_is_tested_and_leads_to_its_section() {
    // Its runbook is a heading of docs/metrics.md.
    let rules = fs::read_to_string(package("prometheus/tunneld.rules.yml")).unwrap();
    let tests = fs::read_to_string(package("prometheus/tests.yml")).unwrap();
    let documentation = documentation();
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 8);
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for part in ["severity: ", "summary: ", "description: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        let runbook = format!("runbook: docs/metrics.md#{}\n", name.to_lowercase());
        assert!(alert.contains(&runbook), "{name}: {runbook}");
        assert!(documentation.contains(&format!("\n### {name}\n")), "{name}");
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name}");
    }
}
