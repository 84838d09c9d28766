//! One tunnel's task: performs what its lifecycle decides.
//!
//! The task owns the tunnel's sessions and its forwards, whose listening places outlive the
//! sessions. It hears commands, and publishes one value: what there is to see of it.

mod certificates;
mod draining;
mod forwards;
pub(crate) mod hooks;
mod log;
mod pool;
mod sessions;
mod told;
mod view;

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tunneld_core::config::TunnelSpec;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::ledger::{Ledger, Moment};
use tunneld_core::lifecycle::{Action, Event, Lifecycle};
use tunneld_core::metrics::Histogram;
use tunneld_core::status::Phase;
use tunneld_ssh::forward::{Context, Limits, Passed};
use tunneld_ssh::{Bastions, Session};

use crate::clock;
use crate::inject::Inject;
use crate::pacing::Pacing;
use crate::wait;
use certificates::Certificates;
pub(crate) use certificates::Said;
use draining::Draining;
use forwards::{Fate, Forwards};
use hooks::{Hooks, Turns};
use log::Log;
use pool::{Attempt, Pool};
pub(crate) use told::{Command, Wanted};
pub(crate) use view::View;

/// What a tunnel is given.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// The budget of attempts to each host.
    pub(crate) pacing: Pacing,
    /// The sessions with jump hosts, which tunnels share.
    pub(crate) bastions: Bastions,
    /// The sockets that the service manager passed.
    pub(crate) passed: Passed,
    /// The programs that are told what becomes of tunnels.
    pub(crate) hooks: Turns,
    /// Stop in good order, and end.
    pub(crate) shutdown: CancellationToken,
    /// End at once.
    pub(crate) abort: CancellationToken,
    /// Faults that a test asked for.
    pub(crate) inject: Inject,
    /// Which certificates the journal was told of.
    pub(crate) said: Said,
}

/// The task of a tunnel. Returns after `shutdown`, or when nobody can command it any more.
pub(crate) async fn run(
    wanted: watch::Receiver<Wanted>,
    surroundings: Surroundings,
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<View>,
) {
    let mut tunnel = Tunnel::new(wanted, surroundings, commands, view);
    let enabled = tunnel.spec.enabled;
    let first = if enabled { Event::Start } else { Event::Stop };
    tunnel.on(first).await;
    tunnel.live().await;
    tunnel.on(Event::Stop).await;
    tunnel.publish();
    tunnel.hooks.end().await;
}

struct Tunnel {
    wanted: watch::Receiver<Wanted>,
    spec: TunnelSpec,
    reading: u64,
    tries: u64,
    surroundings: Surroundings,
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<View>,
    life: Lifecycle,
    ledger: Ledger,
    log: Log,
    /// The phase that was last logged, and since when.
    logged: Phase,
    logged_at: Moment,
    pool: Pool,
    /// How many sessions there have been.
    sessions: u64,
    /// The round trips of the keepalive of all of them.
    round_trips: Arc<Histogram>,
    limits: watch::Sender<Limits>,
    news: Arc<Notify>,
    forwards: Forwards,
    attempt: Option<Attempt>,
    retry_at: Option<Instant>,
    /// When the delay before it began.
    waits_since: Instant,
    /// The first session is replaced for what it left behind in memory, not for where it goes: its
    /// connections may take all the time they need, and the others stay.
    worn: bool,
    /// Replaced sessions that still carry connections.
    draining: Draining,
    certificates: Certificates,
    hooks: Hooks,
}

/// What woke the task up.
enum Wake {
    Shutdown,
    Command(Option<Command>),
    Wanted(bool),
    Attempt(Result<Result<Session, Failure>, JoinError>),
    Pool(pool::News),
    Due,
    News,
    Forward(Fate),
    Drained,
    Certificates(certificates::News),
}

impl Tunnel {
    fn new(
        mut wanted: watch::Receiver<Wanted>,
        surroundings: Surroundings,
        commands: mpsc::Receiver<Command>,
        view: watch::Sender<View>,
    ) -> Self {
        let Wanted {
            spec,
            drain_timeout,
            reading,
            tries,
        } = wanted.borrow_and_update().clone();
        let limits = Limits {
            stall_timeout: spec.stall_timeout,
            drain_timeout,
        };
        let ledger = view.borrow().ledger().clone();
        let logged_at = view.borrow().since();
        Tunnel {
            life: Lifecycle::new(&spec.reconnect),
            ledger,
            log: Log::new(&spec),
            logged: Phase::Idle,
            logged_at,
            pool: Pool::new(spec.sessions, &spec.reconnect),
            sessions: 0,
            round_trips: Arc::default(),
            limits: watch::Sender::new(limits),
            news: Arc::new(Notify::new()),
            forwards: Forwards::default(),
            attempt: None,
            retry_at: None,
            waits_since: Instant::now(),
            worn: false,
            draining: Draining::default(),
            certificates: Certificates::default(),
            hooks: Hooks::new(&spec, surroundings.hooks.clone()),
            wanted,
            reading,
            tries,
            spec,
            surroundings,
            commands,
            view,
        }
    }

    async fn live(&mut self) {
        loop {
            self.publish();
            match self.wake().await {
                Wake::Shutdown | Wake::Command(None) | Wake::Wanted(false) => return,
                Wake::Wanted(true) => self.apply().await,
                Wake::Command(Some(command)) => self.command(command).await,
                Wake::Attempt(result) => self.attempted(result).await,
                Wake::Pool(news) => self.pool_news(news).await,
                Wake::Due => {
                    self.retry_at = None;
                    self.on(Event::Due).await;
                }
                Wake::News => self.look_at_forwards().await,
                Wake::Forward(fate) => {
                    match fate {
                        Fate::Died(name) => self.log.forward_died(&name),
                        Fate::Due => self.forwards.apply(&self.spec, &self.context()),
                    }
                    self.look_at_forwards().await;
                }
                Wake::Drained => {}
                Wake::Certificates(news) => self.certificate_news(news),
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let retry_at = self.retry_at;
        let may_replace = !self.life.is_attempting() && retry_at.is_none();
        tokio::select! {
            () = self.surroundings.shutdown.cancelled() => Wake::Shutdown,
            command = self.commands.recv() => Wake::Command(command),
            changed = self.wanted.changed() => Wake::Wanted(changed.is_ok()),
            result = finished(&mut self.attempt), if self.attempt.is_some() => Wake::Attempt(result),
            news = self.pool.news(may_replace) => Wake::Pool(news),
            () = wait::until(retry_at), if retry_at.is_some() => Wake::Due,
            () = self.news.notified() => Wake::News,
            fate = self.forwards.fate() => Wake::Forward(fate),
            () = self.draining.one_gone() => Wake::Drained,
            news = self.certificates.news() => Wake::Certificates(news),
        }
    }

    /// Tells the lifecycle what happened, and does what it decides.
    async fn on(&mut self, event: Event) {
        let starts = matches!(event, Event::Start);
        if let Event::Failed(failure) | Event::Ended { failure, .. } = &event {
            self.ledger.fail(failure);
        }
        match self.life.on(event) {
            Action::Nothing => {}
            Action::Connect => {
                if starts {
                    self.forwards.apply(&self.spec, &self.context());
                }
                self.retry_at = None;
                self.certificates.look(&self.spec.target);
                self.attempt = Some(self.connect());
            }
            Action::Wait(delay) => {
                self.waits_since = Instant::now();
                self.retry_at = Some(self.waits_since + delay);
                self.log.down(&self.life, delay);
            }
            Action::Probe => {
                if let Some(session) = self.pool.first() {
                    session.probe();
                }
            }
            Action::Close => {
                // Connections may take their time to drain, and that it stops is news now.
                self.tell();
                self.close().await;
            }
        }
        self.tell();
    }

    /// Tells what keeps the tunnel's past, the log and the hooks where it stands, once.
    fn tell(&mut self) {
        let (before, after) = (self.logged, self.phase());
        let is_known = after == self.life.phase();
        // A forward that a reload adds to a live session is neither up nor down yet, and the others go on.
        if before != after && (is_known || !before.has_session()) {
            let now = clock::now();
            (self.logged, self.logged_at) = (after, now);
            self.ledger.enter(now, after, self.life.failure());
            self.log.phase(&self.life, before, after);
            if is_known {
                // One that says goodbye is a session no more.
                let session = self.pool.first().filter(|_| after != Phase::Stopped);
                let peer = session.map(|session| session.peer().to_string());
                self.hooks.phase(after, self.life.failure(), peer);
            }
        }
    }

    /// Where the tunnel stands, as far as it may be told: `up` not before it is known of each forward
    /// how it is. A probe that is made anew while the tunnel has a session changes nothing yet.
    fn phase(&self) -> Phase {
        match self.life.phase() {
            Phase::Up if !self.forwards.settled() => match self.logged {
                Phase::Up | Phase::Degraded if self.forwards.placed() => self.logged,
                _ => Phase::Connecting,
            },
            phase => phase,
        }
    }

    fn connect(&self) -> Attempt {
        let (spec, around) = (self.spec.clone(), self.surroundings.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let target = &spec.target;
            let _turn = around.pacing.turn(&target.host, target.port).await;
            tunneld_ssh::connect(&spec, &around.bastions).await
        }))
    }

    async fn attempted(&mut self, result: Result<Result<Session, Failure>, JoinError>) {
        self.attempt = None;
        let failure = match result {
            Ok(Ok(session)) => return self.established(session).await,
            Ok(Err(failure)) => failure,
            Err(_) => attempt_died(),
        };
        self.on(Event::Failed(failure)).await;
    }

    fn certificate_news(&mut self, news: certificates::News) {
        match news {
            certificates::News::Due => self.certificates.look(&self.spec.target),
            certificates::News::Seen => {
                for certificate in self.certificates.seen() {
                    let before = self.spec.certificate_expiry_warning;
                    if let Some(warning) = certificates::warning(certificate, before)
                        && self.surroundings.said.is_due(certificate)
                    {
                        self.log.certificate(certificate, &warning);
                    }
                }
            }
        }
    }

    async fn look_at_forwards(&mut self) {
        let broken = self.forwards.broken();
        self.on(Event::Forwards(broken)).await;
    }

    fn context(&self) -> Context {
        Context {
            tunnel: self.spec.name.clone(),
            sessions: self.pool.sessions(),
            passed: self.surroundings.passed.clone(),
            limits: self.limits.subscribe(),
            news: Arc::clone(&self.news),
        }
    }

    /// Stop accepting, let connections finish within `drain_timeout`, say goodbye.
    async fn close(&mut self) {
        self.attempt = None;
        self.retry_at = None;
        self.worn = false;
        self.certificates.clear();
        self.publish();
        let patience = self.limits.borrow().drain_timeout;
        let abort = self.surroundings.abort.clone();
        self.forwards.stop(patience, &abort).await;
        self.draining.abort_all();
        let goodbyes = join_all(self.pool.clear().into_iter().map(Session::close));
        tokio::select! {
            _ = goodbyes => {}
            () = abort.cancelled() => {}
        }
    }

    fn publish(&self) {
        let view = View::of(self);
        self.view.send_if_modified(|old| {
            let changed = old.differs(&view);
            *old = view;
            changed
        });
    }
}

async fn finished(attempt: &mut Option<Attempt>) -> Result<Result<Session, Failure>, JoinError> {
    match attempt {
        Some(attempt) => attempt.await,
        None => std::future::pending().await,
    }
}

fn attempt_died() -> Failure {
    let cause = "the attempt itself failed: a bug in tunneld";
    Failure::transient(Stage::Session, cause)
}
