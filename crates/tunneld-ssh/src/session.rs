//! A live session: its liveness, why it ended, and how it is closed.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use russh::Disconnect;
use russh::client::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tunneld_core::config::{Keepalive, RekeyLimit};
use tunneld_core::failure::{Failure, Stage};

use crate::further_keys::Learner;
use crate::handler::Handler;
use crate::keepalive::{self, RoundTrip};
use crate::link::Link;
use crate::opener::Opener;
use crate::rekey;
use crate::road::{Footing, Under};
use crate::shared::{Facts, Shared};

/// How long a goodbye may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// One authenticated SSH connection.
///
/// Dropping it ends it at once; [`Session::close`] says goodbye first.
pub struct Session {
    inner: Arc<Inner>,
    since: Instant,
    keepalive: Keepalive,
    watcher: JoinHandle<()>,
    rekeyer: JoinHandle<()>,
    /// Learns further keys of the host.
    learner: Option<JoinHandle<()>>,
    /// What the connection rests on: it goes when the session goes.
    _under: Under,
}

/// What happens on a session again and again.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// When its server is asked for a sign of life.
    pub(crate) keepalive: Keepalive,
    /// When it is asked for new keys.
    pub(crate) rekey_limit: RekeyLimit,
}

pub(crate) struct Inner {
    pub(crate) handle: Handle<Handler>,
    pub(crate) peer: String,
    pub(crate) link: Arc<Link>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) round_trip: Arc<RoundTrip>,
    pub(crate) probe_now: Arc<Notify>,
    pub(crate) footing: Arc<Footing>,
    /// Everything that uses the session: it is drained when this is empty.
    pub(crate) users: TaskTracker,
    /// The places that its server was asked to listen on. No load like the users, but whoever takes
    /// over finds them free only once the server was asked to let go of them.
    pub(crate) listening: TaskTracker,
    pub(crate) debris: AtomicU32,
    pub(crate) worn: Notify,
}

impl Session {
    pub(crate) fn start(
        handle: Handle<Handler>,
        (peer, under): (String, Under),
        pace: Pace,
        link: Arc<Link>,
        shared: Arc<Shared>,
    ) -> Self {
        let keepalive = pace.keepalive;
        let inner = Arc::new(Inner {
            handle,
            peer,
            link,
            shared,
            round_trip: Arc::default(),
            probe_now: Arc::new(Notify::new()),
            footing: under.footing(),
            users: TaskTracker::new(),
            listening: TaskTracker::new(),
            debris: AtomicU32::new(0),
            worn: Notify::new(),
        });
        Session {
            watcher: tokio::spawn(watch_over(Arc::clone(&inner), keepalive)),
            rekeyer: tokio::spawn(rekey::watch(
                Opener::new(Arc::clone(&inner)),
                pace.rekey_limit,
            )),
            learner: None,
            since: Instant::now(),
            keepalive,
            inner,
            _under: under,
        }
    }

    /// Lets further keys of the host be learnt for as long as the session lives.
    pub(crate) fn learn_further_keys(&mut self, learner: Option<Learner>) {
        self.learner = learner.map(|learner| tokio::spawn(learner.learn(self.opener())));
    }

    /// Other keepalive settings from now on.
    pub fn set_keepalive(&mut self, keepalive: Keepalive) {
        if keepalive == self.keepalive {
            return;
        }
        self.keepalive = keepalive;
        self.watcher.abort();
        // Only the second line: without it keepalive still works.
        let _ = self.inner.link.set_user_timeout(keepalive);
        self.watcher = tokio::spawn(watch_over(Arc::clone(&self.inner), keepalive));
    }

    /// For opening channels.
    pub fn opener(&self) -> Opener {
        Opener::new(Arc::clone(&self.inner))
    }

    /// What was reached, and over what: `192.0.2.1:22`.
    pub fn peer(&self) -> &str {
        &self.inner.peer
    }

    /// When the session was established.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What the two sides agreed on.
    pub fn facts(&self) -> Option<&Facts> {
        self.inner.shared.facts.get()
    }

    /// Asks the server for a sign of life at once.
    pub fn probe(&self) {
        self.inner.probe_now.notify_one();
    }

    /// Returns when the session has ended, and why.
    pub async fn ended(&self) -> Failure {
        ended(self.inner.shared.ended()).await
    }

    /// Returns when the session should be replaced for what it has left behind in memory.
    pub async fn worn(&self) {
        self.inner.worn.notified().await;
    }

    /// Returns when no connection uses the session any more, and its server does not listen for us.
    pub async fn drained(&self) {
        for part in [&self.inner.listening, &self.inner.users] {
            part.close();
            part.wait().await;
        }
    }

    /// Says goodbye (RFC 4253 section 11.1) and ends the session.
    pub async fn close(self) {
        let goodbye = async {
            let handle = &self.inner.handle;
            let sent = handle
                .disconnect(Disconnect::ByApplication, "closed by tunneld", "en")
                .await;
            if sent.is_ok() {
                ended(self.inner.shared.ended()).await;
            }
        };
        // A server that does not take the goodbye has had its time.
        let _ = tokio::time::timeout(CLOSE_PATIENCE, goodbye).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.watcher.abort();
        self.rekeyer.abort();
        if let Some(learner) = &self.learner {
            learner.abort();
        }
        self.inner.link.kill();
    }
}

pub(crate) async fn ended(mut ended: watch::Receiver<Option<Failure>>) -> Failure {
    let failure = match ended.wait_for(Option::is_some).await {
        Ok(failure) => failure.clone(),
        Err(_) => None,
    };
    failure.unwrap_or_else(|| Failure::transient(Stage::Session, "the session ended"))
}

async fn watch_over(inner: Arc<Inner>, settings: Keepalive) {
    let failure = keepalive::watch(
        Arc::clone(&inner.link),
        Opener::new(Arc::clone(&inner)),
        settings,
        Arc::clone(&inner.round_trip),
        Arc::clone(&inner.probe_now),
    )
    .await;
    let over = inner.shared.ended();
    let reason = inner.footing.judge(failure, settings.interval, over).await;
    inner.shared.end(reason);
    inner.link.kill();
}
