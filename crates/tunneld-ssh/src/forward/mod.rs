//! Forwards: listening places that belong to a tunnel and outlive its sessions.
//!
//! A kind of forward is a file here and a line in [`start`]. A forward hears of the current
//! session through a [`Slot`], of changes in the file through its [`Forward`], and says through it
//! how it is.

mod counters;
mod listen;
mod local;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tunneld_core::config::{ForwardKind, ForwardSpec};
use tunneld_core::failure::Failure;
use tunneld_core::name::TunnelName;

pub use counters::{Counters, Counts};

use crate::session::Opener;

/// The session that new connections go to; `None` while there is none.
pub type Slot = watch::Receiver<Option<Opener>>;

/// What a forward is given by its tunnel.
#[derive(Clone)]
pub struct Context {
    /// For the log.
    pub tunnel: TunnelName,
    /// The session that new connections go to.
    pub slot: Slot,
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

/// The handle to a running forward.
pub struct Forward {
    spec: watch::Sender<ForwardSpec>,
    /// What became of the listening place: `None` before the first try, then whether it is in
    /// place.
    state: watch::Receiver<Option<Result<(), Failure>>>,
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
        self.spec.send_replace(spec);
    }

    /// Whether it is in place; `None` before its first try.
    pub fn state(&self) -> watch::Receiver<Option<Result<(), Failure>>> {
        self.state.clone()
    }

    /// Its connections and bytes.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Tries a listening place now that could not be bound.
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
    let (state_sender, state) = watch::channel(None);
    let (spec_sender, spec_receiver) = watch::channel(spec.clone());
    let forward = Forward {
        spec: spec_sender,
        state,
        counters: Arc::default(),
        retry_now: Arc::default(),
        accepting: CancellationToken::new(),
        carrying: CancellationToken::new(),
    };
    let run = Run {
        context,
        spec: spec_receiver,
        state: state_sender,
        counters: Arc::clone(&forward.counters),
        retry_now: Arc::clone(&forward.retry_now),
        accepting: forward.accepting.clone(),
        carrying: forward.carrying.clone(),
    };
    let task = async move {
        match &spec.kind {
            ForwardKind::Local(_) => local::run(run).await,
        }
    };
    (forward, task)
}

impl Run {
    /// Publishes how the listening place is.
    pub(crate) fn set_state(&self, state: Result<(), Failure>) {
        self.state.send_replace(Some(state));
        self.context.news.notify_one();
    }
}

/// The inside of a forward's task.
pub(crate) struct Run {
    pub(crate) context: Context,
    pub(crate) spec: watch::Receiver<ForwardSpec>,
    pub(crate) state: watch::Sender<Option<Result<(), Failure>>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) retry_now: Arc<Notify>,
    pub(crate) accepting: CancellationToken,
    pub(crate) carrying: CancellationToken,
}
