//! What changes about the process itself.

use super::*;

#[test]
fn daemon_keys_are_told_with_when_they_take_effect() {
    let new = format!(
        "[daemon]\nready_when = \"all\"\ndrain_timeout = \"3s\"\nwatch = true\n\
         control_socket = \"/x\"\n{DB}"
    );
    let plan = first(&config(DB), &config(&new));
    let told = |keys: &[KeyChange]| -> Vec<String> {
        let value = |v: &Option<String>| v.clone().unwrap();
        keys.iter()
            .map(|k| format!("{} {} → {}", k.key, value(&k.before), value(&k.after)))
            .collect()
    };
    assert_eq!(
        told(&plan.daemon),
        ["drain_timeout 10s → 3s", "watch false → true"]
    );
    assert_eq!(
        told(&plan.needs_restart),
        [
            "control_socket /run/tunneld/control.sock → /x",
            "ready_when settled → all"
        ]
    );
}

#[test]
fn what_needs_a_restart_is_told_until_there_is_one_or_it_is_as_it_was() {
    // Against what the daemon runs with, and not against what was read last.
    let file = |keys: &str| config(&format!("[daemon]\n{keys}{DB}"));
    let (began, other) = (file(""), file("ready_when = \"all\"\n"));
    let keys = |old: &Config, new: &Config| -> Vec<String> {
        let plan = diff(&(&began).into(), old, new, |_| false);
        assert!(plan.daemon.is_empty());
        plan.needs_restart.into_iter().map(|k| k.key).collect()
    };
    assert_eq!(keys(&began, &other), ["ready_when"]);
    assert_eq!(keys(&other, &other), ["ready_when"]);
    assert!(keys(&other, &began).is_empty());
}

#[test]
fn tunnels_that_need_more_than_the_sandbox_leaves_are_told_with_what_they_need() {
    // As long as they are in the file, and not where nothing was given up.
    let more = config(&format!(
        "{DB}on_up = '/bin/true'\n[tunnels.web]\nhost = \"a\"\nuser = \"u\"\n\
         local_forward = \"/run/web/s:a:1\"\n"
    ));
    let db = config(DB);
    let tight = AtStart {
        given: Some(Needs::of(&db)),
        ..AtStart::from(&db)
    };
    for old in [&db, &more] {
        let plan = diff(&tight, old, &more, |_| false);
        let told = KeyChange {
            key: "sandbox".to_owned(),
            before: Some("as at the start".to_owned()),
            after: Some("also on_up of `db`, sockets in /run/web".to_owned()),
        };
        assert_eq!(plan.needs_restart, [told]);
    }
    assert!(diff(&tight, &more, &db, |_| false).needs_restart.is_empty());
    assert!(first(&db, &more).needs_restart.is_empty());
    // One line is enough where the key itself has changed.
    let off = config(&format!(
        "[daemon]\nsandbox = false\n{DB}on_up = '/bin/true'\n"
    ));
    let plan = diff(&tight, &db, &off, |_| false);
    assert_eq!(plan.needs_restart[0].after.as_deref(), Some("false"));
    assert_eq!(plan.needs_restart.len(), 1);
}
