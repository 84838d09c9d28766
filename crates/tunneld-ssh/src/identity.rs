//! Private keys: read from a file that only its owner can read, or refused with what to do.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Algorithm, PrivateKey};
use rustix::fs::{FileType, Mode, OFlags};
use tunneld_core::failure::{Failure, Stage};
use zeroize::Zeroizing;

use crate::error::os_reason;
use crate::host_key::shell_word;
use crate::known_hosts::{ReadFault, fingerprint, type_name};

pub mod certificate;
mod format;
#[cfg(test)]
mod tests;

/// The largest key file that is read, in bytes.
pub const MAX_FILE_LEN: u64 = 1 << 20;

/// A private key that is ready to sign.
#[derive(Clone)]
pub struct Identity {
    path: PathBuf,
    key: Arc<PrivateKey>,
    fingerprint: String,
}

impl Identity {
    /// Reads the key: a file, or a systemd credential (`$CREDENTIALS_DIRECTORY`). Blocks.
    pub fn read(path: &Path) -> Result<Self, IdentityProblem> {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self::read_for(path, credentials.as_deref())
    }

    /// Reads the key, which may be group-readable if it lies in the directory of systemd
    /// credentials (`$CREDENTIALS_DIRECTORY`): there the group bits are the mask of the access list
    /// that lets our user in, and the directory is closed to everybody else. Blocks.
    pub fn read_for(path: &Path, credentials: Option<&Path>) -> Result<Self, IdentityProblem> {
        let problem = |kind| IdentityProblem {
            path: path.to_owned(),
            kind,
        };
        let bytes = read_file(path, credentials).map_err(problem)?;
        let key = format::decode(&bytes).map_err(problem)?;
        Ok(Identity {
            path: path.to_owned(),
            fingerprint: fingerprint(key.public_key().key_data()),
            key: Arc::new(key),
        })
    }

    /// The file that the key came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key.
    pub fn key(&self) -> &Arc<PrivateKey> {
        &self.key
    }

    /// `SHA256:…` of the public key.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The algorithm of the key; RSA without a hash.
    pub fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// The type of the key, as messages name it: `ED25519`.
    pub fn type_name(&self) -> String {
        type_name(&self.key.algorithm())
    }
}

/// What identifies the key, and nothing of the key itself.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("path", &self.path)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.type_name();
        write!(f, "{} ({kind} {})", self.path.display(), self.fingerprint)
    }
}

/// Says whether the key could be used, without keeping it. Blocks.
pub fn inspect(path: &Path) -> Result<(), IdentityProblem> {
    Identity::read(path).map(drop)
}

/// Why a file gives no private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityProblem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: IdentityProblemKind,
}

/// The kinds of [`IdentityProblem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityProblemKind {
    /// There is no such file.
    Missing,
    /// The path names a directory.
    Directory,
    /// It cannot be read.
    NotReadable {
        /// The reason, in the system's words.
        reason: String,
        /// What kind of reason it is.
        fault: ReadFault,
    },
    /// Others than its owner have rights to it.
    TooOpen {
        /// Its permission bits.
        mode: u32,
    },
    /// It needs a passphrase.
    Encrypted,
    /// It is the public half of a key, or a certificate.
    Public {
        /// What it is: `a public key`.
        what: &'static str,
    },
    /// It is no key, or a damaged one.
    NotAKey {
        /// What it is instead, or what is wrong with it.
        reason: String,
    },
    /// It is a key in a form that tunneld does not read.
    Unsupported {
        /// The form.
        what: String,
        /// How to get a key that works.
        way_out: WayOut,
    },
}

/// How to get from a key that is not supported to one that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    /// `ssh-keygen -p` writes the same key anew, in OpenSSH's own format.
    Rewrite,
    /// `ssh-keygen -i` imports it.
    Import,
    /// `puttygen` exports it.
    Puttygen,
    /// The key is of a type that does not work here: another one is needed.
    NewKey,
}

impl IdentityProblem {
    /// Whether there is no such file: default keys may be missing.
    pub fn is_missing(&self) -> bool {
        self.kind == IdentityProblemKind::Missing
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let path = shell_word(&self.path.display().to_string());
        let hint = match &self.kind {
            IdentityProblemKind::Missing => {
                format!("correct identity_file, or make a key: ssh-keygen -t ed25519 -f {path}")
            }
            IdentityProblemKind::Directory => "name the private key in it".to_owned(),
            IdentityProblemKind::NotReadable {
                fault: ReadFault::Denied,
                ..
            } => "the user that tunneld runs as must own it".to_owned(),
            IdentityProblemKind::NotReadable { .. } => return None,
            IdentityProblemKind::TooOpen { .. } => format!("chmod 600 {path}"),
            IdentityProblemKind::Encrypted => {
                format!("ssh-keygen -p -f {path} takes the passphrase off")
            }
            IdentityProblemKind::Public { .. } => self.likely_private_file(),
            IdentityProblemKind::NotAKey { .. } => {
                format!("ssh-keygen -y -f {path} tells whether ssh can read it")
            }
            IdentityProblemKind::Unsupported { way_out, .. } => match way_out {
                WayOut::Rewrite => {
                    format!("ssh-keygen -p -f {path} writes the same key in OpenSSH's own format")
                }
                WayOut::Import => format!("ssh-keygen -i -f {path} > NEW converts it"),
                WayOut::Puttygen => {
                    format!("puttygen {path} -O private-openssh-new -o NEW converts it")
                }
                WayOut::NewKey => "make another key: ssh-keygen -t ed25519 -f NEW".to_owned(),
            },
        };
        Some(hint)
    }

    /// The failure of a connection attempt that needed the key.
    pub fn into_failure(self) -> Failure {
        let failure = match self.kind {
            IdentityProblemKind::NotReadable {
                fault: ReadFault::Passing,
                ..
            } => Failure::transient(Stage::Authenticate, self.to_string()),
            _ => Failure::blocked(Stage::Authenticate, self.to_string()),
        };
        match self.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    /// `id_ed25519` for `id_ed25519.pub` and `id_ed25519-cert.pub`.
    fn likely_private_file(&self) -> String {
        let text = self.path.display().to_string();
        match text
            .strip_suffix("-cert.pub")
            .or_else(|| text.strip_suffix(".pub"))
        {
            Some(private) => format!("its private half is likely {private}"),
            None => "name the file of its private half".to_owned(),
        }
    }
}

impl fmt::Display for IdentityProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key file {}", self.path.display())?;
        match &self.kind {
            IdentityProblemKind::Missing => f.write_str(": no such file"),
            IdentityProblemKind::Directory => f.write_str(" is a directory"),
            IdentityProblemKind::NotReadable { reason, .. } => write!(f, ": {reason}"),
            IdentityProblemKind::TooOpen { mode } => {
                write!(f, " is open to others: mode {mode:04o}")
            }
            IdentityProblemKind::Encrypted => f.write_str(" is encrypted with a passphrase"),
            IdentityProblemKind::Public { what } => write!(f, " is {what}, not a private key"),
            IdentityProblemKind::NotAKey { reason } => write!(f, ": {reason}"),
            IdentityProblemKind::Unsupported { what, .. } => {
                write!(f, " is {what}, which tunneld does not support")
            }
        }
    }
}

impl std::error::Error for IdentityProblem {}

/// Opens once, and judges what was opened: the path may name another file a moment later.
fn read_file(
    path: &Path,
    credentials: Option<&Path>,
) -> Result<Zeroizing<Vec<u8>>, IdentityProblemKind> {
    let unreadable = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => IdentityProblemKind::Missing,
        _ => IdentityProblemKind::NotReadable {
            reason: os_reason(&e),
            fault: ReadFault::of(&e),
        },
    };
    // Without waiting: nobody may ever write to a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| unreadable(e.into()))?;
    let stat = rustix::fs::fstat(&file).map_err(|e| unreadable(e.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(IdentityProblemKind::Directory),
        _ => {
            return Err(IdentityProblemKind::NotAKey {
                reason: "not a regular file".to_owned(),
            });
        }
    }
    let mode = stat.st_mode & 0o7777;
    let group_read = credentials.is_some_and(|directory| lies_in(path, directory));
    let forbidden = if group_read { 0o037 } else { 0o077 };
    let bytes = read_bounded(File::from(file)).map_err(unreadable)?;
    if mode & forbidden == 0 {
        return bytes;
    }
    // A public key is open to everybody, and that is not what is wrong with it here.
    match bytes.map(|bytes| format::decode(&bytes)) {
        Ok(Err(public @ IdentityProblemKind::Public { .. })) => Err(public),
        _ => Err(IdentityProblemKind::TooOpen { mode }),
    }
}

/// Room for the whole file is made first: a buffer that grows leaves copies behind.
fn read_bounded(file: File) -> io::Result<Result<Zeroizing<Vec<u8>>, IdentityProblemKind>> {
    let len = file.metadata()?.len().min(MAX_FILE_LEN);
    let room = usize::try_from(len).unwrap_or_default() + 64;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_LEN {
        let limit = MAX_FILE_LEN >> 20;
        return Ok(Err(IdentityProblemKind::NotAKey {
            reason: format!("over {limit} MiB, too large for a key"),
        }));
    }
    Ok(Ok(bytes))
}

fn lies_in(path: &Path, directory: &Path) -> bool {
    match (path.canonicalize(), directory.canonicalize()) {
        (Ok(path), Ok(directory)) => path.starts_with(directory),
        _ => false,
    }
}
