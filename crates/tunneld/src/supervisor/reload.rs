//! A reload: what was read is compared with what is in force, and applied.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tunneld_core::config::{Config, TunnelSpec};
use tunneld_core::plan::{KeyChange, Plan};
use tunneld_core::status::ReloadStatus;
use tunneld_ssh::calling;

use super::Supervisor;
use super::reading::{self, By, Checked, Read, Refusal, Request};
use crate::clock;
use crate::config_file::LoadError;
use crate::control::Reloaded;
use crate::http::error::{ApiError, ErrorKind};

/// How long a reload waits for the tunnels to take what the file says.
const APPLY_PATIENCE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Takes a reload that is asked for: it is read when those before it are done.
    pub(super) fn asked(&mut self, request: Request) {
        if let Err(Request { reply, .. }) = self.readings.push(request) {
            let message = "too many reloads wait for one that is being read; try again";
            if let Some(reply) = reply {
                let _ = reply.send(Err(ApiError::new(ErrorKind::Busy, message)));
            }
        }
        self.read_next();
    }

    fn read_next(&mut self) {
        self.readings.next(|| {
            let views = self.directory.borrow().tunnels();
            let (path, at_start) = (self.path.clone(), Arc::clone(&self.at_start));
            reading::start(path, at_start, self.config.clone(), views)
        });
    }

    /// What was read is applied, all or nothing, and whoever asked hears of it.
    pub(super) async fn was_read(&mut self, request: Request, read: Option<Read>) {
        let Request { dry_run, by, reply } = request;
        let fingerprint = read.as_ref().map(|read| read.fingerprint);
        let outcome = read.map_or_else(|| Err(self.interrupted()), |read| read.outcome);
        let by_files = outcome.as_ref().is_err_and(|refusal| refusal.by_files);
        let answer = match outcome {
            Ok(checked) => {
                // Whoever asks has mended something: here, or where a tunnel is waiting for it.
                let tries = by == By::Person || fingerprint != Some(self.in_force);
                Ok(self.take(checked, dry_run, tries).await)
            }
            Err(Refusal { error, .. }) => Err(refused(error)),
        };
        if !dry_run {
            let report = answer.as_ref().err().and_then(|e| e.report.clone());
            if by != By::Again || report.is_none() || report != self.last_refusal {
                self.note_reload(&answer, by_files, by);
            }
            self.last_refusal = report;
            let watch = self.config.daemon.watch;
            self.in_force = match &answer {
                Ok(_) => fingerprint.unwrap_or(self.in_force),
                Err(_) => self.in_force,
            };
            self.seen.send_modify(|seen| {
                seen.watch = watch;
                seen.fingerprint = fingerprint.unwrap_or(seen.fingerprint);
                seen.by_files = by_files;
            });
        }
        if let Some(reply) = reply {
            // Whoever asked may have gone; what was done is done and logged.
            let _ = reply.send(answer);
        }
        self.read_next();
    }

    /// With `tries`, the tunnels that wait try at once.
    async fn take(&mut self, checked: Checked, dry_run: bool, tries: bool) -> Reloaded {
        let Checked { loaded, passing } = checked;
        // Tunnels may have been stopped and started since the files were read.
        let views = self.directory.borrow().tunnels();
        let mut plan = reading::compare(&self.at_start, &self.config, &loaded.config, &views);
        plan.count_connections(&views);
        if tries {
            let now = clock::unix_ms(std::time::SystemTime::now());
            plan.note_tries(&loaded.config, &views, now);
        }
        if !dry_run {
            self.tries += u64::from(tries);
            self.apply(loaded.config, &plan).await;
            self.reload_log.files(&passing);
            self.unused.look(&self.surroundings.passed, &self.config);
        }
        let warnings = (&passing).into_iter().map(|item| item.message.clone());
        Reloaded {
            dry_run,
            plan,
            warnings: warnings.collect(),
        }
    }

    fn interrupted(&self) -> Refusal {
        Refusal {
            error: LoadError::Unreadable {
                path: self.path.clone(),
                reason: "reading it was interrupted".to_owned(),
            },
            by_files: false,
        }
    }

    async fn apply(&mut self, config: Config, plan: &Plan) {
        self.reading += 1;
        self.config = config;
        // What stops first gives up its listening places before others ask for them.
        let mut changes: Vec<_> = plan.tunnels.iter().collect();
        changes.sort_by_key(|change| change.action);
        for change in changes {
            let spec = self.config.tunnels.get(&change.tunnel).cloned();
            match (spec, self.slots.contains_key(&change.tunnel)) {
                (None, _) => {
                    // Without its commands the task stops in good order, and ends.
                    self.slots.remove(&change.tunnel);
                }
                (Some(spec), false) => self.add(spec),
                (Some(spec), true) => self.respec(spec),
            }
        }
        self.publish();
        self.applied().await;
    }

    fn respec(&mut self, spec: TunnelSpec) {
        let name = spec.name.clone();
        let wanted = self.wanted(spec);
        let Some(slot) = self.slots.get_mut(&name) else {
            return;
        };
        let tries = wanted.tries;
        let before = slot.wanted.send_replace(wanted);
        if before.tries != tries && slot.reborn_at.is_some() {
            slot.reborn_at = Some(Instant::now());
        }
        // `stop` lasts until a reload.
        if slot.task.is_none() && slot.reborn_at.is_none() {
            self.spawn(&name);
        }
    }

    /// Returns when the tunnels of the file have taken what it says of them. One that is busy stopping
    /// takes its time, and nobody needs to wait for that.
    async fn applied(&self) {
        let reading = self.reading;
        let waits = self.slots.values().map(|slot| {
            let mut view = slot.view.clone();
            async move {
                view.wait_for(|view| view.reading() >= reading)
                    .await
                    .is_ok()
            }
        });
        let all = futures_util::future::join_all(waits);
        let _ = tokio::time::timeout(APPLY_PATIENCE, all).await;
    }

    /// Tells of a reload; `by_files` where it was refused only for files that the file names.
    fn note_reload(&mut self, answer: &Result<Reloaded, ApiError>, by_files: bool, by: By) {
        let error = answer.as_ref().err().map(ApiError::first);
        let before = self.last_reload.borrow().clone();
        let (accepted, refused) = before.map_or((0, 0), |(_, b)| (b.accepted, b.refused));
        match answer {
            Ok(Reloaded { plan, .. }) => {
                self.reload_log.applied(plan);
                let keys = plan.needs_restart.iter().map(waiting);
                self.note_restart(keys.collect(), by);
            }
            Err(e) => {
                let hint = by_files.then(|| self.retry_hint());
                self.reload_log.refused(e, hint.as_deref());
            }
        }
        let now = clock::now();
        let status = ReloadStatus {
            at_unix_ms: now.unix_ms,
            ok: error.is_none(),
            accepted: accepted + u64::from(error.is_none()),
            refused: refused + u64::from(error.is_some()),
            error,
        };
        self.last_reload.send_replace(Some((now, status)));
    }

    /// A person is told each time which keys wait for a restart; nobody else is twice of the same.
    fn note_restart(&mut self, keys: Vec<String>, by: By) {
        if !keys.is_empty() && (by == By::Person || keys != self.restart_told) {
            self.reload_log.restart_needed(&keys);
        }
        self.restart_told = keys;
    }

    /// What to do where files that are named are not as they have to be.
    fn retry_hint(&self) -> String {
        let once = format!(
            "`{}` once they are there",
            calling::ours().command(&["reload"])
        );
        match self.config.daemon.watch {
            true => format!(
                "it is tried again every minute, and when anything happens beside the file; or {once}"
            ),
            false => once,
        }
    }
}

/// A key that waits for a restart, as a log line has it: with what is not possible until then.
fn waiting(change: &KeyChange) -> String {
    match (change.key.as_str(), &change.after) {
        ("sandbox", Some(after)) => format!("sandbox ({after})"),
        (key, _) => key.to_owned(),
    }
}

fn refused(error: LoadError) -> ApiError {
    let (diagnostics, report) = match &error {
        LoadError::Bad(diagnostics) => (diagnostics.to_json_items(), diagnostics.render(false)),
        LoadError::Unreadable { .. } => (Vec::new(), error.render(false)),
    };
    ApiError {
        kind: ErrorKind::BadConfig,
        message: error.summary(),
        diagnostics,
        report: Some(report),
    }
}
