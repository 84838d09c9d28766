//! What is done with the folder, on a thread of its own, since a disk may take its time.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use tunneld_core::events;
use tunneld_core::history::Record;
use tunneld_core::ledger::Moment;
use tunneld_core::name::TunnelName;
use tunneld_ssh::error::os_reason;

use super::folder::{Folder, Found};

/// What is to be done, in this order.
pub(super) struct Work {
    /// The tunnels of the configuration.
    pub(super) names: BTreeSet<TunnelName>,
    /// The records to be written.
    pub(super) write: Vec<(TunnelName, Record)>,
    /// The tunnels whose records are to be read.
    pub(super) read: Vec<TunnelName>,
    /// Whether to say that the daemon is alive.
    pub(super) alive: bool,
    /// What time it is.
    pub(super) now: Moment,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Done {
    /// What could not be written.
    pub(super) failed: BTreeSet<TunnelName>,
    /// What was found of the tunnels that were to be read; none of them if the folder is not there.
    pub(super) found: Vec<(TunnelName, Option<Record>)>,
}

/// The folder, once it is there.
pub(super) struct Disk {
    state: PathBuf,
    run: String,
    folder: Option<Folder>,
    /// Whether it was said that something is wrong.
    said: bool,
}

impl Disk {
    pub(super) fn new(state: PathBuf, run: String) -> Self {
        Disk {
            state,
            run,
            folder: None,
            said: false,
        }
    }

    /// Whether the folder is there.
    pub(super) fn is_open(&self) -> bool {
        self.folder.is_some()
    }

    /// Does it. Blocks.
    pub(super) fn work(&mut self, work: Work) -> Done {
        let mut done = Done::default();
        if self.folder.is_none() {
            match Folder::open(&self.state, self.run.clone(), &work.names) {
                Ok(folder) => self.folder = Some(folder),
                Err(e) => self.trouble(&e),
            }
        }
        let Some(folder) = &self.folder else {
            return done;
        };
        let mut problem = None;
        for (name, record) in &work.write {
            if let Err(e) = folder.write(name, work.now, record) {
                problem.get_or_insert(e);
                done.failed.insert(name.clone());
            }
        }
        for name in work.read {
            let found = match folder.read(&name) {
                Found::Nothing => None,
                Found::Record(record) => Some(*record),
                Found::Bad(reason) => {
                    bad(folder, &name, &reason);
                    None
                }
            };
            done.found.push((name, found));
        }
        if work.alive
            && let Err(e) = folder.write_alive(work.now)
        {
            problem.get_or_insert(e);
        }
        match problem {
            Some(e) => self.trouble(&e),
            None if work.alive && self.said => {
                self.said = false;
                tracing::info!(
                    message_id = events::HISTORY_KEPT,
                    "the history is kept again"
                );
            }
            None => {}
        }
        done
    }

    /// Says once that the history is not kept.
    fn trouble(&mut self, e: &io::Error) {
        let path = self.folder.as_ref().map(Folder::path);
        let path = path.unwrap_or(&self.state).display();
        let cause = os_reason(e);
        match std::mem::replace(&mut self.said, true) {
            true => tracing::debug!("the history cannot be kept in {path}: {cause}"),
            false => tracing::warn!(
                message_id = events::HISTORY_NOT_KEPT,
                cause,
                "the history cannot be kept in {path}: {cause}; it is tried again every 30s"
            ),
        }
    }
}

/// Says that a file cannot be used, and puts it out of the way.
fn bad(folder: &Folder, name: &TunnelName, reason: &str) {
    let end = match folder.set_aside(name) {
        Ok(aside) => format!("it is now {}", aside.display()),
        Err(e) => format!("and it cannot be set aside: {}", os_reason(&e)),
    };
    tracing::warn!(
        message_id = events::HISTORY_SET_ASIDE,
        tunnel = %name,
        cause = reason,
        "the history in {}/{name}.json cannot be used: {reason}; {end}",
        folder.path().display(),
    );
}
