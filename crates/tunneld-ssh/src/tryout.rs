//! Trying out on a live session what a forward needs, without putting it in place.
//!
//! Nothing is bound on this side, and nothing stays at the server: a port that it was asked to
//! listen on is given back at once. A unix socket is only looked at, for a server leaves the file of
//! one that it has closed, and with StreamLocalBindUnlink takes the file of one that is in use.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tunneld_core::config::{Destination, ForwardKind, ForwardSpec, Goal, Probe, RemoteListen};
use tunneld_core::failure::{Failure, Stage};

use crate::forward::gate::connect_here;
use crate::forward::remote::{refused, something_listens};
use crate::forward::{Peer, probe};
use crate::opener::{ListenError, OpenError, Opener};
use crate::session::Session;

/// How long each check may take where the file does not say it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to do about a target that the server gets no answer from.
const SILENT: &str =
    "see on the server whether it is reached from there: a firewall may be between";

/// Reaches the target of a forward as its connections do: through the server for one that listens
/// here, which must also answer the forward's probe, and from here for one that listens at the
/// server. There is nothing to reach where clients say where to.
///
/// # Errors
///
/// Why it cannot be reached, or why its answer is not the one that the probe expects. It comes
/// within the probe's timeout, else within five seconds.
pub async fn target(session: &Session, forward: &ForwardSpec) -> Result<(), Failure> {
    match (&forward.kind, forward.goal()) {
        (_, Goal::Asked) => Ok(()),
        (ForwardKind::Local(_), Goal::To(to)) => {
            there(&session.opener(), to, forward.probe.as_ref()).await
        }
        (ForwardKind::Remote(_), Goal::To(to)) => here(to).await,
    }
}

async fn there(session: &Opener, to: &Destination, probe: Option<&Probe>) -> Result<(), Failure> {
    let _usage = session.usage();
    let patience = probe.map_or(PATIENCE, |probe| probe.timeout);
    let deadline = Instant::now() + patience;
    let channel = match timeout_at(deadline, session.open(to, &Peer::Here)).await {
        Ok(opened) => opened.map_err(|e| unreachable(to, &e))?,
        Err(_) => {
            let cause = format!("cannot reach {to}: {}", probe::no_answer(patience));
            return Err(Failure::transient(Stage::Forward, cause).with_hint(SILENT));
        }
    };
    let Some(expect) = probe.and_then(|probe| probe.expect.as_ref()) else {
        // Dropped, it is closed.
        return Ok(());
    };
    // It was reached: what it says from here on, or does not say, is the probe's.
    let said = timeout_at(deadline, probe::says(session, channel, expect, to)).await;
    said.unwrap_or_else(|_| Err(probe::no_answer(patience)))
        .map_err(|reason| probe::failed(to, &reason))
}

/// The server does not connect to a target.
fn unreachable(to: &Destination, e: &OpenError) -> Failure {
    let cause = format!("cannot reach {to}: {e}");
    match (e, to) {
        (OpenError::SessionEnded, _) => Failure::transient(Stage::Session, e.to_string()),
        (OpenError::Timeout, _) => Failure::transient(Stage::Forward, cause).with_hint(SILENT),
        (
            OpenError::Refused {
                prohibited: true, ..
            },
            Destination::Tcp { .. },
        ) => Failure::blocked(Stage::Forward, cause).with_hint(
            "see AllowTcpForwarding and PermitOpen in the server's sshd_config, and permitopen in \
             authorized_keys",
        ),
        (OpenError::Refused { .. }, Destination::Tcp { .. }) => {
            Failure::transient(Stage::Forward, cause).with_hint(
                "start what listens there, or correct `connect`: the name and the address are \
                 the server's",
            )
        }
        // OpenSSH does not tell a socket that is not there from one that it may not open.
        (OpenError::Refused { .. }, Destination::Unix(_)) => {
            Failure::transient(Stage::Forward, cause).with_hint(
                "start what listens there, or correct `connect`: the path is the server's, whose \
                 sshd_config must have AllowStreamLocalForwarding",
            )
        }
    }
}

async fn here(to: &Destination) -> Result<(), Failure> {
    let cause = match timeout(PATIENCE, connect_here(to)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err((_, reason))) => reason,
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            format!("cannot connect to {to}: timed out after {seconds}s")
        }
    };
    Err(Failure::transient(Stage::Forward, cause).with_hint(
        "start what listens there, or correct `connect`: it is reached from this machine",
    ))
}

/// Asks the server to listen on a port, takes that back, and says which port it was. A unix socket
/// is only looked at, and `None` says that nothing was seen to listen there.
///
/// Connections that come meanwhile are turned down. What the server does not take back in time, or
/// is asked for by a future that is dropped, ends with the session.
///
/// # Errors
///
/// Why the server does not listen there, within five seconds.
pub async fn listen(session: &Session, place: &RemoteListen) -> Result<Option<u16>, Failure> {
    let session = session.opener();
    let deadline = Instant::now() + PATIENCE;
    let look = || async {
        let look = something_listens(&session, place);
        timeout_at(deadline, look).await.unwrap_or(None)
    };
    if let RemoteListen::Unix(_) = place {
        return match look().await {
            Some(true) => Err(refused(place, Some(true), false)),
            Some(false) | None => Ok(None),
        };
    }
    let (taker, _) = mpsc::channel(1);
    match timeout_at(deadline, session.listen(place, taker)).await {
        Ok(Ok(listening)) => {
            // The end of the session takes it back as well.
            let _ = timeout_at(deadline, listening.cancel()).await;
            Ok(Some(listening.port()))
        }
        Ok(Err(ListenError::Refused)) => Err(refused(place, look().await, false)),
        Ok(Err(ListenError::SessionEnded)) => {
            let cause = OpenError::SessionEnded.to_string();
            Err(Failure::transient(Stage::Session, cause))
        }
        Ok(Err(ListenError::Timeout)) | Err(_) => {
            let cause = format!("the server does not answer whether it listens on {place}");
            Err(Failure::transient(Stage::Forward, cause))
        }
    }
}
