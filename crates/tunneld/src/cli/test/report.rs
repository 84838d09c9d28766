//! What `tunneld test --json` prints: documented in the command's `--help`, and stable.
//!
//! A field without a value is left out. Times are milliseconds.

use std::net::IpAddr;

use serde::Serialize;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::name::{ForwardName, TunnelName};

/// The whole test.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The tunnel.
    pub(super) tunnel: TunnelName,
    /// Whether everything works that was tried.
    pub(super) ok: bool,
    /// The hosts on the way, the tunnel's server last; those after a failure are missing.
    pub(super) hosts: Vec<Host>,
    /// The forwards, in the order of the file; none where there was no session to try them on.
    pub(super) forwards: Vec<Forward>,
    /// What is to be known of the test itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
    /// The first thing that does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
}

/// One SSH server on the way.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Host {
    /// `host:port`.
    pub(super) host: String,
    /// Login name.
    pub(super) user: String,
    /// What was done with it, in order.
    pub(super) steps: Vec<Step>,
}

/// One step with a host. What belongs to the step is there if it was done.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Step {
    /// What was done.
    pub(super) step: Stage,
    /// Whether it worked.
    pub(super) ok: bool,
    /// Since the step before.
    pub(super) ms: u64,
    /// `resolve`: what was looked up, and its addresses in the order in which they are tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resolved: Option<Resolved>,
    /// `connect`: what was reached, and over what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<String>,
    /// `host-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host_key: Option<HostKey>,
    /// `key-exchange`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agreed: Option<Agreed>,
    /// `authenticate`: what was offered, in order, and what came of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tried: Vec<Tried>,
    /// Why it did not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
}

impl Step {
    /// A step that was done.
    pub(super) fn done(step: Stage, ms: u64) -> Self {
        Step {
            step,
            ok: true,
            ms,
            resolved: None,
            peer: None,
            host_key: None,
            agreed: None,
            tried: Vec::new(),
            failure: None,
        }
    }

    /// A step that does not work.
    pub(super) fn failed(failure: Failure, ms: u64) -> Self {
        Step {
            ok: false,
            failure: Some(failure.clone()),
            ..Step::done(failure.stage, ms)
        }
    }
}

/// The answer of the resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Resolved {
    /// The name: that of the host, or of the proxy that it is reached through.
    pub(super) name: String,
    /// Its addresses.
    pub(super) addresses: Vec<IpAddr>,
}

/// The server's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct HostKey {
    /// `ED25519 SHA256:…`.
    pub(super) key: String,
    /// Who says that it is the host's: `FILE:LINE`, the pin, or the authority.
    pub(super) by: String,
}

/// What the two sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Agreed {
    /// The key exchange.
    pub(super) kex: String,
    /// Whether it also withstands a quantum computer.
    pub(super) post_quantum: bool,
    /// The cipher.
    pub(super) cipher: String,
    /// The algorithm of the host key.
    pub(super) host_key: String,
    /// The server's identification string.
    pub(super) server: String,
}

/// A method of authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Tried {
    /// `publickey`.
    pub(super) method: &'static str,
    /// With what; never a secret.
    pub(super) with: String,
    /// What came of it.
    pub(super) answer: Answer,
    /// What the server accepts or wants more, or why it was not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    /// Since the step or the try before.
    pub(super) ms: u64,
}

/// What came of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// It was enough.
    Accepted,
    /// It was right, and more is wanted.
    Partial,
    /// It was refused.
    Rejected,
    /// It was not tried, or not to the end.
    Skipped,
}

/// One forward.
#[derive(Debug, Serialize)]
pub(super) struct Forward {
    /// Its name.
    pub(super) name: ForwardName,
    /// `local`, `remote` or `dynamic`.
    pub(super) kind: &'static str,
    /// Where it listens.
    pub(super) listen: String,
    /// Where its connections end up.
    pub(super) connect: String,
    /// Whether everything works that was tried.
    pub(super) ok: bool,
    /// What was tried.
    pub(super) checks: Vec<Check>,
    /// What was not tried, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// Something that was tried of a forward.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// What.
    pub(super) check: What,
    /// Whether it worked.
    pub(super) ok: bool,
    /// How long it took.
    pub(super) ms: u64,
    /// `listen`: the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    /// Why it did not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
}

/// What can be tried of a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    /// The server listens when it is asked to.
    Listen,
    /// The target takes a connection.
    Target,
    /// The target answers as the forward's probe expects.
    Probe,
}

impl Report {
    /// What was found.
    pub(super) fn new(tunnel: TunnelName, hosts: Vec<Host>, forwards: Vec<Forward>) -> Self {
        let mut report = Report {
            tunnel,
            ok: true,
            hosts,
            forwards,
            notes: Vec::new(),
            failure: None,
        };
        let first = report.failures().next().cloned();
        report.ok = first.is_none();
        report.failure = first;
        report
    }

    /// What does not work, in the order in which it was found.
    pub(super) fn failures(&self) -> impl Iterator<Item = &Failure> {
        let steps = self.hosts.iter().flat_map(|host| &host.steps);
        let checks = self.forwards.iter().flat_map(|forward| &forward.checks);
        let steps = steps.filter_map(|step| step.failure.as_ref());
        steps.chain(checks.filter_map(|check| check.failure.as_ref()))
    }
}
