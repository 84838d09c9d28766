//! How many connections a change touches.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Plan;
use crate::status::{ForwardStatus, TunnelStatus, millis};

/// Connections that have to end: they may go on for a while, and are cut then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drains {
    /// How many are open.
    pub connections: u64,
    /// How long they have, in milliseconds: `drain_timeout`.
    pub within_ms: u64,
}

impl Drains {
    /// None yet; they would have so long.
    pub(super) fn within(patience: Duration) -> Self {
        Drains {
            connections: 0,
            within_ms: millis(patience),
        }
    }
}

impl Plan {
    /// Fills in how many connections there are that each change touches.
    pub fn count_connections(&mut self, now: &[TunnelStatus]) {
        let tunnels: HashMap<_, _> = now.iter().map(|tunnel| (&tunnel.name, tunnel)).collect();
        for change in &mut self.tunnels {
            let Some(tunnel) = tunnels.get(&change.tunnel) else {
                continue;
            };
            let open = |forward: &ForwardStatus| forward.connections.open;
            if let Some(drains) = &mut change.drains {
                drains.connections = tunnel.forwards.iter().map(open).sum();
            }
            for change in &mut change.forwards {
                let (Some(before), Some(drains)) = (&change.before, &mut change.drains) else {
                    continue;
                };
                let running = tunnel.forwards.iter().find(|f| f.name == before.name);
                drains.connections = running.map_or(0, open);
            }
        }
    }
}
