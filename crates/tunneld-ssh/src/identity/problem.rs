//! Why a file gives no private key, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use tunneld_core::failure::{Failure, Stage};

use crate::known_hosts::ReadFault;
use crate::rights;
use crate::secret_file::{FileFault, Openness};
use tunneld_core::text::shell_word;

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
    TooOpen(Openness),
    /// It needs a passphrase.
    Encrypted,
    /// It needs another passphrase than the one that it was given.
    WrongPassphrase,
    /// It is not the private half of the public key beside it.
    OtherHalf {
        /// The file of the public key.
        public: PathBuf,
    },
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
    /// `ssh-keygen -p -a` writes the same key anew, with fewer rounds.
    FewerRounds,
    /// `ssh-keygen -i` imports it.
    Import,
    /// `puttygen` exports it.
    Puttygen,
    /// The key is of a type that does not work here: another one is needed.
    NewKey,
    /// An agent can use it.
    Agent,
}

impl IdentityProblemKind {
    pub(super) fn of(fault: FileFault) -> Self {
        let not_a_key = |reason| IdentityProblemKind::NotAKey { reason };
        match fault {
            FileFault::Missing => IdentityProblemKind::Missing,
            FileFault::Directory => IdentityProblemKind::Directory,
            FileFault::NotRegular => not_a_key("not a regular file".to_owned()),
            FileFault::NotReadable { reason, fault } => {
                IdentityProblemKind::NotReadable { reason, fault }
            }
            FileFault::TooLarge { limit } => {
                not_a_key(format!("over {} MiB, too large for a key", limit >> 20))
            }
        }
    }
}

impl IdentityProblem {
    pub(super) fn new(path: &Path, kind: IdentityProblemKind) -> Self {
        IdentityProblem {
            path: path.to_owned(),
            kind,
        }
    }

    /// Whether there is no such file: default keys may be missing.
    pub fn is_missing(&self) -> bool {
        self.kind == IdentityProblemKind::Missing
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let path = shell_word(&self.path.display().to_string());
        let hint = match &self.kind {
            IdentityProblemKind::Missing => {
                let make = format!("ssh-keygen -t ed25519 -N '' -f {path}");
                let make = rights::made_by_root(&make, &self.path);
                format!("correct identity_file, or make a key: {make}")
            }
            IdentityProblemKind::Directory => "name the private key in it".to_owned(),
            IdentityProblemKind::NotReadable {
                fault: ReadFault::Denied,
                ..
            } => rights::to_own(&self.path),
            IdentityProblemKind::NotReadable { .. } => return None,
            IdentityProblemKind::TooOpen(openness) => openness.hint(&self.path),
            IdentityProblemKind::Encrypted => format!(
                "name its passphrase in passphrase_credential, or take it off: \
                 ssh-keygen -p -f {path}"
            ),
            IdentityProblemKind::WrongPassphrase => format!(
                "correct what passphrase_credential names; ssh-keygen -y -f {path} tries a \
                 passphrase"
            ),
            IdentityProblemKind::OtherHalf { public } => {
                let public = shell_word(&public.display().to_string());
                format!("ssh-keygen -y -f {path} > {public} writes the right one")
            }
            IdentityProblemKind::Public { .. } => self.likely_private_file(),
            IdentityProblemKind::NotAKey { .. } => {
                format!("ssh-keygen -y -f {path} tells whether ssh can read it")
            }
            IdentityProblemKind::Unsupported { way_out, .. } => match way_out {
                WayOut::Rewrite => {
                    format!("ssh-keygen -p -f {path} writes the same key in OpenSSH's own format")
                }
                WayOut::FewerRounds => {
                    format!("ssh-keygen -p -a 24 -f {path} writes the same key with fewer rounds")
                }
                WayOut::Import => format!("ssh-keygen -i -f {path} > NEW converts it"),
                WayOut::Puttygen => {
                    format!("puttygen {path} -O private-openssh-new -o NEW converts it")
                }
                WayOut::NewKey => "make another key: ssh-keygen -t ed25519 -f NEW".to_owned(),
                WayOut::Agent => {
                    format!("ssh-add {path}, and name the agent in identity_agent")
                }
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
        failure.with_any_hint(self.hint())
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
            IdentityProblemKind::TooOpen(Openness { mode, .. }) => {
                write!(f, " is open to others: mode {mode:04o}")
            }
            IdentityProblemKind::Encrypted => f.write_str(" is encrypted with a passphrase"),
            IdentityProblemKind::WrongPassphrase => f.write_str(": wrong passphrase"),
            IdentityProblemKind::OtherHalf { public } => {
                write!(f, " is not the private half of {}", public.display())
            }
            IdentityProblemKind::Public { what } => write!(f, " is {what}, not a private key"),
            IdentityProblemKind::NotAKey { reason } => write!(f, ": {reason}"),
            IdentityProblemKind::Unsupported { what, .. } => {
                write!(f, " is {what}, which tunneld does not support")
            }
        }
    }
}

impl std::error::Error for IdentityProblem {}
