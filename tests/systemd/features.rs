//! What the sandbox of the shipped unit leaves: every feature that needs something of the machine.
//! Hooks, credentials and sockets of systemd are in files of their own.

use tunneld_core::status::{DaemonStatus, Phase, TunnelStatus};
use tunneld_lab::process::poll;

use crate::lab::{LONG, Lab};

/// An agent with the key, as the README has it, and a resolver that knows one name.
const PREPARE: &str = r#"
set -e
cat >/etc/systemd/system/lab-agent.service <<END
[Service]
User=tunneld
RuntimeDirectory=ssh-agent-tunneld
ExecStart=/usr/bin/ssh-agent -D -a /run/ssh-agent-tunneld/socket
END
cat >/srv/unbound.conf <<END
server:
    interface: 127.0.0.1
    do-daemonize: no
    use-syslog: no
    username: ""
    chroot: ""
    pidfile: ""
    local-data: "bastion.lab.test. A 127.0.0.1"
END
cat >/etc/systemd/system/lab-resolver.service <<END
[Service]
ExecStart=/usr/sbin/unbound -c /srv/unbound.conf
END
systemctl daemon-reload
systemctl start lab-agent lab-resolver
echo nameserver 127.0.0.1 >/etc/resolv.conf
for _ in $(seq 600); do
    test -S /run/ssh-agent-tunneld/socket && getent hosts bastion.lab.test >/dev/null && break
    sleep 0.1
done
runuser -u tunneld -- env SSH_AUTH_SOCK=/run/ssh-agent-tunneld/socket \
    ssh-add -q /etc/tunneld/keys/id_ed25519
"#;

/// A tunnel for each feature.
const FILE: &str = r#"
[daemon]
metrics_listen = "127.0.0.1:9478"
watch = true

[defaults]
port = 2222
user = "lab-login"
identity_file = "/etc/tunneld/keys/id_ed25519"
known_hosts = "/etc/tunneld/known_hosts"

[tunnels.by-command]
host = "127.0.0.1"
proxy_command = ["/bin/bash", "-c", 'exec 3<>/dev/tcp/$0/$1; cat <&3 & exec cat >&3', "%h", "%p"]
local_forward = "127.0.0.1:5701:127.0.0.1:9000"

[tunnels.by-name]
host = "bastion.lab.test"
strict_host_key_checking = "accept-new"
local_forward = "127.0.0.1:5702:127.0.0.1:9000"

[tunnels.by-agent]
host = "127.0.0.1"
identity_file = "none"
identity_agent = "/run/ssh-agent-tunneld/socket"
local_forward = "127.0.0.1:5703:127.0.0.1:9000"

[tunnels.by-file]
host = "127.0.0.1"
local_forward = { listen = "/run/tunneld/echo.sock", connect = "127.0.0.1:9000" }

[tunnels.held]
host = "127.0.0.1"
local_forward = "127.0.0.1:9000:127.0.0.1:9000"
"#;

#[test]
fn the_sandbox_leaves_every_feature_what_it_needs() {
    // One boot and one file with all of them.
    let lab = Lab::boot();
    lab.run(PREPARE);
    lab.write(FILE);
    lab.run("systemctl start tunneld");
    for (name, port) in [("by-command", 5701), ("by-name", 5702), ("by-agent", 5703)] {
        assert_eq!(tunnel(&lab, name).phase, Phase::Up, "{}", lab.state());
        assert!(lab.echoes(port), "{name}\n{}", lab.state());
    }
    a_host_key_is_learnt(&lab);
    a_socket_file_is_served(&lab);
    who_holds_a_port_is_told(&lab);
    metrics_are_served(&lab);
    the_history_outlives_the_service(&lab);
    a_watched_file_is_applied(&lab);
}

fn tunnel(lab: &Lab, name: &str) -> TunnelStatus {
    // Not `run`: one of them is not up, as it should be.
    let printed = lab.sh("tunneld status --json").stdout;
    let status: DaemonStatus = serde_json::from_slice(&printed).unwrap();
    let found = status.tunnels.into_iter().find(|t| t.name.as_str() == name);
    found.unwrap_or_else(|| panic!("no {name}\n{}", lab.state()))
}

/// The one file that can be written in /etc/tunneld.
fn a_host_key_is_learnt(lab: &Lab) {
    lab.run("grep -F '[bastion.lab.test]:2222 ssh-ed25519 ' /etc/tunneld/known_hosts");
}

fn a_socket_file_is_served(lab: &Lab) {
    lab.run(
        "python3 - <<'END'
import socket
client = socket.socket(socket.AF_UNIX)
client.settimeout(20)
client.connect('/run/tunneld/echo.sock')
client.sendall(b'hello')
assert client.recv(5) == b'hello'
END",
    );
}

/// As far as the sandbox shows other processes.
fn who_holds_a_port_is_told(lab: &Lab) {
    let held = tunnel(lab, "held");
    assert_eq!(held.phase, Phase::Degraded);
    assert_eq!(
        held.failure.unwrap().cause,
        "cannot listen on 127.0.0.1:9000: address already in use by a process of uid 0"
    );
}

fn metrics_are_served(lab: &Lab) {
    let metrics = lab.run("curl -fsS http://127.0.0.1:9478/metrics");
    assert!(metrics.contains("tunneld_tunnel_up{tunnel=\"by-name\"} 1"));
}

fn the_history_outlives_the_service(lab: &Lab) {
    let ups = || {
        let history = lab.run("tunneld history by-command");
        history.matches("up").count()
    };
    let before = ups();
    lab.run("systemctl restart tunneld");
    assert!(ups() > before, "{}", lab.run("tunneld history by-command"));
}

fn a_watched_file_is_applied(lab: &Lab) {
    lab.write(&FILE.replace(":5701:", ":5711:"));
    let there = poll(LONG, || lab.echoes(5711).then_some(()));
    assert!(there.is_some(), "{}", lab.state());
}
