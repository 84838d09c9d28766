//! `tunneld status [NAME]`

use std::io;
use std::time::{Duration, SystemTime};

use hyper::Method;
use tunneld_core::status::{DaemonStatus, ForwardStatus, Phase, SessionStatus, TunnelStatus};

use super::{Places, client_failed};
use crate::clock::unix_ms;
use crate::control::client::call;
use crate::exit::Exit;
use crate::terminal::colour;

pub(super) fn run(places: &Places, name: Option<&str>, json: bool) -> Exit {
    let mut status: DaemonStatus = match call(&places.socket(), Method::GET, "/v1/status") {
        Ok(status) => status,
        Err(e) => return client_failed(&e),
    };
    if let Some(name) = name {
        status.tunnels.retain(|t| t.name.as_str() == name);
        if status.tunnels.is_empty() {
            eprintln!("error: no tunnel `{name}`; `tunneld status` lists them");
            return Exit::Failed;
        }
    }
    let text = match json {
        true => serde_json::to_string_pretty(&status).map(|text| text + "\n"),
        false => Ok(Page::new(&status).render(name.is_some())),
    };
    let printed = match text {
        Ok(text) => super::print(&text),
        Err(e) => {
            eprintln!("error: {e}");
            Exit::Failed
        }
    };
    let down = |t: &TunnelStatus| !matches!(t.phase, Phase::Up | Phase::Stopped);
    match printed {
        // Asked for one tunnel, `stopped` is not up either.
        Exit::Done if name.is_some() && status.tunnels.iter().any(|t| t.phase != Phase::Up) => {
            Exit::NotUp
        }
        Exit::Done if status.tunnels.iter().any(down) => Exit::NotUp,
        exit => exit,
    }
}

struct Page<'a> {
    status: &'a DaemonStatus,
    now: u64,
    colour: bool,
}

impl<'a> Page<'a> {
    fn new(status: &'a DaemonStatus) -> Self {
        Page {
            status,
            now: unix_ms(SystemTime::now()),
            colour: colour(&io::stdout()),
        }
    }

    fn render(&self, all: bool) -> String {
        if self.status.tunnels.is_empty() {
            return "no tunnels\n".to_owned();
        }
        let width = self.status.tunnels.iter().map(|t| t.name.as_str().len());
        let width = width.max().unwrap_or(0);
        let tunnels = self.status.tunnels.iter();
        tunnels.map(|t| self.tunnel(t, width, all)).collect()
    }

    fn tunnel(&self, t: &TunnelStatus, width: usize, all: bool) -> String {
        let since = self.ago(t.since_unix_ms);
        let phase = self.painted(t.phase);
        let mut out = format!("{:width$}  {phase}  {since:>6}  {}", t.name, t.destination);
        if let Some(failure) = &t.failure {
            let cause = &failure.cause;
            out.push_str(&match t.phase {
                Phase::Up => {
                    format!("  the old session serves on; a new one cannot be made: {cause}")
                }
                _ => format!("  {cause}"),
            });
        }
        if let Some(at) = t.retry_at_unix_ms {
            let left = Duration::from_millis(at.saturating_sub(self.now));
            out.push_str(&format!("; next try in {}", short(left)));
        }
        out.push('\n');
        if let Some(hint) = t.failure.as_ref().and_then(|f| f.hint.as_ref()) {
            out.push_str(&format!("{:width$}  hint: {hint}\n", ""));
        }
        for warning in &t.warnings {
            out.push_str(&format!("{:width$}  warning: {warning}\n", ""));
        }
        for forward in &t.forwards {
            out.push_str(&self.forward(forward, width, all));
        }
        if all && let Some(session) = &t.session {
            out.push_str(&self.session(session, t, width));
        }
        out
    }

    fn forward(&self, f: &ForwardStatus, width: usize, all: bool) -> String {
        let n = &f.connections;
        let mut out = format!(
            "{:width$}  {} ─▶ {}  {} open, {} in all, {} sent, {} received\n",
            "",
            place(f),
            f.connect,
            n.open,
            n.total,
            bytes(f.bytes_sent),
            bytes(f.bytes_received),
        );
        if let Some(failure) = &f.failure {
            out.push_str(&format!("{:width$}  ✗ {}\n", "", failure.cause));
            if let Some(hint) = &failure.hint {
                out.push_str(&format!("{:width$}    hint: {hint}\n", ""));
            }
        }
        if n.refused > 0 && (all || f.failure.is_none()) {
            let last = f.last_refusal.as_deref().unwrap_or_default();
            out.push_str(&format!(
                "{:width$}  {} refused; last: {last}\n",
                "", n.refused
            ));
        }
        out
    }

    fn session(&self, s: &SessionStatus, t: &TunnelStatus, width: usize) -> String {
        let trip = match s.round_trip_us {
            Some(us) => format!("{:.1}ms", us as f64 / 1000.0),
            None => "not measured yet".to_owned(),
        };
        let lines = [
            format!(
                "session: {} since {}, number {}",
                s.peer,
                self.ago(s.since_unix_ms),
                t.sessions
            ),
            format!("server: {}", s.server),
            negotiated(s),
            format!("round trip: {trip}"),
        ];
        let more = match (t.sessions_open, t.relief_sessions) {
            (0 | 1, _) => None,
            (open, 0) => Some(format!("sessions: {open} open")),
            (open, relief) => Some(format!(
                "sessions: {open} open, {relief} of them for relief"
            )),
        };
        lines
            .into_iter()
            .chain(more)
            .map(|line| format!("{:width$}  {line}\n", ""))
            .collect()
    }

    fn ago(&self, at: u64) -> String {
        short(Duration::from_millis(self.now.saturating_sub(at)))
    }

    fn painted(&self, phase: Phase) -> String {
        let padded = format!("{phase:10}");
        let colour = match phase {
            Phase::Up => "32",
            Phase::Degraded | Phase::Waiting | Phase::Connecting | Phase::Idle => "33",
            Phase::Blocked => "31",
            Phase::Stopped => "2",
        };
        match self.colour {
            true => format!("\x1b[{colour}m{padded}\x1b[0m"),
            false => padded,
        }
    }
}

/// Where a forward listens, and on which side.
fn place(f: &ForwardStatus) -> String {
    let port = f.allocated_port.map(|port| format!(" (port {port})"));
    let side = match f.kind.as_str() {
        "remote" => " at the server",
        _ => "",
    };
    format!("{}{}{side}", f.listen, port.unwrap_or_default())
}

/// A duration in at most two units: `8s`, `2m10s`, `3h5m`, `4d2h`.
fn short(duration: Duration) -> String {
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

/// A size in binary units: `17 B`, `3.2 MiB`.
fn bytes(n: u64) -> String {
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

/// What the two sides agreed on, without what there is none of.
fn negotiated(s: &SessionStatus) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        let seconds = [0, 59, 60, 130, 3600, 11_100, 90_000];
        let shown = seconds.map(|s| short(Duration::from_secs(s)));
        assert_eq!(shown, ["0s", "59s", "1m", "2m10s", "1h", "3h5m", "1d1h"]);
        assert_eq!(
            [0, 1023, 1024, 3_355_443].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "3.2 MiB"]
        );
    }
}
