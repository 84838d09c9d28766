//! Where a command finds the file and the daemon.

use std::path::{Path, PathBuf};

use clap::Args;
use tunneld_core::config::Origin;
use tunneld_ssh::calling::Calling;

use super::shown;
use crate::config_file::{self, DEFAULT_CONFIG};
use crate::exit::Exit;

/// Where things are.
#[derive(Debug, Args)]
pub(super) struct Places {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TUNNELD_CONFIG",
        default_value = DEFAULT_CONFIG
    )]
    pub(super) config: PathBuf,
    /// The control socket, if it is not the one that the configuration file names.
    #[arg(long, global = true, value_name = "PATH", env = "TUNNELD_SOCKET")]
    pub(super) socket: Option<PathBuf>,
}

impl Places {
    /// The control socket: as told, or as the file says. A file that cannot be read or is wrong
    /// must not keep anybody from asking the daemon that still runs, so that only this is read of it.
    pub(super) fn socket(&self) -> PathBuf {
        let named = self.named().ok().flatten();
        named.unwrap_or_else(|| self.default_socket())
    }

    /// Where it is if neither somebody nor the file says so.
    pub(super) fn default_socket(&self) -> PathBuf {
        let file = std::path::absolute(&self.config);
        Origin::of_file(file.as_deref().unwrap_or(&self.config)).control_socket()
    }

    /// How to find the same again, from any folder.
    pub(super) fn calling(&self) -> Calling {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let config = Some(absolute(&self.config)).filter(|c| c != Path::new(DEFAULT_CONFIG));
        Calling::with(
            config.as_deref(),
            self.socket.as_ref().map(absolute).as_deref(),
        )
    }

    /// The control socket that somebody or the file names, or why the file cannot be read.
    pub(super) fn named(&self) -> Result<Option<PathBuf>, String> {
        match &self.socket {
            Some(socket) => Ok(Some(socket.clone())),
            None => config_file::control_socket(&self.config),
        }
    }

    /// The same for whoever asks the daemon and nobody else: a file that somebody named and that
    /// cannot be read is what is wrong, and not the daemon.
    pub(super) fn daemon(&self) -> Result<PathBuf, Exit> {
        match self.named() {
            Err(reason) if self.config != Path::new(DEFAULT_CONFIG) => {
                let file = shown(&self.config);
                eprintln!(
                    "error: cannot read {file}: {reason}; --socket PATH asks the daemon without it"
                );
                Err(Exit::BadConfig)
            }
            named => {
                let named = named.ok().flatten();
                Ok(named.unwrap_or_else(|| self.default_socket()))
            }
        }
    }

    /// Why the file does not say where the daemon is, if it was to say that.
    pub(super) fn untold(&self) -> Option<String> {
        let file = shown(&self.config);
        match self.named() {
            Err(reason) => Some(format!(
                "cannot read {file} ({reason}), so the default socket was tried"
            )),
            Ok(None) if config_file::hides_control_socket(&self.config) => Some(format!(
                "{file} does not say where the daemon is, so the default socket was tried; \
                 --socket PATH names another"
            )),
            Ok(_) => None,
        }
    }
}
