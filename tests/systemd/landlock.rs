//! What the daemon takes away from itself beside what the unit does.

use serde_json::Value;
use tunneld_core::events;

use crate::lab::{LISTEN, Lab, db};

/// The newest entry about it.
fn told(lab: &Lab) -> Value {
    let found = lab.entries(&format!("MESSAGE_ID={}", events::SANDBOX));
    found
        .into_iter()
        .next_back()
        .unwrap_or_else(|| panic!("no entry\n{}", lab.state()))
}

/// Who may look into the process.
fn owner(lab: &Lab) -> String {
    let pid = lab.property("MainPID");
    lab.run(&format!("stat -c %U /proc/{pid}/fd"))
}

/// Starts it with lines of a drop-in.
fn restart_with(lab: &Lab, lines: &str) {
    lab.run(&format!(
        "mkdir -p /run/systemd/system/tunneld.service.d
         printf '[Service]\\n{lines}\\n' >/run/systemd/system/tunneld.service.d/sandbox.conf
         systemctl daemon-reload && systemctl restart tunneld"
    ));
}

/// With the shipped unit it is in force and in the journal; the tunnel is up, and its history is kept.
/// Without what it needs the service is the same, and the journal says what is missing.
pub(crate) fn it_is_in_force_where_the_kernel_has_it_and_said_where_not(lab: &Lab) {
    lab.file(&[LISTEN]);
    lab.run("systemctl restart tunneld");
    let entry = told(lab);
    assert_eq!(entry["PRIORITY"], "6", "{entry:#}");
    assert_eq!(entry["NO_NEW_PRIVS"], "true", "{entry:#}");
    assert_eq!(entry["DUMPABLE"], "false", "{entry:#}");
    let message = entry["MESSAGE"].as_str().unwrap();
    let places = "no writing but in /etc/tunneld/known_hosts, /run/tunneld, /var/lib/tunneld";
    assert!(message.ends_with(places), "{entry:#}");
    let version: u32 = entry["LANDLOCK"].as_str().unwrap().parse().unwrap();
    assert!(version > 0, "{entry:#}");
    assert_eq!(owner(lab), "root");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    lab.run("test -s /var/lib/tunneld/history/db.json");

    // As a kernel that has no Landlock answers, and as a filter that was not told of it.
    for answer in [":ENOSYS", ""] {
        let filter = format!("SystemCallFilter=~landlock_create_ruleset{answer}");
        restart_with(lab, &filter);
        let entry = told(lab);
        let message = entry["MESSAGE"].as_str().unwrap();
        assert!(message.contains("no Landlock: "), "{entry:#}");
        assert_eq!(entry["LANDLOCK"], "0", "{entry:#}");
        // By the unit.
        assert_eq!(entry["NO_NEW_PRIVS"], "true", "{entry:#}");
        assert!(lab.echoes(LISTEN), "{}", lab.state());
    }
    lab.run("rm -r /run/systemd/system/tunneld.service.d && systemctl daemon-reload");

    // For whoever has to look into it.
    lab.run("printf '[daemon]\\nsandbox = false\\n' >>/etc/tunneld/tunneld.toml");
    lab.run("systemctl restart tunneld");
    assert_eq!(told(lab)["DUMPABLE"], "true");
    assert_eq!(owner(lab), "tunneld");
    lab.file(&[LISTEN]);
    lab.run("systemctl restart tunneld");
}

/// The unix socket of a forward is in a folder that nothing else of the file is in. The forward goes,
/// the service is restarted, and the file goes, too: not even this daemon could make another one there.
pub(crate) fn the_file_of_a_forward_that_is_gone_is_removed(lab: &Lab) {
    lab.run("install -d -o tunneld /srv/left");
    lab.drop_in("left", "ReadWritePaths=/srv/left");
    let socket = "local_forward = [\"/srv/left/s:127.0.0.1:9000\"]\n";
    let of_port = db("127.0.0.1", &[LISTEN]);
    let (tunnel, _) = of_port.split_once("local_forward").unwrap();
    lab.write(&format!("{tunnel}{socket}"));
    lab.run("systemctl restart tunneld && test -S /srv/left/s");
    lab.file(&[LISTEN]);
    lab.run("systemctl restart tunneld");
    lab.run("test ! -e /srv/left/s");
    lab.no_drop_ins();
    lab.run("systemctl restart tunneld");
}
