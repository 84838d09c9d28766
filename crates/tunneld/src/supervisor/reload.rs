//! A reload: read, check, compare, apply.

use std::collections::HashSet;
use std::time::Duration;

use tunneld_core::config::{Config, Diagnostics, TunnelSpec};
use tunneld_core::events;
use tunneld_core::name::TunnelName;
use tunneld_core::plan::{self, Plan, PlanAction};
use tunneld_core::status::{Phase, ReloadStatus, TunnelStatus};
use tunneld_ssh::KeyChecks;

use super::Supervisor;
use crate::clock;
use crate::config_file::{self, LoadError, Loaded, Source};
use crate::control::{ApiError, ErrorKind, Reloaded};
use crate::tunnel::Wanted;

/// How long a reload waits for the tunnels to take what the file says.
const APPLY_PATIENCE: Duration = Duration::from_secs(1);

/// What was read, what it changes, and what is wrong only for now with the files that it names.
type Planned = (Loaded, Plan, Diagnostics);

impl Supervisor {
    /// Read, check, compare, apply: all or nothing.
    pub(super) async fn reload(&mut self, dry_run: bool) -> Result<Reloaded, ApiError> {
        let (fingerprint, outcome) = self.read_and_plan().await;
        let answer = match outcome {
            Ok((loaded, mut plan, passing)) => {
                plan.count_connections(&self.directory.borrow().tunnels());
                if !dry_run {
                    self.apply(loaded.config, &plan).await;
                    config_file::files::warn(&passing);
                }
                let warnings = (&passing).into_iter().map(|item| item.message.clone());
                Ok(Reloaded {
                    dry_run,
                    plan,
                    warnings: warnings.collect(),
                })
            }
            Err(error) => Err(refused(error)),
        };
        if !dry_run {
            self.note_reload(&answer);
            let watch = self.config.daemon.watch;
            self.seen.send_modify(|seen| {
                seen.watch = watch;
                seen.fingerprint = fingerprint.unwrap_or(seen.fingerprint);
            });
        }
        answer
    }

    /// Also the fingerprint of what was read, if it came to that.
    async fn read_and_plan(&self) -> (Option<u64>, Result<Planned, LoadError>) {
        let (path, old) = (self.path.clone(), self.config.clone());
        let views = self.directory.borrow().tunnels();
        let read = tokio::task::spawn_blocking(move || {
            let source = config_file::source(&path);
            (source.fingerprint(), plan_for(source, &old, &views))
        });
        // To open keys takes time, and a daemon that shall stop has none.
        let read = tokio::select! {
            read = read => read.ok(),
            () = self.surroundings.shutdown.cancelled() => None,
        };
        match read {
            Some((fingerprint, planned)) => (Some(fingerprint), planned),
            None => {
                let interrupted = LoadError::Unreadable {
                    path: self.path.clone(),
                    reason: "reading it was interrupted".to_owned(),
                };
                (None, Err(interrupted))
            }
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
        let Some(slot) = self.slots.get_mut(&name) else {
            return;
        };
        slot.wanted.send_replace(Wanted {
            spec,
            drain_timeout: self.config.daemon.drain_timeout,
            reading: self.reading,
        });
        // `stop` lasts until a reload.
        if slot.task.is_none() && slot.reborn_at.is_none() {
            self.spawn(&name);
        }
    }

    /// Returns when new connections find what the file says. A tunnel that is busy stopping takes
    /// its time, and nobody needs to wait for that.
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

    fn note_reload(&self, answer: &Result<Reloaded, ApiError>) {
        let error = answer.as_ref().err().map(ApiError::first);
        let before = self.last_reload.borrow().clone();
        let (accepted, refused) = before.map_or((0, 0), |b| (b.accepted, b.refused));
        match answer {
            Ok(Reloaded { plan, .. }) => {
                tracing::info!(
                    message_id = events::RELOADED,
                    started = plan.count(PlanAction::Start),
                    replaced = plan.count(PlanAction::Replace),
                    adjusted = plan.count(PlanAction::Adjust),
                    stopped = plan.count(PlanAction::Stop),
                    unchanged = plan.count(PlanAction::Keep),
                    "configuration reloaded"
                );
                if !plan.needs_restart.is_empty() {
                    let keys: Vec<&str> =
                        plan.needs_restart.iter().map(|k| k.key.as_str()).collect();
                    let keys = keys.join(", ");
                    tracing::warn!("changed in [daemon] and in force only after a restart: {keys}");
                }
            }
            Err(e) => {
                let report = e.report.as_deref().unwrap_or_default();
                tracing::error!(
                    message_id = events::RELOAD_REFUSED,
                    "reload refused, the running configuration is unchanged: {}\n{report}",
                    e.message
                );
            }
        }
        self.last_reload.send_replace(Some(ReloadStatus {
            at_unix_ms: clock::unix_ms(std::time::SystemTime::now()),
            ok: error.is_none(),
            accepted: accepted + u64::from(error.is_none()),
            refused: refused + u64::from(error.is_some()),
            error,
        }));
    }
}

/// Checks what was read, and compares it with what is in force. Blocks.
fn plan_for(source: Source, old: &Config, views: &[TunnelStatus]) -> Result<Planned, LoadError> {
    let loaded = source.check()?;
    let stopped = views.iter().filter(|t| t.phase == Phase::Stopped);
    let stopped: HashSet<&TunnelName> = stopped.map(|t| &t.name).collect();
    let plan = plan::diff(old, &loaded.config, |name| stopped.contains(name));
    let touched = plan.tunnels.iter();
    let touched: HashSet<&TunnelName> = touched
        .filter(|c| matches!(c.action, PlanAction::Start | PlanAction::Replace))
        .map(|c| &c.tunnel)
        .collect();
    let mut keys = KeyChecks::new();
    let found = loaded.check_changes(&mut keys, old, |name| touched.contains(name));
    match found.lasting.is_empty() {
        true => Ok((loaded, plan, found.passing)),
        false => Err(LoadError::Bad(Box::new(found.all))),
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
