//! The descriptor store of the service manager (sd_notify(3), `FDSTORE=1`): listening sockets that
//! outlive the process, so that clients that come during a restart wait and are not refused.
//!
//! The service manager is given a copy of each socket when it is made, and passes all of them to the
//! next process, beside those of `.socket` units. A forward that goes for good takes its socket out.
//! Without a service manager, or with one that keeps nothing, all is as if there were no store.
//!
//! - [`manager`]: what the service manager is told
//! - [`name`]: how a socket is called meanwhile

mod manager;
mod name;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{AddressFamily, Shutdown, sockopt};

use super::passed;
use super::unix::Id;
use manager::Manager;
use name::Named;

pub use name::folders_of_kept;
pub(super) use name::is_ours;

/// The sockets that the service manager keeps.
#[derive(Debug, Clone, Default)]
pub(super) struct Store(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Who keeps them; `None`: nobody.
    manager: Option<Manager>,
    /// Those of an earlier run that no forward has taken yet.
    waiting: Mutex<Vec<(Place, Found)>>,
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
pub struct Kept {
    store: Store,
    name: String,
}

impl Kept {
    /// Whether the socket stays when this is dropped.
    pub(super) fn stays(&self) -> bool {
        self.store.0.ends.load(Ordering::Relaxed)
    }

    /// Has it let go of the socket, which does not listen any more whoever has a copy.
    pub(super) fn forget(self, socket: BorrowedFd<'_>) {
        // First: once the place is free, another socket may be kept under the same name.
        drop(self);
        // What does not listen is as good.
        let _ = rustix::net::shutdown(socket, Shutdown::Both);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let manager = self.store.0.manager.as_ref().filter(|_| !self.stays());
        if let Some(Err(e)) = manager.map(|manager| manager.forget(&self.name)) {
            tracing::debug!("the service manager keeps {}: {e}", self.name);
        }
    }
}

/// The files of sockets that nothing listens on any more.
pub(super) type LeftFiles = Vec<(PathBuf, Id)>;

impl Store {
    /// The store of the service manager of this process, with what it has kept for it. Of that, only
    /// what is for one of the `wanted` places waits for its forward; the rest is let go.
    pub(super) fn of_process(
        kept: impl IntoIterator<Item = (String, OwnedFd)>,
        wanted: &[Place],
    ) -> (Store, LeftFiles) {
        Self::new(Manager::from_env(), kept, wanted)
    }

    fn new(
        manager: Option<Manager>,
        kept: impl IntoIterator<Item = (String, OwnedFd)>,
        wanted: &[Place],
    ) -> (Store, LeftFiles) {
        let store = Store(Arc::new(Inner {
            manager,
            ..Inner::default()
        }));
        let (mut waiting, mut files) = (Vec::new(), Vec::new());
        for (name, socket) in kept {
            let place = place(&name, &socket);
            let file = match name::parse(&name) {
                Some(Named::Unix { file, .. }) => Some(file),
                _ => None,
            };
            let store = store.clone();
            let kept = Kept { store, name };
            let found = Found { socket, file, kept };
            match place {
                Ok(place) if wanted.contains(&place) => waiting.push((place, found)),
                Ok(place) => {
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

    /// Has the service manager keep a socket that listens on a port.
    pub(super) async fn keep_tcp(&self, address: SocketAddr, socket: &impl AsFd) -> Option<Kept> {
        self.keep(name::tcp(address), socket).await
    }

    /// Has the service manager keep a socket whose file is at `path`.
    pub(super) async fn keep_unix(
        &self,
        path: &Path,
        file: Id,
        socket: &impl AsFd,
    ) -> Option<Kept> {
        self.keep(name::unix(path, file), socket).await
    }

    async fn keep(&self, name: Option<String>, socket: &impl AsFd) -> Option<Kept> {
        let manager = self.0.manager.as_ref()?;
        let kept = match &name {
            Some(name) => manager.keep(name, socket.as_fd()).await,
            None => Err(io::Error::other("its path is too long for a name")),
        };
        match (kept, name) {
            (Ok(()), Some(name)) => Some(Kept {
                store: self.clone(),
                name,
            }),
            (Err(e), name) => {
                let name = name.unwrap_or_default();
                tracing::debug!("the service manager does not keep a socket: {e} {name}");
                None
            }
            (Ok(()), None) => None,
        }
    }

    /// From now on what is kept stays, whoever drops it: the process ends.
    pub(super) fn end(&self) {
        self.0.ends.store(true, Ordering::Relaxed);
    }
}

/// Where a stored socket listens, or why it is none of ours that could be used.
fn place(name: &str, socket: &OwnedFd) -> Result<Place, String> {
    let named = name::parse(name).ok_or("of another version")?;
    let family = passed::kind(name, socket).map_err(|failure| failure.cause)?;
    let no = |e: rustix::io::Errno| io::Error::from(e).to_string();
    match (named, family) {
        (Named::Unix { path, .. }, AddressFamily::UNIX) => Ok(Place::Unix(path)),
        (Named::Tcp, AddressFamily::INET | AddressFamily::INET6) => {
            let address = rustix::net::getsockname(socket).map_err(no)?;
            let address = SocketAddr::try_from(address).map_err(no)?;
            let only_v6 = address.is_ipv6() && sockopt::ipv6_v6only(socket).map_err(no)?;
            Ok(Place::Tcp { address, only_v6 })
        }
        _ => Err("it is not what its name says".to_owned()),
    }
}

#[cfg(test)]
mod tests;
