//! Server to client.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use russh::{ChannelMsg, ChannelReadHalf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::idle::Activity;
use super::{End, Limits};
use crate::forward::Counters;
use crate::link::{Counted, Link};
use crate::wire::Wire;

/// A client that takes less than this in `stall_timeout` stands still: a byte now and then must not
/// hold a session back for ever.
const PROGRESS: usize = 64 << 10;
/// How many pieces go into one write.
const PIECES: usize = 64;
/// What a piece costs beside its bytes: a server can send them one by one.
const PIECE: usize = 64;

/// What the server sends, and how much of it the client has not taken.
pub(super) struct Down<'a> {
    socket: &'a Wire,
    read: &'a mut ChannelReadHalf,
    link: &'a Arc<Link>,
    counters: &'a Counters,
    limits: &'a Limits,
    activity: &'a Activity,
    backlog: VecDeque<Bytes>,
    waiting: usize,
    /// The server's end of file has arrived.
    eof: bool,
    /// The server has closed the channel.
    pub(super) closed: bool,
    /// The end of file was passed on to the client.
    pub(super) finished: Arc<Notify>,
    shut: bool,
    /// Holds the session's socket back while the backlog is full.
    clogged: Option<Counted>,
    /// When the client had last taken something worth speaking of.
    moved: Instant,
    /// What it has taken since.
    taken: usize,
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.less_backlog(self.waiting);
    }
}

impl<'a> Down<'a> {
    pub(super) fn new(
        socket: &'a Wire,
        read: &'a mut ChannelReadHalf,
        link: &'a Arc<Link>,
        counters: &'a Counters,
        limits: &'a Limits,
        activity: &'a Activity,
    ) -> Self {
        Down {
            socket,
            read,
            link,
            counters,
            limits,
            activity,
            backlog: VecDeque::new(),
            waiting: 0,
            eof: false,
            closed: false,
            finished: Arc::new(Notify::new()),
            shut: false,
            clogged: None,
            moved: Instant::now(),
            taken: 0,
        }
    }

    /// What a session keeps that goes through this one is not part of this one's own backlog.
    fn more_backlog(&self, n: usize) {
        if self.limits.stall_timeout.is_some() {
            self.link.more_backlog(n);
        }
    }

    fn less_backlog(&self, n: usize) {
        if self.limits.stall_timeout.is_some() {
            self.link.less_backlog(n);
        }
    }

    /// What was read from the channel already.
    pub(super) fn begin_with(&mut self, early: Bytes, eof: bool) {
        if !early.is_empty() {
            self.queue(early);
        }
        self.eof = eof;
    }

    fn queue(&mut self, data: Bytes) {
        let cost = data.len() + PIECE;
        self.waiting += cost;
        self.more_backlog(cost);
        self.backlog.push_back(data);
    }

    /// Whether the client has taken everything that has come.
    pub(super) fn is_empty(&self) -> bool {
        self.backlog.is_empty()
    }

    pub(super) async fn run(&mut self) -> End {
        loop {
            if let Some(end) = self.settle() {
                return end;
            }
            let waiting = !self.backlog.is_empty();
            let stall_timeout = self.limits.stall_timeout;
            let stalls_at = self.moved + stall_timeout.unwrap_or_default();
            tokio::select! {
                message = self.read.wait(), if !self.closed => {
                    if let Some(end) = self.take(message) {
                        return end;
                    }
                }
                ready = self.socket.writable(), if waiting => {
                    if ready.is_err() {
                        return End::ClientGone;
                    }
                }
                () = tokio::time::sleep_until(stalls_at), if waiting && stall_timeout.is_some() => {
                    if self.clogged.is_some() || self.link.is_overfull() {
                        return End::Stalled;
                    }
                    self.moved = Instant::now();
                }
            }
            if self.flush().is_err() {
                return End::ClientGone;
            }
        }
    }

    /// Takes a message, and what else has come with it.
    fn take(&mut self, first: Option<ChannelMsg>) -> Option<End> {
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Some(ChannelMsg::Data { data }) if data.is_empty() => {}
                Some(ChannelMsg::Data { data }) => {
                    if self.backlog.is_empty() {
                        self.moved = Instant::now();
                        self.taken = 0;
                    }
                    self.activity.note();
                    self.queue(data);
                }
                Some(ChannelMsg::Eof) => self.eof = true,
                Some(ChannelMsg::Close) => {
                    self.closed = true;
                    return None;
                }
                // An end of file has the promise that all has arrived; without it, it has not.
                None if self.eof => {
                    self.closed = true;
                    return None;
                }
                None => return Some(End::SessionEnded),
                Some(_) => {}
            }
            if self.backlog.len() >= PIECES {
                break;
            }
            next = self.read.wait().now_or_never();
        }
        None
    }

    /// What the state allows: passing on the end of file, ending, holding the session back.
    fn settle(&mut self) -> Option<End> {
        if self.waiting >= self.limits.full && self.clogged.is_none() {
            self.clogged = Some(self.link.pause());
            // It has all the time from here on.
            (self.moved, self.taken) = (Instant::now(), 0);
        } else if self.waiting <= self.limits.full / 4 {
            self.clogged = None;
        }
        if !self.backlog.is_empty() {
            return None;
        }
        if self.eof && !self.shut {
            self.shut = true;
            self.socket.shutdown(Shutdown::Write);
            self.finished.notify_one();
        }
        // To close a channel without an end of file is how some servers end every connection: what
        // came before is delivered (RFC 4254 section 5.3), as ssh does.
        self.closed.then_some(End::Finished)
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.backlog.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.backlog) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            let wrote = match slices.get(..count) {
                Some(slices) => self.socket.try_write_vectored(slices),
                None => return Ok(()),
            };
            match wrote {
                Ok(n) => self.wrote(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn wrote(&mut self, mut n: usize) {
        self.activity.note();
        self.counters.add_down(n);
        self.taken += n;
        if self.taken >= PROGRESS {
            self.taken = 0;
            self.moved = Instant::now();
        }
        let mut freed = n;
        while let Some(piece) = self.backlog.front_mut() {
            if n < piece.len() {
                piece.advance(n);
                break;
            }
            n -= piece.len();
            freed += PIECE;
            self.backlog.pop_front();
        }
        self.waiting -= freed;
        self.less_backlog(freed);
    }
}
