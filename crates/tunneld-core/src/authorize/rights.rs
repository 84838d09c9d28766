//! What is asked of a server: where it shall connect to, and where it shall listen.

use crate::config::{Destination, ForwardKind, ForwardSpec, Goal, RemoteListen};
use crate::config::{Target, TunnelSpec, host_port};

/// The longest host that `permitopen` takes, brackets included: `NI_MAXHOST` of getnameinfo(3).
const MAX_HOST: usize = 1024;

/// What is asked of a server, and no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Where it shall connect to.
    pub(super) open: Vec<Open>,
    /// Clients of ours say where to, and that can be anywhere.
    pub(super) open_any: bool,
    /// Where it shall listen.
    pub(super) listen: Vec<RemoteListen>,
}

/// A place that the server connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) place: Place,
    /// Nothing but a probe goes there.
    pub(super) for_probe: bool,
}

/// A place as `permitopen` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A host, and a port; `None`: any, because only the server knows which.
    Tcp(String, Option<u16>),
    /// A unix socket.
    Unix(String),
}

impl From<&Destination> for Place {
    fn from(to: &Destination) -> Self {
        match to {
            Destination::Tcp { host, port } => Place::Tcp(host.clone(), Some(*port)),
            Destination::Unix(path) => Place::Unix(path.clone()),
        }
    }
}

impl Place {
    /// The place in `permitopen` and `PermitOpen`; `None` where they have no way to write it.
    pub(super) fn pattern(&self) -> Option<String> {
        match self {
            Place::Tcp(host, Some(port)) => Some(host_port(host, *port)),
            Place::Tcp(host, None) if host.contains(':') => Some(format!("[{host}]:*")),
            Place::Tcp(host, None) => Some(format!("{host}:*")),
            // A bracket ends at the first `]`.
            Place::Unix(path) if path.contains(']') || path.len() + 2 > MAX_HOST => None,
            Place::Unix(path) => Some(format!("[{path}]:*")),
        }
    }
}

impl Rights {
    /// What a tunnel asks of the server at its end.
    pub fn at_end(spec: &TunnelSpec) -> Self {
        let mut rights = Rights::default();
        spec.forwards.iter().for_each(|f| rights.add_forward(f));
        rights
    }

    /// What is asked of a jump host: to connect to the host after it.
    pub fn on_the_way_to(next: &Target) -> Self {
        let mut rights = Rights::default();
        rights.add_open(Place::Tcp(next.host.clone(), Some(next.port)), false);
        rights
    }

    /// This and that.
    pub fn add(&mut self, other: &Rights) {
        for open in &other.open {
            self.add_open(open.place.clone(), open.for_probe);
        }
        self.open_any |= other.open_any;
        other.listen.iter().for_each(|place| self.add_listen(place));
    }

    fn add_forward(&mut self, forward: &ForwardSpec) {
        match &forward.kind {
            ForwardKind::Local(local) => match &local.connect {
                Goal::To(to) => self.add_open(to.into(), false),
                Goal::Asked => self.open_any = true,
            },
            ForwardKind::Remote(remote) => {
                let listen = &remote.listen.value;
                self.add_listen(listen);
                // A probe comes back through the place itself; where a client says where to, there
                // is nothing to probe.
                if forward.probe.is_some() && remote.connect != Goal::Asked {
                    self.add_open(probed(listen), true);
                }
            }
        }
    }

    fn add_open(&mut self, place: Place, for_probe: bool) {
        match self.open.iter_mut().find(|open| open.place == place) {
            Some(open) => open.for_probe &= for_probe,
            None => self.open.push(Open { place, for_probe }),
        }
    }

    fn add_listen(&mut self, place: &RemoteListen) {
        if !self.listen.contains(place) {
            self.listen.push(place.clone());
        }
    }

    /// Whether the server connects anywhere.
    pub(super) fn opens(&self) -> bool {
        self.open_any || !self.open.is_empty()
    }

    /// Whether the server connects to unix sockets.
    pub(super) fn opens_unix(&self) -> bool {
        let unix = |open: &Open| matches!(open.place, Place::Unix(_));
        self.open.iter().any(unix)
    }

    /// Whether the server listens on unix sockets.
    pub(super) fn listens_unix(&self) -> bool {
        let unix = |place: &RemoteListen| matches!(place, RemoteListen::Unix(_));
        self.listen.iter().any(unix)
    }

    /// The places that the server may connect to and no other, as `permitopen` has them; `None`
    /// where it may connect to any place. What cannot be written is not among them: without it
    /// nothing else is open to whoever has the key.
    pub(super) fn open_patterns(&self) -> Option<Vec<String>> {
        if self.open_any {
            return None;
        }
        let patterns = self.open.iter().filter_map(|open| open.place.pattern());
        Some(patterns.collect())
    }

    /// The unix sockets that the server shall connect to and will not: once places are limited, one
    /// that cannot be written is refused.
    pub fn unwritable(&self) -> impl Iterator<Item = &str> {
        let limited = self.open.iter().filter(|_| !self.open_any);
        limited.filter_map(|open| match &open.place {
            Place::Unix(path) if open.place.pattern().is_none() => Some(path.as_str()),
            Place::Unix(_) | Place::Tcp(..) => None,
        })
    }

    /// Whether clients of ours say where the server shall connect to.
    pub(super) fn opens_any(&self) -> bool {
        self.open_any
    }

    /// The TCP ports that it may listen on, as `permitlisten` has them.
    pub(super) fn listen_patterns(&self) -> Vec<String> {
        let mut patterns = Vec::new();
        for (bind, port) in self.tcp_listeners() {
            let host = match bind.contains(':') {
                true => format!("[{bind}]"),
                false => bind.to_owned(),
            };
            let host = host.to_lowercase();
            patterns.push(match port {
                0 => format!("{host}:*"),
                port => format!("{host}:{port}"),
            });
        }
        patterns
    }

    /// The addresses and ports of the TCP places that it listens on.
    pub(super) fn tcp_listeners(&self) -> impl Iterator<Item = (&str, u16)> {
        self.listen.iter().filter_map(|place| match place {
            RemoteListen::Tcp { bind, port } => Some((bind.as_str(), *port)),
            RemoteListen::Unix(_) => None,
        })
    }
}

/// Where a probe of a remote forward goes, from the server.
fn probed(listen: &RemoteListen) -> Place {
    match listen {
        RemoteListen::Tcp { bind, port } => {
            let host = RemoteListen::reached_at(bind).to_owned();
            Place::Tcp(host, Some(*port).filter(|port| *port != 0))
        }
        RemoteListen::Unix(path) => Place::Unix(path.clone()),
    }
}
