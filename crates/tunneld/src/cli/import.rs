//! `tunneld import …`

mod behind;
mod drop_ins;
mod entries;
mod search;
mod there;
mod unit;
mod whose;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use tunneld_core::import::{
    Command, ConfigFile, Job, Setting, There, Tunnel, name_of_host, plain, settle,
};
use tunneld_core::name::TunnelName;
use tunneld_core::ssh_config::{Environment, Sources};
use tunneld_ssh::error::os_reason;

use super::{Places, shown};
use crate::config_file::{self, ssh};
use crate::exit::Exit;
use crate::terminal::colour;
pub(super) use behind::explained;
use whose::Whose;

/// The largest unit, or file of variables, that is read, in bytes.
const MAX_FILE_LEN: u64 = 1 << 20;

/// How many files, or entries of a file of ssh, are looked at in one run, and how many tunnels are made.
const MAX_INPUTS: usize = 1_000;

/// What is asked for.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).multiple(true),
    after_help = "\
Examples:
  tunneld import -- autossh -M 0 -N -i key -L 5432:localhost:5432 user@db.example.com
  tunneld import autossh-db.service
  tunneld import /etc/systemd/system/autossh-*.service >> /etc/tunneld/tunneld.toml
  ssh web1 systemctl cat autossh-db.service | tunneld import -
  tunneld import --instance db /etc/systemd/system/tunnel@.service
  tunneld import --ssh-config ~/.ssh/config
  tunneld import --ssh-config ~/.ssh/config db wiki"
)]
pub(super) struct Request {
    /// What the tunnel is called; otherwise after the unit, the entry or the host.
    #[arg(long, value_name = "NAME")]
    name: Option<TunnelName>,
    /// Which instance of a template is meant: what `%i` stands for in `tunnel@.service`.
    #[arg(long, value_name = "INSTANCE", conflicts_with_all = ["ssh_config", "command"])]
    instance: Option<String>,
    /// A file of ssh: the entries that have LocalForward, RemoteForward or DynamicForward, or those
    /// that HOST names.
    #[arg(long, value_name = "FILE", group = "what", conflicts_with = "command")]
    ssh_config: Option<PathBuf>,
    /// Units of systemd that run ssh or autossh: files, names that are looked up where systemd has its
    /// units, or `-` for what `systemctl cat` prints; with --ssh-config the hosts.
    #[arg(value_name = "UNIT|HOST", group = "what", conflicts_with = "command")]
    inputs: Vec<PathBuf>,
    /// A command line, behind `--`.
    #[arg(value_name = "COMMAND", last = true, group = "what")]
    command: Vec<String>,
}

/// What was made, and what went wrong.
#[derive(Default)]
struct Made {
    tunnels: Vec<Tunnel>,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Made {
    fn add(&mut self, input: &str, tunnel: Result<Tunnel, String>) {
        match tunnel {
            Ok(_) if self.is_full() => {
                let error = format!("at most {MAX_INPUTS} tunnels are made in one run");
                if !self.errors.contains(&error) {
                    self.errors.push(error);
                }
            }
            Ok(tunnel) => self.tunnels.push(tunnel),
            Err(error) => self.errors.push(format!("{input}: {error}")),
        }
    }

    /// Whether it has as many as one run makes. A unit may have many commands.
    fn is_full(&self) -> bool {
        self.tunnels.len() >= MAX_INPUTS
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

pub(super) fn run(places: &Places, request: &Request) -> Exit {
    let mut made = Made::default();
    let inputs = request.inputs.len();
    if inputs > MAX_INPUTS {
        made.errors.push(format!(
            "there are {inputs} files or hosts, and at most {MAX_INPUTS} are taken in one run"
        ));
        return finish(places, made);
    }
    match &request.ssh_config {
        Some(file) => entries::import(file, request, &mut made),
        None if request.command.is_empty() => {
            if let Some(error) = behind::begun(&request.inputs) {
                made.errors.push(error);
                return finish(places, made);
            }
            for input in &request.inputs {
                unit::import(input, request, &mut made);
            }
        }
        None => {
            let tunnel = command(request, &mut made);
            made.add("the command line", tunnel);
        }
    }
    finish(places, made)
}

/// Prints the tunnels, and says what somebody should know about them.
fn finish(places: &Places, mut made: Made) -> Exit {
    let name = shown(&places.config);
    let config = there::config(places, &mut made);
    let there = config.as_ref().map(|config| There {
        name: &name,
        config,
    });
    let text = match settle(&mut made.tunnels, &config_file::surroundings(), there) {
        Ok(settled) => {
            for refused in settled.refused {
                made.add(&refused.from, Err(refused.message));
            }
            settled.file
        }
        Err(problems) => {
            let report = problems.render(colour(&io::stderr()));
            eprintln!("{}", report.trim_end());
            made.errors
                .push("what was made of it is not right".to_owned());
            String::new()
        }
    };
    let printed = super::print(&text);
    for tunnel in &made.tunnels {
        for warning in tunnel.warnings() {
            eprintln!("warning: {}: {warning}", tunnel.name);
        }
        let missing = tunnel.identity_files.iter().filter(|file| is_missing(file));
        for file in missing {
            let (name, file) = (&tunnel.name, plain(&file.to_string_lossy()));
            eprintln!("warning: {name}: {file}: no such file; `tunneld check` asks for it");
        }
    }
    let homes = |tunnel: &Tunnel| tunnel.identity_files.iter().any(|file| is_in_a_home(file));
    if made.tunnels.iter().any(homes) {
        made.warn(
            "keys in a home directory are out of reach for the service, which runs as its own \
             user: copy them to /etc/tunneld/keys, and correct `identity_file`"
                .to_owned(),
        );
    }
    made.warnings
        .iter()
        .for_each(|warning| eprintln!("warning: {}", plain(warning)));
    made.errors
        .iter()
        .for_each(|error| eprintln!("error: {}", plain(error)));
    let whole = !made.tunnels.iter().any(Tunnel::lacks_a_forward);
    match made.errors.is_empty() && whole {
        true => printed,
        false => Exit::Failed,
    }
}

fn is_missing(file: &Path) -> bool {
    matches!(fs::metadata(file), Err(e) if e.kind() == io::ErrorKind::NotFound)
}

fn is_in_a_home(file: &Path) -> bool {
    ["/home", "/root"].iter().any(|home| file.starts_with(home))
}

/// A command line, as whoever has typed it would run it.
fn command(request: &Request, made: &mut Made) -> Result<Tunnel, String> {
    let whose = Whose::ours();
    let setting = Setting {
        variables: whose::variables(),
        directory: std::env::current_dir().ok(),
    };
    let command = Command::read(&request.command, &setting)?;
    let name = name_of_host(command.host());
    let job = whose.job(command, &setting, named(request, name), "a command line");
    tunnel(&job, &whose, made)
}

/// The name that was asked for, or else this one.
fn named(request: &Request, name: String) -> String {
    request.name.as_ref().map_or(name, ToString::to_string)
}

/// The tunnel of a job, with the files of ssh that belong to it.
fn tunnel(job: &Job, whose: &Whose, made: &mut Made) -> Result<Tunnel, String> {
    if let ConfigFile::Named(file) = job.command.config()
        && is_missing(file)
    {
        return Err(format!("{}: no such file", file.display()));
    }
    if let Some(guess) = &whose.guess {
        made.warn(guess.clone());
    }
    job.tunnel(&complete(job, whose, false), &complete(job, whose, true))
}

fn complete(job: &Job, whose: &Whose, of_hop: bool) -> Sources {
    let mut sources = job.sources(of_hop);
    ssh::complete(&mut sources, whose.uid);
    sources
}

impl Whose {
    /// A command line of theirs.
    fn job(&self, command: Command, setting: &Setting, name: String, from: &str) -> Job {
        Job {
            command,
            name,
            from: from.to_owned(),
            environment: Environment {
                user: Some(self.user.clone()),
                home: self.home.clone(),
                variables: setting.variables.clone(),
            },
            default_keys: self.default_keys(),
            restart: None,
            dropped: Vec::new(),
        }
    }
}

/// The text of a file that may not be larger than is needed.
fn read(path: &Path) -> Result<String, String> {
    text_of(config_file::open(path).map_err(|e| os_reason(&e))?)
}

fn text_of(source: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut source = source.take(MAX_FILE_LEN + 1);
    source.read_to_end(&mut bytes).map_err(|e| os_reason(&e))?;
    if bytes.len() as u64 > MAX_FILE_LEN {
        return Err(format!("has more than {MAX_FILE_LEN} bytes"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
