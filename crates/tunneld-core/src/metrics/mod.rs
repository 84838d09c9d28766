//! What a scrape tells: the daemon at one moment, in the words of Prometheus.
//!
//! Nothing is counted here; every number is from a snapshot. The families are listed in
//! `docs/metrics.md`, and a test compares.

mod histogram;
mod page;

use std::time::Duration;

pub use histogram::{Counts, Histogram};
pub use page::Form;
use page::{Kind, Page};

use crate::ledger::{Ledger, Moment};
use crate::refusal::Refusal;
use crate::status::{DaemonStatus, ForwardStatus, Phase, TunnelStatus};

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

    /// Where the tunnels stand and stood.
    fn states(&self, page: &mut Page) {
        let mut state = page.family(
            Kind::Gauge,
            "tunneld_tunnel_state",
            "1 for the state in which the tunnel is, 0 for the others.",
        );
        self.each_state(|tunnel, _, phase, labels| {
            state.sample(labels, number(tunnel.phase == phase));
        });
        let mut up = page.family(
            Kind::Gauge,
            "tunneld_tunnel_up",
            "Whether the tunnel is up: authenticated, and every forward in place.",
        );
        for tunnel in &self.status.tunnels {
            up.sample(&name(tunnel), number(tunnel.phase == Phase::Up));
        }
        let mut transitions = page.family(
            Kind::Counter,
            "tunneld_tunnel_transitions",
            "How often the tunnel has come to each state.",
        );
        self.each_state(|_, more, phase, labels| {
            let times = more.ledger.entered().get(&phase);
            transitions.sample(labels, times.copied().unwrap_or(0));
        });
        let mut failures = page.family(
            Kind::Counter,
            "tunneld_tunnel_failures",
            "Attempts that failed and sessions that broke, by how far they had come and whether waiting can fix it; those that have happened.",
        );
        for (tunnel, more) in self.each() {
            for ((stage, class), times) in more.ledger.failures() {
                let labels = [
                    ("tunnel", tunnel.name.as_str()),
                    ("stage", stage.as_str()),
                    ("class", class.as_str()),
                ];
                failures.sample(&labels, times);
            }
        }
    }

    fn times(&self, page: &mut Page) {
        let mut spent = page.family(
            Kind::Counter,
            "tunneld_tunnel_state_seconds",
            "How long the tunnel has been in each state.",
        );
        for (tunnel, more) in self.each() {
            let times = more.ledger.spent(self.now);
            for phase in Phase::ALL {
                let time = times.get(&phase).copied().unwrap_or_default();
                spent.sample(&in_state(tunnel, phase), time.as_secs_f64());
            }
        }
        let mut since = page.family(
            Kind::Gauge,
            "tunneld_tunnel_state_since_timestamp_seconds",
            "Since when the tunnel is in its state, as Unix time.",
        );
        for tunnel in &self.status.tunnels {
            since.sample(&name(tunnel), seconds(tunnel.since_unix_ms));
        }
        let mut retry = page.family(
            Kind::Gauge,
            "tunneld_tunnel_next_retry_timestamp_seconds",
            "When the next attempt comes, as Unix time; only while one is waited for.",
        );
        for tunnel in &self.status.tunnels {
            if let Some(at) = tunnel.retry_at_unix_ms {
                retry.sample(&name(tunnel), seconds(at));
            }
        }
    }

    fn sessions(&self, page: &mut Page) {
        let mut trips = page.family(
            Kind::Histogram,
            "tunneld_keepalive_round_trip_seconds",
            "How long the server took to answer keepalive requests, which are sent while nothing else comes from it.",
        );
        for (tunnel, more) in self.each() {
            trips.histogram(&name(tunnel), &more.round_trips);
        }
        let mut gauge = |family, help, of: fn(&TunnelStatus, &More) -> u64| {
            let mut family = page.family(Kind::Gauge, family, help);
            for (tunnel, more) in self.each() {
                family.sample(&name(tunnel), of(tunnel, more));
            }
        };
        gauge(
            "tunneld_tunnel_sessions_open",
            "Sessions that take connections.",
            |tunnel, _| tunnel.sessions_open.into(),
        );
        gauge(
            "tunneld_tunnel_sessions_relief",
            "Sessions that are there because clients that do not read hold others back.",
            |tunnel, _| tunnel.relief_sessions.into(),
        );
        gauge(
            "tunneld_tunnel_sessions_clogged",
            "Sessions that clients that do not read hold back.",
            |_, more| more.clogged,
        );
        gauge(
            "tunneld_tunnel_backlog_bytes",
            "Bytes that its sessions hold for clients that have not taken them.",
            |_, more| more.backlog,
        );
        let mut total = page.family(
            Kind::Counter,
            "tunneld_tunnel_sessions",
            "Sessions that were established.",
        );
        for tunnel in &self.status.tunnels {
            total.sample(&name(tunnel), tunnel.sessions);
        }
    }

    fn certificates(&self, page: &mut Page) {
        let mut expiry = page.family(
            Kind::Gauge,
            "tunneld_certificate_expiry_timestamp_seconds",
            "When a certificate that the tunnel uses ends, as Unix time; those that end.",
        );
        for tunnel in &self.status.tunnels {
            for certificate in &tunnel.certificates {
                if let Some(end) = certificate.valid_before_unix_s {
                    let file = certificate.file.as_str();
                    expiry.sample(&[("tunnel", tunnel.name.as_str()), ("file", file)], end);
                }
            }
        }
    }

    fn forwards(&self, page: &mut Page) {
        let mut info = page.family(
            Kind::Info,
            "tunneld_forward",
            "Each forward: its kind (local, remote or dynamic), where it listens and where it leads.",
        );
        self.each_forward(|_, forward, [tunnel, name]| {
            let labels = [
                tunnel,
                name,
                ("kind", forward.kind.as_str()),
                ("listen", forward.listen.as_str()),
                ("connect", forward.connect.as_str()),
            ];
            info.sample(&labels, 1);
        });
        let mut up = page.family(
            Kind::Gauge,
            "tunneld_forward_up",
            "Whether the forward carries connections: it is in place, its probe is answered, and the tunnel has a session.",
        );
        self.each_forward(|tunnel, forward, labels| {
            let session = matches!(tunnel.phase, Phase::Up | Phase::Degraded);
            up.sample(&labels, number(session && forward.failure.is_none()));
        });
        let mut probe = page.family(
            Kind::Gauge,
            "tunneld_forward_probe_success",
            "Whether the last probe of the forward was answered; only where it has one, and has a session to ask over.",
        );
        self.each_forward(|_, forward, labels| {
            if let Some(answered) = forward.probe_answered {
                probe.sample(&labels, number(answered));
            }
        });
    }

    fn connections(&self, page: &mut Page) {
        let mut open = page.family(
            Kind::Gauge,
            "tunneld_forward_connections_open",
            "Connections that are carried, or held until there is a session.",
        );
        self.each_forward(|_, forward, labels| open.sample(&labels, forward.connections.open));
        let mut total = page.family(
            Kind::Counter,
            "tunneld_forward_connections",
            "Connections that were let in.",
        );
        self.each_forward(|_, forward, labels| total.sample(&labels, forward.connections.total));
        let mut refused = page.family(
            Kind::Counter,
            "tunneld_forward_connections_refused",
            "Connections that were refused, by reason.",
        );
        self.each_forward(|_, forward, [tunnel, name]| {
            for reason in Refusal::ALL {
                let times = forward.connections.refused_by.get(&reason);
                let labels = [tunnel, name, ("reason", reason.as_str())];
                refused.sample(&labels, times.copied().unwrap_or(0));
            }
        });
        let mut stalled = page.family(
            Kind::Counter,
            "tunneld_forward_connections_stalled",
            "Connections that were reset because their client took nothing (stall_timeout).",
        );
        self.each_forward(|_, forward, labels| {
            stalled.sample(&labels, forward.connections.stalled);
        });
        let mut bytes = page.family(
            Kind::Counter,
            "tunneld_forward_bytes",
            "Bytes from clients to the target (sent) and from the target to clients (received).",
        );
        self.each_forward(|_, forward, [tunnel, name]| {
            let ways = [
                ("sent", forward.bytes_sent),
                ("received", forward.bytes_received),
            ];
            for (way, count) in ways {
                bytes.sample(&[tunnel, name, ("direction", way)], count);
            }
        });
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

    fn each(&self) -> impl Iterator<Item = (&TunnelStatus, &More)> {
        self.status.tunnels.iter().zip(&self.tunnels)
    }

    fn each_state(
        &self,
        mut put: impl FnMut(&TunnelStatus, &More, Phase, &[(&'static str, &str)]),
    ) {
        for (tunnel, more) in self.each() {
            for phase in Phase::ALL {
                put(tunnel, more, phase, &in_state(tunnel, phase));
            }
        }
    }

    fn each_forward<'a>(
        &'a self,
        mut put: impl FnMut(&'a TunnelStatus, &'a ForwardStatus, [(&'static str, &'a str); 2]),
    ) {
        for tunnel in &self.status.tunnels {
            for forward in &tunnel.forwards {
                let labels = [
                    ("tunnel", tunnel.name.as_str()),
                    ("forward", forward.name.as_str()),
                ];
                put(tunnel, forward, labels);
            }
        }
    }
}

fn name(tunnel: &TunnelStatus) -> [(&'static str, &str); 1] {
    [("tunnel", tunnel.name.as_str())]
}

fn in_state(tunnel: &TunnelStatus, phase: Phase) -> [(&'static str, &str); 2] {
    [("tunnel", tunnel.name.as_str()), ("state", phase.as_str())]
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
