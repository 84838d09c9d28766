//! Bytes between a client's socket and a channel, both ways.
//!
//! Each direction ends on its own: an end of file on one side is passed on, and the other
//! direction goes on. What the server sends is taken off the channel at once, into a backlog of
//! this connection: russh's session waits for a consumer that is slow, and would make every other
//! connection and the session's own timers wait with it. Only when a backlog is full is the
//! session held back, at its socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::forward::Counters;
use crate::link::{Link, Pause, read_ready};
use crate::session::Opener;

/// A backlog with this much in it holds the session back.
const FULL: usize = 4 << 20;
/// A backlog that is down to this lets it go on.
const LOW: usize = 1 << 20;
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
    /// We were told to end it.
    Aborted,
}

/// Carries one connection until it ends. What the client had not got by then is lost only where
/// the end says so; then its socket is reset, so that it cannot take the loss for an end of file.
pub(crate) async fn carry(
    socket: TcpStream,
    channel: Channel<Msg>,
    session: &Opener,
    counters: &Counters,
    stall_timeout: Duration,
    abort: CancellationToken,
) -> End {
    let (mut read, write) = channel.split();
    let mut down = Down::new(&socket, &mut read, session.link(), counters, stall_timeout);
    let end = both_ways(&socket, &mut down, &write, counters, abort).await;
    let closed = down.closed;
    drop(down);
    if !closed && end != End::SessionEnded {
        session.finish(close(read, write, end, session.clone()));
    }
    if end == End::Finished {
        // Until now any other end would have been a reset. A socket that refuses is one that is
        // gone.
        let _ = SockRef::from(&socket).set_linger(None);
    }
    end
}

/// Makes every end of a socket a reset that is not known to be a good one, a panic of ours
/// included: a client must not take the loss of data for an end of file.
pub(crate) fn reset_unless_finished(socket: &TcpStream) {
    // A socket that cannot be reset is one that is gone.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

async fn both_ways(
    socket: &TcpStream,
    down: &mut Down<'_>,
    write: &ChannelWriteHalf<Msg>,
    counters: &Counters,
    abort: CancellationToken,
) -> End {
    let server_finished = Arc::clone(&down.finished);
    let up = upload(socket, write, counters);
    let down = down.run();
    tokio::pin!(up, down);
    let (mut up_ended, mut client_finished, mut both) = (false, false, false);
    loop {
        tokio::select! {
            () = abort.cancelled() => return End::Aborted,
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
async fn close(mut read: ChannelReadHalf, write: ChannelWriteHalf<Msg>, end: End, session: Opener) {
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
    socket: &TcpStream,
    write: &ChannelWriteHalf<Msg>,
    counters: &Counters,
) -> Result<(), UpError> {
    let mut room = SMALL_READ;
    loop {
        // An idle connection holds no buffer.
        socket.readable().await.map_err(|_| UpError::Client)?;
        let mut buf = Vec::with_capacity(room);
        let read = read_ready(socket, buf.capacity(), |socket| {
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
    socket: &'a TcpStream,
    read: &'a mut ChannelReadHalf,
    link: &'a Arc<Link>,
    counters: &'a Counters,
    stall_timeout: Duration,
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
    clogged: Option<Pause>,
    /// When the client had last taken something worth speaking of.
    moved: Instant,
    /// What it has taken since.
    taken: usize,
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.link.less_backlog(self.waiting);
    }
}

impl<'a> Down<'a> {
    fn new(
        socket: &'a TcpStream,
        read: &'a mut ChannelReadHalf,
        link: &'a Arc<Link>,
        counters: &'a Counters,
        stall_timeout: Duration,
    ) -> Self {
        Down {
            socket,
            read,
            link,
            counters,
            stall_timeout,
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

    async fn run(&mut self) -> End {
        loop {
            if let Some(end) = self.settle() {
                return end;
            }
            let waiting = !self.backlog.is_empty();
            let stalls_at = self.moved + self.stall_timeout;
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
                () = tokio::time::sleep_until(stalls_at), if waiting => {
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
                    self.waiting += data.len();
                    self.link.more_backlog(data.len());
                    self.backlog.push_back(data);
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
        if self.waiting >= FULL {
            let link = self.link;
            self.clogged.get_or_insert_with(|| link.pause());
        } else if self.waiting <= LOW {
            self.clogged = None;
        }
        if !self.backlog.is_empty() {
            return None;
        }
        if self.eof && !self.shut {
            self.shut = true;
            // A client that is gone cannot be told of the end.
            let _ = SockRef::from(self.socket).shutdown(std::net::Shutdown::Write);
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
        self.link.less_backlog(n);
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
