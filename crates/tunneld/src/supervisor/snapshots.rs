//! What is to be seen of the tunnels: snapshots, which anybody may take at any time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tunneld_core::config::DaemonConfig;
use tunneld_core::history::{HistoryReport, Record};
use tunneld_core::ledger::{Ledger, Moment};
use tunneld_core::metrics::More;
use tunneld_core::name::TunnelName;
use tunneld_core::plan::AtStart;
use tunneld_core::status::{DaemonStatus, TunnelStatus};

use super::{Changes, Heartbeat, LastReload};
use crate::clock;
use crate::tunnel::View;

/// Every tunnel, and where its view is.
#[derive(Clone, Default)]
pub(crate) struct Directory {
    views: Arc<BTreeMap<TunnelName, watch::Receiver<View>>>,
    daemon: Option<DaemonConfig>,
    needs_restart: Vec<String>,
}

impl Directory {
    pub(super) fn new(
        views: BTreeMap<TunnelName, watch::Receiver<View>>,
        daemon: DaemonConfig,
        needs_restart: Vec<String>,
    ) -> Self {
        Directory {
            views: Arc::new(views),
            daemon: Some(daemon),
            needs_restart,
        }
    }

    /// The views, for waiting on their changes.
    pub(crate) fn views(&self) -> Vec<watch::Receiver<View>> {
        self.views.values().cloned().collect()
    }

    /// The view of one tunnel. It has the last word of a tunnel that is no more.
    pub(crate) fn view(&self, name: &TunnelName) -> Option<watch::Receiver<View>> {
        self.views.get(name).cloned()
    }

    /// What each of them has been through.
    pub(crate) fn ledgers(&self) -> BTreeMap<TunnelName, Ledger> {
        let ledger = |view: &watch::Receiver<View>| view.borrow().ledger().clone();
        self.views
            .iter()
            .map(|(name, view)| (name.clone(), ledger(view)))
            .collect()
    }

    /// The status of each.
    pub(crate) fn tunnels(&self) -> Vec<TunnelStatus> {
        self.views.values().map(|v| v.borrow().status()).collect()
    }

    /// `[daemon]` as it is in force; `None` before the first tunnel was started.
    pub(crate) fn daemon(&self) -> Option<&DaemonConfig> {
        self.daemon.as_ref()
    }
}

/// Where the daemon is between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// `ready_when` has not held yet.
    Starting,
    /// It has held once.
    Ready,
    /// It does not hold any more, and will not: tunnels that are stopped with the daemon do not count
    /// as ready.
    Stopping,
}

/// Takes snapshots of the daemon.
#[derive(Clone)]
pub(crate) struct Snapshots {
    config: String,
    started: Moment,
    /// What it began with then.
    at_start: Arc<AtStart>,
    life: watch::Sender<Life>,
    /// What there was of each tunnel before this run of the daemon.
    earlier: watch::Sender<BTreeMap<TunnelName, Arc<Record>>>,
    directory: watch::Receiver<Directory>,
    last_reload: watch::Receiver<LastReload>,
    heartbeat: Arc<Heartbeat>,
}

impl Snapshots {
    pub(super) fn new(
        path: &Path,
        at_start: Arc<AtStart>,
        directory: watch::Receiver<Directory>,
        last_reload: watch::Receiver<LastReload>,
        heartbeat: Arc<Heartbeat>,
    ) -> Self {
        Snapshots {
            config: path.display().to_string(),
            started: clock::now(),
            at_start,
            life: watch::Sender::new(Life::Starting),
            earlier: watch::Sender::default(),
            directory,
            last_reload,
            heartbeat,
        }
    }

    /// Tells when there is something new to see.
    pub(crate) fn changes(&self) -> Changes {
        let (directory, reloads) = (self.directory.clone(), self.last_reload.clone());
        Changes::new(directory, reloads, self.life.subscribe())
    }

    /// Every tunnel.
    pub(crate) fn directory(&self) -> watch::Receiver<Directory> {
        self.directory.clone()
    }

    /// `[daemon]` as it was at the start: for what is in force only after a restart.
    pub(crate) fn at_start(&self) -> &DaemonConfig {
        &self.at_start.daemon
    }

    /// `ready_when` holds. Returns whether that ends the start: it does not twice, nor when the daemon
    /// stops.
    pub(crate) fn set_ready(&self) -> bool {
        self.life.send_if_modified(|life| {
            let starts = *life == Life::Starting;
            if starts {
                *life = Life::Ready;
            }
            starts
        })
    }

    /// From now on it does not hold: the daemon stops.
    pub(crate) fn set_stopping(&self) {
        self.life.send_replace(Life::Stopping);
    }

    /// Where the daemon is between its start and its end.
    pub(crate) fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// Whether `ready_when` has held, and the daemon is not stopping.
    pub(crate) fn is_ready(&self) -> bool {
        self.life() == Life::Ready
    }

    /// What there was of a tunnel before this run of the daemon.
    pub(crate) fn remember(&self, name: &TunnelName, record: Option<Record>) {
        self.earlier.send_modify(|earlier| {
            match record {
                Some(record) => earlier.insert(name.clone(), Arc::new(record)),
                None => earlier.remove(name),
            };
        });
    }

    /// The same, as far as it is known.
    pub(crate) fn earlier(&self, name: &TunnelName) -> Option<Arc<Record>> {
        self.earlier.borrow().get(name).cloned()
    }

    /// What a tunnel has been through, in earlier runs too; `None` if there is none of that name.
    pub(crate) fn history(&self, name: &TunnelName) -> Option<HistoryReport> {
        let view = self.directory.borrow().view(name)?;
        let record = view.borrow().ledger().record(clock::now());
        let record = match self.earlier(name) {
            Some(earlier) => record.after(&earlier),
            None => record,
        };
        Some(record.report(name.clone()))
    }

    /// The names of the tunnels.
    pub(crate) fn names(&self) -> Vec<String> {
        let directory = self.directory.borrow();
        directory.views.keys().map(ToString::to_string).collect()
    }

    /// Whether the supervisor is there.
    pub(crate) fn is_alive(&self) -> bool {
        self.heartbeat.is_fresh()
    }

    /// What there is to tell of each tunnel beside its status, in the same order, with the status.
    pub(crate) fn daemon_and_more(&self) -> (DaemonStatus, Vec<More>) {
        let both = |view: &watch::Receiver<View>| {
            let view = view.borrow();
            (view.status(), view.more())
        };
        let directory = self.directory.borrow().clone();
        let (tunnels, more) = directory.views.values().map(both).unzip();
        (self.daemon_of(&directory, tunnels), more)
    }

    /// The whole daemon.
    pub(crate) fn daemon(&self) -> DaemonStatus {
        let directory = self.directory.borrow().clone();
        self.daemon_of(&directory, directory.tunnels())
    }

    fn daemon_of(&self, directory: &Directory, tunnels: Vec<TunnelStatus>) -> DaemonStatus {
        let now = clock::now();
        let last_reload = self.last_reload.borrow().clone().map(|(at, mut reload)| {
            reload.at_unix_ms = clock::told(at, now);
            reload
        });
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_unix_ms: clock::told(self.started, now),
            config: self.config.clone(),
            ready: self.is_ready(),
            stopping: self.life() == Life::Stopping,
            last_reload,
            needs_restart: directory.needs_restart.clone(),
            tunnels,
        }
    }
}
