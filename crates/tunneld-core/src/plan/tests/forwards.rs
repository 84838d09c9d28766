//! Forwards that change on the session that is there.

use super::*;

#[test]
fn a_forward_that_changes_names_the_keys_that_do() {
    let tcp = |keys: &str| format!("local_forward = {{ listen = 80, connect = 'w:80'{keys} }}");
    let unix =
        |keys: &str| format!("local_forward = {{ listen = '/run/s', connect = 'w:80'{keys} }}");
    let file = |line: &str| format!("[tunnels.web]\nhost = 'a'\n{line}\n");
    let place = "forward changed: localhost:80 ─▶ w:80";
    let socket = "forward changed: /run/s ─▶ w:80";
    let many: Vec<String> = (0..50).map(|n| format!("'10.0.0.{n}'")).collect();
    let many = tcp(&format!(", allow = [{}]", many.join(", ")));
    for (old, new, reason) in [
        (
            tcp(""),
            tcp(", while_down = 'refuse', wait_timeout = 5, max_connections = 9"),
            format!(
                "{place} (while_down wait → refuse; wait_timeout 10s → 5s; \
                 max_connections 4096 → 9)"
            ),
        ),
        (
            tcp(""),
            tcp(", allow = ['10.0.0.0/8', '::1'], probe = true"),
            format!(
                "{place} (allow everybody → 10.0.0.0/8, ::1/128; \
                 probe none → every 30s within 5s)"
            ),
        ),
        (
            tcp(", probe = { expect = 'hi' }"),
            tcp(", probe = { expect = 204, path = '/x' }"),
            format!(
                "{place} (probe every 30s within 5s for \"hi\" → \
                 every 30s within 5s for 204 from /x)"
            ),
        ),
        (
            unix(""),
            unix(", socket_mode = '660', socket_owner = ':www'"),
            format!("{socket} (socket_mode 0600 → 0660; socket_owner none → :www)"),
        ),
        (
            tcp(", name = 'x', max_connections = 1"),
            "local_forward = { name = 'x', listen = 81, connect = 'w:80' }".to_owned(),
            format!("{place} (listen localhost:80 → localhost:81; max_connections 1 → 4096)"),
        ),
        (
            many.clone(),
            many.replace("'10.0.0.49'", "'10.0.0.99'"),
            format!("{place} (allow)"),
        ),
    ] {
        let (_, action, reasons) = actions(&file(&old), &file(&new)).remove(0);
        assert_eq!(
            (action, reasons),
            (PlanAction::Adjust, reason),
            "{old} to {new}"
        );
    }
}

#[test]
fn the_forward_of_another_side_is_another_forward() {
    // A port of this machine cannot become one of the server: its connections have to end.
    let one = "local_forward = { name = 'x', listen = 80, connect = 'w:80' }";
    let other = "remote_forward = { name = 'x', listen = 80, connect = 'w:80' }";
    let file = |line: &str| format!("[tunnels.web]\nhost = 'a'\n{line}\n");
    let (_, action, told) = actions(&file(one), &file(other)).remove(0);
    assert_eq!(action, PlanAction::Adjust);
    assert_eq!(
        told,
        "forward removed: localhost:80 ─▶ w:80; forward added: remote localhost:80 ─▶ w:80"
    );
}
