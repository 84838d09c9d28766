//! The socket under an SSH session, with what russh does not have: a kill switch, a pause, a clock
//! of what was heard, and large reads.
//!
//! russh asks for the four bytes of a packet's length and then for the packet: the wrapper reads
//! ahead, so that both come out of one system call. sshd keeps Nagle's algorithm on for forwarded
//! connections, and waits for an acknowledgement that Linux delays by 40 ms: after a small read the
//! wrapper asks for it at once (TCP_QUICKACK, tcp(7)).

mod stream;

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;
use tunneld_core::config::Keepalive;

use crate::wire::Wire;
pub(crate) use stream::LinkStream;

/// Reads of fewer bytes than this are answered with an acknowledgement at once: to wait for an answer
/// of ours that would carry it takes a timer, which costs more.
const SMALL_READ: usize = 4096;
/// What the backlogs of all connections may hold together before the session is held back.
const ALL_FULL: usize = 32 << 20;
/// What they may hold at the very most: a session that is held back reads on, slowly, for the sake
/// of the others, up to here.
const ALL_MAX: usize = 64 << 20;

/// What is known and can be done about a session's socket from outside the session.
pub(crate) struct Link {
    socket: Wire,
    killed: AtomicBool,
    pauses: AtomicUsize,
    /// Connections that are carried.
    connections: AtomicUsize,
    /// Signs of life that were asked for and have not come.
    asked: AtomicUsize,
    reader: AtomicWaker,
    writer: AtomicWaker,
    born: Instant,
    /// Microseconds from `born` to the last byte that was read.
    heard: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    /// Bytes that the connections' backlogs hold together.
    backlog: AtomicUsize,
    /// Whether that is too much.
    overfull: AtomicBool,
}

impl Link {
    /// Wraps a connected socket. Returns the stream for russh and the handle to it.
    pub(crate) fn new(socket: impl Into<Wire>) -> (LinkStream, Arc<Link>) {
        let link = Arc::new(Link {
            socket: socket.into(),
            killed: AtomicBool::new(false),
            pauses: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            born: Instant::now(),
            heard: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            backlog: AtomicUsize::new(0),
            overfull: AtomicBool::new(false),
        });
        let stream = LinkStream::new(Arc::clone(&link));
        (stream, link)
    }

    /// Ends the session: dropping russh's futures ends nothing, an error from its socket does.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.socket.shutdown(Shutdown::Both);
        self.reader.wake();
        self.writer.wake();
    }

    /// Holds the session back until the guard is dropped: next to nothing is read from the socket,
    /// the kernel's window fills and the server waits. Writing and the session's timers go on.
    pub(crate) fn pause(self: &Arc<Self>) -> Counted {
        Counted::new(self, |link| &link.pauses)
    }

    /// Counts a connection while the guard lives.
    pub(crate) fn carries(self: &Arc<Self>) -> Counted {
        Counted::new(self, |link| &link.connections)
    }

    /// Counts a sign of life that was asked for while the guard lives.
    pub(crate) fn asks(self: &Arc<Self>) -> Counted {
        Counted::new(self, |link| &link.asked)
    }

    /// How many connections are carried.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// After how long without an acknowledgement the kernel gives the connection up
    /// (TCP_USER_TIMEOUT, tcp(7)). It is what finds a dead peer while the session is blocked in a
    /// write.
    pub(crate) fn set_user_timeout(&self, keepalive: Keepalive) -> io::Result<()> {
        let timeout = keepalive.detection();
        let timeout = timeout.map(|t| t.max(Duration::from_secs(1)));
        self.socket.set_user_timeout(timeout)
    }

    /// Whether the session is held back now.
    pub(crate) fn is_paused(&self) -> bool {
        self.pauses.load(Ordering::Acquire) > 0 || self.is_overfull()
    }

    /// Whether a session that is held back reads on, slowly: somebody else waits for what comes
    /// behind the bytes that a stalled client does not take, and there is room for these.
    fn may_sip(&self) -> bool {
        let others = self.connections() > self.pauses.load(Ordering::Acquire);
        let awaited = others || self.asked.load(Ordering::Acquire) > 0;
        awaited && self.backlog.load(Ordering::Acquire) < ALL_MAX
    }

    /// A connection's backlog has grown. Many small ones are as bad as a large one: with too much
    /// in all of them together, reading is paused.
    pub(crate) fn more_backlog(&self, n: usize) {
        if self.backlog.fetch_add(n, Ordering::AcqRel) + n >= ALL_FULL {
            self.overfull.store(true, Ordering::Release);
            // Another connection may have become rid of it in this very moment.
            if self.backlog.load(Ordering::Acquire) <= ALL_FULL / 2 {
                self.overfull.store(false, Ordering::Release);
            }
        }
    }

    /// A connection's backlog has shrunk.
    pub(crate) fn less_backlog(&self, n: usize) {
        let left = self.backlog.fetch_sub(n, Ordering::AcqRel) - n;
        let relieved = left <= ALL_FULL / 2 && self.overfull.swap(false, Ordering::AcqRel);
        let may_sip_again = left < ALL_MAX && left + n >= ALL_MAX;
        if relieved || may_sip_again {
            self.reader.wake();
        }
    }

    /// Bytes that the backlogs of all connections hold together.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Whether all backlogs together hold too much.
    pub(crate) fn is_overfull(&self) -> bool {
        self.overfull.load(Ordering::Acquire)
    }

    /// When the last byte was read from the server.
    pub(crate) fn last_heard(&self) -> Instant {
        self.born + Duration::from_micros(self.heard.load(Ordering::Acquire))
    }

    /// How many bytes the kernel holds that the session has not read.
    pub(crate) fn unread(&self) -> u64 {
        self.socket.unread()
    }

    /// How many bytes were read from the server.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How many bytes were written to the server.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn note_read(&self, n: usize) {
        let heard = self.born.elapsed().as_micros();
        self.heard
            .store(u64::try_from(heard).unwrap_or(u64::MAX), Ordering::Release);
        self.received.fetch_add(n as u64, Ordering::Relaxed);
        if n < SMALL_READ {
            self.socket.acknowledge_now();
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.killed.load(Ordering::Acquire) {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        }
        Ok(())
    }
}

/// Something that a [`Link`] counts while it lives.
pub(crate) struct Counted {
    link: Arc<Link>,
    of: fn(&Link) -> &AtomicUsize,
}

impl Counted {
    fn new(link: &Arc<Link>, of: fn(&Link) -> &AtomicUsize) -> Self {
        // The first one of its kind changes what the reader may do.
        if of(link).fetch_add(1, Ordering::AcqRel) == 0 || link.is_paused() {
            link.reader.wake();
        }
        Counted {
            link: Arc::clone(link),
            of,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // The last one of its kind changes what the reader may do, and so may any one while the
        // session is held back.
        if (self.of)(&self.link).fetch_sub(1, Ordering::AcqRel) == 1 || self.link.is_paused() {
            self.link.reader.wake();
        }
    }
}

/// Kills the link when dropped, unless told that all went well.
pub(crate) struct KillOnDrop(Option<Arc<Link>>);

impl KillOnDrop {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        KillOnDrop(Some(Arc::clone(link)))
    }

    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            link.kill();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    pub(crate) async fn pair() -> (LinkStream, Arc<Link>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let (stream, link) = Link::new(near);
        (stream, link, far)
    }

    #[tokio::test]
    async fn every_byte_arrives_whatever_the_sizes_of_the_reads() {
        let (mut stream, link, mut far) = pair().await;
        let sent: Vec<u8> = (0..3_000_000u32)
            .map(|i| (i.wrapping_mul(31) >> 3) as u8)
            .collect();
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            far.write_all(&copy).await.unwrap();
            far
        });
        let mut got = Vec::new();
        let mut sizes = [4usize, 32768, 1, 100_000, 700].iter().cycle();
        while got.len() < sent.len() {
            let n = (*sizes.next().unwrap()).min(sent.len() - got.len());
            let mut part = vec![0; n];
            stream.read_exact(&mut part).await.unwrap();
            got.extend(part);
        }
        assert!(got == sent);
        assert_eq!(link.received(), sent.len() as u64);
        drop(writer.await.unwrap());
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_kill_ends_a_read_that_waits() {
        let (mut stream, link, _far) = pair().await;
        let read = tokio::spawn(async move { stream.read(&mut [0; 8]).await });
        tokio::task::yield_now().await;
        link.kill();
        assert!(read.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_pause_holds_the_reader_back_and_no_byte_is_lost() {
        let (mut stream, link, mut far) = pair().await;
        let first = link.pause();
        let second = link.pause();
        far.write_all(b"hello").await.unwrap();
        let mut buf = [0; 5];
        let waiting = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut buf)).await;
        assert!(waiting.is_err());
        assert_eq!(link.unread(), 5);
        drop(first);
        assert!(link.is_paused());
        let reader = tokio::spawn(async move {
            stream.read_exact(&mut buf).await.unwrap();
            buf
        });
        drop(second);
        assert_eq!(&reader.await.unwrap(), b"hello");
    }
}
