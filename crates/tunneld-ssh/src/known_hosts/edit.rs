//! Adding lines to a file that others read, add to and replace at the same time.
//!
//! A line is there whole or not at all, whenever the process is killed or the power fails: it is
//! written as a comment first, with `#` where its first character belongs, and that one character
//! is put in when the rest is on the disk. Half a line would be a broken one, which keeps every
//! host of the file from being trusted. To write a new file and to rename it would do as well, but
//! needs the right to write the folder, changes the owner, and loses what ssh adds at that moment.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, FileType, FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::learn::invalid;
use super::{KnownHosts, MAX_FILE_LEN, read_text};

/// How long other writers are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait between two looks at the lock.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Adds the lines that `lines` chooses once it has seen the file, which `open` makes where there is
/// none. A file that is replaced meanwhile, as `ssh-keygen -R` does, is begun with again.
pub(super) fn add(
    path: &Path,
    open: fn(&Path) -> io::Result<File>,
    mut lines: impl FnMut(&KnownHosts) -> io::Result<Vec<String>>,
) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut file = open(path)?;
        lock(&file, deadline)?;
        if is_in_place(path, &file)? {
            add_to(path, &mut file, &mut lines)?;
            if is_in_place(path, &file)? {
                return Ok(());
            }
        }
        if Instant::now() >= deadline {
            return Err(late("it is replaced all the time"));
        }
        thread::sleep(LOCK_POLL);
    }
}

/// As [`add`], and writes nothing: whether this user could.
pub(super) fn could_add(
    path: &Path,
    lines: impl FnOnce(&KnownHosts) -> io::Result<Vec<String>>,
) -> io::Result<()> {
    match open_as(path, OFlags::empty(), Mode::empty()) {
        Ok(mut file) => lines(&read(path, &mut file)?.0).map(drop),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let wanted = Access::WRITE_OK | Access::EXEC_OK;
            Ok(rustix::fs::access(folder(path), wanted)?)
        }
        Err(e) => Err(e),
    }
}

/// What a file says, and whether its last line has an end.
fn read(path: &Path, file: &mut File) -> io::Result<(KnownHosts, bool)> {
    file.seek(SeekFrom::Start(0))?;
    let bounded = Read::by_ref(file).take(MAX_FILE_LEN + 1);
    let text = read_text(path, bounded).map_err(|e| invalid(e.to_string()))?;
    let known = KnownHosts::from_text(path, &text).map_err(|e| invalid(e.to_string()))?;
    Ok((known, text.is_empty() || text.ends_with('\n')))
}

fn add_to(
    path: &Path,
    file: &mut File,
    lines: impl FnOnce(&KnownHosts) -> io::Result<Vec<String>>,
) -> io::Result<()> {
    let (known, mut ends) = read(path, file)?;
    for line in lines(&known)? {
        append(file, &line, ends)?;
        ends = true;
    }
    Ok(())
}

/// Adds one line behind what is there; `ends` says whether that ends with the end of a line.
fn append(file: &mut File, line: &str, ends: bool) -> io::Result<()> {
    let first = line.chars().next().map_or(0, char::len_utf8);
    let (first, rest) = line.split_at(first);
    let newline = if ends { "" } else { "\n" };
    let text = format!("{newline}{}{rest}\n", "#".repeat(first.len()));
    // In one piece: ssh does not ask for the lock.
    let written = file.write(text.as_bytes())?;
    let end = file.stream_position()?;
    let done = match written == text.len() {
        true => file.sync_data(),
        false => Err(Errno::NOSPC.into()),
    };
    if let Err(e) = done {
        take_back(file, end - written as u64, end);
        return Err(e);
    }
    // As long as it is open for appending, nothing can be written but at its end.
    rustix::fs::fcntl_setfl(&*file, OFlags::NONBLOCK)?;
    let at = end - (first.len() + rest.len() + 1) as u64;
    file.write_all_at(first.as_bytes(), at)?;
    file.sync_data()?;
    rustix::fs::fcntl_setfl(&*file, OFlags::APPEND | OFlags::NONBLOCK)?;
    Ok(())
}

/// Takes away what was written from `start` to `end`, unless somebody else has written since: as a
/// comment it does no harm.
fn take_back(file: &File, start: u64, end: u64) {
    if file.metadata().is_ok_and(|m| m.len() == end) {
        // The first error is the one that tells.
        let _ = file.set_len(start);
    }
}

/// Opens the file; a new one belongs to whoever makes it, alone.
pub(super) fn open(path: &Path) -> io::Result<File> {
    open_as(path, OFlags::CREATE, Mode::RUSR | Mode::WUSR)
}

/// As [`open`], and a new file is one that its folder's owner can use, whatever umask says.
pub(super) fn open_or_give(path: &Path) -> io::Result<File> {
    let existing = || open_as(path, OFlags::empty(), Mode::empty());
    match existing() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let file = match open_as(path, OFlags::CREATE | OFlags::EXCL, mode) {
        // Somebody else was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return existing(),
        opened => opened?,
    };
    rustix::fs::fchmod(&file, mode)?;
    if rustix::process::geteuid().is_root() {
        let folder = rustix::fs::stat(folder(path))?;
        let owner = Uid::from_raw(folder.st_uid);
        let group = Gid::from_raw(folder.st_gid);
        // Where that is not possible it can be read all the same.
        let _ = rustix::fs::fchown(&file, Some(owner), Some(group));
    }
    Ok(file)
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    above.unwrap_or(Path::new("."))
}

fn open_as(path: &Path, how: OFlags, mode: Mode) -> io::Result<File> {
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
fn lock(file: &File, deadline: Instant) -> io::Result<()> {
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        if Instant::now() >= deadline {
            return Err(late("somebody else holds its lock"));
        }
        thread::sleep(LOCK_POLL);
    }
}

/// Whether this still is the file that the path leads to.
fn is_in_place(path: &Path, file: &File) -> io::Result<bool> {
    let ours = rustix::fs::fstat(file)?;
    match rustix::fs::stat(path) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn late(why: &str) -> io::Error {
    let seconds = PATIENCE.as_secs();
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("{why}, for {seconds}s already"),
    )
}
