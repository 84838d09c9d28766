//! The file that tunnels are imported for, and what is taken there.

use std::fs;

use tunneld_core::config::Config;

use super::super::{Places, shown};
use super::Made;
use crate::config_file::{self, LoadError};

/// What the file says. There may be none, as on a workstation: nothing is said of that.
pub(super) fn config(places: &Places, made: &mut Made) -> Option<Config> {
    // The shell makes an empty one for `> FILE`.
    let is_empty = fs::metadata(&places.config).is_ok_and(|file| file.len() == 0);
    if is_empty || made.tunnels.is_empty() {
        return None;
    }
    match config_file::load(&places.config) {
        Ok(loaded) => Some(loaded.config),
        Err(LoadError::Unreadable { .. }) => None,
        Err(e @ LoadError::Bad(_)) => {
            let file = shown(&places.config);
            made.warn(format!(
                "{file}: {}, so it is not known which names and ports are taken there; `tunneld \
                 check` shows what is wrong",
                e.summary()
            ));
            None
        }
    }
}
