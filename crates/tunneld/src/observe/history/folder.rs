//! The folder `history` of the state directory: a file for each tunnel, and one that says until when
//! the daemon was alive, so that the others need not be written while nothing changes.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use tunneld_core::history::Record;
use tunneld_core::ledger::Moment;
use tunneld_core::name::TunnelName;
use tunneld_core::status::millis;

/// The form of the files. Another one is not read.
const VERSION: u32 = 1;
/// No file is longer.
const MAX_FILE: u64 = 1 << 20;
/// How long the file of a tunnel is kept that is not in the configuration.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// A file that was not put in its place after so long will not be.
const STALE: Duration = Duration::from_secs(3600);
/// Names of tunnels begin with a letter or a digit.
const ALIVE: &str = ".alive";

/// Which process wrote something, and when on its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    run: String,
    since_start_ms: u64,
}

/// The file of a tunnel.
#[derive(Serialize, Deserialize)]
struct Page<R> {
    version: u32,
    tunnel: TunnelName,
    stamp: Stamp,
    record: R,
}

/// What every version of that file has.
#[derive(Deserialize)]
struct AnyPage {
    version: u32,
}

/// The file that says until when a daemon was alive.
#[derive(Debug, Serialize, Deserialize)]
struct Alive {
    stamp: Stamp,
    at_unix_ms: u64,
}

/// What is in the place of a tunnel's file.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// What an earlier run has written, up to its end.
    Record(Box<Record>),
    /// Something else, and why it cannot be used.
    Bad(String),
}

/// The folder.
pub(super) struct Folder {
    path: PathBuf,
    /// Which process this is.
    run: String,
    /// The last sign of life of the run before.
    alive: Option<Alive>,
}

impl Folder {
    /// Makes it below the state directory, where it is not there yet, and throws away what nobody
    /// needs: `names` are the tunnels of the configuration.
    pub(super) fn open(
        state: &Path,
        run: String,
        names: &BTreeSet<TunnelName>,
    ) -> io::Result<Folder> {
        let path = state.join("history");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)?;
        tidy(&path, names)?;
        let alive = read(&path.join(ALIVE)).ok();
        Ok(Folder {
            alive: alive.and_then(|text| serde_json::from_slice(&text).ok()),
            path,
            run,
        })
    }

    /// What there is of a tunnel.
    pub(super) fn read(&self, name: &TunnelName) -> Found {
        let text = match read(&self.file(name)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            Err(e) => return Found::Bad(tunneld_ssh::error::os_reason(&e)),
        };
        match serde_json::from_slice(&text) {
            Ok(AnyPage { version: VERSION }) => {}
            Ok(AnyPage { version }) => return Found::Bad(format!("it is of version {version}")),
            Err(e) => return Found::Bad(e.to_string()),
        }
        let page: Page<Record> = match serde_json::from_slice(&text) {
            Ok(page) => page,
            Err(e) => return Found::Bad(e.to_string()),
        };
        if page.tunnel != *name {
            return Found::Bad(format!("it is of tunnel `{}`", page.tunnel));
        }
        let mut record = page.record;
        if !record.is_sound() {
            return Found::Bad("it has what tunneld does not write".to_owned());
        }
        if page.stamp.run != self.run {
            let (later, at) = self.end(&page.stamp, record.at_unix_ms());
            record.ended(later, at);
        }
        Found::Record(Box::new(record))
    }

    /// How long a daemon was alive after it had written something, and until when.
    fn end(&self, stamp: &Stamp, at_unix_ms: u64) -> (Duration, u64) {
        let alive = self.alive.as_ref().filter(|a| a.stamp.run == stamp.run);
        let later = |alive: &Alive| {
            let later = alive
                .stamp
                .since_start_ms
                .checked_sub(stamp.since_start_ms)?;
            Some((Duration::from_millis(later), alive.at_unix_ms))
        };
        alive
            .and_then(later)
            .unwrap_or((Duration::ZERO, at_unix_ms))
    }

    /// Puts a new file in the place of a tunnel's.
    pub(super) fn write(&self, name: &TunnelName, now: Moment, record: &Record) -> io::Result<()> {
        let text = self.page(name, now, record)?;
        self.put(&format!("{name}.json"), &text)
    }

    fn page(&self, name: &TunnelName, now: Moment, record: &Record) -> io::Result<Vec<u8>> {
        let text = |record: &Record| {
            serde_json::to_vec(&Page {
                version: VERSION,
                tunnel: name.clone(),
                stamp: self.stamp(now),
                record,
            })
        };
        let mut page = text(record)?;
        let mut shorter = record.clone();
        while page.len() as u64 > MAX_FILE && shorter.entries() > 0 {
            shorter.keep_last(shorter.entries() / 2);
            page = text(&shorter)?;
        }
        Ok(page)
    }

    /// Says that the daemon is alive.
    pub(super) fn write_alive(&self, now: Moment) -> io::Result<()> {
        let alive = Alive {
            stamp: self.stamp(now),
            at_unix_ms: now.unix_ms,
        };
        self.put(ALIVE, &serde_json::to_vec(&alive)?)
    }

    /// Makes room for a tunnel's file, and keeps what is there for whoever wants to look at it. Returns
    /// where it is now.
    pub(super) fn set_aside(&self, name: &TunnelName) -> io::Result<PathBuf> {
        let (file, aside) = (self.file(name), self.path.join(format!("{name}.json.bad")));
        if fs::rename(&file, &aside).is_err() {
            // A folder and a file do not replace each other.
            let _ = fs::remove_file(&aside).or_else(|_| fs::remove_dir(&aside));
            fs::rename(&file, &aside)?;
        }
        Ok(aside)
    }

    /// The path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &TunnelName) -> PathBuf {
        self.path.join(format!("{name}.json"))
    }

    fn stamp(&self, now: Moment) -> Stamp {
        Stamp {
            run: self.run.clone(),
            since_start_ms: millis(now.since_start),
        }
    }

    /// Writes a file beside its place, and then puts it there: whoever reads finds the old one or the
    /// new one, whole. The name has the run in it, so that two daemons do not write one file.
    fn put(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let new = self.path.join(format!(".{name}.{}.new", self.run));
        let written = write_new(&new, text).and_then(|()| fs::rename(&new, self.path.join(name)));
        if written.is_err() {
            // It takes the room that the next one needs.
            let _ = fs::remove_file(&new);
        }
        written
    }
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    // One that is left of a write that was cut off.
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text)?;
    // Else a machine that loses its power may find the new name, and nothing under it.
    file.sync_data()
}

/// A file of ours, whole. Anything but a file is refused, and a pipe is not waited for.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = Vec::new();
    Read::by_ref(&mut file)
        .take(MAX_FILE + 1)
        .read_to_end(&mut text)?;
    match text.len() as u64 > MAX_FILE {
        true => Err(io::Error::other("it is longer than 1 MiB")),
        false => Ok(text),
    }
}

/// Removes the files of tunnels that have not been in the configuration for long, and those of writes
/// that were cut off.
fn tidy(path: &Path, names: &BTreeSet<TunnelName>) -> io::Result<()> {
    let now = SystemTime::now();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else {
            continue;
        };
        let of_tunnel = file_name
            .strip_suffix(".json")
            .or_else(|| file_name.strip_suffix(".json.bad"));
        let kept = match of_tunnel.map(str::parse::<TunnelName>) {
            Some(Ok(name)) if !names.contains(&name) => KEPT,
            None if file_name.starts_with('.') && file_name.ends_with(".new") => STALE,
            _ => continue,
        };
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|at| now.duration_since(at).ok());
        if age.is_some_and(|age| age > kept) {
            // What cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
