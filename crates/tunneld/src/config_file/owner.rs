//! Whose a file is that is part of the configuration, and who else can write it.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tunneld_core::text::shell_word;

use crate::account::Account;

/// Refuses an included file that a stranger can change: it names keys, and programs that are run. It
/// may belong to root, to tunneld's own user `uid`, to the user of the packaged service, who may be
/// another one while it is checked, and to whom the file that includes it belongs, `main`. Its group
/// may write it: those are the people who look after the tunnels.
pub(super) fn check_included(path: &Path, file: &Metadata, uid: u32, main: u32) -> io::Result<()> {
    check_writers(path, file, Writers::Others)?;
    let owner = file.uid();
    if owner == main {
        return Ok(());
    }
    let is_service = || Account::of_service().is_some_and(|service| service.uid == owner);
    check_owner(path, file, uid).or_else(|e| if is_service() { Ok(()) } else { Err(e) })
}

/// Refuses a file of ssh that anybody but root and tunneld's own user `uid` can change, as ssh does.
pub(super) fn check_ssh(path: &Path, file: &Metadata, uid: u32) -> io::Result<()> {
    check_writers(path, file, Writers::GroupAndOthers)?;
    check_owner(path, file, uid)
}

/// Who may not write a file.
enum Writers {
    Others,
    GroupAndOthers,
}

fn check_writers(path: &Path, file: &Metadata, writers: Writers) -> io::Result<()> {
    let mode = file.mode() & 0o7777;
    // As chmod(1) writes them.
    let (bits, whose) = match writers {
        Writers::Others => (0o002, "o"),
        Writers::GroupAndOthers => (0o022, "go"),
    };
    if mode & bits == 0 {
        return Ok(());
    }
    let path = shell_word(&path.to_string_lossy());
    let said = format!("others can change it: mode {mode:04o} (chmod {whose}-w {path})");
    Err(io::Error::other(said))
}

fn check_owner(path: &Path, file: &Metadata, uid: u32) -> io::Result<()> {
    let owner = file.uid();
    if owner == 0 || owner == uid {
        return Ok(());
    }
    let path = shell_word(&path.to_string_lossy());
    let said = format!("it belongs to another user: {owner} (chown root {path})");
    Err(io::Error::other(said))
}
