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

/// The version of the kernel's Landlock, as it says itself: 0 where it has none.
fn kernel(lab: &Lab) -> String {
    // landlock_create_ruleset(2) has one number on every architecture.
    lab.run("python3 -c 'import ctypes; print(max(0, ctypes.CDLL(None).syscall(444, None, 0, 1)))'")
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
    let kernel = kernel(lab);
    assert_eq!(entry["LANDLOCK"], *kernel, "{entry:#}");
    let says = match kernel.as_str() {
        "0" => "no Landlock: ",
        _ => "no writing but in /etc/tunneld/known_hosts, /run/tunneld, /var/lib/tunneld",
    };
    assert!(message.contains(says), "{entry:#}");
    assert_eq!(owner(lab), "root");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    lab.run("test -s /var/lib/tunneld/history/db.json");

    // As a kernel that has no Landlock answers, and as a filter that was not told of it.
    for answer in [":ENOSYS", ""] {
        let filter = format!("SystemCallFilter=~landlock_create_ruleset{answer}");
        lab.drop_in("filter", &filter);
        lab.run("systemctl restart tunneld");
        let entry = told(lab);
        let message = entry["MESSAGE"].as_str().unwrap();
        assert!(message.contains("no Landlock: "), "{entry:#}");
        assert_eq!(entry["LANDLOCK"], "0", "{entry:#}");
        // By the unit.
        assert_eq!(entry["NO_NEW_PRIVS"], "true", "{entry:#}");
        assert!(lab.echoes(LISTEN), "{}", lab.state());
    }
    lab.no_drop_ins();

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
