//! `accept-new`: writing the key of a new host down.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use russh::keys::PublicKey;
use rustix::fs::{Access, FileType, FlockOperation, Mode, OFlags};

use super::{KnownHosts, Marker, host_name};
use crate::error::os_reason;

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
    let added = add(file, host, port, key);
    added.map_err(|e| not_added(file, host, port, &e))
}

/// As [`learn`], and writes nothing: whether this user could, and why not. Blocks.
pub fn could_learn(file: &Path, host: &str, port: u16, key: &PublicKey) -> io::Result<()> {
    let opened = stands_for_itself(host).and_then(|()| open(file, OFlags::empty()));
    let could = match opened {
        Ok(mut opened) => addition(file, &mut opened, host, port, key).map(drop),
        Err(e) if e.kind() == io::ErrorKind::NotFound => can_be_made(file),
        Err(e) => Err(e),
    };
    could.map_err(|e| not_added(file, host, port, &e))
}

fn not_added(file: &Path, host: &str, port: u16, e: &io::Error) -> io::Error {
    let (name, reason) = (host_name(host, port), os_reason(e));
    let message = format!("cannot add {name} to {}: {reason}", file.display());
    io::Error::new(e.kind(), message)
}

fn add(path: &Path, host: &str, port: u16, key: &PublicKey) -> io::Result<()> {
    stands_for_itself(host)?;
    let mut file = open(path, OFlags::CREATE)?;
    lock(&file)?;
    match addition(path, &mut file, host, port, key)? {
        Some(line) => append(&mut file, &line),
        None => Ok(()),
    }
}

/// Whether a file that is not there could be made.
fn can_be_made(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    Ok(rustix::fs::access(
        folder,
        Access::WRITE_OK | Access::EXEC_OK,
    )?)
}

/// What has to be added to the file, if it is not there already.
fn addition(
    path: &Path,
    file: &mut File,
    host: &str,
    port: u16,
    key: &PublicKey,
) -> io::Result<Option<String>> {
    let mut text = Vec::new();
    let bound = super::MAX_FILE_LEN + 1;
    file.seek(SeekFrom::Start(0))?;
    Read::by_ref(file).take(bound).read_to_end(&mut text)?;
    let text = super::read_text(path, text.as_slice()).map_err(|e| invalid(e.to_string()))?;
    let known = KnownHosts::from_text(path, &text).map_err(|e| invalid(e.to_string()))?;
    if is_present(&known, host, port, key)? {
        return Ok(None);
    }
    let blob = PublicKey::from(key.key_data().clone())
        .to_openssh()
        .map_err(|e| invalid(e.to_string()))?;
    let newline = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let name = host_name(host, port);
    Ok(Some(format!("{newline}{name} {}\n", blob.trim_end())))
}

/// Whether the file has come to know the host since it was read, and as the same one.
fn is_present(known: &KnownHosts, host: &str, port: u16, key: &PublicKey) -> io::Result<bool> {
    let entries = known.lookup(host, port);
    let same = |e: &&&super::Entry| e.key() == Some(key.key_data());
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
    match plain.clone().next() {
        None => Ok(false),
        Some(entry) => {
            let line = entry.line();
            Err(invalid(format!("line {line} has another key for it")))
        }
    }
}

fn open(path: &Path, more: OFlags) -> io::Result<File> {
    let flags =
        more | OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
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
fn stands_for_itself(host: &str) -> io::Result<()> {
    let special = |c: char| c.is_control() || c.is_whitespace() || "*?!,|#@".contains(c);
    match host.is_empty() || host.contains(special) {
        true => Err(invalid("the host name would not stand for itself there")),
        false => Ok(()),
    }
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message.into())
}
