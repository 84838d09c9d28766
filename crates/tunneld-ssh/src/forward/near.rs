//! Forwards that listen on this side: `ssh -L`, and `ssh -D` where the clients say where to.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tunneld_core::config::{ForwardKind, ForwardSpec, Listen, LocalForward};
use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_core::refusal::Refusal;

use super::client::Client;
use super::listen::{LOOK, Listeners};
use super::{Peer, Run};
use crate::descriptors::{self, Room};
use crate::error::os_reason;
use crate::wait;
use crate::wire::Wire;

/// How long a listener rests when the process or the system is out of something, as sshd's.
const PAUSE: Duration = Duration::from_secs(1);
/// A listener that has paused this often without a client in between is not in place.
const PAUSES: u32 = 3;
/// How soon a place that could not be bound is tried again; doubles up to the second number.
const REBIND: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The task of a forward that listens here.
pub(crate) async fn run(run: Run) {
    let Some(spec) = Spec::of(&run.spec.borrow()) else {
        return;
    };
    let generation = run.carrying.child_token();
    let mut near = Near {
        spec,
        run,
        generation,
        place: None,
        gone: None,
        rest_until: None,
        full: false,
        rebind: REBIND.0,
        pauses: 0,
        connections: JoinSet::new(),
    };
    near.serve().await;
    near.place = None;
    near.let_go();
    near.drain().await;
}

/// What the file says of it.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) whole: Arc<ForwardSpec>,
    pub(crate) local: Arc<LocalForward>,
}

impl Spec {
    fn of(spec: &ForwardSpec) -> Option<Self> {
        match &spec.kind {
            ForwardKind::Local(local) => Some(Spec {
                whole: Arc::new(spec.clone()),
                local: Arc::new(local.clone()),
            }),
            ForwardKind::Remote(_) => None,
        }
    }
}

struct Near {
    run: Run,
    spec: Spec,
    /// Ends the connections that go to the present target, once that has changed.
    generation: CancellationToken,
    place: Option<(Listen, Listeners)>,
    /// Ends once the place has lost its file.
    gone: Option<AbortOnDropHandle<()>>,
    rest_until: Option<Instant>,
    /// Clients have all the descriptors that they may have.
    full: bool,
    rebind: Duration,
    /// How often accepting has failed since a client was accepted.
    pauses: u32,
    /// What is carried, and what else goes on beside.
    connections: JoinSet<()>,
}

impl Near {
    async fn serve(&mut self) {
        loop {
            if self.rest_until.is_none() {
                let accepting = self.run.accepting.clone();
                tokio::select! {
                    // A disk, or a lookup of users, may take its time.
                    () = accepting.cancelled() => return,
                    () = self.bind() => self.look_for_room(),
                }
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
                () = lost(&mut self.gone) => self.make_anew(),
                () = wait::until(rest_until), if rest_until.is_some() => self.rest_until = None,
                () = self.run.retry_now.notified() => {
                    self.rest_until = None;
                    self.rebind = REBIND.0;
                    self.look();
                }
                // A connection's panic is its own; the forward goes on.
                Some(_) = self.connections.join_next(), if !self.connections.is_empty() => {}
            }
        }
    }

    /// What an earlier run has left for this place is not taken. Clients need not wait for its file to
    /// go; the end does.
    fn let_go(&mut self) {
        let passed = &self.run.context.passed;
        let removal = passed.let_go(&self.spec.local.listen.value);
        self.connections.spawn(removal);
    }

    /// Lets the connections that are left come to their end.
    async fn drain(&mut self) {
        while self.connections.join_next().await.is_some() {}
    }

    /// Puts the listening place in place, if it is not.
    async fn bind(&mut self) {
        let listen = &self.spec.local.listen.value;
        if self
            .place
            .as_ref()
            .is_some_and(|(place, _)| place == listen)
        {
            return;
        }
        (self.place, self.gone) = (None, None);
        match Listeners::bind(listen, &self.run.context.passed).await {
            Ok(listeners) => {
                self.gone = listeners.gone(LOOK);
                self.place = Some((listen.clone(), listeners));
                self.rebind = REBIND.0;
                self.run.gate.log.listening(&listen.to_string());
                self.run.set_place(Some(Ok(())));
            }
            Err(failure) => {
                if failure.class == Class::Blocked {
                    self.let_go();
                }
                // A place that another forward is just leaving is free in a moment.
                if self.rebind > REBIND.0 {
                    self.run.gate.log.cannot_listen(&failure);
                    self.run.set_place(Some(Err(failure)));
                }
                self.rest_until = Some(Instant::now() + self.rebind);
                self.rebind = (self.rebind * 2).min(REBIND.1);
            }
        }
    }

    /// Looks at once whether clients find the place.
    fn look(&mut self) {
        let place = self.place.as_ref();
        self.gone = place.and_then(|(_, listeners)| listeners.gone(Duration::ZERO));
    }

    /// The place has lost its file, and is bound anew.
    fn make_anew(&mut self) {
        (self.place, self.gone) = (None, None);
        let place = &self.spec.local.listen.value;
        let cause = format!("cannot listen on {place}: its file is gone");
        let failure = Failure::transient(Stage::Forward, cause);
        self.run.gate.log.cannot_listen(&failure);
    }

    fn change(&mut self) {
        let Some(spec) = Spec::of(&self.run.spec.borrow_and_update()) else {
            return;
        };
        if spec.local.connect != self.spec.local.connect {
            self.retire_target();
        }
        if spec.local.listen != self.spec.local.listen {
            self.rest_until = None;
            self.rebind = REBIND.0;
            self.let_go();
        }
        self.spec = spec;
        self.look();
    }

    /// Connections to the old target may finish for `drain_timeout`.
    fn retire_target(&mut self) {
        let old = std::mem::replace(&mut self.generation, self.run.carrying.child_token());
        self.connections.spawn(self.run.retire(old));
    }

    fn accepted(&mut self, accepted: io::Result<(Wire, Peer)>) {
        match accepted {
            Ok((socket, peer)) => {
                self.accepts();
                let room = descriptors::room_beside(socket.as_fd());
                match room {
                    Room::More | Room::Full => self.admit(socket, peer),
                    Room::Over => {
                        socket.reset_unless_finished();
                        let reason = os_reason(&descriptors::no_room());
                        self.run.gate.refuse(&peer, &(Refusal::Limit, reason));
                    }
                }
                if room != Room::More {
                    self.full = true;
                    self.pause(&descriptors::no_room());
                }
            }
            // The client was gone before it was accepted.
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(e) => self.pause(&e),
        }
    }

    /// Clients are accepted.
    fn accepts(&mut self) {
        if self.pauses >= PAUSES {
            self.run.set_place(Some(Ok(())));
        }
        self.pauses = 0;
    }

    /// Accepts nobody for a while.
    fn pause(&mut self, e: &io::Error) {
        let place = self.spec.local.listen.value.to_string();
        self.run.gate.log.paused(&place, e, PAUSE);
        self.pauses += 1;
        if self.pauses == PAUSES {
            let cause = format!("cannot accept on {place}: {}", os_reason(e));
            let failure = Failure::transient(Stage::Forward, cause);
            let failure = failure.with_any_hint(descriptors::hint(e));
            self.run.set_place(Some(Err(failure)));
        }
        self.rest_until = Some(Instant::now() + PAUSE);
    }

    /// Where clients have all that they may have, the next one waits until another has left.
    fn look_for_room(&mut self) {
        if !self.full {
            return;
        }
        self.full = !descriptors::is_room();
        match self.full {
            true => self.pause(&descriptors::no_room()),
            false => self.accepts(),
        }
    }

    fn admit(&mut self, socket: Wire, peer: Peer) {
        // A client that comes after a reload was answered finds what the file says now.
        if self.run.spec.has_changed().unwrap_or(false) {
            self.change();
        }
        // Whatever goes wrong from here on is a reset for the client.
        socket.reset_unless_finished();
        let admitted = match self.run.gate.admit(&self.spec.whole, &peer) {
            Ok(admitted) => admitted,
            Err(no) => return self.run.gate.refuse(&peer, &no),
        };
        let client = Client {
            spec: self.spec.clone(),
            gate: self.run.gate.clone(),
            context: self.run.context.clone(),
            accepting: self.run.accepting.clone(),
            abort: self.generation.clone(),
            peer,
        };
        self.connections.spawn(async move {
            let _admitted = admitted;
            client.run(socket).await;
        });
    }
}

async fn lost(gone: &mut Option<AbortOnDropHandle<()>>) {
    match gone {
        // It ends otherwise only if it fails: a new socket is as good.
        Some(gone) => drop(gone.await),
        None => std::future::pending().await,
    }
}

async fn accept(place: &mut Option<(Listen, Listeners)>) -> io::Result<(Wire, Peer)> {
    match place {
        Some((_, listeners)) => listeners.accept().await,
        None => std::future::pending().await,
    }
}
