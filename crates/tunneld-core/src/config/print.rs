//! The effective configuration as a file: every key, with the defaults filled in.

mod target;

use std::fmt::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::{
    Config, Expect, ForwardKind, ForwardSpec, Goal, Listen, LocalForward, Probe, ReadyWhen,
    RemoteListen, TunnelSpec, WhileDown,
};
use target::{write_server, write_way};

/// The configuration as TOML. It loads to an equal [`Config`].
pub fn effective(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_config(&mut out, config);
    out
}

fn write_config(out: &mut String, config: &Config) -> fmt::Result {
    let daemon = &config.daemon;
    let ready_when = match daemon.ready_when {
        ReadyWhen::Settled => "settled",
        ReadyWhen::All => "all",
        ReadyWhen::Any => "any",
    };
    writeln!(out, "[daemon]")?;
    writeln!(out, "control_socket = {}", path(&daemon.control_socket))?;
    writeln!(out, "ready_when = {}", string(ready_when))?;
    writeln!(out, "start_timeout = {}", duration(daemon.start_timeout))?;
    writeln!(out, "drain_timeout = {}", duration(daemon.drain_timeout))?;
    for tunnel in config.tunnels.values() {
        writeln!(out)?;
        write_tunnel(out, tunnel)?;
    }
    Ok(())
}

fn write_tunnel(out: &mut String, tunnel: &TunnelSpec) -> fmt::Result {
    // A dot in a name is not a step into a table.
    let name = string(tunnel.name.as_str());
    writeln!(out, "[tunnels.{name}]")?;
    writeln!(out, "enabled = {}", tunnel.enabled)?;
    write_server(out, &tunnel.target)?;
    write_way(out, &tunnel.target)?;
    let keepalive = &tunnel.keepalive;
    writeln!(
        out,
        "connect_timeout = {}",
        duration(tunnel.connect_timeout)
    )?;
    writeln!(
        out,
        "server_alive_interval = {}",
        duration(keepalive.interval)
    )?;
    writeln!(out, "server_alive_count_max = {}", keepalive.count_max)?;
    writeln!(
        out,
        "certificate_expiry_warning = {}",
        duration(tunnel.certificate_expiry_warning)
    )?;
    writeln!(out, "min_sessions = {}", tunnel.sessions.min)?;
    writeln!(out, "max_sessions = {}", tunnel.sessions.max)?;
    writeln!(out, "stall_timeout = {}", duration(tunnel.stall_timeout))?;
    let reconnect = &tunnel.reconnect;
    writeln!(
        out,
        "reconnect = {{ initial = {}, max = {}, multiplier = {:?}, jitter = {:?}, reset_after = {} }}",
        duration(reconnect.initial),
        duration(reconnect.max),
        reconnect.multiplier,
        reconnect.jitter,
        duration(reconnect.reset_after),
    )?;
    for hop in tunnel.target.hops() {
        writeln!(out, "\n[[tunnels.{name}.proxy_jump]]")?;
        write_server(out, hop)?;
    }
    for forward in &tunnel.forwards {
        write_forward(out, &name, forward)?;
    }
    Ok(())
}

fn write_forward(out: &mut String, tunnel: &str, forward: &ForwardSpec) -> fmt::Result {
    let kind = forward.kind_name();
    writeln!(out, "\n[[tunnels.{tunnel}.{kind}_forward]]")?;
    writeln!(out, "name = {}", string(forward.name.as_str()))?;
    writeln!(out, "listen = {}", string(&forward.listen_text()))?;
    if let Goal::To(place) = forward.goal() {
        writeln!(out, "connect = {}", string(&place.to_string()))?;
    }
    // Only addresses can be compared with a list: a unix socket has no such key.
    let takes_allow = match &forward.kind {
        ForwardKind::Local(local) => {
            write_local(out, local)?;
            !matches!(local.listen.value, Listen::Unix(_))
        }
        ForwardKind::Remote(remote) => !matches!(remote.listen.value, RemoteListen::Unix(_)),
    };
    writeln!(out, "max_connections = {}", forward.max_connections)?;
    let idle = forward.idle_timeout.unwrap_or_default();
    writeln!(out, "idle_timeout = {}", duration(idle))?;
    if takes_allow {
        let networks = forward.allow.iter().map(|n| string(&n.to_string()));
        writeln!(out, "allow = {}", array(networks))?;
    }
    match (&forward.probe, forward.goal()) {
        (Some(probe), _) => write_probe(out, probe),
        (None, Goal::To(_)) => writeln!(out, "probe = false"),
        (None, Goal::Asked) => Ok(()),
    }
}

fn write_local(out: &mut String, local: &LocalForward) -> fmt::Result {
    let while_down = match local.while_down {
        WhileDown::Wait => "wait",
        WhileDown::Refuse => "refuse",
    };
    writeln!(out, "while_down = {}", string(while_down))?;
    writeln!(out, "wait_timeout = {}", duration(local.wait_timeout))?;
    let Listen::Unix(place) = &local.listen.value else {
        return Ok(());
    };
    writeln!(out, "socket_mode = \"{:04o}\"", place.mode)?;
    match &place.owner {
        Some(owner) => writeln!(out, "socket_owner = {}", string(&owner.to_string())),
        None => Ok(()),
    }
}

fn write_probe(out: &mut String, probe: &Probe) -> fmt::Result {
    let expect = match &probe.expect {
        None => String::new(),
        Some(Expect::FirstLine(line)) => format!(", expect = {}", string(line)),
        Some(Expect::Http { status, path }) => {
            format!(", expect = {status}, path = {}", string(path))
        }
    };
    let (interval, timeout) = (duration(probe.interval), duration(probe.timeout));
    writeln!(
        out,
        "probe = {{ interval = {interval}, timeout = {timeout}{expect} }}"
    )
}

fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn path(path: &Path) -> String {
    string(&path.to_string_lossy())
}

fn duration(value: Duration) -> String {
    string(&humantime::format_duration(value).to_string())
}

fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}
