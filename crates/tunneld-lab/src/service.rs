//! A server process that belongs to a value.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process::{LineLog, Signal, kill_tree, signal, wait_exit};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server. Dropped, it is killed with what it started.
pub(crate) struct Service {
    child: Child,
    log: LineLog,
}

impl Service {
    /// Starts it, and returns once it has printed a line with `ready`.
    ///
    /// # Panics
    /// When it does not in time; the message has what it printed.
    pub(crate) fn start(command: &mut Command, ready: &str) -> Self {
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
        let log = LineLog::default();
        log.follow(child.stdout.take().unwrap());
        log.follow(child.stderr.take().unwrap());
        let mut service = Service { child, log };
        service.wait_until(ready);
        service
    }

    /// One that has ended will not print the line, and is not waited for.
    fn wait_until(&mut self, ready: &str) {
        let child = &mut self.child;
        let log = &self.log;
        let seen = crate::process::poll(START_TIMEOUT, || {
            let ended = child.try_wait().expect("cannot wait for a child");
            let seen = log.count(ready) > 0;
            (seen || ended.is_some()).then_some(seen)
        });
        assert!(seen == Some(true), "not ready:\n{}", log.text());
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> &LineLog {
        &self.log
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(&mut self, how: Signal) {
        signal(self.child.id(), how);
        wait_exit(&mut self.child, STOP_TIMEOUT);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            kill_tree(self.child.id());
            let _ = self.child.wait();
        }
    }
}
