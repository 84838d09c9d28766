//! The policy: whether the key or the certificate that a server offers is the host's own.
//!
//! Pure given its inputs. In this order: a revoked key is refused whatever else matches, as a
//! host's or as an authority's; pins, where there are any, decide alone; then a certificate by the
//! `@cert-authority` lines of the host; then its plain lines in known_hosts; then
//! `strict_host_key_checking`. There is no way to switch it off.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, PublicKey};
use tunneld_core::config::{StrictHostKeyChecking, Target, host_port};
use tunneld_core::failure::{Failure, Stage};

use crate::known_hosts::{Entry, KnownAs, KnownHosts, Marker, fingerprint, rsa_bits, type_name};

mod advice;
mod certificate;
mod refusal;
#[cfg(test)]
mod tests;

pub use advice::TrustCommand;
pub(crate) use certificate::id;

pub use crate::known_hosts::{could_learn, enter, learn};

/// The smallest RSA key that is accepted at all: ssh's own default for RequiredRSASize.
pub const MIN_RSA_BITS: usize = 1024;

/// How many fingerprints or places one message lists.
const MOST_LISTED: usize = 3;

/// What is to be done with the key that a server offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's own.
    Trusted {
        /// Who says so: `FILE:LINE`, the pin, or the authority and the certificate.
        by: String,
        /// The file for further keys of the host, where a plain line for it alone says so.
        known_in: Option<PathBuf>,
    },
    /// Nothing is known of the host, and `accept-new` is set: the key is to be written down (see
    /// [`learn`]) before the connection goes on.
    Learn,
    /// It is not, or nobody can tell.
    Refused(Failure),
}

/// Decides about the key that the server of `target` offered. `trust` is for whoever may know better.
pub fn judge(
    target: &Target,
    known: &KnownHosts,
    offered: &PublicKey,
    trust: &TrustCommand,
) -> Verdict {
    Case::new(target, known, offered.key_data(), trust).judge()
}

/// Decides about the certificate that the server of `target` offered, at the time `now`. One that
/// is no good counts as the key in it does, as with ssh; why it is no good is the second value.
/// Where that key is no good either, it is the cause of the refusal.
pub fn judge_certificate(
    target: &Target,
    known: &KnownHosts,
    offered: &Certificate,
    now: SystemTime,
    trust: &TrustCommand,
) -> (Verdict, Option<String>) {
    let mut case = Case::new(target, known, offered.public_key(), trust);
    case.authority = Some(offered.signature_key());
    if let Some(verdict) = case.judge_first() {
        return (verdict, None);
    }
    let failure = match case.accept(offered, now) {
        Ok(by) => return (Verdict::Trusted { by, known_in: None }, None),
        Err(failure) => failure,
    };
    let problem = Some(failure.cause.clone());
    match case.judge_by_lines() {
        Verdict::Refused(_) => (Verdict::Refused(failure), problem),
        verdict => (verdict, problem),
    }
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

/// The smallest RSA key that is accepted of a host, and of an authority for it.
pub(crate) fn least_rsa_bits(target: &Target) -> usize {
    MIN_RSA_BITS.max(usize::try_from(target.required_rsa_size).unwrap_or(usize::MAX))
}

/// RSA is one type of key, whichever hash its signatures use.
pub(crate) fn same_type(a: &Algorithm, b: &Algorithm) -> bool {
    matches!((a, b), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })) || a == b
}

/// An offered key, and all that decides about it.
struct Case<'a> {
    target: &'a Target,
    host: KnownAs,
    pins: Vec<&'a str>,
    files: Vec<&'a Path>,
    known: &'a KnownHosts,
    key: &'a KeyData,
    /// Whose signature the key comes with, where it comes in a certificate.
    authority: Option<&'a KeyData>,
    trust: &'a TrustCommand,
}

impl<'a> Case<'a> {
    fn new(
        target: &'a Target,
        known: &'a KnownHosts,
        key: &'a KeyData,
        trust: &'a TrustCommand,
    ) -> Self {
        let pins = target.host_key_fingerprint.iter();
        let files = target.known_hosts.iter();
        Case {
            target,
            host: KnownAs::of(target),
            pins: pins.map(|pin| pin.as_str()).collect(),
            files: files.map(|file| file.value.as_path()).collect(),
            known,
            key,
            authority: None,
            trust,
        }
    }

    fn judge(&self) -> Verdict {
        self.judge_first().unwrap_or_else(|| self.judge_by_lines())
    }

    /// What decides before any line that trusts: revocation, the size of the key, and pins.
    fn judge_first(&self) -> Option<Verdict> {
        let revoked = |e: &&Entry| e.marker() == Some(Marker::Revoked);
        for entry in self.all_lines().into_iter().filter(revoked) {
            if self.is_offered(entry) {
                return Some(self.revoked(entry));
            }
            if self.authority.is_some() && entry.key() == self.authority {
                return Some(self.authority_revoked(entry));
            }
        }
        if let Some(bits) = rsa_bits(self.key)
            && bits < least_rsa_bits(self.target)
        {
            return Some(self.too_small(bits));
        }
        (!self.pins.is_empty()).then(|| self.judge_by_pins())
    }

    fn judge_by_lines(&self) -> Verdict {
        let here = self.known.lookup(&self.host);
        let plain: Vec<&Entry> = here.iter().copied().filter(is_plain).collect();
        if let Some(entry) = plain.iter().find(|e| self.is_offered(e)) {
            let known_in = (!entry.is_shared()).then(|| entry.file().to_owned());
            let by = entry.place();
            return Verdict::Trusted { by, known_in };
        }
        let same_type: Vec<&Entry> = plain.iter().copied().filter(|e| self.is_type(e)).collect();
        if !same_type.is_empty() {
            return self.changed(&same_type);
        }
        if !plain.is_empty() {
            return self.other_types(&plain);
        }
        let bare = self.known.lookup_bare(&self.host);
        let mut bare = bare.iter().copied().filter(is_plain);
        if let Some(entry) = bare.find(|e| self.is_offered(e)) {
            let by = entry.place();
            return Verdict::Trusted { by, known_in: None };
        }
        let accept_new = StrictHostKeyChecking::AcceptNew;
        if self.target.strict_host_key_checking == accept_new && !self.files.is_empty() {
            return Verdict::Learn;
        }
        self.unknown()
    }

    /// Every line about the host, with its port and without.
    fn all_lines(&self) -> Vec<&'a Entry> {
        let mut lines = self.known.lookup(&self.host);
        lines.extend(self.known.lookup_bare(&self.host));
        lines
    }

    fn is_offered(&self, entry: &Entry) -> bool {
        entry.key() == Some(self.key)
    }

    fn is_type(&self, entry: &Entry) -> bool {
        entry
            .key()
            .is_some_and(|key| same_type(&key.algorithm(), &self.key.algorithm()))
    }

    /// `host:port`, in every message, so that the port is never guessed; and the alias that was
    /// looked up in its place.
    fn place(&self) -> String {
        let place = host_port(&self.target.host, self.target.port);
        match self.target.host_key_alias {
            Some(_) => format!("{place} (as {})", self.host.name()),
            None => place,
        }
    }

    fn offered(&self) -> String {
        named(self.key)
    }
}

/// `ED25519 SHA256:…`.
pub(crate) fn named(key: &KeyData) -> String {
    format!("{} {}", type_name(&key.algorithm()), fingerprint(key))
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
