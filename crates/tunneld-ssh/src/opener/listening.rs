//! Asking a server to listen.

use std::time::Duration;

use tokio_util::task::task_tracker::TaskTrackerToken;
use tunneld_core::config::RemoteListen;

use super::Opener;
use crate::asked::{Place, Registration, Taker};
use crate::link::Counted;
use crate::session::ended;

/// How long a server may take to answer a request that needs nobody else.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a server does not listen for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListenError {
    /// It said no, which is all that the protocol lets it say.
    Refused,
    /// It did not answer in time.
    Timeout,
    /// The session ended.
    SessionEnded,
}

/// A place where the server listens for us. Dropping it turns its connections down; only
/// [`cancel`](Listening::cancel) ends the listening.
pub(crate) struct Listening {
    session: Opener,
    place: RemoteListen,
    port: u16,
    _registration: Registration,
    _in_use: TaskTrackerToken,
    /// What the server opens is to be seen also where everything that comes is held back.
    _awaited: Counted,
}

impl Opener {
    /// Asks the server to listen: `tcpip-forward` (RFC 4254 section 7.1), or
    /// `streamlocal-forward@openssh.com` (PROTOCOL section 2.4 of OpenSSH).
    pub(crate) async fn listen(
        &self,
        place: &RemoteListen,
        taker: Taker,
    ) -> Result<Listening, ListenError> {
        let registered = match place {
            RemoteListen::Tcp { bind, port } => Place::Tcp {
                bind: bind.clone(),
                port: Some(*port).filter(|port| *port != 0),
            },
            RemoteListen::Unix(path) => Place::Unix(path.clone()),
        };
        let registration = self.0.shared.asked.add(registered, taker);
        let in_use = self.0.listening.token();
        let handle = &self.0.handle;
        let asked = self.answered(async {
            match place {
                RemoteListen::Tcp { bind, port } => {
                    handle.tcpip_forward(bind, u32::from(*port)).await
                }
                RemoteListen::Unix(path) => handle.streamlocal_forward(path).await.map(|()| 0),
            }
        });
        let answer = asked.await;
        if answer == Err(ListenError::Timeout) {
            self.cancel_late(place);
        }
        // russh tells the port only where the server chose it.
        let chosen = u16::try_from(answer?).unwrap_or(0);
        if chosen == 0 && matches!(place, RemoteListen::Tcp { port: 0, .. }) {
            // Without its number the port is of no use.
            return Err(ListenError::Refused);
        }
        let port = match place {
            RemoteListen::Tcp { port: 0, .. } => chosen,
            RemoteListen::Tcp { port, .. } => *port,
            RemoteListen::Unix(_) => 0,
        };
        if chosen != 0 {
            registration.set_port(chosen);
        }
        Ok(Listening {
            session: self.clone(),
            place: place.clone(),
            port,
            _registration: registration,
            _in_use: in_use,
            _awaited: self.0.link.asks(),
        })
    }

    /// A server that says yes after all must not listen for nobody. Requests are answered in their
    /// order.
    fn cancel_late(&self, place: &RemoteListen) {
        let (this, place) = (self.clone(), place.clone());
        self.finish(async move {
            let port = match &place {
                RemoteListen::Tcp { port, .. } => *port,
                RemoteListen::Unix(_) => 0,
            };
            this.cancel(&place, port).await;
        });
    }

    /// Asks the server to stop listening on a place, and on this port of it.
    async fn cancel(&self, place: &RemoteListen, port: u16) {
        let handle = &self.0.handle;
        let cancelled = self.answered(async {
            match place {
                RemoteListen::Tcp { bind, .. } => {
                    handle.cancel_tcpip_forward(bind, u32::from(port)).await
                }
                RemoteListen::Unix(path) => handle.cancel_streamlocal_forward(path).await,
            }
        });
        // A server that does not answer frees the place when the session ends.
        let _ = cancelled.await;
    }

    async fn answered<T>(
        &self,
        request: impl Future<Output = Result<T, russh::Error>>,
    ) -> Result<T, ListenError> {
        let ended = ended(self.0.shared.ended());
        let _asked = self.0.link.asks();
        tokio::select! {
            answer = request => answer.map_err(|e| match e {
                russh::Error::RequestDenied => ListenError::Refused,
                _ => ListenError::SessionEnded,
            }),
            _ = ended => Err(ListenError::SessionEnded),
            () = tokio::time::sleep(REQUEST_TIMEOUT) => Err(ListenError::Timeout),
        }
    }
}

impl Listening {
    /// The session it is asked on.
    pub(crate) fn session(&self) -> &Opener {
        &self.session
    }

    /// The TCP port; 0 for a unix socket.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Asks the server to stop listening, so that the next to ask finds the place free.
    pub(crate) async fn cancel(&self) {
        self.session.cancel(&self.place, self.port).await;
    }
}
