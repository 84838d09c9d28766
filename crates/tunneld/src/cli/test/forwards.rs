//! Trying the forwards on the session that was made, without getting into the daemon's way.

use tokio::time::Instant;
use tunneld_core::config::{ForwardKind, ForwardSpec, Goal, RemoteListen, TunnelSpec};
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::status::millis;
use tunneld_ssh::{Session, tryout};

use super::daemon::{Daemon, Holds};
use super::report::{Check, Forward, What};

const ASKED: &str = "any target; asked when used";
const IN_USE: &str = "in use by the running daemon";
const NOT_PROBED: &str = "probe not tried: it comes back through the server";
const NOT_ASKED: &str = "socket not asked for: its file would stay at the server";

/// Tries the forwards of one tunnel.
pub(super) struct Trial<'a> {
    pub(super) spec: &'a TunnelSpec,
    pub(super) session: &'a Session,
    pub(super) daemon: &'a Daemon,
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
            if forward.probe.is_some() {
                notes.push(NOT_PROBED.to_owned());
            }
        }
        match forward.goal() {
            Goal::To(_) => checks.push(self.target(forward).await),
            Goal::Asked => notes.push(ASKED.to_owned()),
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
    async fn listen(&self, forward: &ForwardSpec, place: &RemoteListen) -> Result<Check, String> {
        let any_port = matches!(place, RemoteListen::Tcp { port: 0, .. });
        if !any_port && let Some(in_use) = in_use(&self.daemon.holds(self.spec, forward).await) {
            return Err(in_use);
        }
        let started = Instant::now();
        let failure = match tryout::listen(self.session, place).await {
            Ok(Some(port)) => {
                let chosen = any_port.then_some(port);
                return Ok(check(What::Listen, started, Ok(chosen)));
            }
            Ok(None) => return Err(NOT_ASKED.to_owned()),
            Err(failure) => failure,
        };
        let holds = self.daemon.holds_now(self.spec, forward).await;
        let failure = match (in_use(&holds), holds) {
            (Some(in_use), _) => return Err(in_use),
            (None, Holds::Unknown(more)) => {
                let hints: Vec<_> = failure.hint.clone().into_iter().chain([more]).collect();
                failure.with_hint(hints.join("; "))
            }
            (None, _) => failure,
        };
        Ok(check(What::Listen, started, Err(failure)))
    }
}

/// What is said of a place that the daemon has.
fn in_use(holds: &Holds) -> Option<String> {
    match holds {
        Holds::Yes => Some(IN_USE.to_owned()),
        Holds::As(user) => Some(format!("{IN_USE}, which goes there as {user}")),
        Holds::No | Holds::Unknown(_) => None,
    }
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
