//! Reading the configuration file, and checking the files that it names.

pub(crate) mod files;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tunneld_core::config::{self, Config, Diagnostics, MAX_FILE_LEN, Origin, Surroundings};
use tunneld_ssh::error::os_reason;

/// A file that was read, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    origin: Origin,
    text: String,
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

/// Reads a file and checks what it says.
pub(crate) fn load(path: &Path) -> Result<Loaded, LoadError> {
    let bytes = read(path).map_err(|e| LoadError::Unreadable {
        path: path.to_owned(),
        reason: os_reason(&e),
    })?;
    let origin = Origin::of_file(path);
    let config = config::load_bytes(&bytes, &origin, &surroundings())
        .map_err(|diagnostics| LoadError::Bad(Box::new(diagnostics)))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Loaded {
        config,
        origin,
        text,
    })
}

/// One byte more than is allowed, so that the parser can tell that it is too much.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open(path)?;
    file.take(MAX_FILE_LEN as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file.
fn open(path: &Path) -> io::Result<File> {
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

/// The control socket that a file names, even if the file is wrong otherwise.
pub(crate) fn control_socket(path: &Path) -> Option<PathBuf> {
    config::control_socket(&read(path).ok()?, &Origin::of_file(path))
}

/// What ssh would take for `user` and `~`: the running user's own.
fn surroundings() -> Surroundings {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    Surroundings {
        user: login_name(),
        home: home.map(PathBuf::from),
        aes_hardware: tunneld_ssh::has_aes_hardware(),
    }
}

fn login_name() -> Option<String> {
    // The name of the effective user; the environment may still tell of another one.
    let by_uid = name_of(rustix::process::geteuid().as_raw());
    by_uid.or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()))
}

/// The login name of a user of /etc/passwd.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id: u32 = fields.nth(1)?.parse().ok()?;
        (id == uid).then(|| name.to_owned())
    })
}
