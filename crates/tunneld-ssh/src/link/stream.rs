//! The stream that russh reads and writes.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Link;

/// Read-ahead of a session that is quiet.
const QUIET_BUFFER: usize = 4 << 10;
/// Read-ahead of a session that moves bulk data.
const BUSY_BUFFER: usize = 256 << 10;
/// How long after its last large read a session counts as busy: bulk data comes in reads of every
/// size, and a large buffer costs something to make.
const BUSY_FOR: Duration = Duration::from_secs(1);
/// How much a session that is held back reads at a time, and how often.
const SIP: (usize, Duration) = (32 << 10, Duration::from_micros(15_625));

/// The stream that russh reads and writes.
pub(crate) struct LinkStream {
    link: Arc<Link>,
    ahead: Vec<u8>,
    start: usize,
    end: usize,
    /// When the last large read was.
    busy: Instant,
    /// When a session that is held back may read again.
    sip: Option<Pin<Box<Sleep>>>,
}

impl LinkStream {
    pub(super) fn new(link: Arc<Link>) -> Self {
        LinkStream {
            link,
            ahead: Vec::new(),
            start: 0,
            end: 0,
            busy: Instant::now(),
            sip: None,
        }
    }

    fn take_ahead(&mut self, buf: &mut ReadBuf<'_>) {
        let n = buf.remaining().min(self.end - self.start);
        if let Some(bytes) = self.ahead.get(self.start..self.start + n) {
            buf.put_slice(bytes);
            self.start += n;
        }
    }

    /// Fits the read-ahead to the traffic: a quiet session keeps little memory. It is not
    /// made smaller while bytes wait in it.
    fn resize_ahead(&mut self, last_read: usize) {
        if last_read >= QUIET_BUFFER {
            self.busy = self.link.last_heard();
        }
        let wanted = match self.ahead.len() {
            0 => QUIET_BUFFER,
            QUIET_BUFFER if last_read >= QUIET_BUFFER => BUSY_BUFFER,
            BUSY_BUFFER if self.link.last_heard() > self.busy + BUSY_FOR => QUIET_BUFFER,
            _ => return,
        };
        if self.end == 0 {
            self.ahead = vec![0; wanted];
        } else if wanted > self.ahead.len() {
            self.ahead.resize(wanted, 0);
        }
    }

    /// Whether it is time to read: always, unless the session is held back.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.link.is_paused() {
            self.sip = None;
            return Poll::Ready(());
        }
        if !self.link.may_sip() {
            return Poll::Pending;
        }
        let sip = self
            .sip
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(SIP.1)));
        sip.as_mut().poll(cx)
    }

    /// One system call into the caller's buffer and what is left into the read-ahead.
    fn read_some(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let direct = buf.initialize_unfilled();
        let room = direct.len();
        let ahead = match self.link.is_paused() {
            true => self.ahead.len().min(SIP.0),
            false => self.ahead.len(),
        };
        let ahead = self.ahead.get_mut(..ahead).unwrap_or_default();
        let wanted = room + ahead.len();
        let mut slices = [IoSliceMut::new(direct), IoSliceMut::new(ahead)];
        let socket = &self.link.socket;
        let n = socket.read_ready(wanted, |socket| rustix::io::readv(socket, &mut slices))?;
        buf.advance(n.min(room));
        self.start = 0;
        self.end = n.saturating_sub(room);
        Ok(n)
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.link.reader.register(cx.waker());
        this.link.check()?;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_turn(cx));
        if this.start < this.end {
            this.take_ahead(buf);
            return Poll::Ready(Ok(()));
        }
        if this.ahead.is_empty() {
            this.resize_ahead(0);
        }
        loop {
            ready!(this.link.socket.poll_read_ready(cx))?;
            match this.read_some(buf) {
                Ok(n) => {
                    this.sip = None;
                    if n > 0 {
                        this.link.note_read(n);
                    }
                    this.resize_ahead(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let link = &self.get_mut().link;
        link.writer.register(cx.waker());
        loop {
            link.check()?;
            ready!(link.socket.poll_write_ready(cx))?;
            match link.socket.try_write_vectored(bufs) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Ok(n) => {
                    link.sent.fetch_add(n as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(n));
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // russh skips telling us why a session ended when its last shutdown fails, and a socket
        // that the peer reset fails it: the outcome of a shutdown is of no use to anybody.
        self.link.socket.shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
