//! The symbolic links on the way to a file: whoever sets one anew puts another file under its name.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::pattern::MAX_FOLDERS;

/// How many links are followed on one way: as path_resolution(7).
const MAX_LINKS: usize = 40;

/// The folders that hold the links on the ways that were followed.
#[derive(Default)]
pub(super) struct Links {
    seen: HashSet<PathBuf>,
    pub(super) folders: HashSet<PathBuf>,
}

impl Links {
    /// Adds those on the way to `path`, and on the ways that these lead.
    pub(super) fn follow(&mut self, path: &Path) {
        let mut left = MAX_LINKS;
        let mut ways = vec![path.to_owned()];
        while let Some(way) = ways.pop() {
            for at in way.ancestors() {
                let is_new = self.seen.insert(at.to_owned());
                if !is_new || left == 0 || self.folders.len() >= MAX_FOLDERS {
                    break;
                }
                let Ok(target) = at.read_link() else {
                    continue;
                };
                left -= 1;
                let folder = at.parent().filter(|folder| !folder.as_os_str().is_empty());
                let folder = folder.unwrap_or(Path::new("."));
                ways.push(folder.join(target));
                // By one name, however the links come to it.
                let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
                self.folders.insert(folder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn each_folder_is_found_in_which_a_link_on_the_way_could_be_set_anew() {
        // A link in the middle, to another; in circles, too.
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(root.join("c/d")).unwrap();
        symlink("../../c/e", root.join("a/b/link")).unwrap();
        symlink("d", root.join("c/e")).unwrap();
        let found = |path: &str| {
            let mut links = Links::default();
            links.follow(&root.join(path));
            let real = links.folders.iter().map(|f| f.canonicalize().unwrap());
            let mut real: Vec<PathBuf> = real.collect();
            real.sort();
            real
        };
        assert_eq!(found("a/b/link/x.toml"), [root.join("a/b"), root.join("c")]);
        assert!(found("a/b/x.toml").is_empty());
        symlink("../c/circle", root.join("c/circle")).unwrap();
        assert_eq!(found("c/circle/x.toml"), [root.join("c")]);
    }
}
