//! `tunneld reload [--dry-run] [--json]`

mod page;

use std::io;

use hyper::Method;

use super::{Places, client_failed, print_json};
use crate::config_file::{self, LoadError};
use crate::control::Reloaded;
use crate::control::client::{ClientError, call};
use crate::exit::Exit;
use crate::http::error::ErrorKind;
use crate::terminal::colour;

pub(super) fn run(places: &Places, dry_run: bool, json: bool) -> Exit {
    let path = match dry_run {
        true => "/v1/reload?dry_run=true",
        false => "/v1/reload",
    };
    let socket = match places.daemon() {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    match call::<Reloaded>(&socket, Method::POST, path) {
        Ok(reloaded) if json => print_json(&reloaded),
        Ok(reloaded) => super::print(&page::render(&reloaded, colour(&io::stdout()))),
        Err(ClientError::Refused(error)) if json => {
            let printed = print_json(&error);
            match error.kind {
                ErrorKind::BadConfig if printed == Exit::Done => Exit::BadConfig,
                _ => Exit::Failed,
            }
        }
        Err(e @ ClientError::Unreachable { .. }) => unreachable(places, &e),
        Err(e) => client_failed(places, &e),
    }
}

/// A file that is wrong may be why the daemon is not found: what is wrong with it comes first.
fn unreachable(places: &Places, e: &ClientError) -> Exit {
    match config_file::load(&places.config) {
        Ok(_) | Err(LoadError::Unreadable { .. }) => client_failed(places, e),
        Err(bad @ LoadError::Bad(_)) => {
            eprintln!("{}\n", bad.render(false).trim_end());
            client_failed(places, e);
            Exit::BadConfig
        }
    }
}
