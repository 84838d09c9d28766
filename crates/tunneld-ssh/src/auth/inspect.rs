//! Saying before an attempt what it would say of its keys and certificates: nothing is sent, and
//! nothing kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use russh::keys::ssh_key::public::KeyData;
use tunneld_core::config::{Credential, Target};
use tunneld_core::failure::{Class, Failure};

use super::files::{Files, Opening};
use super::signer::FileKey;
use crate::agent;
use crate::credential;
use crate::identity::LockedKey;

#[cfg(test)]
mod tests;

/// What there is to log in with, as far as files tell.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Whether there is a key to offer.
    pub has_key: bool,
}

/// Something that keeps a target from logging in with what it names.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The key, certificate or socket that the configuration names.
    pub file: Option<PathBuf>,
    /// What an attempt would say.
    pub failure: Failure,
    /// Whether time decides it, and not the configuration: a date, or an agent that may be starting.
    pub passes: bool,
}

/// The encrypted keys that were opened to see whether they can be: each once with each passphrase,
/// for opening one takes a second. Of the keys themselves nothing is kept.
#[derive(Default)]
pub struct KeyChecks {
    /// How long keys may still be opened.
    left: Duration,
    done: HashMap<(PathBuf, String), Result<Option<KeyData>, Failure>>,
}

impl KeyChecks {
    /// Opens the keys.
    pub fn new() -> Self {
        KeyChecks::within(Duration::MAX)
    }

    /// Opens keys until that has taken so long in all, and takes it for granted that the passphrases
    /// of the others are right. The one that is being opened then is finished.
    pub fn within(time: Duration) -> Self {
        KeyChecks {
            left: time,
            ..KeyChecks::default()
        }
    }

    /// Takes it for granted that a passphrase is right.
    pub fn without_opening() -> Self {
        KeyChecks::default()
    }

    /// The public half, or why there is none; nothing where that is not known.
    pub(super) fn open(
        &mut self,
        key: &LockedKey,
        passphrase: &Credential,
    ) -> Result<Option<KeyData>, Failure> {
        let asked = (key.path().to_owned(), passphrase.to_string());
        let done = match self.done.entry(asked) {
            Entry::Occupied(done) => done.into_mut(),
            Entry::Vacant(_) if self.left.is_zero() => return Ok(None),
            Entry::Vacant(new) => {
                let since = Instant::now();
                let opened = open(key, passphrase);
                self.left = self.left.saturating_sub(since.elapsed());
                new.insert(opened)
            }
        };
        done.clone()
    }
}

/// What is wrong with a secret itself is told where it is named; a person who runs `check` has no
/// credentials of systemd.
fn open(key: &LockedKey, passphrase: &Credential) -> Result<Option<KeyData>, Failure> {
    let Ok(secret) = credential::read(passphrase) else {
        return Ok(None);
    };
    let identity = key
        .unlock(&secret)
        .map_err(|problem| FileKey::not_opened(problem, passphrase))?;
    Ok(Some(identity.key().public_key().key_data().clone()))
}

/// Judges the keys and certificates of a target by the rules of an attempt. What only an agent can
/// tell is not asked: whether it has the key. Blocks, for as long as keys take to be opened.
pub fn inspect(target: &Target, checks: &mut KeyChecks) -> Inspected {
    let mut files = Files::read(target, Opening::Check(checks));
    let unknown = files.unknown;
    let problems = std::mem::take(&mut files.problems);
    let (offers, unsigned) = files.offers(None, target.identities_only);
    // Nobody but an agent, or a key that was not opened, could be the one that signs.
    let signed_elsewhere = target.identity_agent.is_some() || unknown;
    let unsigned = (!signed_elsewhere)
        .then_some(unsigned)
        .into_iter()
        .flatten();
    let found = |problem: super::files::Problem| Finding {
        file: problem.file,
        failure: problem.failure,
        passes: problem.passes,
    };
    let mut findings: Vec<Finding> = problems.into_iter().chain(unsigned).map(found).collect();
    if let Some((socket, problem)) = target.identity_agent.as_ref().and_then(agent::missing) {
        let failure = problem.into_failure();
        findings.push(Finding {
            file: Some(socket),
            passes: failure.class == Class::Transient,
            failure,
        });
    }
    Inspected {
        findings,
        has_key: unknown || !offers.is_empty(),
    }
}
