//! Keeps what the tunnels have been through over a restart of the daemon.
//!
//! Reads ledgers, and tells the snapshots what there was before them. A tunnel that goes up or down
//! is written down within a second or two, other counts within [`TICK`]; however many tunnels there
//! are, at most [`BATCH`] files are written in a second. Nothing waits for any of it.

mod disk;
mod folder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tunneld_core::config::DaemonConfig;
use tunneld_core::events;
use tunneld_core::history::Record;
use tunneld_core::ledger::{KEPT, Ledger, Moment};
use tunneld_core::name::TunnelName;
use tunneld_core::status::Phase;

use self::disk::{Disk, Done, Work};
use crate::clock;
use crate::supervisor::Snapshots;
use crate::tunnel::View;

/// How long it rests after it has written something.
const PAUSE: Duration = Duration::from_secs(1);
/// How many files are written in one go.
const BATCH: usize = 64;
/// How often everything is written down that has changed at all.
const TICK: Duration = Duration::from_secs(30);
/// How long writing may take when the daemon stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the history is kept: where the file says, else where the service manager does. It may name
/// several folders, of which this is the first (systemd.exec(5), `StateDirectory=`).
pub(crate) fn place(daemon: &DaemonConfig) -> Option<PathBuf> {
    if daemon.state_directory.is_some() {
        return daemon.state_directory.clone();
    }
    let named = std::env::var("STATE_DIRECTORY").ok()?;
    let first = Path::new(named.split(':').next()?);
    first.is_absolute().then(|| first.to_owned())
}

/// Keeps it, until told to stop.
pub(crate) async fn run(state: Option<PathBuf>, snapshots: Snapshots, stop: CancellationToken) {
    let Some(state) = state else {
        tracing::debug!("no state directory: the history of the tunnels ends with the daemon");
        return;
    };
    let mut directory = snapshots.directory();
    tokio::select! {
        // Who wants to know what there was has to know first of whom.
        _ = directory.wait_for(|directory| directory.daemon().is_some()) => {}
        () = stop.cancelled() => return,
    }
    let mut changes = snapshots.changes();
    let mut keeper = Keeper::new(state, snapshots);
    let mut tick = Instant::now();
    loop {
        let ticks = tick <= Instant::now();
        if ticks {
            tick = Instant::now() + TICK;
        }
        let pass = keeper.pass(ticks);
        tokio::select! {
            () = pass => {}
            // A disk that does not answer keeps nobody from stopping.
            () = async { stop.cancelled().await; sleep(FAREWELL).await } => return,
        }
        let more = keeper.more;
        let next = async {
            sleep(PAUSE).await;
            if !more {
                changes.next().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = next => {}
            () = sleep_until(tick) => {}
        }
    }
    let farewell = async {
        keeper.pass(true).await;
        while keeper.more {
            keeper.pass(false).await;
        }
    };
    if timeout(FAREWELL, farewell).await.is_err() {
        tracing::warn!(
            message_id = events::HISTORY_NOT_KEPT,
            cause = "the disk is too slow",
            "not all of the history was written: the disk is too slow"
        );
    }
}

/// One tunnel.
struct Known {
    /// What was last seen of it.
    ledger: Ledger,
    /// Where to look again.
    view: watch::Receiver<View>,
    /// Whether it is known what there was before: its file is not written until then.
    read: bool,
    /// What of it is in its file: how many writes, and the last change.
    kept: Option<(u64, Option<(u64, Phase)>)>,
    /// Whether it is to be written at all costs, since the last tick.
    due: bool,
}

impl Known {
    fn new(ledger: Ledger, view: watch::Receiver<View>) -> Self {
        Known {
            ledger,
            view,
            read: false,
            kept: None,
            due: false,
        }
    }

    /// Whether its file is behind.
    fn is_dirty(&self) -> bool {
        self.kept
            .is_none_or(|(writes, _)| writes != self.ledger.writes())
    }

    /// Whether it stands elsewhere than its file says.
    fn has_moved(&self) -> bool {
        self.kept
            .is_some_and(|(_, last)| last != self.ledger.last())
    }
}

struct Keeper {
    snapshots: Snapshots,
    /// `None` while it works, and for ever if that was its end.
    disk: Option<Disk>,
    known: BTreeMap<TunnelName, Known>,
    /// Where the last batch ended, so that each has its turn.
    last: Option<TunnelName>,
    /// Whether there is more to be done than fits into a batch.
    more: bool,
}

impl Keeper {
    fn new(state: PathBuf, snapshots: Snapshots) -> Self {
        let started = clock::now();
        let run = format!("{}-{}", started.unix_ms, std::process::id());
        Keeper {
            snapshots,
            disk: Some(Disk::new(state, run)),
            known: BTreeMap::new(),
            last: None,
            more: false,
        }
    }

    /// Looks at every tunnel, and brings the disk up to date.
    async fn pass(&mut self, ticks: bool) {
        // Before that the disk is asked again only now and then.
        let rests = self.disk.as_ref().is_none_or(|disk| !disk.is_open());
        self.more = false;
        let directory = self.snapshots.directory().borrow().clone();
        if rests && !ticks {
            return;
        }
        let now = clock::now();
        let ledgers = directory.ledgers();
        let names = ledgers.keys().cloned().collect();
        let mut write = self.gone(&ledgers, now);
        for (name, ledger) in ledgers {
            let Some(view) = directory.view(&name) else {
                continue;
            };
            match self.known.get_mut(&name) {
                Some(known) => (known.ledger, known.view) = (ledger, view),
                None => {
                    self.known.insert(name, Known::new(ledger, view));
                }
            }
        }
        let unread = self.known.iter().filter(|(_, known)| !known.read);
        let read: Vec<TunnelName> = unread.map(|(name, _)| name.clone()).collect();
        let alive = ticks || !read.is_empty();
        for known in self.known.values_mut() {
            known.due = (known.due || ticks) && known.is_dirty();
        }
        write.extend(self.batch(now));
        if write.is_empty() && !alive {
            return;
        }
        let work = Work {
            names,
            write,
            read,
            alive,
            now,
        };
        self.work(work).await;
    }

    /// The last records of tunnels that are no more; one of the same name may have come.
    fn gone(
        &mut self,
        ledgers: &BTreeMap<TunnelName, Ledger>,
        now: Moment,
    ) -> Vec<(TunnelName, Record)> {
        let is_there = |name: &TunnelName, known: &Known| {
            let there = ledgers.get(name);
            there.is_some_and(|ledger| ledger.start() == known.ledger.start())
        };
        let mut last = Vec::new();
        self.known.retain(|name, known| {
            let stays = is_there(name, known);
            if !stays {
                known.ledger = known.view.borrow().ledger().clone();
                if known.ledger.last().is_none_or(|(_, p)| p != Phase::Stopped) {
                    known.ledger.enter(now, Phase::Stopped, None);
                }
                if known.read {
                    let record = record(&self.snapshots, name, &known.ledger, now);
                    last.push((name.clone(), record));
                }
                self.snapshots.remember(name, None);
            }
            stays
        });
        last
    }

    /// The records whose turn it is.
    fn batch(&mut self, now: Moment) -> Vec<(TunnelName, Record)> {
        let wanted = |known: &Known| known.read && (known.due || known.has_moved());
        let after = |name: &TunnelName| self.last.as_ref().is_none_or(|last| name > last);
        let wanting = || self.known.iter().filter(|(_, known)| wanted(known));
        let first = wanting().filter(|(name, _)| after(name));
        let then = wanting().filter(|(name, _)| !after(name));
        let turn: Vec<_> = first.chain(then).take(BATCH + 1).collect();
        self.more = turn.len() > BATCH;
        let records = turn.into_iter().take(BATCH).map(|(name, known)| {
            let record = record(&self.snapshots, name, &known.ledger, now);
            (name.clone(), record)
        });
        let records: Vec<_> = records.collect();
        self.last = records.last().map(|(name, _)| name.clone());
        for (name, _) in &records {
            if let Some(known) = self.known.get_mut(name) {
                known.due = false;
                known.kept = Some((known.ledger.writes(), known.ledger.last()));
            }
        }
        records
    }

    async fn work(&mut self, work: Work) {
        let Some(mut disk) = self.disk.take() else {
            return;
        };
        let worked = tokio::task::spawn_blocking(move || (disk.work(work), disk)).await;
        let Ok((done, disk)) = worked else {
            tracing::error!(
                message_id = events::BUG,
                "the history is not kept any more: a bug in tunneld"
            );
            return;
        };
        self.disk = Some(disk);
        self.done(done);
    }

    fn done(&mut self, done: Done) {
        for name in done.failed {
            if let Some(known) = self.known.get_mut(&name)
                && let Some((writes, _)) = &mut known.kept
            {
                // Behind, but not to be tried before the next tick.
                *writes = u64::MAX;
            }
        }
        for (name, record) in done.found {
            if let Some(known) = self.known.get_mut(&name) {
                known.read = true;
                known.due = true;
                self.more = true;
                self.snapshots.remember(&name, record);
            }
        }
    }
}

/// What a tunnel has been through, with what was before this run. What has gone out of it for ever
/// is forgotten.
fn record(snapshots: &Snapshots, name: &TunnelName, ledger: &Ledger, now: Moment) -> Record {
    let record = ledger.record(now);
    let Some(earlier) = snapshots.earlier(name) else {
        return record;
    };
    let room = KEPT.saturating_sub(record.entries());
    let whole = record.after(&earlier);
    if earlier.entries() > room {
        let mut rest = (*earlier).clone();
        rest.keep_last(room);
        snapshots.remember(name, Some(rest));
    }
    whole
}
