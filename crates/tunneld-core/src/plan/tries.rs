//! Which tunnels a reload has try now.

use std::collections::HashMap;
use std::time::Duration;

use super::{Plan, PlanAction};
use crate::config::Config;
use crate::status::{Phase, TunnelStatus, millis};

impl Plan {
    /// Notes the tunnels that wait, have done so for their first delay, and are not made anew anyhow:
    /// whoever reloads has just mended something, and maybe this. `at_unix_ms` is the time.
    pub fn note_tries(&mut self, new: &Config, now: &[TunnelStatus], at_unix_ms: u64) {
        let tunnels: HashMap<_, _> = now.iter().map(|tunnel| (&tunnel.name, tunnel)).collect();
        for change in &mut self.tunnels {
            let stays = matches!(change.action, PlanAction::Keep | PlanAction::Adjust);
            let spec = new.tunnels.get(&change.tunnel);
            if let (true, Some(spec), Some(now)) = (stays, spec, tunnels.get(&change.tunnel)) {
                change.tries_now = may_try(now, spec.reconnect.initial, at_unix_ms);
            }
        }
    }
}

/// Whether it waits for its next try, and has done so for the first delay.
fn may_try(tunnel: &TunnelStatus, first_delay: Duration, at: u64) -> bool {
    matches!(tunnel.phase, Phase::Blocked | Phase::Waiting)
        && tunnel.since_unix_ms.saturating_add(millis(first_delay)) <= at
        && tunnel.retry_at_unix_ms.is_some_and(|next| next > at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, Surroundings, load};
    use crate::plan::diff;

    const DB: &str = "[tunnels.db]\nhost = 'a'\nuser = 'u'\nlocal_forward = '1:a:1'\n";

    fn config(text: &str) -> Config {
        load(text, &Origin::for_tests(), &Surroundings::for_tests()).unwrap()
    }

    /// One that stands so since the fifth second, and has a first delay of a second.
    fn status(phase: &str, retry_at: u64) -> TunnelStatus {
        let json = serde_json::json!({
            "name": "db", "phase": phase, "since_unix_ms": 5000, "retry_at_unix_ms": retry_at,
            "destination": "", "attempts": 3, "sessions": 0, "forwards": [],
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_has_waited_for_its_first_delay_tries_now() {
        // Not one that is up, or is made anew anyhow.
        let tries = |new: &str, now: TunnelStatus| {
            let (old, new) = (config(DB), config(new));
            let mut plan = diff(&(&old).into(), &old, &new, |_| false);
            plan.note_tries(&new, &[now], 6000);
            plan.tunnels[0].tries_now
        };
        let adjusted = format!("{DB}connect_timeout = '9s'\n");
        let patient = format!("{DB}reconnect = {{ initial = '2s' }}\n");
        assert!(tries(DB, status("blocked", 9000)));
        assert!(tries(&adjusted, status("waiting", 7000)));
        assert!(!tries(DB, status("waiting", 6000)));
        assert!(!tries(&patient, status("waiting", 9000)));
        assert!(!tries(DB, status("up", 9000)));
        assert!(!tries(
            &DB.replace("'a'\n", "'b'\n"),
            status("waiting", 9000)
        ));
    }
}
