//! Two forwards that listen on the same address: only one of them could ever be up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::diagnostic::Diagnostic;
use super::raw::Problems;
use super::{ForwardKind, ForwardSpec, Listen, ListenHost, LocalForward};
use crate::name::TunnelName;

/// One listening place of the file.
#[derive(Clone, Copy)]
struct Use<'a> {
    tunnel: &'a TunnelName,
    local: &'a LocalForward,
}

impl Use<'_> {
    fn start(&self) -> usize {
        self.local.listen.span.as_ref().map_or(0, |s| s.start)
    }
}

/// What listens on one port: whoever came first, for each family and for each address.
#[derive(Default)]
struct Port<'a> {
    addresses: HashMap<IpAddr, Use<'a>>,
    /// The first on any address of the family: IPv4, IPv6.
    first: [Option<Use<'a>>; 2],
    /// The first on every address of the family.
    every: [Option<Use<'a>>; 2],
}

/// Reports each forward that listens where an earlier one in the file listens.
pub(super) fn check<'a>(
    tunnels: impl Iterator<Item = (&'a TunnelName, &'a [ForwardSpec])>,
    problems: &mut Problems,
) {
    let mut uses: Vec<Use<'a>> = tunnels
        .flat_map(|(tunnel, forwards)| {
            forwards.iter().map(move |f| match &f.kind {
                ForwardKind::Local(local) => Use { tunnel, local },
            })
        })
        .collect();
    uses.sort_by_key(Use::start);
    let mut ports: HashMap<u16, Port<'a>> = HashMap::new();
    for this in uses {
        let listen = &this.local.listen.value;
        let port = ports.entry(listen.port).or_default();
        let addresses = addresses(listen);
        if let Some(earlier) = addresses.iter().find_map(|ip| port.holder(*ip)) {
            problems.report(conflict(earlier, this));
        }
        for ip in addresses {
            port.hold(ip, this);
        }
    }
}

/// The addresses of a place; the unspecified address of a family stands for all of them, and
/// IPv4 and IPv6 do not get into each other's way: IPv6 sockets are bound for IPv6 alone.
fn addresses(listen: &Listen) -> Vec<IpAddr> {
    match listen.host {
        ListenHost::Localhost => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        ListenHost::Any => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        ListenHost::Ip(ip) => vec![ip.to_canonical()],
    }
}

impl<'a> Port<'a> {
    fn holder(&self, ip: IpAddr) -> Option<Use<'a>> {
        let family = usize::from(ip.is_ipv6());
        if ip.is_unspecified() {
            return self.first[family];
        }
        self.every[family].or_else(|| self.addresses.get(&ip).copied())
    }

    fn hold(&mut self, ip: IpAddr, this: Use<'a>) {
        let family = usize::from(ip.is_ipv6());
        self.first[family].get_or_insert(this);
        if ip.is_unspecified() {
            self.every[family].get_or_insert(this);
        } else {
            self.addresses.entry(ip).or_insert(this);
        }
    }
}

fn conflict(earlier: Use<'_>, this: Use<'_>) -> Diagnostic {
    let (first, second) = (&earlier.local.listen.value, &this.local.listen.value);
    let (one, other) = (earlier.tunnel, this.tunnel);
    let said = match (one == other, first == second) {
        (true, true) => format!("`{one}` listens on {first} twice"),
        (true, false) => format!("`{one}` listens on {first} and on {second}, which overlap"),
        (false, true) => format!("`{one}` and `{other}` both listen on {first}"),
        (false, false) => {
            format!("`{one}` listens on {first} and `{other}` on {second}, which overlap")
        }
    };
    let span = this.local.listen.span.clone().unwrap_or_default();
    let item = Diagnostic::at(span, said).with_tunnel(other.clone());
    match &earlier.local.listen.span {
        Some(span) => item.with_related(span.clone(), "first used"),
        None => item,
    }
}
