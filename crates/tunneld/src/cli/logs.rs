//! `tunneld logs [NAME]`: journalctl(1) with what finds the daemon's lines.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use hyper::Method;
use tunneld_core::status::DaemonStatus;

use super::{Places, completions};
use crate::control::client::{ClientError, call};
use crate::exit::Exit;
use crate::http::error::no_tunnel;

/// Where journald keeps what it has (systemd-journald.service(8)).
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// The unit of the package.
const UNIT: &str = "tunneld.service";

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Request {
    /// One tunnel only.
    #[arg(value_name = "NAME", add = completions::names())]
    name: Option<String>,
    /// Go on, and show new lines as they come.
    #[arg(short, long)]
    follow: bool,
    /// The last lines only.
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<String>,
    /// Not what is older: `-1h`, `today`, `2026-11-21 10:00`.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// More arguments for journalctl: `-- -o json -p warning`.
    #[arg(last = true, value_name = "ARGUMENT")]
    more: Vec<String>,
}

pub(super) fn run(places: &Places, request: &Request) -> Exit {
    let socket = match places.daemon() {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let daemon = call::<DaemonStatus>(&socket, Method::GET, "/v1/status");
    let unit = match &daemon {
        Ok(status) => {
            remark_on_name(request, status);
            Unit::of_process(status.pid)
        }
        Err(e) => {
            remark_on_daemon(e);
            Unit::Unknown
        }
    };
    remark_on_journal(&JOURNALS.map(PathBuf::from));
    let mut command = Command::new("journalctl");
    command.args(arguments(request, &unit, io::stdout().is_terminal()));
    // Returns only if it cannot be run.
    let e = command.exec();
    let reason = tunneld_ssh::error::os_reason(&e);
    eprintln!("error: cannot run journalctl: {reason}");
    if e.kind() == ErrorKind::NotFound {
        eprintln!("hint: without systemd, the log is where the daemon's stderr goes");
    }
    Exit::Failed
}

/// What runs the daemon.
#[derive(Debug, PartialEq, Eq)]
enum Unit {
    /// A unit of the machine.
    System(String),
    /// A unit of a user (`systemctl --user`).
    User(String),
    /// Somebody's shell, or nobody can tell.
    Unknown,
}

impl Unit {
    /// By its control group (cgroups(7)).
    fn of_process(pid: u32) -> Self {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
        let groups = groups.unwrap_or_default();
        groups
            .lines()
            .map(Unit::of_group)
            .find(|unit| *unit != Unit::Unknown)
            .unwrap_or(Unit::Unknown)
    }

    /// By a line of it: `0::/system.slice/tunneld.service`.
    fn of_group(line: &str) -> Self {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        let is_service = |part: &&str| part.ends_with(".service");
        // Below it the unit may have groups of its own.
        let mut services = path.split('/').filter(is_service);
        match (services.next(), services.next()) {
            // The first is the manager of the user's units.
            (Some(manager), Some(unit)) if manager.starts_with("user@") => {
                Unit::User(unit.to_owned())
            }
            (Some(unit), _) if !unit.starts_with("user@") => Unit::System(unit.to_owned()),
            _ => Unit::Unknown,
        }
    }

    /// What journalctl finds it by; together with a tunnel, only the daemon's own lines.
    fn matches(&self, tunnel: Option<&str>) -> Vec<String> {
        let of = |name: &str| format!("TUNNEL={name}");
        match (self, tunnel) {
            (Unit::System(unit), None) => vec![format!("--unit={unit}")],
            (Unit::User(unit), None) => vec![format!("--user-unit={unit}")],
            (Unit::System(unit), Some(name)) => vec![format!("_SYSTEMD_UNIT={unit}"), of(name)],
            (Unit::User(unit), Some(name)) => vec![format!("_SYSTEMD_USER_UNIT={unit}"), of(name)],
            (Unit::Unknown, Some(name)) => vec!["SYSLOG_IDENTIFIER=tunneld".to_owned(), of(name)],
            // The service manager says why one is not there.
            (Unit::Unknown, None) => vec![
                "SYSLOG_IDENTIFIER=tunneld".to_owned(),
                "+".to_owned(),
                format!("UNIT={UNIT}"),
            ],
        }
    }
}

/// The arguments of journalctl.
fn arguments(request: &Request, unit: &Unit, on_terminal: bool) -> Vec<String> {
    let mut arguments = Vec::new();
    if request.follow {
        arguments.push("--follow".to_owned());
    }
    if let Some(lines) = &request.lines {
        arguments.push(format!("--lines={lines}"));
    }
    if let Some(since) = &request.since {
        arguments.push(format!("--since={since}"));
    }
    let is_whole = arguments.is_empty() && request.more.is_empty();
    if is_whole && on_terminal {
        // The pager begins with what is new.
        arguments.push("--pager-end".to_owned());
    }
    arguments.extend(request.more.iter().cloned());
    arguments.extend(unit.matches(request.name.as_deref()));
    arguments
}

/// A tunnel that is not in the file any more still is in the journal.
fn remark_on_name(request: &Request, status: &DaemonStatus) {
    let Some(name) = &request.name else {
        return;
    };
    let names = super::status::names(status);
    if !names.contains(name) {
        eprintln!("note: {}", no_tunnel(name, &names));
    }
}

/// The journal is there without a daemon, too.
fn remark_on_daemon(e: &ClientError) {
    let said = e.to_string();
    eprintln!("note: {}", said.lines().next().unwrap_or_default());
}

/// An empty answer says nothing about why it is empty.
fn remark_on_journal(journals: &[PathBuf]) {
    if !journals.iter().any(|journal| may_have_lines(journal)) {
        eprintln!("note: this machine keeps no journal; the log is where the daemon's stderr goes");
        return;
    }
    let opened: Vec<_> = journals.iter().flat_map(|journal| open(journal)).collect();
    if opened.contains(&Err(ErrorKind::PermissionDenied)) && !opened.contains(&Ok(())) {
        eprintln!(
            "note: this user may not read the machine's journal\n\
             hint: `sudo usermod -aG systemd-journal $USER` and log in again; or use sudo"
        );
    }
}

/// Whether journalctl may find a file in a folder of journald's: there, or in one of its folders, which
/// are one a machine. Where nobody lets us look, there may be.
fn may_have_lines(folder: &Path) -> bool {
    has(folder, |path| is_journal(path) || has(path, is_journal))
}

/// Whether a folder has what is looked for; one that may not be read may have it.
fn has(folder: &Path, wanted: impl Fn(&Path) -> bool) -> bool {
    match folder.read_dir() {
        Ok(mut entries) => entries.any(|entry| entry.is_ok_and(|entry| wanted(&entry.path()))),
        Err(e) => e.kind() == ErrorKind::PermissionDenied,
    }
}

/// `system.journal`, or `….journal~` where it was not closed in good order.
fn is_journal(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension == "journal" || extension == "journal~")
}

/// Whether the journals of the system in a folder of journald's can be opened.
fn open(journal: &Path) -> Vec<Result<(), ErrorKind>> {
    let machines = match journal.read_dir() {
        Ok(machines) => machines,
        Err(e) => return vec![Err(e.kind())],
    };
    let files = machines.filter_map(|machine| Some(machine.ok()?.path().join("system.journal")));
    let opened = files.map(|file| File::open(file).map(drop).map_err(|e| e.kind()));
    opened.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: Option<&str>) -> Request {
        Request {
            name: name.map(str::to_owned),
            follow: false,
            lines: None,
            since: None,
            more: Vec::new(),
        }
    }

    #[test]
    fn the_unit_is_known_by_the_control_group() {
        let system = |unit: &str| Unit::System(unit.to_owned());
        for (line, unit) in [
            (
                "0::/system.slice/tunneld.service",
                system("tunneld.service"),
            ),
            (
                "0::/system.slice/system-tunneld.slice/tunneld@home.service",
                system("tunneld@home.service"),
            ),
            (
                "1:name=systemd:/system.slice/t.service/inner",
                system("t.service"),
            ),
            (
                "0::/user.slice/user-7.slice/user@7.service/app.slice/tunneld.service",
                Unit::User("tunneld.service".to_owned()),
            ),
            (
                "0::/user.slice/user-7.slice/user@7.service/init.scope",
                Unit::Unknown,
            ),
            ("0::/user.slice/user-7.slice/session-3.scope", Unit::Unknown),
            ("0::/", Unit::Unknown),
            ("", Unit::Unknown),
        ] {
            assert_eq!(Unit::of_group(line), unit, "{line}");
        }
    }

    #[test]
    fn a_machine_keeps_a_journal_where_journalctl_finds_a_file() {
        // In the folder itself or in that of a machine: an empty one is what a journald leaves that
        // does not run here.
        let folder = tempfile::tempdir().unwrap();
        let keeps = |name: &str| may_have_lines(&folder.path().join(name));
        for (file, kept) in [
            ("empty/x", false),
            ("other/machine/notes.txt", false),
            ("own/system.journal", true),
            ("one/machine/system.journal", true),
            ("old/machine/system@1-2.journal~", true),
        ] {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            let top = file.strip_prefix(folder.path()).unwrap().iter().next();
            assert_eq!(keeps(top.unwrap().to_str().unwrap()), kept, "{file:?}");
        }
        assert!(!keeps("missing"));
    }

    #[test]
    fn journalctl_is_asked_for_the_unit_and_the_tunnel() {
        let unit = Unit::System("tunneld@a.service".to_owned());
        let asked = |request: &Request, unit: &Unit| arguments(request, unit, false).join(" ");
        assert_eq!(asked(&request(None), &unit), "--unit=tunneld@a.service");
        assert_eq!(
            asked(&request(Some("db")), &unit),
            "_SYSTEMD_UNIT=tunneld@a.service TUNNEL=db"
        );
        assert_eq!(
            asked(&request(Some("db")), &Unit::Unknown),
            "SYSLOG_IDENTIFIER=tunneld TUNNEL=db"
        );
        let full = Request {
            follow: true,
            lines: Some("5".to_owned()),
            since: Some("-1h".to_owned()),
            more: vec!["-o".to_owned(), "cat".to_owned()],
            ..request(None)
        };
        assert_eq!(
            asked(&full, &Unit::Unknown),
            "--follow --lines=5 --since=-1h -o cat SYSLOG_IDENTIFIER=tunneld + UNIT=tunneld.service"
        );
        let whole = arguments(&request(None), &unit, true);
        assert_eq!(whole[0], "--pager-end");
    }
}
