//! Tunnels that were made of something else, as one file that `check` accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::note::Note;
use super::tunnel::Tunnel;
use crate::config::{Diagnostic, Diagnostics, Origin, Surroundings, load};
use crate::name::MAX_NAME_LEN;

/// What became of the tunnels.
#[derive(Debug)]
pub struct Settled {
    /// The file with all that are right.
    pub file: String,
    /// Those that are not, which are in no file.
    pub refused: Vec<Refused>,
}

/// A tunnel that the configuration would not take.
#[derive(Debug)]
pub struct Refused {
    /// What it was made of.
    pub from: String,
    /// What is wrong with it: one line, lowercase, no full stop.
    pub message: String,
}

/// Makes the names unique, leaves out each tunnel that the configuration does not take, and switches
/// off each one that listens where an earlier one does.
///
/// # Errors
///
/// What is wrong with the file as a whole.
pub fn settle(
    tunnels: &mut Vec<Tunnel>,
    surroundings: &Surroundings,
) -> Result<Settled, Diagnostics> {
    let mut names = BTreeSet::new();
    for tunnel in tunnels.iter_mut() {
        tunnel.name = unique(&tunnel.name, &names);
        names.insert(tunnel.name.clone());
    }
    let mut refused = Vec::new();
    // Without their listeners, so that none is switched off for one that is left out.
    enable(tunnels, false);
    while let Err(problems) = read(tunnels, surroundings) {
        leave_out(tunnels, &problems, &mut refused)?;
    }
    enable(tunnels, true);
    loop {
        match read(tunnels, surroundings) {
            Ok(file) => return Ok(Settled { file, refused }),
            Err(problems) if switch_off(tunnels, &problems) => {}
            Err(problems) => leave_out(tunnels, &problems, &mut refused)?,
        }
    }
}

fn enable(tunnels: &mut [Tunnel], enabled: bool) {
    for tunnel in tunnels {
        tunnel.enabled = enabled;
    }
}

/// The tables as one file, if the configuration takes it.
fn read(tunnels: &[Tunnel], surroundings: &Surroundings) -> Result<String, Diagnostics> {
    let origin = Origin {
        name: "what was imported".to_owned(),
        dir: Path::new("/").to_owned(),
    };
    let (file, _) = joined(tunnels);
    match file.is_empty() {
        true => Ok(file),
        false => load(&file, &origin, surroundings).map(|_| file),
    }
}

/// Takes out each tunnel that something is wrong with.
fn leave_out(
    tunnels: &mut Vec<Tunnel>,
    problems: &Diagnostics,
    refused: &mut Vec<Refused>,
) -> Result<(), Diagnostics> {
    let (_, ends) = joined(tunnels);
    let mut wrong = BTreeMap::new();
    for item in problems.iter() {
        if let Some(index) = index(item, &ends) {
            wrong.entry(index).or_insert(item);
        }
    }
    if wrong.is_empty() {
        return Err(problems.clone());
    }
    let mut index = 0;
    tunnels.retain(|tunnel| {
        let item = wrong.get(&index);
        index += 1;
        refused.extend(item.map(|item| Refused {
            from: tunnel.from.clone(),
            message: match &item.help {
                Some(help) => format!("{} ({help})", item.message),
                None => item.message.clone(),
            },
        }));
        item.is_none()
    });
    Ok(())
}

/// Switches off each tunnel that another one is in the way of; whether there was one. Where the other
/// one is switched off itself, it may be in nobody's way: the next turn tells.
fn switch_off(tunnels: &mut [Tunnel], problems: &Diagnostics) -> bool {
    let (_, ends) = joined(tunnels);
    let mut off = BTreeSet::new();
    for item in problems.iter() {
        let Some(index) = index(item, &ends) else {
            continue;
        };
        let others = item.related.iter();
        let mut others = others.map(|other| ends.partition_point(|end| *end <= other.span.start));
        if others.any(|other| off.contains(&other)) || !off.insert(index) {
            continue;
        }
        if let Some(tunnel) = tunnels.get_mut(index).filter(|tunnel| tunnel.enabled) {
            tunnel.enabled = false;
            let said = format!("not enabled: {}", item.message);
            tunnel.notes.push(Note::Said(said));
        } else {
            off.remove(&index);
        }
    }
    !off.is_empty()
}

/// Which tunnel a problem is one of.
fn index(item: &Diagnostic, ends: &[usize]) -> Option<usize> {
    let start = item.span.as_ref()?.start;
    let index = ends.partition_point(|end| *end <= start);
    (index < ends.len()).then_some(index)
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
