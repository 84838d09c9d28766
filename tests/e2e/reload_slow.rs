//! A reload that takes its time: the daemon is there for everything else meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tunneld_core::status::Phase;
use tunneld_lab::keys::{KeyType, ssh_keygen};

use crate::support::{Bed, LONG, assert_exit, assert_has, builder, dead_tunnel, stdout, up};

/// What it takes to open a key: a second or two.
const ROUNDS: &str = "100";

#[test]
fn a_daemon_that_opens_keys_for_a_reload_is_heard_and_feeds_the_watchdog() {
    // Commands are carried out meanwhile, and a second reload waits its turn.
    let bed = Bed::new();
    let env = |b: tunneld_lab::daemon::DaemonBuilder| b.notify().env("WATCHDOG_USEC", "600000");
    let daemon = up(env(builder().config(&bed.db())));
    let secret = daemon.dir().join("secret");
    fs::write(&secret, "a passphrase").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let mut text = bed.db();
    for name in ["a", "b", "c"] {
        let args = ["-a", ROUNDS];
        let key = ssh_keygen(KeyType::Ed25519, daemon.dir(), name, "a passphrase", &args);
        let table = dead_tunnel(name, &key.private);
        let credential = format!("passphrase_credential = {secret:?}\nlocal_forward");
        text += &table.replacen("local_forward", &credential, 1);
    }
    daemon.write_config(&text);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| daemon.cli(&["reload", "--dry-run"]));
        let second = scope.spawn(|| daemon.reload());
        let mark = daemon.notify().mark();
        assert_exit(&daemon.cli(&["stop", "db"]), 0);
        assert_eq!(daemon.tunnel("db").phase, Phase::Stopped);
        daemon.notify().wait_from(mark, "WATCHDOG=1", LONG);
        assert!(
            !second.is_finished(),
            "the command waited for the reloads, or they were too fast"
        );
        assert_exit(&first.join().unwrap(), 0);
        let output = second.join().unwrap();
        assert_exit(&output, 0);
        // What happened meanwhile counts.
        assert_has(&stdout(&output), &["was stopped by command"]);
    });
    daemon.wait_phase("db", Phase::Up, LONG);
    assert_eq!(daemon.status().tunnels.len(), 4);
}
