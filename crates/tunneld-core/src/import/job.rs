//! From a command line, with the files of ssh that it reads, to a tunnel.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::{Command, ConfigFile};
use super::forwards::{Kind, Written};
use super::keys::{Keys, one_or_all, path};
use super::note::{Note, warnings};
use super::tunnel::{NAME, Tunnel};
use super::{discreet, reasons};
use crate::config::{duration, string};
use crate::ssh_config::{Answer, Environment, FORWARDS, Place, Problem, Query, Sources, evaluate};

/// The file of the machine, which ssh reads after the user's own.
const SYSTEM: &str = "/etc/ssh/ssh_config";

/// Keywords that say where to go: without one of them it would be another place.
const WHERE: [&str; 5] = ["HostName", "Port", "User", "ProxyJump", "ProxyCommand"];

/// Keywords that limit the way or the trust, and those that may bring one that does.
const LIMITS: [&str; 14] = [
    "BindInterface",
    "CASignatureAlgorithms",
    "CheckHostIP",
    "Ciphers",
    "HostKeyAlgorithms",
    "Include",
    "KexAlgorithms",
    "KnownHostsCommand",
    "MACs",
    "Match",
    "PubkeyAcceptedAlgorithms",
    "RefuseConnection",
    "RevokedHostKeys",
    "VerifyHostKeyDNS",
];

/// A command line, and who runs it.
#[derive(Debug, Clone)]
pub struct Job {
    /// The command line.
    pub command: Command,
    /// What the tunnel is called.
    pub name: String,
    /// Where the command line is written, for people.
    pub from: String,
    /// The login name and the home directory of the user that runs it, and the variables.
    pub environment: Environment,
    /// Those of the keys that ssh tries by itself that there are.
    pub default_keys: Vec<PathBuf>,
    /// How long the service manager waits before it starts the command again.
    pub restart: Option<Duration>,
    /// What is around the command and is dropped: what, and why.
    pub dropped: Vec<(String, String)>,
}

impl Job {
    /// The options of the command, as a file that includes those of ssh. What it includes is yet to
    /// be added; with `of_hop`, without the options, as a jump host is looked up.
    pub fn sources(&self, of_hop: bool) -> Sources {
        let mut text = String::new();
        for line in self.command.lines.iter().filter(|_| !of_hop) {
            text.push_str(&line.text);
            text.push('\n');
        }
        for file in self.files() {
            text.push_str(&format!("Include \"{}\"\n", pattern(&file)));
        }
        let mut environment = self.environment.clone();
        environment.variables.extend(self.command.variables.clone());
        Sources::new(&self.dir().join("-"), text, environment)
    }

    fn home_file(&self) -> Option<PathBuf> {
        let home = self.environment.home.as_ref()?;
        Some(home.join(".ssh/config"))
    }

    fn files(&self) -> Vec<PathBuf> {
        match self.command.config() {
            ConfigFile::None => Vec::new(),
            ConfigFile::Named(file) => vec![file.clone()],
            ConfigFile::Usual => self
                .home_file()
                .into_iter()
                .chain([SYSTEM.into()])
                .collect(),
        }
    }

    /// Where relative names in these files are.
    fn dir(&self) -> PathBuf {
        let file = match self.command.config() {
            ConfigFile::Named(file) => Some(file.clone()),
            ConfigFile::Usual | ConfigFile::None => self.home_file(),
        };
        let dir = file.as_deref().and_then(Path::parent).map(Path::to_owned);
        dir.unwrap_or_else(|| PathBuf::from("/etc/ssh"))
    }

    /// Whether a file of ssh has a forward for the host.
    pub fn has_forwards(&self, sources: &Sources) -> bool {
        let answer = evaluate(sources, &Query::new(self.command.host()));
        let mut unused = answer.unused.iter();
        unused.any(|line| Kind::of_keyword(line.value.keyword).is_some())
    }

    /// The tunnel that does the same. `sources` and `hop_sources` are complete.
    ///
    /// # Errors
    ///
    /// What ssh itself would refuse, or what leaves no tunnel: one line, lowercase, no full stop.
    pub fn tunnel(&self, sources: &Sources, hop_sources: &Sources) -> Result<Tunnel, String> {
        let mut maker = Maker {
            job: self,
            sources,
            hop_sources,
            notes: self.command.notes.clone(),
        };
        maker.tunnel()
    }
}

/// Makes a tunnel of a job.
pub(super) struct Maker<'a> {
    pub(super) job: &'a Job,
    sources: &'a Sources,
    pub(super) hop_sources: &'a Sources,
    pub(super) notes: Vec<Note>,
}

impl Maker<'_> {
    fn tunnel(&mut self) -> Result<Tunnel, String> {
        let host = self.job.command.host();
        let answer = evaluate(self.sources, &Query::new(host));
        self.problems(&self.sources.problems(), true)?;
        self.problems(&answer.problems, false)?;
        let forwards = self.forwards(&answer)?;
        let mut keys = Keys::default();
        let name = answer.host_name.as_ref().map_or(host, |name| &name.value);
        keys.add("host", string(name));
        if let Some(port) = &answer.port {
            keys.add("port", port.value);
        }
        let user = answer.user.as_ref().map(|user| &user.value);
        if let Some(user) = user.or(self.job.environment.user.as_ref()) {
            keys.add("user", string(user));
        }
        self.default_keys(&answer, &mut keys);
        keys.server(&answer);
        self.agent(&answer, &mut keys);
        self.way(&answer, &mut keys)?;
        keys.session(&answer);
        self.restart(&mut keys);
        for (kind, forwards) in forwards {
            let forwards = forwards.iter().map(|forward| string(forward));
            keys.add(kind.key(), one_or_all(forwards.collect()));
        }
        self.notes.append(&mut keys.notes);
        let around = self.job.dropped.iter();
        self.notes
            .extend(around.map(|(what, why)| Note::dropped(what, why)));
        Ok(Tunnel {
            name: self.job.name.clone(),
            from: self.job.from.clone(),
            identity_files: self.identity_files(&answer),
            keys: keys.all,
            enabled: true,
            notes: std::mem::take(&mut self.notes),
        })
    }

    fn identity_files(&self, answer: &Answer) -> Vec<PathBuf> {
        match &answer.identity_file {
            Some(files) => files.iter().map(|file| file.value.clone()).collect(),
            None => self.job.default_keys.clone(),
        }
    }

    /// The keys of the user that runs the command are not those of tunneld's.
    fn default_keys(&mut self, answer: &Answer, keys: &mut Keys) {
        let defaults = &self.job.default_keys;
        if answer.identity_file.is_none() && !defaults.is_empty() {
            keys.add(
                "identity_file",
                one_or_all(defaults.iter().map(path).collect()),
            );
            let said = "no key was named: these are those that ssh tries by itself";
            self.notes.push(Note::Said(said.to_owned()));
        }
    }

    /// The agent that the command was told of.
    fn agent(&self, answer: &Answer, keys: &mut Keys) {
        let command = &self.job.command;
        let socket = command.variables.get("SSH_AUTH_SOCK");
        if answer.identity_agent.is_none()
            && let Some(socket) = socket.filter(|socket| socket.starts_with('/'))
        {
            keys.add("identity_agent", string(socket));
        }
    }

    fn restart(&mut self, keys: &mut Keys) {
        let Some(delay) = self.job.restart.filter(|delay| !delay.is_zero()) else {
            return;
        };
        let shown = string_of(delay);
        // autossh starts ssh again by itself, so the service is hardly ever started again.
        if self.job.command.autossh {
            let why = "autossh came back by itself, and so does this, see `reconnect`";
            self.notes
                .push(Note::dropped(&format!("RestartSec={shown}"), why));
            return;
        }
        let value = duration(delay);
        let max = Duration::from_secs(60);
        keys.add(
            "reconnect",
            match delay > max {
                true => format!("{{ initial = {value}, max = {value} }}"),
                false => format!("{{ initial = {value} }}"),
            },
        );
    }

    /// Whatever cannot be followed is dropped with its reason, except what says where to go, and what
    /// ssh itself refuses.
    fn problems(&mut self, problems: &[Problem], fatal: bool) -> Result<(), String> {
        for problem in problems {
            let (keyword, shown) = self.line(problem.file, problem.start);
            let where_to = WHERE.iter().any(|w| w.eq_ignore_ascii_case(&keyword));
            if (fatal && problem.file == 0) || where_to {
                return Err(format!("{shown}: {}", problem.message));
            }
            let why = match keyword.eq_ignore_ascii_case("StrictHostKeyChecking") {
                true => format!(
                    "host keys are always checked, there is no `no`: `tunneld trust {NAME}` adds \
                     the key of the host, once it is compared"
                ),
                false => match &problem.help {
                    Some(help) => format!("{} ({help})", problem.message),
                    None => problem.message.clone(),
                },
            };
            let is = |wanted: &&str| keyword.eq_ignore_ascii_case(wanted);
            self.notes
                .push(match (FORWARDS.iter().any(is), LIMITS.iter().any(is)) {
                    (true, _) => Note::LostForward(shown, why),
                    (_, true) => Note::Lost(shown, why),
                    (false, false) => Note::Dropped(shown, why),
                });
        }
        Ok(())
    }

    /// The keyword at a place, and what somebody has written there.
    fn line(&self, file: usize, start: usize) -> (String, String) {
        let found = self.sources.files().nth(file);
        let (path, text) = found.unwrap_or((Path::new(""), ""));
        let before = text.get(..start).unwrap_or(text);
        let number = before.matches('\n').count();
        let line = text.lines().nth(number).unwrap_or_default().trim();
        let keyword = discreet::keyword(line).0.to_owned();
        let line = discreet::line(line);
        let option = self.job.command.lines.get(number).filter(|_| file == 0);
        let shown = match option {
            Some(option) => option.shown.clone(),
            None if file == 0 => "the files of ssh".to_owned(),
            None => format!("{line} ({}:{})", path.display(), number + 1),
        };
        (keyword, shown)
    }

    fn shown(&self, place: &Place) -> String {
        self.line(place.file, place.span.start).1
    }

    /// Those of the command, and then those of the files of ssh, each once.
    fn forwards(&mut self, answer: &Answer) -> Result<Vec<(Kind, Vec<String>)>, String> {
        let mut everywhere = self.job.command.everywhere;
        let mut written = self.job.command.forwards.clone();
        let mut cleared = false;
        let mut seen = Vec::new();
        for unused in &answer.unused {
            let (place, unused) = (&unused.place, &unused.value);
            let shown = self.shown(place);
            if let Some(kind) = Kind::of_keyword(unused.keyword) {
                let text = unused.words.join(":");
                written.push(Written { kind, text, shown });
                continue;
            }
            // Of each keyword the first value counts.
            if seen.contains(&unused.keyword) {
                continue;
            }
            seen.push(unused.keyword);
            let yes = |w: &String| {
                ["yes", "true"]
                    .iter()
                    .any(|yes| w.eq_ignore_ascii_case(yes))
            };
            let yes = unused.words.first().is_some_and(yes);
            match unused.keyword {
                "GatewayPorts" if yes => everywhere = true,
                "ClearAllForwardings" if yes => cleared = true,
                _ if self.is_of_system(place) => {}
                _ => self.notes.push(reasons::note(unused, &shown)),
            }
        }
        if cleared {
            return Err("clears all forwards: `ClearAllForwardings`".to_owned());
        }
        self.read_forwards(&written, everywhere)
    }

    /// What the machine's own file says to every user is not repeated.
    fn is_of_system(&self, place: &Place) -> bool {
        let usual = *self.job.command.config() == ConfigFile::Usual;
        let file = self.sources.files().nth(place.file);
        usual && file.is_some_and(|(path, _)| path.starts_with("/etc/ssh"))
    }

    fn read_forwards(
        &mut self,
        written: &[Written],
        everywhere: bool,
    ) -> Result<Vec<(Kind, Vec<String>)>, String> {
        let mut found = Kind::ALL.map(|kind| (kind, Vec::new()));
        let mut wrong = None;
        for forward in written {
            let slot = found.iter_mut().find(|(kind, _)| *kind == forward.kind);
            match (forward.read(everywhere), slot) {
                (Ok(text), Some((_, all))) if !all.contains(&text) => all.push(text),
                (Ok(_), _) => {}
                (Err(error), _) => {
                    let why = match error.help {
                        Some(help) => format!("{} ({help})", error.message),
                        None => error.message,
                    };
                    wrong.get_or_insert_with(|| format!("{}: {why}", forward.shown));
                    self.notes
                        .push(Note::LostForward(forward.shown.clone(), why));
                }
            }
        }
        let found: Vec<_> = found
            .into_iter()
            .filter(|(_, all)| !all.is_empty())
            .collect();
        match (found.is_empty(), wrong) {
            (false, _) => Ok(found),
            (true, Some(wrong)) => Err(wrong),
            (true, None) => Err(self.nothing_to_forward()),
        }
    }

    fn nothing_to_forward(&self) -> String {
        let host = self.job.command.host();
        let files: Vec<_> = self
            .job
            .files()
            .iter()
            .map(|f| f.display().to_string())
            .collect();
        let entry = match files.is_empty() {
            true => String::new(),
            false => format!(
                ", and no LocalForward, RemoteForward or DynamicForward for `{host}` in {}",
                files.join(" and ")
            ),
        };
        // A block that was passed over may be the one.
        let passed: String = warnings(&self.notes)
            .iter()
            .map(|text| format!("; {text}"))
            .collect();
        format!("forwards nothing: it has no -L, -R or -D{entry}{passed}")
    }
}

fn string_of(delay: Duration) -> String {
    humantime::format_duration(delay).to_string()
}

/// A path as a pattern that nothing else matches, quoted for a line of ssh_config(5).
fn pattern(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        match c {
            '*' | '?' | '[' => text.extend(['[', c, ']']),
            '%' => text.push_str("%%"),
            '"' | '\\' => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
    text
}
