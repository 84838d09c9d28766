//! What a tunnel hears: the commands of people, and what the file says of it now.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tunneld_core::config::TunnelSpec;
use tunneld_core::lifecycle::Event;
use tunneld_core::status::Phase;
use tunneld_ssh::forward::Limits;

use super::Tunnel;
use crate::control::TunnelCommand;
use crate::http::error::ApiError;

/// What a tunnel is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// What a person asks for.
    Told {
        /// What.
        command: TunnelCommand,
        /// Where to say that it is done.
        reply: oneshot::Sender<Result<(), ApiError>>,
    },
    /// Try now, or show a sign of life.
    RetryNow,
}

/// What the file says of a tunnel. The latest counts; nobody has to wait for a busy tunnel to hear.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The tunnel's own part.
    pub(crate) spec: TunnelSpec,
    /// `drain_timeout` of `[daemon]`.
    pub(crate) drain_timeout: Duration,
    /// Which reading of the file this is: the tunnel's view says how far it has come.
    pub(crate) reading: u64,
    /// How many readings had the tunnels that wait try at once: one more asks for one try.
    pub(crate) tries: u64,
}

impl Tunnel {
    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Told { command, reply } => {
                self.told(command).await;
                // Whoever asked may have gone; what was asked for is done.
                let _ = reply.send(Ok(()));
            }
            Command::RetryNow => {
                self.surroundings.inject.at_retry(&self.spec.name);
                self.forwards.retry_now();
                self.pool.retry_now();
                self.on(Event::RetryNow).await;
                self.tend_pool();
            }
        }
    }

    async fn told(&mut self, command: TunnelCommand) {
        match command {
            TunnelCommand::Start => self.on(Event::Start).await,
            TunnelCommand::Stop => self.on(Event::Stop).await,
            TunnelCommand::Restart => {
                self.forwards.retry_now();
                self.worn = false;
                // A stopped tunnel is started, as systemctl restart does.
                self.on(Event::Start).await;
                if !self.life.is_attempting() {
                    self.on(Event::Replace).await;
                }
            }
        }
    }

    /// Takes what the file says now.
    pub(super) async fn apply(&mut self) {
        let Wanted {
            spec,
            drain_timeout,
            reading,
            tries,
        } = self.wanted.borrow_and_update().clone();
        let old = std::mem::replace(&mut self.spec, spec);
        let limits = Limits {
            stall_timeout: self.spec.stall_timeout,
            drain_timeout,
        };
        self.limits
            .send_if_modified(|l| std::mem::replace(l, limits) != limits);
        self.log.spec(&self.spec);
        self.hooks.spec(&self.spec);
        if self.spec.reconnect != old.reconnect {
            self.life.set_reconnect(&self.spec.reconnect);
            let latest = Instant::now() + self.spec.reconnect.max;
            self.retry_at = self.retry_at.map(|at| at.min(latest));
        }
        let now = (self.spec.sessions, self.spec.reconnect, self.spec.keepalive);
        if now != (old.sessions, old.reconnect, old.keepalive) {
            let surplus = self.pool.configure(now.0, &now.1, now.2);
            self.drain(surplus);
        }
        self.reading = reading;
        let running = self.life.phase() != Phase::Stopped;
        match (running, self.spec.enabled) {
            (true, false) => self.on(Event::Stop).await,
            (true, true) => {
                self.certificates.look(&self.spec.target);
                self.forwards.apply(&self.spec, &self.context());
                self.publish();
                self.look_at_forwards().await;
                if self.spec.target != old.target {
                    self.worn = false;
                    self.pool.outdate();
                    self.on(Event::Replace).await;
                }
            }
            // `stop` by command lasts until a reload too.
            (false, true) => self.on(Event::Start).await,
            (false, false) => {}
        }
        if std::mem::replace(&mut self.tries, tries) != tries {
            self.try_soon();
        }
        self.tend_pool();
    }

    /// What it waits for may be mended by now. A server does not have to bear more than one try in each
    /// first delay, however often somebody asks.
    fn try_soon(&mut self) {
        let soonest = self.waits_since + self.spec.reconnect.initial;
        self.retry_at = self.retry_at.map(|at| at.min(soonest));
    }
}
