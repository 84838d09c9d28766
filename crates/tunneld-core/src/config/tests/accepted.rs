//! What a file says is what the configuration has, and what it leaves out is the default.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::{
    ForwardKind, ForwardSpec, Listen, ListenHost, LocalForward, ReadyWhen, SessionCount, Sourced,
    StrictHostKeyChecking, TcpListen, TunnelSpec, Via, WhileDown, effective, load_bytes,
};

fn locals(spec: &TunnelSpec) -> Vec<(String, LocalForward)> {
    let local = |f: &ForwardSpec| match &f.kind {
        ForwardKind::Local(local) => Some((f.name.to_string(), local.clone())),
        ForwardKind::Remote(_) => None,
    };
    spec.forwards.iter().filter_map(local).collect()
}

fn shown(paths: &[Sourced<PathBuf>]) -> Vec<&str> {
    paths.iter().map(|p| p.value.to_str().unwrap()).collect()
}

const SMALLEST: &str = "[tunnels.db]\nhost = \"db\"\nlocal_forward = \"5432:localhost:5432\"\n";

#[test]
fn the_control_socket_is_in_the_folder_of_the_unit_that_has_the_file() {
    // tunneld@office.service has /etc/tunneld/office.toml, and a folder of its own in /run.
    for (file, socket) in [
        (
            "/etc/tunneld/office.toml",
            "/run/tunneld-office/control.sock",
        ),
        ("/etc/tunneld/a.b.toml", "/run/tunneld-a.b/control.sock"),
        ("/etc/tunneld/tunneld.toml", "/run/tunneld/control.sock"),
        ("/etc/tunneld/office.conf", "/run/tunneld/control.sock"),
        ("/srv/office.toml", "/run/tunneld/control.sock"),
        ("office.toml", "/run/tunneld/control.sock"),
    ] {
        let origin = Origin::of_file(Path::new(file));
        let config = crate::config::load(SMALLEST, &origin, &surroundings()).unwrap();
        assert_eq!(
            config.daemon.control_socket,
            PathBuf::from(socket),
            "{file}"
        );
    }
}

#[test]
fn what_is_left_out_is_the_default_of_ssh_or_the_documented_one() {
    let config = loaded(SMALLEST);
    let daemon = &config.daemon;
    assert_eq!(
        daemon.control_socket,
        PathBuf::from("/run/tunneld/control.sock")
    );
    assert_eq!(daemon.ready_when, ReadyWhen::Settled);
    assert_eq!(daemon.start_timeout, Duration::from_secs(30));
    assert_eq!(daemon.drain_timeout, Duration::from_secs(10));
    let spec = tunnel(SMALLEST);
    assert!(spec.enabled);
    assert_eq!((spec.target.port, spec.target.user.as_str()), (22, "svc"));
    assert!(spec.target.identity_file_is_default);
    assert_eq!(
        shown(&spec.target.identity_file),
        [
            "/home/svc/.ssh/id_ed25519",
            "/home/svc/.ssh/id_ecdsa",
            "/home/svc/.ssh/id_rsa"
        ]
    );
    assert_eq!(
        shown(&spec.target.known_hosts),
        [
            "/etc/tunneld/known_hosts",
            "/home/svc/.ssh/known_hosts",
            "/etc/ssh/ssh_known_hosts"
        ]
    );
    assert_eq!(
        spec.target.strict_host_key_checking,
        StrictHostKeyChecking::Yes
    );
    assert_eq!(spec.connect_timeout, Duration::from_secs(15));
    assert_eq!(spec.keepalive.interval, Duration::from_secs(15));
    assert_eq!(spec.keepalive.count_max, 3);
    assert_eq!(spec.stall_timeout, Duration::from_secs(30));
    assert_eq!(spec.reconnect.initial, Duration::from_secs(1));
    assert_eq!(spec.reconnect.max, Duration::from_secs(60));
    assert_eq!(
        (spec.reconnect.multiplier, spec.reconnect.jitter),
        (2.0, 0.5)
    );
    assert_eq!(spec.reconnect.reset_after, Duration::from_secs(30));
    let (name, local) = locals(&spec).remove(0);
    assert_eq!(name, "local-5432");
    let listen = TcpListen {
        host: ListenHost::Localhost,
        port: 5432,
    };
    assert_eq!(local.listen.value, Listen::Tcp(listen));
    assert_eq!(local.while_down, WhileDown::Wait);
    assert_eq!(local.wait_timeout, Duration::from_secs(10));
    let forward = &spec.forwards[0];
    assert_eq!(forward.max_connections, 4096);
    assert_eq!(forward.idle_timeout, None);
    assert!(forward.allow.is_empty() && forward.probe.is_none());
    assert_eq!(spec.target.via, Via::Direct);
    assert_eq!(spec.sessions, SessionCount { min: 1, max: 1 });
}

#[test]
fn without_a_home_there_are_no_default_keys() {
    let nowhere = Surroundings {
        home: None,
        ..surroundings()
    };
    let config = crate::config::load(SMALLEST, &origin(), &nowhere).unwrap();
    let target = &config.tunnels.values().next().unwrap().target;
    assert!(target.identity_file.is_empty() && target.identity_file_is_default);
    assert_eq!(target.known_hosts.len(), 2);
    let homely = SMALLEST.to_owned() + "known_hosts = \"~/x\"\n";
    assert!(crate::config::load(&homely, &origin(), &nowhere).is_err());
    let nobody = Surroundings::default();
    let problems = crate::config::load(SMALLEST, &origin(), &nobody).unwrap_err();
    assert!(problems.to_string().contains("tunnel `db` has no `user`"));
}

#[test]
fn everything_that_is_written_arrives() {
    let config = loaded(
        r#"
        [daemon]
        control_socket = "ctl.sock"
        ready_when = "any"
        start_timeout = 5
        drain_timeout = 0
        [tunnels.db]
        host = "2001:db8::1"
        port = 0x8ae
        user = "me"
        identity_file = "keys/id"
        known_hosts = ["~/kh", "/kh"]
        strict_host_key_checking = "accept-new"
        host_key_fingerprint = "SHA256:uNiVztksCsDhcc0u9e8BrrEYTWAD7Q3F3XcIcYQ1X4U"
        connect_timeout = "1m30s"
        server_alive_interval = 0
        server_alive_count_max = 7
        stall_timeout = "500ms"
        reconnect.initial = "2s"
        reconnect.jitter = 0
        enabled = false
        [[tunnels.db.local_forward]]
        name = "pg"
        listen = "[::1]:5432"
        connect = "[2001:db8::2]:5433"
        while_down = "refuse"
        wait_timeout = 3
        max_connections = 1
        "#,
    );
    assert_eq!(
        config.daemon.control_socket,
        PathBuf::from("/etc/tunneld/ctl.sock")
    );
    assert_eq!(config.daemon.ready_when, ReadyWhen::Any);
    assert!(config.daemon.drain_timeout.is_zero());
    let spec = config.tunnels.values().next().unwrap();
    assert_eq!(
        (spec.target.host.as_str(), spec.target.port),
        ("2001:db8::1", 2222)
    );
    assert_eq!(shown(&spec.target.identity_file), ["/etc/tunneld/keys/id"]);
    assert!(!spec.target.identity_file_is_default);
    assert_eq!(shown(&spec.target.known_hosts), ["/home/svc/kh", "/kh"]);
    assert_eq!(spec.target.host_key_fingerprint.len(), 1);
    assert_eq!(spec.connect_timeout, Duration::from_secs(90));
    assert_eq!(spec.keepalive.detection(), None);
    assert_eq!(spec.stall_timeout, Duration::from_millis(500));
    assert_eq!(spec.reconnect.initial, Duration::from_secs(2));
    assert_eq!(
        (spec.reconnect.jitter, spec.reconnect.multiplier),
        (0.0, 2.0)
    );
    assert!(!spec.enabled);
    let (name, local) = locals(spec).remove(0);
    assert_eq!(name, "pg");
    assert_eq!(local.listen.value.to_string(), "[::1]:5432");
    assert_eq!(local.connect.to_string(), "[2001:db8::2]:5433");
    assert_eq!(local.while_down, WhileDown::Refuse);
    assert_eq!(local.wait_timeout, Duration::from_secs(3));
    assert_eq!(spec.forwards[0].max_connections, 1);
}

#[test]
fn a_tunnel_overrides_the_defaults_part_by_part() {
    let spec = tunnel(
        r#"
        defaults = { user = "all", reconnect = { initial = "2s", max = "5m" }, enabled = false }
        [tunnels.db]
        host = "db"
        local_forward = "1:db:1"
        reconnect = { max = "3m" }
        strict_host_key_checking = true
        "#,
    );
    assert_eq!(spec.target.user, "all");
    assert!(!spec.enabled);
    assert_eq!(spec.reconnect.initial, Duration::from_secs(2));
    assert_eq!(spec.reconnect.max, Duration::from_secs(180));
}

#[test]
fn dotted_keys_inline_tables_and_headers_say_the_same() {
    let forms = [
        SMALLEST,
        "tunnels.db.host = 'db'\ntunnels.db.local_forward = '5432:localhost:5432'",
        "tunnels = { db = { host = 'db', local_forward = ['5432:localhost:5432'] } }",
        "\u{feff}[tunnels.db]\r\nhost = 'db'\r\n[[tunnels.db.local_forward]]\r\nlisten = 5432\r\n\
         connect = 'localhost:5432'\r\n",
    ];
    for form in forms {
        assert_eq!(loaded(form), loaded(SMALLEST), "{form}");
    }
}

#[test]
fn a_value_knows_where_it_was_written() {
    let spec = tunnel(SMALLEST);
    let (_, local) = locals(&spec).remove(0);
    let span = local.listen.span.unwrap();
    assert_eq!(&SMALLEST[span], "\"5432:localhost:5432\"");
    assert_eq!(spec.target.identity_file[0].span, None);
}

#[test]
fn a_forward_is_named_after_its_place_and_keeps_out_of_the_way_of_others() {
    let spec = tunnel(
        r#"
        [tunnels.db]
        host = "db"
        local_forward = [
          "127.0.0.2:1:a:1", "127.0.0.3:1:a:1", "[2001:db8::1]:1:a:1", "2:a:1",
          { name = "local-2", listen = "127.0.0.2:2", connect = "a:1" },
        ]
        "#,
    );
    let names: Vec<String> = locals(&spec).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "local-1",
            "local-1-127.0.0.3",
            "local-1-2001-db8--1",
            "local-2-localhost",
            "local-2"
        ]
    );
}

#[test]
fn a_disabled_tunnel_takes_no_address() {
    let config = loaded(
        "[tunnels.a]\nhost = 'a'\nlocal_forward = ['1:a:1', '1:a:2', '1:a:3']\nenabled = false\n\
         [tunnels.b]\nhost = 'b'\nlocal_forward = '1:b:1'\n",
    );
    let names: Vec<String> = locals(config.tunnels.values().next().unwrap())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        ["local-1", "local-1-localhost", "local-1-localhost-2"]
    );
}

#[test]
fn addresses_that_do_not_overlap_are_no_conflict() {
    loaded(
        "[tunnels.a]\nhost = 'a'\nlocal_forward = ['127.0.0.1:1:a:1', '127.0.0.2:1:a:1', \
         '[::]:1:a:1', '2:a:1', '0.0.0.0:3:a:1', '[::1]:3:a:1']\n",
    );
}

#[test]
fn a_file_with_a_table_and_no_tunnels_is_valid() {
    for text in ["[daemon]\n", "[tunnels]\n", "tunnels = {}", "[defaults]"] {
        assert!(loaded(text).tunnels.is_empty());
    }
}

#[test]
fn known_hosts_may_be_empty_where_the_key_is_pinned() {
    let pin = "host_key_fingerprint = \"SHA256:uNiVztksCsDhcc0u9e8BrrEYTWAD7Q3F3XcIcYQ1X4U\"\n";
    let text = SMALLEST.to_owned() + "known_hosts = []\n";
    assert!(load(&text).is_err());
    assert!(tunnel(&(text + pin)).target.known_hosts.is_empty());
}

#[test]
fn a_port_alone_is_where_metrics_are_served_on_this_machine() {
    for written in ["9478", "'9478'", "'localhost:9478'", "'127.0.0.1:9478'"] {
        let config = loaded(&format!("[daemon]\nmetrics_listen = {written}\n"));
        let listen = config.daemon.metrics_listen.map(|at| at.to_string());
        assert_eq!(listen.as_deref(), Some("127.0.0.1:9478"), "{written}");
    }
    assert!(load("[daemon]\nmetrics_listen = 65536\n").is_err());
}

#[test]
fn bytes_are_a_file_too() {
    let config = load_bytes(SMALLEST.as_bytes(), &origin(), &surroundings()).unwrap();
    assert_eq!(config, loaded(SMALLEST));
}

#[test]
fn the_effective_configuration_has_every_key() {
    assert_eq!(
        effective(&loaded(SMALLEST)),
        format!(
            r#"[daemon]
control_socket = "/run/tunneld/control.sock"
metrics_listen = "none"
# state_directory = "$STATE_DIRECTORY"  # the default: as the service manager says
ready_when = "settled"
start_timeout = "30s"
drain_timeout = "10s"
watch = false
sandbox = true

[tunnels."db"]
enabled = true
host = "db"
port = 22
user = "svc"
{UNWRITTEN}compression = false
address_family = "any"
bind_address = "none"
proxy_jump = "none"
proxy = "none"
proxy_command = "none"
ssh_config = "none"
connect_timeout = "15s"
server_alive_interval = "15s"
server_alive_count_max = 3
certificate_expiry_warning = "7days"
min_sessions = 1
max_sessions = 1
stall_timeout = "30s"
reconnect = {{ initial = "1s", max = "1m", multiplier = 2.0, jitter = 0.5, reset_after = "30s" }}
on_up = "none"
on_down = "none"

[[tunnels."db".local_forward]]
name = "local-5432"
listen = "localhost:5432"
connect = "localhost:5432"
while_down = "wait"
wait_timeout = "10s"
max_connections = 4096
idle_timeout = "0s"
allow = []
probe = false
"#
        )
    );
}
