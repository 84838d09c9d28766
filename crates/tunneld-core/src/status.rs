//! Snapshots of what the daemon is doing: plain data, for people and programs.
//!
//! The JSON of these types is what `tunneld status --json` prints and the control socket serves.
//! Times are Unix times in milliseconds; durations are milliseconds unless the name says otherwise.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::name::{ForwardName, TunnelName};
use crate::refusal::Refusal;
use crate::text::clip;

/// Where a tunnel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Not started yet.
    Idle,
    /// An attempt to connect is under way.
    Connecting,
    /// Authenticated, and every forward is in place.
    Up,
    /// The session lives, but a forward is not in place.
    Degraded,
    /// Down; the next attempt comes by itself.
    Waiting,
    /// Down; a person has to act.
    Blocked,
    /// Not wanted: disabled in the file, or stopped by command.
    Stopped,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 7] = [
        Phase::Idle,
        Phase::Connecting,
        Phase::Up,
        Phase::Degraded,
        Phase::Waiting,
        Phase::Blocked,
        Phase::Stopped,
    ];

    /// Whether there is a session.
    pub fn has_session(self) -> bool {
        matches!(self, Phase::Up | Phase::Degraded)
    }

    /// The word that is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Connecting => "connecting",
            Phase::Up => "up",
            Phase::Degraded => "degraded",
            Phase::Waiting => "waiting",
            Phase::Blocked => "blocked",
            Phase::Stopped => "stopped",
        }
    }
}

/// Why a tunnel is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoppedBy {
    /// The file: `enabled = false`.
    File,
    /// Somebody's `tunneld stop`.
    Command,
}

/// A length in whole milliseconds, as the fields `…_ms` have it.
pub fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The whole daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Version of the running program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started_unix_ms: u64,
    /// The configuration file.
    pub config: String,
    /// Whether `ready_when` has held since the start, and the daemon is not stopping.
    pub ready: bool,
    /// Whether it is stopping: nothing is accepted, and connections have `drain_timeout` to finish.
    #[serde(default)]
    pub stopping: bool,
    /// How the last reload ended; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<ReloadStatus>,
    /// Keys of `[daemon]` that have another value in the file than at the start, and take effect at the
    /// next one only.
    #[serde(default)]
    pub needs_restart: Vec<String>,
    /// Every tunnel of the file, by name.
    pub tunnels: Vec<TunnelStatus>,
}

/// How a reload ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// When it ended.
    pub at_unix_ms: u64,
    /// Whether the new configuration is in force.
    pub ok: bool,
    /// Why not, in one line: the first thing that is wrong, and how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many were taken since the start.
    #[serde(default)]
    pub accepted: u64,
    /// How many were refused since the start.
    #[serde(default)]
    pub refused: u64,
}

/// One tunnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// Its name.
    pub name: TunnelName,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub since_unix_ms: u64,
    /// Since when it has been down, over all its attempts; absent while it has a session, and where it is
    /// not wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_since_unix_ms: Option<u64>,
    /// Why it is stopped; absent when it is not, and when it is because the daemon stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<StoppedBy>,
    /// `user@host:port`.
    pub destination: String,
    /// Attempts since it was last up (or since the start).
    pub attempts: u32,
    /// Sessions that were established since the start.
    pub sessions: u64,
    /// Sessions that are open now.
    #[serde(default)]
    pub sessions_open: u32,
    /// Those of them that relieve a clogged one, beyond `max_sessions`.
    #[serde(default)]
    pub relief_sessions: u32,
    /// The last failure, while it still matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When the next attempt comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at_unix_ms: Option<u64>,
    /// The live session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionStatus>,
    /// Its forwards, in the order of the file.
    pub forwards: Vec<ForwardStatus>,
    /// What is worth knowing although it works.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The certificates that it uses, from files, its jump hosts' too.
    #[serde(default)]
    pub certificates: Vec<CertificateStatus>,
}

impl TunnelStatus {
    /// One that has no session and no failure, and of which nothing else is known yet.
    pub fn new(name: TunnelName, phase: Phase, since_unix_ms: u64, destination: String) -> Self {
        TunnelStatus {
            name,
            phase,
            since_unix_ms,
            down_since_unix_ms: None,
            stopped_by: None,
            destination,
            attempts: 0,
            sessions: 0,
            sessions_open: 0,
            relief_sessions: 0,
            failure: None,
            retry_at_unix_ms: None,
            session: None,
            forwards: Vec::new(),
            warnings: Vec::new(),
            certificates: Vec::new(),
        }
    }

    /// Since when it has been as it is, for people: of one that is down, since when it has been that, and
    /// not since its last attempt.
    pub fn stands_since_unix_ms(&self) -> u64 {
        self.down_since_unix_ms.unwrap_or(self.since_unix_ms)
    }

    /// What is wrong with it, or with the first of its forwards that is not in place.
    pub fn any_failure(&self) -> Option<&Failure> {
        let broken = || self.forwards.iter().find_map(|f| f.failure.as_ref());
        self.failure.as_ref().or_else(broken)
    }
}

/// A user certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Its file.
    pub file: String,
    /// What its authority calls it.
    pub key_id: String,
    /// `SHA256:…` of the key that it certifies.
    pub fingerprint: String,
    /// The Unix time in seconds at which it begins; absent when it has no beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_after_unix_s: Option<u64>,
    /// The Unix time in seconds at which it ends; absent when it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_before_unix_s: Option<u64>,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The address that was reached.
    pub peer: String,
    /// Since when.
    pub since_unix_ms: u64,
    /// The server's identification string (RFC 4253 section 4.2).
    pub server: String,
    /// Key exchange algorithm.
    pub kex: String,
    /// Cipher.
    pub cipher: String,
    /// Message authentication; `implicit` where the cipher does it.
    #[serde(default)]
    pub mac: String,
    /// Compression of what is sent: `none`, or its method.
    #[serde(default)]
    pub compression: String,
    /// Type of the server's host key.
    pub host_key: String,
    /// Round trip of the last keepalive probe, in microseconds; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u64>,
}

/// One forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForwardStatus {
    /// Its name.
    pub name: ForwardName,
    /// `local`, `remote` or `dynamic`.
    pub kind: String,
    /// Where it listens.
    pub listen: String,
    /// The port that the server chose, where the file asks for port 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated_port: Option<u16>,
    /// Where its connections end up.
    pub connect: String,
    /// Why it is not in place; absent when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Whether its last probe was answered; absent without a probe, and before the first answer over
    /// the session that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_answered: Option<bool>,
    /// Its connections.
    pub connections: ConnectionCounts,
    /// Bytes from clients to the target.
    pub bytes_sent: u64,
    /// Bytes from the target to clients.
    pub bytes_received: u64,
    /// Why the last refused connection was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<String>,
}

/// Connections of a forward.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// Carried now.
    pub open: u64,
    /// Accepted since the start.
    pub total: u64,
    /// Refused: by the server, by `while_down`, or over the limit.
    pub refused: u64,
    /// The same by reason; those that there were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused_by: BTreeMap<Refusal, u64>,
    /// Reset because their client took nothing for `stall_timeout`.
    #[serde(default)]
    pub stalled: u64,
}

/// What one line says about a daemon: `3 of 4 up; db: retry in 8s (connection refused)`.
///
/// `now_unix_ms` is the time that the retries are counted down from.
pub fn summary(tunnels: &[TunnelStatus], now_unix_ms: u64) -> String {
    let wanted: Vec<_> = tunnels
        .iter()
        .filter(|t| t.phase != Phase::Stopped)
        .collect();
    let up = wanted.iter().filter(|t| t.phase == Phase::Up).count();
    let mut line = match (wanted.len(), tunnels.len()) {
        (_, 0) => return "no tunnels".to_owned(),
        (0, stopped) => return format!("{stopped} stopped"),
        (wanted, _) => format!("{up} of {wanted} up"),
    };
    let down: Vec<_> = wanted.iter().filter(|t| t.phase != Phase::Up).collect();
    // systemd shows the line in one row: the first few say what is wrong, the rest is counted.
    for tunnel in down.iter().take(SUMMARY_TUNNELS) {
        line.push_str("; ");
        line.push_str(&tunnel_summary(tunnel, now_unix_ms));
    }
    if down.len() > SUMMARY_TUNNELS {
        line.push_str(&format!("; and {} more", down.len() - SUMMARY_TUNNELS));
    }
    line
}

/// How many tunnels that are not up [`summary`] speaks of.
const SUMMARY_TUNNELS: usize = 3;

fn tunnel_summary(tunnel: &TunnelStatus, now_unix_ms: u64) -> String {
    let cause = tunnel.any_failure().map(|f| f.cause.as_str());
    let cause = cause
        .map(|c| format!(" ({})", clip(c, SUMMARY_CAUSE)))
        .unwrap_or_default();
    match (tunnel.phase, tunnel.retry_at_unix_ms) {
        (Phase::Waiting, Some(at)) => {
            let seconds = at.saturating_sub(now_unix_ms).div_ceil(1000);
            format!("{}: retry in {seconds}s{cause}", tunnel.name)
        }
        (phase, _) => format!("{}: {phase}{cause}", tunnel.name),
    }
}

/// How much of a cause [`summary`] tells: the whole of it is in the journal and in `tunneld status`.
const SUMMARY_CAUSE: usize = 80;

#[cfg(test)]
mod tests;
