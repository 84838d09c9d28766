//! What happens on the way to a session, step by step, for whoever watches an attempt.
//!
//! A daemon watches nobody: then nothing is written down, and a step costs a comparison.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::shared::Facts;

/// How many steps may wait for their reader; more than one attempt over eight hops takes.
const MAX_WAITING: usize = 1024;

/// Takes the steps of attempts down. An attempt that is watched is a rehearsal: it writes nothing to
/// any known_hosts file.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    to: Option<mpsc::Sender<Entry>>,
    host: Option<Arc<str>>,
}

/// A step, and when and with which host it was taken.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When it was done.
    pub at: Instant,
    /// `host:port` of the SSH server that it is about.
    pub host: Arc<str>,
    /// What was done.
    pub step: Step,
}

/// A step of an attempt that has been done. What has failed is the attempt's own [`Failure`].
///
/// [`Failure`]: tunneld_core::failure::Failure
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The name was looked up.
    Resolved {
        /// Its addresses, in the order in which they are tried.
        addresses: Vec<SocketAddr>,
    },
    /// There is a connection to the server.
    Connected {
        /// What was reached, and over what.
        peer: String,
    },
    /// The host key is the server's own.
    HostKey {
        /// `ED25519 SHA256:…`; of a certificate also its identity.
        key: String,
        /// Who says so: `FILE:LINE`, the pin, or the authority.
        by: String,
    },
    /// Keys were exchanged.
    KeyExchanged(Facts),
    /// A method of authentication was tried.
    Tried {
        /// Its name in the protocol (RFC 4252): `publickey`.
        method: &'static str,
        /// With what: `ED25519 SHA256:… (FILE)`; never a secret.
        with: String,
        /// What came of it.
        answer: Answer,
    },
    /// The server lets us in.
    Authenticated,
}

/// What came of a method of authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was enough.
    Accepted,
    /// It was right, and more is wanted.
    Partial {
        /// What is.
        wanted: String,
    },
    /// It was refused.
    Rejected {
        /// What the server would accept, as it says: `publickey, password`.
        accepts: String,
    },
    /// It was not tried, or not to the end.
    Skipped {
        /// Why.
        reason: String,
    },
}

impl Trace {
    /// A trace, and where its steps can be read.
    pub fn new() -> (Self, mpsc::Receiver<Entry>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let trace = Trace {
            to: Some(sender),
            host: None,
        };
        (trace, receiver)
    }

    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.to.is_some()
    }

    /// The trace of what is done with one host.
    pub(crate) fn of(&self, host: &str) -> Self {
        Trace {
            host: self.is_watched().then(|| host.into()),
            to: self.to.clone(),
        }
    }

    /// Takes a step down, if anybody watches.
    pub(crate) fn note(&self, step: impl FnOnce() -> Step) {
        if let (Some(to), Some(host)) = (&self.to, &self.host) {
            // A reader that is that far behind does without.
            let _ = to.try_send(Entry {
                at: Instant::now(),
                host: Arc::clone(host),
                step: step(),
            });
        }
    }
}
