//! Forwards: listening places that belong to a tunnel and outlive its sessions.
//!
//! ```text
//!   local, dynamic:   listen ──▶ near ──▶ client  ──▶ a channel that we open       ──┐
//!   remote:           remote (the server listens) ──▶ arrival ◀── a channel it opens ├──▶ pump
//!   dynamic:          handshake: SOCKS or HTTP CONNECT in front of either           ──┘
//! ```
//!
//! A forward hears of the sessions through [`Sessions`], of changes in the file through its
//! [`Forward`], and says through it how it is.

mod arrival;
mod client;
mod counters;
pub(crate) mod gate;
mod handshake;
mod listen;
mod log;
mod near;
mod peer;
pub(crate) mod probe;
pub(crate) mod remote;
mod sessions;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tunneld_core::config::{ForwardKind, ForwardSpec};
use tunneld_core::failure::Failure;
use tunneld_core::name::TunnelName;

pub use counters::{Counters, Counts};
pub use listen::{Keeping, LeaveOnPanic, Passed, Taken, listen_tcp};
pub(crate) use peer::Peer;
pub use sessions::{Entry, Roster, Sessions, Want};

use gate::Gate;
use log::ForwardLog;

/// What a forward is given by its tunnel.
#[derive(Clone)]
pub struct Context {
    /// For the log.
    pub tunnel: TunnelName,
    /// The sessions that new connections go to.
    pub sessions: Sessions,
    /// The sockets that the service manager passed.
    pub passed: Passed,
    /// `stall_timeout` and `drain_timeout`, as they are now.
    pub limits: watch::Receiver<Limits>,
    /// Told whenever a forward's state has changed.
    pub news: Arc<Notify>,
}

/// Limits of a tunnel that its forwards keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a connection with a full backlog may stand still.
    pub stall_timeout: Duration,
    /// How long connections may go on when what they go to is changed in the file.
    pub drain_timeout: Duration,
}

/// How a forward is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Whether its listening place is there; `None` before the first try.
    pub place: Option<Result<(), Failure>>,
    /// The port that the server chose.
    pub allocated_port: Option<u16>,
    /// Whether its probe is answered; `None` before the first answer, or where there is none.
    pub probe: Option<Result<(), Failure>>,
    /// Whether it has a probe.
    pub probed: bool,
}

impl State {
    /// Whether it is known how the forward is.
    pub fn settled(&self) -> bool {
        match &self.place {
            None => false,
            Some(Err(_)) => true,
            Some(Ok(())) => !self.probed || self.probe.is_some(),
        }
    }

    /// What is wrong with it.
    pub fn failure(&self) -> Option<&Failure> {
        [&self.place, &self.probe]
            .into_iter()
            .find_map(|part| part.as_ref()?.as_ref().err())
    }
}

/// The handle to a running forward.
pub struct Forward {
    spec: watch::Sender<ForwardSpec>,
    state: Publisher,
    counters: Arc<Counters>,
    retry_now: Arc<Notify>,
    accepting: CancellationToken,
    carrying: CancellationToken,
}

impl Forward {
    /// What it does.
    pub fn spec(&self) -> ForwardSpec {
        self.spec.borrow().clone()
    }

    /// Changes what it does. Its listening place is bound anew only if that changed; connections
    /// to an old target have `drain_timeout` to finish.
    pub fn set_spec(&self, spec: ForwardSpec) {
        let old = self.spec.borrow().clone();
        // What is changed is unknown from now on, and not from when the task comes to it.
        self.state.0.send_modify(|state| {
            if !old.listens_as(&spec) {
                (state.place, state.allocated_port) = (None, None);
            }
            state.probed = spec.probe.is_some();
            if old.probe != spec.probe || old.goal() != spec.goal() {
                state.probe = None;
            }
        });
        self.spec.send_replace(spec);
    }

    /// How it is.
    pub fn state(&self) -> State {
        self.state.0.borrow().clone()
    }

    /// Its connections and bytes.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Tries a listening place now that is not there.
    pub fn retry_now(&self) {
        self.retry_now.notify_one();
    }

    /// Stops listening. Connections that are carried go on; its task ends with the last of them.
    pub fn stop_accepting(&self) {
        self.accepting.cancel();
    }

    /// Resets the connections that are still carried.
    pub fn abort(&self) {
        self.accepting.cancel();
        self.carrying.cancel();
    }
}

/// Starts a forward. The future is its task: whoever runs it owns it, and it ends only after
/// [`Forward::stop_accepting`] or [`Forward::abort`].
pub fn start(
    spec: ForwardSpec,
    context: Context,
) -> (Forward, impl Future<Output = ()> + Send + 'static) {
    let state = Publisher(Arc::new(watch::Sender::new(State {
        probed: spec.probe.is_some(),
        ..State::default()
    })));
    let remote = matches!(spec.kind, ForwardKind::Remote(_));
    let log = ForwardLog::new(context.tunnel.clone(), spec.name.clone());
    let gate = Gate::new(log, Counters::new(remote));
    let (spec_sender, spec) = watch::channel(spec);
    let forward = Forward {
        spec: spec_sender,
        state: state.clone(),
        counters: Arc::clone(&gate.counters),
        retry_now: Arc::default(),
        accepting: CancellationToken::new(),
        carrying: CancellationToken::new(),
    };
    let run = Run {
        context,
        spec,
        gate,
        state,
        retry_now: Arc::clone(&forward.retry_now),
        accepting: forward.accepting.clone(),
        carrying: forward.carrying.clone(),
    };
    let log = Arc::clone(&run.gate.log);
    let task = async move {
        let probing = probe::run(Probing::of(&run));
        // Each as large as it is: the task of a forward would be as large as the largest kind.
        let forwarding: Pin<Box<dyn Future<Output = ()> + Send>> = match remote {
            true => Box::pin(remote::run(run)),
            false => Box::pin(near::run(run)),
        };
        tokio::select! {
            () = forwarding => {}
            () = probing => {}
            () = log.remind() => {}
        }
    };
    (forward, task)
}

/// The inside of a forward's task.
pub(crate) struct Run {
    pub(crate) context: Context,
    pub(crate) spec: watch::Receiver<ForwardSpec>,
    pub(crate) gate: Gate,
    pub(crate) state: Publisher,
    pub(crate) retry_now: Arc<Notify>,
    pub(crate) accepting: CancellationToken,
    pub(crate) carrying: CancellationToken,
}

/// What the probe of a forward needs.
pub(crate) struct Probing {
    pub(crate) context: Context,
    pub(crate) spec: watch::Receiver<ForwardSpec>,
    pub(crate) gate: Gate,
    pub(crate) state: Publisher,
    pub(crate) accepting: CancellationToken,
}

impl Probing {
    fn of(run: &Run) -> Self {
        Probing {
            context: run.context.clone(),
            spec: run.spec.clone(),
            gate: run.gate.clone(),
            state: run.state.clone(),
            accepting: run.accepting.clone(),
        }
    }
}

/// Publishes how a forward is.
#[derive(Clone)]
pub(crate) struct Publisher(Arc<watch::Sender<State>>);

impl Publisher {
    /// Changes the state, and tells whoever looks if it is another one.
    pub(crate) fn change(&self, news: &Notify, change: impl FnOnce(&mut State)) {
        let changed = self.0.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
        if changed {
            news.notify_one();
        }
    }

    /// The state now, and as it changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }
}

impl Run {
    /// Ends the connections to an old target after `drain_timeout`.
    pub(crate) fn retire(&self, old: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let patience = self.context.limits.borrow().drain_timeout;
        let stopped = self.accepting.clone();
        async move {
            tokio::select! {
                // A forward that stops has a patience of its own.
                () = stopped.cancelled() => {}
                () = tokio::time::sleep(patience) => old.cancel(),
            }
        }
    }

    /// Publishes how the listening place is.
    pub(crate) fn set_place(&self, place: Option<Result<(), Failure>>) {
        self.state
            .change(&self.context.news, |state| state.place = place);
    }
}
