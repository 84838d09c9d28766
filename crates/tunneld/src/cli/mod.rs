//! The command line: what may be asked, and where each question is answered.

mod authorize;
mod check;
mod completions;
mod explain;
mod history;
mod hops;
mod import;
mod line;
mod logs;
mod places;
mod reload;
mod run;
mod status;
mod test;
mod times;
mod trust;
mod tunnels;
mod wait;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tunneld_core::config::{Config, TunnelSpec};
use tunneld_ssh::calling;

use crate::config_file::{self, DEFAULT_CONFIG, LoadError, Loaded};
use crate::control::TunnelCommand;
use crate::control::client::ClientError;
use crate::exit::Exit;
use crate::http::error::no_tunnel;
use crate::logging::{Filter, Format, Verbosity};
use crate::terminal::colour;
use places::Places;

/// Keeps SSH tunnels up.
///
/// tunneld reads a file of named tunnels, keeps an SSH session up for each, and forwards
/// connections through it. `tunneld run` is the daemon; the other commands check its file, or talk
/// to it.
#[derive(Debug, Parser)]
#[command(
    name = "tunneld",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  tunneld check                      is the file right, and every key that it names?
  tunneld trust db                   is this the host's key? then it goes into known_hosts
  systemctl start tunneld            start the daemon
  tunneld status                     what is up, what is not, and why
  tunneld import autossh-db.service  what the unit does, as a tunnel for the file
  tunneld explain db                 where do its bytes go, and who can reach it?
  tunneld history db                 its outages, and how much of the time it was up
  tunneld test db                    does it work, step by step, and what to do where it does not
  tunneld reload                     apply the edited file; untouched tunnels keep their connections
  tunneld logs db                    what happened to the tunnel `db`

Exit codes: 0 done; 1 failed; 2 usage; 3 some tunnel is not up, or does not work; 4 daemon not
reachable; 78 bad configuration."
)]
struct Cli {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon, in the foreground.
    ///
    /// SIGTERM and SIGINT stop it in good order, a second one at once; SIGHUP reloads the file;
    /// SIGUSR1 makes every tunnel try now.
    Run {
        /// How log lines are written, to stderr or to the journal.
        #[arg(long, value_enum, default_value = "auto")]
        log_format: Format,
        /// How much is logged: error, warn, info or debug; of the tunnel NAME another level with
        /// NAME=LEVEL after a comma.
        #[arg(
            long,
            value_name = "LEVEL[,NAME=LEVEL]...",
            default_value = "info",
            env = "TUNNELD_LOG",
            add = completions::levels()
        )]
        log_level: Filter,
    },
    /// Check the file, and the keys, certificates, secrets, known_hosts and hooks that it names.
    ///
    /// Reports every problem at once, each with its place, and warns of hosts whose keys known_hosts
    /// does not have yet. Changes nothing, asks no server and no agent, and needs no daemon. Run by
    /// root, who can read more than the daemon, it says how to check as the daemon's user. Names of hosts, the programs of `proxy_command`, and the users and groups
    /// of `socket_owner` are looked up when they are used.
    Check {
        /// The file to check, instead of the one that `--config` names.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print the effective configuration, with every default.
        #[arg(long)]
        print: bool,
    },
    /// Show how the tunnels are.
    ///
    /// Exits with 3 if one that should be up is not, as while the daemon stops, or if the one that NAME
    /// names is not up: also when it was stopped or is not enabled.
    Status {
        /// One tunnel only, with everything that is known about it.
        #[arg(value_name = "NAME", add = completions::names())]
        name: Option<String>,
        /// Print JSON, for programs: docs/status.schema.json says what is in it.
        #[arg(long)]
        json: bool,
        /// Go on, and show each change as it happens; `q` or Ctrl-C ends it.
        ///
        /// Also through a restart of the daemon. On a terminal, tunnels that are not up come first.
        /// With --json, one line a change.
        #[arg(long)]
        watch: bool,
    },
    /// Wait until tunnels are up, and say nothing.
    ///
    /// For scripts and ExecStartPre=. A daemon that is not there yet is waited for, too, and while one
    /// stops, the next. Exits with 3 when the time is over, and says for each tunnel that is not up
    /// why; at once if one that was named is stopped, since only `tunneld start` brings that up; with
    /// 4 if no daemon answers by then.
    Wait {
        /// The tunnels, instead of every one that is not stopped.
        #[arg(value_name = "NAME", add = completions::names())]
        names: Vec<String>,
        /// How long at most (`30s`, `5m`), instead of for ever.
        #[arg(long, value_name = "TIME", value_parser = wait::timeout_of)]
        timeout: Option<Duration>,
    },
    /// Show what the journal has of the daemon, or of one tunnel: runs journalctl(1).
    Logs(logs::Request),
    /// Show what a tunnel has been through: its last changes, its outages, and its availability.
    ///
    /// The newest is at the end. Time counts as available while the tunnel was up; not while it was
    /// degraded. Time in which it was not wanted, or the daemon did not run, does not count. It is kept
    /// over a restart where the daemon has a state directory.
    History {
        /// The tunnel; without, a line for each: how it was in the last day, and what was wrong last.
        #[arg(value_name = "NAME", add = completions::names())]
        name: Option<String>,
        /// Print JSON, for programs; without NAME, an array of what is printed for each.
        #[arg(long)]
        json: bool,
        /// Only the last N changes.
        #[arg(short, long, value_name = "N", requires = "name", value_parser = history::number_of)]
        number: Option<usize>,
    },
    /// Connect once, apart from the daemon, and say what works, with the fix for what does not.
    ///
    /// Goes the way of the tunnel, host by host: name, connection, host key, key exchange,
    /// authentication. Then tries each forward: targets are reached, and the server is asked for
    /// ports and gives them back. It needs no daemon, does not disturb one, binds nothing on this
    /// machine, and writes nothing to known_hosts. Exits with 3 if anything does not work.
    #[command(after_long_help = test::HELP)]
    Test {
        /// The tunnel, as the file names it.
        #[arg(value_name = "NAME", add = completions::names())]
        name: String,
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
        /// Log to stderr meanwhile, this much.
        #[arg(long, value_enum)]
        log_level: Option<Verbosity>,
    },
    /// Apply the edited file to the running daemon: all of it, or nothing.
    ///
    /// Untouched tunnels keep their connections. A changed forward is changed on the live session;
    /// a changed host, port, user or key replaces the session. A file with errors changes nothing.
    /// Tunnels that wait or are blocked try again at once: what kept them down may have been mended.
    /// Shows what changes for each tunnel, and how many connections that touches.
    Reload {
        /// Only show what would happen.
        #[arg(long)]
        dry_run: bool,
        /// Print JSON, for programs: also what is wrong with the file.
        #[arg(long)]
        json: bool,
    },
    /// Show the keys of a tunnel's host, and add one that you agree to to known_hosts.
    ///
    /// Asks the host for each of its keys, over the tunnel's own way, and shows them as
    /// `ssh-keygen -lv` does. Says what known_hosts and the pins have, and what the SSHFP records of
    /// the DNS say. Then it asks about one key, and writes it to the first file of `known_hosts`:
    /// compare it with what the host itself prints. The answer `all` adds every key; with y the
    /// daemon adds the others once the host has proved to have them (`update_host_keys`). Needs no
    /// daemon; run it as a user that may write the file.
    ///
    /// It refuses, whatever you answer, if the host shows another key than known_hosts has, or one
    /// that is revoked or too small; if none of its keys is one of the pins; if the DNS names another
    /// key for it, vouched for by DNSSEC; with --yes, if no key has a fingerprint that was given;
    /// and to write where the daemon, which has another home, does not look.
    Trust(trust::Request),
    /// Start tunnels that were stopped.
    Start(Names),
    /// Stop tunnels, until they are started, the file is reloaded, or the daemon restarts.
    Stop(Names),
    /// Make a new session for tunnels now, without waiting for the next attempt.
    Restart(Names),
    /// Print what the servers have to allow for tunnels, and nothing else.
    ///
    /// For each host on the way, the line of authorized_keys and a `Match` block for sshd_config:
    /// the places that the forwards need, no other place, and no shell. What begins with `#` is a
    /// comment there, too. Asks no server, and needs no daemon.
    Authorize(authorize::Authorize),
    /// Print the script that completes commands, options and the names of tunnels in a shell.
    ///
    /// The names are those of the running daemon or, where it does not answer, of the file. To try it:
    /// `source <(tunneld completions bash)`, `source <(tunneld completions zsh)`, or
    /// `tunneld completions fish | source`.
    Completions {
        /// The shell, and where its script is kept.
        #[arg(value_enum, value_name = "SHELL")]
        shell: completions::Shell,
    },
    /// Draw where the bytes of a tunnel go, and print the ssh command that does the same.
    ///
    /// For each forward: who listens, who can reach it, which way is encrypted and where it ends in
    /// the clear, who looks names up, and what happens while the tunnel is down. Reads the file and
    /// nothing else: it asks no server, and needs no daemon.
    Explain {
        /// The tunnel; without, all of them.
        #[arg(value_name = "NAME", add = completions::names())]
        name: Option<String>,
    },
    /// Make tunnels of what you have: an ssh or autossh command, units of systemd, entries of
    /// ssh_config.
    ///
    /// Prints TOML that `tunneld check` accepts. Every option that it understands is kept, and each
    /// one that it drops is a comment that says why. Where the configuration file can be read, a name
    /// that it has is not taken again, and what would listen where one of its tunnels does is printed
    /// as not enabled; a comment says so. Changes nothing, and needs no daemon.
    Import(import::Request),
}

/// The tunnels that a command is for.
#[derive(Debug, Args)]
struct Names {
    /// The tunnels.
    #[arg(required = true, value_name = "NAME", add = completions::names())]
    names: Vec<String>,
}

/// Runs the command that was asked for.
pub(crate) fn main() -> Exit {
    if let Some(exit) = completions::answered() {
        return exit;
    }
    let mut cli = match line::parsed() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    if let Command::Check { file, .. } = &mut cli.command
        && let Some(file) = file.take()
    {
        cli.places.config = file;
    }
    let places = &cli.places;
    calling::set(match cli.command {
        Command::Run { .. } => places.calling().of_daemon(),
        _ => places.calling(),
    });
    match cli.command {
        Command::Run {
            log_format,
            log_level,
        } => run::run(places, log_format, log_level),
        Command::Check { print, .. } => check::run(places, print),
        Command::Status { name, json, watch } => {
            let asked = status::Asked { name, json };
            match watch {
                true => status::watch(places, &asked),
                false => status::run(places, &asked),
            }
        }
        Command::Wait { names, timeout } => wait::run(places, &names, timeout),
        Command::Logs(request) => logs::run(places, &request),
        Command::History { name, json, number } => {
            history::run(places, name.as_deref(), json, number)
        }
        Command::Test {
            name,
            json,
            log_level,
        } => test::run(places, &name, json, log_level),
        Command::Reload { dry_run, json } => reload::run(places, dry_run, json),
        Command::Trust(request) => trust::run(places, &request),
        Command::Start(Names { names }) => tunnels::run(places, TunnelCommand::Start, &names),
        Command::Stop(Names { names }) => tunnels::run(places, TunnelCommand::Stop, &names),
        Command::Authorize(asked) => authorize::run(places, &asked),
        Command::Completions { shell } => completions::run(shell),
        Command::Explain { name } => explain::run(places, name.as_deref()),
        Command::Import(request) => import::run(places, &request),
        Command::Restart(Names { names }) => tunnels::run(places, TunnelCommand::Restart, &names),
    }
}

/// Reads and checks the configuration file; what is wrong with it is printed.
fn load(path: &Path) -> Result<Loaded, Exit> {
    // It may be written for the service alone.
    let denied = || config_file::is_denied(path).then(|| "use sudo".to_owned());
    load_or(path, denied)
}

/// As [`load`], with the hint where the error has none of its own.
fn load_or(path: &Path, hint: impl FnOnce() -> Option<String>) -> Result<Loaded, Exit> {
    config_file::load(path).map_err(|e| {
        eprintln!("{}", e.render(colour(&io::stderr())).trim_end());
        if let LoadError::Bad(_) = e {
            eprintln!("\n{}", e.summary());
        }
        if let Some(hint) = e.hint().map(str::to_owned).or_else(hint) {
            eprintln!("hint: {hint}");
        }
        Exit::BadConfig
    })
}

/// The tunnel of that name, or the words for whoever asked for another one.
fn named<'a>(config: &'a Config, name: &str) -> Result<&'a TunnelSpec, String> {
    let found = config.tunnels.values().find(|t| t.name.as_str() == name);
    found.ok_or_else(|| {
        let names: Vec<String> = config.tunnels.keys().map(ToString::to_string).collect();
        no_tunnel(name, &names)
    })
}

/// A command of ours with the places that this one was given.
fn command_again(places: &Places, words: &[&str]) -> String {
    places.calling().command(words)
}

/// Prints data. A reader that went away, as `head` does, has had what it wanted.
fn print(text: &str) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Exit::Done,
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(e) => {
            eprintln!("error: cannot write: {}", tunneld_ssh::error::os_reason(&e));
            Exit::Failed
        }
    }
}

/// Prints data for programs.
fn print_json(value: &impl Serialize) -> Exit {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&(text + "\n")),
        Err(e) => {
            eprintln!("error: {e}");
            Exit::Failed
        }
    }
}

/// Prints what went wrong between us and the daemon.
fn client_failed(places: &Places, e: &ClientError) -> Exit {
    use crate::http::error::ErrorKind;
    match e {
        ClientError::Refused(error) if error.kind == ErrorKind::BadConfig => {
            if let Some(report) = &error.report {
                eprintln!("{}\n", report.trim_end());
            }
            eprintln!("{}; the running configuration is unchanged", error.message);
            Exit::BadConfig
        }
        ClientError::Unreachable { .. } => {
            eprintln!("error: {e}");
            if let Some(hint) = places.untold() {
                eprintln!("hint: {hint}");
            }
            Exit::Unreachable
        }
        ClientError::Unfinished(_) | ClientError::Refused(_) | ClientError::Garbled(_) => {
            eprintln!("error: {e}");
            Exit::Failed
        }
    }
}

/// A path as people see it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use tunneld_core::config::{Origin, Surroundings, load};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_name_that_does_not_exist_is_told_with_the_one_that_was_meant() {
        let text = "[tunnels.reports]\nhost = \"a\"\nuser = \"u\"\nlocal_forward = \"1:a:1\"\n\
                    [tunnels.db]\nhost = \"a\"\nuser = \"u\"\nlocal_forward = \"2:a:1\"\n";
        let config = load(
            text,
            &Origin::of_file("t.toml".as_ref()),
            &Surroundings::default(),
        );
        let config = config.unwrap();
        let said = named(&config, "repotrs").unwrap_err();
        assert_eq!(
            said,
            "no tunnel `repotrs`; there are: db, reports; did you mean `reports`?"
        );
        let said = named(&config, "x\n").unwrap_err();
        assert_eq!(said, "no tunnel `x`; there are: db, reports");
    }
}
