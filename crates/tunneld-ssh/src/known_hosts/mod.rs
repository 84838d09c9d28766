//! known_hosts files: read whole, checked line by line, looked up as OpenSSH looks them up.
//!
//! russh's own helpers read these files leniently: what they cannot read counts as absent. Here a
//! file that cannot be read, or one broken line in it, is an error, because what is lost that way
//! may be the line that revokes a key.

mod key;
mod learn;
mod line;
mod pattern;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::os_reason;
use russh::keys::Algorithm;
use russh::keys::ssh_key::public::KeyData;
use rustix::fs::{FileType, Mode, OFlags};
use tunneld_core::failure::{Failure, Stage};

use key::KnownKey;
use pattern::Hosts;

pub(crate) use key::rsa_bits;
pub use key::{fingerprint, type_name};
pub use learn::{could_learn, learn};

/// The largest known_hosts file that is read, in bytes.
pub const MAX_FILE_LEN: u64 = 8 << 20;

/// The port at which a host goes by its bare name.
const SSH_PORT: u16 = 22;

/// What the known_hosts files of a tunnel say.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    files: Vec<LookedAt>,
    entries: Vec<Entry>,
}

/// One of the files that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedAt {
    /// Its path.
    pub path: PathBuf,
    /// Whether it is there: a missing file is an empty one.
    pub found: bool,
}

/// One line that says something about a key.
#[derive(Debug, Clone)]
pub struct Entry {
    file: Arc<Path>,
    line: usize,
    marker: Option<Marker>,
    hosts: Hosts,
    key: KnownKey,
}

/// What a line says about its key, other than that it is the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// `@cert-authority`: the key signs host certificates; as a host's own key it counts nothing.
    CertAuthority,
    /// `@revoked`: the key is never to be trusted.
    Revoked,
}

impl Entry {
    /// The file that the line is in.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Its number, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// `FILE:LINE`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }

    /// What the line begins with.
    pub fn marker(&self) -> Option<Marker> {
        self.marker
    }

    /// Its key; `None` where the key is of a type that no server can offer us.
    pub fn key(&self) -> Option<&KeyData> {
        match &self.key {
            KnownKey::Usable(key) => Some(key),
            KnownKey::Foreign(_) => None,
        }
    }

    /// `SHA256:…` of the key; `None` as for [`Entry::key`].
    pub fn fingerprint(&self) -> Option<String> {
        self.key().map(fingerprint)
    }

    /// The type of the key, as messages name it.
    pub fn type_name(&self) -> String {
        match &self.key {
            KnownKey::Usable(key) => type_name(&key.algorithm()),
            KnownKey::Foreign(name) => name.clone(),
        }
    }

    /// Whether the line also speaks of hosts that it does not name.
    pub fn has_wildcard(&self) -> bool {
        self.hosts.has_wildcard()
    }
}

impl KnownHosts {
    /// Reads every file, in this order. A missing file is passed over; anything else that keeps a
    /// line from being understood is an error.
    pub fn read(files: &[PathBuf]) -> Result<Self, KnownHostsError> {
        let mut known = KnownHosts::default();
        for path in files {
            let found = match open(path) {
                Ok(file) => {
                    known.add(path, file)?;
                    true
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => false,
                Err(e) => return Err(KnownHostsError::unreadable(path, &e)),
            };
            known.files.push(LookedAt {
                path: path.clone(),
                found,
            });
        }
        Ok(known)
    }

    /// What one text says that was read from `path`, which is only named in messages.
    pub fn from_text(path: &Path, text: &str) -> Result<Self, KnownHostsError> {
        Ok(KnownHosts {
            files: vec![LookedAt {
                path: path.to_owned(),
                found: true,
            }],
            entries: parse(path, text)?,
        })
    }

    /// The files that were asked for, in order.
    pub fn files(&self) -> &[LookedAt] {
        &self.files
    }

    /// Every line about the host, marked or not, in the order of the files.
    ///
    /// At port 22 a host goes by its name, at any other by `[name]:port`; a line for the one says
    /// nothing of the other, unless its pattern matches both.
    pub fn lookup(&self, host: &str, port: u16) -> Vec<&Entry> {
        let name = host_name(host, port);
        let matching = |e: &&Entry| e.hosts.matches(&name);
        self.entries.iter().filter(matching).collect()
    }

    /// The types of the host's known keys, each once: a client asks for these first, so that the
    /// server offers a key that can be checked. RSA is given without a hash.
    pub fn known_algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let mut entries = self.lookup(host, port);
        if entries.is_empty() && port != SSH_PORT {
            entries = self.lookup(host, SSH_PORT);
        }
        let revoked = |key: &KeyData| {
            let mut entries = entries.iter();
            entries.any(|e| e.marker == Some(Marker::Revoked) && e.key() == Some(key))
        };
        let mut known = Vec::new();
        for entry in entries.iter().filter(|e| e.marker.is_none()) {
            if let Some(key) = entry.key()
                && !revoked(key)
                && !known.contains(&key.algorithm())
            {
                known.push(key.algorithm());
            }
        }
        known
    }

    fn add(&mut self, path: &Path, file: File) -> Result<(), KnownHostsError> {
        let text = read_text(path, file)?;
        self.entries.extend(parse(path, &text)?);
        Ok(())
    }
}

/// The name that a host goes by in known_hosts.
pub(crate) fn host_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == SSH_PORT {
        host
    } else {
        format!("[{host}]:{port}")
    }
}

/// Opens without waiting for whoever writes to a pipe. `/dev/null` is a file that people name here.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    match kind {
        FileType::RegularFile | FileType::CharacterDevice => Ok(file),
        FileType::Directory => Err(io::Error::other("is a directory")),
        _ => Err(io::Error::other("not a regular file")),
    }
}

fn read_text(path: &Path, file: impl Read) -> Result<String, KnownHostsError> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_LEN + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| KnownHostsError::unreadable(path, &e))?;
    if bytes.len() as u64 > MAX_FILE_LEN {
        return Err(KnownHostsError::TooLarge {
            path: path.to_owned(),
        });
    }
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        KnownHostsError::BadLine {
            path: path.to_owned(),
            line: 1 + good.iter().filter(|b| **b == b'\n').count(),
            problem: "not UTF-8 text".to_owned(),
        }
    })
}

/// Reads the text of one file.
fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, KnownHostsError> {
    let file: Arc<Path> = path.into();
    let mut entries = Vec::new();
    for (index, text) in text.split('\n').enumerate() {
        match line::parse(text) {
            Ok(None) => {}
            Ok(Some(line)) => entries.push(Entry {
                file: file.clone(),
                line: index + 1,
                marker: line.marker,
                hosts: line.hosts,
                key: line.key,
            }),
            Err(problem) => {
                return Err(KnownHostsError::BadLine {
                    path: path.to_owned(),
                    line: index + 1,
                    problem,
                });
            }
        }
    }
    Ok(entries)
}

/// Why a known_hosts file says nothing that can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownHostsError {
    /// It is there, and cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason, in the system's words.
        reason: String,
        /// What kind of reason it is.
        fault: ReadFault,
    },
    /// It has more than [`MAX_FILE_LEN`] bytes.
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// One of its lines is broken.
    BadLine {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

impl KnownHostsError {
    fn unreadable(path: &Path, error: &io::Error) -> Self {
        KnownHostsError::Unreadable {
            path: path.to_owned(),
            reason: os_reason(error),
            fault: ReadFault::of(error),
        }
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            KnownHostsError::Unreadable {
                fault: ReadFault::Denied,
                ..
            } => Some("the user that tunneld runs as must be able to read it".to_owned()),
            KnownHostsError::Unreadable { .. } | KnownHostsError::TooLarge { .. } => None,
            KnownHostsError::BadLine { .. } => Some(
                "mend the line or remove it: it is not passed over, because it could be the one \
                 that revokes a key"
                    .to_owned(),
            ),
        }
    }

    /// The failure of a connection attempt that needed the file.
    pub fn into_failure(self) -> Failure {
        let failure = match self {
            KnownHostsError::Unreadable {
                fault: ReadFault::Passing,
                ..
            } => Failure::transient(Stage::HostKey, self.to_string()),
            _ => Failure::blocked(Stage::HostKey, self.to_string()),
        };
        match self.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl fmt::Display for KnownHostsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KnownHostsError::Unreadable { path, reason, .. } => {
                write!(f, "cannot read {}: {reason}", path.display())
            }
            KnownHostsError::TooLarge { path } => {
                let limit = MAX_FILE_LEN >> 20;
                write!(f, "{} has more than {limit} MiB", path.display())
            }
            KnownHostsError::BadLine {
                path,
                line,
                problem,
            } => write!(f, "{}:{line}: {problem}", path.display()),
        }
    }
}

impl std::error::Error for KnownHostsError {}

/// What kind of reason keeps a file from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFault {
    /// Its permissions, or those of a directory above it.
    Denied,
    /// A shortage or a fault that goes away by itself.
    Passing,
    /// Something that stays until a person acts.
    Other,
}

impl ReadFault {
    pub(crate) fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        const PASSING: [Errno; 7] = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::INTR,
            Errno::AGAIN,
            Errno::STALE,
            Errno::TIMEDOUT,
        ];
        match Errno::from_io_error(error) {
            Some(errno) if PASSING.contains(&errno) => ReadFault::Passing,
            _ if error.kind() == io::ErrorKind::PermissionDenied => ReadFault::Denied,
            _ => ReadFault::Other,
        }
    }
}

/// A piece of a file for a message: quoted, without control characters, and short.
fn quote(text: &str) -> String {
    const LONGEST: usize = 40;
    let shown: String = text.chars().take(LONGEST).collect();
    let dots = if shown.len() < text.len() { "…" } else { "" };
    format!("`{}{dots}`", shown.escape_debug())
}
