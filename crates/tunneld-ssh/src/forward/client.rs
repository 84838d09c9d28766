//! One client of a forward that listens here.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tunneld_core::config::{Destination, Goal, WhileDown};
use tunneld_core::refusal::Refusal;

use super::gate::{Gate, gone, limits, stopped};
use super::handshake::{self, Asked};
use super::near::Spec;
use super::sessions::Choice;
use super::{Context, Peer};
use crate::opener::{OpenChannel, OpenError, Opener};
use crate::pump::{self, Cargo, End};
use crate::wire::Wire;

/// How long a connection waits for a session that is not clogged before it takes one that is.
const RELIEF_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One client.
pub(crate) struct Client {
    pub(crate) spec: Spec,
    pub(crate) gate: Gate,
    pub(crate) context: Context,
    pub(crate) accepting: CancellationToken,
    pub(crate) abort: CancellationToken,
    pub(crate) peer: Peer,
}

/// A channel to where the client wants to go, and the session it is on.
struct Opened {
    session: Opener,
    channel: OpenChannel,
    _usage: TaskTrackerToken,
}

/// Why there is no channel.
pub(crate) enum Refused {
    /// The tunnel is down, or was stopped.
    Down(String),
    /// The server could not, or would not.
    Open(OpenError),
}

impl Client {
    pub(crate) async fn run(self, socket: Wire) {
        socket.set_nodelay();
        match &self.spec.local.connect {
            Goal::To(to) => self.fixed(socket, to).await,
            // It needs more room than the other, which is the usual one.
            Goal::Asked => Box::pin(self.asked(socket)).await,
        }
    }

    async fn fixed(&self, socket: Wire, to: &Destination) {
        match self.open_or_abort(to).await {
            Ok(opened) => self.carry(socket, opened, to, Bytes::new()).await,
            Err(refused) => self.refuse(to, &refused),
        }
    }

    /// The client says where to, and is told what became of it, in its own protocol.
    async fn asked(&self, socket: Wire) {
        let asked = tokio::select! {
            asked = handshake::on_socket(&socket) => asked,
            () = self.abort.cancelled() => Err(stopped()),
        };
        let Asked { request, early } = match asked {
            Ok(asked) => asked,
            Err(no) => {
                self.gate.refuse(&self.peer, &no);
                return handshake::part(&socket).await;
            }
        };
        let to = &request.destination;
        let opened = self.open_or_abort(to).await;
        let outcome = handshake::outcome(opened.as_ref().err());
        let told = handshake::tell_socket(&socket, &request.reply(outcome)).await;
        match opened {
            Ok(opened) if told => self.carry(socket, opened, to, early).await,
            Ok(_) => self.gate.refuse(&self.peer, &gone()),
            Err(refused) => {
                self.refuse(to, &refused);
                handshake::part(&socket).await;
            }
        }
    }

    fn refuse(&self, to: &Destination, refused: &Refused) {
        let (why, kind, reason) = match refused {
            Refused::Down(reason) => (Refusal::Down, reason.clone(), reason.clone()),
            Refused::Open(e) => (e.refusal(), e.to_string(), format!("{to}: {e}")),
        };
        self.gate.refuse_as(&self.peer, why, &kind, &reason);
    }

    async fn carry(&self, socket: Wire, opened: Opened, to: &Destination, early_up: Bytes) {
        let (log, counters) = (&self.gate.log, &self.gate.counters);
        log.opened(&self.peer, &to.to_string());
        let tunnel = *self.context.limits.borrow();
        let limits = limits(&self.spec.whole, &tunnel);
        let abort = self.abort.clone();
        let session = &opened.session;
        let halves = opened.channel.split();
        let cargo = Cargo::new(socket, halves, session, counters, limits, abort);
        let end = pump::carry(Cargo { early_up, ..cargo }).await;
        if end == End::Stalled {
            self.gate.stalled(&self.peer, tunnel.stall_timeout);
        }
        log.closed(&self.peer, end);
    }

    async fn open_or_abort(&self, to: &Destination) -> Result<Opened, Refused> {
        tokio::select! {
            opened = self.open(to) => opened,
            () = self.abort.cancelled() => {
                Err(Refused::Down(stopped().1))
            }
        }
    }

    /// A channel to the target; with no session, after waiting for one as the file says. A session
    /// that ends while it is asked is one more reason to wait.
    async fn open(&self, to: &Destination) -> Result<Opened, Refused> {
        let deadline = Instant::now() + self.spec.local.wait_timeout;
        loop {
            let (session, usage) = self.session(deadline).await.map_err(Refused::Down)?;
            match session.open(to, &self.peer).await {
                Ok(channel) => {
                    return Ok(Opened {
                        session,
                        channel,
                        _usage: usage,
                    });
                }
                // With no other session the next look says what the file wants.
                Err(OpenError::SessionEnded) => {}
                Err(e) => return Err(Refused::Open(e)),
            }
        }
    }

    async fn session(&self, deadline: Instant) -> Result<(Opener, TaskTrackerToken), String> {
        let mut sessions = self.context.sessions.clone();
        let relieved_by = Instant::now() + RELIEF_PATIENCE;
        let waits = self.spec.local.while_down == WhileDown::Wait;
        loop {
            let until = match sessions.choose() {
                Choice::Session(session) => return Ok(in_use(session)),
                Choice::Clogged(session) if Instant::now() >= relieved_by => {
                    return Ok(in_use(session));
                }
                // A session may be clear again before another one is there.
                Choice::Clogged(_) => Instant::now() + LOOK_AGAIN,
                Choice::Nothing if !waits => return Err("the tunnel is down".to_owned()),
                Choice::Nothing if Instant::now() >= deadline => {
                    let waited = self.spec.local.wait_timeout.as_secs_f64();
                    return Err(format!("the tunnel was down for {waited}s (wait_timeout)"));
                }
                Choice::Nothing => deadline,
            };
            tokio::select! {
                () = sessions.changed() => {}
                () = self.accepting.cancelled() => return Err("the tunnel was stopped".to_owned()),
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}

fn in_use(session: Opener) -> (Opener, TaskTrackerToken) {
    let usage = session.usage();
    (session, usage)
}
