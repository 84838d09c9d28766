//! A connected stream socket: TCP or unix.
//!
//! Sessions and clients come over both. What only TCP has (delayed acknowledgements, resets, a
//! timeout for what is not acknowledged) does nothing on a unix socket.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// A connected stream socket.
#[derive(Debug)]
pub(crate) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpStream> for Wire {
    fn from(socket: TcpStream) -> Self {
        Wire::Tcp(socket)
    }
}

impl From<UnixStream> for Wire {
    fn from(socket: UnixStream) -> Self {
        Wire::Unix(socket)
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Wire::Tcp(socket) => socket.as_fd(),
            Wire::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Wire {
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Wire::Tcp(socket) => socket.readable().await,
            Wire::Unix(socket) => socket.readable().await,
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Wire::Tcp(socket) => socket.writable().await,
            Wire::Unix(socket) => socket.writable().await,
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Tcp(socket) => socket.poll_read_ready(cx),
            Wire::Unix(socket) => socket.poll_read_ready(cx),
        }
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Tcp(socket) => socket.poll_write_ready(cx),
            Wire::Unix(socket) => socket.poll_write_ready(cx),
        }
    }

    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Wire::Tcp(socket) => socket.try_write_vectored(pieces),
            Wire::Unix(socket) => socket.try_write_vectored(pieces),
        }
    }

    /// Reads with `read` from a socket that is ready. A read that gets less than it has room for
    /// has emptied the socket (epoll(7)): tokio is told at once, which spares the read that would
    /// find nothing.
    pub(crate) fn read_ready(
        &self,
        room: usize,
        read: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        let mut part = None;
        let fd = self.as_fd();
        let once = || match read(fd)? {
            n if n == 0 || n == room => Ok(n),
            n => {
                part = Some(n);
                Err(io::ErrorKind::WouldBlock.into())
            }
        };
        let done = match self {
            Wire::Tcp(socket) => socket.try_io(Interest::READABLE, once),
            Wire::Unix(socket) => socket.try_io(Interest::READABLE, once),
        };
        part.map_or(done, Ok)
    }

    /// Latency over throughput, as ssh does.
    pub(crate) fn set_nodelay(&self) {
        if let Wire::Tcp(socket) = self {
            // A socket that refuses still works.
            let _ = socket.set_nodelay(true);
        }
    }

    /// Has what was read acknowledged at once (TCP_QUICKACK, tcp(7)).
    pub(crate) fn acknowledge_now(&self) {
        if let Wire::Tcp(socket) = self {
            // Only for latency: a kernel that refuses it still works.
            let _ = SockRef::from(socket).set_tcp_quickack(true);
        }
    }

    /// After how long without an acknowledgement the kernel gives the connection up
    /// (TCP_USER_TIMEOUT, tcp(7)).
    pub(crate) fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Wire::Tcp(socket) => SockRef::from(socket).set_tcp_user_timeout(timeout),
            Wire::Unix(_) => Ok(()),
        }
    }

    /// Makes every end of a socket a reset that is not known to be a good one, a panic of ours
    /// included: a client must not take the loss of data for an end of file. A unix socket cannot
    /// be reset.
    pub(crate) fn reset_unless_finished(&self) {
        self.set_linger(Some(Duration::ZERO));
    }

    /// The end of this socket is a good one.
    pub(crate) fn finished(&self) {
        self.set_linger(None);
    }

    fn set_linger(&self, linger: Option<Duration>) {
        if let Wire::Tcp(socket) = self {
            // A socket that refuses is one that is gone.
            let _ = SockRef::from(socket).set_linger(linger);
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        // A socket that refuses is one that is gone.
        let _ = match self {
            Wire::Tcp(socket) => SockRef::from(socket).shutdown(how),
            Wire::Unix(socket) => SockRef::from(socket).shutdown(how),
        };
    }

    /// How many bytes the kernel holds that were not read.
    pub(crate) fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(self).unwrap_or(0)
    }
}
