//! A child process in a group of its own, of which nothing is left behind.

mod lines;
mod orphans;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, ChildStderr, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use orphans::Ours;

pub use lines::Lines;
pub use orphans::reap_orphans;
pub use rustix::process::Signal;

/// How long a program that was killed may take to be gone.
pub const KILL_PATIENCE: Duration = Duration::from_secs(1);

/// A running program. Dropped, it is killed, with all that it has started and that has stayed in
/// its group.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// `None` once it is reaped: the number may be somebody else's then.
    group: Option<Pid>,
    children: Signals,
    /// Below `child`: the child is waited for as long as there is one.
    _ours: Ours,
}

impl Program {
    /// Starts a program in a process group of its own.
    ///
    /// # Errors
    ///
    /// As spawn(): it does not exist, it may not be executed, the system is out of something.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        // Before the program: its end must not be missed.
        let children = signal(SignalKind::child())?;
        let (child, ours) = Ours::spawn(command.process_group(0).kill_on_drop(true))?;
        Ok(Program {
            child,
            group: ours.pid().and_then(Pid::from_raw),
            children,
            _ours: ours,
        })
    }

    /// Its error output, once, if that is a pipe.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Returns once the program has ended. It is not reaped yet, so that its group's number stays
    /// its own.
    pub async fn exited(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while let Some(pid) = self.group {
            // An error says that there is no such child.
            if !matches!(waitid(WaitId::Pid(pid), options), Ok(None)) {
                return;
            }
            if self.children.recv().await.is_none() {
                return std::future::pending().await;
            }
        }
    }

    /// Ends what a program that has ended has left behind, and returns its status.
    ///
    /// # Errors
    ///
    /// As wait(): the status is not known.
    pub async fn reap(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        self.group = None;
        self.child.wait().await
    }

    /// Ends the program: with `signal`, and with SIGKILL if that is not enough within `patience`.
    pub async fn end(mut self, signal: Signal, patience: Duration) {
        self.signal(signal);
        // One that does not listen is killed.
        let _ = tokio::time::timeout(patience, self.exited()).await;
        // One that cannot even be killed hangs in the kernel: tokio reaps it when that is over.
        let _ = tokio::time::timeout(KILL_PATIENCE, self.reap()).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // A group that is gone needs no signal.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// How a program ended: `exited with status 1`.
pub fn ending(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with status {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        Err(_) => "ended".to_owned(),
    }
}
