//! What is answered to a request that fails.

use serde::{Deserialize, Serialize};
use tunneld_core::config::{DiagnosticView, nearest};
use tunneld_ssh::calling;

use crate::config_file::count;

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
    /// A command that a browser sent for a web page.
    CrossSite,
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

    /// The daemon ends before the answer is made.
    pub(crate) fn stopping() -> Self {
        ApiError::new(ErrorKind::Stopping, "the daemon is stopping")
    }

    /// There is no tunnel of that name, but these.
    pub(crate) fn no_such_tunnel(name: &str, names: &[String]) -> Self {
        ApiError::new(ErrorKind::NoSuchTunnel, no_tunnel(name, names))
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
        n if n > 10 => {
            let status = calling::ours().command(&["status"]);
            format!("there are {n}; `{status}` lists them")
        }
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
