//! What a person is told to do about a host key, with the commands.

use std::fmt;

use tunneld_core::config::{Target, host_port};
use tunneld_core::name::TunnelName;
use tunneld_core::text::shell_word;

use super::Case;
use crate::calling;
use crate::known_hosts::Entry;
use crate::rights;

/// The command that shows the keys of a host, asked for over the tunnel's own way, and adds those
/// that a person agrees to. Whatever else asked the host a second time could be answered by somebody
/// else than the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustCommand {
    /// What finds the tunnel.
    tunnel: String,
    /// The tunnel, where it is one of the daemon's.
    of: Option<TunnelName>,
    /// The jump host of the tunnel that it is about.
    hop: Option<String>,
}

impl TrustCommand {
    /// For the host at the end of a tunnel.
    pub fn of(tunnel: &TunnelName) -> Self {
        TrustCommand {
            of: Some(tunnel.clone()),
            ..TrustCommand::written(calling::ours().command(&["trust", tunnel.as_str()]))
        }
    }

    /// The same, as it has to be written to find the tunnel.
    pub fn written(tunnel: String) -> Self {
        TrustCommand {
            tunnel,
            of: None,
            hop: None,
        }
    }

    /// The one for a jump host of the tunnel.
    #[must_use]
    pub fn at_hop(&self, hop: &Target) -> Self {
        TrustCommand {
            tunnel: self.tunnel.clone(),
            of: self.of.clone(),
            hop: Some(host_port(&hop.host, hop.port)),
        }
    }

    /// The tunnel that a log line about the key belongs to, where it is one of the daemon's. Of a
    /// jump host that tunnels share: the first that went over it.
    pub(crate) fn tunnel(&self) -> Option<&str> {
        self.of.as_ref().map(TunnelName::as_str)
    }
}

impl fmt::Display for TrustCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tunnel)?;
        match &self.hop {
            Some(hop) => write!(f, " --hop {}", shell_word(hop)),
            None => Ok(()),
        }
    }
}

impl Case<'_> {
    pub(super) fn addition(&self) -> String {
        match self.files.is_empty() {
            false => format!(
                "`{}` shows the host's keys, to be compared with what the host itself says, and \
                 adds them",
                self.trust
            ),
            true => "set known_hosts, or pin the key with host_key_fingerprint".to_owned(),
        }
    }

    /// The commands that take the lines out. `ssh-keygen -R` removes whole lines, of whatever type
    /// of key, so a file that has one with another name on it is left to a person.
    pub(super) fn removal(&self, known: &[&Entry]) -> String {
        let here = self.known.lookup(&self.host);
        let mut steps: Vec<String> = Vec::new();
        for entry in known {
            let in_file = |e: &&&Entry| e.marker().is_none() && e.file() == entry.file();
            let alone = here.iter().filter(in_file).all(|e| e.is_for_one_name());
            let step = match alone {
                true => rights::keeping_owner(
                    &format!(
                        "ssh-keygen -R {} -f {}",
                        shell_word(self.host.name()),
                        shell_word(&entry.file().display().to_string())
                    ),
                    entry.file(),
                ),
                false if entry.is_for_one_name() => format!("remove {}", entry.place()),
                false => format!("edit {} (it names other hosts too)", entry.place()),
            };
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
        steps.join(", ")
    }
}
