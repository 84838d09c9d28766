//! Times, sizes and states in words.

use std::time::Duration;

use tunneld_core::status::{Phase, SessionStatus, StoppedBy, TunnelStatus};
use tunneld_ssh::calling;

use super::layout::plain;

/// A duration in at most two units: `8s`, `2m10s`, `3h5m`, `4d2h`.
pub(crate) fn short(duration: Duration) -> String {
    let s = duration.as_secs();
    let (big, big_unit, small, small_unit) = match s {
        0..60 => return format!("{s}s"),
        60..3600 => (s / 60, 'm', s % 60, 's'),
        3600..86400 => (s / 3600, 'h', s % 3600 / 60, 'm'),
        _ => (s / 86400, 'd', s % 86400 / 3600, 'h'),
    };
    match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    }
}

/// The colour of a phase (SGR of ECMA-48).
pub(super) fn colour_of(phase: Phase) -> &'static str {
    match phase {
        Phase::Up => "32",
        Phase::Degraded | Phase::Waiting | Phase::Connecting | Phase::Idle => "33",
        Phase::Blocked => "31",
        Phase::Stopped => "2",
    }
}

/// A size in binary units: `17 B`, `3.2 MiB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = n as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match unit {
        "B" => format!("{n} B"),
        unit => format!("{value:.1} {unit}"),
    }
}

/// `12.3 ms`.
pub(super) fn trip(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1000.0)
}

/// An algorithm without the domain of whoever has named it (RFC 4250 section 4.6.1).
pub(super) fn brief(algorithm: &str) -> &str {
    algorithm.split('@').next().unwrap_or(algorithm)
}

/// What the two sides agreed on, without what there is none of.
pub(super) fn negotiated(s: &SessionStatus) -> String {
    let all = [
        ("cipher", &s.cipher),
        ("MAC", &s.mac),
        ("key exchange", &s.kex),
        ("host key", &s.host_key),
        ("compression", &s.compression),
    ];
    let told = all
        .iter()
        .filter(|(_, name)| !matches!(name.as_str(), "" | "implicit" | "none"));
    let told: Vec<String> = told.map(|(what, name)| format!("{what}: {name}")).collect();
    told.join(", ")
}

/// Why a tunnel is not up, and when it is tried again: nothing where there is nothing to say.
pub(super) fn cause(t: &TunnelStatus, now: u64) -> Option<String> {
    let cause = t.failure.as_ref().map(|failure| plain(&failure.cause));
    let cause = cause.or_else(|| t.stopped_by.map(|by| stopped(t, by)));
    let cause = match t.phase {
        Phase::Up => cause
            .map(|cause| format!("the old session serves on; a new one cannot be made: {cause}")),
        _ => cause,
    };
    let next = t.retry_at_unix_ms.map(|at| {
        let left = Duration::from_millis(at.saturating_sub(now));
        format!("next try in {}", short(left))
    });
    match (cause, next) {
        (Some(cause), Some(next)) => Some(format!("{cause}; {next}")),
        (cause, next) => cause.or(next),
    }
}

/// What stopped it, and what is to be done about it.
fn stopped(t: &TunnelStatus, by: StoppedBy) -> String {
    match by {
        StoppedBy::File => "enabled = false in the file".to_owned(),
        StoppedBy::Command => {
            let start = calling::ours().command(&["start", t.name.as_str()]);
            format!("stopped by command; `{start}`")
        }
    }
}

/// One line about a tunnel that is not up: for whoever has waited for it.
pub(crate) fn why_not_up(t: &TunnelStatus, now: u64) -> String {
    let broken = t.forwards.iter().find_map(|f| f.failure.as_ref());
    let broken = broken.filter(|_| t.failure.is_none());
    let cause = match broken {
        Some(failure) => Some(plain(&failure.cause)),
        None => cause(t, now),
    };
    match cause {
        Some(cause) => format!("`{}` is {}: {cause}", t.name, t.phase),
        None => format!("`{}` is {}", t.name, t.phase),
    }
}
