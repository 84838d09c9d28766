//! A thousand tunnels in one file.

use std::fmt::Write;
use std::time::Instant;

use tunneld_core::status::Phase;
use tunneld_lab::target::{free_addr, free_ip};

use crate::support::{Folder, LONG, assert_exit, assert_has, daemon, stdout};

const MANY: u16 = 1000;

/// A file of as many tunnels to one place that refuses connections; the first `enabled` of them
/// are wanted.
fn file(key: &str, server: &str, listen: &str, enabled: u16) -> String {
    let mut out = format!("[defaults]\nuser = \"u\"\nidentity_file = {key:?}\n");
    for n in 0..MANY {
        let wanted = n < enabled;
        let _ = write!(
            out,
            "[tunnels.t{n:03}]\n{server}\nenabled = {wanted}\nlocal_forward = \"{listen}:{}:localhost:1\"\n",
            20_000 + n
        );
    }
    out
}

#[test]
fn a_thousand_tunnels_are_started_and_stopped_by_a_reload() {
    // Half of them are wanted by one reload, and none by the next: each is done and answered.
    let folder = Folder::new();
    let key = folder.key().display().to_string();
    let dead = free_addr();
    let server = format!("host = \"{}\"\nport = {}", dead.ip(), dead.port());
    let listen = free_ip().to_string();
    let text = |enabled| file(&key, &server, &listen, enabled);
    let before = Instant::now();
    let daemon = daemon(&text(0));
    eprintln!("started with {MANY} tunnels in {:?}", before.elapsed());
    let timed = |enabled: u16, changes: (usize, &str), same: usize| {
        daemon.write_config(&text(enabled));
        let before = Instant::now();
        let output = daemon.reload();
        eprintln!(
            "reloaded with {enabled} of {MANY} enabled in {:?}",
            before.elapsed()
        );
        assert_exit(&output, 0);
        let said = stdout(&output);
        assert_eq!(said.matches(changes.1).count(), changes.0);
        assert_has(&said, &[&format!("\n= {same} unchanged\n")]);
    };
    timed(MANY / 2, (500, "  start: enabled = true\n"), 500);
    daemon.wait_for("t499", LONG, |t| t.phase == Phase::Waiting);
    timed(MANY / 2 + 1, (1, "  start: enabled = true\n"), 999);
    timed(0, (501, "  stop: enabled = false\n"), 499);
    daemon.wait_phase("t499", Phase::Stopped, LONG);
    let before = Instant::now();
    assert_eq!(daemon.status().tunnels.len(), usize::from(MANY));
    eprintln!("status of {MANY} tunnels in {:?}", before.elapsed());
}
