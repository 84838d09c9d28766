//! Why a file gives no certificate that could be used.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tunneld_core::certificate::date;
use tunneld_core::failure::{Failure, Stage};

use super::blob::Damage;
use super::{MAX_FILE_LEN, UserCertificate};
use crate::known_hosts::ReadFault;
use crate::secret_file::FileFault;
use tunneld_core::text::shell_word;

/// Why a file gives no certificate that could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateProblem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: CertificateProblemKind,
}

/// The kinds of [`CertificateProblem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateProblemKind {
    /// There is no such file.
    Missing,
    /// It cannot be read.
    NotReadable {
        /// The reason, in the system's words.
        reason: String,
        /// What kind of reason it is.
        fault: ReadFault,
    },
    /// It is larger than a certificate is.
    TooLarge,
    /// It is something else.
    NotACertificate {
        /// What: `a plain public key`.
        what: &'static str,
    },
    /// It is a certificate that nobody can use.
    Damaged(Damage),
    /// It was valid.
    Expired {
        /// Until when.
        at: SystemTime,
    },
    /// It will be valid.
    NotYetValid {
        /// From when.
        from: SystemTime,
    },
    /// It is for another key than the one that it lies beside.
    OtherKey {
        /// The file of the key.
        key: PathBuf,
        /// `SHA256:…` of the key that it is for.
        certified: String,
    },
}

impl CertificateProblemKind {
    pub(super) fn of(fault: FileFault) -> Self {
        match fault {
            FileFault::Missing => CertificateProblemKind::Missing,
            FileFault::TooLarge { .. } => CertificateProblemKind::TooLarge,
            FileFault::NotReadable { reason, fault } => {
                CertificateProblemKind::NotReadable { reason, fault }
            }
            FileFault::Directory | FileFault::NotRegular => CertificateProblemKind::NotReadable {
                reason: fault.to_string(),
                fault: ReadFault::Other,
            },
        }
    }

    /// Whether it is a matter of time alone.
    pub(crate) fn is_of_dates(&self) -> bool {
        matches!(
            self,
            CertificateProblemKind::Expired { .. } | CertificateProblemKind::NotYetValid { .. }
        )
    }
}

impl CertificateProblem {
    pub(super) fn new(path: &Path, kind: CertificateProblemKind) -> Self {
        CertificateProblem {
            path: path.to_owned(),
            kind,
        }
    }

    /// Whether there is no such file: nothing has to lie beside a key.
    pub fn is_missing(&self) -> bool {
        self.kind == CertificateProblemKind::Missing
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let path = shell_word(&self.path.display().to_string());
        let hint = match &self.kind {
            CertificateProblemKind::Missing => {
                "correct certificate_file, or get one: ssh-keygen -s AUTHORITY -I NAME -n USER \
                 KEY.pub"
                    .to_owned()
            }
            CertificateProblemKind::NotReadable {
                fault: ReadFault::Denied,
                ..
            } => "the user that tunneld runs as must be able to read it".to_owned(),
            CertificateProblemKind::NotReadable { .. } | CertificateProblemKind::TooLarge => {
                return None;
            }
            CertificateProblemKind::NotACertificate { what } => match *what {
                "a host certificate" => {
                    "the authority has to sign the key without -h, for a user".to_owned()
                }
                _ => self.likely_file(),
            },
            CertificateProblemKind::Damaged(_) => format!("ssh-keygen -L -f {path} shows it"),
            CertificateProblemKind::Expired { .. } => {
                "have the authority sign the key again: ssh-keygen -s AUTHORITY -I NAME -n USER \
                 -V +52w KEY.pub"
                    .to_owned()
            }
            CertificateProblemKind::NotYetValid { .. } => {
                "compare the clocks of this machine and the authority: date -u".to_owned()
            }
            CertificateProblemKind::OtherKey { .. } => {
                format!("ssh-keygen -L -f {path} shows the key that it is for")
            }
        };
        Some(hint)
    }

    /// The failure of a connection attempt that had nothing else.
    pub fn into_failure(self) -> Failure {
        let passing = match &self.kind {
            CertificateProblemKind::NotReadable { fault, .. } => *fault == ReadFault::Passing,
            CertificateProblemKind::NotYetValid { .. } => true,
            _ => false,
        };
        let failure = if passing {
            Failure::transient(Stage::Authenticate, self.to_string())
        } else {
            Failure::blocked(Stage::Authenticate, self.to_string())
        };
        failure.with_any_hint(self.hint())
    }

    /// `id_ed25519-cert.pub` for `id_ed25519` and `id_ed25519.pub`.
    fn likely_file(&self) -> String {
        let likely = UserCertificate::beside(&self.path);
        format!("its certificate is likely {}", likely.display())
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {}{}", self.path.display(), self.kind)
    }
}

/// What follows the name of the certificate.
impl fmt::Display for CertificateProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateProblemKind::Missing => f.write_str(": no such file"),
            CertificateProblemKind::NotReadable { reason, .. } => write!(f, ": {reason}"),
            CertificateProblemKind::TooLarge => {
                let limit = MAX_FILE_LEN >> 10;
                write!(f, ": over {limit} KiB, too large for a certificate")
            }
            CertificateProblemKind::NotACertificate { what } => {
                write!(f, " is {what}, not a user certificate")
            }
            CertificateProblemKind::Damaged(damage) => write!(f, " is {damage}"),
            CertificateProblemKind::Expired { at } => write!(f, " expired on {}", date(*at)),
            CertificateProblemKind::NotYetValid { from } => {
                write!(f, " is not valid before {}", date(*from))
            }
            CertificateProblemKind::OtherKey { key, certified } => {
                let key = key.display();
                write!(f, " is for another key than {key}: {certified}")
            }
        }
    }
}

impl std::error::Error for CertificateProblem {}
