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

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey};
use tunneld_core::config::Target;
use tunneld_core::failure::{Failure, Stage};

use super::signer::FileKey;
use crate::agent::AgentKey;
use crate::host_key::MIN_RSA_BITS;
use crate::identity::certificate::{CertificateProblem, UserCertificate};
use crate::identity::{IdentityProblem, KeyFile};
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

/// What the files of a target have.
#[derive(Default)]
pub(super) struct Files {
    /// Of `certificate_file`.
    certificates: Vec<Entry>,
    /// Of `identity_file`, with the certificates that lie beside.
    keys: Vec<Entry>,
    /// What is wrong with those that cannot be used in any way.
    problems: Vec<Failure>,
}

/// What a file shows.
struct Entry {
    shown: Shown,
    from: String,
    /// The key to sign with, or why the file has none.
    key: Result<Arc<FileKey>, Option<Failure>>,
}

impl Files {
    /// Reads the files that `target` names. Blocks.
    pub(super) fn read(target: &Target) -> Self {
        let mut files = Files::default();
        let beside = target.certificate_file.is_empty();
        for file in &target.identity_file {
            files.add_key(&file.value, target);
            if beside {
                files.add_certificate_beside(&file.value);
            }
        }
        for file in &target.certificate_file {
            match usable(&file.value) {
                Ok(certificate) => files.certificates.push(Entry::certificate(certificate)),
                Err(problem) => files.problems.push(problem.into_failure()),
            }
        }
        files
    }

    fn add_key(&mut self, path: &Path, target: &Target) {
        let silent =
            |problem: &IdentityProblem| target.identity_file_is_default && problem.is_missing();
        let file = match KeyFile::read(path) {
            Ok(file) => file,
            Err(problem) if silent(&problem) => return,
            Err(problem) => return self.problems.push(problem.into_failure()),
        };
        let public = file.public().cloned();
        let key = match file {
            KeyFile::Open(identity) => Ok(FileKey::Open(identity)),
            KeyFile::Public { problem, .. } if silent(&problem) => Err(None),
            KeyFile::Public { problem, .. } => Err(Some(problem.into_failure())),
            KeyFile::Locked(key) => match &target.passphrase_credential {
                Some(passphrase) => Ok(FileKey::Locked(key, passphrase.value.clone())),
                None => Err(Some(key.without_passphrase().into_failure())),
            },
        };
        // A file that does not show its public half has to be opened to know what to offer.
        let opened = match (public, key) {
            (Some(public), key) => Ok((public, key)),
            (None, Ok(key)) => key.open().map(|identity| {
                let public = identity.key().public_key().key_data().clone();
                (public, Ok(FileKey::Open(identity)))
            }),
            (None, Err(None)) => return,
            (None, Err(Some(problem))) => Err(problem),
        };
        match opened {
            Ok((public, key)) => self.keys.push(Entry {
                shown: Shown::Key(public.into()),
                from: path.display().to_string(),
                key: key.map(Arc::new),
            }),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// The certificate beside the key that was added last, if there is one.
    fn add_certificate_beside(&mut self, path: &Path) {
        let name = path.display().to_string();
        let certificate = match usable(&UserCertificate::beside(path)) {
            Err(problem) if problem.is_missing() => return,
            other => other,
        };
        let key = self.keys.last().filter(|key| key.from == name);
        let checked = certificate.and_then(|certificate| match key {
            Some(key) => {
                certificate.certifies(key.shown.key_data(), path)?;
                Ok(certificate)
            }
            None => Ok(certificate),
        });
        match checked {
            Ok(certificate) => self.keys.push(Entry::certificate(certificate)),
            Err(problem) => self.problems.push(problem.into_failure()),
        }
    }

    /// What to offer, and what is wrong with what is not offered. `agent` has the keys of the
    /// agent, if one was reached.
    pub(super) fn offers(
        self,
        agent: Option<&[AgentKey]>,
        identities_only: bool,
    ) -> (Vec<Offer>, Vec<Failure>) {
        let Files {
            certificates,
            keys: mut files,
            mut problems,
        } = self;
        let signers = Signers::new(&files, agent.unwrap_or_default());
        let (mut first, mut others) = (certificates, Vec::new());
        for key in agent.unwrap_or_default().iter().filter(|key| is_safe(key)) {
            let shown = Shown::of(key);
            match files.iter().position(|file| file.shown.is_same(&shown)) {
                Some(at) => first.push(files.remove(at)),
                None if identities_only => {}
                None => others.push(Entry {
                    shown,
                    from: key.comment().to_owned(),
                    key: Err(None),
                }),
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

impl Entry {
    fn certificate(certificate: UserCertificate) -> Self {
        let from = certificate.path().display().to_string();
        let key = certificate.fingerprint();
        let cause = format!("certificate {from}: its key {key} is in no identity_file");
        let problem = Failure::blocked(Stage::Authenticate, cause)
            .with_hint("name the private key that the certificate is for in identity_file");
        Entry {
            from,
            shown: Shown::Certificate(Box::new(certificate.certificate().clone())),
            key: Err(Some(problem)),
        }
    }

    /// Why it cannot be offered.
    fn unusable(self, agent_was_asked: bool) -> Option<Failure> {
        let mut failure = self.key.err()??;
        if agent_was_asked {
            failure.cause.push_str(", and the agent does not have it");
        }
        Some(failure)
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

fn usable(path: &Path) -> Result<UserCertificate, CertificateProblem> {
    let certificate = UserCertificate::read(path)?;
    certificate.usable_at(SystemTime::now())?;
    Ok(certificate)
}
