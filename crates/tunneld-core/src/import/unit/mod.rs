//! Units of systemd that run ssh or autossh: systemd.syntax(7), systemd.service(5), systemd.exec(5).

mod environment;
mod printed;
mod specifiers;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::discreet;
use crate::config::quoted;
use crate::config::values::parse_duration;

pub use printed::Printed;
pub use specifiers::Facts;
use specifiers::Name;
use words::Word;

/// How many commands a unit may have.
const MAX_COMMANDS: usize = 100;

/// What a service says about the commands that it runs.
#[derive(Debug, Clone)]
pub struct Unit {
    name: Name,
    /// `ExecStart=`, each with the place where it is written.
    commands: Vec<(String, String)>,
    environment: Vec<String>,
    files: Vec<String>,
    user: Option<String>,
    directory: Option<String>,
    restart: Option<String>,
    /// `NetworkNamespacePath=`, as it is written.
    network: Option<String>,
    /// `PrivateNetwork=`, as it is written, where it is on.
    private: Option<String>,
    dropped: Vec<(String, String)>,
}

/// A command that a unit runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCommand {
    /// Its program, and its arguments.
    pub words: Vec<String>,
    /// Where it is written.
    pub place: String,
    /// The variables in it that are set nowhere, so that they are empty.
    pub unset: BTreeSet<String>,
}

impl UnitCommand {
    /// That some of its variables are set nowhere, where there are such.
    pub fn lacks(&self) -> Option<String> {
        let names: Vec<&str> = self.unset.iter().map(String::as_str).collect();
        let (last, before) = names.split_last()?;
        Some(match before {
            [] => format!("{last} is set nowhere in the unit"),
            _ => format!(
                "{} and {last} are set nowhere in the unit",
                before.join(", ")
            ),
        })
    }
}

/// What is around the command and has no place in a tunnel: the setting, and why.
const DROPPED: &[(&str, &str)] = &[
    ("BindPaths", THEIR_FILES),
    ("BindReadOnlyPaths", THEIR_FILES),
    ("DynamicUser", "the tunnel runs as the user of tunneld"),
    ("ExecCondition", "nothing is run before a session"),
    ("ExecReload", "`tunneld reload`"),
    ("ExecStartPost", "nothing is run for a session"),
    ("ExecStartPre", "nothing is run before a session"),
    ("ExecStop", "`tunneld stop`"),
    ("ExecStopPost", "nothing is run after a session"),
    ("LoadCredential", THEIR_CREDENTIALS),
    ("LoadCredentialEncrypted", THEIR_CREDENTIALS),
    (
        "PassEnvironment",
        "the variables of the service manager are not known here: those in the command are empty",
    ),
    ("Restart", "it always comes back by itself"),
    ("RootDirectory", THEIR_FILES),
    ("RootImage", THEIR_FILES),
    ("RuntimeMaxSec", "it does not end by itself"),
    ("SetCredential", THEIR_CREDENTIALS),
    ("SetCredentialEncrypted", THEIR_CREDENTIALS),
    (
        "UnsetEnvironment",
        "the variables are taken as they were before it",
    ),
];

const THEIR_FILES: &str = "the files of the tunnel are those that tunneld sees: correct the paths";

const THEIR_CREDENTIALS: &str = "tunneld has credentials of its own: give it to tunneld.service";

/// What is shown of a setting: of a command the program, and of a value that may be a secret the name.
fn shown(key: &str, value: &str) -> String {
    let ends = match key {
        _ if key.starts_with("Exec") => return format!("{key}={}", discreet::program(value)),
        "SetCredential" | "SetCredentialEncrypted" => ':',
        "UnsetEnvironment" => '=',
        _ => return format!("{key}={value}"),
    };
    match value.split_once(ends) {
        Some((name, _)) => format!("{key}={name}{ends}…"),
        None => format!("{key}={value}"),
    }
}

impl Unit {
    /// Reads a unit: its file first, and then the files that add to it. `name` is that of the file,
    /// such as `tunnel@db.service`, and empty where nobody knows it; `instance` stands behind the `@`
    /// of a template.
    ///
    /// # Errors
    ///
    /// What is not a service: one line, lowercase, no full stop.
    pub fn read(
        name: &str,
        instance: Option<&str>,
        texts: &[(String, String)],
    ) -> Result<Self, String> {
        let mut unit = Unit {
            name: Name::new(name, instance),
            commands: Vec::new(),
            environment: Vec::new(),
            files: Vec::new(),
            user: None,
            directory: None,
            restart: None,
            network: None,
            private: None,
            dropped: Vec::new(),
        };
        for (file, text) in texts {
            for (line, key, value) in settings(text) {
                unit.set(key, value, format!("{file}:{line}"));
            }
        }
        if let Some(network) = unit.network.as_ref().or(unit.private.as_ref()) {
            let shown = quoted(network);
            return Err(format!(
                "runs in a network of its own, {shown}: a tunnel goes the way of tunneld, so run \
                 one there"
            ));
        }
        match unit.commands.len() {
            0 => Err("has no ExecStart= in a section [Service]".to_owned()),
            n if n > MAX_COMMANDS => Err(format!("has more than {MAX_COMMANDS} ExecStart=")),
            _ => Ok(unit),
        }
    }

    /// What the folders are called whose files add to a unit, those that count more first. `name` is
    /// that of its file, and `instance` stands behind the `@` of a template.
    pub fn folders(name: &str, instance: Option<&str>) -> Vec<String> {
        Name::new(name, instance).folders()
    }

    /// What the file of a unit may be called, those that count more first: its own name, and that of
    /// its template. Without a type it is a service.
    pub fn files(name: &str, instance: Option<&str>) -> Vec<String> {
        let name = match name.ends_with(".service") {
            true => name.to_owned(),
            false => format!("{name}.service"),
        };
        Name::new(&name, instance).files()
    }

    fn set(&mut self, key: &str, value: String, place: String) {
        let some = (!value.is_empty()).then(|| value.clone());
        match key {
            // Without a value it takes back what was said before.
            "ExecStart" if value.is_empty() => self.commands.clear(),
            "ExecStart" => self.commands.push((value, place)),
            "Environment" if value.is_empty() => self.environment.clear(),
            "Environment" => self.environment.push(value),
            "EnvironmentFile" if value.is_empty() => self.files.clear(),
            "EnvironmentFile" => self.files.push(value),
            "User" => self.user = some,
            "WorkingDirectory" => self.directory = some,
            "RestartSec" => self.restart = some,
            "NetworkNamespacePath" => self.network = some.map(|path| format!("{key}={path}")),
            "PrivateNetwork" => {
                let on = ["1", "yes", "y", "true", "t", "on"];
                let is_on = on.iter().any(|on| value.eq_ignore_ascii_case(on));
                self.private = is_on.then(|| format!("{key}={value}"));
            }
            _ => {
                if let Some((_, why)) = DROPPED.iter().find(|(known, _)| *known == key) {
                    self.dropped.push((shown(key, &value), (*why).to_owned()));
                }
            }
        }
    }

    /// What a tunnel of it may be called: the name of the file, without what only says that it is a
    /// tunnel. `None` where nobody knows that name.
    pub fn tunnel_name(&self) -> Option<String> {
        const BEGINNINGS: [&str; 4] = ["autossh", "ssh-tunnel", "sshtunnel", "ssh"];
        let stem = Some(self.name.stem()).filter(|stem| !stem.is_empty())?;
        let rest = BEGINNINGS.iter().find_map(|begin| {
            let rest = stem.strip_prefix(begin)?;
            rest.strip_prefix(['-', '@', '_'])
                .filter(|rest| !rest.is_empty())
        });
        Some(super::tunnel::name_of(rest.unwrap_or(stem)))
    }

    /// The user that runs it, if it is not the one of the service manager.
    ///
    /// # Errors
    ///
    /// A specifier that is not known.
    pub fn user(&self, facts: &Facts) -> Result<Option<String>, String> {
        let user = self.user.as_ref();
        user.map(|user| self.name.expand(user, facts)).transpose()
    }

    /// The folder that it runs in; `~` is the user's home.
    ///
    /// # Errors
    ///
    /// A specifier that is not known.
    pub fn directory(&self, facts: &Facts) -> Result<Option<String>, String> {
        let written = self
            .directory
            .as_ref()
            .map(|dir| dir.trim_start_matches('-'));
        written.map(|dir| self.name.expand(dir, facts)).transpose()
    }

    /// The files of `EnvironmentFile=`, and whether there need not be such a file.
    ///
    /// # Errors
    ///
    /// A specifier that is not known.
    pub fn environment_files(&self, facts: &Facts) -> Result<Vec<(PathBuf, bool)>, String> {
        let files = self.files.iter().map(|written| {
            let (path, optional) = match written.strip_prefix('-') {
                Some(path) => (path, true),
                None => (written.as_str(), false),
            };
            Ok((self.name.expand(path, facts)?.into(), optional))
        });
        files.collect()
    }

    /// The variables that it is run with: those of `Environment=`, and those of the files, which
    /// count more.
    ///
    /// # Errors
    ///
    /// A specifier that is not known, and a quote that is not closed.
    pub fn variables(
        &self,
        facts: &Facts,
        files: &[String],
    ) -> Result<BTreeMap<String, String>, String> {
        let mut variables = BTreeMap::new();
        for line in &self.environment {
            for word in words::words(line).map_err(|e| format!("Environment= {e}"))? {
                let text = self.name.expand(&word.text, facts)?;
                if let Some((name, value)) = super::command::assignment(&text) {
                    variables.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        for text in files {
            variables.extend(environment::variables(text));
        }
        Ok(variables)
    }

    /// The commands of `ExecStart=`, as they are run.
    ///
    /// # Errors
    ///
    /// A specifier that is not known, and a quote that is not closed; with the place.
    pub fn commands(
        &self,
        facts: &Facts,
        variables: &BTreeMap<String, String>,
    ) -> Result<Vec<UnitCommand>, String> {
        let mut found = Vec::new();
        for (line, place) in &self.commands {
            let wrong = |e: String| format!("{place}: ExecStart= {e}");
            for words in self.command(line, facts).map_err(wrong)? {
                let mut unset = BTreeSet::new();
                found.push(UnitCommand {
                    words: run(words, variables, &mut unset),
                    place: place.clone(),
                    unset,
                });
            }
        }
        Ok(found)
    }

    /// The words of each command of a line.
    fn command(&self, line: &str, facts: &Facts) -> Result<Vec<Vec<String>>, String> {
        let words = words::words(line)?;
        let is_end = |word: &Word| !word.quoted && word.text == ";";
        let mut commands = Vec::new();
        for words in words.split(is_end).filter(|words| !words.is_empty()) {
            let mut texts = Vec::with_capacity(words.len());
            for word in words {
                texts.push(self.name.expand(&word.text, facts)?);
            }
            commands.push(texts);
        }
        Ok(commands)
    }

    /// How long the service manager waits before it starts it again.
    pub fn restart(&self) -> Option<Duration> {
        let text = self.restart.as_deref()?;
        match text.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => parse_duration(text).ok(),
        }
    }

    /// What else it says and a tunnel does not, each with the reason.
    pub fn dropped(&self) -> &[(String, String)] {
        &self.dropped
    }
}

/// The words of a command without what stands before its program, and with its variables filled in.
fn run(
    mut words: Vec<String>,
    variables: &BTreeMap<String, String>,
    unset: &mut BTreeSet<String>,
) -> Vec<String> {
    let first = words.first().cloned().unwrap_or_default();
    let program = first.trim_start_matches(['-', '@', ':', '+', '!', '|']);
    let prefixes = &first[..first.len() - program.len()];
    if let Some(first) = words.first_mut() {
        program.clone_into(first);
    }
    if prefixes.contains('@') && words.len() > 1 {
        // What it is called, and not one of its arguments.
        words.remove(1);
    }
    match prefixes.contains(':') {
        true => words,
        false => environment::filled_in(&words, variables, unset),
    }
}

/// The settings of the section [Service]: the line, the key and the value of each. A backslash at the
/// end of a line stands for a blank, and comments in between do not end it.
fn settings(text: &str) -> Vec<(usize, &str, String)> {
    let mut found: Vec<(usize, &str, String)> = Vec::new();
    let mut service = false;
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) || (trimmed.is_empty() && !goes_on) {
            continue;
        }
        let (part, more) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        if goes_on {
            if let Some((_, _, value)) = found.last_mut().filter(|_| service) {
                value.push(' ');
                value.push_str(part.trim());
            }
        } else if trimmed.starts_with('[') {
            service = trimmed == "[Service]";
        } else if let Some((key, value)) = part.split_once('=').filter(|_| service) {
            found.push((index + 1, key.trim(), value.trim().to_owned()));
        }
        goes_on = more;
    }
    for (_, _, value) in &mut found {
        *value = value.trim().to_owned();
    }
    found
}

fn unknown(specifier: &str, why: &str) -> String {
    format!("has {}, {why}", quoted(specifier))
}
