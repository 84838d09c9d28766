//! The jump hosts on the way to a host, with what the files of ssh say about them.
//!
//! As with ssh, a jump host is looked up like any other host: the first one is reached the way that
//! its own entry says, and each of the others over the one before it.

use super::diagnostic::Diagnostic;
use super::provenance::Spans;
use super::raw::Problems;
use super::reach::Reach;
use super::render::quoted;
use super::settings::Settings;
use super::ssh_layer::Layer;
use super::way::{Hop, MAX_HOPS, Way};
use super::{Target, Via};
use crate::ssh_config::Query;

/// The way to a host.
pub(super) struct Road {
    /// The jump hosts, the first one first.
    pub(super) hops: Vec<(Hop, Layer)>,
    /// How the first of all these hosts is reached.
    pub(super) first: Via,
    /// Which addresses the connection is made between that leaves this machine.
    ends: Way,
    /// Where it is written how that connection is made.
    spans: Spans,
}

/// Keywords that no jump host has of its own: they are about the tunnel as a whole.
const OF_THE_TUNNEL: [&str; 4] = [
    "Compression",
    "ConnectTimeout",
    "ServerAliveInterval",
    "ServerAliveCountMax",
];

/// Keywords about the connection that leaves this machine, and about the way that it goes.
const OF_THE_FIRST: [&str; 2] = ["AddressFamily", "BindAddress"];
const OF_THE_WAY: [&str; 2] = ["ProxyJump", "ProxyCommand"];

/// The keys of the tunnel that say how the connection is made that leaves this machine.
const KEYS: [&str; 4] = ["address_family", "bind_address", "proxy", "proxy_command"];
const ENDS: [&str; 2] = ["address_family", "bind_address"];

impl Road {
    /// The way to the host of a tunnel.
    pub(super) fn new(reach: &Reach<'_>, problems: &mut Problems) -> Self {
        let mut road = Road {
            hops: Vec::new(),
            first: Via::Direct,
            ends: reach.settings.way.clone(),
            spans: reach.settings.spans.only(&KEYS),
        };
        let mut first = road.ends.first.take();
        let mut before = road.ends.hops.take().unwrap_or_default();
        // Back to the host that is really the first one.
        while !before.is_empty() {
            let mut found = Vec::with_capacity(before.len());
            let mut more = Vec::new();
            for (index, hop) in before.into_iter().enumerate() {
                let mut decided = OF_THE_TUNNEL.to_vec();
                if index > 0 {
                    decided.extend(OF_THE_FIRST);
                }
                if index > 0 || first.is_some() {
                    decided.extend(OF_THE_WAY);
                }
                let layer = layer(reach, &hop, decided, problems);
                if index == 0 {
                    road.begin(reach.written, &layer, first.is_none());
                    let own = &layer.settings.way;
                    first = first.or_else(|| own.first.clone());
                    more = own.hops.clone().unwrap_or_default();
                }
                found.push((hop, layer));
            }
            found.append(&mut road.hops);
            road.hops = found;
            before = match road.leads_astray(reach, &more, problems) {
                true => Vec::new(),
                false => more,
            };
        }
        road.first = first.unwrap_or(Via::Direct);
        road.ends.check(problems);
        road
    }

    /// Makes a jump host the first one on the way: the connection that leaves this machine is made to
    /// it, and as its entry says. `leads` says whether that is also so for a proxy or a command.
    fn begin(&mut self, written: &Settings, layer: &Layer, leads: bool) {
        let (ours, own) = (&written.way, &layer.settings.way);
        self.ends.family = ours.family.clone().or_else(|| own.family.clone());
        self.ends.bind = ours.bind.clone().or_else(|| own.bind.clone());
        let proxies = match leads {
            true => layer.settings.spans.only(&["proxy_command"]),
            false => self.spans.without(&ENDS),
        };
        let ends = written.spans.only(&ENDS);
        let ends = ends.or(&layer.settings.spans.only(&ENDS));
        self.spans = ends.or(&proxies);
    }

    /// Where the keys of the tunnel are written, for which `spans` are what its own entry says.
    pub(super) fn spans_of_tunnel(&self, spans: &Spans) -> Spans {
        self.spans.clone().or(&spans.without(&KEYS))
    }

    /// Completes a target: all the hosts on the way share the connection that leaves this machine.
    pub(super) fn fill(&self, target: &mut Target) {
        target.address_family = self.ends.address_family();
        target.bind_address = self.ends.bind_address();
    }

    /// Whether jump hosts before those that are known lead in a circle, or are too many; this is
    /// reported.
    fn leads_astray(&self, reach: &Reach<'_>, more: &[Hop], problems: &mut Problems) -> bool {
        let Some(at) = more.first().map(|hop| hop.at.clone()) else {
            return false;
        };
        let is_known = |hop: &&Hop| {
            let same = |known: &Hop| {
                (&known.host, known.port, &known.user) == (&hop.host, hop.port, &hop.user)
            };
            let to_the_tunnel = hop.port.is_none()
                && hop.user.is_none()
                && reach.host.is_some_and(|host| host.value == hop.host);
            to_the_tunnel || self.hops.iter().any(|(known, _)| same(known))
        };
        let total = self.hops.len() + more.len();
        let said = match more.iter().find(is_known) {
            Some(hop) => format!("`ProxyJump` leads in a circle, over {}", quoted(&hop.host)),
            None if total > MAX_HOPS => {
                format!("`ProxyJump` makes it {total} jump hosts, at most {MAX_HOPS} are taken")
            }
            None => return false,
        };
        problems.report(Diagnostic::at(at, said));
        true
    }
}

/// What the files of ssh say about a jump host, except for what is decided already.
fn layer(
    reach: &Reach<'_>,
    hop: &Hop,
    mut decided: Vec<&'static str>,
    problems: &mut Problems,
) -> Layer {
    let Some(files) = reach.ssh else {
        return Layer::default();
    };
    let (user, port) = (reach.user_of(hop), reach.port_of(hop));
    let login = reach.login_of(hop);
    decided.extend(user.map(|_| "User"));
    decided.extend(port.map(|_| "Port"));
    decided.extend(login.decided());
    decided.extend(hop.trust.of_hop(&reach.written.trust).decided());
    decided.extend(reach.transport_of(hop).decided());
    let query = Query {
        host: &hop.host,
        user,
        port,
        decided: &decided,
        has_password: login.has_password(),
    };
    Layer::new(files, &query, reach.base, problems)
}
