//! A tunnel that was made of something else, as a table of the file.

use std::path::PathBuf;

use super::note::{Note, comments, one_line, warnings};
use crate::config::string;
use crate::name::{MAX_NAME_LEN, TunnelName};

/// A table of the file, and what it does not say.
#[derive(Debug, Clone)]
pub struct Tunnel {
    /// Its name; unique once [`settle`](super::settle()) was called.
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

    /// What somebody should know before it is used, one line each.
    pub fn warnings(&self) -> Vec<String> {
        let all = warnings(&self.notes).into_iter();
        all.map(|text| text.replace(NAME, &self.name)).collect()
    }

    /// Whether a forward is not in it that was in what it was made of.
    pub fn lacks_a_forward(&self) -> bool {
        let mut notes = self.notes.iter();
        notes.any(|note| matches!(note, Note::LostForward(..)))
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
