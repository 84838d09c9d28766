//! `ssh_config`: what ssh's files supply, and what our own keys leave of it.

use std::time::Duration;

use super::*;
use crate::config::{
    AddressFamily, IdentityAgent, ProxyCommand, SshConfigs, StrictHostKeyChecking, Texts, Via,
    effective, effective_with_places, ssh_config_paths,
};

fn files(files: &[super::super::Sourced<std::path::PathBuf>]) -> Vec<String> {
    files
        .iter()
        .map(|f| f.value.display().to_string())
        .collect()
}

/// An entry with every keyword that is taken over.
const EVERYTHING: &str = r#"Host db
    HostName DB.internal
    Port 2222
    User me
    IdentityFile ~/.ssh/db
    IdentityFile /keys/%h
    CertificateFile /keys/db-cert.pub
    IdentityAgent $DB_AGENT
    IdentitiesOnly yes
    UserKnownHostsFile /kh/a ~/b
    GlobalKnownHostsFile /kh/c
    HostKeyAlias Db
    StrictHostKeyChecking accept-new
    UpdateHostKeys no
    RequiredRSASize 2048
    ServerAliveInterval 1m
    ServerAliveCountMax 7
    ConnectTimeout 20
    Ciphers aes256-ctr,aes256-cbc
    KexAlgorithms -diffie-*
    MACs ^hmac-sha2-256
    HostKeyAlgorithms +ssh-rsa
    Compression yes
    RekeyLimit 1G 1h
    AddressFamily inet
    BindAddress 127.0.0.2
    ProxyCommand nc -x 100% %h %p # %n
"#;

#[test]
fn every_keyword_supplies_its_key() {
    let text = EVERYTHING.replace("100% ", "100%% ");
    let spec = tunnel_with_ssh("", &text);
    let target = &spec.target;
    assert_eq!(target.to_string(), "me@db.internal:2222");
    assert_eq!(
        files(&target.identity_file),
        ["/home/svc/.ssh/db", "/keys/db.internal"]
    );
    assert!(!target.identity_file_is_default);
    assert_eq!(files(&target.certificate_file), ["/keys/db-cert.pub"]);
    let agent = IdentityAgent::Variable("DB_AGENT".to_owned());
    assert_eq!(target.identity_agent, Some(agent));
    assert!(target.identities_only);
    assert_eq!(
        files(&target.known_hosts),
        ["/kh/a", "/home/svc/b", "/kh/c"]
    );
    assert_eq!(target.host_key_alias.as_deref(), Some("db"));
    assert_eq!(
        target.strict_host_key_checking,
        StrictHostKeyChecking::AcceptNew
    );
    assert!(!target.update_host_keys);
    assert_eq!(target.required_rsa_size, 2048);
    assert_eq!(spec.keepalive.interval, Duration::from_secs(60));
    assert_eq!(spec.keepalive.count_max, 7);
    assert_eq!(spec.connect_timeout, Duration::from_secs(20));
    let algorithms = &target.algorithms;
    assert_eq!(
        algorithms.ciphers.as_deref(),
        Some(&["aes256-ctr".to_owned()][..])
    );
    assert!(
        !algorithms
            .kex
            .as_ref()
            .unwrap()
            .iter()
            .any(|kex| kex.starts_with("diffie-"))
    );
    assert_eq!(algorithms.macs.as_ref().unwrap()[0], "hmac-sha2-256");
    assert_eq!(algorithms.host_keys.as_ref().unwrap().len(), 12);
    assert!(algorithms.compression);
    assert_eq!(target.rekey_limit.to_string(), "1G 1h");
    assert_eq!(target.address_family, AddressFamily::Inet);
    assert_eq!(target.bind_address, Some("127.0.0.2".parse().unwrap()));
    // What is left of a percent sign is none of our tokens.
    let line = "nc -x 100%% db.internal 2222 # db".to_owned();
    assert_eq!(target.via, Via::Command(ProxyCommand::Shell(line)));
}

/// Each of these keys, in the tunnel or in [defaults], leaves nothing of what ssh's file says to it.
#[test]
fn what_is_written_here_wins() {
    let own = r#"port = 22
user = "you"
identity_file = "/own/key"
certificate_file = "none"
identity_agent = "none"
identities_only = false
known_hosts = "/own/kh"
strict_host_key_checking = "yes"
host_key_alias = "none"
update_host_keys = true
required_rsa_size = 1024
server_alive_interval = "5s"
server_alive_count_max = 2
connect_timeout = "5s"
ciphers = "aes128-ctr"
kex_algorithms = "curve25519-sha256"
macs = "hmac-sha2-512"
host_key_algorithms = "ssh-ed25519"
compression = false
rekey_limit = "2G"
address_family = "inet6"
bind_address = "::1"
proxy_command = "none"
"#;
    let ssh = EVERYTHING.replace("100% ", "");
    let ours = tunnel_with_ssh(own, &ssh);
    let host = "[tunnels.db]\nhost = \"db.internal\"\nlocal_forward = \"1:a:1\"\n";
    let alone = loaded(&format!("{host}{own}"));
    assert_eq!(Some(&ours), alone.tunnels.values().next());
    let defaults = format!(
        "[defaults]\nssh_config = \"/c\"\n{own}{}",
        host.replace(".internal", "")
    );
    let there = with_ssh(&[("/c", &ssh)]);
    let config = super::super::load(&defaults, &origin(), &there).unwrap();
    assert_eq!(config.tunnels, alone.tunnels);
}

#[test]
fn nothing_is_taken_where_no_file_is_named() {
    let ssh = "Port 2222\n";
    assert_eq!(tunnel_with_ssh("", ssh).target.port, 2222);
    assert_eq!(
        tunnel_with_ssh("ssh_config = \"none\"\n", ssh).target.port,
        22
    );
    let there = with_ssh(&[("/etc/ssh/ssh_config", ssh)]);
    let text = "[tunnels.db]\nhost = \"db\"\nlocal_forward = \"1:a:1\"\n";
    let config = super::super::load(text, &origin(), &there).unwrap();
    assert_eq!(config.tunnels.values().next().unwrap().target.port, 22);
}

#[test]
fn known_hosts_of_the_user_and_of_the_machine_are_named_apart() {
    let known = |ssh: &str| {
        let target = tunnel_with_ssh("", ssh).target;
        (files(&target.known_hosts), target.update_host_keys)
    };
    let usual = ["/etc/tunneld/known_hosts", "/home/svc/.ssh/known_hosts"];
    let list = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        known("UserKnownHostsFile /a\n"),
        (list(&["/a", "/etc/ssh/ssh_known_hosts"]), false)
    );
    assert_eq!(
        known("GlobalKnownHostsFile /c\n"),
        (list(&[usual[0], usual[1], "/c"]), true)
    );
    assert_eq!(
        known("UserKnownHostsFile none\nUpdateHostKeys yes\n"),
        (list(&["/etc/ssh/ssh_known_hosts"]), true)
    );
    assert_eq!(known("GlobalKnownHostsFile none\n"), (list(&usual), true));
}

/// The file that Fedora includes from its stock one, and the policy that this one includes.
#[test]
fn a_policy_for_the_whole_machine_holds_as_far_as_tunneld_has_what_it_allows() {
    let policy = include_str!("../../ssh_config/corpus/parts/redhat-policy.conf");
    let target = tunnel_with_ssh("", &format!("Match final all\n{policy}")).target;
    let macs = target.algorithms.macs.as_ref().unwrap();
    assert!(macs.contains(&"hmac-sha2-256".to_owned()) && !macs.iter().any(|m| m.contains("umac")));
    assert_eq!(target.algorithms.ciphers.as_ref().unwrap().len(), 5);
    assert_eq!(target.required_rsa_size, 2048);
}

/// `0` is no timeout to ssh, and a tunnel always has one.
#[test]
fn a_timeout_of_nothing_is_the_default() {
    let spec = tunnel_with_ssh("", "ConnectTimeout 0\nServerAliveInterval 0\n");
    assert_eq!(spec.connect_timeout, Duration::from_secs(15));
    assert_eq!(spec.keepalive.interval, Duration::ZERO);
}

#[test]
fn no_key_is_no_key() {
    let target = tunnel_with_ssh("", "IdentityFile none\n").target;
    assert!(target.identity_file.is_empty() && !target.identity_file_is_default);
    let same = tunnel_with_ssh("identity_file = \"none\"\n", "IdentityFile /a\n").target;
    assert_eq!(target, same);
}

#[test]
fn a_problem_is_shown_in_the_file_that_it_is_in() {
    let text = "[tunnels.db]\nhost = \"db\"\nlocal_forward = \"1:a:1\"\nport = 0\n\
                [tunnels.web]\nhost = \"web\"\nlocal_forward = \"2:a:2\"\n";
    let ssh = "Host db\n  CheckHostIP yes\nHost *\n  Porrt 22\n  Ciphers aes128-gcm\n  MACs hmac-md5\n  RekeyLimit 1\n  ServerAliveCountMax 1001\n";
    let problems = load_with_ssh(text, ssh).unwrap_err();
    assert_eq!(
        problems.to_string(),
        r#"error: `port` wants a number from 1 to 65535, not `0`
 --> /etc/tunneld/tunneld.toml:5:8
  |
5 | port = 0
  |        ^

error: `CheckHostIP yes` is not supported: tunneld looks host keys up by name, not also by address
 --> /etc/ssh/ssh_config:2:15
  |
2 |   CheckHostIP yes
  |               ^^^
  |
  = help: remove the line, as ssh does without it since OpenSSH 8.5

error: unknown keyword `Porrt`
 --> /etc/ssh/ssh_config:4:3
  |
4 |   Porrt 22
  |   ^^^^^
  |
  = help: did you mean `Port`?

error: `Ciphers` names a cipher that tunneld does not have: `aes128-gcm`
 --> /etc/ssh/ssh_config:5:11
  |
5 |   Ciphers aes128-gcm
  |           ^^^^^^^^^^
  |
  = help: did you mean aes128-ctr? there are aes128-gcm@openssh.com, aes256-gcm@openssh.com, chacha20-poly1305@openssh.com, aes128-ctr, aes192-ctr, aes256-ctr

error: `MACs` leaves no MAC
 --> /etc/ssh/ssh_config:6:8
  |
6 |   MACs hmac-md5
  |        ^^^^^^^^
  |
  = help: there are hmac-sha2-512-etm@openssh.com, hmac-sha2-256-etm@openssh.com, hmac-sha2-512, hmac-sha2-256, hmac-sha1-etm@openssh.com, hmac-sha1

error: `RekeyLimit` has to be at least 1M bytes
 --> /etc/ssh/ssh_config:7:14
  |
7 |   RekeyLimit 1
  |              ^
  |
  = help: write "1G 1h", "512M", "default 1h" or "default none"

error: `ServerAliveCountMax` wants a number from 0 to 1000, not `1001`
 --> /etc/ssh/ssh_config:8:23
  |
8 |   ServerAliveCountMax 1001
  |                       ^^^^
"#
    );
    let views = problems.to_json_items();
    assert_eq!(
        (views[1].file.as_str(), views[1].line),
        ("/etc/ssh/ssh_config", Some(2))
    );
    let tunnel = problems.iter().nth(1).unwrap().tunnel.as_ref().unwrap();
    assert_eq!(tunnel.as_str(), "db");
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_of_its_key() {
    let mut there = surroundings();
    let why = Err("permission denied".to_owned());
    there.ssh_configs = SshConfigs::from([("/etc/tunneld/ssh".into(), why)]);
    let text = "[tunnels.db]\nhost = \"db\"\nlocal_forward = \"1:a:1\"\nssh_config = \"ssh\"\n\
                [tunnels.web]\nhost = \"web\"\nlocal_forward = \"2:a:2\"\nssh_config = \"~x\"\n";
    let problems = super::super::load(text, &origin(), &there).unwrap_err();
    assert_eq!(
        problems.to_string(),
        r#"error: cannot read /etc/tunneld/ssh: permission denied
 --> /etc/tunneld/tunneld.toml:4:14
  |
4 | ssh_config = "ssh"
  |              ^^^^^

error: `ssh_config` has a `~` that is not followed by `/`
 --> /etc/tunneld/tunneld.toml:8:14
  |
8 | ssh_config = "~x"
  |              ^^^^
  |
  = help: write the whole path, or `./~…` for a file of that name
"#
    );
}

#[test]
fn a_password_makes_a_method_matter() {
    let text = "[tunnels.db]\nhost = \"db\"\nlocal_forward = \"1:a:1\"\n\
                password_credential = \"db\"\n";
    let problems = load_with_ssh(text, "PasswordAuthentication no\n").unwrap_err();
    assert!(
        problems
            .to_string()
            .contains("`PasswordAuthentication no` is not supported")
    );
    assert!(load_with_ssh(&text.replace("\"db\"\n\n", ""), "Port 22\n").is_ok());
}

#[test]
fn the_files_to_read_are_known_before_the_rest_is_right() {
    let text = "[defaults]\nssh_config = \"~/.ssh/config\"\n[tunnels.a]\nssh_config = \"none\"\n\
                [tunnels.b]\nssh_config = \"x\"\nport = \"y\"\n[tunnels.c]\nssh_config = 7\n[";
    let paths = ssh_config_paths(text.as_bytes(), &origin(), &surroundings());
    let wanted = ["/etc/tunneld/x", "/home/svc/.ssh/config"];
    assert_eq!(
        paths.into_iter().collect::<Vec<_>>(),
        wanted.map(std::path::PathBuf::from)
    );
}

#[test]
fn each_printed_value_says_where_it_is_written() {
    let text = r#"[defaults]
ssh_config = "~/.ssh/config"
connect_timeout = "20s"
[tunnels.db]
host = "db"
user = "own"
local_forward = [
  "5432:db:5432",
  { listen = 80, connect = "web:80", name = "web" },
]
"#;
    let mut there = with_ssh(&[(
        "/home/svc/.ssh/config",
        "Host db\n  HostName db.internal\n  Port 2222\n  User theirs\n  IdentityFile /a\n\n  \
         IdentityFile /b\n  ProxyJump ops@gate\nInclude more\nHost gate\n  Port 23\n",
    )]);
    let more = (
        "/etc/elsewhere/config".into(),
        "Host db\n  Compression yes\n".to_owned(),
    );
    for sources in there.ssh_configs.values_mut().flatten() {
        sources.add("/home/svc/.ssh/more".into(), Ok(vec![more.clone()]));
    }
    let config = super::super::load(text, &origin(), &there).unwrap();
    let texts = Texts::with_all(&origin(), text, &there);
    let printed = effective_with_places(&config, &texts);
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| !line.contains("# default") && !line.contains("# the default"))
        .collect();
    assert_eq!(
        lines.join("\n"),
        r#"[daemon]

[tunnels."db"]
host = "db.internal"  # /home/svc/.ssh/config:2
port = 2222  # /home/svc/.ssh/config:3
user = "own"  # tunneld.toml:6
identity_file = ["/a", "/b"]  # /home/svc/.ssh/config:5, /home/svc/.ssh/config:7
"#
        .to_owned()
            + &lines[7..].join("\n")
    );
    for wanted in [
        "control_socket = \"/run/tunneld/control.sock\"  # default\n",
        "compression = true  # /etc/elsewhere/config:2\n",
        "ssh_config = \"none\"  # tunneld.toml:2: what it says is filled in\n",
        "connect_timeout = \"20s\"  # tunneld.toml:3\n",
        "[[tunnels.\"db\".proxy_jump]]\nhost = \"gate\"  # /home/svc/.ssh/config:8\n\
         port = 23  # /home/svc/.ssh/config:11\nuser = \"ops\"  # /home/svc/.ssh/config:8\n",
        "listen = \"localhost:5432\"  # tunneld.toml:8\nconnect = \"db:5432\"  # tunneld.toml:8\n",
        "name = \"web\"  # tunneld.toml:9\nlisten = \"localhost:80\"  # tunneld.toml:9\n",
        "probe = false  # default\n",
    ] {
        assert!(printed.contains(wanted), "{wanted}\nis not in\n{printed}");
    }
    // With or without these comments it is the same configuration.
    assert_eq!(loaded(&printed), config);
    assert_eq!(loaded(&effective(&config)), config);
}
