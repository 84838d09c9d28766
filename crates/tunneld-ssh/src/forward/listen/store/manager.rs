//! What the service manager is told of stored sockets (sd_notify(3)).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// How long a service manager may take to have room for one more message.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the service manager listens.
#[derive(Debug, Clone)]
pub(super) struct Manager(SocketAddrUnix);

impl Manager {
    /// The one that has started this process (`NOTIFY_SOCKET`).
    pub(super) fn from_env() -> Option<Manager> {
        let place = std::env::var_os("NOTIFY_SOCKET")?;
        let address = match place.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
            path => SocketAddrUnix::new(path),
        };
        address.ok().map(Manager)
    }

    /// One that listens at `path`.
    #[cfg(test)]
    pub(super) fn at(path: &std::path::Path) -> Manager {
        Manager(SocketAddrUnix::new(path).unwrap())
    }

    /// Hands a copy of a socket over.
    pub(super) async fn keep(&self, name: &str, socket: BorrowedFd<'_>) -> io::Result<()> {
        let manager = UnixDatagram::from_std(StdDatagram::from(self.connect()?))?;
        let text = format!("FDSTORE=1\nFDNAME={name}\n");
        let send = || send(&manager, &text, &[socket]);
        // Many sockets at a time are more than it takes at once.
        let sent = manager.async_io(Interest::WRITABLE, send);
        tokio::time::timeout(PATIENCE, sent).await?
    }

    /// Has it let go of what is called `name`; now or not at all.
    pub(super) fn forget(&self, name: &str) -> io::Result<()> {
        let text = format!("FDSTOREREMOVE=1\nFDNAME={name}\n");
        send(self.connect()?, &text, &[])
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (unix, datagrams) = (AddressFamily::UNIX, SocketType::DGRAM);
        let socket = rustix::net::socket_with(unix, datagrams, flags, None)?;
        rustix::net::connect(&socket, &self.0)?;
        Ok(socket)
    }
}

/// One message, with all that goes with it.
fn send(to: impl std::os::fd::AsFd, text: &str, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let parts = [IoSlice::new(text.as_bytes())];
    // A datagram goes as a whole.
    rustix::net::sendmsg(to, &parts, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
