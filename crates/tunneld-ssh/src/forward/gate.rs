//! Who may come through a forward, and how many at once.

use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tunneld_core::config::{Destination, ForwardSpec};

use super::log::ForwardLog;
use super::{Counters, Limits, Peer};
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
    pub(crate) fn admit(&self, spec: &ForwardSpec, peer: &Peer) -> Result<Admitted, String> {
        let limit = spec.max_connections;
        if self.counters.open() >= u64::from(limit) {
            return Err(format!("more than {limit} connections (max_connections)"));
        }
        let allowed = |ip| spec.allow.iter().any(|net| net.contains(&ip));
        if !spec.allow.is_empty() && !peer.ip().is_some_and(allowed) {
            return Err(format!("{} is not allowed here (allow)", peer.host()));
        }
        self.counters.opened();
        Ok(Admitted(Arc::clone(&self.counters)))
    }

    /// Counts a refusal, and tells it unless one of its kind was told just now: what a client asks
    /// for, or where it comes from, must not make each refusal one of a kind.
    pub(crate) fn refuse(&self, peer: &Peer, kind: &str, reason: &str) {
        self.counters.note_refusal(reason);
        self.log.refused(peer, kind, reason);
    }
}

/// The limits of a forward's connections.
pub(crate) fn limits(spec: &ForwardSpec, limits: &Limits) -> pump::Limits {
    pump::Limits::client(limits.stall_timeout, spec.idle_timeout)
}

/// Connects to a place on this side.
pub(crate) async fn connect_here(to: &Destination) -> Result<Wire, String> {
    let connected = match to {
        Destination::Tcp { host, port } => TcpStream::connect((host.as_str(), *port))
            .await
            .map(Wire::from),
        Destination::Unix(path) => UnixStream::connect(path).await.map(Wire::from),
    };
    match connected {
        Ok(wire) => {
            wire.set_nodelay();
            Ok(wire)
        }
        Err(e) => Err(format!("cannot connect to {to}: {}", os_reason(&e))),
    }
}
