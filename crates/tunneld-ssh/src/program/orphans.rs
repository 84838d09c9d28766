//! Processes that nobody waits for, where we are the first process of a container.
//!
//! A process whose parent has ended is given to the first one of its PID namespace
//! (pid_namespaces(7)). What a program of ours has left behind stays a zombie for as long as the
//! container runs, unless that one waits for it. Our own children are left to who has started them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// How long until it is looked again where a child of our own, which somebody else is about to wait
/// for, hides those behind it.
const AGAIN: Duration = Duration::from_secs(1);

/// The children that are waited for by who has started them. A process has one set of children,
/// whoever asks.
static OURS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn ours() -> MutexGuard<'static, BTreeSet<i32>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child that is ours to wait for, until this is dropped.
#[derive(Debug)]
pub(super) struct Ours(Option<i32>);

impl Ours {
    /// Starts a child. Nobody can take it for a stranger before it is known.
    pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, Ours)> {
        let mut ours = ours();
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        ours.extend(pid);
        Ok((child, Ours(pid)))
    }

    /// Its number.
    pub(super) fn pid(&self) -> Option<i32> {
        self.0
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            ours().remove(&pid);
        }
    }
}

/// Waits for every process that we have been given, for as long as it is polled. Only for the first
/// process of a PID namespace: nobody else is given any.
///
/// # Errors
///
/// As sigaction(): the end of children cannot be followed.
pub async fn reap_orphans() -> io::Result<Infallible> {
    let mut ended = signal(SignalKind::child())?;
    loop {
        if reap() {
            // The end of what hides the others has been told already.
            let _ = tokio::time::timeout(AGAIN, ended.recv()).await;
        } else {
            ended.recv().await;
        }
    }
}

/// Reaps those that have ended. Returns whether it has to be looked again for the rest: a child of our
/// own stands before them, or one is being started, which may take as long as its program's disk.
fn reap() -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let ours = match OURS.try_lock() {
        Ok(ours) => ours,
        Err(TryLockError::Poisoned(e)) => e.into_inner(),
        Err(TryLockError::WouldBlock) => return true,
    };
    // An error says that there is no child at all.
    while let Some(pid) = waitid(Id::All, look).ok().and_then(|status| status.pid()) {
        if ours.contains(&pid.as_raw()) {
            return true;
        }
        // It has ended, and is nobody else's: this does not wait. If somebody has waited for it
        // meanwhile all the same, there are others behind it.
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(_) | Err(Errno::ECHILD) => {}
            Err(_) => return false,
        }
    }
    false
}
