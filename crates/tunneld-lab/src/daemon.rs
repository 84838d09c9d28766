//! The real `tunneld`: its log, its status, its commands.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tunneld_core::status::{DaemonStatus, Phase, TunnelStatus};

use crate::notify::{Notification, NotifySocket};
use crate::process::{LineLog, Signal, poll, prefixed, printed, signal, wait_exit};

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the log of a daemon that has ended may take to be read to its end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Variables of the test's own surroundings that must not reach the daemon.
const HIDDEN: [&str; 11] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "JOURNAL_STREAM",
    "SSH_AUTH_SOCK",
    "STATE_DIRECTORY",
    "TUNNELD_CONFIG",
    "TUNNELD_LOG",
];

/// What a [`Daemon`] shall be like.
pub struct DaemonBuilder {
    binary: PathBuf,
    config: String,
    envs: Vec<(String, String)>,
    args: Vec<String>,
    prefix: Vec<String>,
    notify: bool,
    dir: TempDir,
}

impl DaemonBuilder {
    /// The configuration. `{socket}` stands for the control socket and `{dir}` for the daemon's
    /// folder; without a `[daemon]` table it gets one that names the socket.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// A variable of the daemon's environment, and of its commands'.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What is logged, as `TUNNELD_LOG` says it: `debug`.
    #[must_use]
    pub fn log_filter(self, filter: &str) -> Self {
        self.env("TUNNELD_LOG", filter)
    }

    /// More arguments for `tunneld run`.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|a| (*a).to_owned()));
        self
    }

    /// Runs the daemon below another command that replaces itself with it: `ip netns exec A`,
    /// `prlimit --nofile=64`.
    #[must_use]
    pub fn prefix<S: AsRef<str>>(mut self, words: &[S]) -> Self {
        self.prefix = words.iter().map(|w| w.as_ref().to_owned()).collect();
        self
    }

    /// Gives it a `NOTIFY_SOCKET`.
    #[must_use]
    pub fn notify(mut self) -> Self {
        self.notify = true;
        self
    }

    /// The daemon's folder, for files that the configuration names.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the daemon and waits until it answers on its control socket.
    ///
    /// # Panics
    /// When it ends, or does not answer in time; the message has its log.
    pub fn start(self) -> Daemon {
        let mut daemon = self.spawn();
        daemon.wait_for_control_socket();
        daemon
    }

    /// Starts the daemon and does not wait for anything.
    pub fn spawn(self) -> Daemon {
        let at = |name: &str| self.dir.path().join(name);
        let notify = self.notify.then(|| NotifySocket::bind(&at("notify.sock")));
        let mut daemon = Daemon {
            socket: at("control.sock"),
            config: at("tunneld.toml"),
            binary: self.binary,
            envs: self.envs,
            args: self.args,
            prefix: self.prefix,
            notify,
            log: LineLog::default(),
            child: None,
            dir: self.dir,
        };
        daemon.write_config(&self.config);
        daemon.run();
        daemon
    }
}

/// A running `tunneld run`. Dropped, it is killed; when the test fails, its log is printed.
pub struct Daemon {
    binary: PathBuf,
    config: PathBuf,
    socket: PathBuf,
    envs: Vec<(String, String)>,
    args: Vec<String>,
    prefix: Vec<String>,
    notify: Option<NotifySocket>,
    log: LineLog,
    child: Option<Child>,
    dir: TempDir,
}

impl Daemon {
    /// The program to test: `TUNNELD_BIN`, for tests that run apart from the package that builds it.
    ///
    /// # Panics
    /// When the variable is not set.
    pub fn binary() -> PathBuf {
        let set = std::env::var_os("TUNNELD_BIN");
        set.map(PathBuf::from)
            .expect("no program to test: set TUNNELD_BIN to the path of tunneld")
    }

    /// As [`Daemon::binary`], with what to use when the variable is not set:
    /// `env!("CARGO_BIN_EXE_tunneld")`.
    pub fn binary_or(fallback: &str) -> PathBuf {
        std::env::var_os("TUNNELD_BIN").map_or_else(|| fallback.into(), PathBuf::from)
    }

    /// A daemon with this configuration, once it answers.
    pub fn start(binary: &Path, config: &str) -> Daemon {
        Self::builder(binary).config(config).start()
    }

    /// A daemon to be described.
    pub fn builder(binary: &Path) -> DaemonBuilder {
        DaemonBuilder {
            binary: binary.to_owned(),
            config: String::new(),
            envs: Vec::new(),
            args: Vec::new(),
            prefix: Vec::new(),
            notify: false,
            dir: tempfile::Builder::new().prefix("tl-").tempdir().unwrap(),
        }
    }

    /// The daemon's folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its configuration file.
    pub fn config_path(&self) -> &Path {
        &self.config
    }

    /// Its control socket, where the configuration does not name another.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Writes another configuration, in one step; [`DaemonBuilder::config`] says how it is read.
    pub fn write_config(&self, text: &str) {
        let text = complete(text, self.dir.path(), &self.socket);
        let new = self.dir.path().join("tunneld.toml.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.config).unwrap();
    }

    fn command(&self, program: &OsStr, prefix: &[String]) -> Command {
        let mut command = prefixed(prefix, program);
        for name in HIDDEN {
            command.env_remove(name);
        }
        // Else the keys and the known_hosts of whoever runs the test take part in it.
        command.env("HOME", self.dir.path());
        command.envs(self.envs.iter().map(|(n, v)| (n, v)));
        command.stdin(Stdio::null());
        command
    }

    fn run(&mut self) {
        let mut command = self.command(self.binary.as_os_str(), &self.prefix);
        if let Some(notify) = &self.notify {
            command.env("NOTIFY_SOCKET", notify.path());
        }
        let mut child = command
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .args(&self.args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", self.binary.display()));
        self.log.follow(child.stdout.take().unwrap());
        self.log.follow(child.stderr.take().unwrap());
        self.child = Some(child);
    }

    fn wait_for_control_socket(&mut self) {
        let answered = poll(START_TIMEOUT, || {
            if let Some(status) = self.child_mut().try_wait().unwrap() {
                return Some(Err(status));
            }
            UnixStream::connect(&self.socket).ok().map(|_| Ok(()))
        });
        match answered {
            Some(Ok(())) => {}
            Some(Err(status)) => {
                self.log.settle(LAST_WORDS);
                panic!("tunneld ended with {status}:\n{}", self.log_text())
            }
            None => panic!("tunneld does not answer:\n{}", self.log_text()),
        }
    }

    /// Runs it again after it ended: same folder, same file, same log.
    pub fn start_again(&mut self) {
        self.kill9();
        let _ = fs::remove_file(&self.socket);
        self.run();
        self.wait_for_control_socket();
    }

    fn child_mut(&mut self) -> &mut Child {
        self.child.as_mut().expect("tunneld does not run")
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it has ended and this value knows it.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("tunneld does not run").id()
    }

    /// Runs one of its commands, with `--config`, outside of the builder's prefix.
    pub fn cli(&self, args: &[&str]) -> Output {
        let mut command = self.command(self.binary.as_os_str(), &[]);
        // The socket too: a test may have put garbage where the file names it.
        command.args(args).arg("--config").arg(&self.config);
        command.arg("--socket").arg(&self.socket);
        command.output().expect("cannot run tunneld")
    }

    /// Runs what a person types, as hints have it; `tunneld` is its program.
    pub fn typed(&self, line: &str) -> Output {
        let mut command = self.command("sh".as_ref(), &[]);
        let program = format!("tunneld() {{ '{}' \"$@\"; }}; ", self.binary.display());
        command.arg("-c").arg(program + line);
        command.output().expect("cannot run sh")
    }

    /// A command that asks for its file, as hints of the daemon have it.
    pub fn command_line(&self, words: &str) -> String {
        format!("tunneld {words} --config {}", self.config.display())
    }

    /// `tunneld reload`.
    pub fn reload(&self) -> Output {
        self.cli(&["reload"])
    }

    /// `tunneld status --json`.
    ///
    /// # Panics
    /// When it does not print a status; the message has the daemon's log.
    pub fn status(&self) -> DaemonStatus {
        match self.try_status() {
            Ok(status) => status,
            Err(problem) => panic!("no status: {problem}\n{}", self.log_text()),
        }
    }

    /// As [`Daemon::status`], with what was printed instead.
    pub fn try_status(&self) -> Result<DaemonStatus, String> {
        // The exit code says whether everything is up, so it is not asked.
        let output = self.cli(&["status", "--json"]);
        serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("{}: {e}: {}", output.status, printed(&output)))
    }

    /// The status of one tunnel.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn tunnel(&self, name: &str) -> TunnelStatus {
        let status = self.status();
        let mut tunnels = status.tunnels.iter();
        let found = tunnels.find(|t| t.name.as_str() == name).cloned();
        found.unwrap_or_else(|| panic!("no tunnel {name:?} in {status:#?}"))
    }

    /// Asks for the status of a tunnel again and again until `wanted` accepts it.
    ///
    /// # Panics
    /// When that does not happen in time; the message has the last status and the log.
    pub fn wait_for(
        &self,
        name: &str,
        timeout: Duration,
        wanted: impl Fn(&TunnelStatus) -> bool,
    ) -> TunnelStatus {
        self.wait_described(name, "in the wanted state", timeout, wanted)
    }

    /// As [`Daemon::wait_for`], for a phase.
    pub fn wait_phase(&self, name: &str, phase: Phase, timeout: Duration) -> TunnelStatus {
        self.wait_described(name, phase.as_str(), timeout, |t| t.phase == phase)
    }

    fn wait_described(
        &self,
        name: &str,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&TunnelStatus) -> bool,
    ) -> TunnelStatus {
        let mut last = Err("it was never asked".to_owned());
        let found = poll(timeout, || {
            last = self.try_status();
            let tunnels = &last.as_ref().ok()?.tunnels;
            let tunnel = tunnels.iter().find(|t| t.name.as_str() == name)?;
            wanted(tunnel).then(|| tunnel.clone())
        });
        found.unwrap_or_else(|| {
            let log = self.log_text();
            panic!("`{name}` is not {what} after {timeout:?}; the last status was {last:#?}\n{log}")
        })
    }

    /// The lines that it has logged.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// How many lines it has logged: a place to wait from.
    pub fn log_mark(&self) -> usize {
        self.log.mark()
    }

    /// The log as one text.
    pub fn log_text(&self) -> String {
        self.log.text()
    }

    /// Waits for a line with `part` among all of them.
    ///
    /// # Panics
    /// When there is none in time; the message has the log.
    pub fn wait_for_log(&self, part: &str, timeout: Duration) -> String {
        self.wait_for_log_from(0, part, timeout)
    }

    /// As [`Daemon::wait_for_log`], in the lines from `mark` on.
    pub fn wait_for_log_from(&self, mark: usize, part: &str, timeout: Duration) -> String {
        self.log
            .wait_for_line(mark, part, timeout)
            .unwrap_or_else(|| panic!("tunneld did not log {part:?}:\n{}", self.log_text()))
    }

    /// What it sent to `NOTIFY_SOCKET`.
    pub fn notifications(&self) -> Vec<Notification> {
        self.notify().messages()
    }

    /// The socket that it notifies.
    ///
    /// # Panics
    /// When [`DaemonBuilder::notify`] was not called.
    pub fn notify(&self) -> &NotifySocket {
        let notify = self.notify.as_ref();
        notify.expect("this daemon has no NOTIFY_SOCKET: call notify() on its builder")
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        assert!(signal(self.pid(), which), "tunneld has ended");
    }

    /// Waits for it to end by itself; its log is then complete.
    ///
    /// # Panics
    /// When it does not in time; the message has the log.
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let status = wait_exit(self.child_mut(), timeout);
        let status = status.unwrap_or_else(|| panic!("tunneld still runs:\n{}", self.log_text()));
        self.log.settle(LAST_WORDS);
        status
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not end in time; the message has the log.
    pub fn terminate(&mut self, timeout: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(timeout)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What it says about what went wrong may be a moment behind.
            std::thread::sleep(Duration::from_millis(300));
        }
        self.kill9();
        if std::thread::panicking() {
            eprintln!("--- log of tunneld\n{}---", self.log_text());
        }
    }
}

fn complete(text: &str, dir: &Path, socket: &Path) -> String {
    let socket = socket.display().to_string();
    let mut text = text
        .replace("{socket}", &socket)
        .replace("{dir}", &dir.display().to_string());
    let has_daemon = |line: &str| line.starts_with("[daemon]") || line.starts_with("daemon.");
    if !text.lines().any(|line| has_daemon(line.trim_start())) {
        // At the end, so that the test's own lines keep their numbers.
        text.push_str(&format!("\n[daemon]\ncontrol_socket = {socket:?}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with the daemon's outside: what the harness relies on, without the daemon.
    fn stand_in() -> DaemonBuilder {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stand-in.sh");
        Daemon::builder(Path::new(path))
    }

    #[test]
    fn log_signals_commands_and_the_exit_status_reach_the_test() {
        let mut daemon = stand_in()
            .prefix(&["env", "LAB_WORD=there"])
            .log_filter("debug")
            .notify()
            .spawn();
        let long = Duration::from_secs(20);
        let hello = daemon.wait_for_log("hello", long);
        assert_eq!(hello, "hello there debug --config");
        let socket = daemon.notify().path().display();
        daemon.wait_for_log(&format!("notify {socket}"), long);
        let output = daemon.cli(&["echo", "x"]);
        let said = format!(
            "echo x --config {} --socket {}\n",
            daemon.config_path().display(),
            daemon.socket().display()
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout), said);
        assert_eq!(daemon.terminate(long).code(), Some(7));
        assert_eq!(daemon.log().last().unwrap(), "bye");
    }

    #[test]
    #[should_panic(expected = "`db` is not up after")]
    fn a_wait_that_fails_says_what_it_saw() {
        let daemon = stand_in().spawn();
        assert_eq!(daemon.tunnel("db").attempts, 1);
        daemon.wait_phase("db", Phase::Waiting, Duration::from_secs(20));
        daemon.wait_phase("db", Phase::Up, Duration::ZERO);
    }

    #[test]
    #[should_panic(expected = "tunneld ended with exit status: 78:\nbad file")]
    fn a_daemon_that_does_not_start_says_why() {
        stand_in().env("LAB_REFUSE", "yes").start();
    }
}
