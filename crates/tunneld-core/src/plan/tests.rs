//! What a reload says that it does, and why.

mod daemon;
mod forwards;

use super::*;
use crate::config::{Origin, Surroundings, load};
use crate::status::TunnelStatus;

fn config(text: &str) -> Config {
    load(text, &Origin::for_tests(), &Surroundings::for_tests()).unwrap()
}

/// The first reload of a daemon.
fn first(old: &Config, new: &Config) -> Plan {
    diff(&old.into(), old, new, |_| false)
}

fn actions(old: &str, new: &str) -> Vec<(String, PlanAction, String)> {
    first(&config(old), &config(new))
        .tunnels
        .into_iter()
        .map(|c| (c.tunnel.to_string(), c.action, told(&c)))
        .collect()
}

/// A change in one line.
fn told(change: &Change) -> String {
    let key = |change: &KeyChange| match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{} {before} → {after}", change.key),
        _ => change.key.clone(),
    };
    let show = |view: &Option<ForwardView>| {
        let ForwardView {
            kind,
            listen,
            connect,
            ..
        } = view.as_ref().unwrap();
        let remote = if kind == "remote" { "remote " } else { "" };
        format!("{remote}{listen} ─▶ {connect}")
    };
    let forward = |forward: &ForwardChange| match forward.action {
        ForwardAction::Added => format!("forward added: {}", show(&forward.after)),
        ForwardAction::Removed => format!("forward removed: {}", show(&forward.before)),
        ForwardAction::Changed => {
            let keys: Vec<String> = forward.keys.iter().map(key).collect();
            format!(
                "forward changed: {} ({})",
                show(&forward.before),
                keys.join("; ")
            )
        }
    };
    let why = Some(change.why.as_str().to_owned()).filter(|why| !why.is_empty());
    let keys = change.keys.iter().map(key);
    let forwards = change.forwards.iter().map(forward);
    why.into_iter()
        .chain(keys)
        .chain(forwards)
        .collect::<Vec<_>>()
        .join("; ")
}

const DB: &str =
    "[tunnels.db]\nhost = \"a\"\nuser = \"u\"\nlocal_forward = \"5432:localhost:5432\"\n";

#[test]
fn the_same_file_moved_about_changes_nothing() {
    let moved = format!("\n\n# a comment\n{DB}");
    assert_eq!(
        actions(DB, &moved),
        [("db".to_owned(), PlanAction::Keep, String::new())]
    );
}

#[test]
fn each_kind_of_change_has_its_action_and_its_reason() {
    let cases = [
        (
            DB.replace("\"a\"", "\"b\""),
            PlanAction::Replace,
            "host a → b",
        ),
        (
            format!("{DB}port = 23\n"),
            PlanAction::Replace,
            "port 22 → 23",
        ),
        (
            format!("{DB}connect_timeout = \"5s\"\n"),
            PlanAction::Adjust,
            "connect_timeout 15s → 5s",
        ),
        (
            format!("{DB}enabled = false\n"),
            PlanAction::Stop,
            "enabled = false",
        ),
        (
            "[tunnels]\n".to_owned(),
            PlanAction::Stop,
            "no longer in the file",
        ),
        (
            DB.replace("localhost:5432\"", "replica:5432\""),
            PlanAction::Adjust,
            "forward changed: localhost:5432 ─▶ localhost:5432 \
             (connect localhost:5432 → replica:5432)",
        ),
    ];
    for (new, action, reason) in cases {
        let expected = ("db".to_owned(), action, reason.to_owned());
        assert_eq!(actions(DB, &new), [expected], "{new}");
    }
    assert_eq!(
        actions("[tunnels]\n", DB),
        [(
            "db".to_owned(),
            PlanAction::Start,
            "new in the file".to_owned()
        )]
    );
}

/// What a tunnel with these lines becomes with those.
fn change_of(old: &str, new: &str) -> (PlanAction, String) {
    let (old, new) = (format!("{DB}{old}\n"), format!("{DB}{new}\n"));
    let (_, action, reasons) = actions(&old, &new).remove(0);
    (action, reasons)
}

#[test]
fn another_way_to_the_host_replaces_the_session() {
    let long = "x".repeat(100);
    let long = [
        format!("proxy_command = '{long}1'"),
        format!("proxy_command = '{long}2'"),
    ];
    for (old, new, reason) in [
        (
            "",
            "proxy_jump = 'me@b:2222'",
            "proxy_jump none → me@b:2222",
        ),
        (
            "proxy_jump = 'a'",
            "proxy_jump = 'a,b'",
            "proxy_jump svc@a:22 → svc@a:22, svc@b:22",
        ),
        (
            "proxy_jump = 'a'",
            "proxy_jump = { host = 'a', identity_file = '/other' }",
            "proxy_jump",
        ),
        ("", "proxy = 'http://p:1'", "proxy none → http://p:1"),
        (
            "proxy = 'http://p:1'",
            "proxy_command = \"nc\\n%h\"",
            "proxy http://p:1 → none; proxy_command none → nc\\n%h",
        ),
        (
            "proxy_command = 'nc %h'",
            "proxy_command = ['nc', '%h']",
            "proxy_command",
        ),
        (&long[0], &long[1], "proxy_command"),
        (
            "proxy_jump = 'a'\nproxy = 'http://p:1'",
            "proxy_jump = 'a'\nproxy = 'http://p:2'",
            "proxy http://p:1 → http://p:2",
        ),
    ] {
        let expected = (PlanAction::Replace, reason.to_owned());
        assert_eq!(change_of(old, new), expected, "{old} to {new}");
    }
    let same = "proxy_jump = ['a', 'b']";
    assert_eq!(change_of("proxy_jump = 'a,b'", same).0, PlanAction::Keep);
}

#[test]
fn each_key_of_a_server_that_changes_replaces_the_session_and_is_named() {
    let long = format!("kex_algorithms = '{}'", ["ecdh-*"; 2].join(","));
    for (old, new, reason) in [
        ("", "certificate_file = '/c'", "certificate_file none → /c"),
        (
            "identity_agent = '/a'",
            "identity_agent = 'SSH_AUTH_SOCK'",
            "identity_agent /a → SSH_AUTH_SOCK",
        ),
        ("", "identities_only = true", "identities_only false → true"),
        (
            "passphrase_credential = 'a'",
            "passphrase_credential = './b'",
            "passphrase_credential a → /etc/tunneld/./b",
        ),
        (
            "password_credential = 'a'",
            "",
            "password_credential a → none",
        ),
        ("", "host_key_alias = 'h'", "host_key_alias none → h"),
        (
            "",
            "update_host_keys = false",
            "update_host_keys true → false",
        ),
        (
            "",
            "ciphers = '-*ctr,*gcm*'",
            "ciphers default → chacha20-poly1305@openssh.com",
        ),
        ("macs = 'hmac-sha1'", "", "macs hmac-sha1 → default"),
        (
            "",
            &long,
            "kex_algorithms default → ecdh-sha2-nistp256, ecdh-sha2-nistp384, ecdh-sha2-nistp521",
        ),
        (
            "kex_algorithms = '-*group14*'",
            "kex_algorithms = '-*group15*'",
            "kex_algorithms",
        ),
        ("", "compression = true", "compression false → true"),
        (
            "",
            "rekey_limit = '1G 1h'",
            "rekey_limit default none → 1G 1h",
        ),
        ("", "address_family = 'inet6'", "address_family any → inet6"),
        (
            "bind_address = '::1'",
            "bind_address = '::2'",
            "bind_address ::1 → ::2",
        ),
        (
            "proxy_jump = 'b'",
            "proxy_jump = 'b'\nbind_address = '::2'\npassword_credential = 'p'",
            "password_credential none → p; bind_address none → ::2",
        ),
        (
            "proxy_jump = { host = 'b' }",
            "proxy_jump = { host = 'b', password_credential = 'p' }",
            "proxy_jump",
        ),
    ] {
        let expected = (PlanAction::Replace, reason.to_owned());
        assert_eq!(change_of(old, new), expected, "{old} to {new}");
    }
    let same = ("ciphers = 'aes128-ctr'", "ciphers = ['aes128-ctr']");
    assert_eq!(change_of(same.0, same.1).0, PlanAction::Keep);
}

#[test]
fn when_a_certificate_is_warned_of_changes_without_a_new_session() {
    let expected = "certificate_expiry_warning 7days → 1day".to_owned();
    assert_eq!(
        change_of("", "certificate_expiry_warning = '1d'"),
        (PlanAction::Adjust, expected)
    );
}

#[test]
fn other_hooks_need_no_new_session() {
    let notify = "on_up = ['/bin/notify', 'up']";
    for (old, new, reason) in [
        (notify, "on_up = { command = ['/bin/notify', 'up'] }", ""),
        ("", notify, "on_up none → (within 30s) /bin/notify up"),
        (
            notify,
            "on_up = { command = ['/bin/notify', 'up'], timeout = '1s' }",
            "on_up (within 30s) /bin/notify up → (within 1s) /bin/notify up",
        ),
        ("on_down = 'x'", "", "on_down (within 30s) x → none"),
    ] {
        let action = match reason {
            "" => PlanAction::Keep,
            _ => PlanAction::Adjust,
        };
        assert_eq!(change_of(old, new), (action, reason.to_owned()), "{new}");
    }
}

#[test]
fn forwards_and_numbers_of_sessions_change_on_the_session_that_is_there() {
    let remote = "remote_forward = '8080:web:80'";
    let quick = "remote_forward = { listen = 8080, connect = 'web:80', idle_timeout = 1 }";
    for (old, new, reason) in [
        (
            "",
            "min_sessions = 2",
            "min_sessions 1 → 2; max_sessions 1 → 2",
        ),
        ("", "max_sessions = 4", "max_sessions 1 → 4"),
        ("", remote, "forward added: remote localhost:8080 ─▶ web:80"),
        (
            remote,
            "",
            "forward removed: remote localhost:8080 ─▶ web:80",
        ),
        (
            remote,
            quick,
            "forward changed: remote localhost:8080 ─▶ web:80 (idle_timeout 0s → 1s)",
        ),
        (
            remote,
            "remote_forward = '8080'",
            "forward changed: remote localhost:8080 ─▶ web:80 (connect web:80 → SOCKS)",
        ),
        (
            "",
            "dynamic_forward = '/run/s'",
            "forward added: /run/s ─▶ SOCKS",
        ),
    ] {
        let expected = (PlanAction::Adjust, reason.to_owned());
        assert_eq!(change_of(old, new), expected, "{old} to {new}");
    }
}

#[test]
fn a_new_tunnel_that_is_not_enabled_is_told() {
    let off = format!("{DB}enabled = false\n");
    let reason = "new in the file, enabled = false".to_owned();
    let found = actions("[tunnels]\n", &off);
    assert_eq!(found, [("db".to_owned(), PlanAction::Keep, reason)]);
    let again = actions(&off, &off);
    assert_eq!(again, [("db".to_owned(), PlanAction::Keep, String::new())]);
}

#[test]
fn a_reload_starts_what_was_stopped_by_command_and_says_so() {
    let plan = {
        let db = config(DB);
        diff(&(&db).into(), &db, &db, |name| name.as_str() == "db")
    };
    assert_eq!(plan.tunnels[0].action, PlanAction::Start);
    assert_eq!(plan.tunnels[0].why, Why::StoppedByCommand);
}

/// The status of `db` with this many open connections on its forwards.
fn with_open(config: &Config, open: &[u64]) -> TunnelStatus {
    let spec = config.tunnels.values().next().unwrap();
    let forwards = spec.forwards.iter().zip(open).map(|(forward, open)| {
        serde_json::json!({
            "name": forward.name, "kind": "local", "listen": "", "connect": "",
            "connections": { "open": open, "total": 9, "refused": 0 },
            "bytes_sent": 0, "bytes_received": 0,
        })
    });
    let forwards: Vec<_> = forwards.collect();
    let status = serde_json::json!({
        "name": spec.name, "phase": "up", "since_unix_ms": 0, "destination": "", "attempts": 0,
        "sessions": 1, "forwards": forwards,
    });
    serde_json::from_value(status).unwrap()
}

#[test]
fn a_change_says_how_many_connections_it_touches() {
    // Those that have to end: of the whole tunnel where its session ends, of a forward where it goes
    // or leads elsewhere, and none of what stays.
    let keys = "[daemon]\ndrain_timeout = '2s'\n";
    let three = "local_forward = ['1:a:1', '2:a:2', '3:a:3']\n";
    let file = |host: &str, forwards: &str| {
        format!("{keys}[tunnels.db]\nhost = '{host}'\nuser = 'u'\n{forwards}")
    };
    let old = config(&file("a", three));
    let now = [with_open(&old, &[1, 2, 4])];
    let touched = |new: &str| {
        let mut plan = first(&old, &config(new));
        plan.count_connections(&now);
        let count = |drains: &Option<Drains>| drains.map(|d| (d.connections, d.within_ms));
        let change = &plan.tunnels[0];
        let forwards = change.forwards.iter().map(|f| count(&f.drains));
        (count(&change.drains), forwards.collect::<Vec<_>>())
    };
    let all = Some((7, 2000));
    assert_eq!(touched(&file("b", three)), (all, vec![]));
    assert_eq!(touched("[tunnels]\n"), (all, vec![]));
    let off = file("a", three) + "enabled = false\n";
    assert_eq!(touched(&off), (all, vec![]));
    let fewer = "local_forward = ['1:a:1', { name = 'local-2', listen = 22, connect = 'a:2' }, \
                 { name = 'local-3', listen = 3, connect = 'b:3' }, '4:a:4']\n";
    let some = vec![None, Some((4, 2000)), None];
    assert_eq!(touched(&file("a", fewer)), (None, some));
    let gone = "local_forward = ['1:a:1', '3:a:3']\n";
    assert_eq!(touched(&file("a", gone)), (None, vec![Some((2, 2000))]));
    let slow = format!("{three}connect_timeout = '9s'\n");
    assert_eq!(touched(&file("a", &slow)), (None, vec![]));
}

#[test]
fn the_json_of_a_plan_is_this() {
    let new = DB
        .replace("\"a\"", "\"b\"")
        .replace("5432:localhost", "5433:localhost");
    let plan = first(&config(DB), &config(&new));
    let view = |listen: &str, name: &str| {
        serde_json::json!({
            "name": name, "kind": "local", "listen": listen, "connect": "localhost:5432",
        })
    };
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "tunnels": [{
                "tunnel": "db",
                "action": "replace",
                "why": "changed",
                "keys": [{ "key": "host", "before": "a", "after": "b" }],
                "forwards": [
                    {
                        "action": "removed",
                        "before": view("localhost:5432", "local-5432"),
                        "drains": { "connections": 0, "within_ms": 10000 },
                    },
                    { "action": "added", "after": view("localhost:5433", "local-5433") },
                ],
                "drains": { "connections": 0, "within_ms": 10000 },
            }],
            "daemon": [],
            "needs_restart": [],
        })
    );
    assert_eq!(serde_json::from_value::<Plan>(json).unwrap(), plan);
}
