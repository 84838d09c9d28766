//! Reading the files for a reload, beside the supervisor: its heart beats and commands are heard,
//! however long that takes. One is read after the other; those that come meanwhile wait.

use std::collections::{HashSet, VecDeque};
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tunneld_core::config::{Config, Diagnostics};
use tunneld_core::name::TunnelName;
use tunneld_core::plan::{self, AtStart, Plan, PlanAction};
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_ssh::KeyChecks;

use super::QUEUE;
use crate::config_file::{self, LoadError, Loaded, Source};
use crate::control::Reloaded;
use crate::http::error::ApiError;

/// How long a reload opens keys to see whether their passphrases are right. Those that are left over
/// then are opened by the tunnels that need them, as at the start.
const OPENING: Duration = Duration::from_secs(10);

/// Who asks for a reload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum By {
    /// A person, or a program for one: by command or signal.
    #[default]
    Person,
    /// The watch: the file has changed.
    Watch,
    /// The watch, once more: the one before was refused for files that may be there by now. The same
    /// refusal is no news.
    Again,
}

/// A reload that is asked for.
#[derive(Default)]
pub(crate) struct Request {
    /// Only say what would happen.
    pub(crate) dry_run: bool,
    /// Who asks.
    pub(crate) by: By,
    /// Where the answer goes; nobody waits for the answer to a signal.
    pub(crate) reply: Option<oneshot::Sender<Result<Reloaded, ApiError>>>,
}

/// What was read, and is right.
pub(super) struct Checked {
    pub(super) loaded: Loaded,
    /// What is wrong only for now with the files that it names.
    pub(super) passing: Diagnostics,
}

/// Why what was read is not taken.
pub(super) struct Refusal {
    pub(super) error: LoadError,
    /// Whether the file is right, and only files that it names are not.
    pub(super) by_files: bool,
}

/// What came of a reading.
pub(super) struct Read {
    /// Of what was read.
    pub(super) fingerprint: u64,
    pub(super) outcome: Result<Checked, Refusal>,
}

/// The reload that is being read, and those that wait for it.
#[derive(Default)]
pub(super) struct Readings {
    running: Option<(Request, JoinHandle<Read>)>,
    waiting: VecDeque<Request>,
}

impl Readings {
    /// Puts a reload at the end. One that nobody waits for is done by one that waits already: the
    /// files are read after now. Returns it where too many wait.
    pub(super) fn push(&mut self, request: Request) -> Result<(), Request> {
        let covers = |waiting: &Request| !waiting.dry_run && waiting.by == By::Person;
        if request.reply.is_none() && self.waiting.iter().any(covers) {
            return Ok(());
        }
        // Only clients are sent away: of signals and of the watch there is one at most, and what has
        // changed is not looked at again.
        let by_client = request.reply.is_some() && request.by == By::Person;
        if by_client && self.waiting.len() >= QUEUE {
            return Err(request);
        }
        self.waiting.push_back(request);
        Ok(())
    }

    /// Has the next one read by `start`, unless one is being read.
    pub(super) fn next(&mut self, start: impl FnOnce() -> JoinHandle<Read>) {
        if self.running.is_none()
            && let Some(request) = self.waiting.pop_front()
        {
            self.running = Some((request, start()));
        }
    }

    /// Returns when one is read, with what came of it: nothing if the reading itself has failed.
    pub(super) async fn done(&mut self) -> (Request, Option<Read>) {
        let Some((_, task)) = &mut self.running else {
            return pending().await;
        };
        let read = task.await.ok();
        match self.running.take() {
            Some((request, _)) => (request, read),
            None => pending().await,
        }
    }
}

/// Reads and checks the files for a daemon with this configuration and these tunnels.
pub(super) fn start(
    path: PathBuf,
    at_start: Arc<AtStart>,
    old: Config,
    views: Vec<TunnelStatus>,
) -> JoinHandle<Read> {
    tokio::task::spawn_blocking(move || {
        let source = config_file::source(&path);
        Read {
            fingerprint: source.fingerprint(),
            outcome: check(source, &at_start, &old, &views),
        }
    })
}

/// Checks what was read, and the files of the tunnels that it starts or replaces. Blocks.
fn check(
    source: Source,
    at_start: &AtStart,
    old: &Config,
    views: &[TunnelStatus],
) -> Result<Checked, Refusal> {
    let loaded = source.check().map_err(|error| Refusal {
        error,
        by_files: false,
    })?;
    let plan = compare(at_start, old, &loaded.config, views);
    let touched = plan.tunnels.iter();
    let touched: HashSet<&TunnelName> = touched
        .filter(|c| matches!(c.action, PlanAction::Start | PlanAction::Replace))
        .map(|c| &c.tunnel)
        .collect();
    let mut keys = KeyChecks::within(OPENING);
    let found = loaded.check_changes(&mut keys, old, |name| touched.contains(name));
    match found.lasting.is_empty() {
        true => Ok(Checked {
            loaded,
            passing: found.passing,
        }),
        false => Err(Refusal {
            error: LoadError::Bad(Box::new(found.all)),
            by_files: true,
        }),
    }
}

/// What a configuration changes, as the tunnels are now, in a daemon that began with `at_start`.
pub(super) fn compare(
    at_start: &AtStart,
    old: &Config,
    new: &Config,
    views: &[TunnelStatus],
) -> Plan {
    let stopped = views.iter().filter(|t| t.phase == Phase::Stopped);
    let stopped: HashSet<&TunnelName> = stopped.map(|t| &t.name).collect();
    plan::diff(at_start, old, new, |name| stopped.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(dry_run: bool) -> Request {
        Request {
            dry_run,
            reply: Some(oneshot::channel().0),
            ..Request::default()
        }
    }

    #[test]
    fn those_that_wait_are_bounded_and_a_signal_is_never_lost() {
        // Clients are told that there are too many; a signal is served by the first that reads later.
        let mut readings = Readings::default();
        for _ in 0..QUEUE {
            assert!(readings.push(asked(true)).is_ok());
        }
        assert!(readings.push(asked(false)).is_err());
        for _ in 0..100 {
            assert!(readings.push(Request::default()).is_ok());
        }
        assert_eq!(readings.waiting.len(), QUEUE + 1);
        let last = readings.waiting.back().unwrap();
        assert!(!last.dry_run && last.reply.is_none());
    }

    #[test]
    fn what_the_watch_has_seen_is_read_however_many_wait() {
        let mut readings = Readings::default();
        for _ in 0..QUEUE {
            assert!(readings.push(asked(true)).is_ok());
        }
        let by_watch = Request {
            by: By::Watch,
            ..asked(false)
        };
        assert!(readings.push(by_watch).is_ok());
    }
}
