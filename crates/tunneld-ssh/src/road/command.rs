//! A program whose standard input and output are the way to the server (ProxyCommand of
//! ssh_config(5)).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::process::{ChildStderr, Command};
use tokio_util::task::TaskTracker;
use tunneld_core::config::{ProxyCommand, Target};
use tunneld_core::failure::{Failure, Stage};

use super::{Footing, Under, Upkeep, failure_of, system_failure};
use crate::forward::Passed;
use crate::program::{self, Lines, Program, Signal};
use crate::sandbox::hint_of_denial;
use crate::shared::Shared;
use crate::wire::Wire;

/// What the program has said in its last moments, and what the server has said through it, may
/// come in behind the news of its end.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// How long a program has to pass on what it still has, before it is told to end.
const FAREWELL: Duration = Duration::from_millis(250);
/// How long a program may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a service manager tells a service about itself (sd_notify(3), sd_watchdog_enabled(3)).
const MANAGER_VARIABLES: [&str; 4] = ["NOTIFY_SOCKET", "FDSTORE", "WATCHDOG_PID", "WATCHDOG_USEC"];
/// The statuses by which a shell says that it cannot run a program (POSIX, Shell Command Language
/// 2.8.2).
const SHELL_CANNOT: [i32; 2] = [126, 127];

/// Starts the program of `target`; the log names `tunnel`. It belongs to a task among `tasks` that
/// ends it with the road.
pub(super) fn start(
    command: &ProxyCommand,
    target: &Target,
    tunnel: Option<&str>,
    tasks: &TaskTracker,
    shared: &Arc<Shared>,
) -> Result<(Wire, Under), Failure> {
    shared.set_stage(Stage::Connect);
    let argv = argv(command, target)?;
    let (program, stderr, ours, held) = spawn(&argv).map_err(|e| not_started(&argv, &e))?;
    let (under, upkeep) = Under::kept_up(shared, Footing::Program);
    let log = Log {
        tunnel: tunnel.map(str::to_owned),
        host: target.host.clone(),
        complaints: Lines::new(stderr),
        last: None,
    };
    let by_shell = matches!(command, ProxyCommand::Shell(_));
    tasks.spawn(attend(program, log, held, upkeep, by_shell));
    Ok((ours.into(), under))
}

/// A socket pair of which one end is the program's, and a second handle to that end: the session
/// sees the end of the program only when that is dropped too.
fn spawn(argv: &[String]) -> io::Result<(Program, Option<ChildStderr>, UnixStream, StdStream)> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    let ours = UnixStream::from_std(ours)?;
    let held = theirs.try_clone()?;
    let (name, args) = argv.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(name);
    // What the service manager tells us is not for others.
    for name in Passed::VARIABLES.into_iter().chain(MANAGER_VARIABLES) {
        command.env_remove(name);
    }
    command
        .args(args)
        .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped());
    let mut program = Program::spawn(command)?;
    let stderr = program.stderr();
    Ok((program, stderr, ours, held))
}

fn argv(command: &ProxyCommand, target: &Target) -> Result<Vec<String>, Failure> {
    match command {
        ProxyCommand::Argv(argv) => Ok(argv.iter().map(|arg| expand(arg, target)).collect()),
        // A name of the file must not become a command; hosts are checked when they are read.
        ProxyCommand::Shell(line) if line.contains("%r") && !target.user.chars().all(is_plain) => {
            let user = &target.user;
            let cause = format!("proxy command: the user `{user}` has characters for the shell");
            Err(Failure::blocked(Stage::Connect, cause)
                .with_hint("write `proxy_command` as an array: that needs no shell"))
        }
        ProxyCommand::Shell(line) => {
            let line = format!("exec {}", expand(line, target));
            Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), line])
        }
    }
}

/// Means nothing to a shell.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "_-.@+%/=:,".contains(c)
}

/// Puts in what the tokens stand for: `%h` and `%n` the host, `%p` the port, `%r` the user, `%%` a
/// percent sign.
fn expand(text: &str, target: &Target) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => match chars.next() {
                Some('h' | 'n') => out.push_str(&target.host),
                Some('p') => out.push_str(&target.port.to_string()),
                Some('r') => out.push_str(&target.user),
                Some('%') | None => out.push('%'),
                Some(other) => out.extend(['%', other]),
            },
            c => out.push(c),
        }
    }
    out
}

fn not_started(argv: &[String], e: &io::Error) -> Failure {
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let failure = failure_of(&format!("proxy command: {program}"), system_failure(e));
    let hint = "check `proxy_command`: the program cannot be run";
    match Errno::from_io_error(e) {
        // What the system is short of it may have again.
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::TXTBSY) => failure,
        Some(Errno::ACCESS) => {
            Failure::blocked(failure.stage, failure.cause).with_hint(hint_of_denial(hint))
        }
        _ => Failure::blocked(failure.stage, failure.cause).with_hint(hint),
    }
}

/// What a program complains of.
struct Log {
    tunnel: Option<String>,
    host: String,
    complaints: Lines<ChildStderr>,
    last: Option<String>,
}

impl Log {
    fn note(&mut self, line: String) {
        if !line.is_empty() {
            let tunnel = self.tunnel.as_deref();
            tracing::debug!(tunnel, host = self.host, "proxy command: {line}");
            self.last = Some(line);
        }
    }

    async fn note_rest(&mut self) {
        while !self.complaints.are_over() {
            let line = self.complaints.next().await;
            self.note(line);
        }
    }
}

/// Stays with the program until it has ended, or ends it with the road.
async fn attend(
    mut program: Program,
    mut log: Log,
    held: StdStream,
    upkeep: Upkeep,
    by_shell: bool,
) {
    let status = loop {
        tokio::select! {
            line = log.complaints.next() => log.note(line),
            () = program.exited() => break program.reap().await,
            // As ssh does.
            () = upkeep.dropped.cancelled() => {
                // Its input has ended, and the goodbye to the server may still be with it.
                let _ = tokio::time::timeout(FAREWELL, program.exited()).await;
                return program.end(Signal::HUP, PATIENCE).await;
            }
        }
    };
    // Not until its error output ends: somebody else may have it open.
    let _ = tokio::time::timeout(LAST_WORDS, log.note_rest()).await;
    let mut ended = upkeep.breakage.shared.ended();
    let said = ended.wait_for(Option::is_some);
    // The server may have said goodbye through the program, and that is the better reason.
    let _ = tokio::time::timeout(LAST_WORDS, said).await;
    let stage = upkeep.breakage.stage();
    let cannot_run = by_shell && stage == Stage::Connect && is_cannot(&status);
    let cause = exited(status, log.last);
    upkeep.breakage.tell(match cannot_run {
        true => Failure::blocked(stage, cause)
            .with_hint("check `proxy_command`: the shell cannot run the program"),
        false => Failure::transient(stage, cause),
    });
    drop(held);
}

fn is_cannot(status: &io::Result<ExitStatus>) -> bool {
    let code = status.as_ref().ok().and_then(ExitStatus::code);
    code.is_some_and(|code| SHELL_CANNOT.contains(&code))
}

/// How the program ended, and its last complaint.
fn exited(status: io::Result<ExitStatus>, last: Option<String>) -> String {
    let how = format!("proxy command {}", program::ending(&status));
    match last {
        Some(line) => format!("{how}: {line}"),
        None => how,
    }
}

#[cfg(test)]
mod tests;
