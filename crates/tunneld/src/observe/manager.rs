//! The socket of the service manager, sd_notify(3): one datagram a message.
//!
//! A manager that does not read its socket, because it hangs or starts anew, would hold up whoever
//! sends: nobody here waits for longer than is said.

use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// Sends one message, and does not wait. Returns whether that is done: not so where the manager does not
/// read, and the same message is worth another try later. Without a manager there is nothing to do, and
/// one that is not there is no reason to fail.
pub(super) fn send(states: &[NotifyState<'_>]) -> bool {
    give(states, None)
}

/// The same for what cannot be sent later; waits for so long.
pub(super) fn send_within(patience: Duration, states: &[NotifyState<'_>]) {
    give(states, Some(patience));
}

fn give(states: &[NotifyState<'_>], patience: Option<Duration>) -> bool {
    let Err(e) = try_give(states, patience) else {
        return true;
    };
    tracing::debug!("sd_notify: {e}");
    e.kind() != io::ErrorKind::WouldBlock
}

fn try_give(states: &[NotifyState<'_>], patience: Option<Duration>) -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&name)?,
    };
    let socket = UnixDatagram::unbound()?;
    match patience {
        // Of a datagram that waits for its receiver's queue, too: SO_SNDTIMEO, socket(7).
        Some(_) => socket.set_write_timeout(patience)?,
        None => socket.set_nonblocking(true)?,
    }
    let mut message = String::new();
    for state in states {
        // Writing to a string does not fail.
        let _ = writeln!(message, "{state}");
    }
    socket.connect_addr(&address)?;
    socket.send(message.as_bytes()).map(drop)
}
