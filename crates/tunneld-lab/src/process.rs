//! Processes: what they print, their children, and signals to them.

use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

pub use crate::line_log::LineLog;

/// How long the harness rests between two looks at something that cannot wake it.
pub const POLL: Duration = Duration::from_millis(8);

/// Asks `look` again and again until it has an answer; `None` when `timeout` has passed.
pub fn poll<T>(timeout: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// A command that runs `argv`, below the words of `prefix` (`ip netns exec A`) where there are any.
pub fn prefixed(prefix: &[String], program: impl AsRef<std::ffi::OsStr>) -> Command {
    match prefix.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

/// Makes sure that a program is there, for one that runs below a prefix: a message about the prefix
/// would not help.
///
/// # Panics
/// When it is not on PATH; the message has the Debian package.
pub fn require(program: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    assert!(
        found,
        "no {program}: install {package} (apt-get install {package})"
    );
}

/// Runs a command that has to succeed, and returns what it printed.
///
/// # Panics
/// When it cannot be run or fails; the message has what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}",
        output.status,
        printed(&output)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command printed, both streams, for a message.
pub fn printed(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Sends a signal; `false` when there is no such process.
pub fn signal(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// The processes that `parent` has started and not yet reaped, the ended ones too.
pub fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| self::parent(*pid) == Some(parent);
    descendants(parent).into_iter().filter(is_child).collect()
}

/// Whether a process has ended; one that nobody has reaped yet has.
pub fn has_ended(pid: u32) -> bool {
    stat(pid, 0).is_none_or(|state| state == "Z")
}

/// The processes whose parents lead up to `root`, without `root` itself.
pub fn descendants(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .expect("cannot read /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&above) = found.get(next) {
        found.extend(parents.iter().filter(|(_, p)| *p == above).map(|(c, _)| *c));
        next += 1;
    }
    found.remove(0);
    found
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid, 1)?.parse().ok()
}

/// A field of /proc/PID/stat behind the name: 0 is the state, 1 the parent (proc_pid_stat(5)).
pub fn stat(pid: u32, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses can hold anything; what follows the last one is plain words.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(field).map(str::to_owned)
}

/// Stops a process and everything below it, so that the tree can no longer grow; the pids.
pub fn freeze_tree(root: u32) -> Vec<u32> {
    let mut stopped = Vec::new();
    loop {
        let mut tree = descendants(root);
        tree.insert(0, root);
        tree.retain(|pid| !stopped.contains(pid));
        if tree.is_empty() {
            return stopped;
        }
        for pid in &tree {
            signal(*pid, Signal::STOP);
        }
        // The signal takes effect later than it is sent: until then a fork can still end.
        for pid in &tree {
            let running = || matches!(stat(*pid, 0).as_deref(), Some("R" | "S" | "D"));
            poll(Duration::from_secs(2), || (!running()).then_some(()));
        }
        stopped.extend(tree);
    }
}

/// Kills a process and everything below it, and leaves no child that was being made meanwhile.
pub fn kill_tree(root: u32) {
    for pid in freeze_tree(root) {
        signal(pid, Signal::KILL);
    }
}

/// How many file descriptors a process has open.
pub fn open_files(pid: u32) -> usize {
    let dir = std::fs::read_dir(format!("/proc/{pid}/fd"));
    dir.map_or(0, Iterator::count)
}

/// Waits for a child to end.
pub fn wait_exit(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    poll(timeout, || {
        child.try_wait().expect("cannot wait for a child")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "no tl-none: install tl-package (apt-get install tl-package)")]
    fn a_missing_program_says_what_to_install() {
        require("sh", "dash");
        require("tl-none", "tl-package");
    }

    #[test]
    fn a_frozen_tree_has_the_grandchildren_too() {
        let mut child = Command::new("sh")
            .args(["-c", "sh -c 'sleep 1000 & wait' & wait"])
            .spawn()
            .unwrap();
        let grown = poll(Duration::from_secs(10), || {
            (descendants(child.id()).len() == 2).then_some(())
        });
        assert!(grown.is_some());
        let tree = freeze_tree(child.id());
        assert_eq!(tree.len(), 3);
        for pid in tree {
            assert!(signal(pid, Signal::KILL));
        }
        child.wait().unwrap();
    }
}
