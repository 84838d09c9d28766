//! Units of systemd: their files, what adds to them, and what only this machine knows.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tunneld_core::import::{
    Command, Facts, Printed, Setting, Tunnel, Unit, UnitCommand, name_of_host,
};

use super::whose::Whose;
use super::{MAX_INPUTS, Made, Request, behind, drop_ins, named, read, search, text_of, tunnel};

/// What is said of what comes through a pipe.
const STDIN: &str = "standard input";

/// The specifiers that another machine has another value for.
const OF_THE_MACHINE: [char; 5] = ['H', 'l', 'm', 'b', 'v'];

/// Makes a tunnel of each command of a unit: of a file, by its name, or of those that are printed into
/// standard input.
pub(super) fn import(input: &Path, request: &Request, made: &mut Made) {
    if input == Path::new("-") {
        return printed(request, made);
    }
    let instance = request.instance.as_deref();
    let source = match is_name(input) {
        true => Source::named(&input.to_string_lossy(), instance),
        false => Source::file(input, instance),
    };
    let source = source.map_err(|e| behind::or_missing(input, e));
    add(&super::super::shown(input), source, request, made);
}

/// Whether it is the name of a unit, and not that of a file here.
fn is_name(input: &Path) -> bool {
    let text = input.as_os_str().as_encoded_bytes();
    !text.contains(&b'/') && fs::symlink_metadata(input).is_err()
}

/// Units that `systemctl cat` prints.
fn printed(request: &Request, made: &mut Made) {
    let units = text_of(io::stdin().lock()).map(|text| Printed::read(STDIN, &text));
    let wrong = match units {
        Ok(units) if units.is_empty() => {
            "is empty: it is for what `systemctl cat UNIT` prints".to_owned()
        }
        Ok(units) if units.len() > MAX_INPUTS => {
            format!("has more than {MAX_INPUTS} units, which is what one run takes")
        }
        Ok(units) => {
            for unit in units {
                let input = match unit.path.as_str() {
                    "" => STDIN.to_owned(),
                    path => path.to_owned(),
                };
                let source = Source {
                    name: unit.name().to_owned(),
                    file: PathBuf::from(unit.path),
                    texts: unit.texts,
                    printed: true,
                };
                add(&input, Ok(source), request, made);
            }
            return;
        }
        Err(reason) => reason,
    };
    made.errors.push(format!("{STDIN}: {wrong}"));
}

fn add(input: &str, source: Result<Source, String>, request: &Request, made: &mut Made) {
    let instance = request.instance.as_deref();
    let service = source.and_then(|source| Service::read(&source, instance, made));
    let service = service.map_err(|error| format!("{input}: {error}"));
    // What is wrong with a command is told with its place.
    let both = service.and_then(|service| Ok((service.commands()?, service)));
    match both {
        Ok((commands, service)) => {
            for command in &commands {
                // One too many says so.
                let full = made.is_full();
                let tunnel = service.tunnel(command, request, made);
                made.add(&command.place, tunnel);
                if full {
                    return;
                }
            }
        }
        Err(error) => made.errors.push(error),
    }
}

/// A unit as it is written.
struct Source {
    /// What it is called; empty where nobody knows.
    name: String,
    /// Where its file is: perhaps on another machine.
    file: PathBuf,
    /// The file, and those that add to it.
    texts: Vec<(String, String)>,
    /// Whether it was printed, perhaps on another machine.
    printed: bool,
}

impl Source {
    fn file(file: &Path, instance: Option<&str>) -> Result<Self, String> {
        let name = file.file_name().map(std::ffi::OsStr::to_string_lossy);
        let name = name.unwrap_or(Cow::Borrowed("")).into_owned();
        let texts = drop_ins::texts(file, &name, instance, &drop_ins::folders(file))?;
        let file = file.to_owned();
        Ok(Source::ours(name, file, texts))
    }

    /// One of the machine's, wherever systemd has it.
    fn named(name: &str, instance: Option<&str>) -> Result<Self, String> {
        let folders = search::path();
        let file = search::find(name, instance, &folders)?;
        // With its instance, which the file of a template does not have.
        let names = Unit::files(name, instance);
        let name = names.into_iter().next().unwrap_or_default();
        let texts = drop_ins::texts(&file, &name, instance, &folders)?;
        Ok(Source::ours(name, file, texts))
    }

    fn ours(name: String, file: PathBuf, texts: Vec<(String, String)>) -> Self {
        Source {
            name,
            file,
            texts,
            printed: false,
        }
    }
}

/// A unit, and who runs it.
struct Service {
    unit: Unit,
    whose: Whose,
    setting: Setting,
    facts: Facts,
}

impl Service {
    fn read(source: &Source, instance: Option<&str>, made: &mut Made) -> Result<Self, String> {
        let file = &source.file;
        let unit = Unit::read(&source.name, instance, &source.texts)?;
        let manager = manager(file);
        let mut facts = facts(&manager, is_of_user(file));
        if source.printed {
            facts.retain(|letter, _| !OF_THE_MACHINE.contains(letter));
        }
        let whose = match unit.user(&facts)? {
            Some(user) => Whose::named(&user),
            None => manager,
        };
        let mut texts = Vec::new();
        for (path, optional) in unit.environment_files(&facts)? {
            match read(&path) {
                Ok(text) => {
                    if source.printed {
                        made.warn(format!(
                            "EnvironmentFile={}: was read on this machine",
                            path.display()
                        ));
                    }
                    texts.push(text);
                }
                Err(_) if optional => {}
                Err(reason) => {
                    return Err(format!("EnvironmentFile={}: {reason}", path.display()));
                }
            }
        }
        let mut variables = whose.variables();
        variables.extend(unit.variables(&facts, &texts)?);
        let directory = match unit.directory(&facts)?.as_deref() {
            Some("~") => whose.home.clone(),
            Some(directory) => Some(PathBuf::from(directory)),
            None => Some(PathBuf::from("/")),
        };
        Ok(Service {
            unit,
            whose,
            setting: Setting {
                variables,
                directory,
            },
            facts,
        })
    }

    fn commands(&self) -> Result<Vec<UnitCommand>, String> {
        self.unit.commands(&self.facts, &self.setting.variables)
    }

    fn tunnel(
        &self,
        command: &UnitCommand,
        request: &Request,
        made: &mut Made,
    ) -> Result<Tunnel, String> {
        let lacks = command.lacks();
        let read = Command::read(&command.words, &self.setting);
        let read = read.map_err(|error| match &lacks {
            Some(lacks) => format!("{error}; {lacks}"),
            None => error,
        })?;
        if let Some(lacks) = lacks {
            made.warn(format!("{}: {lacks}", command.place));
        }
        let name = self.unit.tunnel_name();
        let name = name.unwrap_or_else(|| name_of_host(read.host()));
        let name = named(request, name);
        let mut job = self.whose.job(read, &self.setting, name, &command.place);
        job.restart = self.unit.restart();
        job.dropped = self.unit.dropped().to_vec();
        tunnel(&job, &self.whose, made)
    }
}

/// Whether it is a unit of a user's own service manager.
fn is_of_user(file: &Path) -> bool {
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    whole.to_string_lossy().contains("/systemd/user/")
}

/// Who runs the service manager.
fn manager(file: &Path) -> Whose {
    match fs::metadata(file) {
        _ if !is_of_user(file) => Whose::numbered(0),
        Ok(metadata) => Whose::numbered(metadata.uid()),
        // It was printed on another machine.
        Err(_) => Whose::ours(),
    }
}

/// The specifiers that do not depend on the name of the unit.
fn facts(manager: &Whose, of_user: bool) -> Facts {
    let line = |path: &str| {
        read(Path::new(path))
            .ok()
            .map(|text| text.trim().to_owned())
    };
    let below = |path: &str| {
        let home = manager.home.as_ref()?;
        Some(home.join(path).display().to_string())
    };
    let place = |theirs: &str, ours: &str| match of_user {
        true => below(theirs),
        false => Some(ours.to_owned()),
    };
    let host = line("/proc/sys/kernel/hostname");
    let short = host.as_ref().and_then(|host| host.split('.').next());
    let runtime = match of_user {
        true => format!("/run/user/{}", manager.uid),
        false => "/run".to_owned(),
    };
    let known = [
        ('H', host.clone()),
        ('l', short.map(str::to_owned)),
        ('m', line("/etc/machine-id")),
        (
            'b',
            line("/proc/sys/kernel/random/boot_id").map(|id| id.replace('-', "")),
        ),
        ('v', line("/proc/sys/kernel/osrelease")),
        ('u', Some(manager.user.clone())),
        ('U', Some(manager.uid.to_string())),
        (
            'h',
            manager.home.as_ref().map(|home| home.display().to_string()),
        ),
        ('t', Some(runtime)),
        ('C', place(".cache", "/var/cache")),
        ('E', place(".config", "/etc")),
        ('L', place(".local/state/log", "/var/log")),
        ('S', place(".local/state", "/var/lib")),
        ('T', Some("/tmp".to_owned())),
        ('V', Some("/var/tmp".to_owned())),
    ];
    known
        .into_iter()
        .filter_map(|(letter, value)| Some((letter, value?)))
        .collect()
}
