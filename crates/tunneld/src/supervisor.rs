//! Owns the tunnels: starts their tasks, applies plans, and notices when a task dies.
//!
//! One command after the other. The files of a reload are read beside it; a reload that comes while
//! another is read waits its turn.

mod changes;
mod control;
mod heartbeat;
mod reading;
mod reload;
mod reload_log;
mod snapshots;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tunneld_core::backoff::Backoff;
use tunneld_core::config::{Config, TunnelSpec};
use tunneld_core::events;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::ledger::Ledger;
use tunneld_core::ledger::Moment;
use tunneld_core::name::TunnelName;
use tunneld_core::plan::{AtStart, needs_restart};
use tunneld_core::sandbox::Needs;
use tunneld_core::status::ReloadStatus;
use tunneld_ssh::forward::LeaveOnPanic;

use crate::clock;
use crate::config_file::Loaded;
use crate::control::TunnelCommand;
use crate::http::error::{ApiError, ErrorKind};
use crate::tunnel::{self, Surroundings, View, Wanted};
use crate::wait;

pub(crate) use changes::Changes;
pub(crate) use control::Control;
pub(crate) use heartbeat::Heartbeat;
use reading::Readings;
pub(crate) use reading::{By, Request};
use reload_log::ReloadLog;
pub(crate) use snapshots::{Directory, Life, Snapshots};

/// How many commands may wait for the supervisor, and for a tunnel.
const QUEUE: usize = 32;
/// The longest that the supervisor sleeps, so that its heart is seen to beat.
const BEAT: Duration = Duration::from_secs(5);

/// What the supervisor is told.
pub(crate) enum Command {
    /// Read the file and apply it.
    Reload(Request),
    /// A command for one tunnel.
    Tunnel {
        /// Which.
        name: TunnelName,
        /// What.
        command: TunnelCommand,
        /// That it is heard; whoever does not wait any more has been told that it is not.
        heard: oneshot::Sender<()>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), ApiError>>,
    },
    /// Every tunnel tries now.
    RetryNow,
}

/// One tunnel's task, from the outside.
struct Slot {
    wanted: watch::Sender<Wanted>,
    commands: mpsc::Sender<tunnel::Command>,
    view: watch::Receiver<View>,
    /// The delays between the deaths of the task.
    deaths: Backoff,
    /// The task, and since when it runs; `None` after it has died.
    task: Option<(Id, Instant)>,
    /// When a task that died is started again; never by itself after a stop.
    reborn_at: Option<Instant>,
}

impl Slot {
    fn new(wanted: Wanted) -> Self {
        Slot {
            // Replaced when the task is spawned.
            commands: mpsc::channel(1).0,
            view: watch::channel(View::idle(&wanted.spec, Ledger::new(clock::now()))).1,
            deaths: Backoff::new(&wanted.spec.reconnect),
            task: None,
            wanted: watch::Sender::new(wanted),
            reborn_at: None,
        }
    }
}

/// The supervisor's state.
pub(crate) struct Supervisor {
    /// Dropped before all that listens.
    _leaves: LeaveOnPanic,
    path: PathBuf,
    config: Config,
    /// What the daemon began with.
    at_start: Arc<AtStart>,
    surroundings: Surroundings,
    slots: BTreeMap<TunnelName, Slot>,
    tasks: JoinSet<()>,
    names: HashMap<Id, TunnelName>,
    directory: watch::Sender<Directory>,
    last_reload: watch::Sender<LastReload>,
    /// What was read last.
    seen: watch::Sender<Seen>,
    /// How often the file was read and taken.
    reading: u64,
    /// How many of these had the tunnels that wait try at once.
    tries: u64,
    /// What is in the files that are in force.
    in_force: u64,
    /// The reloads that are being read or wait for it.
    readings: Readings,
    /// What was wrong at the last reload, if it was refused.
    last_refusal: Option<String>,
    /// The keys that wait for a restart, as the journal was told last.
    restart_told: Vec<String>,
    reload_log: ReloadLog,
    heartbeat: Arc<Heartbeat>,
    commands: mpsc::Receiver<Command>,
}

/// The last reload, and when it was.
pub(crate) type LastReload = Option<(Moment, ReloadStatus)>;

/// What the rest of the daemon holds of the supervisor.
pub(crate) struct Handles {
    pub(crate) control: Control,
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) reloads: watch::Receiver<LastReload>,
    pub(crate) seen: watch::Receiver<Seen>,
}

/// What was read last, for whoever watches the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `watch` as it is in force.
    pub(crate) watch: bool,
    /// Of what was read, also if it was wrong.
    pub(crate) fingerprint: u64,
    /// Whether it was refused only for files that it names: they may be there later.
    pub(crate) by_files: bool,
}

impl Supervisor {
    /// A supervisor of what was read from `path`, in a daemon that has kept the rights of `given`.
    pub(crate) fn new(
        path: PathBuf,
        loaded: Loaded,
        given: Option<Needs>,
        surroundings: Surroundings,
    ) -> (Supervisor, Handles) {
        let (sender, commands) = mpsc::channel(QUEUE);
        let (directory, directory_receiver) = watch::channel(Directory::default());
        let (last_reload, reloads) = watch::channel(None);
        let (seen, seen_receiver) = watch::channel(Seen {
            watch: loaded.config.daemon.watch,
            fingerprint: loaded.fingerprint,
            by_files: false,
        });
        let heartbeat = Arc::new(Heartbeat::new());
        let at_start = Arc::new(AtStart {
            given,
            ..AtStart::from(&loaded.config)
        });
        let snapshots = Snapshots::new(
            &path,
            Arc::clone(&at_start),
            directory_receiver,
            reloads.clone(),
            Arc::clone(&heartbeat),
        );
        let supervisor = Supervisor {
            _leaves: surroundings.passed.leave_on_panic(),
            path,
            at_start,
            config: loaded.config,
            surroundings,
            slots: BTreeMap::new(),
            tasks: JoinSet::new(),
            names: HashMap::new(),
            directory,
            last_reload,
            seen,
            reading: 0,
            tries: 0,
            in_force: loaded.fingerprint,
            readings: Readings::default(),
            last_refusal: None,
            reload_log: ReloadLog::new(),
            restart_told: Vec::new(),
            heartbeat: Arc::clone(&heartbeat),
            commands,
        };
        let handles = Handles {
            control: Control::new(sender, snapshots),
            heartbeat,
            reloads,
            seen: seen_receiver,
        };
        (supervisor, handles)
    }

    /// Runs until `shutdown`, and then until every tunnel has come to its end.
    pub(crate) async fn run(mut self) {
        for spec in self.config.tunnels.clone().into_values() {
            self.add(spec);
        }
        self.publish();
        let mut beat = tokio::time::interval(BEAT);
        loop {
            self.heartbeat.beat();
            self.surroundings.inject.at_beat().await;
            let rebirth = self.slots.values().filter_map(|s| s.reborn_at).min();
            tokio::select! {
                () = self.surroundings.shutdown.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                (request, read) = self.readings.done() => self.was_read(request, read).await,
                Some(done) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.task_ended(done);
                }
                () = wait::until(rebirth), if rebirth.is_some() => self.rebirth(),
                _ = beat.tick() => self.reload_log.overdue(),
            }
        }
        self.surroundings.shutdown.cancel();
        // To open keys takes time, and a daemon that shall stop has none: whoever waits hears that, and
        // so does who asks from now on.
        self.readings = Readings::default();
        drop(self.commands);
        // The heart of a daemon that stops need not beat: systemd watches the stop by its timeout.
        while self.tasks.join_next().await.is_some() {}
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Reload(request) => self.asked(request),
            Command::Tunnel {
                name,
                command,
                heard,
                reply,
            } => {
                if heard.send(()).is_ok() {
                    self.tell(&name, command, reply);
                }
            }
            Command::RetryNow => {
                for slot in self.slots.values_mut() {
                    if slot.reborn_at.is_some() {
                        slot.reborn_at = Some(Instant::now());
                    }
                    // One that is too busy to hear is not asleep.
                    let _ = slot.commands.try_send(tunnel::Command::RetryNow);
                }
            }
        }
    }

    /// Hands a command on; the tunnel answers when it is done.
    fn tell(
        &mut self,
        name: &TunnelName,
        command: TunnelCommand,
        reply: oneshot::Sender<Result<(), ApiError>>,
    ) {
        if self.slots.get(name).is_some_and(|slot| slot.task.is_none()) {
            if command == TunnelCommand::Stop {
                self.stop_dead(name);
                let _ = reply.send(Ok(()));
                return;
            }
            self.spawn(name);
            self.publish();
        }
        let Some(slot) = self.slots.get_mut(name) else {
            let message = format!("no tunnel `{name}`");
            let _ = reply.send(Err(ApiError::new(ErrorKind::NoSuchTunnel, message)));
            return;
        };
        let told = tunnel::Command::Told { command, reply };
        if let Err(unheard) = slot.commands.try_send(told)
            && let tunnel::Command::Told { reply, .. } = unheard.into_inner()
        {
            let message = format!("tunnel `{name}` is busy; try again");
            let _ = reply.send(Err(ApiError::new(ErrorKind::Busy, message)));
        }
    }

    /// A task that died is not started again by itself.
    fn stop_dead(&mut self, name: &TunnelName) {
        let Some(slot) = self.slots.get_mut(name) else {
            return;
        };
        slot.reborn_at = None;
        let stopped = slot.view.borrow().stopped();
        slot.view = watch::channel(stopped).1;
        tracing::info!(
            message_id = events::TUNNEL_STOPPED,
            tunnel = %name,
            "tunnel stopped"
        );
        self.publish();
    }

    fn add(&mut self, spec: TunnelSpec) {
        let name = spec.name.clone();
        let wanted = self.wanted(spec);
        self.slots.insert(name.clone(), Slot::new(wanted));
        self.spawn(&name);
    }

    /// What a tunnel is told of the file.
    fn wanted(&self, spec: TunnelSpec) -> Wanted {
        Wanted {
            spec,
            drain_timeout: self.config.daemon.drain_timeout,
            reading: self.reading,
            tries: self.tries,
        }
    }

    /// Starts the task of a tunnel: the first, or the next after one that died.
    fn spawn(&mut self, name: &TunnelName) {
        let Some(slot) = self.slots.get_mut(name) else {
            return;
        };
        let wanted = slot.wanted.subscribe();
        let (commands, command_receiver) = mpsc::channel(QUEUE);
        let ledger = slot.view.borrow().ledger().clone();
        let (view_sender, view) = watch::channel(View::idle(&wanted.borrow().spec, ledger));
        slot.commands = commands;
        slot.view = view;
        slot.reborn_at = None;
        let surroundings = self.surroundings.clone();
        let task = tunnel::run(wanted, surroundings, command_receiver, view_sender);
        let task = self.tasks.spawn(task);
        slot.task = Some((task.id(), Instant::now()));
        self.names.insert(task.id(), name.clone());
    }

    fn task_ended(&mut self, done: Result<(Id, ()), JoinError>) {
        let (id, panicked) = match done {
            Ok((id, ())) => (id, false),
            Err(e) => (e.id(), true),
        };
        let Some(name) = self.names.remove(&id) else {
            return;
        };
        // A tunnel that was removed ends by itself, and another of its name may be there by now.
        let slot = self.slots.get_mut(&name).filter(|_| panicked);
        let Some((slot, since)) = slot.and_then(|slot| match slot.task {
            Some((task, since)) if task == id => Some((slot, since)),
            _ => None,
        }) else {
            return;
        };
        let wanted = slot.wanted.borrow().clone();
        if since.elapsed() >= wanted.spec.reconnect.reset_after {
            slot.deaths.reset();
        }
        slot.task = None;
        let delay = slot.deaths.next_delay();
        let reborn_at = Instant::now() + delay;
        slot.reborn_at = Some(reborn_at);
        let failure = Failure::transient(Stage::Session, "its task failed: a bug in tunneld");
        let dead = slot.view.borrow().dead(failure, reborn_at);
        slot.view = watch::channel(dead).1;
        tracing::error!(
            message_id = events::TUNNEL_PANICKED,
            tunnel = %name,
            "the tunnel's task failed and starts again in {:.1}s: a bug in tunneld",
            delay.as_secs_f64()
        );
        self.publish();
    }

    fn rebirth(&mut self) {
        let now = Instant::now();
        let due = |slot: &Slot| slot.reborn_at.is_some_and(|at| at <= now);
        let slots = self.slots.iter().filter(|(_, slot)| due(slot));
        let names: Vec<TunnelName> = slots.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.spawn(&name);
        }
        self.publish();
    }

    fn publish(&self) {
        let views = self.slots.iter().map(|(n, s)| (n.clone(), s.view.clone()));
        let waiting = needs_restart(&self.at_start, &self.config);
        self.directory.send_replace(Directory::new(
            views.collect(),
            self.config.daemon.clone(),
            waiting.into_iter().map(|k| k.key).collect(),
        ));
    }
}
