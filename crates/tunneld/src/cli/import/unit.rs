//! Units of systemd: their files, what adds to them, and what only this machine knows.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tunneld_core::import::{Command, Facts, Setting, Tunnel, Unit, UnitCommand};

use super::whose::Whose;
use super::{Made, Request, drop_ins, named, read, tunnel};

/// Makes a tunnel of each command of a unit.
pub(super) fn import(file: &Path, request: &Request, made: &mut Made) {
    let input = super::super::shown(file);
    match Service::read(file, request.instance.as_deref()) {
        Ok(service) => {
            for command in &service.commands {
                let tunnel = service.tunnel(command, request, made);
                made.add(&command.place, tunnel);
            }
        }
        Err(error) => made.errors.push(format!("{input}: {error}")),
    }
}

/// A unit, and who runs it.
struct Service {
    unit: Unit,
    whose: Whose,
    setting: Setting,
    commands: Vec<UnitCommand>,
}

impl Service {
    fn read(file: &Path, instance: Option<&str>) -> Result<Self, String> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let unit = Unit::read(&name, instance, &drop_ins::texts(file, instance)?)?;
        let manager = manager(file);
        let facts = facts(&manager, is_of_user(file));
        let whose = match unit.user(&facts)? {
            Some(user) => Whose::named(&user),
            None => manager,
        };
        let mut texts = Vec::new();
        for (path, optional) in unit.environment_files(&facts)? {
            match read(&path) {
                Ok(text) => texts.push(text),
                Err(_) if optional => {}
                Err(reason) => {
                    return Err(format!("EnvironmentFile={}: {reason}", path.display()));
                }
            }
        }
        let mut variables = whose.variables();
        variables.extend(unit.variables(&facts, &texts)?);
        let commands = unit.commands(&facts, &variables)?;
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
            commands,
        })
    }

    fn tunnel(
        &self,
        command: &UnitCommand,
        request: &Request,
        made: &mut Made,
    ) -> Result<Tunnel, String> {
        let read = Command::read(&command.words, &self.setting)?;
        let name = named(request, self.unit.tunnel_name());
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
        Ok(metadata) if is_of_user(file) => Whose::numbered(metadata.uid()),
        _ => Whose::numbered(0),
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
