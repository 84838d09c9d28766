//! The policy: whether the key that a server offers is the host's own.
//!
//! Pure given its inputs. In this order: a revoked key is refused whatever else matches; pins, where
//! there are any, decide alone; then the host's lines in known_hosts; then
//! `strict_host_key_checking`. There is no way to switch it off.

use std::path::Path;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PublicKey};
use tunneld_core::config::{StrictHostKeyChecking, Target, Via, host_port};
use tunneld_core::failure::{Failure, Stage};

use crate::known_hosts::{Entry, KnownHosts, Marker, fingerprint, host_name, rsa_bits, type_name};

pub use crate::known_hosts::{could_learn, learn};

/// The smallest RSA key that is accepted: ssh's own default for RequiredRSASize.
pub const MIN_RSA_BITS: usize = 1024;

/// How many fingerprints or places one message lists.
const MOST_LISTED: usize = 3;

/// What is to be done with the key that a server offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's own.
    Trusted {
        /// Who says so: `FILE:LINE`, or the pin.
        by: String,
    },
    /// Nothing is known of the host, and `accept-new` is set: the key is to be written down (see
    /// [`learn`]) before the connection goes on.
    Learn,
    /// It is not, or nobody can tell.
    Refused(Failure),
}

/// Decides about the key that the server of `target` offered.
pub fn judge(target: &Target, known: &KnownHosts, offered: &PublicKey) -> Verdict {
    let pins: Vec<&str> = target
        .host_key_fingerprint
        .iter()
        .map(|pin| pin.as_str())
        .collect();
    let files: Vec<&Path> = target
        .known_hosts
        .iter()
        .map(|f| f.value.as_path())
        .collect();
    Case {
        host: &target.host,
        port: target.port,
        via: &target.via,
        pins: &pins,
        files: &files,
        accept_new: target.strict_host_key_checking == StrictHostKeyChecking::AcceptNew,
        known,
        key: offered.key_data(),
    }
    .judge()
}

/// The host key algorithms to propose, in order: the preferred ones of the types that are known
/// for the host, then the other preferred ones. So the server offers a key that can be checked
/// where it has one, as with ssh.
pub fn order(preferred: &[Algorithm], known: &[Algorithm]) -> Vec<Algorithm> {
    let is_known = |a: &&Algorithm| known.iter().any(|k| same_type(k, a));
    let (mut first, second): (Vec<_>, Vec<_>) = preferred.iter().partition(is_known);
    first.extend(second);
    first.into_iter().cloned().collect()
}

/// RSA is one type of key, whichever hash its signatures use.
fn same_type(a: &Algorithm, b: &Algorithm) -> bool {
    matches!((a, b), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })) || a == b
}

struct Case<'a> {
    host: &'a str,
    port: u16,
    via: &'a Via,
    pins: &'a [&'a str],
    files: &'a [&'a Path],
    accept_new: bool,
    known: &'a KnownHosts,
    key: &'a KeyData,
}

impl Case<'_> {
    fn judge(&self) -> Verdict {
        let here = self.known.lookup(self.host, self.port);
        // ssh falls back to the bare name for a host at another port; so do its users' files.
        let bare = self.known.lookup(self.host, 22);

        let revoked = |e: &&&Entry| e.marker() == Some(Marker::Revoked) && self.is_offered(e);
        if let Some(entry) = here.iter().chain(&bare).find(revoked) {
            return self.revoked(entry);
        }
        if let Some(bits) = rsa_bits(self.key)
            && bits < MIN_RSA_BITS
        {
            return self.too_small(bits);
        }
        if !self.pins.is_empty() {
            return self.judge_by_pins();
        }
        let plain: Vec<&Entry> = here.iter().copied().filter(is_plain).collect();
        let trusting = plain.iter().find(|e| self.is_offered(e)).copied();
        let by_bare_name = || {
            bare.iter()
                .copied()
                .filter(is_plain)
                .find(|e| self.is_offered(e))
        };
        if let Some(entry) = trusting {
            return Verdict::Trusted { by: entry.place() };
        }
        let same_type: Vec<&Entry> = plain.iter().copied().filter(|e| self.is_type(e)).collect();
        if !same_type.is_empty() {
            return self.changed(&same_type);
        }
        if !plain.is_empty() {
            return self.other_types(&plain);
        }
        if let Some(entry) = by_bare_name() {
            return Verdict::Trusted { by: entry.place() };
        }
        if self.accept_new && !self.files.is_empty() {
            return Verdict::Learn;
        }
        self.unknown(&here)
    }

    fn judge_by_pins(&self) -> Verdict {
        let offered = fingerprint(self.key);
        if let Some(pin) = self.pins.iter().find(|pin| **pin == offered) {
            return Verdict::Trusted {
                by: format!("host_key_fingerprint {pin}"),
            };
        }
        let pins = listed(self.pins.iter().map(|pin| (*pin).to_owned()));
        refused(
            format!(
                "host key not pinned: {} offered {}, host_key_fingerprint has {pins}",
                self.place(),
                self.offered()
            ),
            format!(
                "compare with what the host itself says; a host with several keys needs a pin for \
                 each: {} | ssh-keygen -lf -",
                self.scan("")
            ),
        )
    }

    fn revoked(&self, entry: &Entry) -> Verdict {
        refused(
            format!(
                "host key revoked: {} offered {}, which {} revokes",
                self.place(),
                self.offered(),
                entry.place()
            ),
            "give the host a new key: whoever has this one can pose as the host".to_owned(),
        )
    }

    fn too_small(&self, bits: usize) -> Verdict {
        refused(
            format!(
                "host key too small: {} offered {} with {bits} bits, at least {MIN_RSA_BITS} are \
                 needed",
                self.place(),
                self.offered()
            ),
            "give the host a new key, on the host: ssh-keygen -A makes those that are missing"
                .to_owned(),
        )
    }

    fn changed(&self, known: &[&Entry]) -> Verdict {
        let has = |e: &&Entry| {
            let fingerprint = e.fingerprint().unwrap_or_default();
            format!("{} has {fingerprint}", e.place())
        };
        refused(
            format!(
                "host key changed: {} offered {}, {}",
                self.place(),
                self.offered(),
                listed(known.iter().map(has))
            ),
            format!(
                "if the change is expected: {}, then {} and compare the fingerprint before adding \
                 it",
                self.removal(known),
                self.scan(self.type_option())
            ),
        )
    }

    fn other_types(&self, known: &[&Entry]) -> Verdict {
        let has = |e: &&Entry| format!("{} ({})", e.type_name(), e.place());
        refused(
            format!(
                "no {} host key is known for {}, known are: {}; it offered {}",
                type_name(&self.key.algorithm()),
                self.place(),
                listed(known.iter().map(has)),
                fingerprint(self.key)
            ),
            self.addition(),
        )
    }

    fn unknown(&self, marked: &[&Entry]) -> Verdict {
        let nowhere = match self.files {
            [] => "and no known_hosts file is set".to_owned(),
            [file] => format!("which is not in {}", self.file(file)),
            files => format!(
                "which is in none of {}",
                listed(files.iter().map(|file| self.file(file)))
            ),
        };
        let authority = marked
            .iter()
            .find(|e| e.marker() == Some(Marker::CertAuthority))
            .map(|e| {
                format!(
                    " (the @cert-authority of {} says nothing of a plain key)",
                    e.place()
                )
            })
            .unwrap_or_default();
        refused(
            format!(
                "unknown host {}: it offers {}, {nowhere}{authority}",
                self.place(),
                self.offered()
            ),
            self.addition(),
        )
    }

    fn file(&self, file: &Path) -> String {
        let missing = |f: &crate::known_hosts::LookedAt| f.path == file && !f.found;
        let missing = self.known.files().iter().any(missing);
        let note = if missing { " (missing)" } else { "" };
        format!("{}{note}", file.display())
    }

    fn is_offered(&self, entry: &Entry) -> bool {
        entry.key() == Some(self.key)
    }

    fn is_type(&self, entry: &Entry) -> bool {
        entry
            .key()
            .is_some_and(|key| same_type(&key.algorithm(), &self.key.algorithm()))
    }

    /// `host:port`, in every message, so that the port is never guessed.
    fn place(&self) -> String {
        host_port(self.host, self.port)
    }

    /// `ED25519 SHA256:…`.
    fn offered(&self) -> String {
        let kind = type_name(&self.key.algorithm());
        format!("{kind} {}", fingerprint(self.key))
    }

    fn type_option(&self) -> &'static str {
        match self.key.algorithm() {
            Algorithm::Ed25519 => " -t ed25519",
            Algorithm::Ecdsa { .. } => " -t ecdsa",
            Algorithm::Rsa { .. } => " -t rsa",
            _ => "",
        }
    }

    /// The command that asks the host for its keys, to be run where [`Vantage`] says.
    fn scan(&self, option: &str) -> String {
        let host = shell_word(&self.host.to_ascii_lowercase());
        let scan = format!("ssh-keyscan -p {}{option} {host}", self.port);
        match Vantage::of(self.via) {
            Vantage::Here => scan,
            Vantage::Hop(login) => format!("{login} {scan}"),
            Vantage::Elsewhere => format!("on a machine that reaches it directly: {scan}"),
        }
    }

    fn addition(&self) -> String {
        match self.files.first() {
            Some(file) => {
                let (before, after) = match Vantage::of(self.via) {
                    Vantage::Here | Vantage::Hop(_) => (":", " >>"),
                    Vantage::Elsewhere => ("", ", and add its line to"),
                };
                format!(
                    "compare the fingerprint with what the host itself says, then{before} \
                     {}{after} {}",
                    self.scan(self.type_option()),
                    shell_word(&file.display().to_string())
                )
            }
            None => "set known_hosts, or pin the key with host_key_fingerprint".to_owned(),
        }
    }

    /// The commands that take the lines out. `ssh-keygen -R` removes whole lines, so a line that
    /// may speak of other hosts too is left to a person.
    fn removal(&self, known: &[&Entry]) -> String {
        let mut steps: Vec<String> = Vec::new();
        let name = host_name(self.host, self.port);
        for entry in known {
            let covers_more = |e: &&&Entry| e.file() == entry.file() && e.has_wildcard();
            let step = match known.iter().find(covers_more) {
                Some(shared) => format!("edit {} (it covers other hosts too)", shared.place()),
                None => format!(
                    "ssh-keygen -R {} -f {}",
                    shell_word(&name),
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

fn is_plain(entry: &&Entry) -> bool {
    entry.marker().is_none()
}

fn refused(cause: String, hint: String) -> Verdict {
    Verdict::Refused(Failure::blocked(Stage::HostKey, cause).with_hint(hint))
}

/// The first few, and how many more there are.
fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let shown = items.get(..MOST_LISTED).unwrap_or(&items).join(", ");
    match items.len().saturating_sub(MOST_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
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

#[cfg(test)]
mod tests;
