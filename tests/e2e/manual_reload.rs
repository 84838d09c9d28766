//! What tunneld.toml(5) says about a reload is what a reload does.

use std::collections::BTreeSet;

use tunneld_core::config::{Config, Origin, Surroundings, load, tables};
use tunneld_core::plan::{Plan, PlanAction, diff};

use crate::manual_page::Page;

/// What a key is set to before, and after.
type Sample = (&'static str, &'static str, &'static str);

const DAEMON: &[Sample] = &[
    ("control_socket", "'/a'", "'/b'"),
    ("metrics_listen", "'127.0.0.1:1'", "'127.0.0.1:2'"),
    ("state_directory", "'/a'", "'/b'"),
    ("watch", "false", "true"),
    ("sandbox", "true", "false"),
    ("ready_when", "'all'", "'any'"),
    ("start_timeout", "1", "2"),
    ("drain_timeout", "1", "2"),
];

const TUNNEL: &[Sample] = &[
    ("host", "'a'", "'b'"),
    ("local_forward", "'1:a:1'", "['1:a:1', '2:a:1']"),
    ("remote_forward", "[]", "'1:a:1'"),
    ("dynamic_forward", "[]", "'3'"),
    ("port", "1", "2"),
    ("user", "'a'", "'b'"),
    ("enabled", "true", "false"),
    ("identity_file", "'/a'", "'/b'"),
    ("certificate_file", "'/a'", "'/b'"),
    ("identity_agent", "'/a'", "'/b'"),
    ("identities_only", "true", "false"),
    ("passphrase_credential", "'a'", "'b'"),
    ("password_credential", "'a'", "'b'"),
    ("certificate_expiry_warning", "1", "2"),
    ("known_hosts", "'/a'", "'/b'"),
    ("strict_host_key_checking", "'yes'", "'accept-new'"),
    (
        "host_key_fingerprint",
        "[]",
        "'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU'",
    ),
    ("host_key_alias", "'a'", "'b'"),
    ("update_host_keys", "true", "false"),
    ("required_rsa_size", "2048", "3072"),
    ("ciphers", "'aes256-ctr'", "'aes128-ctr'"),
    ("macs", "'hmac-sha2-256'", "'hmac-sha2-512'"),
    (
        "kex_algorithms",
        "'curve25519-sha256'",
        "'ecdh-sha2-nistp256'",
    ),
    ("host_key_algorithms", "'ssh-ed25519'", "'rsa-sha2-256'"),
    ("compression", "true", "false"),
    ("rekey_limit", "'1G'", "'2G'"),
    ("address_family", "'inet'", "'inet6'"),
    ("bind_address", "'192.0.2.1'", "'192.0.2.2'"),
    ("proxy_jump", "'u@a'", "'u@b'"),
    ("proxy", "'http://a:1'", "'http://b:1'"),
    ("proxy_command", "'a'", "'b'"),
    ("connect_timeout", "1", "2"),
    ("server_alive_interval", "1", "2"),
    ("server_alive_count_max", "1", "2"),
    ("reconnect", "{ max = 30 }", "{ max = 40 }"),
    ("min_sessions", "1", "2"),
    ("max_sessions", "3", "4"),
    ("stall_timeout", "1", "2"),
    ("on_up", "['/bin/a']", "['/bin/b']"),
    ("on_down", "['/bin/a']", "['/bin/b']"),
];

const RECONNECT: &[Sample] = &[
    ("initial", "1", "2"),
    ("max", "30", "40"),
    ("multiplier", "2", "3"),
    ("jitter", "0.1", "0.2"),
    ("reset_after", "1", "2"),
];

/// The name of its table.
const HOOK_TABLE: &str = "on_up = { … } or on_down = { … }";

const HOOK: &[Sample] = &[
    ("command", "['/bin/a']", "['/bin/b']"),
    ("timeout", "1", "2"),
];

const FORWARD: &[Sample] = &[
    ("name", "'a'", "'b'"),
    ("listen", "'1'", "'2'"),
    ("connect", "'a:1'", "'b:1'"),
    ("while_down", "'wait'", "'refuse'"),
    ("wait_timeout", "1", "2"),
    ("max_connections", "1", "2"),
    ("idle_timeout", "1", "2"),
    ("allow", "[]", "'127.0.0.1'"),
    ("socket_mode", "'0600'", "'0660'"),
    ("socket_owner", "'root'", "':root'"),
    ("probe", "true", "false"),
];

const PROBE: &[Sample] = &[
    ("interval", "10", "20"),
    ("timeout", "1", "2"),
    ("expect", "200", "404"),
    ("path", "'/a'", "'/b'"),
];

/// A file with one tunnel. What `key` needs beside it is there, and nothing that it excludes.
fn file(table: &str, key: &str, value: &str) -> String {
    let set = format!("{key} = {value}");
    let mut tunnel = vec!["[tunnels.t]".to_owned()];
    let (mut daemon, mut forward) = (String::new(), String::new());
    match table {
        "[daemon]" => daemon = format!("[daemon]\n{set}\n"),
        "reconnect = { … }" => tunnel.push(format!("reconnect = {{ {set} }}")),
        HOOK_TABLE if key == "command" => tunnel.push(format!("on_up = {{ {set} }}")),
        HOOK_TABLE => tunnel.push(format!("on_up = {{ command = ['/bin/a'], {set} }}")),
        "forwards" => forward = set,
        "probe = { … }" if key == "path" => {
            forward = format!("probe = {{ expect = 200, {set} }}")
        }
        "probe = { … }" => forward = format!("probe = {{ {set} }}"),
        _ => tunnel.push(set),
    }
    for needed in ["host = 'h'", "user = 'u'", "identity_file = '/k'"] {
        let name = needed.split(' ').next().unwrap();
        if !tunnel
            .iter()
            .any(|line| line.starts_with(&format!("{name} ")))
        {
            tunnel.push(needed.to_owned());
        }
    }
    let listen = match key {
        "listen" => "",
        "socket_mode" | "socket_owner" => "listen = '/s'\n",
        _ => "listen = '1'\n",
    };
    let connect = if key == "connect" {
        ""
    } else {
        "connect = 'a:1'\n"
    };
    if key != "local_forward" {
        tunnel.push(format!(
            "[[tunnels.t.local_forward]]\n{listen}{connect}{forward}"
        ));
    }
    format!("{daemon}{}\n", tunnel.join("\n"))
}

fn config(text: &str) -> Config {
    let origin = Origin::of_file("/etc/tunneld/tunneld.toml".as_ref());
    load(text, &origin, &Surroundings::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"))
}

fn done(plan: &Plan) -> &'static str {
    match (plan.tunnels[0].action, plan.needs_restart.is_empty()) {
        (PlanAction::Keep, false) => "restart",
        (PlanAction::Keep, true) => "at once",
        (PlanAction::Adjust, _) => "adjust",
        (PlanAction::Replace, _) => "replace",
        (PlanAction::Start | PlanAction::Stop, _) => "start or stop",
    }
}

#[test]
fn a_reload_does_with_each_key_what_the_page_says() {
    // Two files that differ in one key, for each key: the plan is what `On reload:` says.
    let page = Page::read("tunneld.toml.5");
    let known: BTreeSet<&str> = tables()
        .flat_map(|(_, keys)| keys.iter().copied())
        .collect();
    // Files of ssh have what effect their content has.
    let mut left: BTreeSet<&str> = known.clone();
    for key in ["daemon", "defaults", "tunnels", "include", "ssh_config"] {
        left.remove(key);
    }
    for (table, samples) in [
        ("[daemon]", DAEMON),
        ("[tunnels.NAME]", TUNNEL),
        ("reconnect = { … }", RECONNECT),
        (HOOK_TABLE, HOOK),
        ("forwards", FORWARD),
        ("probe = { … }", PROBE),
    ] {
        let mut entries = page.table(table);
        if table == "[tunnels.NAME]" {
            entries.extend(page.table("[defaults]"));
        }
        for (key, before, after) in samples.iter().filter(|(key, _, _)| known.contains(key)) {
            let entry = entries.iter().find(|entry| entry.name == *key);
            let said = entry.and_then(|entry| entry.says("On reload:"));
            let said = said.unwrap_or_else(|| panic!("{table}: no `On reload:` of {key}"));
            let files = [before, after].map(|value| config(&file(table, key, value)));
            let plan = diff(&(&files[0]).into(), &files[0], &files[1], |_| false);
            assert!(
                said.starts_with(done(&plan)),
                "{key}: {said:?}, and {plan:?}"
            );
            left.remove(key);
        }
    }
    assert!(left.is_empty(), "no sample of {left:?}");
}
