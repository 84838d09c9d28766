//! How a socket comes to be kept: when it is made, or else later.
//!
//! A service manager that is busy, or starts anew, reads no messages for a while. A forward waits a
//! second for that, and then goes on trying beside its clients.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::{Id, Kept, Store, bytes, name};
use crate::descriptors::{self, Room};

/// How long a service manager may take to have room for one more message.
const PATIENCE: Duration = Duration::from_secs(1);
/// When one that has none is asked again.
const AGAIN: Duration = match cfg!(test) {
    true => Duration::from_millis(10),
    false => Duration::from_secs(10),
};
/// From when on it is worth a line that it has none.
const LONG: Duration = Duration::from_secs(60);

/// Whether the service manager has a copy of a socket. Dropped, it lets go of it, unless the process
/// ends.
pub struct Keeping(How);

enum How {
    Kept(Kept),
    /// It will be, once there is room.
    Later(Pin<Box<dyn Future<Output = Option<Kept>> + Send + Sync>>),
    Not,
}

impl Keeping {
    /// It has none.
    pub(in crate::forward::listen) const NOT: Keeping = Keeping(How::Not);

    /// Goes on trying, where that is worth while. Never ends.
    pub async fn go_on(&mut self) -> std::convert::Infallible {
        std::future::poll_fn(|cx| {
            self.poll(cx);
            Poll::Pending
        })
        .await
    }

    /// Goes on trying.
    pub(in crate::forward::listen) fn poll(&mut self, cx: &mut Context<'_>) {
        if let How::Later(trying) = &mut self.0
            && let Poll::Ready(done) = trying.as_mut().poll(cx)
        {
            *self = done.into();
        }
    }

    /// Whether the socket stays when this is dropped.
    pub(in crate::forward::listen) fn stays(&self) -> bool {
        matches!(&self.0, How::Kept(kept) if kept.stays())
    }

    #[cfg(test)]
    pub(super) fn is_kept(&self) -> bool {
        matches!(&self.0, How::Kept(_))
    }

    /// As [`Kept::forget`].
    pub(in crate::forward::listen) fn forget(&mut self, socket: BorrowedFd<'_>) {
        if let How::Kept(kept) = std::mem::replace(&mut self.0, How::Not) {
            kept.forget(socket);
        }
    }
}

impl From<Option<Kept>> for Keeping {
    fn from(kept: Option<Kept>) -> Self {
        Keeping(kept.map_or(How::Not, How::Kept))
    }
}

impl Store {
    /// Has the service manager keep a socket that listens on a port.
    pub(in crate::forward::listen) async fn keep_tcp(
        &self,
        address: SocketAddr,
        socket: &Arc<impl AsFd + Send + Sync + 'static>,
    ) -> Keeping {
        self.keep(name::tcp(address), socket).await
    }

    /// Has the service manager keep a socket whose file is at `path`.
    pub(in crate::forward::listen) async fn keep_unix(
        &self,
        path: &Path,
        file: Id,
        socket: &Arc<impl AsFd + Send + Sync + 'static>,
    ) -> Keeping {
        self.keep(name::unix(path, file), socket).await
    }

    pub(super) async fn keep(
        &self,
        name: Option<String>,
        socket: &Arc<impl AsFd + Send + Sync + 'static>,
    ) -> Keeping {
        // One that has taken the last descriptors goes at once.
        if self.0.manager.is_none() || descriptors::room_beside(socket.as_fd()) == Room::Over {
            return Keeping::NOT;
        }
        match self.hand_over(name.as_deref(), socket.as_fd()).await {
            Err(e) if is_full(&e) => {
                let later = self.clone().keep_later(name, Arc::clone(socket));
                Keeping(How::Later(Box::pin(later)))
            }
            done => self.kept(done).into(),
        }
    }

    /// Tries again for as long as there is no room.
    async fn keep_later(self, name: Option<String>, socket: Arc<impl AsFd>) -> Option<Kept> {
        let began = Instant::now();
        loop {
            tokio::time::sleep(AGAIN).await;
            match self.hand_over(name.as_deref(), socket.as_fd()).await {
                Err(e) if is_full(&e) && began.elapsed() < LONG => {}
                Err(e) if is_full(&e) => self.not_kept(&e),
                done => return self.kept(done),
            }
        }
    }

    fn kept(&self, done: io::Result<Kept>) -> Option<Kept> {
        done.inspect_err(|e| self.not_kept(e)).ok()
    }

    async fn hand_over(&self, name: Option<&str>, socket: BorrowedFd<'_>) -> io::Result<Kept> {
        let manager = self.0.manager.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let name = name.ok_or_else(|| io::Error::other("a path is too long for a name"))?;
        let share = self.share_if_room(bytes(name));
        let share = share.ok_or_else(|| io::Error::other("there are too many"))?;
        // Many sockets at a time are more than it takes at once.
        let text = format!("FDSTORE=1\nFDNAME={name}\n");
        manager.send_within(PATIENCE, &text, &[socket]).await?;
        let name = name.to_owned();
        Ok(Kept { name, share })
    }
}

fn is_full(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::WouldBlock
}
