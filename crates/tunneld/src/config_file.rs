//! Reading the configuration file, and checking the files that it names.

mod denied;
pub(crate) mod files;
mod links;
mod owner;
mod pattern;
mod source;
pub(crate) mod ssh;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tunneld_core::config::{
    self, Config, Diagnostics, MAX_FILE_LEN, Origin, SshConfigs, Surroundings, Texts,
};
use tunneld_ssh::error::os_reason;

use crate::account::Account;
pub(crate) use denied::{is_denied, way_in};
pub(crate) use source::Source;

/// Where the configuration is unless somebody says otherwise.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/tunneld/tunneld.toml";

/// A file that was read, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    origin: Origin,
    /// The text of the file, and of those that it takes values from.
    texts: Texts,
    /// As [`Source::fingerprint`].
    pub(crate) fingerprint: u64,
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    Unreadable { path: PathBuf, reason: String },
    /// The file was read, and is wrong.
    Bad(Box<Diagnostics>),
}

impl LoadError {
    /// For people.
    pub(crate) fn render(&self, colour: bool) -> String {
        match self {
            LoadError::Unreadable { .. } => format!("error: {}", self.summary()),
            LoadError::Bad(diagnostics) => diagnostics.render(colour),
        }
    }

    /// What to do where there is no file at the place that nobody has named.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        let LoadError::Unreadable { path, .. } = self else {
            return None;
        };
        let is_missing =
            path == Path::new(DEFAULT_CONFIG) && matches!(path.try_exists(), Ok(false));
        is_missing.then_some(
            "--config FILE names another; `tunneld import` makes tunnels of what you have",
        )
    }

    /// One line: what is wrong, or how much is.
    pub(crate) fn summary(&self) -> String {
        match self {
            LoadError::Unreadable { path, reason } => {
                format!("cannot read {}: {reason}", path.display())
            }
            LoadError::Bad(diagnostics) => count(diagnostics.len()),
        }
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn count(errors: usize) -> String {
    match errors {
        1 => "1 error".to_owned(),
        n => format!("{n} errors"),
    }
}

/// Reads a file, with those that it includes and those of ssh that it names, and checks what it says.
pub(crate) fn load(path: &Path) -> Result<Loaded, LoadError> {
    source(path).check()
}

/// As [`load`] by a tunneld that runs as this user.
pub(crate) fn load_as(path: &Path, uid: u32) -> Result<Loaded, LoadError> {
    let account = Account::of(uid);
    let theirs = Surroundings {
        user: account.as_ref().map(|account| account.name.clone()),
        home: account.map(|account| account.home),
        ..surroundings()
    };
    Source::read(path, theirs.home.as_deref(), uid).check_with(theirs, uid)
}

/// Reads a file with those that it includes. Blocks.
pub(crate) fn source(path: &Path) -> Source {
    Source::read(path, home().as_deref(), own_uid())
}

impl Source {
    /// Reads the files of ssh that it names, and checks what it says. Blocks.
    pub(crate) fn check(self) -> Result<Loaded, LoadError> {
        self.check_with(surroundings(), own_uid())
    }

    fn check_with(self, mut surroundings: Surroundings, uid: u32) -> Result<Loaded, LoadError> {
        let fingerprint = self.fingerprint();
        let Source {
            path,
            main,
            includes,
            ..
        } = self;
        let origin = Origin::of_file(&path);
        let bytes = main.map_err(|reason| LoadError::Unreadable { path, reason })?;
        surroundings.includes = includes;
        let named = config::ssh_config_paths(&bytes, &origin, &surroundings);
        surroundings.ssh_configs = ssh::read(named, &surroundings, uid);
        let config = config::load_bytes(&bytes, &origin, &surroundings)
            .map_err(|diagnostics| LoadError::Bad(Box::new(diagnostics)))?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(Loaded {
            config,
            texts: Texts::with_all(&origin, text, &surroundings),
            origin,
            fingerprint,
        })
    }
}

/// The file itself; one byte more than is allowed, so that the parser can tell that it is too much.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open(path)?;
    file.take(MAX_FILE_LEN as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn reason(path: &Path, e: &io::Error) -> String {
    format!("{}: {}", path.display(), os_reason(e))
}

/// Opens a regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // To open a pipe would wait for whoever writes to it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

impl Loaded {
    /// The effective configuration, each value with the place that it comes from.
    pub(crate) fn effective(&self) -> String {
        config::effective_with_places(&self.config, &self.texts)
    }
}

/// The control socket that a file names, if it names one, even if the file is wrong otherwise; or why
/// the file cannot be read.
pub(crate) fn control_socket(path: &Path) -> Result<Option<PathBuf>, String> {
    let bytes = read(path).map_err(|e| os_reason(&e))?;
    Ok(config::control_socket(&bytes, &Origin::of_file(path)))
}

/// Whether a file that can be read is so wrong that nobody can tell which control socket it names.
pub(crate) fn hides_control_socket(path: &Path) -> bool {
    read(path).is_ok_and(|bytes| config::hides_control_socket(&bytes, &Origin::of_file(path)))
}

/// What ssh would take for `user` and `~`: the running user's own.
pub(crate) fn surroundings() -> Surroundings {
    Surroundings {
        user: login_name(),
        home: home(),
        aes_hardware: tunneld_ssh::has_aes_hardware(),
        ssh_configs: SshConfigs::new(),
        includes: Vec::new(),
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn home() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from)
}

fn login_name() -> Option<String> {
    // The name of the effective user; the environment may still tell of another one.
    let account = Account::of(own_uid());
    let by_uid = account.map(|account| account.name);
    by_uid.or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()))
}
