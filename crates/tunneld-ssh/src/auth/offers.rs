//! The keys to offer, in ssh's order (sshconnect2.c, `pubkey_prepare`), and who signs with each.
//!
//! 1. the certificates of `certificate_file`;
//! 2. keys of the agent that `identity_file` names too, in the agent's order;
//! 3. other keys of the agent, unless `identities_only`;
//! 4. keys that are only in files, each followed by its `KEY-cert.pub`, which counts only where
//!    `certificate_file` is not set.
//!
//! A file that can be used itself signs itself, also where the agent has its key: the fewer have to
//! be there, the better.

use std::sync::Arc;
use std::time::SystemTime;

use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey};
use tunneld_core::failure::{Failure, Stage};

use super::files::{Entry, Files, Problem};
use super::signer::FileKey;
use crate::agent::AgentKey;
use crate::host_key::MIN_RSA_BITS;
use crate::identity::certificate::{self, CertificateProblemKind};
use crate::known_hosts::{fingerprint, rsa_bits, type_name};

#[cfg(test)]
mod tests;

/// Something to offer to the server.
pub(super) struct Offer {
    pub(super) shown: Shown,
    pub(super) signer: SignedBy,
    /// Where it came from: the file, or what its owner calls it in the agent.
    from: String,
}

/// What the server is shown.
#[derive(Clone)]
pub(super) enum Shown {
    Key(PublicKey),
    Certificate(Box<Certificate>),
}

/// Who signs.
#[derive(Clone)]
pub(super) enum SignedBy {
    File(Arc<FileKey>),
    Agent(Box<AgentIdentity>),
}

impl Shown {
    /// The key itself; of a certificate, the one that it certifies.
    pub(super) fn key_data(&self) -> &KeyData {
        match self {
            Shown::Key(key) => key.key_data(),
            Shown::Certificate(certificate) => certificate.public_key(),
        }
    }

    fn of(key: &AgentKey) -> Self {
        match key {
            AgentKey::Key(key, _) => Shown::Key(key.clone()),
            AgentKey::Certificate(certificate, _) => Shown::Certificate(certificate.clone()),
        }
    }

    /// Whether the server would see the same: whatever somebody calls it does not count.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Shown::Key(a), Shown::Key(b)) => a.key_data() == b.key_data(),
            (Shown::Certificate(a), Shown::Certificate(b)) => {
                matches!((a.to_bytes(), b.to_bytes()), (Ok(a), Ok(b)) if a == b)
            }
            _ => false,
        }
    }
}

impl Offer {
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub(super) fn fingerprint(&self) -> String {
        fingerprint(self.shown.key_data())
    }

    /// `ED25519 SHA256:… (FILE)`.
    pub(super) fn label(&self) -> String {
        let kind = type_name(&self.shown.key_data().algorithm());
        let certificate = match self.shown {
            Shown::Key(_) => "",
            Shown::Certificate(_) => " certificate",
        };
        let agent = match self.signer {
            SignedBy::File(_) => "",
            SignedBy::Agent(_) => "agent: ",
        };
        let fingerprint = self.fingerprint();
        format!("{kind}{certificate} {fingerprint} ({agent}{})", self.from)
    }
}

impl Files {
    /// What to offer, and what is wrong with what is not offered. `agent` has the keys of the
    /// agent, if one was reached.
    pub(super) fn offers(
        self,
        agent: Option<&[AgentKey]>,
        identities_only: bool,
    ) -> (Vec<Offer>, Vec<Problem>) {
        let Files {
            certificates,
            keys: mut files,
            mut problems,
            ..
        } = self;
        let now = SystemTime::now();
        let signers = Signers::new(&files, agent.unwrap_or_default());
        let (mut first, mut others) = (certificates, Vec::new());
        for key in agent.unwrap_or_default().iter().filter(|key| is_safe(key)) {
            let shown = Shown::of(key);
            match files.iter().position(|file| file.shown.is_same(&shown)) {
                Some(at) => first.push(files.remove(at)),
                None if identities_only => {}
                None => match out_of_date(key, now) {
                    Some(problem) => problems.push(problem),
                    None => others.push(Entry {
                        shown,
                        from: key.comment().to_owned(),
                        key: Err(None),
                    }),
                },
            }
        }
        let mut offers: Vec<Offer> = Vec::new();
        for entry in first.into_iter().chain(others).chain(files) {
            if offers.iter().any(|offer| offer.shown.is_same(&entry.shown)) {
                continue;
            }
            match signers.of(&entry) {
                Some(signer) => offers.push(Offer {
                    shown: entry.shown,
                    signer,
                    from: entry.from,
                }),
                None => problems.extend(entry.unusable(agent.is_some())),
            }
        }
        (offers, problems)
    }
}

/// Who has the private halves.
struct Signers<'a> {
    files: Vec<(KeyData, Arc<FileKey>)>,
    agent: &'a [AgentKey],
}

impl<'a> Signers<'a> {
    fn new(files: &[Entry], agent: &'a [AgentKey]) -> Self {
        let file = |entry: &Entry| {
            let key = entry.key.as_ref().ok()?;
            Some((entry.shown.key_data().clone(), Arc::clone(key)))
        };
        Signers {
            files: files.iter().filter_map(file).collect(),
            agent,
        }
    }

    fn of(&self, entry: &Entry) -> Option<SignedBy> {
        if let Ok(key) = &entry.key {
            return Some(SignedBy::File(Arc::clone(key)));
        }
        let wanted = entry.shown.key_data();
        if let Some((_, key)) = self.files.iter().find(|(data, _)| data == wanted) {
            return Some(SignedBy::File(Arc::clone(key)));
        }
        // An agent may have a certificate without having its key apart from it.
        let plain = |key: &&AgentKey| matches!(key, AgentKey::Key(..));
        let (keys, certificates): (Vec<_>, Vec<_>) = self.agent.iter().partition(plain);
        let mut all = keys.into_iter().chain(certificates);
        let key = all.find(|key| key.key_data() == wanted)?;
        Some(SignedBy::Agent(Box::new(key.identity())))
    }
}

/// As ssh's RequiredRSASize: what is too small to be trusted is not shown either.
fn is_safe(key: &AgentKey) -> bool {
    rsa_bits(key.key_data()).is_none_or(|bits| bits >= MIN_RSA_BITS)
}

/// What is wrong with a certificate of the agent whose time it is not.
fn out_of_date(key: &AgentKey, now: SystemTime) -> Option<Problem> {
    let AgentKey::Certificate(certificate, _) = key else {
        return None;
    };
    let kind = certificate::valid_at(certificate, now).err()?;
    let cause = format!("certificate {key} of the agent{kind}");
    let failure = match kind {
        CertificateProblemKind::NotYetValid { .. } => {
            Failure::transient(Stage::Authenticate, cause)
                .with_hint("compare the clocks of this machine and the authority: date -u")
        }
        _ => Failure::blocked(Stage::Authenticate, cause).with_hint(
            "have the authority sign the key again, and give it to the agent: ssh-add KEY",
        ),
    };
    Some(Problem {
        what: "a certificate of the agent",
        file: None,
        failure,
        passes: true,
    })
}
