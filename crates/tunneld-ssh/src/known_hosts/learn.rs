//! Writing a host's keys down: of a new host by `accept-new`, or as a person says.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;
use rustix::fs::{FileType, FlockOperation, Gid, Mode, OFlags, Uid};

use super::{KnownHosts, Marker, host_name};
use crate::error::os_reason;
use crate::host_key::same_type;

/// How long another writer is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait between two looks at the lock.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Adds the host's key to the file, unless it is there already. Blocks.
///
/// The file is appended to under a lock and never replaced, so that its owner, its mode, links to
/// it and what ssh adds meanwhile are kept, and so that the right to write the file is enough. A
/// line that does not fit on the disk is taken back: half a line would be a broken line.
pub fn learn(file: &Path, host: &str, port: u16, key: &PublicKey) -> io::Result<()> {
    // Whoever is known by another key is not new.
    let rules = Rules {
        open: open_or_create,
        rival: |_, _| true,
    };
    add(file, host, port, std::slice::from_ref(key), &rules)
}

/// Adds keys of the host that a person vouches for to the file, all of them or none. Those that are
/// there already are passed over. Blocks.
///
/// A host has one key of a type: another one is an error, and so is a key that a line revokes. A
/// file that has to be made for it can be read by everybody, and belongs to whom its folder belongs
/// to: the person is root, and the daemon is not. It holds no secret.
pub fn enter(file: &Path, host: &str, port: u16, keys: &[PublicKey]) -> io::Result<()> {
    let rules = Rules {
        open: open_or_give,
        rival: |known, key| same_type(&known.algorithm(), &key.algorithm()),
    };
    add(file, host, port, keys, &rules)
}

/// What differs between the two.
struct Rules {
    open: fn(&Path) -> io::Result<File>,
    /// Whether a key that is known for the host forbids to add another one.
    rival: fn(&KeyData, &KeyData) -> bool,
}

fn add(file: &Path, host: &str, port: u16, keys: &[PublicKey], rules: &Rules) -> io::Result<()> {
    let name = host_name(host, port);
    let added = append_missing(file, &name, (host, port), keys, rules);
    added.map_err(|e| {
        let reason = os_reason(&e);
        let message = format!("cannot add {name} to {}: {reason}", file.display());
        io::Error::new(e.kind(), message)
    })
}

fn append_missing(
    path: &Path,
    name: &str,
    (host, port): (&str, u16),
    keys: &[PublicKey],
    rules: &Rules,
) -> io::Result<()> {
    if !is_plain_name(host) {
        return Err(invalid("the host name would not stand for itself there"));
    }
    let mut file = (rules.open)(path)?;
    lock(&file)?;
    let mut text = Vec::new();
    let bound = super::MAX_FILE_LEN + 1;
    file.seek(SeekFrom::Start(0))?;
    Read::by_ref(&mut file).take(bound).read_to_end(&mut text)?;
    let text = super::read_text(path, text.as_slice()).map_err(|e| invalid(e.to_string()))?;
    let known = KnownHosts::from_text(path, &text).map_err(|e| invalid(e.to_string()))?;
    let mut lines = String::new();
    for key in keys {
        if is_present(&known, host, port, key, rules)? {
            continue;
        }
        let blob = PublicKey::from(key.key_data().clone())
            .to_openssh()
            .map_err(|e| invalid(e.to_string()))?;
        lines.push_str(&format!("{name} {}\n", blob.trim_end()));
    }
    if lines.is_empty() {
        return Ok(());
    }
    if !text.is_empty() && !text.ends_with('\n') {
        lines.insert(0, '\n');
    }
    append(&mut file, &lines)
}

/// Whether the file has come to know the host since it was read, and as the same one.
fn is_present(
    known: &KnownHosts,
    host: &str,
    port: u16,
    key: &PublicKey,
    rules: &Rules,
) -> io::Result<bool> {
    let key = key.key_data();
    let entries = known.lookup(host, port);
    let same = |e: &&&super::Entry| e.key() == Some(key);
    let revoked = entries
        .iter()
        .filter(|e| e.marker() == Some(Marker::Revoked));
    if let Some(entry) = revoked.clone().find(same) {
        let line = entry.line();
        return Err(invalid(format!("line {line} revokes the key")));
    }
    let plain = entries.iter().filter(|e| e.marker().is_none());
    if plain.clone().any(|e| same(&e)) {
        return Ok(true);
    }
    let is_rival = |e: &&&super::Entry| e.key().is_none_or(|known| (rules.rival)(known, key));
    match plain.clone().find(is_rival) {
        None => Ok(false),
        Some(entry) => {
            let line = entry.line();
            Err(invalid(format!("line {line} has another key for it")))
        }
    }
}

fn open_or_create(path: &Path) -> io::Result<File> {
    open(path, OFlags::CREATE, Mode::RUSR | Mode::WUSR)
}

/// As [`open_or_create`], and a new file is one that its folder's owner can use, whatever umask
/// says.
fn open_or_give(path: &Path) -> io::Result<File> {
    let existing = || open(path, OFlags::empty(), Mode::empty());
    match existing() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let file = match open(path, OFlags::CREATE | OFlags::EXCL, mode) {
        // Somebody else was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return existing(),
        opened => opened?,
    };
    rustix::fs::fchmod(&file, mode)?;
    if rustix::process::geteuid().is_root() {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        let folder = rustix::fs::stat(above.unwrap_or(Path::new(".")))?;
        let owner = Uid::from_raw(folder.st_uid);
        let group = Gid::from_raw(folder.st_gid);
        // Where that is not possible it can be read all the same.
        let _ = rustix::fs::fchown(&file, Some(owner), Some(group));
    }
    Ok(file)
}

fn open(path: &Path, how: OFlags, mode: Mode) -> io::Result<File> {
    let flags =
        how | OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, mode)?);
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    // What is written to /dev/null is not there the next time: every key would be a new one.
    if kind != FileType::RegularFile {
        return Err(invalid("not a regular file"));
    }
    Ok(file)
}

/// The lock goes with the file description: two threads of one process exclude each other too.
fn lock(file: &File) -> io::Result<()> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        if Instant::now() >= deadline {
            let seconds = LOCK_TIMEOUT.as_secs();
            let message = format!("somebody else has held its lock for {seconds}s");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(LOCK_POLL);
    }
}

fn append(file: &mut File, line: &str) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(line.as_bytes())
        .and_then(|()| file.sync_data())
        .inspect_err(|_| {
            // The first error is the one that tells.
            let _ = file.set_len(before);
        })
}

/// Whether the name stands for itself in the first field of a line, and not for a pattern, a
/// marker, a comment, a hash or several fields.
fn is_plain_name(host: &str) -> bool {
    let special = |c: char| c.is_control() || c.is_whitespace() || "*?!,|#@".contains(c);
    !host.is_empty() && !host.contains(special)
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message.into())
}

#[cfg(test)]
mod tests;
