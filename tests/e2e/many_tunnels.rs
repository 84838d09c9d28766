//! A thousand tunnels in one file.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::target::{free_addr, free_ip};

use crate::support::{Folder, LONG, assert_exit, assert_has, daemon, stdout};

pub(crate) const MANY: u16 = 1000;

/// As many tunnels to one place that refuses connections, `t000` and on. None has waited for its first
/// delay within a test, after which a reload would have it try again.
pub(crate) struct Many {
    folder: Folder,
    dead: SocketAddr,
    listen: Ipv4Addr,
}

impl Many {
    pub(crate) fn new() -> Self {
        Many {
            folder: Folder::new(),
            dead: free_addr(),
            listen: free_ip(),
        }
    }

    /// Their file; the first `enabled` of them are wanted.
    pub(crate) fn file(&self, enabled: u16) -> String {
        let Many { dead, listen, .. } = self;
        let key = self.folder.key();
        let mut out = format!(
            "[defaults]\nuser = \"u\"\nidentity_file = {key:?}\nport = {}\n\
             reconnect = {{ initial = \"1h\", max = \"1h\" }}\n",
            dead.port()
        );
        for n in 0..MANY {
            let _ = write!(
                out,
                "[tunnels.t{n:03}]\nhost = \"{}\"\nenabled = {}\nlocal_forward = \"{listen}:{}:localhost:1\"\n",
                dead.ip(),
                n < enabled,
                20_000 + n
            );
        }
        out
    }

    /// A daemon with all of them, which are not up, and this in the file besides.
    pub(crate) fn daemon(&self, more: &str) -> Daemon {
        let daemon = daemon(&(more.to_owned() + &self.file(MANY)));
        daemon.wait_phase("t999", Phase::Waiting, LONG);
        daemon
    }
}

#[test]
fn a_thousand_tunnels_are_started_and_stopped_by_a_reload() {
    // Half of them are wanted by one reload, and none by the next: each is done and answered.
    let many = Many::new();
    let text = |enabled| many.file(enabled);
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
