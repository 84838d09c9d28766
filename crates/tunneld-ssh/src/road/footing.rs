//! What a session rests on, as far as it can be asked whether it lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tunneld_core::failure::Failure;

use crate::link::Link;
use crate::opener::Opener;
use crate::session::ended;

/// How long after a session has heard nothing for too long what it rests on may be found dead, or
/// show that it lives.
const SECOND_OPINION: Duration = Duration::from_millis(250);

/// What is under a session.
#[derive(Default)]
pub(crate) enum Footing {
    /// Nothing that ends for reasons of its own.
    #[default]
    Firm,
    /// A program.
    Program,
    /// The session with a jump host.
    JumpHost(JumpHost),
}

pub(crate) struct JumpHost {
    /// `host:port`.
    name: String,
    link: Arc<Link>,
    probe: Arc<Notify>,
    under: Arc<Footing>,
}

impl Footing {
    /// On the session of `opener`, which is with the jump host `name`.
    pub(super) fn jump_host(name: &str, opener: &Opener) -> Self {
        Footing::JumpHost(JumpHost {
            name: name.to_owned(),
            link: Arc::clone(opener.link()),
            probe: Arc::clone(opener.probe_now()),
            under: Arc::clone(opener.footing()),
        })
    }

    /// Why a session is over that has heard nothing for too long. All that goes over a jump host
    /// falls silent with it, and whoever notices first: the jump host is to be named. It has heard
    /// nothing for `interval` then, and answers nothing now.
    pub(crate) async fn judge(
        &self,
        silence: Failure,
        interval: Duration,
        over: watch::Receiver<Option<Failure>>,
    ) -> Failure {
        if matches!(self, Footing::Firm) {
            return silence;
        }
        self.probe();
        match tokio::time::timeout(SECOND_OPINION, ended(over)).await {
            Ok(reason) => reason,
            Err(_) => match self.silent(interval) {
                Some(jump_host) => silence.at_hop(jump_host),
                None => silence,
            },
        }
    }

    fn probe(&self) {
        if let Footing::JumpHost(jump_host) = self {
            jump_host.probe.notify_one();
            jump_host.under.probe();
        }
    }

    /// The first jump host on the way that was not heard of for so long.
    fn silent(&self, interval: Duration) -> Option<&str> {
        match self {
            Footing::JumpHost(JumpHost {
                name, link, under, ..
            }) if link.last_heard().elapsed() >= interval => {
                Some(under.silent(interval).unwrap_or(name))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::pair;
    use tunneld_core::failure::Stage;

    fn on(name: &str, link: &Arc<Link>, under: Footing) -> Footing {
        Footing::JumpHost(JumpHost {
            name: name.to_owned(),
            link: Arc::clone(link),
            probe: Arc::default(),
            under: Arc::new(under),
        })
    }

    fn silence() -> Failure {
        Failure::transient(Stage::Session, "no reply")
    }

    async fn cause(footing: &Footing, interval: Duration) -> String {
        let over = watch::Sender::new(None);
        let judged = footing.judge(silence(), interval, over.subscribe());
        judged.await.cause
    }

    #[tokio::test]
    async fn of_several_silent_jump_hosts_the_first_one_is_named() {
        let (_one, first, _far) = pair().await;
        let (_two, second, _far) = pair().await;
        let way = on("second", &second, on("first", &first, Footing::Firm));
        let silent = cause(&way, SECOND_OPINION).await;
        assert_eq!(silent, "jump host first: no reply");
    }

    #[tokio::test]
    async fn a_jump_host_that_was_heard_of_lately_is_not_named() {
        let (_one, only, _far) = pair().await;
        let way = on("only", &only, Footing::Firm);
        let heard = cause(&way, 1000 * SECOND_OPINION).await;
        assert_eq!(heard, "no reply");
    }

    #[tokio::test]
    async fn what_ends_in_the_meantime_gives_its_own_reason() {
        let over = watch::Sender::new(None);
        let reason = Failure::transient(Stage::Session, "proxy command exited with status 1");
        let judged = Footing::Program.judge(silence(), SECOND_OPINION, over.subscribe());
        let end = async { over.send_replace(Some(reason.clone())) };
        assert_eq!(tokio::join!(judged, end).0, reason);
        let alone = cause(&Footing::Program, SECOND_OPINION).await;
        assert_eq!(alone, "no reply");
    }
}
