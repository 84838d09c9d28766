//! What the journal has of the service.

use serde_json::Value;
use tunneld_core::events;
use tunneld_lab::journal::parse_json_lines;
use tunneld_lab::process::{poll, printed};

use crate::lab::{LISTEN, LONG, Lab};

/// `journalctl -u tunneld TUNNEL=db` finds native entries with their fields.
pub(crate) fn the_journal_is_found_by_tunnel(lab: &Lab) {
    let ups = lab.entries(&format!("TUNNEL=db MESSAGE_ID={}", events::TUNNEL_UP));
    let up = ups
        .first()
        .unwrap_or_else(|| panic!("no entry\n{}", lab.state()));
    let fields = [
        ("MESSAGE", "db: tunnel up"),
        ("PRIORITY", "6"),
        ("HOST", "127.0.0.1:2222"),
        ("SYSLOG_IDENTIFIER", "tunneld"),
        ("_SYSTEMD_UNIT", "tunneld.service"),
        ("_TRANSPORT", "journal"),
    ];
    for (name, value) in fields {
        assert_eq!(up[name], value, "{up:#}");
    }
    let forward = format!(
        "TUNNEL=db FORWARD=local-{LISTEN} MESSAGE_ID={}",
        events::LISTENING
    );
    assert!(!lab.entries(&forward).is_empty(), "{}", lab.state());
}

/// A journald that is started anew: the service goes on, and so does its log.
pub(crate) fn a_journal_that_is_started_anew_has_what_comes_then(lab: &Lab) {
    let pid = lab.property("MainPID");
    let replaced = format!("MESSAGE_ID={}", events::SESSION_REPLACED);
    let before = lab.entries(&replaced).len();
    lab.run("systemctl restart systemd-journald && tunneld restart db");
    let after = poll(LONG, || {
        (lab.entries(&replaced).len() > before).then_some(())
    });
    assert!(after.is_some(), "{}", lab.state());
    assert_eq!(lab.property("MainPID"), pid);
}

/// `tunneld logs` finds the unit by its daemon: with what systemd says of it, or a tunnel's lines only.
pub(crate) fn logs_are_those_of_the_unit(lab: &Lab) {
    let all = lab.run("tunneld logs -- --quiet --output=cat");
    for said in ["Started tunneld.service", "tunnel up", "tunneld starts"] {
        assert!(all.contains(said), "{said}\n{all}");
    }
    let db = parse_json_lines(&lab.run("tunneld logs db -n 3 -- --quiet --output=json"));
    assert_eq!(db.len(), 3);
    for entry in &db {
        let seen = (&entry["TUNNEL"], &entry["_SYSTEMD_UNIT"]);
        assert_eq!(seen, (&Value::from("db"), &Value::from("tunneld.service")));
    }
    let denied = lab.sh("runuser -u lab-member -- tunneld logs db");
    let said = "hint: `sudo usermod -aG systemd-journal $USER`";
    assert!(printed(&denied).contains(said), "{}", printed(&denied));
}

/// `journalctl -x` has the catalog's text of an event, with the names that it is about.
pub(crate) fn the_catalog_explains_a_line(lab: &Lab) {
    let up = events::TUNNEL_UP;
    let said = lab.run(&format!(
        "journalctl --sync; journalctl -u tunneld -x -n 1 --no-pager MESSAGE_ID={up}"
    ));
    for part in [
        "Subject: Tunnel db is up",
        "Defined-By: tunneld",
        "127.0.0.1:2222",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}
