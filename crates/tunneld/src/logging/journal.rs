//! Native entries for systemd-journald(8).
//!
//! As <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/> says: one datagram an entry, or a sealed memfd
//! where that is too large. Not by a library: the ones there are tell where in the source a line
//! comes from, which is nobody's business and changes with each version, and wait for a journal that
//! does not read for as long as that takes.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr, sendto,
};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tunneld_core::events;

use super::patience::Patience;
use super::{TUNNEL, lost};

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The field with the text of a line, and the only one that is shown.
const MESSAGE: &str = "message";

/// Writes each event as an entry. A journal that is started anew is found again: each entry is sent
/// to its place.
pub(super) struct Journal {
    socket: UnixDatagram,
    address: SocketAddrUnix,
    /// Who has it waits for the journal, and nobody beside it.
    waiting: Mutex<Patience>,
    /// How many it has not taken since it last took one.
    lost: AtomicU64,
}

impl Journal {
    /// Finds the journal of this machine.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn connect() -> io::Result<Self> {
        Journal::at(SOCKET.as_ref())
    }

    /// The journal of this machine, which may come later.
    ///
    /// # Errors
    /// No socket can be made.
    pub(super) fn awaited() -> io::Result<Self> {
        Journal::to(SOCKET.as_ref())
    }

    fn to(place: &Path) -> io::Result<Self> {
        Ok(Journal {
            socket: UnixDatagram::unbound()?,
            address: SocketAddrUnix::new(place)?,
            waiting: Mutex::new(Patience::new()),
            lost: AtomicU64::new(0),
        })
    }

    fn at(place: &Path) -> io::Result<Self> {
        let journal = Journal::to(place)?;
        // An empty one is thrown away there. One that is behind now may not be so later.
        match journal.send(&[], SendFlags::DONTWAIT) {
            Err(e) if e != Errno::AGAIN => Err(e.into()),
            _ => Ok(journal),
        }
    }

    fn write(&self, entry: &[u8]) {
        let sent = match self.send(entry, SendFlags::DONTWAIT) {
            Err(Errno::AGAIN) => self.send_patiently(entry),
            sent => sent,
        };
        match sent {
            Ok(()) => self.tell_lost(),
            Err(_) => _ = self.lost.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// As long as there is time left for that.
    fn send_patiently(&self, entry: &[u8]) -> Result<(), Errno> {
        let waiting = self.waiting.lock();
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let sent = waiting.wait(|left| self.send_within(entry, left));
        sent.unwrap_or(Err(Errno::AGAIN))
    }

    fn send_within(&self, entry: &[u8], limit: Duration) -> Result<(), Errno> {
        let set = self.socket.set_write_timeout(Some(limit));
        set.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        match self.send(entry, SendFlags::empty()) {
            Err(Errno::INTR) => self.send(entry, SendFlags::DONTWAIT),
            sent => sent,
        }
    }

    /// Says that lines are missing, now that the journal takes them again.
    fn tell_lost(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        let mut entry = Entry::new(Level::WARN);
        entry.put("MESSAGE_ID", events::LOG_LINES_LOST.as_bytes());
        entry.put("SUPPRESSED", lost.to_string().as_bytes());
        let message = lost::message(lost, "the journal did not take them");
        entry.put(MESSAGE, message.as_bytes());
        if self.send(&entry.0, SendFlags::DONTWAIT).is_err() {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    fn send(&self, entry: &[u8], flags: SendFlags) -> Result<(), Errno> {
        let flags = flags | SendFlags::NOSIGNAL;
        match sendto(&self.socket, entry, flags, &self.address) {
            Err(Errno::MSGSIZE) => self.send_file(entry, flags),
            sent => sent.map(drop),
        }
    }

    /// Larger than a datagram may be.
    fn send_file(&self, entry: &[u8], flags: SendFlags) -> Result<(), Errno> {
        let memory = memfd_create("tunneld", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(memory);
        let written = file.write_all(entry);
        written.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fcntl_add_seals(&file, seals)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [file.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let nothing = [IoSlice::new(&[])];
        sendmsg_addr(&self.socket, &self.address, &nothing, &mut control, flags).map(drop)
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::new(*event.metadata().level());
        event.record(&mut line);
        self.write(&line.finish().0);
    }
}

/// The fields of one entry, as they are sent.
struct Entry(Vec<u8>);

impl Entry {
    fn new(level: Level) -> Self {
        // syslog(3)
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            Level::DEBUG | Level::TRACE => "7",
        };
        let mut entry = Entry(Vec::with_capacity(512));
        entry.put("PRIORITY", priority.as_bytes());
        entry.put("SYSLOG_IDENTIFIER", b"tunneld");
        // LOG_DAEMON
        entry.put("SYSLOG_FACILITY", b"3");
        entry
    }

    /// With its length: a value may have several lines.
    fn put(&mut self, name: &str, value: &[u8]) {
        let name = name.bytes().map(|c| c.to_ascii_uppercase());
        self.0.extend(name);
        self.0.push(b'\n');
        self.0.extend((value.len() as u64).to_le_bytes());
        self.0.extend(value);
        self.0.push(b'\n');
    }
}

/// One event, whose fields come in any order.
struct Line {
    entry: Entry,
    message: String,
    tunnel: Option<String>,
}

impl Line {
    fn new(level: Level) -> Self {
        Line {
            entry: Entry::new(level),
            message: String::new(),
            tunnel: None,
        }
    }

    fn put(&mut self, name: &str, value: &str) {
        match name {
            MESSAGE => {
                value.clone_into(&mut self.message);
                return;
            }
            TUNNEL => self.tunnel = Some(value.to_owned()),
            _ => {}
        }
        self.entry.put(name, value.as_bytes());
    }

    /// journalctl(1) and `systemctl status` show nothing but the message: it begins with the tunnel, if
    /// it does not name it (in backticks, as our messages do).
    fn finish(mut self) -> Entry {
        let tunnel = self.tunnel.as_deref();
        let unnamed = tunnel.filter(|name| !self.message.contains(&format!("`{name}`")));
        let message = match unnamed {
            Some(name) => format!("{name}: {}", self.message),
            None => self.message,
        };
        self.entry.put(MESSAGE, message.as_bytes());
        self.entry
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests;
