//! Why a known_hosts file says nothing that can be relied on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tunneld_core::failure::{Failure, Stage};

use super::MAX_FILE_LEN;
use crate::error::os_reason;

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
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
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
            KnownHostsError::Unreadable {
                fault: ReadFault::Other,
                ..
            } => Some("`known_hosts` has to name a file that can be read".to_owned()),
            KnownHostsError::Unreadable { .. } => None,
            KnownHostsError::TooLarge { .. } => Some(
                "remove what is no longer needed from it, or name a smaller file in `known_hosts`"
                    .to_owned(),
            ),
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
        failure.with_any_hint(self.hint())
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
        const PASSING: [Errno; 6] = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::INTR,
            Errno::AGAIN,
            Errno::STALE,
        ];
        match Errno::from_io_error(error) {
            _ if error.kind() == io::ErrorKind::TimedOut => ReadFault::Passing,
            Some(errno) if PASSING.contains(&errno) => ReadFault::Passing,
            _ if error.kind() == io::ErrorKind::PermissionDenied => ReadFault::Denied,
            _ => ReadFault::Other,
        }
    }
}
