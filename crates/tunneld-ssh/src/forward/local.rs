//! `local_forward`: listens here, connects at the server's side (`ssh -L`).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::Channel;
use russh::client::Msg;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tunneld_core::config::{ForwardKind, ForwardSpec, Listen, LocalForward, WhileDown};
use tunneld_core::events;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::name::ForwardName;
use tunneld_core::repeats::{Repeats, Say};

use super::listen::Listeners;
use super::{Context, Counters, Run};
use crate::error::os_reason;
use crate::pump::{self, End};
use crate::session::{OpenError, Opener};

/// How long a listener rests when the process or the system is out of something, as sshd's.
const PAUSE: Duration = Duration::from_secs(1);
/// A listener that has paused this often without a client in between is not in place.
const PAUSES: u32 = 3;
/// How soon a place that could not be bound is tried again; doubles up to the second number.
const REBIND: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The task of a local forward.
pub(crate) async fn run(run: Run) {
    let Some((name, spec)) = local(&run.spec.borrow()) else {
        return;
    };
    let started = Instant::now();
    let shared = Arc::new(ForwardLog {
        context: run.context.clone(),
        name,
        started,
        said: Mutex::default(),
    });
    let generation = run.carrying.child_token();
    let mut forward = Local {
        spec,
        run,
        log: shared,
        generation,
        place: None,
        rest_until: None,
        rebind: REBIND.0,
        pauses: 0,
        connections: JoinSet::new(),
    };
    forward.serve().await;
    forward.place = None;
    forward.drain().await;
}

fn local(spec: &ForwardSpec) -> Option<(ForwardName, Arc<LocalForward>)> {
    match &spec.kind {
        ForwardKind::Local(local) => Some((spec.name.clone(), Arc::new(local.clone()))),
    }
}

struct Local {
    run: Run,
    spec: Arc<LocalForward>,
    log: Arc<ForwardLog>,
    /// Ends the connections that go to the present target, once that has changed.
    generation: CancellationToken,
    place: Option<(Listen, Listeners)>,
    rest_until: Option<Instant>,
    rebind: Duration,
    /// How often accepting has failed since a client was accepted.
    pauses: u32,
    connections: JoinSet<()>,
}

impl Local {
    async fn serve(&mut self) {
        loop {
            if self.rest_until.is_none() {
                self.bind().await;
            }
            let rest_until = self.rest_until;
            tokio::select! {
                () = self.run.accepting.cancelled() => return,
                changed = self.run.spec.changed() => match changed {
                    Ok(()) => self.change(),
                    Err(_) => return,
                },
                accepted = accept(&mut self.place), if rest_until.is_none() => {
                    self.accepted(accepted);
                }
                () = rest(rest_until), if rest_until.is_some() => self.rest_until = None,
                () = self.run.retry_now.notified() => {
                    self.rest_until = None;
                    self.rebind = REBIND.0;
                }
                // A connection's panic is its own; the forward goes on.
                Some(_) = self.connections.join_next(), if !self.connections.is_empty() => {}
            }
        }
    }

    /// Lets the connections that are left come to their end.
    async fn drain(&mut self) {
        while self.connections.join_next().await.is_some() {}
    }

    /// Puts the listening place in place, if it is not.
    async fn bind(&mut self) {
        let listen = &self.spec.listen.value;
        if self
            .place
            .as_ref()
            .is_some_and(|(place, _)| place == listen)
        {
            return;
        }
        self.place = None;
        match Listeners::bind(listen).await {
            Ok(listeners) => {
                self.place = Some((listen.clone(), listeners));
                self.rebind = REBIND.0;
                self.log.listening(listen);
                self.run.set_state(Ok(()));
            }
            Err(failure) => {
                // A place that another forward is just leaving is free in a moment.
                if self.rebind > REBIND.0 {
                    self.log.cannot_listen(&failure.cause);
                    self.run.set_state(Err(failure));
                }
                self.rest_until = Some(Instant::now() + self.rebind);
                self.rebind = (self.rebind * 2).min(REBIND.1);
            }
        }
    }

    fn change(&mut self) {
        let Some((_, spec)) = local(&self.run.spec.borrow_and_update()) else {
            return;
        };
        if spec.connect != self.spec.connect {
            self.retire_target();
        }
        if spec.listen != self.spec.listen {
            self.rest_until = None;
            self.rebind = REBIND.0;
        }
        self.spec = spec;
    }

    /// Connections to the old target may finish for `drain_timeout`.
    fn retire_target(&mut self) {
        let old = std::mem::replace(&mut self.generation, self.run.carrying.child_token());
        let patience = self.run.context.limits.borrow().drain_timeout;
        let stopped = self.run.accepting.clone();
        self.connections.spawn(async move {
            tokio::select! {
                // A forward that stops has a patience of its own.
                () = stopped.cancelled() => {}
                () = tokio::time::sleep(patience) => old.cancel(),
            }
        });
    }

    fn accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((socket, peer)) => {
                if self.pauses >= PAUSES {
                    self.run.set_state(Ok(()));
                }
                self.pauses = 0;
                self.admit(socket, peer);
            }
            // The client was gone before it was accepted.
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(e) => {
                self.log.paused(&self.spec.listen.value, &e);
                self.pauses += 1;
                if self.pauses == PAUSES {
                    let place = &self.spec.listen.value;
                    let cause = format!("cannot accept on {place}: {}", os_reason(&e));
                    self.run
                        .set_state(Err(Failure::transient(Stage::Forward, cause)));
                }
                self.rest_until = Some(Instant::now() + PAUSE);
            }
        }
    }

    fn admit(&mut self, socket: TcpStream, peer: SocketAddr) {
        // A client that comes after a reload was answered finds what the file says now.
        if self.run.spec.has_changed().unwrap_or(false) {
            self.change();
        }
        let limit = self.spec.max_connections;
        if self.run.counters.open() >= u64::from(limit) {
            let reason = format!("more than {limit} connections (max_connections)");
            self.log.refused(&self.run.counters, peer, &reason);
            pump::reset_unless_finished(&socket);
            return;
        }
        self.run.counters.opened();
        let connection = Connection {
            spec: Arc::clone(&self.spec),
            log: Arc::clone(&self.log),
            counters: Open(Arc::clone(&self.run.counters)),
            accepting: self.run.accepting.clone(),
            abort: self.generation.clone(),
            peer,
        };
        self.connections.spawn(connection.run(socket));
    }
}

async fn accept(place: &mut Option<(Listen, Listeners)>) -> io::Result<(TcpStream, SocketAddr)> {
    match place {
        Some((_, listeners)) => listeners.accept().await,
        None => std::future::pending().await,
    }
}

async fn rest(until: Option<Instant>) {
    if let Some(until) = until {
        tokio::time::sleep_until(until).await;
    }
}

/// Counts a connection as open while it lives.
struct Open(Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// One client.
struct Connection {
    spec: Arc<LocalForward>,
    log: Arc<ForwardLog>,
    counters: Open,
    accepting: CancellationToken,
    abort: CancellationToken,
    peer: SocketAddr,
}

impl Connection {
    async fn run(self, socket: TcpStream) {
        // Latency over throughput, as ssh does; a socket that refuses still works.
        let _ = socket.set_nodelay(true);
        pump::reset_unless_finished(&socket);
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = self.abort.cancelled() => Err("the forward was stopped".to_owned()),
        };
        match opened {
            Ok((session, channel, _usage)) => self.carry(socket, &session, channel).await,
            Err(reason) => {
                self.log.refused(&self.counters.0, self.peer, &reason);
            }
        }
    }

    async fn carry(&self, socket: TcpStream, session: &Opener, channel: Channel<Msg>) {
        self.log.opened(self.peer);
        let stall_timeout = self.log.context.limits.borrow().stall_timeout;
        let counters = &self.counters.0;
        let abort = self.abort.clone();
        let end = pump::carry(socket, channel, session, counters, stall_timeout, abort).await;
        if end == End::Stalled {
            self.log.stalled(self.peer, stall_timeout);
        }
        self.log.closed(self.peer, end);
    }

    /// A channel to the target; with no session, after waiting for one as the file says. A session
    /// that ends while it is asked is one more reason to wait.
    async fn open(&self) -> Result<(Opener, Channel<Msg>, TaskTrackerToken), String> {
        let deadline = Instant::now() + self.spec.wait_timeout;
        loop {
            let session = self.session(deadline).await?;
            let usage = session.usage();
            match session.open_tcp(&self.spec.connect, self.peer).await {
                Ok(channel) => return Ok((session, channel, usage)),
                Err(OpenError::SessionEnded) if self.spec.while_down == WhileDown::Wait => {}
                Err(e) => return Err(format!("{}: {e}", self.spec.connect)),
            }
        }
    }

    async fn session(&self, deadline: Instant) -> Result<Opener, String> {
        let mut slot = self.log.context.slot.clone();
        let live = |slot: &Option<Opener>| slot.as_ref().is_some_and(Opener::is_live);
        if self.spec.while_down == WhileDown::Refuse && !live(&slot.borrow()) {
            return Err("the tunnel is down".to_owned());
        }
        tokio::select! {
            found = slot.wait_for(live) => match found.map(|slot| slot.clone()) {
                Ok(Some(session)) => Ok(session),
                _ => Err("the tunnel was stopped".to_owned()),
            },
            () = self.accepting.cancelled() => Err("the tunnel was stopped".to_owned()),
            () = tokio::time::sleep_until(deadline) => {
                let waited = self.spec.wait_timeout.as_secs_f64();
                Err(format!("the tunnel was down for {waited}s (wait_timeout)"))
            }
        }
    }
}

/// The log lines of one forward; repeats are kept back.
struct ForwardLog {
    context: Context,
    name: ForwardName,
    started: Instant,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    listen: Repeats,
    refused: Repeats,
    paused: Repeats,
}

impl ForwardLog {
    /// Says `text` unless it was said just now; with how often it was not said meanwhile.
    fn say(&self, of: impl Fn(&mut Said) -> &mut Repeats, text: &str, line: impl FnOnce(u32)) {
        let now = self.started.elapsed();
        let say = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            of(&mut said).say(text, now)
        };
        match say {
            Say::First => line(0),
            Say::Summary { suppressed } => line(suppressed),
            Say::Nothing => {}
        }
    }

    fn listening(&self, listen: &Listen) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.listen.clear();
        drop(said);
        tracing::info!(
            message_id = events::LISTENING,
            tunnel = %self.context.tunnel,
            forward = %self.name,
            "listening on {listen}"
        );
    }

    fn cannot_listen(&self, cause: &str) {
        self.say(
            |said| &mut said.listen,
            cause,
            |suppressed| {
                tracing::warn!(
                    message_id = events::LISTEN_FAILED,
                    tunnel = %self.context.tunnel,
                    forward = %self.name,
                    stage = "forward",
                    class = "transient",
                    suppressed,
                    "{cause}; trying again"
                );
            },
        );
    }

    fn paused(&self, listen: &Listen, e: &io::Error) {
        let reason = os_reason(e);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        self.say(
            |said| &mut said.paused,
            &reason,
            |suppressed| {
                tracing::warn!(
                    message_id = events::LISTENER_PAUSED,
                    tunnel = %self.context.tunnel,
                    forward = %self.name,
                    listen = %listen,
                    limit,
                    suppressed,
                    "listener paused {}s: {reason}",
                    PAUSE.as_secs()
                );
            },
        );
    }

    fn refused(&self, counters: &Counters, peer: SocketAddr, reason: &str) {
        counters.note_refusal(reason);
        self.say(
            |said| &mut said.refused,
            reason,
            |suppressed| {
                tracing::warn!(
                    message_id = events::CONNECTION_REFUSED,
                    tunnel = %self.context.tunnel,
                    forward = %self.name,
                    peer = %peer,
                    suppressed,
                    "connection refused: {reason}"
                );
            },
        );
    }

    fn opened(&self, peer: SocketAddr) {
        tracing::debug!(
            tunnel = %self.context.tunnel,
            forward = %self.name,
            peer = %peer,
            "connection opened"
        );
    }

    fn closed(&self, peer: SocketAddr, end: End) {
        tracing::debug!(
            tunnel = %self.context.tunnel,
            forward = %self.name,
            peer = %peer,
            end = ?end,
            "connection closed"
        );
    }

    fn stalled(&self, peer: SocketAddr, after: Duration) {
        tracing::warn!(
            message_id = events::CONNECTION_STALLED,
            tunnel = %self.context.tunnel,
            forward = %self.name,
            peer = %peer,
            "connection reset: the client took nothing for {}s while its backlog was full (stall_timeout)",
            after.as_secs_f64()
        );
    }
}
