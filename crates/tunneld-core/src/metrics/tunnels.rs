//! What a scrape tells of each tunnel.

use super::page::{Kind, Page};
use super::{More, Scrape, number, seconds};
use crate::status::{Phase, TunnelStatus};

impl Scrape {
    /// Where the tunnels stand and stood.
    pub(super) fn states(&self, page: &mut Page) {
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
        let mut outages = page.family(
            Kind::Counter,
            "tunneld_tunnel_outages",
            "How often the tunnel has gone down, whatever it took to bring it back.",
        );
        for (tunnel, more) in self.each() {
            outages.sample(&name(tunnel), more.ledger.outages());
        }
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

    pub(super) fn times(&self, page: &mut Page) {
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

    pub(super) fn sessions(&self, page: &mut Page) {
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

    pub(super) fn certificates(&self, page: &mut Page) {
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
}

fn name(tunnel: &TunnelStatus) -> [(&'static str, &str); 1] {
    [("tunnel", tunnel.name.as_str())]
}

fn in_state(tunnel: &TunnelStatus, phase: Phase) -> [(&'static str, &str); 2] {
    [("tunnel", tunnel.name.as_str()), ("state", phase.as_str())]
}
