//! `GET /v1/events`: the status whenever it changes, as server-sent events (WHATWG HTML, 9.2).
//!
//! Each event is named `status`, and its data is what `GET /v1/status` answers: one at once, and one
//! whenever anything but the moving numbers has changed. `?every=2` sends one at least every two
//! seconds as well, while the numbers move.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::clients::Stopping;
use super::server::{answer, bad_request};
use super::{ApiError, ErrorKind};
use crate::supervisor::{Changes, Snapshots};
use crate::wait;

/// How many clients may follow at once.
const MAX_FOLLOWERS: usize = 64;
/// Changes that come closer upon each other are one event.
const GAP: Duration = Duration::from_millis(100);
/// How often a client hears that the daemon is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The numbers are told at most and at least this often, in seconds, whatever was asked for.
const EVERY: RangeInclusive<u64> = 1..=3600;

/// The places for those who follow.
#[derive(Clone)]
pub(crate) struct Followers(Arc<Semaphore>);

impl Default for Followers {
    fn default() -> Self {
        Followers(Arc::new(Semaphore::new(MAX_FOLLOWERS)))
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    /// Seconds.
    every: Option<u64>,
}

pub(super) async fn events(
    State(snapshots): State<Snapshots>,
    asked: Result<Query<Asked>, QueryRejection>,
    Extension(Stopping(stopping)): Extension<Stopping>,
    Extension(followers): Extension<Followers>,
) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(rejection) => return bad_request(&rejection.body_text()),
    };
    let Ok(place) = followers.0.try_acquire_owned() else {
        let message = format!("{MAX_FOLLOWERS} clients follow already; try again later");
        return answer::<()>(Err(ApiError::new(ErrorKind::Busy, message)));
    };
    let every = asked
        .every
        .map(|s| Duration::from_secs(s.clamp(*EVERY.start(), *EVERY.end())));
    let follower = Follower {
        changes: snapshots.changes(),
        snapshots,
        every,
        last: String::new(),
        _place: place,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let events = events.take_until(stopping.cancelled_owned());
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Sse::new(events).keep_alive(keep_alive).into_response()
}

struct Follower {
    snapshots: Snapshots,
    changes: Changes,
    every: Option<Duration>,
    /// What was sent last.
    last: String,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Event {
        loop {
            if !self.last.is_empty() {
                let due = self.every.map(|every| Instant::now() + every);
                tokio::select! {
                    () = self.changes.next() => tokio::time::sleep(GAP).await,
                    () = wait::until(due) => {}
                }
            }
            // Plain data always has a JSON form.
            let now = serde_json::to_string(&self.snapshots.daemon()).unwrap_or_default();
            if now != self.last {
                let event = Event::default().event("status").data(&now);
                self.last = now;
                return event;
            }
        }
    }
}
