//! `tunneld check [FILE]`

mod hosts;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tunneld_core::text::shell_word;
use tunneld_ssh::KeyChecks;

use super::test::{name, owner};
use super::{DEFAULT_CONFIG, Places, command_again};
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
    if let Some(note) = as_root(places).filter(|_| !print && !loaded.config.tunnels.is_empty()) {
        eprintln!("note: {note}");
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

/// Root reads what the daemon may not: how to check as the daemon's user. A file of root's that is not
/// beside those of the service may be for anybody.
fn as_root(places: &Places) -> Option<String> {
    let file = &std::path::absolute(&places.config).ok()?;
    let is_service = file.parent() == Path::new(DEFAULT_CONFIG).parent();
    let is_roots = || file.metadata().is_ok_and(|of| of.uid() == 0);
    if !rustix::process::geteuid().is_root() || !is_service && is_roots() {
        return None;
    }
    let daemon = owner(&places.socket(), file);
    (daemon != 0).then(|| {
        let user = shell_word(&name(daemon));
        let again = command_again(places, &["check"]);
        format!("root can read everything, and the daemon runs as {user}: sudo -u {user} {again}")
    })
}
