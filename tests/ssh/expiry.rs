//! Certificates that end: told while there is time, in the status and in the log, until a new one
//! lies in the file.

use std::path::PathBuf;

use tunneld_core::status::{CertificateStatus, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys::{KeyFiles, certify, generate};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{echoes, free_addr};

use crate::support::{LONG, NEVER, Rig, Table, text, up};

/// A server whose client key is certified by an authority of its own, for so long.
fn certified(validity: &str) -> (Sshd, KeyFiles, PathBuf) {
    let sshd = Sshd::start();
    let authority = generate(sshd.dir(), "authority");
    let path = renew(&sshd, &authority, validity);
    (sshd, authority, path)
}

/// Another certificate in the same file.
fn renew(sshd: &Sshd, authority: &KeyFiles, validity: &str) -> PathBuf {
    let public = &sshd.client_key_files().public;
    certify(authority, public, "the id", &["-V", validity])
}

/// Waits until the tunnel has looked at its certificates.
fn listed(daemon: &Daemon, wanted: impl Fn(&[CertificateStatus]) -> bool) -> TunnelStatus {
    daemon.wait_for("t", LONG, |t| wanted(&t.certificates))
}

#[test]
fn a_certificate_that_ends_soon_is_told_until_it_is_renewed() {
    // In the status with its date, in the log once; a reload finds the new one, and the session
    // stays.
    let (sshd, authority, path) = certified("-52w:+2d");
    let rig = Rig::with(sshd, |t| t);
    let status = listed(&rig.daemon, |c| !c.is_empty());
    let seen = &status.certificates[0];
    assert_eq!(seen.file, path.display().to_string());
    assert_eq!(seen.key_id, "the id");
    assert_eq!(seen.fingerprint, rig.sshd.client_key_files().fingerprint());
    let end = seen.valid_before_unix_s.unwrap();
    let [warning] = status.warnings.as_slice() else {
        panic!("{status:#?}");
    };
    let begins = format!("certificate {} expires on 20", path.display());
    assert!(warning.starts_with(&begins), "{warning}");
    assert!(warning.ends_with(" UTC (in 1 day)"), "{warning}");
    rig.daemon.wait_for_log(&begins, LONG);
    let page = rig.daemon.cli(&["status"]);
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains(&format!("warning: {warning}")), "{page}");

    renew(&rig.sshd, &authority, "-1m:+8w");
    assert!(rig.daemon.reload().status.success());
    let later = |c: &[CertificateStatus]| c[0].valid_before_unix_s > Some(end);
    let status = listed(&rig.daemon, later);
    assert_eq!(status.warnings, [""; 0]);
    assert_eq!(status.sessions, 1);
    echoes(rig.listen).unwrap();
    assert_eq!(rig.daemon.log_text().matches(&begins).count(), 1);
}

#[test]
fn a_certificate_with_time_left_is_listed_and_no_more() {
    // And so is one that never ends; a key without one lists none.
    let (sshd, authority, _) = certified("-1m:+9d");
    let rig = Rig::with(sshd, |t| t);
    let status = listed(&rig.daemon, |c| !c.is_empty());
    assert_eq!(status.warnings, [""; 0]);
    let path = renew(&rig.sshd, &authority, "always:forever");
    assert!(rig.daemon.reload().status.success());
    listed(&rig.daemon, |c| c[0].valid_before_unix_s.is_none());
    std::fs::remove_file(path).unwrap();
    assert!(rig.daemon.reload().status.success());
    listed(&rig.daemon, <[_]>::is_empty);
}

#[test]
fn a_certificate_that_lives_for_hours_is_not_warned_of_all_along() {
    // Only in the last quarter of its life, however long before its end others are told of.
    let (sshd, authority, _) = certified("-1m:+8h");
    let rig = Rig::with(sshd, |t| t);
    let status = listed(&rig.daemon, |c| !c.is_empty());
    assert_eq!(status.warnings, [""; 0]);
    renew(&rig.sshd, &authority, "-7h:+1h");
    assert!(rig.daemon.reload().status.success());
    let told = |t: &TunnelStatus| t.warnings.iter().any(|w| w.ends_with(" minutes)"));
    rig.daemon.wait_for("t", LONG, told);
}

#[test]
fn each_attempt_looks_again_and_one_that_has_ended_is_told_while_the_tunnel_is_up() {
    // The session outlives the certificate, and somebody has to hear of it before the next one.
    let (sshd, _, path) = certified("-2m:-1m");
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let daemon = table.up();
    let expired = format!("certificate {} expired on 20", path.display());
    let told = |t: &TunnelStatus| t.warnings.iter().any(|w| w.starts_with(&expired));
    daemon.wait_for("t", LONG, told);
    std::fs::remove_file(&path).unwrap();
    let restarted = daemon.cli(&["restart", "t"]);
    assert!(restarted.status.success(), "{restarted:?}");
    daemon.wait_for("t", LONG, |t| t.certificates.is_empty());
    assert_eq!(up(&daemon, "t").warnings, [""; 0]);
}

#[test]
fn a_reload_is_not_refused_for_a_certificate_that_has_ended() {
    // A restart would take the same file: the answer tells of it, and the other tunnels are adjusted.
    let (sshd, _, path) = certified("-2m:-1m");
    let table = |name| {
        let table = Table::to(&sshd).named(name);
        table.forward(free_addr(), free_addr()).toml()
    };
    let first = table("t");
    let daemon = crate::support::daemon().config(&first).start();
    up(&daemon, "t");
    daemon.write_config(&[first, table("later")].concat());
    let output = daemon.reload();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{page}");
    let warning = format!("warning  certificate {} expired on 20", path.display());
    assert!(page.contains(&warning), "{page}");
    up(&daemon, "later");
    assert_eq!(daemon.cli(&["check"]).status.code(), Some(78));
}

#[test]
fn a_jump_hosts_certificate_counts_and_tunnels_share_one_line() {
    // Two tunnels over one bastion: each shows the warning, the log has it once.
    let (bastion, _, path) = certified("-52w:+2h");
    let sshd = Sshd::start();
    let hop = format!(
        "[{{ host = {}, port = {}, user = {}, identity_file = {}, known_hosts = {} }}]",
        text(bastion.host()),
        bastion.port(),
        text(bastion.user()),
        text(bastion.client_key().display()),
        text(bastion.known_hosts().display()),
    );
    let table = |name| {
        let table = Table::to(&sshd).named(name).set("reconnect", NEVER);
        let table = table.set("proxy_jump", &hop);
        table.forward(free_addr(), free_addr()).toml()
    };
    let config = [table("a"), table("b")].concat();
    let daemon = crate::support::daemon().config(&config).start();
    let begins = format!("certificate {} expires on 20", path.display());
    for name in ["a", "b"] {
        up(&daemon, name);
        let told = |t: &TunnelStatus| {
            let mut warnings = t.warnings.iter();
            warnings.any(|w| w.starts_with(&begins) && w.ends_with("(in 1 hour)"))
        };
        daemon.wait_for(name, LONG, told);
    }
    daemon.wait_for_log(&begins, LONG);
    assert_eq!(daemon.log_text().matches(&begins).count(), 1);
}

#[test]
fn how_long_before_the_end_it_is_told_is_set_in_the_file() {
    // certificate_expiry_warning: longer, and off; a reload changes it without a new session.
    let (sshd, _, _) = certified("-52w:+9d");
    let (listen, connect) = (free_addr(), free_addr());
    let table = |warning: &str| {
        let table = Table::to(&sshd).set("certificate_expiry_warning", text(warning));
        table.forward(listen, connect)
    };
    let daemon = table("10d").up();
    let told = |wanted: usize| {
        let as_wanted = |t: &TunnelStatus| !t.certificates.is_empty() && t.warnings.len() == wanted;
        daemon.wait_for("t", LONG, as_wanted)
    };
    let status = told(1);
    assert!(status.warnings[0].ends_with("(in 8 days)"), "{status:?}");
    for (warning, wanted) in [("0s", 0), ("10d", 1), ("8d", 0)] {
        daemon.write_config(&table(warning).toml());
        assert!(daemon.reload().status.success());
        assert_eq!(told(wanted).sessions, 1);
    }
}
