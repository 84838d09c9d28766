//! Listening places: putting them in place, and accepting without end.
//!
//! - [`tcp`]: ports; who holds one that is busy
//! - [`unix`]: sockets in the file system; what is live there, what is left over
//! - [`passed`]: sockets that the service manager made
//! - [`store`]: sockets that it keeps for the next process

mod passed;
mod store;
mod tcp;
mod unix;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio_util::task::AbortOnDropHandle;
use tunneld_core::config::Listen;
use tunneld_core::failure::{Failure, Stage};

pub use passed::{LeaveOnPanic, Passed, Taken};
pub use store::Keeping;
pub use tcp::listen_tcp;

use super::Peer;
use crate::descriptors::{self, Room};
use crate::error::os_reason;
use crate::wire::Wire;

/// How many clients may wait to be accepted; the system's own limit (net.core.somaxconn) applies.
const BACKLOG: i32 = 4096;
/// How often it is looked whether the file of a socket is there.
pub(crate) const LOOK: Duration = Duration::from_secs(30);

/// The sockets of one listening place.
pub(crate) struct Listeners {
    /// Before the sockets: a file goes while its socket still holds the inode, which therefore
    /// cannot be that of another file by then.
    file: Option<unix::SocketFile>,
    sockets: Vec<Socket>,
    /// Where the next look begins, so that no socket starves another.
    next: usize,
}

/// One socket that listens.
struct Socket {
    listener: Listener,
    /// Whether the service manager keeps it, too.
    keeping: Keeping,
}

enum Listener {
    Tcp(Arc<TcpListener>),
    Unix(Arc<UnixListener>),
}

impl Listeners {
    /// Puts a listening place in place.
    pub(crate) async fn bind(listen: &Listen, passed: &Passed) -> Result<Listeners, Failure> {
        let (sockets, file) = match listen {
            Listen::Tcp(place) => (tcp::bind(place, passed.store()).await?, None),
            Listen::Unix(place) => {
                let (socket, file) = unix::bind(place, passed.store()).await?;
                (vec![socket], Some(file))
            }
            Listen::Fd(name) => (passed.listeners(name)?, None),
        };
        let listeners = Listeners {
            file,
            sockets,
            next: 0,
        };
        match listeners.are_too_many() {
            true => {
                let reason = os_reason(&descriptors::no_room());
                let cause = format!("cannot listen on {listen}: {reason}");
                Err(Failure::transient(Stage::Forward, cause))
            }
            false => Ok(listeners),
        }
    }

    /// Whether they have taken the last descriptors, which are for sessions and commands.
    fn are_too_many(&self) -> bool {
        let mut sockets = self.sockets.iter();
        let over = |s: &Socket| descriptors::room_beside(s.listener.as_fd()) == Room::Over;
        sockets.any(over)
    }

    /// Ends once the file of the socket is not where clients look for it, if that is a file of ours.
    /// First looked `after` so long.
    pub(crate) fn gone(&self, after: Duration) -> Option<AbortOnDropHandle<()>> {
        let gone = unix::gone(self.file.as_ref()?, after, LOOK);
        Some(AbortOnDropHandle::new(tokio::spawn(gone)))
    }

    /// The next client. Can be dropped and called again without losing one.
    pub(crate) async fn accept(&mut self) -> io::Result<(Wire, Peer)> {
        let count = self.sockets.len();
        let first = self.next;
        let (at, accepted) = std::future::poll_fn(|cx| {
            let sockets = self.sockets.iter_mut();
            sockets.for_each(|socket| socket.keeping.poll(cx));
            for (at, socket) in self
                .sockets
                .iter()
                .enumerate()
                .cycle()
                .skip(first)
                .take(count)
            {
                if let Poll::Ready(accepted) = socket.listener.poll_accept(cx) {
                    return Poll::Ready((at, accepted));
                }
            }
            Poll::Pending
        })
        .await;
        self.next = (at + 1) % count;
        accepted
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        // A client that comes during a restart has to find the file.
        if let Some(file) = self
            .file
            .take_if(|_| self.sockets.iter().all(Socket::stays))
        {
            file.leave();
        }
    }
}

impl Socket {
    /// Whether clients may still come when this is dropped: they wait for the next process.
    fn stays(&self) -> bool {
        self.keeping.stays()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Not only closed: until the service manager lets go of its copy, a socket would take clients
        // that nobody serves, and hold the place against another forward.
        self.keeping.forget(self.listener.as_fd());
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Listener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Wire, Peer)>> {
        match self {
            Listener::Tcp(listener) => listener
                .poll_accept(cx)
                .map_ok(|(socket, address)| (socket.into(), Peer::Tcp(address))),
            Listener::Unix(listener) => listener
                .poll_accept(cx)
                .map_ok(|(socket, _)| (socket.into(), Peer::Unix)),
        }
    }
}

/// What a process is called, as far as /proc lets us see: `postgres (pid 812)`.
fn called(pid: i32) -> String {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
    let name = stat.map(|stat| stat.comm + " ").unwrap_or_default();
    format!("{name}(pid {pid})")
}
