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
        if let Some(suppressed) = self.files.take(self.began.elapsed()) {
            config_file::files::warn(problems, suppressed);
        }
    }

    /// Says what was kept back where nobody has asked again for a minute.
    pub(super) fn overdue(&mut self) {
        let now = self.began.elapsed();
        let due = |allowance: &mut Allowance| Some(allowance.overdue(now)).filter(|n| *n > 0);
        if let Some(suppressed) = due(&mut self.applied) {
            tracing::info!(
                message_id = events::RELOADED,
                suppressed,
                "configuration reloaded, {suppressed} more times"
            );
        }
        if let Some(suppressed) = due(&mut self.refused) {
            tracing::info!(
                message_id = events::RELOAD_REFUSED,
                suppressed,
                "reload refused, {suppressed} more times"
            );
        }
        if let Some(suppressed) = due(&mut self.files) {
            tracing::info!(
                message_id = events::KEY_PROBLEM,
                suppressed,
                "problems with files, after {suppressed} more reloads"
            );
        }
        if let Some(suppressed) = due(&mut self.restart) {
            tracing::info!(
                message_id = events::RESTART_NEEDED,
                suppressed,
                "in force only after a restart, said by {suppressed} more reloads"
            );
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

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tracing::field::{Field, Visit};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;

    /// Adds up what lines say of those that were not said.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<u64>>);

    impl<S: tracing::Subscriber> Layer<S> for Told {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            event.record(&mut self.clone());
        }
    }

    impl Visit for Told {
        fn record_u64(&mut self, field: &Field, value: u64) {
            if field.name() == "suppressed" {
                *self.0.lock().unwrap() += value;
            }
        }

        fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
    }

    #[test]
    fn what_was_kept_back_of_a_burst_is_told_though_nothing_follows() {
        // Of a hundred twenty are said; a minute later, once, how many more there were.
        let told = Told::default();
        let subscriber = tracing_subscriber::registry().with(told.clone());
        let _in_force = tracing::subscriber::set_default(subscriber);
        let mut log = ReloadLog::new();
        for _ in 0..100 {
            log.restart_needed(&["sandbox".to_owned()]);
        }
        log.overdue();
        assert_eq!(*told.0.lock().unwrap(), 0);
        log.began = log.began.checked_sub(Duration::from_secs(61)).unwrap();
        log.overdue();
        log.overdue();
        assert_eq!(*told.0.lock().unwrap(), 80);
    }
}
