//! Where the tunnels listen on this side, and the sockets that were passed for that in vain.

use std::collections::BTreeSet;

use tunneld_core::config::{Config, ForwardKind, Listen};
use tunneld_core::events;
use tunneld_ssh::forward::Passed;

/// Where the tunnels will listen on this side.
pub(crate) fn listens(config: &Config) -> impl Iterator<Item = &Listen> {
    let tunnels = config.tunnels.values().filter(|tunnel| tunnel.enabled);
    let forwards = tunnels.flat_map(|tunnel| &tunnel.forwards);
    forwards.filter_map(|forward| match &forward.kind {
        ForwardKind::Local(local) => Some(&local.listen.value),
        ForwardKind::Remote(_) => None,
    })
}

/// Tells of sockets that no forward listens on: their clients wait, and nobody comes.
#[derive(Default)]
pub(crate) struct Unused {
    /// As was told last.
    told: BTreeSet<String>,
}

impl Unused {
    /// Compares what was passed with what is in force now, and tells what it has not told.
    pub(crate) fn look(&mut self, passed: &Passed, config: &Config) {
        let used = listens(config).filter_map(|listen| match listen {
            Listen::Fd(name) => Some(name.as_str()),
            _ => None,
        });
        let used: BTreeSet<&str> = used.collect();
        let unused = passed.names().filter(|name| !used.contains(name));
        let unused: BTreeSet<String> = unused.map(str::to_owned).collect();
        for name in unused.difference(&self.told) {
            let hint =
                format!("`listen = \"fd:{name}\"` in a forward takes it; or stop its .socket unit");
            tracing::warn!(
                message_id = events::SOCKET_UNUSED,
                hint,
                "no forward listens on the socket {name} that the service manager passed: clients wait there for nothing"
            );
        }
        self.told = unused;
    }
}
