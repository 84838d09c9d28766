//! Using a session: opening channels on it, and asking its server to listen.

mod listening;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use russh::client::Msg;
use russh::keys::PublicKey;
use russh::{Channel, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::{Notify, watch};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tunneld_core::config::Destination;
use tunneld_core::failure::Failure;
use tunneld_core::metrics::Histogram;
use tunneld_core::refusal::Refusal;

use crate::error::proof_failure;
use crate::forward::Peer;
use crate::keepalive::Ping;
use crate::link::Link;
use crate::openings::Ticket;
use crate::pump::{self, End};
use crate::road::Footing;
use crate::session::{Inner, ended};

pub(crate) use listening::{ListenError, Listening};

/// How long a server may take to open a channel. It connects to the target meanwhile, and gives up
/// on a target that is switched off after about two minutes by itself.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// What is left behind in russh by connections that did not end the usual way: a few KiB for each
/// channel that we closed first, some hundred bytes for each one that was refused. A session with
/// this much of it is replaced by a fresh one, so that memory does not grow with time.
const WORN: u32 = 2000;

/// Opens channels on a session. Cheap to clone; outliving the session does no harm.
#[derive(Clone)]
pub struct Opener(Arc<Inner>);

/// Why a channel could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// The server refused, and said why.
    Refused {
        /// Whether its configuration forbids it.
        prohibited: bool,
        /// The server's words, or ours for its code.
        reason: String,
    },
    /// The server did not answer in time.
    Timeout,
    /// The session ended.
    SessionEnded,
}

impl OpenError {
    /// What a connection is refused for that wanted the channel.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            OpenError::Refused {
                prohibited: true, ..
            } => Refusal::Prohibited,
            OpenError::Refused { .. } => Refusal::Target,
            OpenError::Timeout => Refusal::Timeout,
            OpenError::SessionEnded => Refusal::Down,
        }
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Refused { reason, .. } => f.write_str(reason),
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

impl Ping for Opener {
    async fn ping(&self) -> bool {
        // The reply comes, or the session drops the channel it would come through.
        self.0.handle.send_ping().await.is_ok() && !self.0.handle.is_closed()
    }
}

impl Opener {
    pub(crate) fn new(session: Arc<Inner>) -> Self {
        Opener(session)
    }

    /// Whether both are of one session.
    pub fn is_same(&self, other: &Opener) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether the session still lives.
    pub fn is_live(&self) -> bool {
        self.0.shared.ended().borrow().is_none()
    }

    /// Tells when the session ends, and why.
    pub(crate) fn ending(&self) -> watch::Receiver<Option<Failure>> {
        self.0.shared.ended()
    }

    /// The round trip of the last keepalive request that was answered.
    pub fn round_trip(&self) -> Option<Duration> {
        self.0.round_trip.get()
    }

    /// Has the round trips of the session's keepalive counted there, too.
    pub fn count_round_trips(&self, histogram: &Arc<Histogram>) {
        self.0.round_trip.count_in(histogram);
    }

    /// Bytes that the session holds for clients that have not taken them.
    pub fn backlog(&self) -> usize {
        self.0.link.backlog()
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0.link
    }

    /// Asks the server for a sign of life when it is notified.
    pub(crate) fn probe_now(&self) -> &Arc<Notify> {
        &self.0.probe_now
    }

    /// What the session rests on.
    pub(crate) fn footing(&self) -> &Arc<Footing> {
        &self.0.footing
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

    /// Has the server prove that it has these host keys (`hostkeys-prove-00@openssh.com`), all of
    /// them, or says what came of it; `None` when the session ended. May be given up: the answer
    /// keeps its place in the queue of replies.
    pub(crate) async fn prove_host_keys(
        &self,
        keys: Vec<PublicKey>,
    ) -> Result<(), Option<&'static str>> {
        let proved = self.0.handle.hostkeys_prove(keys).await;
        proved.map_err(|e| proof_failure(&e))
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

    /// How many connections use the session, or are about to.
    pub fn load(&self) -> usize {
        self.0.users.len()
    }

    /// Whether a client that does not read holds the session back.
    pub fn is_clogged(&self) -> bool {
        self.0.link.is_paused()
    }

    /// Closes a channel that nobody needs any more: part of the session's use.
    pub(crate) fn close_halves(&self, read: ChannelReadHalf, write: ChannelWriteHalf<Msg>) {
        self.finish(pump::close(read, write, End::ClientGone, self.clone()));
    }

    /// Opens a channel to `to` at the server's side: `direct-tcpip` (RFC 4254 section 7.2), or
    /// `direct-streamlocal@openssh.com` (PROTOCOL section 2.4 of OpenSSH) for a unix socket.
    pub(crate) async fn open(
        &self,
        to: &Destination,
        from: &Peer,
    ) -> Result<OpenChannel, OpenError> {
        let (this, to, from) = (self.clone(), to.clone(), from.originator());
        self.open_with(async move {
            let handle = &this.0.handle;
            match to {
                Destination::Tcp { host, port } => {
                    let (ip, from_port) = from;
                    let port = u32::from(port);
                    let open = handle.channel_open_direct_tcpip(host, port, ip, from_port);
                    open.await
                }
                Destination::Unix(path) => handle.channel_open_direct_streamlocal(path).await,
            }
        })
        .await
    }

    /// A request that is given up leaves a channel behind that nobody closes, so it runs in a task
    /// of its own, which is the session's: whoever asked may go, the channel is closed then.
    async fn open_with(
        &self,
        open: impl Future<Output = Result<Channel<Msg>, russh::Error>> + Send + 'static,
    ) -> Result<OpenChannel, OpenError> {
        let (send, receive) = tokio::sync::oneshot::channel();
        let this = self.clone();
        self.finish(async move {
            // Also where everything that comes is held back: somebody waits for the answer.
            let _asked = this.0.link.asks();
            let ticket = Ticket::new();
            let result = ticket.marks(std::pin::pin!(open)).await;
            // Whoever asked may have gone: then the channel is closed.
            let _ = send.send(this.opened(result, ticket).await);
        });
        let ended = ended(self.0.shared.ended());
        tokio::select! {
            opened = receive => opened.unwrap_or(Err(OpenError::SessionEnded)),
            _ = ended => Err(OpenError::SessionEnded),
            () = tokio::time::sleep(OPEN_TIMEOUT) => {
                // It waits in russh for as long as the session lives.
                self.note_debris();
                Err(OpenError::Timeout)
            }
        }
    }

    async fn opened(
        &self,
        result: Result<Channel<Msg>, russh::Error>,
        ticket: Ticket,
    ) -> Result<OpenChannel, OpenError> {
        match result {
            Ok(channel) => Ok(OpenChannel {
                session: self.clone(),
                channel: Some(channel),
            }),
            Err(russh::Error::ChannelOpenFailure(code)) => {
                self.note_debris();
                let text = self.0.shared.openings.words(ticket).await;
                Err(OpenError::Refused {
                    prohibited: code == ChannelOpenFailure::AdministrativelyProhibited,
                    reason: refusal(&code, text.as_deref()),
                })
            }
            Err(_) => Err(OpenError::SessionEnded),
        }
    }
}

/// A channel that was opened. Dropped before it is taken, it is closed.
pub(crate) struct OpenChannel {
    session: Opener,
    channel: Option<Channel<Msg>>,
}

impl OpenChannel {
    /// Both halves, for whoever carries something over it.
    pub(crate) fn split(mut self) -> (ChannelReadHalf, ChannelWriteHalf<Msg>) {
        // It is there until it is dropped.
        #[allow(clippy::expect_used)]
        self.channel.take().expect("a channel").split()
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            let (read, write) = channel.split();
            self.session.close_halves(read, write);
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
