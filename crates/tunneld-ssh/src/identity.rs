//! Private keys: read from a file that only its owner can read, or refused with what to do.
//!
//! What a file shows without a passphrase is read first ([`KeyFile`]): the public half is enough to
//! ask a server whether it would take the key, and to find the key in an agent. An encrypted key is
//! opened only when a signature is wanted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PrivateKey, PublicKey};

use crate::known_hosts::{fingerprint, type_name};
use crate::secret_file::{self, credentials_directory};

pub mod certificate;
mod format;
mod locked;
mod problem;
mod short_scalar;
#[cfg(test)]
mod tests;

use format::Content;
pub(crate) use format::public_key;
use locked::Locked;
pub use problem::{IdentityProblem, IdentityProblemKind, WayOut};

/// The largest key file that is read, in bytes.
pub const MAX_FILE_LEN: u64 = 1 << 20;

/// The largest public key file that is read, in bytes.
const MAX_PUBLIC_LEN: u64 = 64 << 10;

/// What a file that `identity_file` names has for us.
#[derive(Debug)]
pub enum KeyFile {
    /// A key that is ready to sign.
    Open(Identity),
    /// A key that needs its passphrase.
    Locked(Box<LockedKey>),
    /// Only the public half is to be had: an agent may have the key itself.
    Public {
        /// The public half.
        public: PublicKey,
        /// What keeps the file itself from being used.
        problem: IdentityProblem,
    },
}

impl KeyFile {
    /// Reads what is in the file, and the public key beside it (`KEY.pub`) where that is needed.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// When not even a public half is to be had.
    pub fn read(path: &Path) -> Result<Self, IdentityProblem> {
        Self::read_for(path, credentials_directory().as_deref())
    }

    /// As [`KeyFile::read`], where `credentials` is the directory of systemd's credentials: a key
    /// in it may be readable for the group. Blocks.
    ///
    /// # Errors
    ///
    /// As [`KeyFile::read`].
    pub fn read_for(path: &Path, credentials: Option<&Path>) -> Result<Self, IdentityProblem> {
        let problem = |kind| IdentityProblem::new(path, kind);
        match content(path, credentials) {
            Ok(Content::Open(key)) => Ok(KeyFile::Open(Identity::new(path, *key))),
            Ok(Content::Locked(form)) => Ok(KeyFile::Locked(Box::new(LockedKey {
                path: path.to_owned(),
                public: form.public().cloned().or_else(|| public_beside(path)),
                form,
            }))),
            Ok(Content::Public(public, kind)) => Ok(KeyFile::Public {
                public,
                problem: problem(kind),
            }),
            Err(kind) => match public_beside(path) {
                Some(public) => Ok(KeyFile::Public {
                    public,
                    problem: problem(kind),
                }),
                None => Err(problem(kind)),
            },
        }
    }

    /// The public half, where the file or its neighbour shows it.
    pub fn public(&self) -> Option<&KeyData> {
        match self {
            KeyFile::Open(identity) => Some(identity.key.public_key().key_data()),
            KeyFile::Locked(locked) => locked.public.as_ref().map(PublicKey::key_data),
            KeyFile::Public { public, .. } => Some(public.key_data()),
        }
    }
}

/// A private key that needs its passphrase.
pub struct LockedKey {
    path: PathBuf,
    public: Option<PublicKey>,
    form: Locked,
}

impl LockedKey {
    /// The file that the key is in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the key. Takes up to seconds, as its owner has chosen. Blocks.
    ///
    /// # Errors
    ///
    /// When the passphrase is another one, or the key is not what the file says it is.
    pub fn unlock(&self, passphrase: &str) -> Result<Identity, IdentityProblem> {
        let problem = |kind| IdentityProblem::new(&self.path, kind);
        let key = self.form.unlock(passphrase).map_err(problem)?;
        match &self.public {
            Some(public) if public.key_data() != key.public_key().key_data() => {
                let public = beside(&self.path);
                Err(problem(IdentityProblemKind::OtherHalf { public }))
            }
            _ => Ok(Identity::new(&self.path, key)),
        }
    }

    /// What a passphrase takes: `16 rounds of bcrypt`.
    pub fn rounds(&self) -> String {
        self.form.rounds()
    }

    /// What is the matter with the key where there is no passphrase for it.
    pub fn without_passphrase(&self) -> IdentityProblem {
        IdentityProblem::new(&self.path, IdentityProblemKind::Encrypted)
    }
}

impl fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedKey")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A private key that is ready to sign.
#[derive(Clone)]
pub struct Identity {
    path: PathBuf,
    key: Arc<PrivateKey>,
    fingerprint: String,
}

impl Identity {
    /// Reads a key that needs no passphrase: a file, or a systemd credential
    /// (`$CREDENTIALS_DIRECTORY`). Blocks.
    ///
    /// # Errors
    ///
    /// When there is no such key in the file.
    pub fn read(path: &Path) -> Result<Self, IdentityProblem> {
        Self::read_for(path, credentials_directory().as_deref())
    }

    /// As [`Identity::read`], with the directory of systemd's credentials. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Identity::read`].
    pub fn read_for(path: &Path, credentials: Option<&Path>) -> Result<Self, IdentityProblem> {
        match KeyFile::read_for(path, credentials)? {
            KeyFile::Open(identity) => Ok(identity),
            KeyFile::Locked(locked) => Err(locked.without_passphrase()),
            KeyFile::Public { problem, .. } => Err(problem),
        }
    }

    fn new(path: &Path, key: PrivateKey) -> Self {
        Identity {
            path: path.to_owned(),
            fingerprint: fingerprint(key.public_key().key_data()),
            key: Arc::new(key),
        }
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

fn content(path: &Path, credentials: Option<&Path>) -> Result<Content, IdentityProblemKind> {
    let file = secret_file::read(path, MAX_FILE_LEN, credentials);
    let file = file.map_err(IdentityProblemKind::of)?;
    match (format::decode(&file.bytes), file.open) {
        (content, None) => content,
        // A public key is open to everybody, and that is not what is wrong with it here.
        (Ok(content @ Content::Public(_, IdentityProblemKind::Public { .. })), _) => Ok(content),
        (Err(public @ IdentityProblemKind::Public { .. }), _) => Err(public),
        (_, Some(openness)) => Err(IdentityProblemKind::TooOpen(openness)),
    }
}

/// Where the public half of a key lies, as ssh-keygen puts it: `KEY.pub`.
fn beside(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".pub");
    path.into()
}

/// The public key beside a private one, if there is one that can be read: it is no secret, and
/// only shows what the private file does not.
fn public_beside(path: &Path) -> Option<PublicKey> {
    let file = secret_file::read(&beside(path), MAX_PUBLIC_LEN, None).ok()?;
    format::public_key(std::str::from_utf8(&file.bytes).ok()?)
}
