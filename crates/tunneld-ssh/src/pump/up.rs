//! Client to server.

use std::io;

use bytes::Bytes;
use russh::ChannelWriteHalf;
use russh::client::Msg;

use super::idle::Activity;
use crate::forward::Counters;
use crate::wire::Wire;

/// Reads from a client begin with this much room, and grow while they fill it.
const SMALL_READ: usize = 4 << 10;
/// Reads from a client have at most this much room: four packets.
const LARGE_READ: usize = 128 << 10;

/// Why it ended before its time.
pub(super) enum UpError {
    /// The client is gone.
    Client,
    /// The channel is.
    Session,
}

/// Client to server, until the client's end of file has been passed on.
pub(super) async fn upload(
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
        counters.add_up(n);
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
                counters.add_up(n);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(UpError::Client),
        }
    }
}
