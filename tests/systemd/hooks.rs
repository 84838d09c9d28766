//! `on_up` and `on_down` in the shipped unit.

use tunneld_lab::process::poll;

use crate::lab::{LISTEN, LONG, Lab};

/// Programs run as the service's user; what they write is found by tunnel and hook, and the stop of
/// the service gives the last one its time, though the unit has less.
pub(crate) fn programs_are_in_the_journal_and_have_their_time_at_the_end(lab: &Lab) {
    lab.file(&[LISTEN]);
    let slow = "sleep 3; echo told $TUNNELD_STATE";
    lab.run(&format!(
        "cat >>/etc/tunneld/tunneld.toml <<'END'
on_up = ['/bin/sh', '-c', 'echo I am $(id -un), and $TUNNELD_NAME is $TUNNELD_STATE']
on_down = ['/bin/sh', '-c', '{slow}']
END"
    ));
    lab.drop_in("hooks", "TimeoutStopSec=1s");
    lab.run("systemctl restart tunneld");
    let said = |key: &str, words: &str| {
        let matches = format!("TUNNEL=db HOOK={key}");
        let there = || {
            let all = lab.entries(&matches);
            all.into_iter().find(|entry| entry["MESSAGE"] == words)
        };
        let entry = poll(LONG, there).unwrap_or_else(|| panic!("{words}\n{}", lab.state()));
        assert_eq!(entry["PRIORITY"], "6", "{entry:#}");
    };
    said("on_up", "db: on_up: I am tunneld, and db is up");
    lab.run("systemctl stop tunneld");
    assert_eq!(lab.property("Result"), "success");
    said("on_down", "db: on_down: told stopped");
    lab.no_drop_ins();
    lab.file(&[LISTEN]);
    lab.run("systemctl start tunneld");
}
