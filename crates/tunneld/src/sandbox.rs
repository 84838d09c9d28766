//! The rights that the daemon gives up by itself at its start, for good: a hole in it is worth less.
//!
//! - Nobody but root can trace it or read its memory, and it leaves no core dump with keys in it
//!   (`PR_SET_DUMPABLE`, prctl(2)). Programs that it starts have their own setting.
//! - It runs no program from a file system, writes only where its tunnels need it, and cannot gain rights
//!   (landlock(7), `PR_SET_NO_NEW_PRIVS`). Memory (memfd_create(2)) is in no file system: Landlock does not
//!   look at it. From Linux 6.2 on it cuts no other file short, and from 6.12 on it sends
//!   no signal to others. Programs would inherit that and do less than they were written for, so it
//!   is done only where the file names none. Reading and the network are the daemon's work, and are
//!   not restricted; but other processes cannot be looked into, so that who holds a port is known by
//!   its user only.
//!
//! A reload may want more than is left: `tunneld_core::plan` says so.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    Scope, make_bitflags,
};
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};
use tunneld_core::config::{self, Config};
use tunneld_core::events;
use tunneld_core::sandbox::{Needs, named};
use tunneld_ssh::sandbox::rights_given_up;

/// What there is to do with files in a folder; one of any kind may have to be put out of the way.
const FILES: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    WriteFile | Truncate | RemoveFile | RemoveDir | MakeReg | MakeDir | MakeSym | MakeSock | MakeFifo
});
/// What there is to do with a file that is added to where it is, and never replaced. Its folder may
/// hold what gives others rights: `authorized_keys`, `sshd_config`.
const FILE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ WriteFile | Truncate });
/// What there is to do with sockets in a folder, and to make the folder itself.
const SOCKETS: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ MakeSock | RemoveFile | MakeDir });

/// What there is to do with the file of a socket of an earlier run.
const LEFT: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ RemoveFile });

/// The most keys of programs, and places, that the log names.
const MAX_PROGRAMS: usize = 3;
const MAX_PLACES: usize = 16;

/// What the daemon has given up.
pub(crate) struct Sandbox {
    /// How the rest is restricted, or why it is not.
    restricted: Result<Restricted, String>,
}

struct Restricted {
    /// The version of the kernel's Landlock.
    abi: i32,
    given: Needs,
    /// The folders, and files, that can be written.
    places: String,
}

impl Sandbox {
    /// Gives up what the file does not need. Threads inherit that of the one that makes them: this is
    /// for the first one, before there are others. `state` is where the history is kept, and `left` are
    /// folders of sockets of an earlier run. Nothing fails: what cannot be had is told.
    pub(crate) fn enter(
        config: &Config,
        socket: Option<&Path>,
        state: Option<PathBuf>,
        left: BTreeSet<PathBuf>,
    ) -> Sandbox {
        if !config.daemon.sandbox {
            return Sandbox::off("`sandbox = false` in [daemon]");
        }
        // What is in force is asked for when it is told.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        let needs = Needs::of(config);
        let programs: Vec<_> = needs.programs.iter().cloned().collect();
        if let Some(programs) = named(&programs, MAX_PROGRAMS) {
            return Sandbox::off(&format!("{programs} would inherit it"));
        }
        let mut rights = Rights::of(needs, config, socket, state);
        rights.left.extend(left);
        let restricted = match rights.restrict() {
            Ok(Some(abi)) => {
                rights_given_up();
                Ok(Restricted {
                    abi,
                    places: rights.places(),
                    given: rights.given,
                })
            }
            Ok(None) => Err(
                "no Landlock: the kernel has none, or a filter of system calls withholds it"
                    .to_owned(),
            ),
            Err(e) => Err(e.to_string()),
        };
        Sandbox { restricted }
    }

    fn off(why: &str) -> Sandbox {
        Sandbox {
            restricted: Err(why.to_owned()),
        }
    }

    /// The rights that are left, if any were given up that a reload may want.
    pub(crate) fn given(&self) -> Option<Needs> {
        let restricted = self.restricted.as_ref().ok()?;
        Some(restricted.given.clone())
    }

    /// Says in the log what is in force.
    pub(crate) fn tell(&self) {
        let no_new_privs = rustix::thread::no_new_privs().unwrap_or(false);
        let dumpable = !matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        match &self.restricted {
            Ok(Restricted { abi, places, .. }) => tracing::info!(
                message_id = events::SANDBOX,
                landlock = abi,
                no_new_privs,
                dumpable,
                "in a sandbox: no programs, and no writing but in {places}"
            ),
            Err(why) => tracing::info!(
                message_id = events::SANDBOX,
                landlock = 0,
                no_new_privs,
                dumpable,
                "programs and writing are not restricted by tunneld itself: {why}"
            ),
        }
    }
}

/// What is left to the daemon, and where that is on the disk.
#[derive(Default)]
struct Rights {
    given: Needs,
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    sockets: Vec<PathBuf>,
    left: Vec<PathBuf>,
}

impl Rights {
    /// What the tunnels need, what the daemon itself does, and where a reload is most likely to want
    /// to write.
    fn of(needs: Needs, config: &Config, socket: Option<&Path>, state: Option<PathBuf>) -> Rights {
        let mut rights = Rights::default();
        let own = named_by_the_service_manager();
        rights.sockets(own.clone());
        rights.folders(own.into_iter().chain(state));
        rights.files(&needs);
        let socket = socket.unwrap_or(&config.daemon.control_socket);
        // A path without a folder is in the one that the daemon works in.
        let socket = std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
        rights.sockets(socket.parent().map(Path::to_owned));
        rights.sockets(needs.sockets);
        rights
    }

    /// The daemon's own. What is not there and cannot be made is not given: a folder above it has
    /// other things in it.
    fn folders(&mut self, folders: impl IntoIterator<Item = PathBuf>) {
        for folder in folders {
            if !folder.is_dir() {
                // Who wants to write there says that it cannot.
                let _ = DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&folder);
            }
            if folder.is_dir() {
                self.folders.push(folder.clone());
                self.given.files.insert(folder);
            }
        }
    }

    /// Files of known hosts: those that keys are learnt to, and tunneld's own.
    fn files(&mut self, needs: &Needs) {
        let ours = config::default_known_hosts(None).into_iter().next();
        let ours = ours.map(|file| file.value);
        let given = self.folders.clone();
        let outside = |file: &&PathBuf| !given.iter().any(|folder| file.starts_with(folder));
        for file in needs.files.iter().filter(outside) {
            if !file.exists() {
                // It has to be there to be given, and not its folder. Who may not make it now may not
                // do so later, and is told then.
                let mut options = OpenOptions::new();
                let options = options.append(true).create(true).mode(0o600);
                let _ = options.open(file);
            }
        }
        // One that is not there has no hosts that further keys could be added to.
        let files = needs.files.iter().chain(&needs.further).chain(&ours);
        for file in files.filter(outside).filter(|file| file.is_file()) {
            self.files.push(file.clone());
            self.given.files.insert(file.clone());
        }
    }

    /// The folder of a socket may come and be there later, with the service that it belongs to.
    fn sockets(&mut self, folders: impl IntoIterator<Item = PathBuf>) {
        for folder in folders {
            self.sockets.extend(nearest(&folder));
            self.given.sockets.insert(folder);
        }
    }

    /// Gives up everything else. Returns the version of Landlock; `None` where there is none, and
    /// nothing was given up.
    fn restrict(&self) -> Result<Option<i32>, RulesetError> {
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_write(ABI::V1) | AccessFs::Execute);
        let Ok(rules) = rules else { return Ok(None) };
        let rules = rules
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::Truncate)?
            .scope(Scope::Signal)?
            .create()?;
        let rules = self.allow(rules)?;
        Ok(version(&rules.restrict_self()?))
    }

    fn allow(&self, mut rules: RulesetCreated) -> Result<RulesetCreated, RulesetError> {
        for (places, access) in self.all() {
            for place in places {
                // One that cannot be reached cannot be written anyhow.
                if let Ok(place) = PathFd::new(place) {
                    rules = rules.add_rule(PathBeneath::new(place, access))?;
                }
            }
        }
        Ok(rules)
    }

    fn all(&self) -> [(&[PathBuf], BitFlags<AccessFs>); 4] {
        [
            (&self.folders, FILES),
            (&self.files, FILE),
            (&self.sockets, SOCKETS),
            (&self.left, LEFT),
        ]
    }

    fn places(&self) -> String {
        let all = self.all().into_iter().flat_map(|(places, _)| places);
        let mut all: Vec<_> = all.map(|place| place.display().to_string()).collect();
        all.sort();
        all.dedup();
        named(&all, MAX_PLACES).unwrap_or_else(|| "no folder".to_owned())
    }
}

fn version(status: &RestrictionStatus) -> Option<i32> {
    match status.landlock {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => Some(kernel_abi.unwrap_or(effective_abi as i32)),
        _ => None,
    }
}

/// The folders that systemd makes for the service, if it has started it (systemd.exec(5),
/// `RuntimeDirectory=`).
fn named_by_the_service_manager() -> Vec<PathBuf> {
    let variables = ["RUNTIME_DIRECTORY", "STATE_DIRECTORY"];
    let values = variables.iter().filter_map(|name| std::env::var(name).ok());
    let folders = values.flat_map(|value| value.split(':').map(PathBuf::from).collect::<Vec<_>>());
    folders.filter(|folder| folder.is_absolute()).collect()
}

/// The folder, or the nearest one above it that is there.
fn nearest(folder: &Path) -> Option<PathBuf> {
    let found = folder.ancestors().find(|folder| folder.is_dir())?;
    Some(found.to_owned())
}

#[cfg(test)]
mod tests;
