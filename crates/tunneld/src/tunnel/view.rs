//! What there is to see of a tunnel.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tunneld_core::config::host_port;
use tunneld_core::failure::Failure;
use tunneld_core::ledger::{Ledger, Moment};
use tunneld_core::metrics::{self, Histogram};
use tunneld_core::status::{
    ConnectionCounts, ForwardStatus, Phase, SessionStatus, StoppedBy, TunnelStatus,
};
use tunneld_ssh::Opener;
use tunneld_ssh::forward::{Counters, Forward};

use super::Tunnel;
use super::certificates;
use crate::clock::{self, unix_ms};

/// What a tunnel publishes: its status, and where the numbers come from that move all the time.
#[derive(Clone)]
pub(crate) struct View {
    /// Its times are those of when it was made.
    status: TunnelStatus,
    made: Moment,
    /// Since when it stands where it stands.
    since: Moment,
    ledger: Ledger,
    counters: Vec<Arc<Counters>>,
    /// The sessions, the one that the status tells of first.
    openers: Vec<Opener>,
    round_trips: Arc<Histogram>,
    reading: u64,
    /// `certificate_expiry_warning`.
    expiry_warning: Duration,
}

impl View {
    /// A tunnel whose task has not begun.
    pub(crate) fn idle(spec: &tunneld_core::config::TunnelSpec, ledger: Ledger) -> Self {
        let now = clock::now();
        View {
            status: TunnelStatus::new(
                spec.name.clone(),
                Phase::Idle,
                now.unix_ms,
                destination(spec),
            ),
            made: now,
            since: now,
            ledger,
            counters: Vec::new(),
            openers: Vec::new(),
            round_trips: Arc::default(),
            reading: 0,
            expiry_warning: spec.certificate_expiry_warning,
        }
    }

    /// A tunnel whose task has died and will be started again at `retry_at`.
    pub(crate) fn dead(&self, failure: Failure, retry_at: Instant) -> Self {
        let mut view = self.without_task(Phase::Waiting);
        view.ledger.fail(&failure);
        view.ledger.enter(view.made, Phase::Waiting, Some(&failure));
        view.status.failure = Some(failure);
        view.status.retry_at_unix_ms = Some(wall_clock(retry_at));
        view
    }

    /// A tunnel whose task has died, and that somebody has stopped since.
    pub(crate) fn stopped(&self) -> Self {
        let mut view = self.without_task(Phase::Stopped);
        view.ledger.enter(view.made, Phase::Stopped, None);
        view.status.attempts = 0;
        view.status.stopped_by = Some(StoppedBy::Command);
        view
    }

    fn without_task(&self, phase: Phase) -> Self {
        let mut view = self.clone();
        view.openers.clear();
        view.made = clock::now();
        view.since = view.made;
        view.status = TunnelStatus {
            phase,
            since_unix_ms: view.made.unix_ms,
            down_since_unix_ms: None,
            failure: None,
            retry_at_unix_ms: None,
            stopped_by: None,
            session: None,
            sessions_open: 0,
            relief_sessions: 0,
            forwards: Vec::new(),
            ..view.status
        };
        view
    }

    /// Since when it stands where it stands.
    pub(super) fn since(&self) -> Moment {
        self.since
    }

    pub(super) fn of(tunnel: &Tunnel) -> Self {
        let spec = &tunnel.spec;
        let now = clock::now();
        let before = {
            let view = tunnel.view.borrow();
            (view.status.phase, view.since)
        };
        let phase = tunnel.phase();
        let since = match phase {
            phase if phase == tunnel.logged => tunnel.logged_at,
            phase if phase == before.0 => before.1,
            _ => now,
        };
        let session = tunnel.pool.first();
        let missing = session.map_or(0, |_| tunnel.pool.missing());
        View {
            status: TunnelStatus {
                name: spec.name.clone(),
                phase,
                since_unix_ms: clock::told(since, now),
                down_since_unix_ms: None,
                stopped_by: stopped_by(tunnel, phase),
                destination: destination(spec),
                attempts: tunnel.life.attempts(),
                sessions: tunnel.sessions,
                failure: tunnel.life.failure().cloned(),
                retry_at_unix_ms: tunnel.retry_at.map(wall_clock),
                session: session.map(session_status),
                sessions_open: count(tunnel.pool.len()),
                relief_sessions: count(tunnel.pool.reliefs()),
                forwards: tunnel.forwards.iter().map(forward_status).collect(),
                warnings: warnings(spec, missing, session),
                certificates: tunnel.certificates.seen().to_vec(),
            },
            made: now,
            since,
            ledger: tunnel.ledger.clone(),
            counters: tunnel
                .forwards
                .iter()
                .map(|f| Arc::clone(f.counters()))
                .collect(),
            openers: tunnel.pool.openers(),
            round_trips: Arc::clone(&tunnel.round_trips),
            reading: tunnel.reading,
            expiry_warning: spec.certificate_expiry_warning,
        }
    }

    /// What it has been through.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Which reading of the file new connections find.
    pub(crate) fn reading(&self) -> u64 {
        self.reading
    }

    /// Whether anything but the moving numbers differs.
    pub(super) fn differs(&self, other: &View) -> bool {
        self.status != other.status
            || self.reading != other.reading
            || self.ledger.writes() != other.ledger.writes()
    }

    /// What there is to tell beside the status.
    pub(crate) fn more(&self) -> metrics::More {
        let backlog: usize = self.openers.iter().map(Opener::backlog).sum();
        let clogged = self.openers.iter().filter(|opener| opener.is_clogged());
        metrics::More {
            ledger: self.ledger.clone(),
            round_trips: self.round_trips.counts(),
            backlog: backlog as u64,
            clogged: clogged.count() as u64,
        }
    }

    /// The status with the numbers of this moment.
    pub(crate) fn status(&self) -> TunnelStatus {
        let mut status = self.status.clone();
        self.tell_times(&mut status);
        for (forward, counters) in status.forwards.iter_mut().zip(&self.counters) {
            let counts = counters.snapshot();
            forward.connections = ConnectionCounts {
                open: counts.open,
                total: counts.total,
                refused: counts.refused,
                refused_by: counts.refused_by,
                stalled: counts.stalled,
            };
            forward.bytes_sent = counts.sent;
            forward.bytes_received = counts.received;
            forward.last_refusal = counts.last_refusal;
        }
        if let (Some(session), Some(opener)) = (&mut status.session, self.openers.first()) {
            let micros = opener.round_trip().map(|took| took.as_micros());
            session.round_trip_us = micros.and_then(|micros| u64::try_from(micros).ok());
        }
        let warning = |c| certificates::warning(c, self.expiry_warning);
        let warnings = status.certificates.iter().filter_map(warning);
        status.warnings.extend(warnings);
        status
    }
}

impl View {
    /// Times as the clock on the wall has them now: it may have been set since.
    fn tell_times(&self, status: &mut TunnelStatus) {
        let now = clock::now();
        let down_since = self.ledger.down_since();
        status.since_unix_ms = clock::told(self.since, now);
        status.down_since_unix_ms = down_since.map(|at| clock::told(at, now));
        let set = clock::set_between(self.made, now);
        let session = status.session.as_mut().map(|s| &mut s.since_unix_ms);
        for at in session.into_iter().chain(&mut status.retry_at_unix_ms) {
            *at = at.saturating_add_signed(set);
        }
    }
}

fn destination(spec: &tunneld_core::config::TunnelSpec) -> String {
    let target = &spec.target;
    format!("{}@{}", target.user, host_port(&target.host, target.port))
}

/// The file has the last word: what it does not want is stopped, whoever has started or stopped it.
fn stopped_by(tunnel: &Tunnel, phase: Phase) -> Option<StoppedBy> {
    match phase {
        Phase::Stopped if !tunnel.spec.enabled => Some(StoppedBy::File),
        Phase::Stopped if tunnel.surroundings.shutdown.is_cancelled() => None,
        Phase::Stopped => Some(StoppedBy::Command),
        _ => None,
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn warnings(
    spec: &tunneld_core::config::TunnelSpec,
    missing: usize,
    session: Option<&tunneld_ssh::Session>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if missing > 0 {
        let min = spec.sessions.min;
        warnings.push(format!(
            "{missing} of {min} sessions missing (min_sessions)"
        ));
    }
    if spec.keepalive.interval.is_zero() {
        warnings.push(
            "keepalive is off (server_alive_interval = 0): a dead server may go unnoticed"
                .to_owned(),
        );
    }
    let facts = session.and_then(tunneld_ssh::Session::facts);
    if spec.target.algorithms.compression && facts.is_some_and(|f| f.compression == "none") {
        warnings
            .push("nothing is compressed: the server refuses it (compression = true)".to_owned());
    }
    warnings
}

fn session_status(session: &tunneld_ssh::Session) -> SessionStatus {
    let facts = session.facts();
    let fact =
        |pick: fn(&tunneld_ssh::Facts) -> &String| facts.map(pick).cloned().unwrap_or_default();
    SessionStatus {
        peer: session.peer().to_string(),
        since_unix_ms: wall_clock(session.since()),
        server: fact(|f| &f.server),
        kex: fact(|f| &f.kex),
        cipher: fact(|f| &f.cipher),
        mac: fact(|f| &f.mac),
        compression: fact(|f| &f.compression),
        host_key: fact(|f| &f.host_key),
        round_trip_us: None,
    }
}

fn forward_status(forward: &Forward) -> ForwardStatus {
    let spec = forward.spec();
    let state = forward.state();
    ForwardStatus {
        kind: spec.kind_name().to_owned(),
        listen: spec.listen_text(),
        allocated_port: state.allocated_port,
        connect: spec.goal().to_string(),
        name: spec.name,
        failure: state.failure().cloned(),
        probe_answered: state.probe.as_ref().map(Result::is_ok),
        connections: ConnectionCounts::default(),
        bytes_sent: 0,
        bytes_received: 0,
        last_refusal: None,
    }
}

/// A moment of the monotonic clock on the clock on the wall, to the hundredth of a second: so that
/// one moment has one value, whenever it is asked for.
fn wall_clock(at: Instant) -> u64 {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let ahead = at.saturating_duration_since(now);
    let behind = now.saturating_duration_since(at);
    let time = wall + ahead;
    let time = time.checked_sub(behind).unwrap_or(UNIX_EPOCH);
    unix_ms(time + Duration::from_millis(5)) / 10 * 10
}
