//! A daemon that dies or hangs is started again; one that is stopped ends well.

use tunneld_core::events;

use crate::lab::{LISTEN, Lab};

/// kill -9: systemd starts it again, and the tunnels are back.
pub(crate) fn a_killed_daemon_is_started_again(lab: &Lab) {
    let pid = lab.property("MainPID");
    lab.run("systemctl kill -s KILL tunneld");
    lab.wait_for("NRestarts", |n| n == "1");
    lab.wait_for("ActiveState", |state| state == "active");
    assert_ne!(lab.property("MainPID"), pid);
    assert!(lab.echoes(LISTEN), "{}", lab.state());
}

/// The watchdog is armed and fed; a daemon that no longer feeds it is replaced.
pub(crate) fn a_daemon_that_hangs_is_started_again(lab: &Lab) {
    assert_eq!(lab.property("WatchdogUSec"), "30s");
    // The same with less to wait for.
    lab.run(
        "mkdir -p /run/systemd/system/tunneld.service.d
         printf '[Service]\\nWatchdogSec=2s\\n' >/run/systemd/system/tunneld.service.d/watchdog.conf
         systemctl daemon-reload && systemctl restart tunneld",
    );
    let restarts = lab.property("NRestarts");
    lab.run("systemctl kill -s STOP tunneld");
    lab.wait_for("NRestarts", |n| n != restarts);
    lab.wait_for("ActiveState", |state| state == "active");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    lab.run("rm -r /run/systemd/system/tunneld.service.d && systemctl daemon-reload");
}

/// `systemctl stop`: inactive and not failed, exit 0, nothing left behind.
pub(crate) fn a_stop_is_clean(lab: &Lab) {
    lab.run("systemctl restart tunneld");
    lab.run("systemctl stop tunneld");
    assert_eq!(lab.property("ActiveState"), "inactive");
    assert_eq!(lab.property("Result"), "success");
    assert_eq!(lab.property("ExecMainStatus"), "0");
    lab.run("test ! -e /run/tunneld/control.sock");
    assert!(!lab.echoes(LISTEN));
    let stopped = lab.entries(&format!("MESSAGE_ID={}", events::STOPPED));
    assert!(!stopped.is_empty(), "{}", lab.state());
}
