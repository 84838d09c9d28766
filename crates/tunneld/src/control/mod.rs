//! The control socket: HTTP and JSON on a unix socket, so that `curl --unix-socket` works.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`DaemonStatus`](tunneld_core::status::DaemonStatus) |
//! | `GET /v1/events`, `?every=SECONDS` | the same whenever it changes, as server-sent events |
//! | `GET /v1/tunnels/NAME/history` | [`HistoryReport`](tunneld_core::history::HistoryReport) |
//! | `POST /v1/reload`, `?dry_run=true` | [`Reloaded`], or 422 and an [`ApiError`]: `tunneld reload --json` prints either |
//! | `POST /v1/tunnels/NAME/start`, `…/stop`, `…/restart` | [`Done`] |
//! | `GET /metrics`, `/healthz`, `/readyz` | see `docs/metrics.md` |
//!
//! Whatever fails answers with an [`ApiError`], whose `kind` is for programs.

mod advice;
pub(crate) mod client;
mod clients;
mod events;
pub(crate) mod follow;
pub(crate) mod serve;
pub(crate) mod server;
mod stalled;

use serde::{Deserialize, Serialize};
use tunneld_core::config::{DiagnosticView, nearest};
use tunneld_core::plan::Plan;

use crate::config_file::count;

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

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiError {
    /// For programs.
    pub(crate) kind: ErrorKind,
    /// For people: one line.
    pub(crate) message: String,
    /// For `bad-config`: what is wrong, place by place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) diagnostics: Vec<DiagnosticView>,
    /// For `bad-config`: the same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<String>,
}

/// The kinds of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ErrorKind {
    /// The configuration file is wrong; the running configuration is unchanged.
    BadConfig,
    /// There is no tunnel of that name.
    NoSuchTunnel,
    /// There is nothing at that path.
    NotFound,
    /// There is, and it is not asked for with this method.
    MethodNotAllowed,
    /// A part of the request makes no sense.
    BadRequest,
    /// The request has a body that is too large.
    TooLarge,
    /// The request is for another host: a web page that has its name lead here would read this.
    WrongHost,
    /// The tunnel has too much to do to hear; asking again helps.
    Busy,
    /// The daemon is stopping.
    Stopping,
}

impl ErrorKind {
    /// Whether the same request may be answered a little later.
    pub(crate) fn is_passing(self) -> bool {
        matches!(self, ErrorKind::Busy | ErrorKind::Stopping)
    }
}

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        ApiError {
            kind,
            message: message.into(),
            diagnostics: Vec::new(),
            report: None,
        }
    }

    /// One line with the first thing that is wrong, where that is known, and how many others are.
    pub(crate) fn first(&self) -> String {
        let Some(first) = self.diagnostics.first() else {
            return self.message.clone();
        };
        let mut place = first.file.clone();
        for number in [first.line, first.line.and(first.column)]
            .into_iter()
            .flatten()
        {
            place.push_str(&format!(":{number}"));
        }
        let message = &first.message;
        match self.diagnostics.len() {
            1 => format!("{place}: {message}"),
            n => format!("{place}: {message}; {} in all", count(n)),
        }
    }
}

/// The words for a tunnel that does not exist, with the names of those that do, and the one that
/// was meant.
pub(crate) fn no_tunnel(name: &str, names: &[String]) -> String {
    let known = match names.len() {
        0 => "there are none".to_owned(),
        n if n > 10 => format!("there are {n}; `tunneld status` lists them"),
        _ => format!("there are: {}", names.join(", ")),
    };
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let said = format!("no tunnel `{shown}`; {known}");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match nearest(&names, name) {
        Some(near) if names.len() > 1 => format!("{said}; did you mean `{near}`?"),
        _ => said,
    }
}
