//! The files that add to a unit: systemd.unit(5).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tunneld_core::import::Unit;

use super::read;

/// How many files may add to a unit.
const MAX_DROP_INS: usize = 100;

/// Where systemd looks for units, those that count more first.
const UNITS: [&str; 5] = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];

/// The unit, and the files that add to it, in the order of their names: what they are called, and what
/// they say.
pub(super) fn texts(file: &Path, instance: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let mut texts = vec![(file.display().to_string(), read(file)?)];
    for path in found(file, instance)?.into_values() {
        // As `systemctl mask` leaves it.
        if fs::canonicalize(&path).is_ok_and(|real| real == Path::new("/dev/null")) {
            continue;
        }
        let shown = path.display().to_string();
        let text = read(&path).map_err(|reason| format!("{shown}: {reason}"))?;
        texts.push((shown, text));
    }
    Ok(texts)
}

/// By their names. Of two with one name the first one counts.
fn found(file: &Path, instance: Option<&str>) -> Result<BTreeMap<OsString, PathBuf>, String> {
    let real = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut names: Vec<String> = Vec::new();
    for path in [file, &real] {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        names.extend(Unit::folders(&name, instance));
    }
    let mut found = BTreeMap::new();
    for folder in folders(file, &real) {
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
fn folders(file: &Path, real: &Path) -> Vec<PathBuf> {
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let beside = [whole.as_path(), real].into_iter().filter_map(Path::parent);
    let mut beside: Vec<PathBuf> = beside.map(Path::to_owned).collect();
    beside.dedup();
    let is_in = |place: &str| {
        let mut beside = beside.iter();
        beside.any(|path| format!("{}/", path.display()).contains(&format!("/{place}/")))
    };
    let mut places = ["systemd/system", "systemd/user"].into_iter();
    let systems = places.find(|place| is_in(place));
    let systems = systems.into_iter();
    let systems: Vec<_> = systems
        .flat_map(|place| UNITS.map(|unit| Path::new(unit).join(place)))
        .collect();
    // The order of systemd's is its own.
    beside.retain(|folder| !systems.contains(folder));
    beside.into_iter().chain(systems).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_administrator_adds_to_a_unit_of_the_system_counts_more() {
        let file = Path::new("/usr/lib/systemd/system/tunnel@.service");
        let found = folders(file, file);
        assert_eq!(found.len(), 5, "{found:?}");
        assert_eq!(found[0], Path::new("/etc/systemd/system"));
        assert!(found.contains(&"/usr/lib/systemd/system".into()));
        let file = Path::new("/home/me/.config/systemd/user/t.service");
        let found = folders(file, file);
        assert_eq!(found[0], file.parent().unwrap());
        assert_eq!(found[1], Path::new("/etc/systemd/user"));
        let file = Path::new("/srv/t.service");
        assert_eq!(folders(file, file), [Path::new("/srv")]);
    }
}
