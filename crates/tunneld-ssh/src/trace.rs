//! What happens on the way to a session, step by step, for whoever watches an attempt.
//!
//! A daemon watches nobody: then nothing is written down, and a step costs a comparison.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tunneld_core::failure::Failure;

use crate::shared::Facts;

/// How many steps may wait for their reader; more than one attempt over eight hops takes.
const MAX_WAITING: usize = 1024;

/// Takes the steps of attempts down.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    to: Option<mpsc::Sender<Entry>>,
    host: Option<Arc<str>>,
    rehearsal: Option<Rehearsal>,
}

/// An attempt that writes nothing to any known_hosts file, neither the key of a new host nor further
/// keys of a known one; and by whom it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearsal {
    /// By the user that the daemon runs as. What this user could not write down, the daemon cannot
    /// either: that ends the attempt as it would end the daemon's.
    AsDaemon,
    /// By somebody else, for whom other files may be open.
    AsAnother,
}

impl Rehearsal {
    /// What is told of a key that `accept-new` would learn, by the file that it could be written to.
    pub(crate) fn learnt(self, could: Result<PathBuf, Failure>) -> Result<String, Failure> {
        let new = "new: the daemon learns it at its first connection";
        match (self, could) {
            (Rehearsal::AsDaemon, could) => could.map(|_| new.to_owned()),
            (Rehearsal::AsAnother, Ok(file)) => {
                Ok(format!("{new}, if it can write {}", file.display()))
            }
            (Rehearsal::AsAnother, Err(e)) => Ok(format!("{new} if it can; this user {e}")),
        }
    }
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The name was looked up.
    Resolved {
        /// Its addresses, in the order in which they are tried.
        addresses: Vec<SocketAddr>,
    },
    /// A program that is to be the way to the server was started. Whether it leads there shows when
    /// the server's key has come.
    Started {
        /// What is to be reached, and over what.
        peer: String,
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
    /// The trace of a rehearsal, and where its steps can be read.
    pub fn rehearsing(rehearsal: Rehearsal) -> (Self, mpsc::Receiver<Entry>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let trace = Trace {
            to: Some(sender),
            host: None,
            rehearsal: Some(rehearsal),
        };
        (trace, receiver)
    }

    /// Whether nothing is written down that would be otherwise.
    pub(crate) fn rehearsal(&self) -> Option<Rehearsal> {
        self.rehearsal
    }

    /// The trace of what is done with one host.
    pub(crate) fn of(&self, host: &str) -> Self {
        Trace {
            host: self.to.is_some().then(|| host.into()),
            to: self.to.clone(),
            rehearsal: self.rehearsal,
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
