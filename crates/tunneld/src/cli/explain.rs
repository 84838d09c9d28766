//! `tunneld explain [NAME]`

use std::io;

use tunneld_core::explain::{Style, legend, page};

use super::Places;
use crate::exit::Exit;
use crate::terminal::{colour, utf8};

pub(super) fn run(places: &Places, name: Option<&str>) -> Exit {
    let loaded = match super::load(&places.config) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let wanted = match name {
        None => loaded.config.tunnels.values().collect(),
        Some(name) => match super::named(&loaded.config, name) {
            Ok(spec) => vec![spec],
            Err(problem) => {
                eprintln!("error: {problem}");
                return Exit::Failed;
            }
        },
    };
    let style = Style {
        utf8: utf8(),
        colour: colour(&io::stdout()),
    };
    let pages: Vec<_> = wanted.iter().map(|spec| page(spec, style)).collect();
    super::print(&format!("{}\n{}", legend(style), pages.join("\n")))
}
