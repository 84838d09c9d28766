//! What the tests of the operator's view share: the binary, a server, a target, and transfers.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tunneld_core::status::Phase;
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::pattern::Pattern;
use tunneld_lab::process::{Signal, poll, printed, signal};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, connect, free_addr, read_some};

/// How long anything that has to happen may take on a machine that is busy with other things.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The program that is tested.
pub(crate) fn binary() -> PathBuf {
    Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld"))
}

/// A daemon to be described.
pub(crate) fn builder() -> DaemonBuilder {
    Daemon::builder(&binary())
}

/// A running daemon with this configuration.
pub(crate) fn daemon(config: &str) -> Daemon {
    Daemon::start(&binary(), config)
}

/// `[daemon]` with the socket that the lab wants, and more keys.
pub(crate) fn daemon_table(more: &str) -> String {
    format!("[daemon]\ncontrol_socket = \"{{socket}}\"\n{more}\n")
}

/// A daemon with `metrics_listen` there.
pub(crate) fn serving(at: SocketAddr, more: &str, tunnels: &str) -> Daemon {
    let table = daemon_table(&format!("metrics_listen = \"{at}\"\n{more}"));
    let daemon = builder().config(&(tunnels.to_owned() + &table)).start();
    daemon.wait_for_log("serving metrics on http://", LONG);
    daemon
}

/// What this machine is called.
pub(crate) fn machine() -> String {
    let machine = rustix::system::uname();
    machine.nodename().to_string_lossy().into_owned()
}

/// The command with nothing of the test's surroundings in it.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in [
        "TUNNELD_CONFIG",
        "TUNNELD_SOCKET",
        "TUNNELD_LOG",
        "NO_COLOR",
        "TERM",
    ] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// Runs `tunneld` with these arguments, apart from any daemon that a test has started.
pub(crate) fn tunneld(arguments: &[&str]) -> Output {
    let mut command = command(binary());
    within(command.args(arguments), LONG)
}

/// Runs a command that has to end in time.
pub(crate) fn within(command: &mut Command, timeout: Duration) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let pid = child.id();
    let (sender, done) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match done.recv_timeout(timeout) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            signal(pid, Signal::KILL);
            panic!("{command:?} still runs after {timeout:?}");
        }
    }
}

/// What a command wrote to stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command wrote to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What `check --print` printed, without the places that the values come from.
pub(crate) fn values(printed: &str) -> String {
    let value = |line: &str| line.split("  # ").next().unwrap_or(line).to_owned() + "\n";
    printed.lines().map(value).collect()
}

/// Checks the exit code of a command; the message has what it printed.
#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", printed(output));
}

/// Checks that `text` has each of `parts`.
#[track_caller]
pub(crate) fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// A tunnel to a real server: the table of the file, without its forwards.
pub(crate) fn tunnel_table(name: &str, sshd: &Sshd) -> String {
    format!(
        "[tunnels.{name}]\nhost = {:?}\nport = {}\nuser = {:?}\nidentity_file = {:?}\nknown_hosts = {:?}\n",
        sshd.host(),
        sshd.port(),
        sshd.user(),
        sshd.client_key(),
        sshd.known_hosts(),
    )
}

/// `local_forward` as strings, each from where to where.
pub(crate) fn forwards(pairs: &[(SocketAddr, SocketAddr)]) -> String {
    let mut out = String::from("local_forward = [");
    for (listen, connect) in pairs {
        let _ = write!(out, "\"{listen}:{connect}\", ");
    }
    out + "]\n"
}

/// A tunnel to a real server with its forwards.
pub(crate) fn tunnel(name: &str, sshd: &Sshd, pairs: &[(SocketAddr, SocketAddr)]) -> String {
    tunnel_table(name, sshd) + &forwards(pairs)
}

/// A tunnel whose server is not there; the connection to it is refused at once.
pub(crate) fn dead_tunnel(name: &str, key: &Path) -> String {
    let server = free_addr();
    format!(
        "[tunnels.{name}]\nhost = \"{}\"\nport = {}\nuser = \"nobody\"\nidentity_file = {key:?}\n{}",
        server.ip(),
        server.port(),
        forwards(&[(free_addr(), free_addr())]),
    )
}

/// One real server, one target, and one place to listen on.
pub(crate) struct Bed {
    pub(crate) sshd: Sshd,
    pub(crate) echo: EchoServer,
    pub(crate) listen: SocketAddr,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Bed {
            sshd: Sshd::start(),
            echo: EchoServer::start(),
            listen: free_addr(),
        }
    }

    /// The tunnel `db` of this server, from the place to the target.
    pub(crate) fn db(&self) -> String {
        tunnel("db", &self.sshd, &[(self.listen, self.echo.addr())])
    }

    /// A daemon whose tunnel `db` is up.
    pub(crate) fn up(&self) -> Daemon {
        up(builder().config(&self.db()))
    }
}

/// Starts a daemon, and waits for its tunnel `db`.
pub(crate) fn up(builder: DaemonBuilder) -> Daemon {
    let daemon = builder.start();
    daemon.wait_phase("db", Phase::Up, LONG);
    daemon
}

/// A folder with a key and whatever a test puts there.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// With a private key in `id`, and its other half in `id.pub`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        tunneld_lab::keys::generate(dir.path(), "id");
        Folder(dir)
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The private key.
    pub(crate) fn key(&self) -> PathBuf {
        self.at("id")
    }

    /// Writes a file; `{dir}` stands for the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.at(name);
        let text = text.replace("{dir}", &self.0.path().display().to_string());
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// A transfer through a forward to an [`EchoServer`] that goes on until it is told to finish, and
/// compares every byte that comes back.
pub(crate) struct Transfer {
    stop: Arc<AtomicBool>,
    moved: Arc<AtomicU64>,
    task: JoinHandle<Result<(), String>>,
}

impl Transfer {
    /// Returns once the first bytes have come back.
    pub(crate) fn start(addr: SocketAddr, seed: u64) -> Self {
        let stream = connect(addr);
        let (stop, moved) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counted) = (stop.clone(), moved.clone());
        let task = std::thread::spawn(move || converse(stream, seed, &stopped, &counted));
        let transfer = Transfer { stop, moved, task };
        transfer.wait_for_more();
        transfer
    }

    /// Waits until more has come back than now.
    #[track_caller]
    pub(crate) fn wait_for_more(&self) {
        let before = self.moved.load(Ordering::SeqCst);
        let more = || self.moved.load(Ordering::SeqCst) > before || self.task.is_finished();
        assert!(
            poll(LONG, || more().then_some(())).is_some(),
            "the transfer stands still"
        );
    }

    /// Ends it in good order: closes this side, and wants the other side to close too.
    #[track_caller]
    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Err(problem) = self.task.join().unwrap() {
            panic!("{problem}");
        }
    }

    /// How it ended by itself.
    pub(crate) fn outcome(self) -> Result<(), String> {
        let ended = poll(LONG, || self.task.is_finished().then_some(()));
        assert!(ended.is_some(), "the transfer goes on");
        self.task.join().unwrap()
    }
}

fn converse(
    mut stream: TcpStream,
    seed: u64,
    stop: &AtomicBool,
    moved: &AtomicU64,
) -> Result<(), String> {
    let mut pattern = Pattern::new(u64::MAX, seed);
    let mut sent = vec![0; 16 << 10];
    let mut received = vec![0; sent.len()];
    while !stop.load(Ordering::SeqCst) {
        let at = moved.load(Ordering::SeqCst);
        let broken = |e| format!("the transfer broke after {at} bytes: {e}");
        pattern.read_exact(&mut sent).map_err(broken)?;
        stream.write_all(&sent).map_err(broken)?;
        stream.read_exact(&mut received).map_err(broken)?;
        if sent != received {
            return Err(format!("other bytes came back after {at}"));
        }
        moved.fetch_add(sent.len() as u64, Ordering::SeqCst);
    }
    stream
        .shutdown(Shutdown::Write)
        .map_err(|e| e.to_string())?;
    match read_some(&mut stream, &mut received) {
        Ok(0) => Ok(()),
        other => Err(format!("the transfer did not end: {other:?}")),
    }
}
