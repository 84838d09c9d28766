//! What a scrape tells of each forward.

use super::page::{Kind, Page};
use super::{Scrape, number};
use crate::refusal::Refusal;
use crate::status::{ForwardStatus, TunnelStatus};

impl Scrape {
    pub(super) fn forwards(&self, page: &mut Page) {
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
            let up_now = tunnel.phase.has_session() && forward.failure.is_none();
            up.sample(&labels, number(up_now));
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

    pub(super) fn connections(&self, page: &mut Page) {
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
