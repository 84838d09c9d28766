//! A daemon that dies or hangs is started again; one that is stopped ends well.

use tunneld_core::events;

use crate::lab::{LISTEN, Lab, db};

/// A program that carries a connection, as a `proxy_command` does.
const RELAY: &str = r#"
import os, socket, sys, threading
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def back():
    while data := connection.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    connection.sendall(data)
"#;

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
    lab.drop_in("watchdog", "WatchdogSec=2s");
    lab.run("systemctl restart tunneld");
    let restarts = lab.property("NRestarts");
    lab.run("systemctl kill -s STOP tunneld");
    lab.wait_for("NRestarts", |n| n != restarts);
    lab.wait_for("ActiveState", |state| state == "active");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    lab.no_drop_ins();
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

/// What a program carries drains as well: a stop is told to the daemon alone.
pub(crate) fn a_stop_lets_a_proxy_command_carry_what_drains(lab: &Lab) {
    lab.write(&format!(
        "{}proxy_command = \"/usr/bin/python3 /etc/tunneld/relay.py %h %p\"\n",
        db("127.0.0.1", &[LISTEN])
    ));
    lab.run(&format!("cat >/etc/tunneld/relay.py <<'END'\n{RELAY}END"));
    lab.run("systemctl restart tunneld");
    lab.run(&format!(
        "said() {{ echo $1 >&3; read -t 20 -r line <&3; test \"$line\" = $1; }}
         set -e
         exec 3<>/dev/tcp/127.0.0.1/{LISTEN}
         said before
         systemctl stop --no-block tunneld
         for _ in $(seq 200); do
             case $(systemctl show tunneld -P StatusText) in stopping*) break ;; esac
             sleep 0.05
         done
         said after"
    ));
    lab.wait_for("ActiveState", |state| state == "inactive");
    assert_eq!(lab.property("Result"), "success");
    lab.file(&[LISTEN]);
}

/// SIGTERM from anybody is a stop like systemd's own, and not a failure to start again from.
pub(crate) fn a_signal_to_end_is_a_clean_stop(lab: &Lab) {
    lab.run("systemctl start tunneld");
    let restarts = lab.property("NRestarts");
    lab.run("systemctl kill -s TERM tunneld");
    lab.wait_for("ActiveState", |state| state == "inactive");
    for (name, wanted) in [
        ("Result", "success"),
        ("ExecMainStatus", "0"),
        ("NRestarts", restarts.as_str()),
    ] {
        assert_eq!(lab.property(name), wanted, "{name}");
    }
}
