//! `tunneld check [FILE]`

mod hosts;

use std::io;

use tunneld_ssh::KeyChecks;

use super::Places;
use crate::config_file::count;
use crate::exit::Exit;
use crate::terminal::{colour, painted};

pub(super) fn run(places: &Places, print: bool) -> Exit {
    let path = &places.config;
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
    let warning = painted(colour(&io::stderr()), "warning:", "33");
    for text in hosts::warnings(&loaded.config, places) {
        eprintln!("{warning} {text}");
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
