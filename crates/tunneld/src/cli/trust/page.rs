//! What is known of the keys that a host has shown.

use tunneld_core::config::{Fingerprint, Target, host_port};
use tunneld_core::failure::Failure;
use tunneld_ssh::host_key::{TrustCommand, Verdict};
use tunneld_ssh::known_hosts::KnownAs;
use tunneld_ssh::scan::HostKey;

use super::Refusal;
use crate::sshfp::Sshfp;

/// The keys that a host has shown, and what known_hosts, the pins and the DNS say of them.
pub(super) struct Page<'a> {
    /// The command that makes it.
    pub(super) command: TrustCommand,
    pub(super) target: &'a Target,
    pub(super) keys: Vec<HostKey>,
    /// One for each key.
    pub(super) verdicts: Vec<Verdict>,
    /// Why the host may have more keys.
    pub(super) cut_short: Option<Failure>,
    pub(super) sshfp: Sshfp,
}

impl Page<'_> {
    /// For people: each key as `ssh-keygen -lv` prints it.
    pub(super) fn render(&self) -> String {
        let count = match self.keys.len() {
            1 => "1 host key".to_owned(),
            n => format!("{n} host keys"),
        };
        let mut out = format!("{} has shown {count}\n", self.place());
        let name = KnownAs::of(self.target);
        let name = name.name();
        for (key, verdict) in self.keys.iter().zip(&self.verdicts) {
            let (bits, kind) = (key.bits(), key.kind());
            out.push_str(&format!(
                "\n{bits} {} {name} ({kind})\n{}\n{}\n",
                key.fingerprint(),
                key.picture(),
                told(verdict)
            ));
        }
        out.push_str(&format!("\nSSHFP: {}\n", self.sshfp.told(&self.keys)));
        if let Some(failure) = &self.cut_short {
            out.push_str(&format!("it may have more keys: {failure}\n"));
        }
        out
    }

    /// `host:port` of the host.
    pub(super) fn place(&self) -> String {
        host_port(&self.target.host, self.target.port)
    }

    /// The file that new keys are written to.
    pub(super) fn file(&self) -> String {
        let file = self.target.known_hosts.first();
        file.map_or_else(String::new, |file| file.value.display().to_string())
    }

    /// Whether one of the keys has this fingerprint.
    pub(super) fn shows(&self, fingerprint: &Fingerprint) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|key| key.fingerprint() == fingerprint.as_str())
    }

    /// The keys that may be added.
    pub(super) fn new_keys(&self) -> Vec<&HostKey> {
        let keys = self.keys.iter().zip(&self.verdicts);
        keys.filter(|(_, verdict)| **verdict == Verdict::Learn)
            .map(|(key, _)| key)
            .collect()
    }

    /// Why none of the keys may be added, whatever anybody says: whoever has one that is wrong is
    /// not the host.
    pub(super) fn objection(&self) -> Result<(), Refusal> {
        if self.sshfp.contradicts(&self.keys) {
            let said = format!(
                "the DNS names another key for {}, and DNSSEC vouches for it; nothing was added",
                self.target.host
            );
            return Err(Refusal::new(said).hint(format!(
                "`ssh-keygen -r {}`, on the host itself, prints the records that are right: either \
                 the zone is out of date, or it was not the host that has answered",
                self.target.host
            )));
        }
        let refused = self.verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Refused(failure) => Some(failure),
            Verdict::Trusted { .. } | Verdict::Learn => None,
        });
        let pinned = !self.target.host_key_fingerprint.is_empty();
        let trusts = |verdict: &Verdict| matches!(verdict, Verdict::Trusted { .. });
        // A pin speaks for one key, and says nothing against the others.
        if refused.clone().count() == 0 || (pinned && self.verdicts.iter().any(trusts)) {
            return Ok(());
        }
        let hints = refused.filter_map(|failure| failure.hint.as_deref());
        let refusal =
            Refusal::new("the host's keys are not what is known of it; nothing was added");
        Err(hints.fold(refusal, Refusal::hint))
    }
}

/// What known_hosts and the pins say of a key.
fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Trusted { by, .. } => format!("already trusted: {by}"),
        Verdict::Learn => "new".to_owned(),
        Verdict::Refused(failure) => format!("REFUSED: {failure}"),
    }
}
