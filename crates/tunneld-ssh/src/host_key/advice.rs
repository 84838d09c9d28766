//! What a person is told to do about a host key, with the commands.

use russh::keys::Algorithm;
use tunneld_core::config::{Target, Via};

use super::Case;
use crate::known_hosts::Entry;

impl Case<'_> {
    pub(super) fn type_option(&self) -> &'static str {
        match self.key.algorithm() {
            Algorithm::Ed25519 => " -t ed25519",
            Algorithm::Ecdsa { .. } => " -t ecdsa",
            Algorithm::Rsa { .. } => " -t rsa",
            _ => "",
        }
    }

    /// The command that asks the host for its keys, to be run where [`Vantage`] says.
    pub(super) fn scan(&self, option: &str) -> String {
        let Target { host, port, .. } = self.target;
        let host = shell_word(&host.to_ascii_lowercase());
        let scan = format!("ssh-keyscan -p {port}{option} {host}");
        match Vantage::of(&self.target.via) {
            Vantage::Here => scan,
            Vantage::Hop(login) => format!("{login} {scan}"),
            Vantage::Elsewhere => format!("on a machine that reaches it directly: {scan}"),
        }
    }

    /// What makes lines of ssh-keyscan lines about the alias.
    fn renaming(&self) -> String {
        match self.target.host_key_alias {
            Some(_) => {
                let edit = format!("s/^[^# ][^ ]*/{}/", self.host.name());
                format!(" | sed {}", shell_word(&edit))
            }
            None => String::new(),
        }
    }

    pub(super) fn addition(&self) -> String {
        match self.files.first() {
            Some(file) => {
                let (before, after) = match Vantage::of(&self.target.via) {
                    Vantage::Here | Vantage::Hop(_) => (":", " >>"),
                    Vantage::Elsewhere => ("", ", and add its line to"),
                };
                format!(
                    "compare the fingerprint with what the host itself says, then{before} \
                     {}{}{after} {}",
                    self.scan(self.type_option()),
                    self.renaming(),
                    shell_word(&file.display().to_string())
                )
            }
            None => "set known_hosts, or pin the key with host_key_fingerprint".to_owned(),
        }
    }

    /// The commands that take the lines out. `ssh-keygen -R` removes whole lines, so a line that
    /// may speak of other hosts too is left to a person.
    pub(super) fn removal(&self, known: &[&Entry]) -> String {
        let mut steps: Vec<String> = Vec::new();
        for entry in known {
            let covers_more = |e: &&&Entry| e.file() == entry.file() && e.has_wildcard();
            let step = match known.iter().find(covers_more) {
                Some(shared) => format!("edit {} (it covers other hosts too)", shared.place()),
                None => format!(
                    "ssh-keygen -R {} -f {}",
                    shell_word(self.host.name()),
                    shell_word(&entry.file().display().to_string())
                ),
            };
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
        steps.join(", ")
    }
}

/// Where a host can be asked for its keys: seen from elsewhere, its name may be that of another
/// host, or of none.
enum Vantage {
    /// On this machine.
    Here,
    /// On the last jump host, with this command in front.
    Hop(String),
    /// Where it can be reached without what leads to it from here.
    Elsewhere,
}

impl Vantage {
    fn of(via: &Via) -> Self {
        match via {
            Via::Direct => Vantage::Here,
            Via::Jump(hop) if *hop.first_via() == Via::Direct => Vantage::Hop(login(hop)),
            Via::Jump(_) | Via::Proxy(_) | Via::Command(_) => Vantage::Elsewhere,
        }
    }
}

/// The ssh command that runs another one on a jump host.
fn login(hop: &Target) -> String {
    let hops: Vec<String> = hop.hops().into_iter().map(Target::to_string).collect();
    let over = match hops.is_empty() {
        true => String::new(),
        false => format!(" -J {}", shell_word(&hops.join(","))),
    };
    let name = shell_word(&format!("{}@{}", hop.user, hop.host));
    format!("ssh{over} -p {} {name}", hop.port)
}

/// A word as a shell takes it back: quoted only where it has to be.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/:@%+=-,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
