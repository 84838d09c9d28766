//! The texts that a configuration is made of, read at one time: its own file and those that it includes.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tunneld_core::config::{
    self, Include, Included, Includes, MAX_FILE_LEN, MAX_INCLUDED, NotIncluded,
};
use tunneld_ssh::error::os_reason;

use super::denied;
use super::links::Links;
use super::owner::check_included;
use super::pattern::{Wanted, matching, nearest};
use super::{open, reason};

/// What was read.
pub(crate) struct Source {
    pub(super) path: PathBuf,
    /// The file itself; one byte more than is allowed, so that the parser can tell that it is too much.
    pub(super) main: Result<Vec<u8>, String>,
    pub(super) includes: Includes,
    wanted: Vec<Wanted>,
}

impl Source {
    /// Reads a file and those that it includes, for a tunneld that runs as the user `uid`. `~/` is
    /// below `home`. Blocks.
    pub(super) fn read(path: &Path, home: Option<&Path>, uid: u32) -> Self {
        let mut reader = Reader {
            seen: HashSet::new(),
            left: MAX_FILE_LEN,
            files: 0,
            uid,
            owner: uid,
        };
        let main = reader.main(path).map_err(|e| os_reason(&e));
        let patterns = main.as_ref().map_or(Vec::new(), |bytes| {
            config::include_patterns(bytes.as_slice())
        });
        let folder = path.parent().unwrap_or(Path::new(""));
        let wanted: Vec<Wanted> = patterns
            .iter()
            .map(|written| Wanted::new(written, folder, home))
            .collect();
        let includes = patterns.into_iter().zip(&wanted).map(|(pattern, wanted)| {
            let found = reader.included(wanted);
            Include { pattern, found }
        });
        Source {
            includes: includes.collect(),
            path: path.to_owned(),
            main,
            wanted,
        }
    }

    /// Another one where anything is written, missing or new.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.main.hash(&mut hasher);
        for include in &self.includes {
            include.pattern.hash(&mut hasher);
            let found = include.found.as_ref();
            let files = found.map(|files| files.iter().map(|f| (&f.path, &f.bytes)));
            let files = files.map(Iterator::collect::<Vec<_>>);
            files.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The folders in which something happens when a file of it is changed, comes or goes. A file is
    /// written, and a link to it may be set anew: its folder, that of what it leads to, and those of
    /// every link on the way, for a folder may be one.
    pub(crate) fn folders(&self) -> HashSet<PathBuf> {
        let included = self.includes.iter().flat_map(|i| i.found.iter().flatten());
        let files = included
            .map(|file| file.path.as_path())
            .chain([self.path.as_path()]);
        let mut folders: HashSet<PathBuf> = self.wanted.iter().flat_map(Wanted::folders).collect();
        let mut links = Links::default();
        folders.iter().for_each(|folder| links.follow(folder));
        for file in files {
            links.follow(file);
            let own = match file.parent() {
                Some(folder) if folder.is_dir() => Some(folder.to_owned()),
                Some(folder) if folder.as_os_str().is_empty() => Some(PathBuf::from(".")),
                _ => nearest(file),
            };
            let real = file.canonicalize().ok();
            let real = real.and_then(|file| file.parent().map(Path::to_owned));
            folders.extend(own.into_iter().chain(real));
        }
        folders.extend(links.folders);
        folders
    }
}

/// What was read so far.
struct Reader {
    /// The files by device and inode: each is read once.
    seen: HashSet<(u64, u64)>,
    /// How many bytes may still be read.
    left: usize,
    files: usize,
    /// Who runs tunneld.
    uid: u32,
    /// Whose the file itself is.
    owner: u32,
}

impl Reader {
    fn main(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        self.seen.insert((metadata.dev(), metadata.ino()));
        self.owner = metadata.uid();
        let mut bytes = Vec::new();
        file.take(MAX_FILE_LEN as u64 + 1).read_to_end(&mut bytes)?;
        self.left = self.left.saturating_sub(bytes.len());
        Ok(bytes)
    }

    fn included(&mut self, wanted: &Wanted) -> Result<Vec<Included>, NotIncluded> {
        let mut found = Vec::new();
        let pattern = match wanted {
            Wanted::File(path) => {
                let file = self.one(path);
                found.extend(file.map_err(|e| not_included(path, &e, os_reason(&e)))?);
                return Ok(found);
            }
            Wanted::Matching(pattern) => pattern,
        };
        for path in matching(pattern)? {
            let unread = |path: &Path, e: &io::Error| not_included(path, e, reason(path, e));
            let path = path.map_err(|e| unread(e.path(), e.error()))?;
            match self.one(&path) {
                Ok(file) => found.extend(file),
                // It went meanwhile; a link that leads nowhere is still there.
                Err(e) if e.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {}
                Err(e) => return Err(unread(&path, &e)),
            }
        }
        Ok(found)
    }

    /// A file, unless it was read before.
    fn one(&mut self, path: &Path) -> io::Result<Option<Included>> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return Ok(None);
        }
        self.files += 1;
        if self.files > MAX_INCLUDED {
            let said = format!("more than {MAX_INCLUDED} files are included");
            return Err(io::Error::other(said));
        }
        check_included(path, &metadata, self.uid, self.owner)?;
        let mut bytes = Vec::new();
        file.take(self.left as u64 + 1).read_to_end(&mut bytes)?;
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            let said = format!(
                "with it the files have more than {MAX_FILE_LEN} bytes, which is all that is read"
            );
            return Err(io::Error::other(said));
        };
        self.left = left;
        let path = path.to_owned();
        Ok(Some(Included { path, bytes }))
    }
}

/// Why there is no file, in these words.
fn not_included(path: &Path, e: &io::Error, reason: String) -> NotIncluded {
    let is_denied = e.kind() == io::ErrorKind::PermissionDenied;
    NotIncluded {
        reason,
        is_missing: e.kind() == io::ErrorKind::NotFound,
        help: is_denied.then(|| denied::help(path)).flatten(),
    }
}
