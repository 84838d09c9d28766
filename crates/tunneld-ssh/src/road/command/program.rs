//! A child process in a group of its own, of which nothing is left behind.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, ChildStderr, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use crate::forward::Passed;

/// How long a program may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a service manager tells a service about itself (sd_notify(3), sd_watchdog_enabled(3)).
const MANAGER_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// A running program. Dropped, it is killed, with all that it has started and that has stayed in
/// its group.
pub(super) struct Program {
    child: Child,
    /// `None` once it is reaped: the number may be somebody else's then.
    group: Option<Pid>,
    children: Signals,
}

impl Program {
    /// Starts a program with `socket` as its standard input and output. Returns its error output
    /// too.
    pub(super) fn spawn(
        argv: &[String],
        socket: StdStream,
    ) -> io::Result<(Self, Option<ChildStderr>)> {
        let (program, args) = argv.split_first().ok_or(io::ErrorKind::NotFound)?;
        // Before the program: its end must not be missed.
        let children = signal(SignalKind::child())?;
        let mut command = Command::new(program);
        // What the service manager tells us is not for others.
        for name in Passed::VARIABLES.into_iter().chain(MANAGER_VARIABLES) {
            command.env_remove(name);
        }
        let mut child = command
            .args(args)
            .stdin(Stdio::from(OwnedFd::from(socket.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(socket)))
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take();
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let program = Program {
            child,
            group: pid.and_then(Pid::from_raw),
            children,
        };
        Ok((program, stderr))
    }

    /// Returns once the program has ended. It is not reaped yet, so that its group's number stays
    /// its own.
    pub(super) async fn exited(&mut self) {
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
    pub(super) async fn reap(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        self.group = None;
        self.child.wait().await
    }

    /// Ends the program: with SIGHUP, as ssh does, and with SIGKILL if that is not enough.
    pub(super) async fn hang_up(mut self) {
        self.signal(Signal::HUP);
        // One that does not listen is killed.
        let _ = tokio::time::timeout(PATIENCE, self.exited()).await;
        // One that cannot even be killed hangs in the kernel: tokio reaps it when that is over.
        let _ = tokio::time::timeout(PATIENCE, self.reap()).await;
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
