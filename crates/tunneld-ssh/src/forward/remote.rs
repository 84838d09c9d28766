//! Forwards that listen at the server's side: `ssh -R`.
//!
//! The server is asked on one session, the tunnel's first. It answers yes or no and never why, so
//! a refusal is looked into: whether something listens there already tells a port that is held,
//! often by the server's half of a session that has died, from one that is not allowed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tunneld_core::config::{Destination, ForwardKind, ForwardSpec, RemoteForward, RemoteListen};
use tunneld_core::failure::{Failure, Stage};

use super::arrival::Arrival;
use super::{Peer, Run};
use crate::asked::Incoming;
use crate::opener::{ListenError, Listening, Opener};
use crate::wait;

/// How soon a place that the server refused is asked for again; doubles up to the second number.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How soon after the first refusal.
const SECOND_THOUGHT: Duration = Duration::from_millis(200);
/// How many connections may wait to be taken in: a process that was held up is handed all at once
/// that have come meanwhile, and none of them shall be lost that `max_connections` has room for.
const BACKLOG: usize = 4096;
/// How long a server may take to stop listening.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);
/// How long it may take to find out whether something listens at a place.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// The task of a remote forward.
pub(crate) async fn run(run: Run) {
    let Some(spec) = Spec::of(&run.spec.borrow()) else {
        return;
    };
    let (taker, incoming) = mpsc::channel(BACKLOG);
    let generation = run.carrying.child_token();
    let mut remote = Remote {
        spec,
        run,
        generation,
        taker,
        incoming,
        listening: None,
        ask_at: None,
        delay: ASK_AGAIN.0,
        asked_on: None,
        refused_once: false,
        had_it: false,
        connections: JoinSet::new(),
    };
    remote.serve().await;
    remote.cancel().await;
    while remote.connections.join_next().await.is_some() {}
}

/// What the file says of it.
#[derive(Clone)]
struct Spec {
    whole: Arc<ForwardSpec>,
    remote: RemoteForward,
}

impl Spec {
    fn of(spec: &ForwardSpec) -> Option<Self> {
        match &spec.kind {
            ForwardKind::Remote(remote) => Some(Spec {
                whole: Arc::new(spec.clone()),
                remote: remote.clone(),
            }),
            ForwardKind::Local(_) => None,
        }
    }
}

struct Remote {
    run: Run,
    spec: Spec,
    /// Ends the connections that go to the present target, once that has changed.
    generation: CancellationToken,
    taker: mpsc::Sender<Incoming>,
    incoming: mpsc::Receiver<Incoming>,
    listening: Option<Listening>,
    /// When the server is asked again.
    ask_at: Option<Instant>,
    delay: Duration,
    /// The session that was asked last.
    asked_on: Option<Opener>,
    /// It has refused once: another forward may be leaving the place in this moment.
    refused_once: bool,
    /// Whether an earlier session had the place.
    had_it: bool,
    connections: JoinSet<()>,
}

impl Remote {
    async fn serve(&mut self) {
        let mut sessions = self.run.context.sessions.clone();
        loop {
            self.follow(sessions.first()).await;
            let ask_at = self.ask_at;
            tokio::select! {
                () = self.run.accepting.cancelled() => return,
                changed = self.run.spec.changed() => match changed {
                    Ok(()) => self.change().await,
                    Err(_) => return,
                },
                () = sessions.changed() => {}
                Some(incoming) = self.incoming.recv() => self.arrived(incoming),
                () = wait::until(ask_at), if ask_at.is_some() => self.ask_at = None,
                () = self.run.retry_now.notified() => self.ask_soon(),
                // A connection's panic is its own; the forward goes on.
                Some(_) = self.connections.join_next(), if !self.connections.is_empty() => {}
            }
        }
    }

    /// Has the place on this session, and on no other one.
    async fn follow(&mut self, session: Option<Opener>) {
        let here = |listening: &Listening| {
            session
                .as_ref()
                .is_some_and(|s| s.is_same(listening.session()))
        };
        if self.listening.as_ref().is_some_and(here) {
            return;
        }
        if self.listening.is_some() {
            // A session that is replaced has to let go of the place before another can have it.
            self.cancel().await;
            self.ask_soon();
        }
        let Some(session) = session else {
            self.asked_on = None;
            self.ask_soon();
            self.run.set_place(None);
            return;
        };
        let asked = self.asked_on.as_ref();
        if !asked.is_some_and(|asked| asked.is_same(&session)) {
            // What another session was told says nothing of this one.
            self.asked_on = Some(session.clone());
            self.ask_soon();
        }
        if self.ask_at.is_none() {
            self.ask(&session).await;
        }
    }

    fn ask_soon(&mut self) {
        self.ask_at = None;
        self.delay = ASK_AGAIN.0;
        self.refused_once = false;
    }

    async fn ask(&mut self, session: &Opener) {
        let place = &self.spec.remote.listen.value;
        match session.listen(place, self.taker.clone()).await {
            Ok(listening) => self.in_place(listening),
            // There will be another session.
            Err(ListenError::SessionEnded) => self.run.set_place(None),
            Err(ListenError::Timeout) => {
                let cause = format!("the server does not answer whether it listens on {place}");
                self.ask_later(Failure::transient(Stage::Forward, cause));
            }
            Err(ListenError::Refused) if !self.refused_once => {
                self.refused_once = true;
                self.ask_at = Some(Instant::now() + SECOND_THOUGHT);
            }
            Err(ListenError::Refused) => {
                let held = something_listens(session, place).await;
                self.ask_later(refused(place, held, self.had_it));
            }
        }
    }

    fn in_place(&mut self, listening: Listening) {
        let place = &self.spec.remote.listen.value;
        let allocated = match place {
            RemoteListen::Tcp { port: 0, .. } => Some(listening.port()),
            _ => None,
        };
        let text = match allocated {
            Some(port) => format!("{place} at the server: port {port}"),
            None => format!("{place} at the server"),
        };
        self.run.gate.log.listening(&text);
        self.listening = Some(listening);
        self.had_it = true;
        self.ask_soon();
        self.run.state.change(&self.run.context.news, |state| {
            state.place = Some(Ok(()));
            state.allocated_port = allocated;
        });
    }

    fn ask_later(&mut self, failure: Failure) {
        self.run.gate.log.cannot_listen(&failure);
        self.run.set_place(Some(Err(failure)));
        self.ask_at = Some(Instant::now() + self.delay);
        self.delay = (self.delay * 2).min(ASK_AGAIN.1);
    }

    /// Has the server stop listening, so that whoever asks next finds the place free.
    async fn cancel(&mut self) {
        self.run.state.change(&self.run.context.news, |state| {
            state.place = None;
            state.allocated_port = None;
        });
        let Some(listening) = self.listening.take() else {
            return;
        };
        let live = listening.session().is_live();
        if live {
            self.had_it = false;
            // A server that does not answer frees the place when the session ends.
            let _ = tokio::time::timeout(CANCEL_PATIENCE, listening.cancel()).await;
        }
        // What the server had accepted by then came before its answer, over this session.
        while let Ok(incoming) = self.incoming.try_recv() {
            if live {
                self.take_in(incoming, listening.session());
            }
        }
    }

    async fn change(&mut self) {
        let Some(spec) = Spec::of(&self.run.spec.borrow_and_update()) else {
            return;
        };
        if spec.remote.connect != self.spec.remote.connect {
            let old = std::mem::replace(&mut self.generation, self.run.carrying.child_token());
            self.connections.spawn(self.run.retire(old));
        }
        if spec.remote.listen != self.spec.remote.listen {
            self.cancel().await;
            self.had_it = false;
            self.ask_soon();
        }
        self.spec = spec;
    }

    fn arrived(&mut self, incoming: Incoming) {
        // Dropped, it is turned down.
        if let Some(session) = self.listening.as_ref().map(|l| l.session().clone()) {
            self.take_in(incoming, &session);
        }
    }

    fn take_in(&mut self, incoming: Incoming, session: &Opener) {
        let Incoming {
            channel,
            peer,
            reply,
        } = incoming;
        let admitted = match self.run.gate.admit(&self.spec.whole, &peer) {
            Ok(admitted) => admitted,
            Err(no) => return self.run.gate.refuse(&peer, &no),
        };
        let arrival = Arrival {
            spec: Arc::clone(&self.spec.whole),
            session: session.clone(),
            gate: self.run.gate.clone(),
            context: self.run.context.clone(),
            abort: self.generation.clone(),
            peer,
        };
        let usage = arrival.session.usage();
        self.connections.spawn(async move {
            let _counted = (admitted, usage);
            arrival.run(channel, reply).await;
        });
    }
}

/// Whether something listens at a place of the server's; `None` where it does not let us look.
pub(crate) async fn something_listens(session: &Opener, place: &RemoteListen) -> Option<bool> {
    use crate::opener::OpenError;
    let to = match place {
        RemoteListen::Tcp { port: 0, .. } => return None,
        RemoteListen::Tcp { bind, port } => Destination::tcp(RemoteListen::reached_at(bind), *port),
        RemoteListen::Unix(path) => Destination::Unix(path.clone()),
    };
    let look = session.open(&to, &Peer::Here);
    match tokio::time::timeout(LOOK_PATIENCE, look).await {
        // Dropped, it is closed.
        Ok(Ok(_)) => Some(true),
        Ok(Err(OpenError::Refused { prohibited, .. })) if !prohibited => Some(false),
        _ => None,
    }
}

/// Why the server does not listen, as far as it can be known: whether something listens there, and
/// whether it was us on an earlier session.
pub(crate) fn refused(place: &RemoteListen, held: Option<bool>, had_it: bool) -> Failure {
    let (what, frees, rules) = match place {
        RemoteListen::Tcp { .. } => (
            "remote port held",
            "if a session that has died holds it, ClientAliveInterval and ClientAliveCountMax in \
             the server's sshd_config free it sooner",
            "see AllowTcpForwarding, PermitListen and GatewayPorts in its sshd_config, and \
             permitlisten in authorized_keys; ports below 1024 are root's",
        ),
        RemoteListen::Unix(_) => (
            "remote socket held",
            "StreamLocalBindUnlink yes in the server's sshd_config replaces a socket that an \
             earlier session has left",
            "see AllowStreamLocalForwarding in its sshd_config; a socket that an earlier session \
             has left is replaced with StreamLocalBindUnlink yes",
        ),
    };
    let (cause, hint) = match (held, had_it) {
        (Some(true), _) => {
            let cause = format!("{what}: something listens on {place} at the server");
            (cause, frees.to_owned())
        }
        // Our earlier session may still have it; the server may as well have other rules now.
        (None, true) => {
            let cause =
                format!("{what}, or not allowed any more: the server refuses to listen on {place}");
            (cause, format!("{frees}; else {rules}"))
        }
        (Some(false), _) | (None, false) => {
            let cause = format!("the server refuses to listen on {place}");
            (cause, rules.to_owned())
        }
    };
    Failure::transient(Stage::Forward, cause).with_hint(hint)
}
