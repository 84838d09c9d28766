//! The control socket: HTTP and JSON on a unix socket, so that `curl --unix-socket` works.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`DaemonStatus`](tunneld_core::status::DaemonStatus) |
//! | `GET /v1/events`, `?every=SECONDS` | the same whenever it changes, as server-sent events |
//! | `GET /v1/tunnels/NAME/history` | [`HistoryReport`](tunneld_core::history::HistoryReport) |
//! | `POST /v1/reload`, `?dry_run=true` | [`Reloaded`], or 422 and an [`ApiError`](crate::http::error::ApiError): `tunneld reload --json` prints either |
//! | `POST /v1/tunnels/NAME/start`, `…/stop`, `…/restart` | [`Done`] |
//! | `GET /metrics`, `/healthz`, `/readyz` | see `docs/metrics.md` |
//!
//! A command that a browser sends for a web page is refused, and so is what is for a name of the DNS:
//! somebody may have forwarded the socket to a port.
//!
//! Whatever fails answers with an [`ApiError`](crate::http::error::ApiError), whose `kind` is for programs.

mod advice;
pub(crate) mod client;
pub(crate) mod events;
pub(crate) mod follow;
mod places;
pub(crate) mod server;

use serde::{Deserialize, Serialize};
use tunneld_core::plan::Plan;

/// What a reload did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// Whether it was only asked what would happen.
    pub(crate) dry_run: bool,
    /// What happens to each tunnel.
    pub(crate) plan: Plan,
    /// What keeps a tunnel from logging in now, and time decides: the dates of a certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// A command was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The tunnel.
    pub(crate) tunnel: String,
    /// The command.
    pub(crate) command: TunnelCommand,
}

/// The commands for one tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TunnelCommand {
    /// Bring it up, if it is stopped.
    Start,
    /// Take it down, until it is started again.
    Stop,
    /// Make a new session now, whatever the delay was.
    Restart,
}

impl TunnelCommand {
    /// The word in the URL and on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            TunnelCommand::Start => "start",
            TunnelCommand::Stop => "stop",
            TunnelCommand::Restart => "restart",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Start, Self::Stop, Self::Restart]
            .into_iter()
            .find(|command| command.as_str() == word)
    }
}
