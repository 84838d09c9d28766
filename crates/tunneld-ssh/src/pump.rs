//! Bytes between a client's socket and a channel, both ways.
//!
//! Each direction ends on its own: an end of file on one side is passed on, and the other
//! direction goes on. What the server sends is taken off the channel at once, into a backlog of
//! this connection: russh's session waits for a consumer that is slow, and would make every other
//! connection and the session's own timers wait with it. Only when a backlog is full is the
//! session held back, at its socket.

mod idle;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::forward::Counters;
use crate::link::{Counted, Link};
use crate::opener::Opener;
use crate::wire::Wire;
use idle::Activity;

/// A client's backlog with this much in it holds the session back.
const FULL: usize = 4 << 20;
/// The backlog of a session that goes through this one. It holds itself back when a client of its
/// own stands still, and what is on its way then, a window for each of its connections, must not
/// hold back the others that go through here.
const FULL_SESSION: usize = 64 << 20;
/// A client that takes less than this in `stall_timeout` stands still: a byte now and then must not
/// hold a session back for ever.
const PROGRESS: usize = 64 << 10;
/// Reads from a client begin with this much room, and grow while they fill it.
const SMALL_READ: usize = 4 << 10;
/// Reads from a client have at most this much room: four packets.
const LARGE_READ: usize = 128 << 10;
/// How many pieces go into one write.
const PIECES: usize = 64;
/// How long a server may take to close a channel that both sides have finished with.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides had finished.
    Finished,
    /// The client reset its connection, or could not be written to.
    ClientGone,
    /// The server closed the channel without an end of file.
    ServerClosed,
    /// The session ended.
    SessionEnded,
    /// The client took nothing for `stall_timeout` while its backlog was full.
    Stalled,
    /// Nothing moved for `idle_timeout`.
    Idle,
    /// We were told to end it.
    Aborted,
}

/// One connection.
pub(crate) struct Cargo<'a> {
    /// The client, or the target of a remote forward.
    pub(crate) socket: Wire,
    /// The server's side of it.
    pub(crate) read: ChannelReadHalf,
    /// The server's side of it.
    pub(crate) write: ChannelWriteHalf<Msg>,
    /// What was read from the socket already.
    pub(crate) early_up: Bytes,
    /// What was read from the channel already.
    pub(crate) early_down: Bytes,
    /// The session that it goes over.
    pub(crate) session: &'a Opener,
    pub(crate) counters: &'a Counters,
    pub(crate) limits: Limits,
    /// Ends it.
    pub(crate) abort: CancellationToken,
}

impl<'a> Cargo<'a> {
    /// A connection of which nothing was read yet.
    pub(crate) fn new(
        socket: Wire,
        channel: Channel<Msg>,
        session: &'a Opener,
        counters: &'a Counters,
        limits: Limits,
        abort: CancellationToken,
    ) -> Self {
        let (read, write) = channel.split();
        Cargo {
            socket,
            read,
            write,
            early_up: Bytes::new(),
            early_down: Bytes::new(),
            session,
            counters,
            limits,
            abort,
        }
    }
}

/// The limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A backlog with this much in it holds the session back.
    full: usize,
    /// How long it may stand still with a full backlog.
    stall_timeout: Option<Duration>,
    /// How long it may be silent.
    idle_timeout: Option<Duration>,
}

impl Limits {
    /// For a client.
    pub(crate) fn client(stall_timeout: Duration, idle_timeout: Option<Duration>) -> Self {
        Limits {
            full: FULL,
            stall_timeout: Some(stall_timeout),
            idle_timeout,
        }
    }

    /// For a session that goes through another one, and has a keepalive of its own.
    pub(crate) fn session() -> Self {
        Limits {
            full: FULL_SESSION,
            stall_timeout: None,
            idle_timeout: None,
        }
    }
}

/// Carries one connection until it ends. What the client had not got by then is lost only where
/// the end says so; then its socket is reset, so that it cannot take the loss for an end of file.
pub(crate) async fn carry(cargo: Cargo<'_>) -> End {
    let Cargo {
        socket,
        mut read,
        write,
        early_up,
        early_down,
        session,
        counters,
        limits,
        abort,
    } = cargo;
    socket.reset_unless_finished();
    let _carried = session.link().carries();
    let activity = Activity::new(limits.idle_timeout);
    let mut down = Down::new(
        &socket,
        &mut read,
        session.link(),
        counters,
        &limits,
        &activity,
    );
    down.begin_with(early_down);
    let up = upload(&socket, &write, early_up, counters, &activity);
    let end = tokio::select! {
        end = both_ways(&mut down, up) => end,
        () = activity.idle() => End::Idle,
        () = abort.cancelled() => End::Aborted,
    };
    let closed = down.closed;
    drop(down);
    if !closed && end != End::SessionEnded {
        session.finish(close(read, write, end, session.clone()));
    }
    if matches!(end, End::Finished | End::Idle) {
        // Until now any other end would have been a reset.
        socket.finished();
    }
    end
}

async fn both_ways(down: &mut Down<'_>, up: impl Future<Output = Result<(), UpError>>) -> End {
    let server_finished = Arc::clone(&down.finished);
    let down = down.run();
    tokio::pin!(up, down);
    let (mut up_ended, mut client_finished, mut both) = (false, false, false);
    loop {
        tokio::select! {
            end = &mut down => return end,
            done = &mut up, if !up_ended => {
                up_ended = true;
                match done {
                    Ok(()) => client_finished = true,
                    Err(UpError::Client) => return End::ClientGone,
                    // The other direction hears of it too, after what is still to read.
                    Err(UpError::Session) => {}
                }
            }
            () = server_finished.notified(), if !both => both = true,
            () = tokio::time::sleep(CLOSE_PATIENCE), if both && client_finished => {
                return End::Finished;
            }
        }
    }
}

/// Ends a channel that the server has not closed. A server that is told of the end of file closes
/// the channel itself, in the usual case at once; russh forgets such a channel. One that we close
/// first is remembered, so that is kept for when it is needed.
pub(crate) async fn close(
    mut read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    end: End,
    session: Opener,
) {
    if end == End::ClientGone && server_closes(&mut read, &write).await {
        return;
    }
    // What still comes is not taken any more: the session must not wait for us to take it while we
    // wait for the session.
    drop(read);
    session.note_debris();
    // A session that has ended has no channels.
    let _ = write.close().await;
}

/// Tells the server of the end of file, and whether it closes the channel for that.
async fn server_closes(read: &mut ChannelReadHalf, write: &ChannelWriteHalf<Msg>) -> bool {
    let patience = tokio::time::sleep(CLOSE_PATIENCE);
    let eof = write.eof();
    tokio::pin!(patience, eof);
    let mut told = false;
    loop {
        tokio::select! {
            message = read.wait() => match message {
                Some(ChannelMsg::Close) | None => return true,
                // The server goes on sending to a client that is gone.
                Some(ChannelMsg::Data { .. }) if told => return false,
                Some(_) => {}
            },
            sent = &mut eof, if !told => match sent {
                Ok(()) => told = true,
                Err(_) => return true,
            },
            () = &mut patience => return false,
        }
    }
}

enum UpError {
    Client,
    Session,
}

/// Client to server, until the client's end of file has been passed on.
async fn upload(
    socket: &Wire,
    write: &ChannelWriteHalf<Msg>,
    early: Bytes,
    counters: &Counters,
    activity: &Activity,
) -> Result<(), UpError> {
    if !early.is_empty() {
        let n = early.len();
        let sent = write.data_bytes(early).await;
        sent.map_err(|_| UpError::Session)?;
        counters.add_sent(n);
    }
    let mut room = SMALL_READ;
    loop {
        // An idle connection holds no buffer.
        socket.readable().await.map_err(|_| UpError::Client)?;
        let mut buf = Vec::with_capacity(room);
        let read = socket.read_ready(buf.capacity(), |socket| {
            rustix::io::read(socket, rustix::buffer::spare_capacity(&mut buf))
        });
        match read {
            Ok(0) => return write.eof().await.map_err(|_| UpError::Session),
            Ok(n) => {
                room = match n {
                    n if n == room => (room * 2).min(LARGE_READ),
                    n if n < room / 4 => (room / 2).max(SMALL_READ),
                    _ => room,
                };
                activity.note();
                let sent = write.data_bytes(Bytes::from(buf)).await;
                sent.map_err(|_| UpError::Session)?;
                counters.add_sent(n);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(UpError::Client),
        }
    }
}

/// Server to client.
struct Down<'a> {
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
    closed: bool,
    /// The end of file was passed on to the client.
    finished: Arc<Notify>,
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
    fn new(
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

    fn begin_with(&mut self, early: Bytes) {
        if !early.is_empty() {
            self.queue(early);
        }
    }

    fn queue(&mut self, data: Bytes) {
        self.waiting += data.len();
        self.more_backlog(data.len());
        self.backlog.push_back(data);
    }

    async fn run(&mut self) -> End {
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
        if self.waiting >= self.limits.full {
            let link = self.link;
            self.clogged.get_or_insert_with(|| link.pause());
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
        match (self.closed, self.eof) {
            (true, true) => Some(End::Finished),
            (true, false) => Some(End::ServerClosed),
            (false, _) => None,
        }
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
        self.waiting -= n;
        self.less_backlog(n);
        self.activity.note();
        self.counters.add_received(n);
        self.taken += n;
        if self.taken >= PROGRESS {
            self.taken = 0;
            self.moved = Instant::now();
        }
        while let Some(piece) = self.backlog.front_mut() {
            if n < piece.len() {
                piece.advance(n);
                return;
            }
            n -= piece.len();
            self.backlog.pop_front();
        }
    }
}
