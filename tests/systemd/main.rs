//! The shipped unit in a real systemd: one boot, and then what an operator does.

// What supports the tests has to fail the test that asked for it, there and then.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod credentials;
mod hooks;
mod import;
mod lab;
mod sandbox;
mod sockets;

use lab::{LISTEN, Lab};
use serde_json::Value;
use tunneld_core::events;
use tunneld_lab::journal::parse_json_lines;
use tunneld_lab::process::{poll, printed};

#[test]
fn the_shipped_unit_does_what_an_operator_expects() {
    // One boot for all of it, in the order of a service's life.
    let lab = Lab::boot();
    the_unit_is_right_and_hardened(&lab);
    host_keys_have_a_file_that_root_and_the_service_can_write(&lab);
    a_start_returns_when_the_tunnels_are_up(&lab);
    the_group_may_command_and_others_may_not(&lab);
    a_reload_applies_the_file(&lab);
    import::a_unit_is_what_systemd_makes_of_it(&lab);
    a_reload_of_a_bad_file_fails_loudly_and_changes_nothing(&lab);
    the_journal_is_found_by_tunnel(&lab);
    logs_are_those_of_the_unit(&lab);
    hooks::programs_are_in_the_journal_and_have_their_time_at_the_end(&lab);
    sandbox::it_is_in_force_where_the_kernel_has_it_and_said_where_not(&lab);
    a_killed_daemon_is_started_again(&lab);
    a_daemon_that_hangs_is_started_again(&lab);
    credentials::a_passphrase_comes_in_every_way_that_systemd_has(&lab);
    sockets::a_client_of_a_systemd_socket_is_served_whenever_it_comes(&lab);
    sockets::the_file_of_a_systemd_socket_is_left_alone(&lab);
    sockets::a_name_without_a_unit_is_told(&lab);
    sockets::remove(&lab);
    a_stop_is_clean(&lab);
    a_bad_file_does_not_loop(&lab);
    a_dead_server_does_not_hang_the_start(&lab);
}

/// systemd knows every key of the unit, and thinks well of what it may do.
fn the_unit_is_right_and_hardened(lab: &Lab) {
    let unit = "/usr/lib/systemd/system/tunneld.service";
    // Its manual comes with a package, and is not here.
    let verified = lab.sh(&format!("systemd-analyze verify --man=no {unit}"));
    assert!(
        verified.status.success() && verified.stderr.is_empty(),
        "{}",
        printed(&verified)
    );
    // Exposure of at most 2.0 of 10.
    lab.run(&format!(
        "systemd-analyze security --offline=true --threshold=20 {unit}"
    ));
}

/// What root adds with `tunneld trust` the service can read and add to: the file stays its own, and
/// is the one that the unit lets it write.
fn host_keys_have_a_file_that_root_and_the_service_can_write(lab: &Lab) {
    lab.file(&[LISTEN]);
    let is = || lab.run("stat -c '%U %G %a' /etc/tunneld/known_hosts");
    assert_eq!(is(), "tunneld tunneld 644");
    lab.run(
        ": >/etc/tunneld/known_hosts
         key=$(ssh-keygen -lf /srv/host_key.pub | cut -d ' ' -f 2)
         tunneld trust db --yes --fingerprint $key",
    );
    assert_eq!(lab.run("wc -l </etc/tunneld/known_hosts"), "1");
    assert_eq!(is(), "tunneld tunneld 644");
    let unit = "/usr/lib/systemd/system/tunneld.service";
    lab.run(&format!(
        "grep -x ReadWritePaths=-/etc/tunneld/known_hosts {unit}"
    ));
}

/// `systemctl start` blocks until READY=1; the status line says how things are.
fn a_start_returns_when_the_tunnels_are_up(lab: &Lab) {
    lab.file(&[LISTEN]);
    lab.run("systemctl start tunneld");
    assert_eq!(lab.property("ActiveState"), "active");
    assert_eq!(lab.property("StatusText"), "1 of 1 up");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    assert_eq!(
        lab.run("ps -o user= -p $(systemctl show tunneld -P MainPID)"),
        "tunneld"
    );
    lab.run("tunneld status");
}

/// Members of the group `tunneld` use the commands; strangers are told what to do.
fn the_group_may_command_and_others_may_not(lab: &Lab) {
    assert_eq!(
        lab.run("stat -c '%a %U %G' /run/tunneld/control.sock"),
        "660 tunneld tunneld"
    );
    lab.run("runuser -u lab-member -- tunneld status");
    let refused = lab.sh("runuser -u lab-stranger -- tunneld status");
    assert_eq!(refused.status.code(), Some(4), "{}", printed(&refused));
    let join = "hint: join its group: `sudo usermod -aG tunneld lab-stranger`";
    for said in ["permission denied", join] {
        assert!(printed(&refused).contains(said), "{}", printed(&refused));
    }
}

/// `systemctl reload` returns when the file is in force; the process and its sessions stay.
fn a_reload_applies_the_file(lab: &Lab) {
    let pid = lab.property("MainPID");
    lab.file(&[LISTEN, LISTEN + 1]);
    lab.run("systemctl reload tunneld");
    assert_eq!(lab.property("ActiveState"), "active");
    let there = poll(lab::LONG, || lab.echoes(LISTEN + 1).then_some(()));
    assert!(there.is_some(), "{}", lab.state());
    assert!(lab.echoes(LISTEN));
    assert_eq!(lab.property("MainPID"), pid);
    let status: Value = serde_json::from_str(&lab.run("tunneld status --json")).unwrap();
    assert_eq!(status["tunnels"][0]["sessions"], 1);
    // SIGHUP is the same, and is over when systemd has been told so.
    lab.file(&[LISTEN]);
    lab.run("systemctl kill -s HUP tunneld");
    let gone = poll(lab::LONG, || (!lab.echoes(LISTEN + 1)).then_some(()));
    assert!(gone.is_some(), "{}", lab.state());
    lab.wait_for("ActiveState", |state| state == "active");
}

/// The command fails, the journal has the diagnostics, the tunnels go on.
fn a_reload_of_a_bad_file_fails_loudly_and_changes_nothing(lab: &Lab) {
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
    let said = lab.run("journalctl --sync; journalctl -u tunneld -o cat --no-pager");
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

fn entries(lab: &Lab, matches: &str) -> Vec<Value> {
    let command = format!("journalctl --sync; journalctl -u tunneld {matches} -o json --no-pager");
    parse_json_lines(&lab.run(&command))
}

/// `journalctl -u tunneld TUNNEL=db` finds native entries with their fields.
fn the_journal_is_found_by_tunnel(lab: &Lab) {
    let ups = entries(lab, &format!("TUNNEL=db MESSAGE_ID={}", events::TUNNEL_UP));
    let up = ups
        .first()
        .unwrap_or_else(|| panic!("no entry\n{}", lab.state()));
    let fields = [
        ("MESSAGE", "tunnel up"),
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
    assert!(!entries(lab, &forward).is_empty(), "{}", lab.state());
}

/// `tunneld logs` finds the unit by its daemon: with what systemd says of it, or a tunnel's lines only.
fn logs_are_those_of_the_unit(lab: &Lab) {
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

/// kill -9: systemd starts it again, and the tunnels are back.
fn a_killed_daemon_is_started_again(lab: &Lab) {
    let pid = lab.property("MainPID");
    lab.run("systemctl kill -s KILL tunneld");
    lab.wait_for("NRestarts", |n| n == "1");
    lab.wait_for("ActiveState", |state| state == "active");
    assert_ne!(lab.property("MainPID"), pid);
    assert!(lab.echoes(LISTEN), "{}", lab.state());
}

/// The watchdog is armed and fed; a daemon that no longer feeds it is replaced.
fn a_daemon_that_hangs_is_started_again(lab: &Lab) {
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
fn a_stop_is_clean(lab: &Lab) {
    lab.run("systemctl restart tunneld");
    lab.run("systemctl stop tunneld");
    assert_eq!(lab.property("ActiveState"), "inactive");
    assert_eq!(lab.property("Result"), "success");
    assert_eq!(lab.property("ExecMainStatus"), "0");
    lab.run("test ! -e /run/tunneld/control.sock");
    assert!(!lab.echoes(LISTEN));
    let stopped = entries(lab, &format!("MESSAGE_ID={}", events::STOPPED));
    assert!(!stopped.is_empty(), "{}", lab.state());
}

/// Exit 78: the start fails, says where the mistake is, and is not tried again.
fn a_bad_file_does_not_loop(lab: &Lab) {
    lab.write("[tunnels.db]\nhosst = \"127.0.0.1\"");
    assert!(!lab.sh("systemctl start tunneld").status.success());
    assert_eq!(lab.property("ActiveState"), "failed");
    assert_eq!(lab.property("ExecMainStatus"), "78");
    // A restart that was coming would show as `activating (auto-restart)`.
    assert_eq!(
        (lab.property("SubState"), lab.property("NRestarts")),
        ("failed".into(), "0".into())
    );
    // Found by its unit and its priority, although the process was gone in a moment.
    let said = lab.run("journalctl --sync; journalctl -u tunneld -p err -o cat -n 20 --no-pager");
    assert!(said.contains("/etc/tunneld/tunneld.toml:2:1"), "{said}");
}

/// A server that is away is not a failed start: it is known, said, and tried again.
fn a_dead_server_does_not_hang_the_start(lab: &Lab) {
    lab.run("systemctl stop lab-sshd.service");
    lab.file(&[LISTEN]);
    lab.run("systemctl start tunneld");
    assert_eq!(lab.property("ActiveState"), "active");
    let text = lab.property("StatusText");
    assert!(
        text.starts_with("0 of 1 up; db: ") && text.contains("connection refused"),
        "{text}"
    );
    lab.run("systemctl start lab-sshd.service");
    lab.run("systemctl kill -s USR1 tunneld");
    lab.wait_for("StatusText", |text| text == "1 of 1 up");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
}
