//! A private, real systemd-journald. Needs root and systemd's binaries, not a running systemd.

use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{LineLog, run, wait_exit};

const WITH_JOURNALD: &str = include_str!("../../../tests/lib/with-journald.sh");

const TIMEOUT: Duration = Duration::from_secs(20);

/// A journald that only those see who are started below [`Journal::exec_prefix`]. Dropped, it ends.
pub struct Journal {
    child: Child,
    stdin: Option<ChildStdin>,
    /// The process whose mount namespace has the journal.
    inside: u32,
    /// Has the script for as long as it runs.
    _dir: TempDir,
}

impl Journal {
    /// Starts it.
    ///
    /// # Panics
    /// Without root, or without systemd-journald.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        let script = write_script(&dir);
        // The shell ends when its stdin does: also when this process is killed.
        let mut child = Command::new("bash")
            .arg(script)
            .args(["sh", "-c", "echo inside $$; read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cannot run a shell script");
        let log = LineLog::default();
        log.follow(child.stdout.take().unwrap());
        log.follow(child.stderr.take().unwrap());
        let inside = log
            .wait_for_line(0, "inside ", TIMEOUT)
            .and_then(|line| line.strip_prefix("inside ")?.parse().ok());
        let Some(inside) = inside else {
            let _ = child.kill();
            panic!("a Journal needs root and systemd-journald: {}", log.text());
        };
        Journal {
            stdin: child.stdin.take(),
            child,
            inside,
            _dir: dir,
        }
    }

    /// What to put in front of a command to run it with this journal.
    pub fn exec_prefix(&self) -> Vec<String> {
        let wd = std::env::current_dir().unwrap();
        let words = [
            "nsenter".to_owned(),
            format!("--mount=/proc/{}/ns/mnt", self.inside),
            format!("--wd={}", wd.display()),
        ];
        words.to_vec()
    }

    /// Runs `journalctl` with these arguments after everything sent so far has arrived.
    pub fn journalctl(&self, arguments: &[&str]) -> String {
        let prefix = self.exec_prefix();
        run(crate::process::prefixed(&prefix, "journalctl").args(["--sync", "--quiet"]));
        let mut command = crate::process::prefixed(&prefix, "journalctl");
        run(command.args(["--quiet", "--no-pager"]).args(arguments))
    }

    /// The entries that match (`TUNNEL=db`), oldest first.
    pub fn entries(&self, matches: &[&str]) -> Vec<Value> {
        let mut arguments = vec!["-o", "json", "--all"];
        arguments.extend(matches);
        parse_json_lines(&self.journalctl(&arguments))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if wait_exit(&mut self.child, TIMEOUT).is_none() {
            let _ = self.child.kill();
        }
    }
}

/// Runs a shell script below a private journald, for scripts that call journalctl themselves.
pub fn with_journald(shell: &str) -> Output {
    let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
    let mut command = Command::new("bash");
    command.arg(write_script(&dir)).args(["sh", "-c", shell]);
    let output = command.output();
    output.expect("cannot run a shell script")
}

/// The objects of `journalctl -o json`, or of any text with one on each line.
///
/// # Panics
/// At a line that is not JSON.
pub fn parse_json_lines(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().filter(|l| !l.is_empty()).map(parse).collect()
}

fn write_script(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("with-journald.sh");
    std::fs::write(&path, WITH_JOURNALD).unwrap();
    path
}
