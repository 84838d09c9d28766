//! How the SSH server of a target is reached: directly, through a proxy, over a program, or over
//! another SSH server.
//!
//! Whatever a road rests on (a program, a channel of another session) is kept up by a task, which
//! hears of it when the road is dropped. When that breaks, the session on the road is told why
//! before it can see the end of its socket: an end of file says nothing.

mod bastions;
mod command;
mod footing;
mod http;
mod jump;
mod proxy;
mod socks;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tunneld_core::config::{Keepalive, Target, Via, host_port};
use tunneld_core::failure::{Class, Failure, Stage};

use bastions::Bastion;
pub use bastions::Bastions;
pub(crate) use footing::Footing;

use crate::connect::Progress;
use crate::dial::{self, Dial};
use crate::error::os_reason;
use crate::host_key::TrustCommand;
use crate::shared::Shared;
use crate::wire::Wire;

/// A connected way to an SSH server.
pub(crate) struct Road {
    pub(crate) wire: Wire,
    /// What was reached, for people: `192.0.2.1:22`, or with what it was reached over.
    pub(crate) peer: String,
    /// What it rests on, kept for as long as the session lives.
    pub(crate) under: Under,
}

/// What a road rests on. Dropped, it is taken down.
#[derive(Default)]
pub(crate) struct Under {
    breakage: Option<Breakage>,
    footing: Arc<Footing>,
    _taken: Option<DropGuard>,
}

impl Under {
    /// What is kept up by a task: the half of the session, and the half of the task.
    fn kept_up(shared: &Arc<Shared>, footing: Footing) -> (Under, Upkeep) {
        let breakage = Breakage {
            shared: Arc::clone(shared),
            reason: Arc::default(),
        };
        let dropped = CancellationToken::new();
        let under = Under {
            breakage: Some(breakage.clone()),
            footing: Arc::new(footing),
            _taken: Some(dropped.clone().drop_guard()),
        };
        (under, Upkeep { breakage, dropped })
    }

    /// Why an attempt has failed: for what broke under it, if that came first. What the server has
    /// said for certain stands.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        let broken = self.breakage.as_ref().and_then(Breakage::told_first);
        match broken {
            Some(reason) if failure.class == Class::Transient => reason,
            _ => failure,
        }
    }

    /// What can be asked whether it lives.
    pub(crate) fn footing(&self) -> Arc<Footing> {
        Arc::clone(&self.footing)
    }
}

/// What the task has that keeps a road up.
struct Upkeep {
    breakage: Breakage,
    /// The session needs the road no more.
    dropped: CancellationToken,
}

/// Tells a session why the road under it broke.
#[derive(Clone)]
struct Breakage {
    shared: Arc<Shared>,
    reason: Arc<OnceLock<Failure>>,
}

impl Breakage {
    fn tell(&self, reason: Failure) {
        // The first reason is the true one.
        let _ = self.reason.set(reason.clone());
        self.shared.end(reason);
    }

    /// The stage of a failure of the road: it belongs to connecting as long as that goes on.
    fn stage(&self) -> Stage {
        match self.shared.stage() {
            Stage::Session => Stage::Session,
            _ => Stage::Connect,
        }
    }

    fn told_first(&self) -> Option<Failure> {
        let told = self.reason.get()?;
        let ended = self.shared.ended();
        let first = ended.borrow().as_ref() == Some(told);
        first.then(|| told.clone())
    }
}

/// Reaches the server of `target`. `shared` belongs to the session that will be made over the road:
/// its stage follows how far the road has come, and it is told why the road has broken.
pub(crate) async fn reach(
    target: &Target,
    keepalive: Keepalive,
    bastions: &Bastions,
    progress: &Progress,
    shared: &Arc<Shared>,
) -> Result<Road, Failure> {
    let (wire, under) = match &target.via {
        Via::Direct => {
            let to = Dial::new(&target.host, target.port, target);
            let (socket, peer) = dial::dial(to, shared).await?;
            return Ok(Road {
                wire: socket.into(),
                peer: peer.to_string(),
                under: Under::default(),
            });
        }
        Via::Proxy(proxy) => {
            let socket = proxy::reach(proxy, target, progress, shared).await?;
            (socket.into(), Under::default())
        }
        Via::Command(command) => {
            let tunnel = progress.trust().tunnel();
            command::start(command, target, tunnel, bastions.tasks(), shared)?
        }
        Via::Jump(hop) => {
            let bastion = bastions.take(hop, keepalive, progress.patience(), progress.trust());
            jump::reach(bastion, target, bastions.tasks(), progress, shared).await?
        }
    };
    let peer = way(target);
    Ok(Road { wire, peer, under })
}

/// Keeps the session with the last jump host for as long as it is held, for whoever goes over it
/// several times.
pub(crate) struct Lease {
    _bastion: Option<Arc<Bastion>>,
}

impl Lease {
    /// A lease on the way to `target`: of nothing, where that is not over a jump host.
    pub(crate) fn take(
        target: &Target,
        keepalive: Keepalive,
        bastions: &Bastions,
        patience: Duration,
        trust: &TrustCommand,
    ) -> Self {
        Lease {
            _bastion: match &target.via {
                Via::Jump(hop) => Some(bastions.take(hop, keepalive, patience, trust)),
                Via::Direct | Via::Proxy(_) | Via::Command(_) => None,
            },
        }
    }
}

/// The way to a server in words: `web:22 over bastion:22 over socks5://proxy:1080`.
fn way(target: &Target) -> String {
    let server = host_port(&target.host, target.port);
    match &target.via {
        Via::Direct => server,
        Via::Jump(hop) => format!("{server} over {}", way(hop)),
        Via::Proxy(proxy) => format!("{server} over {proxy}"),
        Via::Command(_) => format!("{server} over a proxy command"),
    }
}

/// The same failure, of `what`.
pub(crate) fn failure_of(what: &str, mut failure: Failure) -> Failure {
    failure.cause = format!("{what}: {}", failure.cause);
    failure
}

/// Something that the system refuses now, and may grant later.
fn system_failure(e: &io::Error) -> Failure {
    Failure::transient(Stage::Connect, os_reason(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunneld_core::config::{Proxy, ProxyCommand, ProxyKind};

    #[test]
    fn the_way_to_a_server_names_everything_it_goes_over() {
        let proxy = Via::Proxy(Proxy {
            kind: ProxyKind::Socks5,
            host: "p".to_owned(),
            port: 1080,
        });
        let first = testing::target("a", 22, proxy);
        let second = testing::target("b", 2222, Via::Jump(Arc::new(first)));
        let web = testing::target("fe80::1", 22, Via::Jump(Arc::new(second)));
        assert_eq!(
            way(&web),
            "[fe80::1]:22 over b:2222 over a:22 over socks5://p:1080"
        );
        let command = Via::Command(ProxyCommand::Shell("nc %h %p".to_owned()));
        assert_eq!(
            way(&testing::target("web", 22, command)),
            "web:22 over a proxy command"
        );
    }

    #[test]
    fn the_roads_reason_explains_an_end_of_file_and_nothing_that_is_certain() {
        let closed = Failure::transient(Stage::KeyExchange, "server closed the connection");
        let rejected = Failure::blocked(Stage::Authenticate, "server rejected every key");
        let broken = Failure::transient(Stage::Connect, "proxy command exited with status 1");

        let (under, upkeep) = Under::kept_up(&Shared::new(Default::default()), Footing::Program);
        assert_eq!(under.explain(closed.clone()), closed);
        upkeep.breakage.tell(broken.clone());
        assert_eq!(under.explain(closed.clone()), broken);
        assert_eq!(under.explain(rejected.clone()), rejected);

        let shared = Shared::new(Default::default());
        let (under, upkeep) = Under::kept_up(&shared, Footing::Program);
        shared.end(closed.clone());
        upkeep.breakage.tell(broken);
        assert_eq!(
            under.explain(closed.clone()),
            closed,
            "the server's goodbye came first"
        );
    }
}

#[cfg(test)]
mod testing {
    use tunneld_core::config::{Target, Via};

    /// A target without keys and without known hosts.
    pub(super) fn target(host: &str, port: u16, via: Via) -> Target {
        Target {
            via,
            ..Target::new(host, port, "u")
        }
    }
}
