//! Folders in which something may happen: inotify(7).

use std::collections::{HashMap, HashSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// What happens to a file that is written, renamed, linked, removed, or that others may read now; and
/// to the folder itself. Not each write: a file that is being written is not done.
const WANTED: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// The folders that are watched.
pub(super) struct Folders {
    inotify: AsyncFd<OwnedFd>,
    /// What the system calls each of them.
    watched: HashMap<PathBuf, i32>,
}

impl Folders {
    #[expect(
        deprecated,
        reason = "what follows it is unsafe; the descriptor of an OwnedFd stays the same and open"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Folders {
            inotify: AsyncFd::new(inotify)?,
            watched: HashMap::new(),
        })
    }

    /// Watches these and no others. Returns whether any of them was not watched before: also one of
    /// the same name, in place of another.
    pub(super) fn set(&mut self, wanted: HashSet<PathBuf>) -> io::Result<bool> {
        let mut now = HashMap::with_capacity(wanted.len());
        for path in wanted {
            match inotify::add_watch(&self.inotify, &path, WANTED) {
                Ok(id) => {
                    now.insert(path, id);
                }
                // It is gone since: that happened in a folder that is watched.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let kept: HashSet<i32> = now.values().copied().collect();
        for id in self.watched.values().filter(|id| !kept.contains(id)) {
            // One that is gone is not watched any more.
            let _ = inotify::remove_watch(&self.inotify, *id);
        }
        let new = now
            .iter()
            .any(|(path, id)| self.watched.get(path) != Some(id));
        self.watched = now;
        Ok(new)
    }

    /// Returns when something has happened.
    pub(super) async fn happened(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = Reader::new(ready.get_inner(), &mut buffer);
            let mut any = false;
            loop {
                match events.next() {
                    // That it is not watched any more is our own doing, or follows what happened.
                    Ok(event) => any |= event.events() != inotify::ReadFlags::IGNORED,
                    Err(Errno::WOULDBLOCK) => break,
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            ready.clear_ready();
            if any {
                return Ok(());
            }
        }
    }
}
