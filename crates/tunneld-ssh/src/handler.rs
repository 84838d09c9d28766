//! What the server says, as russh tells it.
//!
//! The callbacks run inside russh's session loop: whatever waits here makes the whole session
//! wait. They look, hand over and return. Channels that the server opens are refused unless it was
//! asked to listen for them: russh's own default accepts every one of them.

use std::path::PathBuf;
use std::sync::Arc;

use russh::client::{self, ChannelOpenHandle, DisconnectReason, Msg};
use russh::compression::Compression;
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tunneld_core::config::Target;
use tunneld_core::events;
use tunneld_core::failure::Stage;
use tunneld_core::repeats::Repeats;
use tunneld_core::text::{clip, printable};

use crate::asked::{Incoming, Taker};
use crate::error::{SessionError, disconnect_failure, session_failure};
use crate::forward::Peer;
use crate::further_keys::Announcement;
use crate::host_key::TrustCommand;
use crate::known_hosts::KnownHosts;
use crate::server_key;
use crate::shared::{Facts, Shared};
use crate::trace::Step;

/// The client side of one session.
pub(crate) struct Handler {
    target: Target,
    trust: TrustCommand,
    /// Needed once, and dropped then: a session lives long, and the file may be large.
    known: Option<KnownHosts>,
    /// Who learns further keys of the host, and the file that they belong in.
    further_keys: Option<oneshot::Sender<Announcement>>,
    known_in: Option<PathBuf>,
    /// Its key came in a certificate.
    certified: bool,
    shared: Arc<Shared>,
    since: Instant,
    unasked: Repeats,
    overrun: Repeats,
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
    pub(crate) fn new(
        target: Target,
        trust: TrustCommand,
        known: KnownHosts,
        further_keys: Option<oneshot::Sender<Announcement>>,
        shared: Arc<Shared>,
    ) -> Self {
        Handler {
            target,
            trust,
            known: Some(known),
            further_keys,
            known_in: None,
            certified: false,
            shared,
            since: Instant::now(),
            unasked: Repeats::default(),
            overrun: Repeats::default(),
        }
    }

    async fn refuse(&mut self, what: &'static str, reply: ChannelOpenHandle) {
        reply
            .reject(ChannelOpenFailure::AdministrativelyProhibited)
            .await;
        // A server that does it over and over fills no journal.
        let say = self.unasked.say(what, self.since.elapsed());
        if let Some(suppressed) = say.said() {
            tracing::warn!(
                message_id = events::UNASKED_CHANNEL,
                tunnel = self.trust.tunnel(),
                host = %self.target.host,
                suppressed,
                "refused a {what} channel that the server opened without being asked"
            );
        }
    }
}

impl Handler {
    /// Gives a connection to the forward that asked for it.
    async fn hand_over(
        &mut self,
        what: &'static str,
        taker: Option<Taker>,
        channel: Channel<Msg>,
        peer: Peer,
        reply: ChannelOpenHandle,
    ) {
        let Some(taker) = taker else {
            return self.refuse(what, reply).await;
        };
        let incoming = Incoming {
            channel,
            peer,
            reply,
        };
        // A forward that is that far behind must not make the session wait.
        let unwanted = match taker.try_send(incoming) {
            Ok(()) => return,
            // It was removed just now.
            Err(TrySendError::Closed(unwanted)) => unwanted,
            Err(TrySendError::Full(unwanted)) => {
                self.overrun(what);
                unwanted
            }
        };
        let reply = unwanted.reply;
        reply.reject(ChannelOpenFailure::ResourceShortage).await;
    }

    fn overrun(&mut self, what: &'static str) {
        let say = self.overrun.say(what, self.since.elapsed());
        if let Some(suppressed) = say.said() {
            tracing::warn!(
                message_id = events::CONNECTION_REFUSED,
                tunnel = self.trust.tunnel(),
                host = %self.target.host,
                suppressed,
                "connection refused: too many {what} channels at once"
            );
        }
    }
}

/// The MAC of what we send; a cipher that authenticates as well has none beside it.
fn mac_name(names: &russh::Names) -> &str {
    let cipher = names.cipher.as_ref();
    match cipher.contains("-gcm@") || cipher.starts_with("chacha20-") {
        true => "implicit",
        false => names.client_mac.as_ref(),
    }
}

fn compression_name(names: &russh::Names) -> &'static str {
    match names.client_compression {
        Compression::None => "none",
        Compression::Zlib => "zlib",
        Compression::ZlibOpenSSH => "zlib@openssh.com",
    }
}

impl client::Handler for Handler {
    type Error = SessionError;

    async fn check_server_key(
        &mut self,
        offered: &PublicKeyOrCertificate,
    ) -> Result<bool, SessionError> {
        self.shared.set_stage(Stage::HostKey);
        let Some(known) = self.known.take() else {
            return Ok(false);
        };
        self.certified = offered.certificate().is_some();
        let checked = server_key::check(&self.target, &known, offered, &self.trust, &self.shared);
        self.known_in = checked.await.map_err(SessionError::Refused)?;
        if self.known_in.is_none() {
            self.further_keys = None;
        }
        Ok(true)
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        keys: Vec<PublicKey>,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        // The first time only: a server has no reason to say it twice.
        if let Some(file) = self.known_in.take()
            && let Some(learner) = self.further_keys.take()
        {
            let _ = learner.send(Announcement { keys, file });
        }
        Ok(())
    }

    async fn kex_done(
        &mut self,
        _shared_secret: Option<&[u8]>,
        names: &russh::Names,
        session: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.shared.note_key_exchange();
        let server = String::from_utf8_lossy(session.remote_sshid()).into_owned();
        // Set once: a later key exchange keeps the same algorithms.
        let facts = Facts {
            server: clip(&printable(&server), 255),
            kex: names.kex.as_ref().to_owned(),
            cipher: names.cipher.as_ref().to_owned(),
            mac: mac_name(names).to_owned(),
            compression: compression_name(names).to_owned(),
            host_key: match self.certified {
                true => names.key.to_certificate_type(),
                false => names.key.to_string(),
            },
        };
        self.shared.trace.note(|| Step::KeyExchanged(facts.clone()));
        let _ = self.shared.facts.set(facts);
        Ok(())
    }

    async fn auth_banner(
        &mut self,
        banner: &str,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.shared.note_banner();
        let banner = clip(&printable(banner), 500);
        tracing::debug!(
            tunnel = self.trust.tunnel(),
            host = %self.target.host,
            banner,
            "server banner"
        );
        Ok(())
    }

    async fn channel_open_failure(
        &mut self,
        _: ChannelId,
        _: ChannelOpenFailure,
        description: &str,
        _language: &str,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        self.shared.openings.note_refusal(description);
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
        channel: Channel<Msg>,
        connected_address: &str,
        connected_port: u32,
        originator_address: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        let taker = self.shared.asked.tcp(connected_address, connected_port);
        let peer = Peer::Remote {
            address: clip(&printable(originator_address), 255),
            port: originator_port,
        };
        self.hand_over("forwarded-tcpip", taker, channel, peer, reply)
            .await;
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), SessionError> {
        let taker = self.shared.asked.unix(socket_path);
        self.hand_over("forwarded-streamlocal", taker, channel, Peer::Unix, reply)
            .await;
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
