//! What a person reads of a plan.

use serde_json::json;

use super::*;

fn reloaded(plan: serde_json::Value, dry_run: bool) -> Reloaded {
    let warnings = ["certificate c expired on D"];
    let warnings = &warnings[..usize::from(dry_run)];
    serde_json::from_value(json!({ "dry_run": dry_run, "plan": plan, "warnings": warnings }))
        .unwrap()
}

fn forward(listen: &str, connect: &str) -> serde_json::Value {
    json!({ "name": "f", "kind": "local", "listen": listen, "connect": connect })
}

#[test]
fn the_plan_is_a_diff_of_tunnels_with_the_connections_that_it_touches() {
    let drains = |n: u64| json!({ "connections": n, "within_ms": 10_000 });
    let plan = json!({
        "tunnels": [
            {
                "tunnel": "db", "action": "replace", "why": "changed", "drains": drains(3),
                "keys": [
                    { "key": "host", "before": "db1", "after": "db2" },
                    { "key": "identity_file" },
                ],
            },
            { "tunnel": "down", "action": "keep", "why": "unchanged", "tries_now": true },
            { "tunnel": "kept", "action": "keep", "why": "unchanged" },
            { "tunnel": "later", "action": "keep", "why": "new-disabled" },
            { "tunnel": "new", "action": "start", "why": "new" },
            { "tunnel": "old", "action": "stop", "why": "removed", "drains": drains(1) },
            { "tunnel": "quiet", "action": "replace", "why": "changed", "drains": drains(0),
              "keys": [{ "key": "server_alive_count_max", "before": "1", "after": "2" }] },
            {
                "tunnel": "web", "action": "adjust", "why": "changed",
                "forwards": [
                    { "action": "removed", "before": forward("a:1", "b:1"), "drains": drains(2) },
                    { "action": "added", "after": forward("a:2", "b:2") },
                    {
                        "action": "changed", "before": forward("a:3", "b:3"),
                        "after": forward("a:3", "c:3"), "drains": drains(0),
                        "keys": [{ "key": "connect", "before": "b:3", "after": "c:3" }],
                    },
                ],
            },
        ],
        "daemon": [{ "key": "drain_timeout", "before": "10s", "after": "1s" }],
        "needs_restart": [{ "key": "control_socket", "before": "/a", "after": "/b" }],
    });
    let shown = "\
~ db     replace: a new session is made, then the old one drains (3 connections, up to 10s)
      host           db1 → db2
      identity_file  changed
= down   unchanged, and tries again now
= later  new in the file, enabled = false
+ new    start: new in the file
- old    stop: no longer in the file (1 connection drains, up to 10s)
~ quiet  replace: a new session is made, then the old one ends
      server_alive_count_max  1 → 2
~ web    adjust: the session stays
    - local_forward  a:1 → b:1   (2 connections drain, up to 10s)
    + local_forward  a:2 → b:2
    ~ local_forward  a:3 → b:3
          connect        b:3 → c:3
~ [daemon]
      drain_timeout  10s → 1s
! [daemon]  after a restart only: systemctl restart tunneld
      control_socket  /a → /b
      until then the commands find the daemon with --socket at the old place
";
    let same = "= 1 unchanged\n";
    let text = render(&reloaded(plan.clone(), false), false);
    assert_eq!(text, format!("{shown}{same}"), "got:\n{text}");
    let dry = render(&reloaded(plan, true), false);
    let head = "nothing is changed; a reload does this:\n";
    let warning = "! warning  certificate c expired on D\n";
    assert_eq!(dry, format!("{head}{shown}{warning}{same}"));
}

#[test]
fn what_comes_is_green_what_goes_red_and_what_changes_yellow() {
    let cut = json!({ "connections": 2, "within_ms": 0 });
    let plan = json!({ "tunnels": [
        { "tunnel": "a", "action": "start", "why": "new" },
        { "tunnel": "b", "action": "stop", "why": "removed", "drains": cut },
        { "tunnel": "c", "action": "adjust", "why": "changed" },
        { "tunnel": "d", "action": "replace", "why": "changed", "drains": cut },
    ] });
    assert_eq!(
        render(&reloaded(plan, false), true),
        "\x1b[32m+ a\x1b[0m  start: new in the file\n\
         \x1b[31m- b\x1b[0m  stop: no longer in the file (2 connections are cut)\n\
         \x1b[33m~ c\x1b[0m  adjust: the session stays\n\
         \x1b[33m~ d\x1b[0m  replace: a new session is made, then the old one ends \
         (2 connections are cut)\n= 0 unchanged\n"
    );
}
