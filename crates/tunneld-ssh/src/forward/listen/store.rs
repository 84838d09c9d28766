//! The descriptor store of the service manager (sd_notify(3), `FDSTORE=1`): listening sockets that
//! outlive the process, so that clients that come during a restart wait and are not refused.
//!
//! The service manager is given a copy of each socket when it is made, and passes all of them to the
//! next process, beside those of `.socket` units. A forward that goes for good takes its socket out.
//! Without a service manager, or with one that keeps nothing, all is as if there were no store.
//!
//! - [`keeping`]: a socket, from when it is made until its forward goes
//! - [`name`]: how it is called meanwhile

mod keeping;
mod name;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{AddressFamily, Shutdown, sockopt};
use tunneld_core::events;

use super::passed;
use super::unix::Id;
use crate::error::os_reason;
use crate::manager::{Manager, is_gone};
use name::Named;

pub use keeping::Keeping;
pub(super) use name::{folder, is_ours};

/// What all names may take together: the next process gets them in one variable of its environment,
/// of which execve(2) lets none be longer than 128 KiB. With more it could not be started at all.
const NAMES: usize = 96 << 10;

/// The sockets that the service manager keeps.
#[derive(Debug, Clone, Default)]
pub(super) struct Store(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Who keeps them; `None`: nobody.
    manager: Option<Arc<Manager>>,
    /// Those of an earlier run that no forward has taken yet.
    waiting: Mutex<Vec<(Place, Found)>>,
    /// What the names of all that is kept take, of what `.socket` units pass, too.
    names: AtomicUsize,
    /// It was told that a socket is not kept.
    told: AtomicBool,
    /// The process ends, and what is kept stays for the next.
    ends: AtomicBool,
}

/// Where a socket listens, to the last bit: what a stored one has to be to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A port; on `[::]` with or without the addresses of IPv4.
    Tcp { address: SocketAddr, only_v6: bool },
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// A socket of an earlier run.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) socket: OwnedFd,
    /// The file that it has, or had.
    pub(super) file: Option<Id>,
    pub(super) kept: Kept,
}

impl Found {
    /// It is of no use. Clients are refused from now on, and not when the service manager comes to
    /// it; that its port is free is seen by the next socket, too.
    pub(super) fn let_go(self, reason: &str) {
        tracing::debug!("socket {} of an earlier run: {reason}", self.kept.name);
        self.kept.forget(self.socket.as_fd());
    }
}

/// That the service manager has a copy of a socket. Dropped, it is told to let go of it, unless the
/// process ends.
#[derive(Debug)]
pub(super) struct Kept {
    name: String,
    share: Share,
}

/// What a name takes of [`NAMES`], until this is dropped.
#[derive(Debug)]
struct Share {
    store: Store,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.store.0.names.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Kept {
    /// Whether the socket stays when this is dropped.
    fn stays(&self) -> bool {
        self.share.store.0.ends.load(Ordering::Relaxed)
    }

    /// Has it let go of the socket, which does not listen any more whoever has a copy; unless the
    /// process ends.
    pub(super) fn forget(self, socket: BorrowedFd<'_>) {
        if self.stays() {
            return;
        }
        // First: once the place is free, another socket may be kept under the same name.
        drop(self);
        // What does not listen is as good.
        let _ = rustix::net::shutdown(socket, Shutdown::Both);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let manager = &self.share.store.0.manager;
        let Some(manager) = manager.as_ref().filter(|_| !self.stays()) else {
            return;
        };
        // Now or not at all.
        if let Err(e) = manager.send(&forget(&self.name)) {
            tracing::debug!("the service manager keeps {}: {e}", self.name);
        }
    }
}

fn forget(name: &str) -> String {
    format!("FDSTOREREMOVE=1\nFDNAME={name}\n")
}

/// The files of sockets that nothing listens on any more.
pub(super) type LeftFiles = Vec<(PathBuf, Id)>;

impl Store {
    /// The store of the service manager of this process, with what it has kept for it. Of that, only
    /// what is for one of the `wanted` places waits for its forward; the rest is let go. `others` are
    /// the names of what it passes besides.
    pub(super) fn of_process<'a>(
        kept: impl IntoIterator<Item = (String, OwnedFd)>,
        wanted: &[Place],
        others: impl IntoIterator<Item = &'a str>,
    ) -> (Store, LeftFiles) {
        let (store, files) = Self::new(Manager::of_process(), kept, wanted);
        let others = others.into_iter().map(bytes).sum();
        store.0.names.fetch_add(others, Ordering::Relaxed);
        (store, files)
    }

    fn new(
        manager: Option<Arc<Manager>>,
        kept: impl IntoIterator<Item = (String, OwnedFd)>,
        wanted: &[Place],
    ) -> (Store, LeftFiles) {
        let store = Store(Arc::new(Inner {
            manager,
            ..Inner::default()
        }));
        let (mut waiting, mut files) = (Vec::new(), Vec::new());
        for (name, socket) in kept {
            let at = place(&name, &socket);
            let share = store.share(bytes(&name));
            let kept = Kept { name, share };
            let file = at.as_ref().ok().and_then(|(_, file)| *file);
            let found = Found { socket, file, kept };
            match at {
                Ok((place, _)) if wanted.contains(&place) => waiting.push((place, found)),
                Ok((place, _)) => {
                    found.let_go("nothing in the file listens there");
                    if let (Place::Unix(path), Some(file)) = (place, file) {
                        files.push((path, file));
                    }
                }
                Err(reason) => found.let_go(&reason),
            }
        }
        *store.waiting() = waiting;
        (store, files)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<(Place, Found)>> {
        let waiting = &self.0.waiting;
        waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket of an earlier run that listens there, if there is one; only once.
    pub(super) fn take(&self, place: &Place) -> Option<Found> {
        let mut waiting = self.waiting();
        let at = waiting.iter().position(|(there, _)| there == place)?;
        Some(waiting.swap_remove(at).1)
    }

    /// The forward for those that wait there will not take them: clients are not to wait in vain.
    pub(super) fn let_go(&self, places: &[Place]) -> LeftFiles {
        let mut files = Vec::new();
        for place in places {
            let Some(found) = self.take(place) else {
                continue;
            };
            if let (Place::Unix(path), Some(file), false) = (place, found.file, found.kept.stays())
            {
                files.push((path.clone(), file));
            }
            found.let_go("its forward does not take it");
        }
        files
    }

    /// What a name takes that is there in any case.
    fn share(&self, bytes: usize) -> Share {
        self.0.names.fetch_add(bytes, Ordering::Relaxed);
        let store = self.clone();
        Share { store, bytes }
    }

    /// What one more name takes, if it may.
    fn share_if_room(&self, bytes: usize) -> Option<Share> {
        let share = self.share(bytes);
        (self.0.names.load(Ordering::Relaxed) <= NAMES).then_some(share)
    }

    /// Tells that once: of many sockets, the reason is mostly the same.
    fn not_kept(&self, e: &io::Error) {
        if is_gone(e) || self.0.told.swap(true, Ordering::Relaxed) {
            tracing::debug!("the service manager does not keep a socket: {e}");
            return;
        }
        tracing::warn!(
            message_id = events::SOCKETS_NOT_KEPT,
            "not all sockets are kept over a restart: {}",
            os_reason(e)
        );
    }

    /// From now on what is kept stays, whoever drops it: the process ends.
    pub(super) fn end(&self) {
        self.0.ends.store(true, Ordering::Relaxed);
    }
}

/// What a name takes in the variable, with the colon after it.
fn bytes(name: &str) -> usize {
    name.len() + 1
}

/// Where a stored socket listens, with the file that it has; or why it is none of ours that could be
/// used.
fn place(name: &str, socket: &OwnedFd) -> Result<(Place, Option<Id>), String> {
    let named = name::parse(name).ok_or("of another version")?;
    let family = passed::kind(name, socket).map_err(|failure| failure.cause)?;
    let no = |e: rustix::io::Errno| io::Error::from(e).to_string();
    match (named, family) {
        (Named::Unix { path, file }, AddressFamily::UNIX) => Ok((Place::Unix(path), Some(file))),
        (Named::Tcp, AddressFamily::INET | AddressFamily::INET6) => {
            let address = rustix::net::getsockname(socket).map_err(no)?;
            let address = SocketAddr::try_from(address).map_err(no)?;
            let only_v6 = address.is_ipv6() && sockopt::ipv6_v6only(socket).map_err(no)?;
            Ok((Place::Tcp { address, only_v6 }, None))
        }
        _ => Err("it is not what its name says".to_owned()),
    }
}

#[cfg(test)]
mod tests;
