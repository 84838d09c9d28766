//! Who may come through a forward, and how many at once.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tunneld_core::config::{Destination, ForwardSpec};
use tunneld_core::refusal::Refusal;

use super::log::ForwardLog;
use super::{Counters, Limits, Peer};
use crate::descriptors::{self, Room};
use crate::error::os_reason;
use crate::pump;
use crate::wire::Wire;

/// What all connections of a forward have in common.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) log: Arc<ForwardLog>,
    pub(crate) counters: Arc<Counters>,
    /// How many connections have come to their target on this side.
    connected: Arc<watch::Sender<u64>>,
}

/// Why a connection is refused: for programs, and in words.
pub(crate) type No = (Refusal, String);

/// Counts a connection as open while it lives.
pub(crate) struct Admitted(Arc<Counters>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.closed();
    }
}

impl Gate {
    pub(crate) fn new(log: ForwardLog, counters: Counters) -> Self {
        Gate {
            log: Arc::new(log),
            counters: Arc::new(counters),
            connected: Arc::default(),
        }
    }

    /// A connection has come to its target on this side.
    pub(crate) fn note_connected(&self) {
        self.connected.send_modify(|n| *n += 1);
    }

    /// Changes with each connection that comes to its target on this side.
    pub(crate) fn connected(&self) -> watch::Receiver<u64> {
        self.connected.subscribe()
    }

    /// Lets a connection in, or says why not.
    pub(crate) fn admit(&self, spec: &ForwardSpec, peer: &Peer) -> Result<Admitted, No> {
        let limit = spec.max_connections;
        if self.counters.open() >= u64::from(limit) {
            let reason = format!("more than {limit} connections (max_connections)");
            return Err((Refusal::Limit, reason));
        }
        let allowed = |ip| spec.allow.iter().any(|net| net.contains(&ip));
        if !spec.allow.is_empty() && !peer.ip().is_some_and(allowed) {
            let reason = format!("{} is not allowed here (allow)", peer.host());
            return Err((Refusal::NotAllowed, reason));
        }
        self.counters.opened();
        Ok(Admitted(Arc::clone(&self.counters)))
    }

    /// Counts a refusal, and tells it unless one for this was told just now.
    pub(crate) fn refuse(&self, peer: &Peer, (why, reason): &No) {
        self.refuse_as(peer, *why, why.as_str(), reason);
    }

    /// As [`refuse`](Self::refuse), unless one of this kind was told just now: what a client asks for,
    /// or where it comes from, must not make each refusal one of a kind.
    pub(crate) fn refuse_as(&self, peer: &Peer, why: Refusal, kind: &str, reason: &str) {
        self.counters.note_refusal(why, reason);
        self.log.refused(peer, kind, reason);
    }

    /// A connection was reset because its client took nothing for this long.
    pub(crate) fn stalled(&self, peer: &Peer, after: Duration) {
        self.counters.note_stall();
        self.log.stalled(peer, after);
    }
}

/// The forward that a client came through was stopped, or leads elsewhere now.
pub(crate) fn stopped() -> No {
    (Refusal::Down, "the forward was stopped".to_owned())
}

/// A client has had enough before there was anything for it.
pub(crate) fn gone() -> No {
    let reason = "the client went before it was connected";
    (Refusal::Handshake, reason.to_owned())
}

/// The limits of a forward's connections.
pub(crate) fn limits(spec: &ForwardSpec, limits: &Limits) -> pump::Limits {
    pump::Limits::client(limits.stall_timeout, spec.idle_timeout)
}

/// Connects to a place on this side.
pub(crate) async fn connect_here(to: &Destination) -> Result<Wire, No> {
    let connected = match to {
        Destination::Tcp { host, port } => TcpStream::connect((host.as_str(), *port))
            .await
            .map(Wire::from),
        Destination::Unix(path) => UnixStream::connect(path).await.map(Wire::from),
    };
    match connected {
        // The last descriptors are for sessions and commands.
        Ok(wire) if descriptors::room_beside(wire.as_fd()) == Room::Over => {
            let reason = os_reason(&descriptors::no_room());
            Err((Refusal::Target, format!("cannot connect to {to}: {reason}")))
        }
        Ok(wire) => {
            wire.set_nodelay();
            Ok(wire)
        }
        Err(e) => {
            let reason = format!("cannot connect to {to}: {}", os_reason(&e));
            Err((Refusal::Target, reason))
        }
    }
}
