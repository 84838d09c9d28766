//! `tunneld check [FILE]`

use std::io;
use std::path::Path;

use tunneld_ssh::KeyChecks;

use crate::config_file::count;
use crate::exit::Exit;
use crate::terminal::colour;

pub(super) fn run(path: &Path, print: bool) -> Exit {
    let loaded = match super::load(path) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let problems = loaded.check_files(&mut KeyChecks::new(), |_| true).all;
    if !problems.is_empty() {
        let report = problems.render(colour(&io::stderr()));
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
