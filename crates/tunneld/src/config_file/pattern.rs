//! Patterns of paths, as glob(7) reads them.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Paths, Pattern};

/// Neither a `/` nor a dot at the beginning of a name is found by a wildcard.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// How many folders of a pattern are looked at.
pub(super) const MAX_FOLDERS: usize = 1_000;

/// What matches a pattern, in the order of the names.
pub(super) fn matching(pattern: &str) -> Result<Paths, String> {
    // Two stars are one, as with ssh, and not every folder below this one.
    let mut wanted = pattern.to_owned();
    while wanted.contains("**") {
        wanted = wanted.replace("**", "*");
    }
    glob::glob_with(&wanted, OPTIONS).map_err(|e| e.msg.to_owned())
}

/// What an entry of `include` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This file, which has to be there.
    File(PathBuf),
    /// Every file that matches.
    Matching(String),
}

impl Wanted {
    /// What is written, relative to a folder or below the home directory (`~/`).
    pub(super) fn new(written: &str, folder: &Path, home: Option<&Path>) -> Self {
        let (folder, written) = match (written.strip_prefix("~/"), home) {
            (Some(below), Some(home)) => (home, below.trim_start_matches('/')),
            _ => (folder, written),
        };
        if !is_wild(written) {
            return Wanted::File(folder.join(written));
        }
        let folder = folder.to_string_lossy();
        Wanted::Matching(match folder.is_empty() || written.starts_with('/') {
            true => written.to_owned(),
            // A folder's own name is no pattern.
            false => format!("{}/{written}", Pattern::escape(&folder)),
        })
    }

    /// The folders in which a file may come or go that it asks for.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let pattern = match self {
            Wanted::File(path) => return path.parent().map(Path::to_owned).into_iter().collect(),
            Wanted::Matching(pattern) => Path::new(pattern),
        };
        let mut above: Vec<&Path> = pattern.ancestors().skip(1).collect();
        above.retain(|folder| !folder.as_os_str().is_empty());
        let wild = |folder: &&Path| folder.to_str().is_some_and(is_wild);
        // The last one without a wildcard, and all that are below it.
        let last_plain = above.iter().position(|folder| !wild(folder));
        above.truncate(last_plain.map_or(above.len(), |at| at + 1));
        let matching = above
            .into_iter()
            .filter_map(|folder| matching(&folder.to_string_lossy()).ok())
            .flatten();
        let mut found: Vec<PathBuf> = matching.filter_map(Result::ok).take(MAX_FOLDERS).collect();
        found.retain(|path| path.is_dir());
        if found.is_empty() {
            found.extend(nearest(pattern));
        }
        found
    }
}

/// The nearest folder above a path that is there.
pub(super) fn nearest(path: &Path) -> Option<PathBuf> {
    let mut above = path.ancestors().skip(1);
    above.find(|folder| folder.is_dir()).map(Path::to_owned)
}

/// Whether a text can match anything but itself.
fn is_wild(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_file_is_no_pattern() {
        let wanted = |written| Wanted::new(written, Path::new("/etc/a[b]"), Some("/h*".as_ref()));
        let file = |path: &str| Wanted::File(path.into());
        assert_eq!(wanted("c.toml"), file("/etc/a[b]/c.toml"));
        assert_eq!(wanted("/c.toml"), file("/c.toml"));
        assert_eq!(wanted("~/c.toml"), file("/h*/c.toml"));
        let matching = |pattern: &str| Wanted::Matching(pattern.to_owned());
        assert_eq!(wanted("c/*.toml"), matching("/etc/a[[]b[]]/c/*.toml"));
        assert_eq!(wanted("/c/*.toml"), matching("/c/*.toml"));
        assert_eq!(wanted("~/*.toml"), matching("/h[*]/*.toml"));
    }

    #[test]
    fn every_folder_is_found_in_which_a_file_may_come() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["a", "b"] {
            std::fs::create_dir_all(at("deep").join(name).join("x")).unwrap();
        }
        let folders = |written| {
            let mut found = Wanted::new(written, dir.path(), None).folders();
            found.sort();
            found
        };
        assert_eq!(folders("deep/*.toml"), [at("deep")]);
        let all = [
            at("deep"),
            at("deep/a"),
            at("deep/a/x"),
            at("deep/b"),
            at("deep/b/x"),
        ];
        assert_eq!(folders("deep/*/x/*.toml"), all);
        assert_eq!(folders("none/of/it/*.toml"), [dir.path()]);
        assert_eq!(folders("deep/a/one.toml"), [at("deep/a")]);
    }
}
