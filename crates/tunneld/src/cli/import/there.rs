//! The file that tunnels are imported for, and what is taken there.

use std::{fs, io};

use tunneld_core::config::Config;

use super::super::{Places, shown};
use super::Made;
use crate::config_file::{self, LoadError};

/// What the file says. There may be none, as on a workstation: nothing is said of that.
pub(super) fn config(places: &Places, made: &mut Made) -> Option<Config> {
    let file = fs::metadata(&places.config);
    // The shell makes an empty one for `> FILE`.
    let is_empty = file.as_ref().is_ok_and(|file| file.len() == 0);
    let is_none = matches!(&file, Err(e) if e.kind() == io::ErrorKind::NotFound);
    if is_empty || is_none || made.tunnels.is_empty() {
        return None;
    }
    let unknown = "so it is not known which names and ports are taken there";
    match config_file::load(&places.config) {
        Ok(loaded) => return Some(loaded.config),
        Err(e @ LoadError::Unreadable { .. }) => made.warn(format!("{}, {unknown}", e.summary())),
        Err(e @ LoadError::Bad(_)) => {
            let file = shown(&places.config);
            made.warn(format!(
                "{file}: {}, {unknown}; `tunneld check` shows what is wrong",
                e.summary()
            ));
        }
    }
    None
}
