//! A live session: its liveness, why it ended, and how it is closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{Channel, ChannelOpenFailure, Disconnect};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tunneld_core::config::{Destination, Keepalive};
use tunneld_core::failure::{Failure, Stage};

use crate::handler::{Facts, Handler, Shared};
use crate::keepalive::{self, Ping, RoundTrip};
use crate::link::Link;
use crate::rekey;

/// How long a server may take to open a channel. It connects to the target meanwhile, and gives up
/// on a target that is switched off after about two minutes by itself.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a goodbye may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// What is left behind in russh by connections that did not end the usual way: a few KiB for each
/// channel that we closed first, some hundred bytes for each one that was refused. A session with
/// this much of it is replaced by a fresh one, so that memory does not grow with time.
const WORN: u32 = 2000;

/// One authenticated SSH connection.
///
/// Dropping it ends it at once; [`Session::close`] says goodbye first.
pub struct Session {
    inner: Arc<Inner>,
    since: Instant,
    keepalive: Keepalive,
    watcher: JoinHandle<()>,
    rekeyer: JoinHandle<()>,
}

struct Inner {
    handle: Handle<Handler>,
    peer: SocketAddr,
    link: Arc<Link>,
    shared: Arc<Shared>,
    round_trip: Arc<RoundTrip>,
    probe_now: Arc<Notify>,
    /// Everything that uses the session: it is drained when this is empty.
    users: TaskTracker,
    debris: AtomicU32,
    worn: Notify,
}

/// Opens channels on a session. Cheap to clone; outliving the session does no harm.
#[derive(Clone)]
pub struct Opener(Arc<Inner>);

/// Why a channel could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// The server refused, and said why.
    Refused {
        /// The server's words, or ours for its code.
        reason: String,
    },
    /// The server did not answer in time.
    Timeout,
    /// The session ended.
    SessionEnded,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Refused { reason } => f.write_str(reason),
            OpenError::Timeout => write!(
                f,
                "the server did not answer in {}s",
                OPEN_TIMEOUT.as_secs()
            ),
            OpenError::SessionEnded => f.write_str("the session ended"),
        }
    }
}

impl std::error::Error for OpenError {}

impl Session {
    pub(crate) fn start(
        handle: Handle<Handler>,
        peer: SocketAddr,
        keepalive: Keepalive,
        link: Arc<Link>,
        shared: Arc<Shared>,
    ) -> Self {
        let inner = Arc::new(Inner {
            handle,
            peer,
            link,
            shared,
            round_trip: Arc::default(),
            probe_now: Arc::new(Notify::new()),
            users: TaskTracker::new(),
            debris: AtomicU32::new(0),
            worn: Notify::new(),
        });
        Session {
            watcher: tokio::spawn(watch_over(Arc::clone(&inner), keepalive)),
            rekeyer: tokio::spawn(rekey::watch(Opener(Arc::clone(&inner)))),
            since: Instant::now(),
            keepalive,
            inner,
        }
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
        Opener(Arc::clone(&self.inner))
    }

    /// The address that was reached.
    pub fn peer(&self) -> SocketAddr {
        self.inner.peer
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

    /// Returns when no connection uses the session any more.
    pub async fn drained(&self) {
        self.inner.users.close();
        self.inner.users.wait().await;
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
        self.inner.link.kill();
    }
}

async fn ended(mut ended: watch::Receiver<Option<Failure>>) -> Failure {
    let failure = match ended.wait_for(Option::is_some).await {
        Ok(failure) => failure.clone(),
        Err(_) => None,
    };
    failure.unwrap_or_else(|| Failure::transient(Stage::Session, "the session ended"))
}

async fn watch_over(inner: Arc<Inner>, settings: Keepalive) {
    let failure = keepalive::watch(
        Arc::clone(&inner.link),
        Opener(Arc::clone(&inner)),
        settings,
        Arc::clone(&inner.round_trip),
        Arc::clone(&inner.probe_now),
    )
    .await;
    inner.shared.end(failure);
    inner.link.kill();
}

impl Ping for Opener {
    async fn ping(&self) -> bool {
        // The reply comes, or the session drops the channel it would come through.
        self.0.handle.send_ping().await.is_ok() && !self.0.handle.is_closed()
    }
}

impl Opener {
    /// Whether the session still lives.
    pub fn is_live(&self) -> bool {
        self.0.shared.ended().borrow().is_none()
    }

    /// The round trip of the last keepalive request that was answered.
    pub fn round_trip(&self) -> Option<Duration> {
        self.0.round_trip.get()
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0.link
    }

    /// How often keys were exchanged, by either side's wish.
    pub(crate) fn key_exchanges(&self) -> u32 {
        self.0.shared.key_exchanges()
    }

    pub(crate) fn cipher(&self) -> Option<&str> {
        self.0.shared.facts.get().map(|f| f.cipher.as_str())
    }

    /// Asks for new keys (RFC 4253 section 9).
    pub(crate) async fn rekey(&self) {
        // A session that is gone needs no new keys.
        let _ = self.0.handle.rekey_soon().await;
    }

    /// Marks the session as in use until the token is dropped.
    pub(crate) fn usage(&self) -> TaskTrackerToken {
        self.0.users.token()
    }

    /// Runs a task that finishes with a channel: part of the session's use.
    pub(crate) fn finish(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.users.spawn(task);
    }

    /// Counts a channel whose traces russh keeps.
    pub(crate) fn note_debris(&self) {
        if self.0.debris.fetch_add(1, Ordering::Relaxed) + 1 == WORN {
            self.0.worn.notify_one();
        }
    }

    /// Opens a channel to `to` at the server's side (`direct-tcpip`, RFC 4254 section 7.2).
    pub(crate) async fn open_tcp(
        &self,
        to: &Destination,
        from: SocketAddr,
    ) -> Result<Channel<Msg>, OpenError> {
        let (this, to) = (self.clone(), to.clone());
        let open = async move {
            let (host, port) = (to.host, u32::from(to.port));
            let (ip, from_port) = (from.ip().to_string(), u32::from(from.port()));
            this.0
                .handle
                .channel_open_direct_tcpip(host, port, ip, from_port)
                .await
        };
        self.open(open).await
    }

    /// A request that is given up leaves a channel behind that nobody closes, so it runs in a task
    /// of its own, which is the session's: whoever asked may go, the channel is closed then.
    async fn open(
        &self,
        open: impl Future<Output = Result<Channel<Msg>, russh::Error>> + Send + 'static,
    ) -> Result<Channel<Msg>, OpenError> {
        let (send, receive) = tokio::sync::oneshot::channel();
        let this = self.clone();
        self.finish(async move {
            let opened = this.opened(open.await).await;
            if let Err(Ok(unwanted)) = send.send(opened) {
                this.note_debris();
                let (read, write) = unwanted.split();
                // The session must not wait for somebody to take what comes.
                drop(read);
                // The session may have ended meanwhile, and then the channel has too.
                let _ = write.close().await;
            }
        });
        let ended = ended(self.0.shared.ended());
        tokio::select! {
            opened = receive => opened.unwrap_or(Err(OpenError::SessionEnded)),
            _ = ended => Err(OpenError::SessionEnded),
            () = tokio::time::sleep(OPEN_TIMEOUT) => Err(OpenError::Timeout),
        }
    }

    async fn opened(
        &self,
        result: Result<Channel<Msg>, russh::Error>,
    ) -> Result<Channel<Msg>, OpenError> {
        match result {
            Ok(channel) => Ok(channel),
            Err(russh::Error::ChannelOpenFailure(code)) => {
                self.note_debris();
                let text = self.0.shared.refusal_text(&code).await;
                Err(OpenError::Refused {
                    reason: refusal(&code, text.as_deref()),
                })
            }
            Err(_) => Err(OpenError::SessionEnded),
        }
    }
}

/// The server's refusal in words. OpenSSH's text for a target that it could not reach is the
/// operating system's reason; for what its configuration forbids it is `open failed`.
fn refusal(code: &ChannelOpenFailure, text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    let text = text.trim();
    let what = match code {
        ChannelOpenFailure::AdministrativelyProhibited => "administratively prohibited",
        ChannelOpenFailure::ConnectFailed => "connect failed",
        ChannelOpenFailure::UnknownChannelType => "the server does not know this kind of forward",
        ChannelOpenFailure::ResourceShortage => "the server is short of resources",
        ChannelOpenFailure::Other { .. } => "refused for an unknown reason",
    };
    match text.to_lowercase() {
        text if text.is_empty() || text == "open failed" || text == what => what.to_owned(),
        text => format!("{what}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_servers_own_words() {
        use ChannelOpenFailure::{AdministrativelyProhibited, ConnectFailed};
        let cases = [
            (
                ConnectFailed,
                Some("Connection refused"),
                "connect failed: connection refused",
            ),
            (ConnectFailed, None, "connect failed"),
            (
                AdministrativelyProhibited,
                Some("open failed"),
                "administratively prohibited",
            ),
        ];
        for (code, text, expected) in cases {
            assert_eq!(refusal(&code, text), expected);
        }
    }
}
