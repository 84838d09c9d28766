//! Trying the forwards on the session that was made, without getting into the daemon's way.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use tokio::time::Instant;
use tunneld_core::config::{ForwardKind, ForwardSpec, Goal, RemoteListen, TunnelSpec};
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::status::{DaemonStatus, ForwardStatus, Phase};
use tunneld_ssh::{Session, tryout};

use super::report::{Check, Forward, What};
use super::way::millis;
use crate::control::client::{ClientError, ask};

/// How long the daemon may take to say how its tunnel is.
const PATIENCE: Duration = Duration::from_secs(5);

const ASKED: &str = "any target; asked when used";
const IN_USE: &str = "in use by the running daemon";
const NOT_ASKED: &str = "socket not asked for: its file would stay at the server";

/// Tries the forwards of one tunnel.
pub(super) struct Trial<'a> {
    pub(super) spec: &'a TunnelSpec,
    pub(super) session: &'a Session,
    /// Where the daemon is asked how the tunnel is, if there is one.
    pub(super) socket: PathBuf,
}

/// Whether the running daemon has a place at the server.
enum Holds {
    Yes,
    No,
    /// It does not tell us.
    Unknown,
}

impl Trial<'_> {
    /// One forward.
    pub(super) async fn of(&self, forward: &ForwardSpec) -> Forward {
        let mut checks = Vec::new();
        let mut notes = Vec::new();
        if let ForwardKind::Remote(remote) = &forward.kind {
            match self.listen(forward, &remote.listen.value).await {
                Ok(check) => checks.push(check),
                Err(note) => notes.push(note),
            }
        }
        match forward.goal() {
            Goal::To(_) => checks.push(self.target(forward).await),
            Goal::Asked => notes.push(ASKED),
        }
        Forward {
            name: forward.name.clone(),
            kind: forward.kind_name(),
            listen: forward.listen_text(),
            connect: forward.goal().to_string(),
            ok: checks.iter().all(|check| check.ok),
            checks,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        }
    }

    async fn target(&self, forward: &ForwardSpec) -> Check {
        let started = Instant::now();
        let reached = tryout::target(self.session, forward).await;
        let expects = forward.probe.as_ref().is_some_and(|p| p.expect.is_some());
        let probed = match &reached {
            Ok(()) => expects && matches!(forward.kind, ForwardKind::Local(_)),
            Err(failure) => failure.stage == Stage::Probe,
        };
        let what = if probed { What::Probe } else { What::Target };
        check(what, started, reached.map(|()| None))
    }

    /// Has the server listen for a moment, or says why it was not asked.
    async fn listen(
        &self,
        forward: &ForwardSpec,
        place: &RemoteListen,
    ) -> Result<Check, &'static str> {
        let any_port = matches!(place, RemoteListen::Tcp { port: 0, .. });
        if !any_port && let Holds::Yes = self.daemon_holds(forward).await {
            return Err(IN_USE);
        }
        let started = Instant::now();
        let failure = match tryout::listen(self.session, place).await {
            Ok(Some(port)) => {
                let chosen = any_port.then_some(port);
                return Ok(check(What::Listen, started, Ok(chosen)));
            }
            Ok(None) => return Err(NOT_ASKED),
            Err(failure) => failure,
        };
        // The daemon may have come first in this moment.
        let failure = match self.daemon_holds(forward).await {
            Holds::Yes => return Err(IN_USE),
            Holds::No => failure,
            Holds::Unknown => {
                let hint = failure.hint.clone().unwrap_or_default();
                failure.with_hint(format!(
                    "{hint}; the running daemon may have it, and does not tell this user: join \
                     its group (`tunneld`), or use sudo"
                ))
            }
        };
        Ok(check(What::Listen, started, Err(failure)))
    }

    async fn daemon_holds(&self, forward: &ForwardSpec) -> Holds {
        let asked = ask::<DaemonStatus>(&self.socket, Method::GET, "/v1/status");
        let status = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(status)) => status,
            Ok(Err(ClientError::Unreachable { e, .. })) => {
                use std::io::ErrorKind::{ConnectionRefused, NotFound};
                return match e.kind() {
                    NotFound | ConnectionRefused => Holds::No,
                    _ => Holds::Unknown,
                };
            }
            Ok(Err(ClientError::Refused(_) | ClientError::Garbled(_))) | Err(_) => {
                return Holds::Unknown;
            }
        };
        let destination = self.spec.target.to_string();
        let same = status.tunnels.iter().find(|t| {
            t.name == self.spec.name
                && t.destination == destination
                && matches!(t.phase, Phase::Up | Phase::Degraded)
        });
        let listen = forward.listen_text();
        let mut forwards = same.into_iter().flat_map(|t| &t.forwards);
        match forwards.any(|f| f.kind == "remote" && f.listen == listen && in_place(f)) {
            true => Holds::Yes,
            false => Holds::No,
        }
    }
}

/// A forward whose probe fails listens all the same.
fn in_place(forward: &ForwardStatus) -> bool {
    let failure = forward.failure.as_ref();
    failure.is_none_or(|failure| failure.stage == Stage::Probe)
}

fn check(what: What, started: Instant, came: Result<Option<u16>, Failure>) -> Check {
    let ms = millis(started.elapsed());
    let (port, failure) = match came {
        Ok(port) => (port, None),
        Err(failure) => (None, Some(failure)),
    };
    Check {
        check: what,
        ok: failure.is_none(),
        ms,
        port,
        failure,
    }
}
