//! known_hosts files: read whole, checked line by line, looked up as OpenSSH looks them up.
//!
//! russh's own helpers read these files leniently: what they cannot read counts as absent. Here a
//! file that cannot be read, or one broken line in it, is an error, because what is lost that way
//! may be the line that revokes a key.

mod edit;
mod key;
mod learn;
mod line;
mod name;
mod pattern;
mod problem;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::Algorithm;
use russh::keys::ssh_key::public::KeyData;
use rustix::fs::{FileType, Mode, OFlags};

use key::KnownKey;
use pattern::Hosts;

pub(crate) use key::rsa_bits;
pub use key::{fingerprint, type_name};
pub use learn::{LearnError, could_learn, enter, learn, learn_further};
pub use name::KnownAs;
pub use problem::{KnownHostsError, ReadFault};

/// The largest known_hosts file that is read, in bytes.
pub const MAX_FILE_LEN: u64 = 8 << 20;

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

    /// Whether the line has one name, and no pattern: nobody else misses it when it is removed.
    pub fn is_for_one_name(&self) -> bool {
        self.hosts.is_one_name()
    }

    /// Whether the line may be about several hosts: it has a wildcard, or more names than the one
    /// and its address that ssh writes.
    pub fn is_shared(&self) -> bool {
        self.hosts.are_several()
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
    pub fn lookup(&self, host: &KnownAs) -> Vec<&Entry> {
        self.about(host.name())
    }

    /// Every line about the name without its port, where the host has one that counts: ssh falls
    /// back to it for a host at another port than 22, and so do its users' files.
    pub fn lookup_bare(&self, host: &KnownAs) -> Vec<&Entry> {
        host.bare().map(|name| self.about(name)).unwrap_or_default()
    }

    fn about(&self, name: &str) -> Vec<&Entry> {
        let matching = |e: &&Entry| e.hosts.matches(name);
        self.entries.iter().filter(matching).collect()
    }

    /// Whether any line says that a key is the host's, or of an authority for it.
    pub fn has(&self, host: &KnownAs) -> bool {
        let entries = self.under_both_names(host);
        entries.iter().any(|e| e.marker.is_none()) || authority(&entries)
    }

    /// Whether an authority is known for the host: then it is asked for its certificate.
    pub fn has_authority(&self, host: &KnownAs) -> bool {
        authority(&self.under_both_names(host))
    }

    fn under_both_names(&self, host: &KnownAs) -> Vec<&Entry> {
        [self.lookup(host), self.lookup_bare(host)].concat()
    }

    /// The types of the host's known keys, each once: a client asks for these first, so that the
    /// server offers a key that can be checked. RSA is given without a hash.
    pub fn known_algorithms(&self, host: &KnownAs) -> Vec<Algorithm> {
        let mut entries = self.lookup(host);
        if entries.iter().all(|e| e.marker.is_some()) {
            entries.extend(self.lookup_bare(host));
        }
        let mut known = Vec::new();
        for entry in entries.iter().filter(|e| e.marker.is_none()) {
            if let Some(key) = entry.key()
                && !is_revoked(&entries, Some(key))
                && !known.contains(&key.algorithm())
            {
                known.push(key.algorithm());
            }
        }
        known
    }

    /// The same files with the lines alone whose keys are of the type of `key`.
    pub(crate) fn of_type(&self, key: &KeyData) -> Self {
        let kind = key.algorithm();
        let is_type = |e: &&Entry| e.key().is_some_and(|k| k.algorithm() == kind);
        KnownHosts {
            files: self.files.clone(),
            entries: self.entries.iter().filter(is_type).cloned().collect(),
        }
    }

    fn add(&mut self, path: &Path, file: File) -> Result<(), KnownHostsError> {
        let text = read_text(path, file)?;
        self.entries.extend(parse(path, &text)?);
        Ok(())
    }
}

/// Whether one of these is an authority that is not revoked.
fn authority(entries: &[&Entry]) -> bool {
    entries
        .iter()
        .any(|e| e.marker == Some(Marker::CertAuthority) && !is_revoked(entries, e.key()))
}

fn is_revoked(entries: &[&Entry], key: Option<&KeyData>) -> bool {
    let mut entries = entries.iter();
    key.is_some() && entries.any(|e| e.marker == Some(Marker::Revoked) && e.key() == key)
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

/// A piece of a file for a message: quoted, without control characters, and short.
fn quote(text: &str) -> String {
    const LONGEST: usize = 40;
    let shown: String = text.chars().take(LONGEST).collect();
    let dots = if shown.len() < text.len() { "…" } else { "" };
    format!("`{}{dots}`", shown.escape_debug())
}
