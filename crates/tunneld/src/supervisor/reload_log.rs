//! The log lines of reloads: each is told, unless somebody asks over and over.

use tokio::time::Instant;
use tunneld_core::config::Diagnostics;
use tunneld_core::events;
use tunneld_core::plan::{Plan, PlanAction};
use tunneld_core::repeats::Allowance;

use crate::config_file;
use crate::http::error::ApiError;

/// Says how reloads went.
pub(super) struct ReloadLog {
    began: Instant,
    applied: Allowance,
    refused: Allowance,
    files: Allowance,
    restart: Allowance,
}

impl ReloadLog {
    pub(super) fn new() -> Self {
        ReloadLog {
            began: Instant::now(),
            applied: Allowance::default(),
            refused: Allowance::default(),
            files: Allowance::default(),
            restart: Allowance::default(),
        }
    }

    /// A new configuration is in force.
    pub(super) fn applied(&mut self, plan: &Plan) {
        let Some(suppressed) = self.applied.take(self.began.elapsed()) else {
            return;
        };
        tracing::info!(
            message_id = events::RELOADED,
            started = plan.count(PlanAction::Start),
            replaced = plan.count(PlanAction::Replace),
            adjusted = plan.count(PlanAction::Adjust),
            stopped = plan.count(PlanAction::Stop),
            unchanged = plan.count(PlanAction::Keep),
            suppressed,
            "configuration reloaded"
        );
    }

    /// It was refused.
    pub(super) fn refused(&mut self, e: &ApiError, hint: Option<&str>) {
        let Some(suppressed) = self.refused.take(self.began.elapsed()) else {
            return;
        };
        let report = e.report.as_deref().unwrap_or_default();
        tracing::error!(
            message_id = events::RELOAD_REFUSED,
            hint,
            suppressed,
            "reload refused, the running configuration is unchanged: {}\n{report}",
            e.message
        );
    }

    /// What is wrong with files that it names, and keeps one tunnel down each.
    pub(super) fn files(&mut self, problems: &Diagnostics) {
        if self.files.take(self.began.elapsed()).is_some() {
            config_file::files::warn(problems);
        }
    }

    /// These keys of `[daemon]` wait for a restart.
    pub(super) fn restart_needed(&mut self, keys: &[String]) {
        let Some(suppressed) = self.restart.take(self.began.elapsed()) else {
            return;
        };
        let list = keys.join(", ");
        tracing::warn!(
            message_id = events::RESTART_NEEDED,
            suppressed,
            "changed in [daemon] and in force only after a restart: {list}"
        );
    }
}
