//! The effective configuration as a file: every key, with the defaults filled in.

use std::fmt::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::{
    Config, ForwardKind, ForwardSpec, LocalForward, ReadyWhen, StrictHostKeyChecking, Target,
    TunnelSpec, WhileDown,
};

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
    write_target(out, &tunnel.target)?;
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
    for forward in &tunnel.forwards {
        match &forward.kind {
            ForwardKind::Local(local) => write_local(out, &name, forward, local)?,
        }
    }
    Ok(())
}

fn write_target(out: &mut String, target: &Target) -> fmt::Result {
    let paths = |files: &[super::Sourced<std::path::PathBuf>]| {
        array(files.iter().map(|file| path(&file.value)))
    };
    let strict = match target.strict_host_key_checking {
        StrictHostKeyChecking::Yes => "yes",
        StrictHostKeyChecking::AcceptNew => "accept-new",
    };
    writeln!(out, "host = {}", string(&target.host))?;
    writeln!(out, "port = {}", target.port)?;
    writeln!(out, "user = {}", string(&target.user))?;
    // Written out, default keys that do not exist would be errors.
    let (mark, why) = if target.identity_file_is_default {
        ("# ", "  # the default: those that exist")
    } else {
        ("", "")
    };
    let keys = paths(&target.identity_file);
    writeln!(out, "{mark}identity_file = {keys}{why}")?;
    writeln!(out, "known_hosts = {}", paths(&target.known_hosts))?;
    writeln!(out, "strict_host_key_checking = {}", string(strict))?;
    let pins = target.host_key_fingerprint.iter();
    let pins = array(pins.map(|pin| string(pin.as_str())));
    writeln!(out, "host_key_fingerprint = {pins}")
}

fn write_local(
    out: &mut String,
    tunnel: &str,
    forward: &ForwardSpec,
    local: &LocalForward,
) -> fmt::Result {
    let while_down = match local.while_down {
        WhileDown::Wait => "wait",
        WhileDown::Refuse => "refuse",
    };
    let listen = local.listen.value.to_string();
    writeln!(out, "\n[[tunnels.{tunnel}.local_forward]]")?;
    writeln!(out, "name = {}", string(forward.name.as_str()))?;
    writeln!(out, "listen = {}", string(&listen))?;
    writeln!(out, "connect = {}", string(&local.connect.to_string()))?;
    writeln!(out, "while_down = {}", string(while_down))?;
    writeln!(out, "wait_timeout = {}", duration(local.wait_timeout))?;
    writeln!(out, "max_connections = {}", local.max_connections)
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
