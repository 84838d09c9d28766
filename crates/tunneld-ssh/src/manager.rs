//! The socket of the service manager (sd_notify(3)): one datagram a message.
//!
//! It is made once, at the start: where the process has no descriptor left, the watchdog is fed
//! nevertheless. A manager that does not read its socket, because it hangs or starts anew, would hold
//! up whoever sends: nobody here waits for longer than is said.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

/// When what it had no room for is tried again, by those that wait.
const AGAIN: Duration = Duration::from_millis(5);

/// A service manager that listens somewhere.
#[derive(Debug)]
pub struct Manager {
    socket: OwnedFd,
    address: SocketAddrUnix,
}

impl Manager {
    /// The one that has started this process (`NOTIFY_SOCKET`), if there is one. Asked first at the
    /// start of the process, while there are descriptors.
    pub fn of_process() -> Option<Arc<Manager>> {
        static MANAGER: OnceLock<Option<Arc<Manager>>> = OnceLock::new();
        let made = || {
            let place = std::env::var_os("NOTIFY_SOCKET").filter(|place| !place.is_empty())?;
            match Manager::at(place.as_bytes()) {
                Ok(manager) => Some(Arc::new(manager)),
                Err(e) => {
                    tracing::debug!("sd_notify: {e}");
                    None
                }
            }
        };
        MANAGER.get_or_init(made).clone()
    }

    /// One that listens at a path, or at an abstract name after an `@`.
    ///
    /// # Errors
    ///
    /// The place is too long for an address, or there is no descriptor for a socket.
    pub fn at(place: &[u8]) -> io::Result<Manager> {
        let address = match place {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            path => SocketAddrUnix::new(path)?,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (unix, datagrams) = (AddressFamily::UNIX, SocketType::DGRAM);
        let socket = rustix::net::socket_with(unix, datagrams, flags, None)?;
        Ok(Manager { socket, address })
    }

    /// Sends one message, and does not wait.
    ///
    /// # Errors
    ///
    /// It has no room ([`io::ErrorKind::WouldBlock`]), or is not there ([`is_gone`]).
    pub fn send(&self, text: &str) -> io::Result<()> {
        self.send_with(text, &[])
    }

    /// Sends one message with copies of descriptors, and waits for room for at most so long.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_within(
        &self,
        patience: Duration,
        text: &str,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            match self.send_with(text, descriptors) {
                Err(e) if is_worth_waiting(&e) && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(AGAIN).await;
                }
                done => return done,
            }
        }
    }

    fn send_with(&self, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let parts = [IoSlice::new(text.as_bytes())];
        // A datagram goes as a whole.
        let (to, flags) = (&self.address, SendFlags::NOSIGNAL);
        rustix::net::sendmsg_addr(&self.socket, to, &parts, &mut control, flags)?;
        Ok(())
    }
}

fn is_worth_waiting(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Whether nobody listens there: there is nothing to tell, and nothing to try again.
pub fn is_gone(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// A manager that does not read what is sent to it, in a folder of its own.
    fn deaf() -> (tempfile::TempDir, UnixDatagram, Manager) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::at(path.as_os_str().as_bytes()).unwrap();
        (folder, socket, manager)
    }

    fn fill(manager: &Manager) -> io::Error {
        loop {
            if let Err(e) = manager.send("WATCHDOG=1\n") {
                return e;
            }
        }
    }

    #[tokio::test]
    async fn one_that_does_not_read_is_waited_for_only_as_long_as_is_said() {
        let (_folder, socket, manager) = deaf();
        let full = fill(&manager);
        assert!(is_worth_waiting(&full) && !is_gone(&full), "{full}");
        let short = manager.send_within(Duration::from_millis(20), "READY=1\n", &[]);
        assert!(is_worth_waiting(&short.await.unwrap_err()));
        // And as soon as it reads, there is room.
        let long = manager.send_within(Duration::from_secs(60), "READY=1\n", &[]);
        let reads = async { socket.recv(&mut [0; 64]).unwrap() };
        assert!(tokio::join!(long, reads).0.is_ok());
    }

    #[test]
    fn one_that_is_gone_is_known_as_such_and_one_that_is_back_is_reached() {
        let (folder, socket, manager) = deaf();
        let path = folder.path().join("notify");
        drop(socket);
        assert!(is_gone(&manager.send("WATCHDOG=1\n").unwrap_err()));
        std::fs::remove_file(&path).unwrap();
        assert!(is_gone(&manager.send("WATCHDOG=1\n").unwrap_err()));
        let back = UnixDatagram::bind(&path).unwrap();
        manager.send("WATCHDOG=1\n").unwrap();
        assert_eq!(back.recv(&mut [0; 64]).unwrap(), 11);
    }
}
