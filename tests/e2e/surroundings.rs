//! A machine on which something is missing: what is said, and what goes on all the same.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::process::Stdio;

use rustix::fs::OFlags;
use tunneld_core::failure::Class;
use tunneld_core::status::Phase;
use tunneld_lab::process::Signal;
use tunneld_lab::target::echoes;

use crate::support::{Bed, Folder, LONG, assert_exit, assert_has, binary, builder, command};
use crate::support::{daemon_table, dead_tunnel, stderr, tunneld, up, within};

#[test]
fn a_start_without_a_file_that_can_be_used_says_why_and_exits_78() {
    // Missing, empty, a folder, and not for this user: with that code systemd does not try again.
    let folder = Folder::new();
    let empty = folder.write("empty.toml", "# nothing yet\n");
    let missing = folder.at("missing.toml").display().to_string();
    let is_folder = folder.at("").display().to_string();
    for (file, said) in [
        (&empty, "is empty"),
        (&missing, "no such file or directory"),
        (&is_folder, "is a directory"),
    ] {
        let output = tunneld(&["run", "--config", file]);
        assert_exit(&output, 78);
        let said_all = stderr(&output);
        assert_has(&said_all, &[said, file.as_str()]);
        assert!(said_all.starts_with("error: "), "{said_all}");
    }
    let hidden = folder.write("hidden.toml", &dead_tunnel("db", &folder.key()));
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o000)).unwrap();
    // As any other user: root may read what nobody may.
    let mut as_other = command("setpriv");
    as_other.arg("--bounding-set=-dac_override,-dac_read_search");
    as_other.arg(binary()).args(["run", "--config", &hidden]);
    let output = within(&mut as_other, LONG);
    assert_exit(&output, 78);
    assert_has(&stderr(&output), &[&hidden, "permission denied"]);
}

#[test]
fn a_key_that_cannot_be_read_blocks_its_tunnel_and_no_other() {
    // It is said with the way out; the other tunnel is up, and so is this one once that was gone.
    let bed = Bed::new();
    let folder = Folder::new();
    let key = folder.at("copy");
    fs::copy(bed.sshd.client_key(), &key).unwrap();
    let mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let own = format!("{:?}", bed.sshd.client_key());
    let other = Bed::new();
    let second = bed
        .db()
        .replace("[tunnels.db]", "[tunnels.locked]")
        .replace(&own, &format!("{key:?}"))
        .replace(&bed.listen.to_string(), &other.listen.to_string());
    let daemon = up(builder().config(&(bed.db() + &second)));
    let blocked = daemon.wait_phase("locked", Phase::Blocked, LONG);
    let failure = blocked.failure.unwrap();
    assert_eq!(failure.class, Class::Blocked);
    assert_has(&failure.cause, &[&key.display().to_string(), "mode 0644"]);
    echoes(bed.listen).unwrap();
    mode(0o600);
    daemon.signal(Signal::USR1);
    daemon.wait_phase("locked", Phase::Up, LONG);
}

#[test]
fn a_read_only_root_takes_nothing_but_the_history() {
    // The control socket is in a folder that can be written, as /run is; it is said once.
    let bed = Bed::new();
    let state = "state_directory = \"/var/lib/tunneld-of-a-test\"";
    let text = bed.db() + &daemon_table(state);
    let builder = builder().config(&text);
    let script = format!(
        "mount --bind {at} {at} && mount -o remount,bind,ro / && exec \"$0\" \"$@\"",
        at = builder.dir().display()
    );
    let prefix = ["unshare", "--mount", "sh", "-c", &script];
    let mut daemon = up(builder.prefix(&prefix));
    echoes(bed.listen).unwrap();
    let line = daemon.wait_for_log("the history", LONG);
    assert_has(
        &line,
        &["warn", "cannot be kept in", "read-only file system"],
    );
    assert_exit(&daemon.reload(), 0);
    assert_eq!(daemon.terminate(LONG).code(), Some(0));
}

/// A pipe with a name in a test's folder, of which both ends are here.
struct Fifo {
    _folder: Folder,
    path: String,
    file: fs::File,
}

impl Fifo {
    /// It is full.
    fn new() -> Self {
        let folder = Folder::new();
        let path = folder.at("log").display().to_string();
        within(command("mkfifo").arg(&path), LONG);
        let mut options = fs::File::options();
        let options = options.read(true).write(true);
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let file = options.custom_flags(nonblock).open(&path).unwrap();
        let fifo = Fifo {
            _folder: folder,
            path,
            file,
        };
        fifo.fill();
        fifo
    }

    fn fill(&self) {
        let page = [b'\n'; 4096];
        while (&self.file).write(&page).is_ok() {}
    }

    /// Reads what is there.
    fn read(&self) -> String {
        let mut text = Vec::new();
        let end = (&self.file).read_to_end(&mut text).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::WouldBlock);
        String::from_utf8(text).unwrap()
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing_and_says_afterwards_what_is_missing() {
    // A terminal that was stopped is the same to us: stderr has no room, and comes to have some again.
    for (format, lost) in [
        ("human", "warn  log lines lost before this one: "),
        ("json", "\"message\":\"log lines lost before this one: "),
    ] {
        let (bed, fifo) = (Bed::new(), Fifo::new());
        let script = format!("exec \"$0\" \"$@\" 2> {}", fifo.path);
        let mut daemon = up(builder()
            .config(&bed.db())
            .args(&["--log-format", format])
            .prefix(&["bash", "-c", &script]));
        assert_exit(&daemon.reload(), 0);
        echoes(bed.listen).unwrap();
        assert_eq!(fifo.read().trim(), "");
        assert_exit(&daemon.reload(), 0);
        let read = fifo.read();
        // Between them may be a line that was waiting while there was no room.
        let lines: Vec<_> = read.lines().collect();
        assert_has(lines[0], &[lost, "; stderr did not take them"]);
        assert_has(lines[1..].join("\n").as_str(), &["configuration reloaded"]);
        assert_eq!(read.matches("log lines lost").count(), 1, "{read}");
        fifo.fill();
        assert_eq!(daemon.terminate(LONG).code(), Some(0));
    }
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    // stderr on a disk that is full, in a pipe that nobody reads any more, and no journal where it is
    // asked for: then it is lines on stderr.
    for (format, stderr_at) in [
        ("human", "/dev/full"),
        ("json", "/dev/full"),
        ("human", "pipe"),
    ] {
        let bed = Bed::new();
        let script = match stderr_at {
            "pipe" => "exec \"$0\" \"$@\" 2> >(true)".to_owned(),
            file => format!("exec \"$0\" \"$@\" 2> {file}"),
        };
        let mut daemon = up(builder()
            .config(&bed.db())
            .args(&["--log-format", format])
            .prefix(&["bash", "-c", &script]));
        assert_exit(&daemon.reload(), 0);
        echoes(bed.listen).unwrap();
        assert_eq!(daemon.terminate(LONG).code(), Some(0));
    }
    let bed = Bed::new();
    let hidden = "mount -t tmpfs none /run && exec \"$0\" \"$@\"";
    let daemon = up(builder()
        .config(&bed.db())
        .args(&["--log-format", "journal"])
        .prefix(&["unshare", "--mount", "sh", "-c", hidden]));
    daemon.wait_for_log("tunnel up", LONG);
    echoes(bed.listen).unwrap();
    // What ends the start goes there, too.
    let folder = Folder::new();
    let file = folder.write("t.toml", "");
    let mut alone = command("unshare");
    alone.args(["--mount", "sh", "-c", hidden]).arg(binary());
    alone.args(["run", "--log-format", "journal", "--config", &file]);
    let output = within(alone.stdin(Stdio::null()), LONG);
    assert_exit(&output, 78);
    assert_has(&stderr(&output), &["is empty"]);
}
