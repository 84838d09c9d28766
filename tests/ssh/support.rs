//! What every file here needs: a daemon, a server, a target behind it, and clients.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::fault::Fault;
use tunneld_lab::keys::{KeyFiles, generate};
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, connect, free_addr, is_reset, try_connect};

pub(crate) use crate::table::{Table, text};

/// How long anything may take before the test gives it up.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// How late something may be that has a time: the half second of the promise, and a second for a
/// machine that is busy with other tests.
pub(crate) const LATE: Duration = Duration::from_millis(1500);

/// Delays that do not hold a test up.
pub(crate) const QUICK: &str =
    r#"{ initial = "100ms", max = "500ms", jitter = 0.0, reset_after = "30s" }"#;

/// A delay that no test waits for: what connects does so for another reason.
pub(crate) const NEVER: &str = r#"{ initial = "1h", max = "1h", jitter = 0.0 }"#;

/// The daemon that is tested, with everything in its log.
pub(crate) fn daemon() -> DaemonBuilder {
    Daemon::builder(&Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld"))).log_filter("debug")
}

pub(crate) fn up(daemon: &Daemon, name: &str) -> TunnelStatus {
    daemon.wait_phase(name, Phase::Up, LONG)
}

/// Waits until the tunnel's failure has `part` in its cause, and returns it.
pub(crate) fn fails(daemon: &Daemon, name: &str, part: &str) -> Failure {
    let has = |t: &TunnelStatus| t.failure.as_ref().is_some_and(|f| f.cause.contains(part));
    let status = daemon.wait_for(name, LONG, has);
    status.failure.unwrap()
}

/// Waits for the log to say that a session has ended, and when it did.
pub(crate) fn session_lost(daemon: &Daemon, mark: usize) -> (String, Instant) {
    let line = daemon.wait_for_log_from(mark, "tunnel down", LONG);
    (line, Instant::now())
}

/// Why a tunnel that needs somebody to act could not authenticate.
pub(crate) fn unauthenticated(daemon: &Daemon) -> Failure {
    let status = daemon.wait_phase("t", Phase::Blocked, LONG);
    let failure = status.failure.unwrap();
    let expected = (Stage::Authenticate, Class::Blocked);
    assert_eq!((failure.stage, failure.class), expected, "{failure:?}");
    failure
}

/// Writes a file that nobody else can read, and returns it as TOML has it.
pub(crate) fn secret(dir: &Path, name: &str, contents: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, contents).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    text(path.display())
}

/// A real server with an echo behind it, and a daemon with one tunnel `t`.
pub(crate) struct Rig {
    pub(crate) daemon: Daemon,
    pub(crate) listen: SocketAddr,
    pub(crate) sshd: Sshd,
    pub(crate) echo: EchoServer,
}

impl Rig {
    /// With what `change` makes of the tunnel's table; its first forward leads to the echo.
    pub(crate) fn new(change: impl FnOnce(Table) -> Table) -> Self {
        Self::with(Sshd::start(), change)
    }

    /// The same to this server.
    pub(crate) fn with(sshd: Sshd, change: impl FnOnce(Table) -> Table) -> Self {
        let (echo, listen) = (EchoServer::start(), free_addr());
        let table = Table::to(&sshd).forward(listen, echo.addr());
        let daemon = change(table).up();
        Rig {
            daemon,
            listen,
            sshd,
            echo,
        }
    }

    pub(crate) fn status(&self) -> TunnelStatus {
        self.daemon.tunnel("t")
    }
}

/// A server that can be broken, with an echo behind it and the table of a tunnel `t` to it.
pub(crate) struct Broken {
    pub(crate) server: LabServer,
    pub(crate) table: Table,
    pub(crate) listen: SocketAddr,
    pub(crate) known_hosts: PathBuf,
    pub(crate) key: KeyFiles,
    _echo: EchoServer,
    _dir: TempDir,
}

impl Broken {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = generate(dir.path(), "key");
        let mut options = LabOptions::for_key(&key);
        options.fault = fault;
        let server = LabServer::start(options);
        let known_hosts = dir.path().join("known_hosts");
        fs::write(&known_hosts, server.host_key_line()).unwrap();
        let (echo, listen) = (EchoServer::start(), free_addr());
        let table = Table::new(server.addr(), "anyone", &key.private, &known_hosts);
        Broken {
            table: table.forward(listen, echo.addr()),
            server,
            listen,
            known_hosts,
            key,
            _echo: echo,
            _dir: dir,
        }
    }
}

/// Sends bytes to an echo and compares what comes back.
pub(crate) fn exchange(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    client.read_exact(&mut back).unwrap();
    assert!(back == bytes, "other bytes came back");
}

/// A client of an echo that has had an answer: it is carried.
pub(crate) fn carried(listen: SocketAddr) -> TcpStream {
    let mut client = connect(listen);
    client.set_read_timeout(Some(LONG)).unwrap();
    exchange(&mut client, b"x");
    client
}

/// How a connection ends that brings nothing: reads until then.
pub(crate) fn ending(client: &mut TcpStream) -> std::io::Result<usize> {
    client.set_read_timeout(Some(LONG)).unwrap();
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes)
}

/// A client that is refused gets nothing but a reset, which may come while it still connects.
pub(crate) fn refused(listen: SocketAddr) {
    let error = match try_connect(listen) {
        Ok(mut client) => ending(&mut client).expect_err("an orderly end, not a reset"),
        Err(error) => error,
    };
    assert!(is_reset(&error), "{error}");
}

/// Lets time pass, where time is what the promise is about.
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// A prefix that gives a command its own /etc/hosts, and no other way to resolve a name. The
/// command sees what is written to `hosts` later, as long as it is written in place.
pub(crate) fn with_hosts(hosts: &Path) -> Vec<String> {
    let nsswitch = hosts.with_extension("nsswitch");
    fs::write(&nsswitch, "hosts: files\n").unwrap();
    let script = format!(
        "mount --bind {} /etc/hosts && mount --bind {} /etc/nsswitch.conf && exec \"$0\" \"$@\"",
        hosts.display(),
        nsswitch.display()
    );
    let words = ["unshare", "--mount", "sh", "-c", &script];
    words.map(str::to_owned).to_vec()
}

/// Lets this process, and those that it starts, have this many open files.
pub(crate) fn allow_open_files(wanted: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return;
    }
    assert!(
        now.maximum.is_none_or(|maximum| maximum >= wanted),
        "this test needs {wanted} open files: raise the hard limit (ulimit -H -n {wanted})"
    );
    let limit = Rlimit {
        current: Some(wanted),
        maximum: now.maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}
