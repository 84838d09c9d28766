//! Passphrases and passwords: credentials of systemd (systemd.exec(5): LoadCredential=,
//! LoadCredentialEncrypted=, SetCredential=), or files that nobody else can read. Never in the
//! configuration, read afresh each time they are needed, and wiped after.

use std::fmt;
use std::path::{Path, PathBuf};

use tunneld_core::config::Credential;
use tunneld_core::failure::{Failure, Stage};
use zeroize::Zeroizing;

use crate::calling;
use crate::known_hosts::ReadFault;
use crate::rights;
use crate::secret_file::{self, FileFault, Openness};
use tunneld_core::text::shell_word;

#[cfg(test)]
mod tests;

/// The largest credential that is read, in bytes.
pub const MAX_LEN: u64 = 64 << 10;

/// Reads a passphrase or a password: the file's text without the line's end that editors and `echo`
/// leave behind it. Blocks.
///
/// # Errors
///
/// When it cannot be read, others can read it, or it is no text.
pub fn read(credential: &Credential) -> Result<Zeroizing<String>, CredentialProblem> {
    read_in(credential, secret_file::credentials_directory().as_deref())
}

/// As [`read`], with the directory in which systemd puts credentials. Blocks.
///
/// # Errors
///
/// As [`read`].
pub fn read_in(
    credential: &Credential,
    directory: Option<&Path>,
) -> Result<Zeroizing<String>, CredentialProblem> {
    let problem = |kind| CredentialProblem {
        credential: credential.clone(),
        kind,
    };
    let path = match (credential, directory) {
        (Credential::File(path), _) => path.clone(),
        (Credential::Named(name), Some(directory)) => directory.join(name),
        (Credential::Named(_), None) => {
            return Err(problem(CredentialProblemKind::NoDirectory));
        }
    };
    let file = secret_file::read(&path, MAX_LEN, directory);
    let file = file.map_err(|fault| problem(CredentialProblemKind::of(fault, &path)))?;
    if let Some(openness) = file.open {
        return Err(problem(CredentialProblemKind::TooOpen { path, openness }));
    }
    text(&file.bytes).map_err(problem)
}

fn text(bytes: &[u8]) -> Result<Zeroizing<String>, CredentialProblemKind> {
    let text = std::str::from_utf8(bytes).map_err(|_| CredentialProblemKind::NotText)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(CredentialProblemKind::Empty);
    }
    if text.contains('\0') {
        return Err(CredentialProblemKind::NotText);
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// What a credential is called where the message says what it is: `"db-password"`, or its file.
pub(crate) fn name(credential: &Credential) -> String {
    match credential {
        Credential::Named(name) => format!("\"{name}\""),
        Credential::File(path) => path.display().to_string(),
    }
}

/// What is to be done besides, once a secret was changed; goes on from a hint.
pub(crate) fn once_changed(credential: &Credential) -> String {
    match credential {
        Credential::Named(_) => format!(
            ", then {}: systemd passes it on at the start",
            calling::ours().restart()
        ),
        Credential::File(_) => String::new(),
    }
}

/// Why there is no passphrase or password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialProblem {
    /// Where it should have been.
    pub credential: Credential,
    /// What is wrong with it.
    pub kind: CredentialProblemKind,
}

/// The kinds of [`CredentialProblem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialProblemKind {
    /// systemd gave us no credentials at all.
    NoDirectory,
    /// There is no such file.
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    NotReadable {
        /// The reason, in the system's words.
        reason: String,
        /// What kind of reason it is.
        fault: ReadFault,
    },
    /// Others than its owner have rights to it.
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Which.
        openness: Openness,
    },
    /// It is larger than [`MAX_LEN`].
    TooLarge,
    /// There is nothing in it.
    Empty,
    /// It is not UTF-8, or has a NUL in it.
    NotText,
}

impl CredentialProblemKind {
    fn of(fault: FileFault, path: &Path) -> Self {
        let not_readable = |reason: &str| CredentialProblemKind::NotReadable {
            reason: reason.to_owned(),
            fault: ReadFault::Other,
        };
        match fault {
            FileFault::Missing => CredentialProblemKind::Missing {
                path: path.to_owned(),
            },
            FileFault::Directory => not_readable("is a directory"),
            FileFault::NotRegular => not_readable("not a regular file"),
            FileFault::NotReadable { reason, fault } => {
                CredentialProblemKind::NotReadable { reason, fault }
            }
            FileFault::TooLarge { .. } => CredentialProblemKind::TooLarge,
        }
    }
}

impl CredentialProblem {
    /// Whether it may be there where the program runs as a service: systemd gave us no credentials.
    pub fn is_out_of_sight(&self) -> bool {
        self.kind == CredentialProblemKind::NoDirectory
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match (&self.kind, &self.credential) {
            (
                CredentialProblemKind::NoDirectory | CredentialProblemKind::Missing { .. },
                Credential::Named(name),
            ) => format!(
                "give it to the unit: LoadCredential={name}:/path/to/the/file in [Service]{}; or \
                 name a file with its path",
                once_changed(&self.credential)
            ),
            (CredentialProblemKind::Missing { path }, Credential::File(_)) => {
                let path = shell_word(&path.display().to_string());
                format!("write the secret into it: install -m 600 /dev/stdin {path}")
            }
            (
                CredentialProblemKind::NotReadable {
                    fault: ReadFault::Denied,
                    ..
                },
                Credential::File(path),
            ) => rights::to_own(path),
            (
                CredentialProblemKind::NotReadable {
                    fault: ReadFault::Denied,
                    ..
                },
                Credential::Named(_),
            ) => rights::MUST_OWN.to_owned(),
            (CredentialProblemKind::TooOpen { path, openness }, _) => openness.hint(path),
            _ => return None,
        };
        Some(hint)
    }

    /// The failure of a connection attempt that needed it.
    pub fn into_failure(self) -> Failure {
        let failure = match self.kind {
            CredentialProblemKind::NotReadable {
                fault: ReadFault::Passing,
                ..
            } => Failure::transient(Stage::Authenticate, self.to_string()),
            _ => Failure::blocked(Stage::Authenticate, self.to_string()),
        };
        failure.with_any_hint(self.hint())
    }
}

impl fmt::Display for CredentialProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credential {
            Credential::Named(name) => write!(f, "credential \"{name}\"")?,
            Credential::File(path) => write!(f, "credential file {}", path.display())?,
        }
        match (&self.kind, &self.credential) {
            (CredentialProblemKind::NoDirectory, _) => {
                f.write_str(" is missing: $CREDENTIALS_DIRECTORY is not set")
            }
            (CredentialProblemKind::Missing { path }, Credential::Named(_)) => {
                write!(f, " is missing: no file {}", path.display())
            }
            (CredentialProblemKind::Missing { .. }, Credential::File(_)) => {
                f.write_str(": no such file")
            }
            (CredentialProblemKind::NotReadable { reason, .. }, _) => write!(f, ": {reason}"),
            (CredentialProblemKind::TooOpen { openness, .. }, _) => {
                write!(f, " is open to others: mode {:04o}", openness.mode)
            }
            (CredentialProblemKind::TooLarge, _) => {
                write!(f, ": over {} KiB, too large for a secret", MAX_LEN >> 10)
            }
            (CredentialProblemKind::Empty, _) => f.write_str(" is empty"),
            (CredentialProblemKind::NotText, _) => f.write_str(" is not a text"),
        }
    }
}

impl std::error::Error for CredentialProblem {}
