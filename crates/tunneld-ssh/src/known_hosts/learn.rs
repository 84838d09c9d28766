//! Writing keys down: the one of a new host (`accept-new`), further ones of a known host, and those
//! that a person vouches for.
//!
//! The file is added to under a lock and never replaced, so that its owner, its mode, links to it
//! and what ssh adds meanwhile are kept, and so that the right to write the file is enough.

use std::fmt;
use std::io;
use std::path::Path;

use russh::keys::PublicKey;
use rustix::io::Errno;
use tunneld_core::failure::{Failure, Stage};

use super::{Entry, KnownAs, KnownHosts, Marker, ReadFault, edit};
use crate::error::os_reason;
use crate::host_key::same_type;
use crate::rights;
use crate::sandbox::hint_of_place;

/// Adds the key of a host that the file does not know, unless it is there already. Blocks.
///
/// # Errors
///
/// When it cannot be written, or the file has come to know the host as another one.
pub fn learn(file: &Path, host: &KnownAs, key: &PublicKey) -> Result<(), LearnError> {
    let lines = |known: &KnownHosts| line_of_new(known, host, key);
    let added = stands_for_itself(host).and_then(|()| edit::add(file, edit::open, lines));
    added.map_err(|e| LearnError::new(file, host, &e))
}

/// As [`learn`], and writes nothing: whether this user could. Blocks.
///
/// # Errors
///
/// Those of [`learn`].
pub fn could_learn(file: &Path, host: &KnownAs, key: &PublicKey) -> Result<(), LearnError> {
    let lines = |known: &KnownHosts| line_of_new(known, host, key);
    let could = stands_for_itself(host).and_then(|()| edit::could_add(file, lines));
    could.map_err(|e| LearnError::new(file, host, &e))
}

/// The line that a new host is not known without. Whoever is known by another key is not new.
fn line_of_new(known: &KnownHosts, host: &KnownAs, key: &PublicKey) -> io::Result<Vec<String>> {
    match is_present(known, host, key, |_| true)? {
        true => Ok(Vec::new()),
        false => Ok(vec![line(host.name(), key)?]),
    }
}

/// Adds keys of the host that a person vouches for: all that are not there yet, or none of them.
/// Blocks.
///
/// A host has one key of a type: another one is an error, and so is a key that a line revokes. A
/// file that has to be made for it can be read by everybody, and belongs to whom its folder belongs
/// to: the person is root, and the daemon is not. It holds no secret.
///
/// # Errors
///
/// When they cannot be written, or must not be added.
pub fn enter(file: &Path, host: &KnownAs, keys: &[PublicKey]) -> Result<(), LearnError> {
    let lines = |known: &KnownHosts| {
        let mut lines = Vec::new();
        for key in keys {
            // A key that no server can offer us is no other key for the host.
            let rival = |e: &Entry| {
                e.key()
                    .is_some_and(|known| same_type(&known.algorithm(), &key.algorithm()))
            };
            if !is_present(known, host, key, rival)? {
                lines.push(line(host.name(), key)?);
            }
        }
        Ok(lines)
    };
    let added = stands_for_itself(host).and_then(|()| edit::add(file, edit::open_or_give, lines));
    added.map_err(|e| LearnError::new(file, host, &e))
}

/// Adds further keys of a host that the file knows, and says which: those that it does not have yet,
/// and none once it has stopped to trust the host. A host whose name is hashed there is not
/// named by the new lines either. Blocks.
///
/// # Errors
///
/// When they cannot be written.
pub fn learn_further(
    file: &Path,
    host: &KnownAs,
    keys: &[PublicKey],
) -> Result<Vec<PublicKey>, LearnError> {
    let mut learnt = Vec::new();
    let lines = |known: &KnownHosts| {
        learnt = Vec::new();
        let entries = known.lookup(host);
        let Some(trusting) = entries.iter().find(|e| e.marker().is_none()) else {
            return Ok(Vec::new());
        };
        let name = trusting.hosts.alike(host.name());
        let is_new = |key: &&PublicKey| entries.iter().all(|e| !is_of(e, key));
        learnt = keys.iter().filter(is_new).cloned().collect();
        learnt.iter().map(|key| line(&name, key)).collect()
    };
    match stands_for_itself(host).and_then(|()| edit::add(file, edit::open, lines)) {
        Ok(()) => Ok(learnt),
        Err(e) => Err(LearnError::new(file, host, &e)),
    }
}

/// Whether the file has come to know the host since it was read, and as the same one. `rival` says
/// which of its lines forbid to add another one.
fn is_present(
    known: &KnownHosts,
    host: &KnownAs,
    key: &PublicKey,
    rival: impl Fn(&Entry) -> bool,
) -> io::Result<bool> {
    let entries = known.lookup(host);
    let mut same = entries.iter().filter(|e| is_of(e, key));
    if let Some(entry) = same.find(|e| e.marker() == Some(Marker::Revoked)) {
        let line = entry.line();
        return Err(invalid(format!("line {line} revokes the key")));
    }
    let plain: Vec<_> = entries.iter().filter(|e| e.marker().is_none()).collect();
    if plain.iter().any(|e| is_of(e, key)) {
        return Ok(true);
    }
    match plain.iter().find(|e| rival(e)) {
        None => Ok(false),
        Some(entry) => {
            let line = entry.line();
            Err(invalid(format!("line {line} has another key for it")))
        }
    }
}

fn is_of(entry: &Entry, key: &PublicKey) -> bool {
    entry.key() == Some(key.key_data())
}

fn line(name: &str, key: &PublicKey) -> io::Result<String> {
    // Without what the server calls it.
    let key = PublicKey::from(key.key_data().clone()).to_openssh();
    let key = key.map_err(|e| invalid(e.to_string()))?;
    Ok(format!("{name} {}", key.trim_end()))
}

/// Whether the name stands for itself in the first field of a line, and not for a pattern, a
/// marker, a comment, a hash or several fields.
fn stands_for_itself(host: &KnownAs) -> io::Result<()> {
    let host = host.principal();
    let special = |c: char| c.is_control() || c.is_whitespace() || "*?!,|#@".contains(c);
    match host.is_empty() || host.contains(special) {
        true => Err(invalid("the host name would not stand for itself there")),
        false => Ok(()),
    }
}

pub(super) fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message.into())
}

/// Why a key could not be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnError {
    message: String,
    fault: ReadFault,
    way_out: Option<WayOut>,
    /// What gives the right to it.
    command: Option<String>,
}

/// What lets tunneld write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WayOut {
    Folder,
    Rights,
    Unit,
}

impl LearnError {
    fn new(file: &Path, host: &KnownAs, error: &io::Error) -> Self {
        let reason = os_reason(error);
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        LearnError {
            command: is_denied.then(|| rights::to_write(file)).flatten(),
            message: format!("cannot add {} to {}: {reason}", host.name(), file.display()),
            fault: ReadFault::of(error),
            way_out: match Errno::from_io_error(error) {
                Some(Errno::NOENT) => Some(WayOut::Folder),
                Some(Errno::ACCESS | Errno::PERM) => Some(WayOut::Rights),
                Some(Errno::ROFS) => Some(WayOut::Unit),
                _ => None,
            },
        }
    }

    /// Whether another user could write it.
    pub fn is_denied(&self) -> bool {
        self.way_out == Some(WayOut::Rights)
    }

    /// What has to be done for the file to be written, where that is known.
    pub fn remedy(&self) -> Option<String> {
        let remedy = match self.way_out? {
            WayOut::Folder => "make its folder, for the user that tunneld runs as",
            WayOut::Rights => "the user that tunneld runs as must be able to write it",
            WayOut::Unit => "the unit keeps tunneld from writing there: see its ReadWritePaths=",
        };
        Some(match &self.command {
            Some(command) => format!("{remedy}: {command}"),
            None => remedy.to_owned(),
        })
    }

    /// The failure of a connection attempt that would have gone on with the key.
    pub fn into_failure(self) -> Failure {
        let failure = match self.fault {
            ReadFault::Passing => Failure::transient(Stage::HostKey, self.message.clone()),
            ReadFault::Denied | ReadFault::Other => {
                Failure::blocked(Stage::HostKey, self.message.clone())
            }
        };
        let Some(remedy) = self.remedy() else {
            return failure;
        };
        let hint = format!(
            "{remedy}; or put a file that it can write first in `known_hosts`, as \
             /var/lib/tunneld/known_hosts, which the unit provides for"
        );
        failure.with_hint(match self.way_out {
            Some(WayOut::Folder | WayOut::Rights) => hint_of_place(&hint),
            Some(WayOut::Unit) | None => hint,
        })
    }
}

impl fmt::Display for LearnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LearnError {}

#[cfg(test)]
mod tests;
