//! What is said of a key that is not trusted, and the pins, which decide with the same words.

use std::path::Path;

use super::{Case, Verdict, least_rsa_bits, listed, named, refused};
use crate::known_hosts::{Entry, LookedAt, Marker, fingerprint, type_name};

impl Case<'_> {
    pub(super) fn judge_by_pins(&self) -> Verdict {
        let offered = fingerprint(self.key);
        if let Some(pin) = self.pins.iter().find(|pin| **pin == offered) {
            return Verdict::Trusted {
                by: format!("host_key_fingerprint {pin}"),
                known_in: None,
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
                 each: `{}` shows them",
                self.trust
            ),
        )
    }

    pub(super) fn revoked(&self, entry: &Entry) -> Verdict {
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

    pub(super) fn authority_revoked(&self, entry: &Entry) -> Verdict {
        let authority = self.authority.map(named).unwrap_or_default();
        refused(
            format!(
                "host certificate authority revoked: {} offered a certificate of {authority}, which \
                 {} revokes",
                self.place(),
                entry.place()
            ),
            "give the host a certificate of another authority: whoever has the key of this one can \
             pose as every host"
                .to_owned(),
        )
    }

    pub(super) fn too_small(&self, bits: usize) -> Verdict {
        refused(
            format!(
                "host key too small: {} offered {} with {bits} bits, at least {} are needed",
                self.place(),
                self.offered(),
                least_rsa_bits(self.target)
            ),
            "give the host a new key, on the host: ssh-keygen -A makes those that are missing"
                .to_owned(),
        )
    }

    pub(super) fn changed(&self, known: &[&Entry]) -> Verdict {
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
                "if the change is expected: {}, then `{}`",
                self.removal(known),
                self.trust
            ),
        )
    }

    pub(super) fn other_types(&self, known: &[&Entry]) -> Verdict {
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

    pub(super) fn unknown(&self) -> Verdict {
        let nowhere = match self.files.as_slice() {
            [] => "and no known_hosts file is set".to_owned(),
            [file] => format!("which is not in {}", self.file(file)),
            files => format!(
                "which is in none of {}",
                listed(files.iter().map(|file| self.file(file)))
            ),
        };
        let authority = self
            .all_lines()
            .into_iter()
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
        let missing = |f: &LookedAt| f.path == file && !f.found;
        let missing = self.known.files().iter().any(missing);
        let note = if missing { " (missing)" } else { "" };
        format!("{}{note}", file.display())
    }
}
