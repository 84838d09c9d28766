//! The receiving end of sd_notify.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};

/// One datagram.
#[derive(Debug, Clone)]
pub struct Notification {
    /// When it came.
    pub at: Instant,
    /// Its assignments, in their order: `("READY", "1")`.
    pub fields: Vec<(String, String)>,
}

impl Notification {
    fn parse(text: &str) -> Self {
        let pair = |line: &str| {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            (name.to_owned(), value.to_owned())
        };
        Notification {
            at: Instant::now(),
            fields: text.lines().map(pair).collect(),
        }
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether it has this assignment: `READY=1`.
    pub fn has(&self, assignment: &str) -> bool {
        let (name, value) = assignment.split_once('=').unwrap_or((assignment, ""));
        self.fields.iter().any(|(n, v)| n == name && v == value)
    }
}

/// A socket to put into `NOTIFY_SOCKET`, and what arrived on it. As systemd does, it closes the
/// descriptors that come along, which is what answers `BARRIER=1`.
pub struct NotifySocket {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    messages: Mutex<Vec<Notification>>,
    grew: Condvar,
    closed: AtomicBool,
}

impl NotifySocket {
    /// Receives at `path`, which must not exist yet.
    pub fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path)
            .unwrap_or_else(|e| panic!("cannot receive at {}: {e}", path.display()));
        let shared = Arc::<Shared>::default();
        let theirs = shared.clone();
        std::thread::spawn(move || receive(&socket, &theirs));
        NotifySocket {
            path: path.to_owned(),
            shared,
        }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every message so far.
    pub fn messages(&self) -> Vec<Notification> {
        self.shared.messages.lock().unwrap().clone()
    }

    /// How many messages there are: a place to wait from.
    pub fn mark(&self) -> usize {
        self.shared.messages.lock().unwrap().len()
    }

    /// Waits for a message with `assignment` (`READY=1`) among all of them.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn wait_for(&self, assignment: &str, timeout: Duration) -> Notification {
        self.wait_from(0, assignment, timeout)
    }

    /// As [`NotifySocket::wait_for`], in the messages from `mark` on.
    pub fn wait_from(&self, mark: usize, assignment: &str, timeout: Duration) -> Notification {
        self.wait_until(mark, timeout, |message| message.has(assignment))
            .unwrap_or_else(|| panic!("no {assignment}; received {:#?}", self.messages()))
    }

    /// Waits for a message from `mark` on that `wanted` accepts.
    pub fn wait_until(
        &self,
        mark: usize,
        timeout: Duration,
        wanted: impl Fn(&Notification) -> bool,
    ) -> Option<Notification> {
        let deadline = Instant::now() + timeout;
        let mut messages = self.shared.messages.lock().unwrap();
        loop {
            let new = messages.get(mark..).unwrap_or_default();
            if let Some(found) = new.iter().find(|message| wanted(message)) {
                return Some(found.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            messages = self.shared.grew.wait_timeout(messages, left).unwrap().0;
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that it is over.
        if let Ok(socket) = UnixDatagram::unbound() {
            let _ = socket.send_to(b"", &self.path);
        }
    }
}

fn receive(socket: &UnixDatagram, shared: &Shared) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let Ok(received) = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
        else {
            return;
        };
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        let text = String::from_utf8_lossy(&buffer[..received.bytes]);
        shared
            .messages
            .lock()
            .unwrap()
            .push(Notification::parse(&text));
        shared.grew.notify_all();
        // Only now, with the message on record: closing them is the answer to `BARRIER=1`.
        control.drain().for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{IoSlice, Read};
    use std::os::fd::AsFd;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn messages_are_kept_in_order_and_can_be_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let notify = NotifySocket::bind(&dir.path().join("notify"));
        let client = UnixDatagram::unbound().unwrap();
        client.connect(notify.path()).unwrap();
        client.send(b"STATUS=one = 1\nREADY=1\n").unwrap();
        client.send(b"WATCHDOG=1").unwrap();
        let ready = notify.wait_for("READY=1", LONG);
        assert_eq!(ready.get("STATUS"), Some("one = 1"));
        notify.wait_from(1, "WATCHDOG=1", LONG);
        assert_eq!(notify.messages().len(), 2);
        let none = notify.wait_until(2, Duration::ZERO, |_| true);
        assert!(none.is_none());
    }

    #[test]
    fn a_barrier_is_answered_by_closing_its_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let notify = NotifySocket::bind(&dir.path().join("notify"));
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(LONG)).unwrap();
        let client = UnixDatagram::unbound().unwrap();
        client.connect(notify.path()).unwrap();
        let fds = [theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let text = [IoSlice::new(b"BARRIER=1")];
        sendmsg(&client, &text, &mut control, SendFlags::empty()).unwrap();
        drop(theirs);
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        assert!(notify.messages()[0].has("BARRIER=1"));
    }
}
