//! Forwards, as ssh has them and as the file has them.

use crate::config::ssh_forms::{parse_dynamic_forward, parse_local_forward, parse_remote_forward};
use crate::config::values::ValueError;
use crate::config::{Listen, ListenHost};

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Local,
    Remote,
    Dynamic,
}

impl Kind {
    /// All of them, in the order of the file.
    pub(super) const ALL: [Kind; 3] = [Kind::Local, Kind::Remote, Kind::Dynamic];

    /// The key in the file.
    pub(super) fn key(self) -> &'static str {
        match self {
            Kind::Local => "local_forward",
            Kind::Remote => "remote_forward",
            Kind::Dynamic => "dynamic_forward",
        }
    }

    /// The kind of a keyword of ssh_config(5).
    pub(super) fn of_keyword(keyword: &str) -> Option<Self> {
        match keyword {
            "LocalForward" => Some(Kind::Local),
            "RemoteForward" => Some(Kind::Remote),
            "DynamicForward" => Some(Kind::Dynamic),
            _ => None,
        }
    }
}

/// A forward as somebody has written it for ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) kind: Kind,
    /// What `-L`, `-R` or `-D` takes.
    pub(super) text: String,
    /// With its option or keyword.
    pub(super) shown: String,
}

impl Written {
    /// The forward as the file takes it; with `everywhere`, one without an address listens on every
    /// address, as with `-g`.
    pub(super) fn read(&self, everywhere: bool) -> Result<String, ValueError> {
        let text = self.text.trim();
        let listen = match self.kind {
            Kind::Remote => {
                parse_remote_forward(text)?;
                return Ok(text.to_owned());
            }
            Kind::Local => parse_local_forward(text)?.0,
            Kind::Dynamic => parse_dynamic_forward(text)?,
        };
        let on_localhost = matches!(&listen, Listen::Tcp(tcp) if tcp.host == ListenHost::Localhost);
        let written = ["localhost", "[localhost]"].iter().any(|name| {
            let rest = text.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([':', '/']))
        });
        Ok(match everywhere && on_localhost && !written {
            true if !text.contains(':') && text.contains('/') => format!("*/{text}"),
            true => format!("*:{text}"),
            false => text.to_owned(),
        })
    }
}
