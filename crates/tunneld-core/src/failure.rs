//! What went wrong: at which stage, and whether waiting can fix it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a tunnel had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Looking up the host's addresses.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// The SSH version exchange and key exchange (RFC 4253 sections 4 and 7).
    KeyExchange,
    /// Checking the server's host key against known_hosts and pins.
    HostKey,
    /// Proving who we are (RFC 4252).
    Authenticate,
    /// Putting a forward in place.
    Forward,
    /// The established session (RFC 4254).
    Session,
    /// A check through a forward.
    Probe,
}

impl Stage {
    /// Every stage, in the order in which they come.
    pub const ALL: [Stage; 8] = [
        Stage::Resolve,
        Stage::Connect,
        Stage::KeyExchange,
        Stage::HostKey,
        Stage::Authenticate,
        Stage::Forward,
        Stage::Session,
        Stage::Probe,
    ];

    /// The name used in the journal, in `--json` output and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Resolve => "resolve",
            Stage::Connect => "connect",
            Stage::KeyExchange => "key-exchange",
            Stage::HostKey => "host-key",
            Stage::Authenticate => "authenticate",
            Stage::Forward => "forward",
            Stage::Session => "session",
            Stage::Probe => "probe",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether waiting can fix a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Waiting can fix it: retried with exponential backoff.
    Transient,
    /// A person has to act: retried at the ceiling of the backoff only.
    Blocked,
}

impl Class {
    /// The name used in the journal, in `--json` output and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Transient => "transient",
            Class::Blocked => "blocked",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How the cause of a failure at a jump host begins.
const JUMP_HOST: &str = "jump host ";

/// One failure of a tunnel or of one of its forwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How far things had come.
    pub stage: Stage,
    /// Whether waiting can fix it.
    pub class: Class,
    /// What happened, in the words that are printed: lowercase, no full stop, one line.
    pub cause: String,
    /// What a person can do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

impl Failure {
    /// A failure that waiting can fix.
    pub fn transient(stage: Stage, cause: impl Into<String>) -> Self {
        Self::new(stage, Class::Transient, cause)
    }

    /// A failure that a person has to fix.
    pub fn blocked(stage: Stage, cause: impl Into<String>) -> Self {
        Self::new(stage, Class::Blocked, cause)
    }

    fn new(stage: Stage, class: Class, cause: impl Into<String>) -> Self {
        Failure {
            stage,
            class,
            cause: cause.into(),
            hint: None,
        }
    }

    /// The same failure as one of a jump host on the way, and not of the tunnel's own server. One
    /// of a jump host before that one stays what it is: it is named by the host that it is of.
    #[must_use]
    pub fn at_hop(mut self, hop: &str) -> Self {
        if !self.cause.starts_with(JUMP_HOST) {
            self.cause = format!("{JUMP_HOST}{hop}: {}", self.cause);
        }
        self
    }

    /// `host:port` of the jump host that it is a failure of, if it is one of a jump host.
    pub fn hop(&self) -> Option<&str> {
        let (hop, _) = self.cause.strip_prefix(JUMP_HOST)?.split_once(": ")?;
        Some(hop)
    }

    /// The same failure with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure with what to do about it, where there is something; else with what it had.
    #[must_use]
    pub fn with_any_hint(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.with_hint(hint),
            None => self,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_on_the_way_names_the_host_that_it_is_of_and_no_other() {
        let failure = Failure::transient(Stage::Connect, "connection refused").with_hint("x");
        assert_eq!(failure.hop(), None);
        let expected = Failure {
            cause: "jump host bastion:22: connection refused".to_owned(),
            ..failure.clone()
        };
        let failure = failure.at_hop("bastion:22");
        assert_eq!(failure, expected);
        assert_eq!(failure.clone().at_hop("behind:22"), expected);
        assert_eq!(failure.hop(), Some("bastion:22"));
    }
}
