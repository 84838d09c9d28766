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
/// file as a whole is one that `check` accepts.
///
/// # Errors
///
/// What is wrong with the file all the same.
pub fn settle(tunnels: &mut [Tunnel], surroundings: &Surroundings) -> Result<String, Diagnostics> {
    let mut names = BTreeSet::new();
    let mut file = String::new();
    let check = |text: &str| {
        let origin = Origin {
            name: "what was imported".to_owned(),
            dir: Path::new("/").to_owned(),
        };
        load(text, &origin, surroundings)
    };
    for tunnel in tunnels {
        tunnel.name = unique(&tunnel.name, &names);
        names.insert(tunnel.name.clone());
        let joined = |tunnel: &Tunnel| match file.is_empty() {
            true => tunnel.text(),
            false => format!("{file}\n{}", tunnel.text()),
        };
        let mut text = joined(tunnel);
        if let Err(problems) = check(&text) {
            // Alone it is right, so it is in the way of another one.
            check(&tunnel.text())?;
            let why: Vec<_> = problems.iter().map(|item| item.message.clone()).collect();
            tunnel.keys.push(("enabled", "false".to_owned()));
            let said = format!("not enabled: {}", why.join("; "));
            tunnel.notes.push(Note::Said(said));
            text = joined(tunnel);
            check(&text)?;
        }
        file = text;
    }
    Ok(file)
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
