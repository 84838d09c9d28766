//! Bytes between a client's socket and a channel, both ways.
//!
//! Each direction ends on its own: an end of file on one side is passed on, and the other
//! direction goes on. What the server sends is taken off the channel at once, into a backlog of
//! this connection: russh's session waits for a consumer that is slow, and would make every other
//! connection and the session's own timers wait with it. Only when a backlog is full is the
//! session held back, at its socket.

mod down;
mod idle;
mod up;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio_util::sync::CancellationToken;

use crate::forward::Counters;
use crate::opener::Opener;
use crate::wire::Wire;
use down::Down;
use idle::Activity;
use up::{UpError, upload};

/// A client's backlog with this much in it holds the session back.
const FULL: usize = 4 << 20;
/// The backlog of a session that goes through this one. It holds itself back when a client of its
/// own stands still, and what is on its way then, a window for each of its connections, must not
/// hold back the others that go through here.
const FULL_SESSION: usize = 64 << 20;
/// How long a server may take to close a channel that both sides have finished with.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides had finished.
    Finished,
    /// The client reset its connection, or could not be written to.
    ClientGone,
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
    /// Its end of file was read already.
    pub(crate) early_eof: bool,
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
        (read, write): (ChannelReadHalf, ChannelWriteHalf<Msg>),
        session: &'a Opener,
        counters: &'a Counters,
        limits: Limits,
        abort: CancellationToken,
    ) -> Self {
        Cargo {
            socket,
            read,
            write,
            early_up: Bytes::new(),
            early_down: Bytes::new(),
            early_eof: false,
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
        early_eof,
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
    down.begin_with(early_down, early_eof);
    let up = upload(&socket, &write, early_up, counters, &activity);
    let end = tokio::select! {
        end = both_ways(&mut down, up) => end,
        () = activity.idle() => End::Idle,
        () = abort.cancelled() => End::Aborted,
    };
    let (closed, nothing_waits) = (down.closed, down.is_empty());
    drop(down);
    if !closed && end != End::SessionEnded {
        session.finish(close(read, write, end, session.clone()));
    }
    // Until now any end would have been a reset, and it stays one if the client has not got all.
    if end == End::Finished || end == End::Idle && nothing_waits {
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
