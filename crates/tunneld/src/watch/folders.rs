//! Folders in which something may happen: inotify(7).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tunneld_core::text::shell_word;
use tunneld_ssh::calling;
use tunneld_ssh::error::os_reason;

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

/// Why nothing, or not all, can be watched.
#[derive(Debug)]
pub(super) struct Problem {
    /// The folder that cannot; `None` where none can.
    folder: Option<PathBuf>,
    e: io::Error,
}

impl Problem {
    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        let reload = calling::ours().command(&["reload"]);
        let again = format!("`{reload}` applies changes, and tries to watch again");
        let errno = self.e.raw_os_error().map(Errno::from_raw_os_error);
        match (errno, &self.folder) {
            (Some(Errno::ACCESS), Some(folder)) => {
                let folder = shell_word(&folder.display().to_string());
                format!("inotify(7) needs to read the folder: chmod g+rx {folder}; {again}")
            }
            (Some(Errno::MFILE | Errno::NFILE | Errno::NOSPC), _) => {
                format!("{again}; what the system allows is in fs.inotify (sysctl)")
            }
            _ => again,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(folder) = &self.folder {
            write!(f, "{}: ", folder.display())?;
        }
        f.write_str(&os_reason(&self.e))
    }
}

impl From<io::Error> for Problem {
    fn from(e: io::Error) -> Self {
        Problem { folder: None, e }
    }
}

/// The folders that are watched.
pub(super) struct Folders {
    inotify: AsyncFd<OwnedFd>,
    /// What the system calls each of them.
    watched: HashMap<PathBuf, i32>,
    /// Those that may not be read, so that each is told once.
    denied: HashSet<PathBuf>,
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
            denied: HashSet::new(),
        })
    }

    /// Watches these and no others. Returns whether any of them was not watched before: also one of
    /// the same name, in place of another. One that may not be read goes to `tell`, once, and does not
    /// keep the others from being watched.
    pub(super) fn set(
        &mut self,
        wanted: HashSet<PathBuf>,
        tell: impl Fn(&Problem),
    ) -> Result<bool, Problem> {
        let mut now = HashMap::with_capacity(wanted.len());
        let mut denied = HashSet::new();
        for path in wanted {
            match inotify::add_watch(&self.inotify, &path, WANTED) {
                Ok(id) => {
                    now.insert(path, id);
                }
                // It is gone since: that happened in a folder that is watched.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(e) => {
                    let problem = Problem {
                        folder: Some(path.clone()),
                        e: e.into(),
                    };
                    if e != Errno::ACCESS {
                        return Err(problem);
                    }
                    if !self.denied.contains(&path) {
                        tell(&problem);
                    }
                    denied.insert(path);
                }
            }
        }
        self.denied = denied;
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
