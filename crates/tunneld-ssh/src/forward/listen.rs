//! Listening places: putting them in place, and accepting without end.
//!
//! - [`tcp`]: ports; who holds one that is busy
//! - [`unix`]: sockets in the file system; what is live there, what is left over
//! - [`passed`]: sockets that the service manager made

mod passed;
mod tcp;
mod unix;

use std::io;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, UnixListener};
use tunneld_core::config::Listen;
use tunneld_core::failure::Failure;

pub use passed::Passed;
pub use tcp::listen_tcp;

use super::Peer;
use crate::wire::Wire;

/// How many clients may wait to be accepted; the system's own limit (net.core.somaxconn) applies.
const BACKLOG: i32 = 4096;

/// The sockets of one listening place.
pub(crate) struct Listeners {
    /// Before the sockets: a file goes while its socket still holds the inode, which therefore
    /// cannot be that of another file by then.
    _file: Option<unix::SocketFile>,
    sockets: Vec<Listener>,
    /// Where the next look begins, so that no socket starves another.
    next: usize,
}

/// One socket that listens.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listeners {
    /// Puts a listening place in place.
    pub(crate) async fn bind(listen: &Listen, passed: &Passed) -> Result<Listeners, Failure> {
        let (sockets, file) = match listen {
            Listen::Tcp(place) => (tcp::bind(place).await?, None),
            Listen::Unix(place) => {
                let (socket, file) = unix::bind(place).await?;
                (vec![socket], Some(file))
            }
            Listen::Fd(name) => (passed.listeners(name)?, None),
        };
        Ok(Listeners {
            _file: file,
            sockets,
            next: 0,
        })
    }

    /// The next client. Can be dropped and called again without losing one.
    pub(crate) async fn accept(&mut self) -> io::Result<(Wire, Peer)> {
        let count = self.sockets.len();
        let first = self.next;
        let (at, accepted) = std::future::poll_fn(|cx| {
            for (at, socket) in self
                .sockets
                .iter()
                .enumerate()
                .cycle()
                .skip(first)
                .take(count)
            {
                if let Poll::Ready(accepted) = socket.poll_accept(cx) {
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
