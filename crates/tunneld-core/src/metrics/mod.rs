//! What a scrape tells: the daemon at one moment, in the words of Prometheus.
//!
//! Nothing is counted here; every number is from a snapshot. The families are listed in
//! `docs/metrics.md`, and a test compares.

mod forwards;
mod histogram;
mod page;
mod tunnels;

use std::time::Duration;

pub use histogram::{Counts, Histogram};
pub use page::Form;
use page::{Kind, Page};

use crate::ledger::{Ledger, Moment};
use crate::status::DaemonStatus;

/// Everything that a scrape tells of.
#[derive(Debug, Clone)]
pub struct Scrape {
    /// When it was taken.
    pub now: Moment,
    /// The daemon and its tunnels.
    pub status: DaemonStatus,
    /// Whether `ready_when` holds now.
    pub ready: bool,
    /// What the status does not have, in the order of its tunnels.
    pub tunnels: Vec<More>,
    /// The process, where the system tells.
    pub process: Option<Process>,
}

/// What there is to tell of a tunnel beside its status.
#[derive(Debug, Clone)]
pub struct More {
    /// What it has been through.
    pub ledger: Ledger,
    /// The round trips of its keepalive.
    pub round_trips: Counts,
    /// Bytes that its sessions hold for clients that have not taken them.
    pub backlog: u64,
    /// How many of its sessions are held back by such clients.
    pub clogged: u64,
}

/// The process, as proc(5) has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    /// Processor time, of user and system.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Address space in bytes.
    pub virt: u64,
    /// Open files.
    pub open_files: u64,
    /// How many there may be; `None`: as many as it likes.
    pub max_files: Option<u64>,
}

impl Scrape {
    /// The text in this form.
    pub fn page(&self, form: Form) -> String {
        let mut page = Page::new(form);
        self.daemon(&mut page);
        self.states(&mut page);
        self.times(&mut page);
        self.sessions(&mut page);
        self.certificates(&mut page);
        self.forwards(&mut page);
        self.connections(&mut page);
        self.process(&mut page);
        page.finish()
    }

    fn daemon(&self, page: &mut Page) {
        let status = &self.status;
        page.family(Kind::Info, "tunneld_build", "The running version.")
            .sample(&[("version", &status.version)], 1);
        page.family(
            Kind::Gauge,
            "tunneld_start_time_seconds",
            "When the daemon started, as Unix time.",
        )
        .sample(&[], seconds(status.started_unix_ms));
        page.family(
            Kind::Gauge,
            "tunneld_ready",
            "Whether ready_when holds: what /readyz answers.",
        )
        .sample(&[], number(self.ready));
        let last = status.last_reload.as_ref();
        page.family(
            Kind::Gauge,
            "tunneld_last_reload_success",
            "Whether the file that was last read is in force.",
        )
        .sample(&[], number(last.is_none_or(|last| last.ok)));
        page.family(
            Kind::Gauge,
            "tunneld_last_reload_timestamp_seconds",
            "When the file was last read, whether it was taken or not, as Unix time.",
        )
        .sample(
            &[],
            seconds(last.map_or(status.started_unix_ms, |last| last.at_unix_ms)),
        );
        let mut reloads = page.family(
            Kind::Counter,
            "tunneld_reloads",
            "Reloads that were taken or refused.",
        );
        let (ok, refused) = last.map_or((0, 0), |last| (last.accepted, last.refused));
        reloads.sample(&[("result", "ok")], ok);
        reloads.sample(&[("result", "refused")], refused);
    }

    /// By the names that Prometheus' own libraries use.
    fn process(&self, page: &mut Page) {
        let Some(process) = self.process else {
            return;
        };
        page.family(
            Kind::Counter,
            "process_cpu_seconds",
            "Processor time, of user and system.",
        )
        .sample(&[], process.cpu.as_secs_f64());
        let mut gauge = |name, help, value| {
            page.family(Kind::Gauge, name, help).sample(&[], value);
        };
        gauge(
            "process_resident_memory_bytes",
            "Resident memory.",
            process.resident,
        );
        gauge(
            "process_virtual_memory_bytes",
            "Address space.",
            process.virt,
        );
        gauge("process_open_fds", "Open files.", process.open_files);
        if let Some(max) = process.max_files {
            gauge("process_max_fds", "How many files may be open.", max);
        }
    }
}

fn number(yes: bool) -> u8 {
    yes.into()
}

/// Seconds since 1970, as a number that has room for the milliseconds.
fn seconds(unix_ms: u64) -> f64 {
    Duration::from_millis(unix_ms).as_secs_f64()
}

#[cfg(test)]
mod tests;
