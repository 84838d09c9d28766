//! What a service may have to do without.

use tunneld_core::events;

use crate::lab::{LISTEN, Lab, db};
use crate::survives::QUICK;

/// A file that is not there or empty is a mistake: exit 78, told with what belongs into it, and not
/// tried again. One without tunnels is none, and tunnels can come.
pub(crate) fn no_file_is_a_mistake_and_no_tunnel_is_none(lab: &Lab) {
    lab.run("systemctl stop tunneld");
    for (file, told) in [
        ("rm", "cannot read /etc/tunneld/tunneld.toml: no such file"),
        (":>", "`/etc/tunneld/tunneld.toml` is empty"),
    ] {
        lab.run(&format!("{file} /etc/tunneld/tunneld.toml"));
        assert!(!lab.sh("systemctl start tunneld").status.success());
        let end = ["ActiveState", "SubState", "ExecMainStatus", "NRestarts"];
        let end = end.map(|name| lab.property(name));
        assert_eq!(end, ["failed", "failed", "78", "0"]);
        let said = lab.said("tunneld", "-p err -n 8");
        assert!(said.contains(told), "{said}");
    }
    lab.write("[daemon]");
    lab.run("systemctl start tunneld");
    assert_eq!(lab.property("StatusText"), "no tunnels");
    lab.file(&[LISTEN]);
    lab.run("systemctl reload tunneld");
    lab.wait_for("StatusText", |text| text == "1 of 1 up");
}

/// A key of root's own: its tunnel needs somebody, the others are up, and the start is over.
pub(crate) fn a_key_that_cannot_be_read_blocks_its_tunnel_only(lab: &Lab) {
    lab.run("install -m 600 -o root -g root /etc/tunneld/keys/id_ed25519 /etc/tunneld/keys/root");
    let other = db("127.0.0.1", &[LISTEN + 1])
        .replace("tunnels.db", "tunnels.other")
        .replace("id_ed25519", "root");
    lab.write(&(db("127.0.0.1", &[LISTEN]) + &other));
    lab.run("systemctl restart tunneld");
    lab.wait_for("StatusText", |text| {
        text.starts_with("1 of 2 up; other: blocked (") && text.contains("permission denied")
    });
    assert!(lab.echoes(LISTEN), "{}", lab.state());
}

/// Where nothing may be written but the control socket, tunnels are up. One whose host key has to be
/// learnt is not; the history ends with the daemon, which is told.
pub(crate) fn nothing_has_to_be_written(lab: &Lab) {
    let learns = db("localhost", &[LISTEN + 1]).replace("tunnels.db", "tunnels.learns")
        + "strict_host_key_checking = \"accept-new\"\n";
    lab.write(&(db("127.0.0.1", &[LISTEN]) + &learns));
    lab.drop_in(
        "read-only",
        "ReadWritePaths=\nReadOnlyPaths=/ /etc/tunneld /var/lib/tunneld\nReadWritePaths=/run/tunneld",
    );
    lab.run("systemctl restart tunneld");
    let learns = "1 of 2 up; learns: blocked (cannot add [localhost]:2222 to \
                  /etc/tunneld/known_hosts: read-only file system)";
    lab.wait_for("StatusText", |text| text == learns);
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    let said = lab.said("tunneld", "-p warning");
    let history = "the history cannot be kept in /var/lib/tunneld/history: read-only file system";
    assert!(said.contains(history), "{said}");
    lab.no_drop_ins();
    lab.write(&(db("127.0.0.1", &[LISTEN]) + QUICK));
}

/// Without `NOTIFY_SOCKET` it is a service like any other.
pub(crate) fn a_service_manager_that_is_not_told_anything_is_no_hindrance(lab: &Lab) {
    lab.drop_in(
        "simple",
        "Type=exec\nNotifyAccess=none\nWatchdogSec=0\nFileDescriptorStoreMax=0\nExecReload=",
    );
    lab.run("systemctl restart tunneld");
    let environment = "tr '\\0' '\\n' </proc/$(systemctl show tunneld -P MainPID)/environ";
    assert!(!lab.run(environment).contains("NOTIFY_SOCKET"));
    lab.run("tunneld wait --timeout 60s db");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    assert_eq!(lab.property("StatusText"), "");
    lab.run("systemctl stop tunneld");
    assert_eq!(lab.property("Result"), "success");
    lab.no_drop_ins();
}

/// journald goes away and comes again: tunnels go on, a daemon can be started, and one that was there
/// before has its lines in the journal after.
pub(crate) fn a_journal_that_is_away_is_no_hindrance(lab: &Lab) {
    lab.run("systemctl restart tunneld");
    let journald = "systemd-journald.socket systemd-journald-dev-log.socket \
                    systemd-journald-audit.socket systemd-journald.service";
    lab.run(&format!("systemctl stop {journald}"));
    lab.run("systemctl stop lab-sshd");
    lab.wait_for("StatusText", |text| text.starts_with("0 of 1 up; db: "));
    lab.run("systemctl start lab-sshd");
    lab.wait_for("StatusText", |text| text == "1 of 1 up");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    let marker = lab.run(
        "systemctl start systemd-journald.socket systemd-journald.service
         date +%s.%N",
    );
    lab.run("systemctl reload tunneld");
    let said = lab.entries(&format!("--since=@{marker} _TRANSPORT=journal"));
    assert!(!said.is_empty(), "{}", lab.state());

    lab.run(&format!("systemctl stop {journald}"));
    lab.run("systemctl restart tunneld");
    assert_eq!(lab.property("StatusText"), "1 of 1 up");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    lab.run("systemctl start systemd-journald.socket systemd-journald.service");
    // One that was started meanwhile logs to it, too, and says that lines are missing.
    let pid = lab.property("MainPID");
    lab.run("systemctl reload tunneld");
    let lost = format!("_PID={pid} MESSAGE_ID={}", events::LOG_LINES_LOST);
    assert!(!lab.entries(&lost).is_empty(), "{}", lab.state());
    assert_eq!(lab.property("NRestarts"), "0");
}
