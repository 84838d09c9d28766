//! The promise: the status is what the schema in docs says, old and new, and one line sums it up.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::failure::Stage;
use crate::refusal::Refusal;

fn tunnel(name: &str, phase: Phase) -> TunnelStatus {
    TunnelStatus::new(name.parse().unwrap(), phase, 0, "u@h:22".into())
}

#[test]
fn the_summary_names_what_is_down_and_when_it_tries_again() {
    let db = TunnelStatus {
        failure: Some(Failure::transient(Stage::Connect, "connection refused")),
        retry_at_unix_ms: Some(108_000),
        ..tunnel("db", Phase::Waiting)
    };
    let up = tunnel("web", Phase::Up);
    let off = tunnel("old", Phase::Stopped);
    assert_eq!(
        summary(&[up.clone(), db, off.clone()], 100_500),
        "1 of 2 up; db: retry in 8s (connection refused)"
    );
    assert_eq!(summary(std::slice::from_ref(&up), 0), "1 of 1 up");
    assert_eq!(summary(&[off], 0), "1 stopped");
    assert_eq!(summary(&[], 0), "no tunnels");
}

#[test]
fn the_summary_stays_one_short_line_with_many_tunnels_down() {
    let many: Vec<_> = (0..50)
        .map(|i| tunnel(&format!("t{i}"), Phase::Connecting))
        .collect();
    assert_eq!(
        summary(&many, 0),
        "0 of 50 up; t0: connecting; t1: connecting; t2: connecting; and 47 more"
    );
}

#[test]
fn a_status_survives_its_json() {
    let mut status = tunnel("db", Phase::Up);
    status.failure = Some(Failure::blocked(Stage::HostKey, "x").with_hint("y"));
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<TunnelStatus>(&json).unwrap(), status);
}

#[test]
fn a_status_of_an_older_daemon_is_understood() {
    let now = tunnel("db", Phase::Up);
    let mut json = serde_json::to_value(&now).unwrap();
    let fields = json.as_object_mut().unwrap();
    fields.remove("sessions_open").unwrap();
    fields.remove("relief_sessions").unwrap();
    fields.remove("certificates").unwrap();
    assert_eq!(serde_json::from_value::<TunnelStatus>(json).unwrap(), now);
    let forward = r#"{"name": "pg", "kind": "local", "listen": "a", "connect": "b",
        "connections": {"open": 0, "total": 0, "refused": 0},
        "bytes_sent": 0, "bytes_received": 0}"#;
    let forward: ForwardStatus = serde_json::from_str(forward).unwrap();
    assert_eq!(forward.allocated_port, None);
    assert!(
        !serde_json::to_string(&forward)
            .unwrap()
            .contains("allocated")
    );
}

/// Everything that a status can have, and the least.
fn samples() -> [DaemonStatus; 2] {
    let failure = Failure::blocked(Stage::HostKey, "x").with_hint("y");
    let forward = ForwardStatus {
        probe_answered: Some(true),
        name: "pg".parse().unwrap(),
        kind: "local".into(),
        listen: "a".into(),
        allocated_port: Some(1),
        connect: "b".into(),
        failure: Some(failure.clone()),
        connections: ConnectionCounts {
            refused_by: [(Refusal::Down, 1)].into(),
            ..ConnectionCounts::default()
        },
        bytes_sent: 0,
        bytes_received: 0,
        last_refusal: Some("z".into()),
    };
    let session = SessionStatus {
        peer: "p".into(),
        since_unix_ms: 0,
        server: "s".into(),
        kex: "k".into(),
        cipher: "c".into(),
        mac: "m".into(),
        compression: "none".into(),
        host_key: "h".into(),
        round_trip_us: Some(1),
    };
    let certificate = CertificateStatus {
        file: "f".into(),
        key_id: "i".into(),
        fingerprint: "SHA256:x".into(),
        valid_after_unix_s: Some(1),
        valid_before_unix_s: Some(2),
    };
    let reload = ReloadStatus {
        accepted: 0,
        refused: 1,
        at_unix_ms: 0,
        ok: false,
        error: Some("e".into()),
    };
    let all = DaemonStatus {
        version: "1".into(),
        pid: 1,
        started_unix_ms: 0,
        config: "t".into(),
        ready: true,
        stopping: false,
        last_reload: Some(reload),
        needs_restart: vec!["ready_when".into()],
        tunnels: vec![TunnelStatus {
            down_since_unix_ms: Some(1),
            stopped_by: Some(StoppedBy::File),
            failure: Some(failure),
            retry_at_unix_ms: Some(1),
            session: Some(session),
            forwards: vec![forward],
            warnings: vec!["w".into()],
            certificates: vec![certificate],
            ..tunnel("db", Phase::Up)
        }],
    };
    let mut least = all.clone();
    let tunnel = &mut least.tunnels[0];
    if let Some(reload) = &mut least.last_reload {
        reload.error = None;
    }
    if let Some(failure) = &mut tunnel.failure {
        failure.hint = None;
    }
    if let Some(session) = &mut tunnel.session {
        session.round_trip_us = None;
    }
    tunnel.stopped_by = None;
    tunnel.retry_at_unix_ms = None;
    tunnel.certificates[0].valid_after_unix_s = None;
    tunnel.certificates[0].valid_before_unix_s = None;
    let forward = &mut tunnel.forwards[0];
    (forward.allocated_port, forward.failure) = (None, None);
    forward.last_refusal = None;
    forward.probe_answered = None;
    forward.connections.refused_by.clear();
    [all, least]
}

/// Holds each object against what the schema says of it, and no part of the schema is left over.
fn compare(schema: &Value, part: &Value, all: &Value, least: &Value) {
    if let Some(at) = part.get("$ref") {
        let pointer = at.as_str().unwrap().trim_start_matches('#');
        return compare(schema, schema.pointer(pointer).unwrap(), all, least);
    }
    let keys = |v: &Value| {
        v.as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    match all {
        Value::Array(items) => {
            let least = least.as_array().and_then(|items| items.first());
            let least = least.unwrap_or(&items[0]);
            compare(schema, &part["items"], &items[0], least);
        }
        // Keys that are words of their own, each with the same kind of value.
        Value::Object(_) if part.get("properties").is_none() => {
            assert!(part["additionalProperties"].is_object(), "{part:#}");
        }
        Value::Object(fields) => {
            assert_eq!(keys(&part["properties"]), keys(all), "{part:#}");
            let required = part["required"].as_array().unwrap().iter();
            let required: BTreeSet<String> = required
                .map(|key| key.as_str().unwrap().to_owned())
                .collect();
            assert!(keys(least).is_superset(&required), "{part:#}");
            for (key, value) in fields {
                let least = least.get(key).unwrap_or(value);
                compare(schema, &part["properties"][key], value, least);
            }
        }
        _ => {}
    }
}

#[test]
fn the_schema_has_each_field_and_each_word_and_no_other() {
    let text = include_str!("../../../../docs/status.schema.json");
    let schema: Value = serde_json::from_str(text).unwrap();
    let [all, least] = samples().map(|status| serde_json::to_value(status).unwrap());
    compare(&schema, &schema["$defs"]["daemon"], &all, &least);
    let words = |name: &str| schema["$defs"][name]["enum"].as_array().unwrap().clone();
    assert_eq!(
        words("phase"),
        Phase::ALL.map(|phase| Value::from(phase.as_str()))
    );
    assert_eq!(
        words("stage"),
        Stage::ALL.map(|stage| Value::from(stage.as_str()))
    );
    assert_eq!(
        words("stopped_by"),
        [StoppedBy::File, StoppedBy::Command].map(|by| serde_json::to_value(by).unwrap())
    );
    let reasons = &schema["$defs"]["connections"]["properties"]["refused_by"];
    assert_eq!(
        reasons["propertyNames"]["enum"].as_array().unwrap().clone(),
        Refusal::ALL.map(|reason| Value::from(reason.as_str()))
    );
    // What may be absent is what is absent where there is none.
    let optional = |def: &str, all: &Value, least: &Value| {
        let required = schema["$defs"][def]["required"].as_array().unwrap().len();
        let (all, least) = (all.as_object().unwrap(), least.as_object().unwrap());
        assert_eq!(required, least.len().min(all.len()), "{def}");
    };
    let at = |of: &Value, place: &str| of.pointer(place).unwrap().clone();
    for (def, place) in [
        ("reload", "/last_reload"),
        ("failure", "/tunnels/0/failure"),
        ("session", "/tunnels/0/session"),
        ("forward", "/tunnels/0/forwards/0"),
        ("certificate", "/tunnels/0/certificates/0"),
    ] {
        optional(def, &at(&all, place), &at(&least, place));
    }
}
