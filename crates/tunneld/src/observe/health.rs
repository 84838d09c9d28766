//! `/healthz`: the daemon is alive. `/readyz`: `ready_when` holds now.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tunneld_core::config::ReadyWhen;
use tunneld_core::name::TunnelName;
use tunneld_core::status::{Phase, TunnelStatus};

use super::readiness;
use crate::supervisor::Snapshots;

/// Whether `ready_when` holds now, and if not, because of which tunnels.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    /// Whether it holds. It does not before the daemon has started, nor when it stops.
    ready: bool,
    /// What is asked for.
    ready_when: ReadyWhen,
    /// The tunnels that are in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting_for: Vec<InTheWay>,
}

/// A tunnel that is not as it has to be.
#[derive(Debug, Serialize)]
struct InTheWay {
    tunnel: TunnelName,
    state: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at_unix_ms: Option<u64>,
}

impl Readiness {
    /// How it is now; `None` before the daemon has read its file.
    pub(super) fn of(snapshots: &Snapshots) -> Option<Readiness> {
        let directory = snapshots.directory().borrow().clone();
        directory.daemon()?;
        let ready_when = snapshots.at_start().ready_when;
        Some(Self::judge(
            ready_when,
            snapshots.is_ready(),
            &directory.tunnels(),
        ))
    }

    fn judge(ready_when: ReadyWhen, started: bool, tunnels: &[TunnelStatus]) -> Readiness {
        let ready = readiness::is_ready(ready_when, started, tunnels);
        let waiting_for = match ready {
            true => Vec::new(),
            false => readiness::in_the_way(ready_when, tunnels)
                .map(InTheWay::of)
                .collect(),
        };
        Readiness {
            ready,
            ready_when,
            waiting_for,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }
}

impl InTheWay {
    fn of(tunnel: &TunnelStatus) -> Self {
        InTheWay {
            tunnel: tunnel.name.clone(),
            state: tunnel.phase,
            cause: tunnel.any_failure().map(|failure| failure.cause.clone()),
            retry_at_unix_ms: tunnel.retry_at_unix_ms,
        }
    }
}

/// Whether the process answers, which it does, and its supervisor is there.
pub(super) async fn alive(State(snapshots): State<Snapshots>) -> Response {
    match snapshots.is_alive() {
        true => "ok\n".into_response(),
        false => {
            let text = "the supervisor hangs: a bug in tunneld\n";
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// The same as JSON, with 200 or 503.
pub(super) async fn ready(State(snapshots): State<Snapshots>) -> Response {
    let readiness = Readiness::of(&snapshots);
    let status = match readiness.as_ref().is_some_and(Readiness::is_ready) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(readiness)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::readiness::tests::tunnel;

    fn judged(ready_when: ReadyWhen, started: bool, phases: &[Phase]) -> (bool, usize) {
        let tunnels: Vec<_> = phases.iter().map(|phase| tunnel(*phase, 1)).collect();
        let readiness = Readiness::judge(ready_when, started, &tunnels);
        (readiness.ready, readiness.waiting_for.len())
    }

    #[test]
    fn it_is_ready_as_ready_when_says_now_and_tells_who_is_in_the_way() {
        use Phase::*;
        use ReadyWhen::*;
        let some = [Up, Waiting, Blocked, Stopped];
        assert_eq!(judged(All, true, &some), (false, 2));
        assert_eq!(judged(Any, true, &some), (true, 0));
        assert_eq!(judged(Any, true, &[Waiting, Degraded]), (false, 2));
        assert_eq!(judged(All, true, &[Up, Stopped]), (true, 0));
        // The start has settled, and that stays so.
        assert_eq!(judged(Settled, true, &[Idle, Waiting]), (true, 0));
        assert_eq!(judged(Settled, false, &[Idle, Waiting]), (false, 1));
        // It is not ready before its start, nor when it stops.
        assert_eq!(judged(All, false, &[Up]), (false, 0));
        assert_eq!(judged(Any, false, &[]), (false, 0));
    }
}
