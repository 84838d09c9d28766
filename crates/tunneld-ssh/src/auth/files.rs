//! What the files of a target have to log in with, and what is wrong with them: the same rules for
//! an attempt and for whoever checks a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tunneld_core::config::Target;
use tunneld_core::failure::{Class, Failure, Stage};

use super::inspect::KeyChecks;
use super::offers::Shown;
use super::signer::FileKey;
use crate::identity::certificate::{self, CertificateProblem, UserCertificate};
use crate::identity::{IdentityProblem, KeyFile};

/// What the files of a target have.
#[derive(Default)]
pub(super) struct Files {
    /// Of `certificate_file`.
    pub(super) certificates: Vec<Entry>,
    /// Of `identity_file`, with the certificates that lie beside.
    pub(super) keys: Vec<Entry>,
    /// What is wrong with those that cannot be used in any way.
    pub(super) problems: Vec<Problem>,
    /// Whether there is a key of which not even the public half is known.
    pub(super) unknown: bool,
}

/// What a file shows.
pub(super) struct Entry {
    pub(super) shown: Shown,
    pub(super) from: String,
    /// The key to sign with, or why the file has none.
    pub(super) key: Result<Arc<FileKey>, Option<Problem>>,
}

/// Why something is not offered.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    /// What it is: `a key`.
    pub(super) what: &'static str,
    /// The file that the configuration names for it.
    pub(super) file: Option<PathBuf>,
    pub(super) failure: Failure,
    /// Whether time alone decides it.
    pub(super) passes: bool,
}

/// Who opens the keys whose passphrase is at hand.
pub(super) enum Opening<'a> {
    /// An attempt: only those that do not show otherwise what they are, and says so before.
    Attempt(&'a dyn Fn(String)),
    /// A check: each once, and keeps none.
    Check(&'a mut KeyChecks),
}

impl Problem {
    fn key(file: &Path, failure: Failure) -> Self {
        Problem {
            what: "a key",
            file: Some(file.to_owned()),
            passes: failure.class == Class::Transient,
            failure,
        }
    }

    fn certificate(file: &Path, problem: CertificateProblem) -> Self {
        let dated = problem.kind.is_of_dates();
        let failure = problem.into_failure();
        Problem {
            what: "a certificate",
            file: Some(file.to_owned()),
            passes: dated || failure.class == Class::Transient,
            failure,
        }
    }
}

impl Files {
    /// Reads the files that `target` names. Blocks.
    pub(super) fn read(target: &Target, mut opening: Opening<'_>) -> Self {
        let mut files = Files::default();
        let beside = target.certificate_file.is_empty();
        for file in &target.identity_file {
            files.add_key(&file.value, target, &mut opening);
            if beside {
                files.add_certificate_beside(&file.value);
            }
        }
        for file in &target.certificate_file {
            let path = &file.value;
            match certificate::usable(path) {
                Ok(certificate) => files.certificates.push(Entry::certificate(certificate)),
                Err(problem) => files.problems.push(Problem::certificate(path, problem)),
            }
        }
        files
    }

    fn add_key(&mut self, path: &Path, target: &Target, opening: &mut Opening<'_>) {
        let file = match KeyFile::read(path) {
            Ok(file) => file,
            Err(problem) if is_silent(&problem, target) => return,
            Err(problem) => return self.problem(path, problem.into_failure()),
        };
        let public = file.public().cloned();
        let key = signer(file, target);
        // A file that does not show its public half has to be opened to know what to offer.
        let (public, key) = match (public, key, opening) {
            (public, Ok(FileKey::Locked(key, passphrase)), Opening::Check(checks)) => {
                let opened = checks.open(&key, &passphrase).unwrap_or_else(|failure| {
                    self.problem(path, failure);
                    None
                });
                let Some(public) = public.or(opened) else {
                    self.unknown = true;
                    return;
                };
                (public, Ok(FileKey::Locked(key, passphrase)))
            }
            (Some(public), key, _) => (public, key),
            (None, Ok(key), Opening::Attempt(tell)) => {
                key.opening().into_iter().for_each(tell);
                match key.open() {
                    Ok(identity) => {
                        let public = identity.key().public_key().key_data().clone();
                        (public, Ok(FileKey::Open(identity)))
                    }
                    Err(failure) => return self.problem(path, failure),
                }
            }
            (None, Err(Some(failure)), _) => return self.problem(path, failure),
            (None, _, _) => return,
        };
        let key = key.map_err(|failure| failure.map(|failure| Problem::key(path, failure)));
        self.keys.push(Entry {
            shown: Shown::Key(public.into()),
            from: path.display().to_string(),
            key: key.map(Arc::new),
        });
    }

    fn problem(&mut self, path: &Path, failure: Failure) {
        self.problems.push(Problem::key(path, failure));
    }

    /// The certificate beside the key that was added last, if there is one.
    fn add_certificate_beside(&mut self, path: &Path) {
        let name = path.display().to_string();
        let certificate = match certificate::usable(&UserCertificate::beside(path)) {
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
            Err(problem) => self.problems.push(Problem::certificate(path, problem)),
        }
    }
}

/// Nobody misses a default key that is not there.
fn is_silent(problem: &IdentityProblem, target: &Target) -> bool {
    target.identity_file_is_default && problem.is_missing()
}

/// The key to sign with, or why the file has none.
fn signer(file: KeyFile, target: &Target) -> Result<FileKey, Option<Failure>> {
    match file {
        KeyFile::Open(identity) => Ok(FileKey::Open(identity)),
        KeyFile::Public { problem, .. } if is_silent(&problem, target) => Err(None),
        KeyFile::Public { problem, .. } => Err(Some(problem.into_failure())),
        KeyFile::Locked(key) => match &target.passphrase_credential {
            Some(passphrase) => Ok(FileKey::Locked(key, passphrase.value.clone())),
            None => Err(Some(key.without_passphrase().into_failure())),
        },
    }
}

impl Entry {
    fn certificate(certificate: UserCertificate) -> Self {
        let from = certificate.path().display().to_string();
        let key = certificate.fingerprint();
        let cause = format!("certificate {from}: its key {key} is in no identity_file");
        let failure = Failure::blocked(Stage::Authenticate, cause)
            .with_hint("name the private key that the certificate is for in identity_file");
        Entry {
            from,
            shown: Shown::Certificate(Box::new(certificate.certificate().clone())),
            key: Err(Some(Problem {
                what: "a certificate",
                file: Some(certificate.path().to_owned()),
                failure,
                passes: false,
            })),
        }
    }

    /// Why it cannot be offered.
    pub(super) fn unusable(self, agent_was_asked: bool) -> Option<Problem> {
        let mut problem = self.key.err()??;
        if agent_was_asked {
            problem
                .failure
                .cause
                .push_str(", and the agent does not have it");
        }
        Some(problem)
    }
}
