//! Over another SSH server (ProxyJump of ssh_config(5)): a channel of its session is the way to
//! the next one.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tunneld_core::config::{Destination, Target, host_port};
use tunneld_core::failure::{Failure, Stage};

use super::bastions::Bastion;
use super::{Footing, Under, Upkeep, system_failure};
use crate::connect::{Progress, Where};
use crate::forward::{Counters, Peer};
use crate::opener::{OpenChannel, OpenError, Opener};
use crate::pump::{self, Cargo, End, Limits};
use crate::shared::Shared;
use crate::wire::Wire;

/// How long a session's goodbye may take on its way through the jump host.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Opens a way to `target` over `bastion`. The lease is given back when the road is dropped.
pub(super) async fn reach(
    bastion: Arc<Bastion>,
    target: &Target,
    tasks: &TaskTracker,
    progress: &Progress,
    shared: &Arc<Shared>,
) -> Result<(Wire, Under), Failure> {
    progress.at(Where::Hop {
        name: bastion.name.clone(),
        progress: Arc::clone(&bastion.progress),
    });
    let opener = bastion.ready().await;
    let opener = opener.map_err(|failure| failure.at_hop(&bastion.name))?;
    shared.set_stage(Stage::Connect);
    let to = host_port(&target.host, target.port);
    progress.at(Where::Over {
        what: format!("jump host {}: cannot reach {to}", bastion.name),
        shared: Arc::clone(shared),
    });
    // Before the channel: one that nobody carries would stay open.
    let (ours, theirs, held) = pair().map_err(|e| system_failure(&e))?;
    let opened = open(&bastion, &opener, target).await;
    let channel = opened.map_err(|failure| failure.at_hop(&bastion.name))?;
    let footing = Footing::jump_host(&bastion.name, &opener);
    let (under, upkeep) = Under::kept_up(shared, footing);
    let channel = (opener, channel);
    tasks.spawn(carry(bastion, channel, theirs, held, upkeep));
    Ok((ours.into(), under))
}

/// A socket pair, and a second handle to the far end: the session sees the end of the near one
/// only when both are dropped.
fn pair() -> io::Result<(UnixStream, UnixStream, StdStream)> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let held = theirs.try_clone()?;
    Ok((
        UnixStream::from_std(ours)?,
        UnixStream::from_std(theirs)?,
        held,
    ))
}

/// Has the bastion connect to the server.
async fn open(bastion: &Bastion, opener: &Opener, target: &Target) -> Result<OpenChannel, Failure> {
    let to = Destination::tcp(&target.host, target.port);
    let mut doubt = Doubt(Some(bastion));
    let refused = match opener.open(&to, &Peer::Here).await {
        Ok(channel) => {
            doubt.dispel();
            return Ok(channel);
        }
        Err(OpenError::SessionEnded) => return Err(bastion.why_over().await),
        Err(refused) => refused,
    };
    let cause = format!("cannot reach {to}: {refused}");
    if let OpenError::Refused { prohibited, .. } = refused {
        doubt.dispel();
        if prohibited {
            return Err(Failure::blocked(Stage::Connect, cause).with_hint(
                "the jump host's sshd_config must allow it: AllowTcpForwarding, PermitOpen",
            ));
        }
    }
    Err(Failure::transient(Stage::Connect, cause))
}

/// Whoever waits in vain for an answer doubts that the bastion lives.
struct Doubt<'a>(Option<&'a Bastion>);

impl Doubt<'_> {
    fn dispel(&mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(bastion) = self.0 {
            bastion.doubt();
        }
    }
}

/// Carries the bytes of the session, and holds the bastion until the last of them is through.
async fn carry(
    bastion: Arc<Bastion>,
    (opener, channel): (Opener, OpenChannel),
    theirs: UnixStream,
    held: StdStream,
    upkeep: Upkeep,
) {
    let counters = Counters::default();
    let abort = CancellationToken::new();
    let cargo = Cargo::new(
        theirs.into(),
        channel.split(),
        &opener,
        &counters,
        Limits::session(),
        abort.clone(),
    );
    let dropped = async {
        upkeep.dropped.cancelled().await;
        tokio::time::sleep(LAST_BYTES).await;
        abort.cancel();
        std::future::pending().await
    };
    let end = tokio::select! {
        end = pump::carry(cargo) => end,
        end = dropped => end,
    };
    if end == End::SessionEnded {
        let reason = bastion.why_over().await;
        upkeep.breakage.tell(reason.at_hop(&bastion.name));
    }
    drop(held);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_the_far_socket_is_seen_only_when_both_handles_are_dropped() {
        let (ours, theirs, held) = pair().unwrap();
        drop(theirs);
        let none = ours.try_read(&mut [0]).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        ours.readable().await.unwrap();
        assert_eq!(ours.try_read(&mut [0]).unwrap(), 0);
    }
}
