//! Where systemd has its units: UNIT FILE LOAD PATH of systemd.unit(5).

use std::fs;
use std::path::{Path, PathBuf};

use tunneld_core::import::Unit;

/// Where systemd looks for units, those that count more first.
const PLACES: [&str; 5] = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];

/// The folders of the units of the machine, or of the users.
pub(super) fn folders(kind: &str) -> impl Iterator<Item = PathBuf> {
    PLACES
        .into_iter()
        .map(move |place| Path::new(place).join(kind))
}

/// Where the units of the machine are: as somebody has told systemd, too.
pub(super) fn path() -> Vec<PathBuf> {
    let usual = || folders("systemd/system");
    match std::env::var_os("SYSTEMD_UNIT_PATH").filter(|path| !path.is_empty()) {
        None => usual().collect(),
        Some(path) => {
            let named: Vec<PathBuf> = std::env::split_paths(&path).collect();
            // With nothing at its end, the usual ones come after it.
            let goes_on = named.last().is_some_and(|last| last.as_os_str().is_empty());
            let named = named.into_iter().filter(|path| path.is_absolute());
            named.chain(usual().filter(|_| goes_on)).collect()
        }
    }
}

/// The file of a unit, in the first folder that has it; that of its template where it has none.
///
/// # Errors
///
/// What was looked for, and where.
pub(super) fn find(
    name: &str,
    instance: Option<&str>,
    folders: &[PathBuf],
) -> Result<PathBuf, String> {
    let names = Unit::files(name, instance);
    let mut all = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    match all.find(|path| path.exists()) {
        // As `systemctl mask` leaves it.
        Some(path) if is_masked(&path) => Err(format!(
            "is masked: {} is a link to /dev/null",
            path.display()
        )),
        Some(path) => Ok(path),
        None => {
            let list = |all: Vec<String>, and: &str| all.join(and);
            let names = names.iter().map(|name| format!("`{name}`")).collect();
            let folders = folders.iter().map(|path| path.display().to_string());
            Err(format!(
                "no such file here, and no unit {} in {}; a unit of a user's own is given by its path",
                list(names, " or "),
                list(folders.collect(), ", ")
            ))
        }
    }
}

/// Whether a file is there only to say that there is none.
pub(super) fn is_masked(path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|real| real == Path::new("/dev/null"))
}
