//! `ssh_config`: the way to a host, and the jump hosts on it.

use super::*;
use crate::config::{ProxyCommand, Target, Texts, Via, effective_with_places};

/// The hosts on the way, the first one first, and how that one is reached.
fn way(target: &Target) -> String {
    let first = match target.first_via() {
        Via::Direct => String::new(),
        Via::Proxy(proxy) => format!("{proxy} "),
        Via::Command(ProxyCommand::Shell(line)) => format!("`{line}` "),
        other => panic!("{other:?}"),
    };
    let hosts = target.hops().into_iter().chain([target]);
    let hosts: Vec<String> = hosts.map(ToString::to_string).collect();
    format!("{first}{}", hosts.join(" > "))
}

const GATES: &str = "Host db\n  HostName db.internal\n  ProxyJump ops@gate:23,inner\n\
                     Host gate\n  HostName gate.example.com\n  User unused\n  Port 24\n\
                     Host inner\n  User in\n  ProxyJump never\n  BindAddress eth0\n";

#[test]
fn jump_hosts_are_looked_up_like_any_other_host() {
    let target = tunnel_with_ssh("", GATES).target;
    assert_eq!(
        way(&target),
        "ops@gate.example.com:23 > in@inner:22 > svc@db.internal:22"
    );
}

#[test]
fn a_jump_host_that_is_written_here_is_looked_up_too() {
    let text = "proxy_jump = [\"gate\", { host = \"inner\", user = \"own\" }]\n";
    assert_eq!(
        way(&tunnel_with_ssh(text, GATES).target),
        "unused@gate.example.com:24 > own@inner:22 > svc@db.internal:22"
    );
}

#[test]
fn any_key_of_the_way_leaves_nothing_of_that_of_ssh() {
    for (text, wanted) in [
        ("proxy_jump = \"none\"\n", "svc@db.internal:22"),
        ("proxy = \"none\"\n", "svc@db.internal:22"),
        ("proxy_command = \"none\"\n", "svc@db.internal:22"),
        ("proxy = \"http://p:1\"\n", "http://p:1 svc@db.internal:22"),
        ("proxy_command = \"nc\"\n", "`nc` svc@db.internal:22"),
    ] {
        assert_eq!(way(&tunnel_with_ssh(text, GATES).target), wanted, "{text}");
    }
}

#[test]
fn the_first_jump_host_is_reached_as_its_own_entry_says() {
    let ssh = "Host db\n  ProxyJump c\nHost c\n  ProxyJump a,b\nHost b\n  ProxyJump never\n\
               Host a\n  ProxyCommand nc %h %p\n  AddressFamily inet6\n  BindAddress ::1\n\
               Host db\n  AddressFamily inet\n";
    let target = tunnel_with_ssh("", ssh).target;
    assert_eq!(
        way(&target),
        "`nc a 22` svc@a:22 > svc@b:22 > svc@c:22 > svc@db:22"
    );
    // The connection that leaves this machine is that of the first host.
    for host in target.hops().into_iter().chain([&target]) {
        assert_eq!(host.address_family.as_str(), "inet6");
        assert_eq!(host.bind_address, Some("::1".parse().unwrap()));
    }
    let own = "proxy = \"socks5://p:1\"\nproxy_jump = \"c\"\naddress_family = \"any\"\n";
    let target = tunnel_with_ssh(own, ssh).target;
    assert_eq!(way(&target), "socks5://p:1 svc@c:22 > svc@db:22");
}

#[test]
fn a_jump_host_takes_from_the_tunnel_what_is_written_and_not_what_its_entry_says() {
    let ssh = "Host db\n  ProxyJump gate\n  IdentityFile /db\n  HostKeyAlias db-alias\n  \
               Ciphers aes128-ctr\nHost gate\n  IdentityFile /gate\n  HostKeyAlias gate-alias\n  \
               UserKnownHostsFile /gate-kh\n  MACs hmac-sha2-512\n";
    let files = |target: &Target| {
        let files = target.identity_file.iter().chain(&target.known_hosts);
        files
            .map(|f| f.value.display().to_string())
            .collect::<Vec<_>>()
    };
    let target = tunnel_with_ssh("", ssh).target;
    let gate = target.hops()[0];
    assert_eq!(
        files(gate),
        ["/gate", "/gate-kh", "/etc/ssh/ssh_known_hosts"]
    );
    assert_eq!(gate.host_key_alias.as_deref(), Some("gate-alias"));
    assert_eq!(gate.algorithms.ciphers, None);
    assert_eq!(gate.algorithms.macs.as_ref().unwrap().len(), 1);
    assert_eq!(target.host_key_alias.as_deref(), Some("db-alias"));
    let own = "identity_file = \"/own\"\nknown_hosts = \"/own-kh\"\n";
    let target = tunnel_with_ssh(own, ssh).target;
    assert_eq!(files(target.hops()[0]), ["/own", "/own-kh"]);
    assert_eq!(
        target.hops()[0].host_key_alias.as_deref(),
        Some("gate-alias")
    );
}

#[test]
fn the_connection_that_leaves_this_machine_is_written_where_its_first_host_is() {
    let ssh = "Host db\n  ProxyJump gate\n  BindAddress 127.0.0.3\n  AddressFamily inet\n\
               Host gate\n  BindAddress 127.0.0.2\n  ProxyCommand nc %h %p\n";
    let text =
        "[defaults]\nssh_config = \"/c\"\n[tunnels.db]\nhost = \"db\"\nlocal_forward = \"1:a:1\"\n";
    let there = with_ssh(&[("/c", ssh)]);
    let config = super::super::load(text, &origin(), &there).unwrap();
    let printed = effective_with_places(&config, &Texts::with_all(&origin(), text, &there));
    for wanted in [
        "bind_address = \"127.0.0.2\"  # c:6\n",
        "address_family = \"any\"  # default\n",
        "proxy_command = \"nc gate 22\"  # c:7\n",
        "host = \"gate\"  # c:2\n",
    ] {
        assert!(printed.contains(wanted), "{wanted}\nis not in\n{printed}");
    }
}

#[track_caller]
fn problem(text: &str, ssh: &str) -> String {
    let text = format!("[tunnels.db]\nhost = \"db\"\nlocal_forward = \"1:a:1\"\n{text}");
    let problems = load_with_ssh(&text, ssh).unwrap_err();
    let views = problems.to_json_items();
    let shown = |v: &crate::config::DiagnosticView| {
        let file = v.file.rsplit('/').next().unwrap();
        format!("{file}:{}: {}", v.line.unwrap_or_default(), v.message)
    };
    views.iter().map(shown).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_way_that_leads_in_a_circle_is_a_problem() {
    assert_eq!(
        problem("", "ProxyJump gate\n"),
        "ssh_config:1: `ProxyJump` leads in a circle, over `gate`"
    );
    assert_eq!(
        problem(
            "",
            "Host db\nProxyJump a\nHost a\nProxyJump b\nHost b\nProxyJump db\n"
        ),
        "ssh_config:6: `ProxyJump` leads in a circle, over `db`"
    );
    let fine = "Host gate\n  ProxyJump none\nHost *\n  ProxyJump gate\n";
    assert_eq!(
        way(&tunnel_with_ssh("", fine).target),
        "svc@gate:22 > svc@db:22"
    );
}

#[test]
fn eight_jump_hosts_are_taken_however_they_are_written() {
    let jumps = |names: std::ops::Range<u8>| {
        let names: Vec<String> = names.map(|n| format!("h{n}")).collect();
        names.join(",")
    };
    let fine = format!(
        "Host db\nProxyJump {}\nHost h4\nProxyJump {}\n",
        jumps(4..8),
        jumps(0..4)
    );
    assert_eq!(tunnel_with_ssh("", &fine).target.hops().len(), 8);
    let long = format!("Host db\nProxyJump {}\n", jumps(0..9));
    assert_eq!(
        problem("", &long),
        "ssh_config:2: `ProxyJump` has 9 jump hosts, at most 8 are taken"
    );
    let long = format!(
        "Host db\nProxyJump {}\nHost h4\nProxyJump {}\n",
        jumps(4..9),
        jumps(0..4)
    );
    assert_eq!(
        problem("", &long),
        "ssh_config:4: `ProxyJump` makes it 9 jump hosts, at most 8 are taken"
    );
}

#[test]
fn what_is_wrong_for_a_jump_host_is_a_problem_of_its_entry() {
    let ssh = "Host db\nProxyJump gate\nHost gate\nStrictHostKeyChecking no\nUserKnownHostsFile none\nGlobalKnownHostsFile none\n";
    assert_eq!(
        problem("", ssh),
        "ssh_config:4: `StrictHostKeyChecking` cannot be off: host keys are always checked\n\
         ssh_config:5: `known_hosts` names no file, so the host key of jump host `gate` cannot be \
         checked"
    );
    // Written here, it does not matter what is said there.
    let own = "strict_host_key_checking = \"yes\"\nknown_hosts = \"/kh\"\n";
    assert_eq!(
        way(&tunnel_with_ssh(own, ssh).target),
        "svc@gate:22 > svc@db:22"
    );
}
