//! The effective configuration as a file: every key, with the defaults filled in.

mod printer;
mod target;

use std::path::Path;
use std::time::Duration;

use super::provenance::Section;
use super::{
    Config, Expect, ForwardKind, ForwardSpec, Goal, Hook, Listen, LocalForward, Probe,
    RemoteListen, Sourced, Texts, TunnelSpec, WhileDown,
};
use printer::Printer;
use target::{write_server, write_way};

/// The configuration as TOML. It loads to an equal [`Config`].
pub fn effective(config: &Config) -> String {
    write_config(Printer::new(None), config)
}

/// As [`effective`]; behind each value stands where it is written, or that it is the default. `texts`
/// are those that the configuration was loaded from.
pub fn effective_with_places(config: &Config, texts: &Texts) -> String {
    write_config(Printer::new(Some((&config.provenance, texts))), config)
}

fn write_config(mut out: Printer<'_>, config: &Config) -> String {
    let daemon = &config.daemon;
    out.table(&Section::Daemon, "[daemon]");
    out.key("control_socket", path(&daemon.control_socket));
    let metrics_listen = daemon.metrics_listen.map(|at| at.to_string());
    out.key(
        "metrics_listen",
        string(metrics_listen.as_deref().unwrap_or("none")),
    );
    match &daemon.state_directory {
        Some(folder) => out.key("state_directory", path(folder)),
        None => out.default(
            "state_directory",
            string("$STATE_DIRECTORY"),
            ": as the service manager says",
        ),
    }
    out.key("ready_when", string(daemon.ready_when.as_str()));
    out.key("start_timeout", duration(daemon.start_timeout));
    out.key("drain_timeout", duration(daemon.drain_timeout));
    out.key("watch", daemon.watch);
    out.key("sandbox", daemon.sandbox);
    for tunnel in config.tunnels.values() {
        write_tunnel(&mut out, tunnel);
    }
    out.finish()
}

fn write_tunnel(out: &mut Printer<'_>, tunnel: &TunnelSpec) {
    // A dot in a name is not a step into a table.
    let name = string(tunnel.name.as_str());
    let section = Section::Tunnel(tunnel.name.clone());
    out.table(&section, &format!("[tunnels.{name}]"));
    out.key("enabled", tunnel.enabled);
    write_server(out, &tunnel.target, None);
    write_way(out, &tunnel.target);
    out.filled_in("ssh_config", string("none"));
    let keepalive = &tunnel.keepalive;
    out.key("connect_timeout", duration(tunnel.connect_timeout));
    out.key("server_alive_interval", duration(keepalive.interval));
    out.key("server_alive_count_max", keepalive.count_max);
    let warning = duration(tunnel.certificate_expiry_warning);
    out.key("certificate_expiry_warning", warning);
    out.key("min_sessions", tunnel.sessions.min);
    out.key("max_sessions", tunnel.sessions.max);
    out.key("stall_timeout", duration(tunnel.stall_timeout));
    let reconnect = &tunnel.reconnect;
    let reconnect = format!(
        "{{ initial = {}, max = {}, multiplier = {:?}, jitter = {:?}, reset_after = {} }}",
        duration(reconnect.initial),
        duration(reconnect.max),
        reconnect.multiplier,
        reconnect.jitter,
        duration(reconnect.reset_after),
    );
    out.key("reconnect", reconnect);
    out.key("on_up", shown_hook(tunnel.on_up.as_ref()));
    out.key("on_down", shown_hook(tunnel.on_down.as_ref()));
    for (index, hop) in tunnel.target.hops().into_iter().enumerate() {
        let section = Section::Hop(tunnel.name.clone(), index);
        out.table(&section, &format!("[[tunnels.{name}.proxy_jump]]"));
        write_server(out, hop, Some(&tunnel.target));
    }
    for (index, forward) in tunnel.forwards.iter().enumerate() {
        let kind = forward.kind_name();
        let section = Section::Forward(tunnel.name.clone(), index);
        out.table(&section, &format!("[[tunnels.{name}.{kind}_forward]]"));
        write_forward(out, forward);
    }
}

fn write_forward(out: &mut Printer<'_>, forward: &ForwardSpec) {
    out.key("name", string(forward.name.as_str()));
    out.key("listen", string(&forward.listen_text()));
    if let Goal::To(place) = forward.goal() {
        out.key("connect", string(&place.to_string()));
    }
    // Only addresses can be compared with a list: a unix socket has no such key.
    let takes_allow = match &forward.kind {
        ForwardKind::Local(local) => {
            write_local(out, local);
            !matches!(local.listen.value, Listen::Unix(_))
        }
        ForwardKind::Remote(remote) => !matches!(remote.listen.value, RemoteListen::Unix(_)),
    };
    out.key("max_connections", forward.max_connections);
    let idle = forward.idle_timeout.unwrap_or_default();
    out.key("idle_timeout", duration(idle));
    if takes_allow {
        let networks = forward.allow.iter().map(|n| string(&n.to_string()));
        out.key("allow", array(networks));
    }
    match (&forward.probe, forward.goal()) {
        (Some(probe), _) => out.key("probe", shown_probe(probe)),
        (None, Goal::To(_)) => out.key("probe", false),
        (None, Goal::Asked) => {}
    }
}

fn write_local(out: &mut Printer<'_>, local: &LocalForward) {
    let while_down = match local.while_down {
        WhileDown::Wait => "wait",
        WhileDown::Refuse => "refuse",
    };
    out.key("while_down", string(while_down));
    out.key("wait_timeout", duration(local.wait_timeout));
    let Listen::Unix(place) = &local.listen.value else {
        return;
    };
    out.key("socket_mode", format!("\"{:04o}\"", place.mode));
    if let Some(owner) = &place.owner {
        out.key("socket_owner", string(&owner.to_string()));
    }
}

fn shown_probe(probe: &Probe) -> String {
    let expect = match &probe.expect {
        None => String::new(),
        Some(Expect::FirstLine(line)) => format!(", expect = {}", string(line)),
        Some(Expect::Http { status, path }) => {
            format!(", expect = {status}, path = {}", string(path))
        }
    };
    let (interval, timeout) = (duration(probe.interval), duration(probe.timeout));
    format!("{{ interval = {interval}, timeout = {timeout}{expect} }}")
}

fn shown_hook(hook: Option<&Sourced<Hook>>) -> String {
    let Some(Sourced { value: hook, .. }) = hook else {
        return string("none");
    };
    let command = array(hook.command.iter().map(|word| string(word)));
    let timeout = duration(hook.timeout);
    format!("{{ command = {command}, timeout = {timeout} }}")
}

/// A text as TOML has it.
pub(crate) fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn path(path: &Path) -> String {
    string(&path.to_string_lossy())
}

/// A duration as the file has it.
pub(crate) fn duration(value: Duration) -> String {
    string(&humantime::format_duration(value).to_string())
}

/// Values in brackets.
pub(crate) fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}
