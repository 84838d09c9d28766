//! All that is known about one tunnel.

use tunneld_core::status::{CertificateStatus, SessionStatus, TunnelStatus};

use super::layout::{line, plain};
use super::page::Page;
use super::words::{negotiated, trip};
use crate::cli::times::Wall;

/// Where the facts begin.
const INDENT: usize = 2;

impl Page<'_> {
    /// One tunnel, with everything.
    pub(super) fn one(&self, t: &TunnelStatus) -> String {
        let mut out = self.stopping();
        self.head(&mut out, t, t.name.as_str().len());
        self.trouble(&mut out, t, INDENT);
        self.forwards(&mut out, t, INDENT);
        for fact in self.facts(t) {
            line(&mut out, INDENT, &plain(&fact), self.pen.width);
        }
        out
    }

    fn facts(&self, t: &TunnelStatus) -> Vec<String> {
        let since = self.wall.moment(t.stands_since_unix_ms());
        let mut facts = vec![match t.down_since_unix_ms {
            Some(_) => format!("down since: {since}"),
            None => format!("{} since: {since}", t.phase),
        }];
        if let Some(session) = &t.session {
            facts.extend(self.session(session, t));
        } else if t.sessions > 0 {
            facts.push(format!(
                "sessions: none open; {} made since the start",
                t.sessions
            ));
        }
        if t.attempts > 0 {
            let since = match t.sessions {
                0 => "the start",
                _ => "it was last up",
            };
            facts.push(format!("attempts: {} since {since}", t.attempts));
        }
        if let Some(failure) = &t.failure {
            let (stage, class) = (failure.stage, failure.class);
            facts.push(format!("failure: at the stage `{stage}`, {class}"));
        }
        if let Some(at) = t.retry_at_unix_ms {
            facts.push(format!("next try: {}", self.wall.moment(at)));
        }
        facts.extend(t.certificates.iter().map(|c| certificate(c, &self.wall)));
        facts.extend(t.forwards.iter().map(|f| {
            let (name, kind, listen) = (&f.name, &f.kind, &f.listen);
            format!("forward `{name}`: {kind}, {listen}")
        }));
        facts
    }

    fn session(&self, s: &SessionStatus, t: &TunnelStatus) -> Vec<String> {
        let round_trip = s.round_trip_us.map(trip);
        let round_trip = round_trip.unwrap_or_else(|| "not measured yet".to_owned());
        let since = self.ago(s.since_unix_ms);
        let mut facts = vec![
            format!("session: {} since {since}, number {}", s.peer, t.sessions),
            format!("server: {}", s.server),
            negotiated(s),
            format!("round trip: {round_trip}"),
        ];
        facts.extend(match (t.sessions_open, t.relief_sessions) {
            (0 | 1, _) => None,
            (open, 0) => Some(format!("sessions: {open} open")),
            (open, relief) => Some(format!(
                "sessions: {open} open, {relief} of them for relief"
            )),
        });
        facts.retain(|fact| !fact.is_empty());
        facts
    }
}

/// A certificate, and when it is valid.
fn certificate(c: &CertificateStatus, wall: &Wall) -> String {
    let at = |unix_s: Option<u64>| Some(wall.moment(unix_s?.saturating_mul(1000)));
    let valid = match (at(c.valid_after_unix_s), at(c.valid_before_unix_s)) {
        (Some(from), Some(until)) => format!("valid from {from} until {until}"),
        (Some(from), None) => format!("valid from {from} on"),
        (None, Some(until)) => format!("valid until {until}"),
        (None, None) => "valid for ever".to_owned(),
    };
    format!(
        "certificate: {} ({}), for {}, {valid}",
        c.file, c.key_id, c.fingerprint
    )
}
