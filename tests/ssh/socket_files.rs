//! The file of a local forward's unix socket: how it comes, what it may replace, and how it goes.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, free_addr};
use tunneld_lab::unix::UnixServer;

use crate::gateway::reload;
use crate::places::{Folder, Place};
use crate::support::{LONG, Table, carried, daemon, exchange, up};

/// A server, an echo, and a folder with the file that a test is about.
struct Rig {
    sshd: Sshd,
    echo: EchoServer,
    folder: Folder,
    listen: Place,
}

impl Rig {
    fn new() -> Self {
        let folder = Folder::new();
        Rig {
            sshd: Sshd::start(),
            echo: EchoServer::start(),
            listen: folder.socket("web.sock"),
            folder,
        }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.at("web.sock")
    }

    /// A tunnel that listens on the file, with more keys for its forward.
    fn table(&self, more: &str) -> Table {
        Table::to(&self.sshd).forward_with(&self.listen, self.echo.addr(), more)
    }

    fn works(&self) {
        self.listen.carries(10_000, 1);
    }
}

/// The mode, the user and the group of a file, if it is there.
fn seen(path: &Path) -> Option<(u32, u32, u32)> {
    let meta = fs::metadata(path).ok()?;
    let mode = meta.permissions().mode() & 0o7777;
    Some((mode, meta.uid(), meta.gid()))
}

/// Waits until a file is like this.
#[track_caller]
fn becomes(path: &Path, wanted: (u32, u32, u32)) {
    let there = poll(LONG, || (seen(path) == Some(wanted)).then_some(()));
    assert!(there.is_some(), "{:?}, not {wanted:?}", seen(path));
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// Waits until the tunnel is degraded for its forward, and why.
fn degraded(daemon: &Daemon) -> Failure {
    let status = daemon.wait_phase("t", Phase::Degraded, LONG);
    let failure = status.failure.unwrap();
    assert_eq!(failure.stage, Stage::Forward, "{failure:?}");
    failure
}

fn goes(path: &Path) {
    let gone = poll(LONG, || fs::symlink_metadata(path).is_err().then_some(()));
    assert!(gone.is_some(), "{} is still there", path.display());
}

/// What is in the folder.
fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn nobody_else_gets_in_unless_the_file_says_so() {
    // 0600 and our own user by default, whatever the umask is; nothing else is left in the folder.
    let rig = Rig::new();
    let loose = ["sh", "-c", "umask 0; exec \"$0\" \"$@\""];
    let daemon = daemon()
        .config(&rig.table("").toml())
        .prefix(&loose)
        .start();
    up(&daemon, "t");
    assert_eq!(seen(&rig.file()), Some((0o600, 0, 0)));
    assert!(fs::metadata(rig.file()).unwrap().file_type().is_socket());
    assert_eq!(names(&rig.folder), ["web.sock"]);
    rig.works();
}

#[test]
fn socket_mode_and_socket_owner_are_in_force() {
    // By name and by number; a user alone, a group alone.
    let rig = Rig::new();
    let owner = |value: &str| format!("socket_mode = \"0660\", socket_owner = \"{value}\"");
    let daemon = rig.table(&owner("nobody:12345")).up();
    assert_eq!(seen(&rig.file()), Some((0o660, uid_of("nobody"), 12345)));
    rig.works();
    for (value, user, group) in [("54321", 54321, 0), (":12345", 0, 12345)] {
        reload(&daemon, &rig.table(&owner(value)));
        becomes(&rig.file(), (0o660, user, group));
        up(&daemon, "t");
        rig.works();
    }
}

/// The number of a user.
fn uid_of(user: &str) -> u32 {
    let mut id = std::process::Command::new("id");
    tunneld_lab::process::run(id.args(["-u", user]))
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn an_owner_that_does_not_exist_is_a_failure_that_waiting_does_not_mend() {
    // Blocked, with the name; no socket is there for anybody.
    let rig = Rig::new();
    let daemon = rig.table("socket_owner = \"no-such-user\"").start();
    let failure = degraded(&daemon);
    assert_eq!(failure.class, Class::Blocked);
    assert_eq!(
        failure.cause,
        format!(
            "cannot listen on {}: no such user: no-such-user",
            rig.listen
        )
    );
    assert!(names(&rig.folder).is_empty());
}

#[test]
fn a_reload_that_changes_the_mode_keeps_connections() {
    // The file is another one with the new mode; who is connected stays so.
    let rig = Rig::new();
    let daemon = rig.table("").up();
    let mut client = rig.listen.connect();
    exchange(&mut client, b"before");
    reload(&daemon, &rig.table("socket_mode = \"0666\""));
    becomes(&rig.file(), (0o666, 0, 0));
    exchange(&mut client, b"after");
    up(&daemon, "t");
    rig.works();
    assert_eq!(daemon.tunnel("t").sessions, 1);
}

#[test]
fn the_file_goes_with_its_listener() {
    // On stop, when a reload takes the forward out, and when the daemon ends; a start brings it
    // back.
    let rig = Rig::new();
    let other = free_addr();
    let with = rig.table("").forward(other, rig.echo.addr());
    let without = Table::to(&rig.sshd).forward(other, rig.echo.addr());
    let mut daemon = with.up();
    let command = |words: &[&str]| assert!(daemon.cli(words).status.success());
    command(&["stop", "t"]);
    assert!(!rig.file().exists(), "stopped, and the file is there");
    command(&["start", "t"]);
    up(&daemon, "t");
    rig.works();
    daemon.write_config(&without.toml());
    command(&["reload"]);
    goes(&rig.file());
    daemon.write_config(&with.toml());
    command(&["reload"]);
    daemon.wait_for("t", LONG, |t| t.forwards.len() == 2 && t.phase == Phase::Up);
    rig.works();
    assert!(daemon.terminate(LONG).success());
    assert!(names(&rig.folder).is_empty(), "{:?}", names(&rig.folder));
}

#[test]
fn a_file_that_a_killed_daemon_has_left_is_replaced() {
    // kill -9, and the next start listens on the same path without anybody's help.
    let rig = Rig::new();
    let mut daemon = rig.table("").up();
    daemon.kill9();
    let left = inode(&rig.file());
    daemon.start_again();
    up(&daemon, "t");
    assert_ne!(inode(&rig.file()), left);
    rig.works();
    assert_eq!(names(&rig.folder), ["web.sock"]);
}

#[test]
fn a_socket_that_anybody_has_left_is_replaced() {
    // Nobody listens on it: it is of no use to anybody.
    let rig = Rig::new();
    drop(UnixListener::bind(rig.file()).unwrap());
    let _daemon = rig.table("").up();
    rig.works();
}

#[test]
fn a_socket_that_another_process_listens_on_is_left_alone_until_it_has_gone() {
    // Told with the holder; the file is the same, and serves its owner; other forwards work.
    let rig = Rig::new();
    let other = free_addr();
    let holder = UnixServer::echo(&rig.file());
    let before = inode(&rig.file());
    let table = rig.table("").forward(other, rig.echo.addr());
    let daemon = table.start();
    let failure = degraded(&daemon);
    let start = format!(
        "cannot listen on {}: something listens there already: ",
        rig.listen
    );
    let end = format!("(pid {})", std::process::id());
    let cause = &failure.cause;
    assert!(
        cause.starts_with(&start) && cause.ends_with(&end),
        "{cause}"
    );
    assert_eq!(failure.class, Class::Transient);
    drop(carried(other));
    assert_eq!(inode(&rig.file()), before);
    rig.works();
    assert_eq!(daemon.tunnel("t").forwards[0].connections.total, 0);
    assert!(holder.accepted() > 1, "the holder is not served");
    drop(holder);
    up(&daemon, "t");
    rig.works();
    assert_eq!(daemon.tunnel("t").forwards[0].connections.total, 1);
}

#[test]
fn a_socket_of_another_tunnel_is_left_alone_until_it_has_gone() {
    // Two tunnels of one daemon that come to one file by two paths; stopping one is enough.
    let rig = Rig::new();
    let alias = Folder::new();
    symlink(rig.folder.path(), alias.at("alias")).unwrap();
    let path = alias.at("alias").join("web.sock");
    let second = Table::to(&rig.sshd).forward(path.display(), rig.echo.addr());
    let text = rig.table("").toml() + &second.named("u").toml();
    let daemon = daemon().config(&text).start();
    let first = daemon.wait_for("t", LONG, |t| {
        matches!(t.phase, Phase::Up | Phase::Degraded)
    });
    let (winner, loser) = match first.phase {
        Phase::Up => ("t", "u"),
        _ => ("u", "t"),
    };
    up(&daemon, winner);
    let before = inode(&rig.file());
    let status = daemon.wait_phase(loser, Phase::Degraded, LONG);
    let cause = status.failure.unwrap().cause;
    let holder = format!("(pid {})", daemon.pid());
    assert!(
        cause.contains("something listens there already") && cause.ends_with(&holder),
        "{cause}"
    );
    assert_eq!(inode(&rig.file()), before);
    rig.works();
    assert!(daemon.cli(&["stop", winner]).status.success());
    daemon.signal(Signal::USR1);
    up(&daemon, loser);
    rig.works();
}

#[test]
fn what_is_not_a_socket_is_never_touched() {
    // A file, a folder, a link to a socket that nobody listens on: each stays as it is.
    let rig = Rig::new();
    let stale = rig.folder.at("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let makes: [fn(&Path, &Path); 3] = [
        |path, _| fs::write(path, "precious").unwrap(),
        |path, _| fs::create_dir(path).unwrap(),
        |path, stale| symlink(stale, path).unwrap(),
    ];
    let daemon = daemon().config(&rig.table("").toml()).start();
    up(&daemon, "t");
    for make in makes {
        assert!(daemon.cli(&["stop", "t"]).status.success());
        make(&rig.file(), &stale);
        let before = inode(&rig.file());
        assert!(daemon.cli(&["start", "t"]).status.success());
        let failure = degraded(&daemon);
        assert_eq!(
            failure.cause,
            format!(
                "cannot listen on {}: the file there is not a socket",
                rig.listen
            )
        );
        assert!(failure.hint.is_some());
        assert_eq!(inode(&rig.file()), before);
        let meta = fs::symlink_metadata(rig.file()).unwrap();
        if meta.is_file() {
            assert_eq!(fs::read(rig.file()).unwrap(), b"precious");
        }
        match meta.is_dir() {
            true => fs::remove_dir(rig.file()).unwrap(),
            false => fs::remove_file(rig.file()).unwrap(),
        }
        daemon.signal(Signal::USR1);
        up(&daemon, "t");
        rig.works();
    }
}

#[test]
fn a_file_that_somebody_has_put_there_meanwhile_is_not_removed() {
    // The socket was taken away while it listened: what has its name now is not ours.
    let rig = Rig::new();
    let daemon = rig.table("").up();
    fs::remove_file(rig.file()).unwrap();
    let other = UnixServer::echo(&rig.file());
    let before = inode(&rig.file());
    assert!(daemon.cli(&["stop", "t"]).status.success());
    assert_eq!(inode(&rig.file()), before);
    rig.works();
    assert_eq!(other.accepted(), 1);
}

#[test]
fn a_file_that_somebody_has_removed_is_made_anew() {
    // At once where somebody asks for it, by a signal or by a restart of the tunnel; and said.
    let rig = Rig::new();
    let daemon = rig.table("").up();
    let mut carried = rig.listen.connect();
    exchange(&mut carried, b"x");
    let signal = || daemon.signal(Signal::USR1);
    let restart = || assert!(daemon.cli(&["restart", "t"]).status.success());
    for ask in [&signal as &dyn Fn(), &restart] {
        fs::remove_file(rig.file()).unwrap();
        let mark = daemon.log_mark();
        ask();
        let said = format!("cannot listen on {}: its file is gone", rig.listen);
        daemon.wait_for_log_from(mark, &said, LONG);
        daemon.wait_for_log_from(mark, &format!("listening on {}", rig.listen), LONG);
        // What was carried is carried on.
        exchange(&mut carried, b"x");
        up(&daemon, "t");
        rig.works();
    }
}

#[test]
fn a_folder_that_is_missing_is_told_and_the_forward_comes_with_it() {
    // The cause names the folder, the hint says what to do, and nothing has to be restarted.
    let rig = Rig::new();
    let folder = rig.folder.at("later");
    let listen = Place::Unix(folder.join("web.sock"));
    let daemon = Table::to(&rig.sshd)
        .forward(&listen, rig.echo.addr())
        .start();
    let failure = degraded(&daemon);
    assert_eq!(
        failure.cause,
        format!(
            "cannot listen on {listen}: no such folder: {}",
            folder.display()
        )
    );
    let hint = failure.hint.unwrap();
    assert!(hint.contains("create ") && hint.contains("RuntimeDirectory="));
    fs::create_dir(&folder).unwrap();
    up(&daemon, "t");
    listen.carries(10_000, 1);
    let status = daemon.tunnel("t");
    assert_eq!(
        (status.sessions, status.forwards[0].failure.clone()),
        (1, None)
    );
}
