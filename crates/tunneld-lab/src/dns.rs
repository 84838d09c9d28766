//! The real resolver unbound, with one zone of its own that DNSSEC may protect.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{LineLog, prefixed, require, run};

/// The zone of every [`Resolver`].
pub const ZONE: &str = "lab.example";

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How the zone is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// It is, and the resolver knows the zone's key: it checks every answer.
    Yes,
    /// It is not, and nobody expects it to be.
    No,
    /// It was, and was changed afterwards: the resolver gives no answers.
    Tampered,
}

/// A running resolver at 127.0.0.1, port 53. Dropped, it is killed.
pub struct Resolver {
    child: Child,
    log: LineLog,
    _dir: TempDir,
}

impl Resolver {
    /// Starts it below the words of `prefix`, which lead to a network namespace of its own, with
    /// these lines in its zone, and returns once it answers.
    ///
    /// # Panics
    /// When unbound or ldnsutils is not installed, or it does not come up.
    pub fn start(prefix: &[String], records: &str, signed: Signed) -> Self {
        require("unbound", "unbound");
        require("ldns-signzone", "ldnsutils");
        let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        let at = dir.path();
        let zone = format!(
            "$ORIGIN {ZONE}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 900 86400 60\n@ NS ns\nns A 127.0.0.1\n{records}\n"
        );
        fs::write(at.join("zone"), zone).unwrap();
        if signed != Signed::No {
            sign(at);
        }
        if signed == Signed::Tampered {
            tamper(&at.join("zone"));
        }
        fs::write(at.join("unbound.conf"), conf(at, signed)).unwrap();
        let mut child = prefixed(prefix, "unbound")
            .args(["-d", "-p", "-c"])
            .arg(at.join("unbound.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("cannot run unbound");
        let log = LineLog::default();
        log.follow(child.stderr.take().unwrap());
        let resolver = Resolver {
            child,
            log,
            _dir: dir,
        };
        let begun = resolver
            .log
            .wait_for_line(0, "start of service", START_TIMEOUT);
        assert!(
            begun.is_some(),
            "unbound did not start:\n{}",
            resolver.log()
        );
        resolver
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.log.text()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signs the zone in place. What vouches for its key is `anchor` then.
fn sign(dir: &Path) {
    let ldns = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(dir);
        command
    };
    let key = run(ldns("ldns-keygen").args(["-a", "ECDSAP256SHA256", "-k", ZONE]));
    let key = key.trim();
    fs::rename(dir.join(format!("{key}.ds")), dir.join("anchor")).unwrap();
    run(ldns("ldns-signzone").args(["-f", "signed", "zone", key]));
    fs::rename(dir.join("signed"), dir.join("zone")).unwrap();
}

/// Changes the hash of every SSHFP record, and leaves their signatures.
fn tamper(zone: &Path) {
    let text = fs::read_to_string(zone).unwrap();
    let changed = |line: &str| match line.contains("\tSSHFP\t") && !line.contains("RRSIG") {
        true => format!("{}0000\n", line.get(..line.len() - 4).unwrap()),
        false => format!("{line}\n"),
    };
    let tampered: String = text.lines().map(changed).collect();
    assert_ne!(tampered, text, "no record to tamper with");
    fs::write(zone, tampered).unwrap();
}

fn conf(dir: &Path, signed: Signed) -> String {
    let dir = dir.display();
    let anchor = match signed {
        Signed::No => String::new(),
        Signed::Yes | Signed::Tampered => format!("  trust-anchor-file: \"{dir}/anchor\"\n"),
    };
    format!(
        "server:\n  directory: \"{dir}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  \
         use-syslog: no\n  logfile: \"\"\n  interface: 127.0.0.1\n  do-ip6: no\n  num-threads: 1\n  \
         module-config: \"validator iterator\"\n{anchor}\
         remote-control:\n  control-enable: no\n\
         auth-zone:\n  name: \"{ZONE}\"\n  zonefile: \"{dir}/zone\"\n  for-downstream: no\n  \
         for-upstream: yes\n"
    )
}
