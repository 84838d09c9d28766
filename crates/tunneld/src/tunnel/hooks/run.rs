//! One run of a hook's program: its environment, its output, its end.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use tunneld_core::config::Hook;
use tunneld_core::events;
use tunneld_core::name::TunnelName;
use tunneld_ssh::error::os_reason;
use tunneld_ssh::program::{KILL_PATIENCE, Lines, Program, Signal, ending};
use tunneld_ssh::sandbox::hint_of_denial;

use super::GRACE;

/// How many lines of a program's output are logged.
const MAX_LINES: usize = 100;
/// How long a program has to wait for each buffer of what is not logged: one that never ends its
/// output must not take a processor.
const PAUSE: Duration = Duration::from_millis(10);
/// What a program has said in its last moments may come in behind the news of its end.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// The longest that a run takes beyond the program's timeout: until SIGTERM, SIGKILL and what it
/// still had to say are over.
pub(super) const OVERTIME: Duration = GRACE
    .saturating_add(KILL_PATIENCE)
    .saturating_add(LAST_WORDS);
/// What programs need of our environment. The rest is ours: credentials, the service manager's
/// sockets, an agent.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];

/// A program that is run.
pub(super) struct Run<'a> {
    tunnel: &'a TunnelName,
    key: &'static str,
    hook: &'a Hook,
    /// How many lines it has written.
    lines: usize,
}

impl<'a> Run<'a> {
    pub(super) fn new(tunnel: &'a TunnelName, key: &'static str, hook: &'a Hook) -> Self {
        Run {
            tunnel,
            key,
            hook,
            lines: 0,
        }
    }

    /// From the start of the program to its end. Dropped meanwhile, it kills the program.
    pub(super) async fn whole(mut self, variables: &[(&'static str, String)]) {
        let began = Instant::now();
        let (mut program, output) = match start(self.hook, variables) {
            Ok(started) => started,
            Err(e) => return self.not_started(&e),
        };
        let mut output = Lines::new(Some(output));
        let limit = self.hook.timeout;
        let watched = self.watch(&mut program, &mut output);
        match timeout(limit, watched).await {
            Ok(()) => {
                let status = program.reap().await;
                self.rest(&mut output).await;
                self.ended(&status, began);
            }
            Err(_) => {
                program.end(Signal::TERM, GRACE).await;
                self.rest(&mut output).await;
                self.timed_out();
            }
        }
    }

    /// Logs what the program writes until it has ended.
    async fn watch(&mut self, program: &mut Program, output: &mut Lines<Receiver>) {
        loop {
            tokio::select! {
                () = self.hear(output) => {}
                () = program.exited() => return,
            }
        }
    }

    /// Not until the output ends: somebody else may have it open.
    async fn rest(&mut self, output: &mut Lines<Receiver>) {
        let rest = async {
            while !output.are_over() {
                self.hear(output).await;
            }
        };
        let _ = timeout(LAST_WORDS, rest).await;
        let left_out = self.lines.saturating_sub(MAX_LINES);
        if left_out > 0 {
            self.say(&format!("{left_out} more lines are left out"));
        }
    }

    /// Logs the next line; once there were too many, only counts them. Nothing is lost when the
    /// future is dropped.
    async fn hear(&mut self, output: &mut Lines<Receiver>) {
        if self.lines >= MAX_LINES {
            self.lines = self.lines.saturating_add(output.pass().await);
            sleep(PAUSE).await;
            return;
        }
        let line = output.next().await;
        if !line.is_empty() {
            self.lines += 1;
            self.say(&line);
        }
    }

    fn say(&self, line: &str) {
        tracing::info!(
            message_id = events::HOOK_OUTPUT,
            tunnel = %self.tunnel,
            hook = self.key,
            "{}: {line}",
            self.key
        );
    }

    fn ended(&self, status: &io::Result<ExitStatus>, began: Instant) {
        let how = ending(status);
        match status {
            Ok(status) if status.success() => tracing::debug!(
                tunnel = %self.tunnel,
                hook = self.key,
                "{} {how} after {:.1}s",
                self.key,
                began.elapsed().as_secs_f64()
            ),
            _ => self.failed(&how, None),
        }
    }

    /// A shell runs a script without a `#!` line all the same, so that it works for whoever wrote it.
    fn not_started(&self, e: &io::Error) {
        let hint = match Errno::from_io_error(e) {
            Some(Errno::NOEXEC) => Some(
                "the program has no `#!` line, or is for another kind of machine; a script \
                 begins with `#!/bin/sh`"
                    .to_owned(),
            ),
            Some(Errno::ACCESS) => Some(hint_of_denial(
                "the user that tunneld runs as must be able to execute it",
            )),
            _ => None,
        };
        let cause = format!("cannot be started: {}", os_reason(e));
        self.failed(&cause, hint.as_deref());
    }

    fn failed(&self, cause: &str, hint: Option<&str>) {
        tracing::warn!(
            message_id = events::HOOK_FAILED,
            tunnel = %self.tunnel,
            hook = self.key,
            program = self.hook.command.first(),
            cause,
            hint,
            "{} {cause}",
            self.key
        );
    }

    fn timed_out(&self) {
        let limit = humantime::format_duration(self.hook.timeout);
        tracing::warn!(
            message_id = events::HOOK_TIMED_OUT,
            tunnel = %self.tunnel,
            hook = self.key,
            program = self.hook.command.first(),
            "{} did not end within {limit} and was killed",
            self.key
        );
    }
}

/// The daemon stops, and a program did not come to its end, or to its turn.
pub(super) fn too_late(tunnel: &TunnelName) {
    tracing::warn!(
        message_id = events::HOOK_TIMED_OUT,
        tunnel = %tunnel,
        "tunneld stops and does not wait for on_up and on_down any longer"
    );
}

/// A program without a shell, in a group of its own. Returns its output and its error output, which
/// are one.
fn start(hook: &Hook, variables: &[(&'static str, String)]) -> io::Result<(Program, Receiver)> {
    let (name, args) = hook.command.split_first().ok_or(io::ErrorKind::NotFound)?;
    let (reader, writer) = io::pipe()?;
    let reader = Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let inherited = INHERITED.map(|name| (name, std::env::var_os(name)));
    let inherited = inherited.into_iter();
    let mut command = Command::new(name);
    command
        .args(args)
        .env_clear()
        .envs(inherited.filter_map(|(name, value)| Some((name, value?))))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    Ok((Program::spawn(command)?, reader))
}
