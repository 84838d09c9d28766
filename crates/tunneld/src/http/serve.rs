//! Serving HTTP to whoever connects: bounded in clients, in size and in time.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tunneld_core::events;
use tunneld_core::repeats::Repeats;
use tunneld_ssh::descriptors::{self, Room};

use super::clients::Clients;

/// How long accepting rests after an error such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// A place where clients come in.
pub(crate) trait Listener {
    /// A client's connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next client, with its address if it has one.
    async fn next(&self) -> io::Result<(Self::Stream, Option<IpAddr>)>;
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<(Self::Stream, Option<IpAddr>)> {
        let (stream, peer) = self.accept().await?;
        // Commands, which come over a unix socket, are answered with what those who only look leave.
        match descriptors::room_beside(stream.as_fd()) {
            Room::More | Room::Full => {}
            Room::Over => return Err(descriptors::no_room()),
        }
        Ok((stream, Some(peer.ip().to_canonical())))
    }
}

/// Serves until told to stop. Requests that are being answered then are answered, and so are those of
/// clients that had just come.
pub(crate) async fn serve<L: Listener>(
    listener: &L,
    what: &str,
    router: &Router,
    stop: &CancellationToken,
) {
    let mut clients = Clients::new(router.clone(), stop.clone());
    let (mut pauses, began) = (Repeats::default(), Instant::now());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(listener, &mut clients) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => clients.serve(stream, peer),
            Err(e) => {
                let reason = tunneld_ssh::error::os_reason(&e);
                if let Some(suppressed) = pauses.say(&reason, began.elapsed()).said() {
                    tracing::warn!(
                        message_id = events::SERVING_PAUSED,
                        suppressed,
                        "{what} paused 1s: {reason}"
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // Those that are not done by then are cut off.
    let _ = tokio::time::timeout(PAUSE, clients.finish()).await;
}

async fn accept<L: Listener>(
    listener: &L,
    clients: &mut Clients,
) -> io::Result<(L::Stream, Option<IpAddr>)> {
    // The client first: the idlest is sent away for one that is there.
    let client = listener.next().await?;
    clients.place().await;
    Ok(client)
}
