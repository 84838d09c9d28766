//! `GET /v1/status`, and `GET /v1/events`: the same whenever it changes, as server-sent events (WHATWG
//! HTML, 9.2).
//!
//! Each event is named `status`, and its data is what `GET /v1/status` answers: one at once, and one
//! whenever anything but the moving numbers has changed. `?every=2` sends one at least every two
//! seconds as well, while the numbers move. However many follow, the text is made once for all of them.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::places::{Place, Places};
use crate::http::answers::{answer, bad_request, stopping};
use crate::http::clients::{Peer, Stopping};
use crate::http::error::{ApiError, ErrorKind};
use crate::http::shared::{Shared, Told};
use crate::supervisor::Snapshots;
use crate::wait;

/// Changes that come closer upon each other are one event.
const GAP: Duration = Duration::from_millis(100);
/// How often a client hears that the daemon is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a text is asked for again that was older than the change.
const AGAIN: Duration = Duration::from_secs(1);
/// The numbers are told at most and at least this often, in seconds, whatever was asked for.
const EVERY: RangeInclusive<u64> = 1..=3600;
/// What is around the JSON in an event.
const FRAME: (&str, &str) = ("event: status\ndata: ", "\n\n");

/// The status as text, for the clients of one listener.
#[derive(Clone)]
pub(crate) struct Feed(Arc<Inner>);

struct Inner {
    snapshots: Snapshots,
    texts: Shared,
    /// When something had last changed; what is taken later has it.
    changed: watch::Sender<Instant>,
    /// Told when somebody follows.
    followed: Notify,
    places: Places,
}

impl Feed {
    pub(crate) fn new(snapshots: Snapshots) -> Feed {
        Feed(Arc::new(Inner {
            snapshots,
            texts: Shared::default(),
            changed: watch::Sender::new(Instant::now()),
            followed: Notify::new(),
            places: Places::default(),
        }))
    }

    /// Tells those who follow of changes, for as long as it is polled.
    pub(crate) async fn run(&self) -> Infallible {
        let mut changes = self.0.snapshots.changes();
        loop {
            if self.0.changed.receiver_count() == 0 {
                self.0.followed.notified().await;
                continue;
            }
            changes.next().await;
            sleep(GAP).await;
            self.0.changed.send_replace(Instant::now());
        }
    }

    fn follow(&self, every: Option<Duration>, place: Place) -> Follower {
        let changed = self.0.changed.subscribe();
        self.0.followed.notify_one();
        Follower {
            feed: self.clone(),
            changed,
            every,
            due: None,
            wanted: Some(Instant::now()),
            version: 0,
            _place: place,
        }
    }

    /// The event as it is at `since` or later; see [`Shared`].
    async fn told(&self, since: Instant) -> Option<Told> {
        let snapshots = self.0.snapshots.clone();
        let make = move || {
            let mut text = FRAME.0.as_bytes().to_vec();
            // Plain data always has a JSON form, and that has one line.
            let _ = serde_json::to_writer(&mut text, &snapshots.daemon());
            text.extend_from_slice(FRAME.1.as_bytes());
            text
        };
        self.0.texts.get(since, make).await
    }
}

pub(super) async fn status(Extension(feed): Extension<Feed>) -> Response {
    let Some(told) = feed.told(Instant::now()).await else {
        return stopping();
    };
    let end = told.bytes.len() - FRAME.1.len();
    let json = told.bytes.slice(FRAME.0.len()..end);
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

#[derive(Deserialize)]
pub(super) struct Asked {
    /// Seconds.
    every: Option<u64>,
}

pub(super) async fn events(
    asked: Result<Query<Asked>, QueryRejection>,
    Extension(Stopping(stopping)): Extension<Stopping>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(feed): Extension<Feed>,
) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(rejection) => return bad_request(&rejection.body_text()),
    };
    let place = match feed.0.places.take(peer) {
        Ok(place) => place,
        Err(message) => return answer::<()>(Err(ApiError::new(ErrorKind::Busy, message))),
    };
    let every = asked
        .every
        .map(|s| Duration::from_secs(s.clamp(*EVERY.start(), *EVERY.end())));
    let events = stream::unfold(feed.follow(every, place), |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let events = events.take_until(stopping.cancelled_owned());
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

struct Follower {
    feed: Feed,
    changed: watch::Receiver<Instant>,
    every: Option<Duration>,
    /// When the numbers are told again.
    due: Option<Instant>,
    /// What has to be looked at: how it was then, or later.
    wanted: Option<Instant>,
    /// What was sent last.
    version: u64,
    _place: Place,
}

impl Follower {
    /// The next event, or a sign of life; `None` when the daemon ends.
    async fn next(&mut self) -> Option<Bytes> {
        let silence = Instant::now() + KEEP_ALIVE;
        loop {
            if let Some(wanted) = self.wanted {
                let told = self.feed.told(wanted).await?;
                if told.begun >= wanted {
                    self.wanted = None;
                }
                if told.version != self.version {
                    self.version = told.version;
                    self.due = self.every.map(|every| Instant::now() + every);
                    return Some(told.bytes);
                }
            }
            let again = self.wanted.map(|_| Instant::now() + AGAIN);
            tokio::select! {
                changed = self.changed.changed() => {
                    changed.ok()?;
                    self.wanted = Some(*self.changed.borrow_and_update());
                }
                () = wait::until(self.due) => self.numbers(),
                () = wait::until(again) => {}
                () = sleep_until(silence) => return Some(Bytes::from_static(b":\n\n")),
            }
        }
    }

    /// What another client has had lately is new enough.
    fn numbers(&mut self) {
        let now = Instant::now();
        self.due = self.every.map(|every| now + every);
        let lately = self.every.and_then(|every| now.checked_sub(every / 2));
        self.wanted = self.wanted.max(lately);
    }
}
