//! What the server says, as russh tells it.
//!
//! The callbacks run inside russh's session loop: whatever waits here makes the whole session
//! wait. They look, hand over and return. Channels that the server opens are refused: russh's own
//! default accepts every one of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use russh::client::{self, ChannelOpenHandle, DisconnectReason, Msg};
use russh::keys::{HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tunneld_core::config::Target;
use tunneld_core::events;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::repeats::{Repeats, Say};
use tunneld_core::text::clip;

use crate::error::{SessionError, disconnect_failure, printable, session_failure};
use crate::host_key::{self, Verdict};
use crate::known_hosts::{KnownHosts, ReadFault};

/// What is known about an established session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The server's identification string (RFC 4253 section 4.2).
    pub server: String,
    /// Key exchange algorithm.
    pub kex: String,
    /// Cipher.
    pub cipher: String,
    /// Type of the host key.
    pub host_key: String,
}

/// What the handler, the session and its forwards share.
pub(crate) struct Shared {
    stage: Mutex<Stage>,
    pub(crate) facts: OnceLock<Facts>,
    ended: watch::Sender<Option<Failure>>,
    refusals: Mutex<VecDeque<Refusal>>,
    refused: Notify,
    key_exchanges: AtomicU32,
}

struct Refusal {
    at: Instant,
    reason: ChannelOpenFailure,
    text: String,
}

/// The texts of refused channels that nobody has asked for are dropped beyond this many.
const MAX_REFUSALS: usize = 64;
/// How long the text of a refusal may come after its code.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(500);

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Shared {
            stage: Mutex::new(Stage::Resolve),
            facts: OnceLock::new(),
            ended: watch::Sender::new(None),
            refusals: Mutex::new(VecDeque::new()),
            refused: Notify::new(),
            key_exchanges: AtomicU32::new(0),
        })
    }

    /// How far the session has come.
    pub(crate) fn stage(&self) -> Stage {
        *lock(&self.stage)
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        *lock(&self.stage) = stage;
    }

    /// Records why the session ended. The first reason is the true one.
    pub(crate) fn end(&self, failure: Failure) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(failure);
            }
            first
        });
    }

    pub(crate) fn ended(&self) -> watch::Receiver<Option<Failure>> {
        self.ended.subscribe()
    }

    /// The server's own words for a refused channel. russh reports the code to whoever asked for
    /// the channel and the words to the handler, in the same order.
    pub(crate) async fn refusal_text(&self, reason: &ChannelOpenFailure) -> Option<String> {
        let find = || {
            let mut queue = lock(&self.refusals);
            // Whoever should have fetched those has given up.
            queue.retain(|r| r.at.elapsed() <= REFUSAL_PATIENCE);
            let at = queue.iter().position(|r| r.reason == *reason)?;
            queue.remove(at).map(|r| r.text)
        };
        let wait = async {
            loop {
                let notified = self.refused.notified();
                if let Some(text) = find() {
                    return text;
                }
                notified.await;
            }
        };
        tokio::time::timeout(REFUSAL_PATIENCE, wait).await.ok()
    }

    /// How often keys were exchanged.
    pub(crate) fn key_exchanges(&self) -> u32 {
        self.key_exchanges.load(Ordering::Relaxed)
    }

    fn note_refusal(&self, reason: ChannelOpenFailure, text: &str) {
        let mut queue = lock(&self.refusals);
        if queue.len() >= MAX_REFUSALS {
            queue.pop_front();
        }
        queue.push_back(Refusal {
            at: Instant::now(),
            reason,
            text: clip(&printable(text), 200),
        });
        drop(queue);
        self.refused.notify_waiters();
    }
}

/// The data behind these locks is replaced in one step, so a panic elsewhere cannot leave it half
/// changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The client side of one session.
pub(crate) struct Handler {
    target: Target,
    /// Needed once, and dropped then: a session lives long, and the file may be large.
    known: Option<KnownHosts>,
    shared: Arc<Shared>,
    since: Instant,
    unasked: Repeats,
}

impl Drop for Handler {
    /// russh skips `disconnected` in some endings, and drops the handler in all of them.
    fn drop(&mut self) {
        let closed = SessionError::Ssh(russh::Error::Disconnect);
        self.shared
            .end(session_failure(self.shared.stage(), &closed));
    }
}

impl Handler {
    pub(crate) fn new(target: Target, known: KnownHosts, shared: Arc<Shared>) -> Self {
        Handler {
            target,
            known: Some(known),
            shared,
            since: Instant::now(),
            unasked: Repeats::default(),
        }
    }

    async fn refuse(&mut self, what: &'static str, reply: ChannelOpenHandle) {
        reply
            .reject(ChannelOpenFailure::AdministrativelyProhibited)
            .await;
        // A server that does it over and over fills no journal.
        if self.unasked.say(what, self.since.elapsed()) == Say::Nothing {
            return;
        }
        tracing::warn!(
            message_id = events::UNASKED_CHANNEL,
            host = %self.target.host,
            "refused a {what} channel that the server opened without being asked"
        );
    }
}

impl Handler {
    /// `accept-new`: writes the key down before it is trusted.
    async fn learn(&self, key: PublicKey) -> Result<(), Failure> {
        let Target { host, port, .. } = &self.target;
        let Some(file) = self.target.known_hosts.first().map(|f| f.value.clone()) else {
            let cause = format!("unknown host {host}:{port}, and no known_hosts file to add it to");
            return Err(Failure::blocked(Stage::HostKey, cause));
        };
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let (learn_host, learn_port, path) = (host.clone(), *port, file.clone());
        let learned = tokio::task::spawn_blocking(move || {
            host_key::learn(&path, &learn_host, learn_port, &key)
        });
        let (problem, fault) = match learned.await {
            Ok(Ok(())) => {
                tracing::info!(
                    message_id = events::HOST_LEARNT,
                    host = %host,
                    key = %fingerprint,
                    file = %file.display(),
                    "new host key learnt"
                );
                return Ok(());
            }
            Ok(Err(e)) => (e.to_string(), ReadFault::of(&e)),
            Err(_) => {
                let problem = format!("adding {host}:{port} to known_hosts was interrupted");
                (problem, ReadFault::Passing)
            }
        };
        Err(match fault {
            ReadFault::Passing => Failure::transient(Stage::HostKey, problem),
            ReadFault::Denied | ReadFault::Other => Failure::blocked(Stage::HostKey, problem),
        })
    }
}

impl client::Handler for Handler {
    type Error = SessionError;

    async fn check_server_key(
        &mut self,
        offered: &PublicKeyOrCertificate,
    ) -> Result<bool, SessionError> {
        self.shared.set_stage(Stage::HostKey);
        let key = match offered {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
            PublicKeyOrCertificate::Certificate(_) => {
                // Never offered, so a server that sends one breaks the protocol.
                return Err(SessionError::Refused(Failure::blocked(
                    Stage::HostKey,
                    "the server sent a host certificate that was not asked for",
                )));
            }
        };
        let Some(known) = self.known.take() else {
            return Ok(false);
        };
        match host_key::judge(&self.target, &known, &key) {
            Verdict::Trusted { by } => {
                tracing::debug!(host = %self.target.host, by, "host key trusted");
                Ok(true)
            }
            Verdict::Refused(failure) => Err(SessionError::Refused(failure)),
            Verdict::Learn => {
                self.learn(key).await.map_err(SessionError::Refused)?;
                Ok(true)
            }
        }
    }

    async fn kex_done(
        &mut self,
        _shared_secret: Option<&[u8]>,
        names: &russh::Names,
        session: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.shared.key_exchanges.fetch_add(1, Ordering::Relaxed);
        let server = String::from_utf8_lossy(session.remote_sshid()).into_owned();
        // Set once: a later key exchange keeps the same algorithms.
        let _ = self.shared.facts.set(Facts {
            server: clip(&printable(&server), 255),
            kex: names.kex.as_ref().to_owned(),
            cipher: names.cipher.as_ref().to_owned(),
            host_key: names.key.to_string(),
        });
        Ok(())
    }

    async fn auth_banner(
        &mut self,
        banner: &str,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        let banner = clip(&printable(banner), 500);
        tracing::debug!(host = %self.target.host, banner, "server banner");
        Ok(())
    }

    async fn channel_open_failure(
        &mut self,
        _: ChannelId,
        reason: ChannelOpenFailure,
        description: &str,
        _language: &str,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.shared.note_refusal(reason, description);
        Ok(())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<SessionError>,
    ) -> Result<(), SessionError> {
        let stage = self.shared.stage();
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                self.shared.end(disconnect_failure(stage, &info));
                Ok(())
            }
            DisconnectReason::Error(e) => {
                self.shared.end(session_failure(stage, &e));
                Err(e)
            }
        }
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _connected_address: &str,
        _connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.refuse("forwarded-tcpip", reply).await;
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _socket_path: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.refuse("forwarded-streamlocal", reply).await;
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.refuse("agent", reply).await;
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.refuse("session", reply).await;
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.refuse("direct-tcpip", reply).await;
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _socket_path: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.refuse("direct-streamlocal", reply).await;
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.refuse("x11", reply).await;
        Ok(())
    }
}
