//! The files that add to a unit: systemd.unit(5).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tunneld_core::import::Unit;

use super::{read, search};

/// How many files may add to a unit.
const MAX_DROP_INS: usize = 100;

/// The file of a unit, and those in these folders that add to it, in the order of their names: what
/// they are called, and what they say. `name` is what the unit is called.
pub(super) fn texts(
    file: &Path,
    name: &str,
    instance: Option<&str>,
    folders: &[PathBuf],
) -> Result<Vec<(String, String)>, String> {
    let mut texts = vec![(file.display().to_string(), read(file)?)];
    let paths = found(file, name, instance, folders)?.into_values();
    for path in paths.filter(|path| !search::is_masked(path)) {
        let shown = path.display().to_string();
        let text = read(&path).map_err(|reason| format!("{shown}: {reason}"))?;
        texts.push((shown, text));
    }
    Ok(texts)
}

/// By their names. Of two with one name the first one counts.
fn found(
    file: &Path,
    name: &str,
    instance: Option<&str>,
    folders: &[PathBuf],
) -> Result<BTreeMap<OsString, PathBuf>, String> {
    let real = real(file);
    let real = real.file_name().unwrap_or_default().to_string_lossy();
    let mut names = Unit::folders(name, instance);
    names.extend(Unit::folders(&real, instance));
    let mut found = BTreeMap::new();
    for folder in folders {
        for name in &names {
            let entries = fs::read_dir(folder.join(name)).into_iter().flatten();
            let paths = entries.flatten().map(|entry| entry.path());
            let paths = paths.filter(|path| path.extension().is_some_and(|end| end == "conf"));
            for path in paths.take(MAX_DROP_INS + 1) {
                let name = path.file_name().unwrap_or_default().to_owned();
                found.entry(name).or_insert(path);
            }
        }
    }
    match found.len() > MAX_DROP_INS {
        true => Err(format!("has more than {MAX_DROP_INS} files that add to it")),
        false => Ok(found),
    }
}

/// Where these folders may be: beside the file and what it is a link to, and where systemd looks if it
/// is one of systemd's.
pub(super) fn folders(file: &Path) -> Vec<PathBuf> {
    let real = real(file);
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let beside = [whole.as_path(), &real]
        .into_iter()
        .filter_map(Path::parent);
    let mut beside: Vec<PathBuf> = beside.map(Path::to_owned).collect();
    beside.dedup();
    let is_in = |place: &str| {
        let mut beside = beside.iter();
        beside.any(|path| format!("{}/", path.display()).contains(&format!("/{place}/")))
    };
    let mut places = ["systemd/system", "systemd/user"].into_iter();
    let systems = places.find(|place| is_in(place));
    let systems = systems.into_iter();
    let systems: Vec<_> = systems.flat_map(search::folders).collect();
    // The order of systemd's is its own.
    beside.retain(|folder| !systems.contains(folder));
    beside.into_iter().chain(systems).collect()
}

/// What it is a link to.
fn real(file: &Path) -> PathBuf {
    fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_administrator_adds_to_a_unit_of_the_system_counts_more() {
        let file = Path::new("/usr/lib/systemd/system/tunnel@.service");
        let found = folders(file);
        assert_eq!(found.len(), 5, "{found:?}");
        assert_eq!(found[0], Path::new("/etc/systemd/system"));
        assert!(found.contains(&"/usr/lib/systemd/system".into()));
        let file = Path::new("/home/me/.config/systemd/user/t.service");
        let found = folders(file);
        assert_eq!(found[0], file.parent().unwrap());
        assert_eq!(found[1], Path::new("/etc/systemd/user"));
        let file = Path::new("/srv/t.service");
        assert_eq!(folders(file), [Path::new("/srv")]);
    }
}
