//! `tunneld status [NAME]`

mod detail;
mod keyboard;
mod layout;
mod page;
#[cfg(test)]
mod tests;
mod watch;
mod words;

use hyper::Method;
use tunneld_core::status::{DaemonStatus, Phase, TunnelStatus};

pub(super) use layout::{line, plain};
pub(super) use page::Pen;
pub(super) use watch::watch;
pub(super) use words::{short, why_not_up};

use super::{Places, client_failed};
use crate::control::client::call;
use crate::exit::Exit;
use crate::http::error::no_tunnel;
use page::Page;

/// What is asked for.
pub(super) struct Asked {
    /// One tunnel only.
    pub(super) name: Option<String>,
    /// For programs.
    pub(super) json: bool,
}

pub(super) fn run(places: &Places, asked: &Asked) -> Exit {
    let socket = match places.daemon() {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let status: DaemonStatus = match call(&socket, Method::GET, "/v1/status") {
        Ok(status) => status,
        Err(e) => return client_failed(places, &e),
    };
    let status = match asked.select(status) {
        Ok(status) => status,
        Err(unknown) => {
            eprintln!("error: {unknown}");
            return Exit::Failed;
        }
    };
    let printed = match asked.json {
        true => super::print_json(&status),
        false => super::print(&asked.page(&status, Pen::of_stdout())),
    };
    match printed {
        Exit::Done => asked.exit(&status),
        exit => exit,
    }
}

impl Asked {
    /// The status of what is asked for, or the words for a tunnel that does not exist.
    fn select(&self, mut status: DaemonStatus) -> Result<DaemonStatus, String> {
        let Some(name) = &self.name else {
            return Ok(status);
        };
        if !status.tunnels.iter().any(|t| t.name.as_str() == name) {
            return Err(no_tunnel(name, &names(&status)));
        }
        status.tunnels.retain(|t| t.name.as_str() == name);
        Ok(status)
    }

    /// The page for people.
    fn page(&self, status: &DaemonStatus, pen: Pen) -> String {
        let page = Page::now(status, pen);
        match (&self.name, status.tunnels.first()) {
            (Some(_), Some(tunnel)) => page.one(tunnel),
            _ => page.all(),
        }
    }

    /// The page for a screen with so many rows.
    fn screen(&self, status: &DaemonStatus, pen: Pen, rows: usize) -> String {
        match self.name {
            Some(_) => self.page(status, pen),
            None => Page::now(status, pen).screen(rows),
        }
    }

    /// Asked for one tunnel, `stopped` is not up either; nor is what the daemon stops at its own end.
    fn exit(&self, status: &DaemonStatus) -> Exit {
        let as_wanted = |t: &TunnelStatus| match t.phase {
            Phase::Up => true,
            Phase::Stopped => self.name.is_none() && !status.stopping,
            _ => false,
        };
        match status.tunnels.iter().all(as_wanted) {
            true => Exit::Done,
            false => Exit::NotUp,
        }
    }
}

/// The names of the tunnels.
pub(super) fn names(status: &DaemonStatus) -> Vec<String> {
    let names = status.tunnels.iter().map(|t| t.name.to_string());
    names.collect()
}
