//! Files that hold a secret: a private key, a passphrase, a password. Opened once, judged by what
//! was opened, and read at once into memory that is wiped. Public keys and certificates are read the
//! same way, and may be open to everybody.
//!
//! Nobody but its owner may have any right to such a file. ssh looks at the mode of files of its
//! own user alone; here it counts whoever the owner is, because a secret that everybody can read is
//! none, also where it is another's. Who the owner is does not matter beyond that: a file that we
//! can read and others cannot is one that was given to us.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use zeroize::Zeroizing;

use crate::calling::our_name;
use crate::error::os_reason;
use crate::known_hosts::ReadFault;
use crate::rights;
use tunneld_core::text::shell_word;

/// What a file has in it.
pub(crate) struct SecretFile {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// Set where others have rights to it: then its contents are no secret, and only good for
    /// saying what it is.
    pub(crate) open: Option<Openness>,
}

/// How a file is open to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Openness {
    /// Its permission bits.
    pub mode: u32,
    /// Whether our user can close it: it is the owner, or root.
    pub ours: bool,
}

impl Openness {
    /// The command that closes the file.
    pub(crate) fn hint(self, path: &Path) -> String {
        match self.ours {
            true => format!("chmod 600 {}", shell_word(&path.display().to_string())),
            // Closed by its owner, it would be closed to us too.
            false => rights::owning(path, &our_name()),
        }
    }
}

/// Why a file gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileFault {
    Missing,
    Directory,
    NotRegular,
    NotReadable {
        reason: String,
        fault: ReadFault,
    },
    /// It has more bytes than that.
    TooLarge {
        limit: u64,
    },
}

impl FileFault {
    fn of(e: &io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::NotFound => FileFault::Missing,
            _ => FileFault::NotReadable {
                reason: os_reason(e),
                fault: ReadFault::of(e),
            },
        }
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileFault::Missing => f.write_str("no such file"),
            FileFault::Directory => f.write_str("is a directory"),
            FileFault::NotRegular => f.write_str("not a regular file"),
            FileFault::NotReadable { reason, .. } => f.write_str(reason),
            FileFault::TooLarge { limit } => write!(f, "over {} KiB", limit >> 10),
        }
    }
}

/// The directory of systemd's credentials (systemd.exec(5)), if there is one.
pub(crate) fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .filter(|directory| !OsStr::is_empty(directory))
        .map(PathBuf::from)
}

/// Reads a file of at most `limit` bytes. In the directory of `credentials` its group may read it:
/// there the group bits are the mask of the access list that lets our user in, and the directory is
/// closed to everybody else. Blocks.
pub(crate) fn read(
    path: &Path,
    limit: u64,
    credentials: Option<&Path>,
) -> Result<SecretFile, FileFault> {
    // Without waiting: nobody may ever write to a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty());
    let file = file.map_err(|e| FileFault::of(&e.into()))?;
    let stat = rustix::fs::fstat(&file).map_err(|e| FileFault::of(&e.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(FileFault::Directory),
        _ => return Err(FileFault::NotRegular),
    }
    let mode = stat.st_mode & 0o7777;
    let group_read = credentials.is_some_and(|directory| lies_in(path, directory));
    let forbidden = if group_read { 0o037 } else { 0o077 };
    let us = rustix::process::geteuid();
    let ours = us.is_root() || us.as_raw() == stat.st_uid;
    Ok(SecretFile {
        bytes: read_bounded(File::from(file), limit)?,
        open: (mode & forbidden != 0).then_some(Openness { mode, ours }),
    })
}

/// Room for the whole file is made first: a buffer that grows leaves copies behind.
fn read_bounded(file: File, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    let failed = |e: io::Error| FileFault::of(&e);
    let len = file.metadata().map_err(failed)?.len().min(limit);
    let room = usize::try_from(len).unwrap_or_default() + 64;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let mut file = file.take(limit + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(FileFault::TooLarge { limit });
    }
    Ok(bytes)
}

fn lies_in(path: &Path, directory: &Path) -> bool {
    match (path.canonicalize(), directory.canonicalize()) {
        (Ok(path), Ok(directory)) => path.starts_with(directory),
        _ => false,
    }
}
