//! What is told of a record.

use serde::{Deserialize, Serialize};

use super::{Record, Standing, Window};
use crate::failure::Failure;
use crate::ledger::Entry;
use crate::name::TunnelName;

/// The answer of `GET /v1/tunnels/NAME/history`, and what `tunneld history --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReport {
    /// The tunnel.
    pub name: TunnelName,
    /// When this was made, as Unix time in milliseconds.
    pub at_unix_ms: u64,
    /// The last changes, the oldest first. `idle` stands for time in which the daemon did not run.
    pub entries: Vec<Entry>,
    /// The outages among them, the oldest first.
    pub outages: Vec<Outage>,
    /// How much of the time it was up, in the last hour, day and week, and since the first record.
    pub availability: Vec<Window>,
    /// When the first record began, as Unix time in milliseconds.
    pub since_unix_ms: u64,
}

/// A stretch of time in which a tunnel should have been up and was down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// When it began, as Unix time in milliseconds.
    pub at_unix_ms: u64,
    /// How long it was, or is so far.
    pub lasted_ms: u64,
    /// What began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When it was over, as Unix time in milliseconds: the tunnel came back, or was not wanted or not
    /// watched any more. Absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_unix_ms: Option<u64>,
}

impl Record {
    /// What there is to tell of it.
    pub fn report(self, name: TunnelName) -> HistoryReport {
        let availability = &self.availability;
        HistoryReport {
            name,
            at_unix_ms: self.at_unix_ms,
            outages: outages(self.entries.iter()),
            availability: availability.windows(self.position_ms, self.at_unix_ms),
            since_unix_ms: availability.since_unix_ms(),
            entries: self.entries.into(),
        }
    }
}

/// The outages among the entries.
fn outages<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Outage> {
    let mut outages: Vec<Outage> = Vec::new();
    let mut standing = Standing::Unwatched;
    for entry in entries {
        let before = standing;
        standing = before.next(entry.phase);
        match (before == Standing::Down, standing == Standing::Down) {
            (true, true) => {
                if let Some(outage) = outages.last_mut() {
                    outage.lasted_ms = outage.lasted_ms.saturating_add(entry.lasted_ms);
                    outage.failure = outage.failure.take().or_else(|| entry.failure.clone());
                }
            }
            (false, true) => outages.push(Outage {
                at_unix_ms: entry.at_unix_ms,
                lasted_ms: entry.lasted_ms,
                failure: entry.failure.clone(),
                over_unix_ms: None,
            }),
            (true, false) => {
                if let Some(outage) = outages.last_mut() {
                    outage.over_unix_ms = Some(entry.at_unix_ms);
                }
            }
            (false, false) => {}
        }
    }
    outages
}
