//! Why a connection of a forward was refused, in a few words that programs can count on.

use serde::{Deserialize, Serialize};

/// What a refused connection was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The tunnel was down, or was stopped, and the connection was not to wait any longer
    /// (`while_down`, `wait_timeout`).
    Down,
    /// There are `max_connections` already.
    Limit,
    /// `allow` does not have the client's address.
    NotAllowed,
    /// The client of a dynamic forward did not say where to in a way that can be followed, or went
    /// before it was connected.
    Handshake,
    /// The server's rules forbid it: AllowTcpForwarding and PermitOpen of sshd_config(5).
    Prohibited,
    /// The target could not be connected to.
    Target,
    /// The server did not answer in time.
    Timeout,
}

impl Refusal {
    /// Every one of them, in the order of their declaration.
    pub const ALL: [Refusal; 7] = [
        Refusal::Down,
        Refusal::Limit,
        Refusal::NotAllowed,
        Refusal::Handshake,
        Refusal::Prohibited,
        Refusal::Target,
        Refusal::Timeout,
    ];

    /// The name used in `--json` output and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Down => "down",
            Refusal::Limit => "limit",
            Refusal::NotAllowed => "not-allowed",
            Refusal::Handshake => "handshake",
            Refusal::Prohibited => "prohibited",
            Refusal::Target => "target",
            Refusal::Timeout => "timeout",
        }
    }
}
