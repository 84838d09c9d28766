//! `systemctl reload`, and SIGHUP.

use serde_json::Value;
use tunneld_lab::process::{poll, printed};

use crate::lab::{LISTEN, LONG, Lab};

/// `systemctl reload` returns when the file is in force; the process and its sessions stay.
pub(crate) fn a_reload_applies_the_file(lab: &Lab) {
    let pid = lab.property("MainPID");
    lab.file(&[LISTEN, LISTEN + 1]);
    lab.run("systemctl reload tunneld");
    assert_eq!(lab.property("ActiveState"), "active");
    let there = poll(LONG, || lab.echoes(LISTEN + 1).then_some(()));
    assert!(there.is_some(), "{}", lab.state());
    assert!(lab.echoes(LISTEN));
    assert_eq!(lab.property("MainPID"), pid);
    let status: Value = serde_json::from_str(&lab.run("tunneld status --json")).unwrap();
    assert_eq!(status["tunnels"][0]["sessions"], 1);
    // SIGHUP is the same, and is over when systemd has been told so.
    lab.file(&[LISTEN]);
    lab.run("systemctl kill -s HUP tunneld");
    let gone = poll(LONG, || (!lab.echoes(LISTEN + 1)).then_some(()));
    assert!(gone.is_some(), "{}", lab.state());
    lab.wait_for("ActiveState", |state| state == "active");
}

/// The command fails, the journal has the diagnostics, the tunnels go on.
pub(crate) fn a_reload_of_a_bad_file_fails_loudly_and_changes_nothing(lab: &Lab) {
    lab.write("[tunnels.db]\nhosst = \"127.0.0.1\"");
    let reload = lab.sh("systemctl reload tunneld");
    assert!(!reload.status.success());
    assert!(
        printed(&reload).contains("tunneld.service"),
        "{}",
        printed(&reload)
    );
    assert_eq!(lab.property("ActiveState"), "active");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    let said = lab.said("tunneld", "");
    for part in [
        "/etc/tunneld/tunneld.toml:2:1",
        "did you mean `host`?",
        "is unchanged",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    lab.file(&[LISTEN]);
    lab.run("systemctl reload tunneld");
}
