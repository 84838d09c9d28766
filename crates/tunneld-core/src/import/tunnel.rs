//! A tunnel that was made of something else, as a table of the file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::note::{Note, comments, one_line};
use crate::config::{Diagnostics, Origin, Surroundings, load, string};
use crate::name::{MAX_NAME_LEN, TunnelName};

/// A table of the file, and what it does not say.
#[derive(Debug, Clone)]
pub struct Tunnel {
    /// Its name; unique once [`settle`] was called.
    pub name: String,
    /// What it was made of.
    pub(super) from: String,
    pub(super) keys: Vec<(&'static str, String)>,
    pub(super) notes: Vec<Note>,
    /// Whether nothing is in its way.
    pub(super) enabled: bool,
    /// The private keys that it names.
    pub identity_files: Vec<PathBuf>,
}

impl Tunnel {
    /// The table as TOML, with comments.
    pub fn text(&self) -> String {
        let name = match self.name.contains('.') {
            true => string(&self.name),
            false => self.name.clone(),
        };
        let mut text = format!("# from {}\n[tunnels.{name}]\n", one_line(&self.from));
        for (key, value) in &self.keys {
            text.push_str(&format!("{key} = {value}\n"));
        }
        if !self.enabled {
            text.push_str("enabled = false\n");
        }
        for line in comments(&self.notes) {
            text.push_str(&line);
            text.push('\n');
        }
        // What is to be done about the tunnel is said with its name.
        text.replace(NAME, &self.name)
    }
}

/// Stands for the name of the tunnel in a note.
pub(super) const NAME: &str = "\u{e000}";

/// What a name is made of that somebody has given to something else: a unit, a host.
pub fn name_of(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let plain: String = text
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let mut name = plain
        .trim_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned();
    name.truncate(MAX_NAME_LEN);
    match name.parse::<TunnelName>() {
        Ok(_) => name,
        Err(_) => "tunnel".to_owned(),
    }
}

/// The name of a tunnel to a host: the first part of the host's name, or its address.
pub fn name_of_host(host: &str) -> String {
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    match host.split_once('.') {
        Some((first, _)) if !is_address => name_of(first),
        _ => name_of(host),
    }
}

/// Makes the names unique, and switches off each tunnel that listens where an earlier one does: the
/// file as a whole, which is returned, is one that `check` accepts.
///
/// # Errors
///
/// What is wrong with the file all the same.
pub fn settle(tunnels: &mut [Tunnel], surroundings: &Surroundings) -> Result<String, Diagnostics> {
    let origin = Origin {
        name: "what was imported".to_owned(),
        dir: Path::new("/").to_owned(),
    };
    let mut names = BTreeSet::new();
    for tunnel in tunnels.iter_mut() {
        tunnel.name = unique(&tunnel.name, &names);
        names.insert(tunnel.name.clone());
    }
    loop {
        let (file, ends) = joined(tunnels);
        if file.is_empty() {
            return Ok(file);
        }
        let Err(problems) = load(&file, &origin, surroundings) else {
            return Ok(file);
        };
        let first = problems.iter().next();
        let place = first.and_then(|item| Some((item.span.as_ref()?.start, &item.message)));
        let Some((start, message)) = place else {
            return Err(problems);
        };
        let index = ends.partition_point(|end| *end <= start);
        match tunnels.get_mut(index).filter(|tunnel| tunnel.enabled) {
            Some(tunnel) => {
                tunnel.enabled = false;
                tunnel
                    .notes
                    .push(Note::Said(format!("not enabled: {message}")));
            }
            // It is not that another one is in the way.
            None => return Err(problems),
        }
    }
}

/// The tables as one file, and where each of them ends.
fn joined(tunnels: &[Tunnel]) -> (String, Vec<usize>) {
    let mut file = String::new();
    let mut ends = Vec::with_capacity(tunnels.len());
    for tunnel in tunnels {
        if !file.is_empty() {
            file.push('\n');
        }
        file.push_str(&tunnel.text());
        ends.push(file.len());
    }
    (file, ends)
}

fn unique(name: &str, names: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|n| {
        let end = format!("-{n}");
        let room = MAX_NAME_LEN.saturating_sub(end.len());
        format!("{}{end}", name.get(..room.min(name.len())).unwrap_or(name))
    });
    let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
    let free = candidates.find(|candidate| !names.contains(candidate));
    free.unwrap_or_else(|| name.to_owned())
}
