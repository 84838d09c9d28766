//! The configuration: what the file says, checked once, in types that cannot be wrong.
//!
//! [`load`] turns the text of a file into a [`Config`], or into every problem it has, each with its
//! place. It reads no files: what a path names is checked by whoever opens it.

mod access;
pub mod algorithms;
mod conflicts;
mod daemon_keys;
mod diagnostic;
mod document;
mod forward_keys;
mod forward_names;
mod forwards;
mod hooks;
mod include;
mod items;
mod keys;
mod login;
pub mod places;
mod print;
mod probe;
mod provenance;
mod raw;
mod reach;
mod rekey_limit;
mod render;
mod resolve;
mod road;
mod secrets;
mod settings;
mod ssh_files;
pub mod ssh_forms;
mod ssh_layer;
mod syntax;
mod target;
#[cfg(test)]
mod tests;
mod texts;
mod transport;
mod trust;
pub mod values;
mod way;
mod way_forms;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use algorithms::resolve_of_ssh;
pub(crate) use conflicts::{Overlap, overlaps};
pub(crate) use print::{array, duration, string};
pub(crate) use render::quoted;
pub(crate) use values::{check_duration, check_host, is_ipv6};
pub(crate) use way_forms::parse_hop;

pub use diagnostic::{Diagnostic, DiagnosticView, Diagnostics, Origin, Related};
pub use forwards::{
    Destination, Expect, ForwardKind, ForwardSpec, Goal, Listen, ListenHost, LocalForward, Probe,
    RemoteForward, RemoteListen, SocketOwner, TcpListen, UnixListen, WhileDown,
};
pub use hooks::Hook;
pub use include::{Include, Included, Includes, MAX_INCLUDED, NotIncluded, include_patterns};
pub use keys::{nearest, tables};
pub use print::{effective, effective_with_places};
pub use provenance::Provenance;
pub use rekey_limit::parse_rekey_limit;
pub use resolve::{Surroundings, control_socket, hides_control_socket, load, load_bytes};
pub use ssh_files::{SshConfigs, ssh_config_paths};
pub use target::{
    AddressFamily, Algorithms, Credential, Fingerprint, IdentityAgent, Proxy, ProxyCommand,
    ProxyKind, RekeyLimit, StrictHostKeyChecking, Target, Via,
};
pub use texts::Texts;
pub use trust::default_known_hosts;
pub use values::parse_duration;

use crate::name::TunnelName;

/// The largest file that is read, in bytes; also, the most that a file has with all that it includes.
pub const MAX_FILE_LEN: usize = 4 << 20;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[daemon]`.
    pub daemon: DaemonConfig,
    /// `[tunnels.NAME]`, with `[defaults]` filled in.
    pub tunnels: BTreeMap<TunnelName, TunnelSpec>,
    /// Where each value is written.
    pub provenance: Provenance,
}

/// `[daemon]`: what concerns the process and not one tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonConfig {
    /// Where the control socket is.
    pub control_socket: PathBuf,
    /// Where metrics, health and the status page are served over TCP; off unless set.
    pub metrics_listen: Option<SocketAddr>,
    /// Where the history of the tunnels is kept over a restart. `None`: in the folder that the
    /// service manager names (`STATE_DIRECTORY`, systemd.exec(5)), if it does.
    pub state_directory: Option<PathBuf>,
    /// When the service counts as started.
    pub ready_when: ReadyWhen,
    /// How long the start may take before the service is reported as started all the same.
    pub start_timeout: Duration,
    /// How long connections in flight may go on when a forward or the daemon stops.
    pub drain_timeout: Duration,
    /// Whether a change of the file is noticed, and applied as a reload is.
    pub watch: bool,
    /// Whether the daemon gives up the rights that its tunnels do not need.
    pub sandbox: bool,
}

/// When `READY=1` is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadyWhen {
    /// Every enabled tunnel is up, or has failed its first attempt.
    Settled,
    /// Every enabled tunnel is up.
    All,
    /// At least one enabled tunnel is up.
    Any,
}

impl ReadyWhen {
    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            ReadyWhen::Settled => "settled",
            ReadyWhen::All => "all",
            ReadyWhen::Any => "any",
        }
    }
}

/// One tunnel: where to go over SSH, and what to forward.
#[derive(Debug, Clone, PartialEq)]
pub struct TunnelSpec {
    /// The `NAME` of `[tunnels.NAME]`.
    pub name: TunnelName,
    /// A disabled tunnel stays `stopped`.
    pub enabled: bool,
    /// Where to go and as whom. A change of it replaces the session.
    pub target: Target,
    /// One deadline over resolve, TCP, key exchange and authentication.
    pub connect_timeout: Duration,
    /// When a silent server is dead.
    pub keepalive: Keepalive,
    /// How to come back.
    pub reconnect: Reconnect,
    /// How long before its end a certificate of ours is warned of.
    pub certificate_expiry_warning: Duration,
    /// How long a connection with a full backlog may stand still before it is reset.
    pub stall_timeout: Duration,
    /// How many sessions carry its connections.
    pub sessions: SessionCount,
    /// What is started when it comes up.
    pub on_up: Option<Sourced<Hook>>,
    /// What is started when it is up no more.
    pub on_down: Option<Sourced<Hook>>,
    /// What is forwarded, in the order of the file.
    pub forwards: Vec<ForwardSpec>,
}

/// `min_sessions` and `max_sessions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCount {
    /// So many are kept, whether they are needed or not.
    pub min: u32,
    /// Up to so many are opened as connections come; what relieves a clogged one is not counted.
    pub max: u32,
}

/// ServerAliveInterval and ServerAliveCountMax of ssh_config(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence after which the server is asked; zero turns keepalive off.
    pub interval: Duration,
    /// How many questions in a row may stay without an answer.
    pub count_max: u32,
}

impl Keepalive {
    /// The longest time for which a dead server goes unnoticed: `interval × (count_max + 1)`.
    /// `None` where keepalive is off.
    pub fn detection(&self) -> Option<Duration> {
        (!self.interval.is_zero()).then(|| {
            self.interval
                .saturating_mul(self.count_max.saturating_add(1))
        })
    }
}

/// How to come back: the delay starts at `initial`, is multiplied up to `max`, is spread by
/// `jitter`, and starts over once a session was up for `reset_after`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reconnect {
    /// The first delay.
    pub initial: Duration,
    /// The ceiling.
    pub max: Duration,
    /// What each delay is multiplied by; at least 1.
    pub multiplier: f64,
    /// Each delay is drawn from `delay × (1 ± jitter)`; 0 to 1.
    pub jitter: f64,
    /// How long a session must have been up for the delay to start over.
    pub reset_after: Duration,
}

/// `host:port`, with brackets around an IPv6 address.
pub fn host_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// A value and the place it was written at. Two of them are equal when the values are: moving a
/// line in the file changes nothing.
#[derive(Debug, Clone)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file; `None` for a default.
    pub span: Option<Range<usize>>,
}

impl<T> Sourced<T> {
    /// A default.
    pub(crate) fn unwritten(value: T) -> Self {
        Sourced { value, span: None }
    }
}

impl<T: PartialEq> PartialEq for Sourced<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Sourced<T> {}
