//! Why an agent is of no help.

use std::fmt;
use std::io;
use std::time::Duration;

use tunneld_core::failure::{Failure, Stage};
use tunneld_core::text::shell_word;

use super::frames::Garbled;
use crate::error::os_reason;

/// Why an agent is of no help, or not with this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentProblem {
    /// The agent: its socket, or the variable that does not name one.
    pub(super) agent: String,
    pub(super) kind: AgentProblemKind,
}

/// The kinds of [`AgentProblem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AgentProblemKind {
    /// The variable that names its socket is not set.
    NotSet,
    /// There is no such socket.
    Missing,
    /// Its socket cannot be connected to.
    Unreachable {
        /// The reason, in the system's words.
        reason: String,
        /// Whether our user has no right to it.
        denied: bool,
    },
    /// It does not answer.
    Silent {
        /// How long it was waited for.
        after: Duration,
    },
    /// It closed the connection, or the connection failed.
    Closed,
    /// It closed the connection, and is the agent of another user.
    OtherUser {
        /// Its user.
        uid: u32,
    },
    /// It shows no key.
    NoKey,
    /// It sent what is no answer.
    Garbled(Garbled),
    /// It does not say which keys it has.
    NoList,
    /// It does not sign with this key.
    Refused {
        /// `SHA256:…` of the key.
        key: String,
    },
    /// It signs with another algorithm than the one that was asked for.
    OtherAlgorithm {
        /// `SHA256:…` of the key.
        key: String,
        /// The algorithm that was asked for.
        wanted: &'static str,
        /// The algorithm that it took.
        given: String,
    },
}

impl AgentProblemKind {
    /// Whether it closed the connection.
    pub(super) fn is_closed(&self) -> bool {
        matches!(
            self,
            AgentProblemKind::Closed | AgentProblemKind::OtherUser { .. }
        )
    }
}

impl AgentProblem {
    pub(super) fn connecting(agent: &str, e: &io::Error) -> Self {
        let kind = match e.kind() {
            io::ErrorKind::NotFound => AgentProblemKind::Missing,
            kind => AgentProblemKind::Unreachable {
                reason: os_reason(e),
                denied: kind == io::ErrorKind::PermissionDenied,
            },
        };
        AgentProblem {
            agent: agent.to_owned(),
            kind,
        }
    }

    /// Whether waiting can fix it. An agent that is not there may be starting, beside us or with
    /// its user's session. One that will not sign is not asked every second: somebody may be
    /// asked each time to touch a key.
    pub(crate) fn is_passing(&self) -> bool {
        match &self.kind {
            AgentProblemKind::Missing
            | AgentProblemKind::Silent { .. }
            | AgentProblemKind::Closed => true,
            AgentProblemKind::Unreachable { denied, .. } => !denied,
            AgentProblemKind::NotSet
            | AgentProblemKind::OtherUser { .. }
            | AgentProblemKind::NoKey
            | AgentProblemKind::Garbled(_)
            | AgentProblemKind::NoList
            | AgentProblemKind::Refused { .. }
            | AgentProblemKind::OtherAlgorithm { .. } => false,
        }
    }

    /// What to do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match &self.kind {
            AgentProblemKind::NotSet => {
                "a service has no agent unless it is given one: name the socket in \
                 identity_agent, or set the variable in the unit (Environment=)"
            }
            AgentProblemKind::Missing | AgentProblemKind::Unreachable { denied: false, .. } => {
                "start the agent (ssh-agent -a PATH), or correct identity_agent"
            }
            AgentProblemKind::NoKey => {
                let add = format!("SSH_AUTH_SOCK={} ssh-add", shell_word(&self.agent));
                return Some(format!("add one: {add} KEY; or unlock the agent: {add} -X"));
            }
            AgentProblemKind::Unreachable { .. } | AgentProblemKind::OtherUser { .. } => {
                "start one as the user that tunneld runs as: an agent answers nobody else"
            }
            AgentProblemKind::Silent { .. } | AgentProblemKind::Closed => {
                "see whether ssh-add -l with SSH_AUTH_SOCK set to that socket gets an answer"
            }
            AgentProblemKind::Garbled(_) => {
                "correct identity_agent: what listens there does not speak as an agent"
            }
            AgentProblemKind::NoList => return None,
            AgentProblemKind::Refused { .. } => {
                "the agent may be locked (ssh-add -X), its key may be for other hosts only \
                 (ssh-add -h), or nobody confirmed or touched the key"
            }
            AgentProblemKind::OtherAlgorithm { .. } => {
                "the agent is too old for RSA keys with SHA-2; use an Ed25519 key"
            }
        };
        Some(hint.to_owned())
    }

    /// The failure of a connection attempt that had no other key.
    pub(crate) fn into_failure(self) -> Failure {
        let failure = if self.is_passing() {
            Failure::transient(Stage::Authenticate, self.to_string())
        } else {
            Failure::blocked(Stage::Authenticate, self.to_string())
        };
        failure.with_any_hint(self.hint())
    }
}

impl fmt::Display for AgentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agent {}", self.agent)?;
        match &self.kind {
            AgentProblemKind::NotSet => f.write_str(" is not set"),
            AgentProblemKind::Missing => f.write_str(": no such file"),
            AgentProblemKind::Unreachable { reason, .. } => write!(f, ": {reason}"),
            AgentProblemKind::Silent { after } => {
                write!(f, ": no answer within {}s", after.as_secs_f64())
            }
            AgentProblemKind::Closed => f.write_str(": closed the connection"),
            AgentProblemKind::OtherUser { uid } => {
                write!(
                    f,
                    ": closed the connection, and is that of another user (uid {uid})"
                )
            }
            AgentProblemKind::NoKey => f.write_str(" shows no key"),
            AgentProblemKind::Garbled(garbled) => write!(f, ": {garbled}"),
            AgentProblemKind::NoList => f.write_str(" does not say which keys it has"),
            AgentProblemKind::Refused { key } => write!(f, " refused to sign with {key}"),
            AgentProblemKind::OtherAlgorithm { key, wanted, given } => {
                write!(f, " signed with {key} as {given}, not as {wanted}")
            }
        }
    }
}

impl std::error::Error for AgentProblem {}
