//! `tunneld check [FILE]`

use std::io;
use std::path::Path;

use crate::config_file::{self, LoadError, count};
use crate::exit::Exit;
use crate::terminal::colour;

pub(super) fn run(path: &Path, print: bool) -> Exit {
    let colour = colour(&io::stderr());
    let loaded = match config_file::load(path) {
        Ok(loaded) => loaded,
        Err(e) => {
            eprintln!("{}", e.render(colour).trim_end());
            if let LoadError::Bad(_) = e {
                eprintln!("\n{}", e.summary());
            }
            return Exit::BadConfig;
        }
    };
    let problems = loaded.check_files(|_| true);
    if !problems.is_empty() {
        let report = problems.render(colour);
        eprintln!("{}\n\n{}", report.trim_end(), count(problems.len()));
        return Exit::BadConfig;
    }
    if print {
        return super::print(&loaded.effective());
    }
    let tunnels = match loaded.config.tunnels.len() {
        1 => "1 tunnel".to_owned(),
        n => format!("{n} tunnels"),
    };
    super::print(&format!("{}: {tunnels}, no errors\n", super::shown(path)))
}
