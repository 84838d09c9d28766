//! Tunnels that were made of something else, as one file that `check` accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::note::Note;
use super::tunnel::Tunnel;
use crate::config::{
    Config, Diagnostic, Diagnostics, Origin, Overlap, Surroundings, load, overlaps,
};
use crate::name::MAX_NAME_LEN;

/// What became of the tunnels.
#[derive(Debug)]
pub struct Settled {
    /// The file with all that are right.
    pub file: String,
    /// Those that are not, which are in no file.
    pub refused: Vec<Refused>,
}

/// The file that the tunnels are for.
#[derive(Debug, Clone, Copy)]
pub struct There<'a> {
    /// What it is called, for people.
    pub name: &'a str,
    /// What it says.
    pub config: &'a Config,
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
/// off each one that listens where an earlier one does, or one of the file that they are for. What the
/// names are is told, and why one does not listen.
///
/// # Errors
///
/// What is wrong with the file as a whole.
pub fn settle(
    tunnels: &mut Vec<Tunnel>,
    surroundings: &Surroundings,
    there: Option<There<'_>>,
) -> Result<Settled, Diagnostics> {
    name(tunnels, there);
    let mut refused = Vec::new();
    // Without their listeners, so that none is switched off for one that is left out.
    enable(tunnels, false);
    let config = loop {
        let (file, ends) = joined(tunnels);
        match read(&file, surroundings) {
            Ok(config) => break config,
            Err(problems) => leave_out(tunnels, &ends, &problems, &mut refused)?,
        }
    };
    enable(tunnels, true);
    if let (Some(there), Some(config)) = (there, config) {
        give_way(tunnels, there, &config);
    }
    loop {
        let (file, ends) = joined(tunnels);
        match read(&file, surroundings) {
            Ok(_) => return Ok(Settled { file, refused }),
            Err(problems) if switch_off(tunnels, &ends, &problems) => {}
            Err(problems) => leave_out(tunnels, &ends, &problems, &mut refused)?,
        }
    }
}

fn enable(tunnels: &mut [Tunnel], enabled: bool) {
    for tunnel in tunnels {
        tunnel.enabled = enabled;
    }
}

/// Gives each a name that no other has.
fn name(tunnels: &mut [Tunnel], there: Option<There<'_>>) {
    let theirs = there.map(|there| there.config.tunnels.keys());
    let theirs: BTreeSet<String> = theirs
        .into_iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    let mut names = theirs.clone();
    for tunnel in tunnels {
        let name = unique(&tunnel.name, &names);
        names.insert(name.clone());
        let taken = std::mem::replace(&mut tunnel.name, name);
        if taken == tunnel.name {
            continue;
        }
        let said = |whose: &str| format!("not called `{taken}`: {whose}");
        tunnel
            .notes
            .push(match there.filter(|_| theirs.contains(&taken)) {
                // Somebody may type the name, and get the other one.
                Some(there) => {
                    let whose = format!("{} has a tunnel of that name", there.name);
                    Note::Warned(said(&whose))
                }
                None => Note::Said(said("another one here has that name")),
            });
    }
}

/// Switches off each tunnel that listens where one of the file does.
fn give_way(tunnels: &mut [Tunnel], there: There<'_>, config: &Config) {
    for overlap in overlaps(there.config, config) {
        let Overlap { holder, held, .. } = &overlap;
        let mut said = format!(
            "not enabled: `{holder}` of {} listens on {held}",
            there.name
        );
        if overlap.wanted != *held {
            said.push_str(&format!(", which overlaps with {}", overlap.wanted));
        }
        let mut all = tunnels.iter_mut();
        if let Some(tunnel) = all.find(|tunnel| tunnel.name == overlap.tunnel.as_str()) {
            tunnel.enabled = false;
            tunnel.notes.push(Note::Warned(said));
        }
    }
}

/// What the file of the tables says, if the configuration takes it; `None` where there are none.
fn read(file: &str, surroundings: &Surroundings) -> Result<Option<Config>, Diagnostics> {
    let origin = Origin {
        name: "what was imported".to_owned(),
        dir: Path::new("/").to_owned(),
    };
    match file.is_empty() {
        true => Ok(None),
        false => load(file, &origin, surroundings).map(Some),
    }
}

/// Takes out each tunnel that something is wrong with.
fn leave_out(
    tunnels: &mut Vec<Tunnel>,
    ends: &[usize],
    problems: &Diagnostics,
    refused: &mut Vec<Refused>,
) -> Result<(), Diagnostics> {
    let mut wrong = BTreeMap::new();
    for item in problems.iter() {
        if let Some(index) = index(item, ends) {
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
fn switch_off(tunnels: &mut [Tunnel], ends: &[usize], problems: &Diagnostics) -> bool {
    let mut off = BTreeSet::new();
    for item in problems.iter() {
        let Some(index) = index(item, ends) else {
            continue;
        };
        let others = item.related.iter();
        let mut others = others.map(|other| ends.partition_point(|end| *end <= other.span.start));
        if others.any(|other| off.contains(&other)) {
            continue;
        }
        if let Some(tunnel) = tunnels.get_mut(index).filter(|tunnel| tunnel.enabled) {
            tunnel.enabled = false;
            off.insert(index);
            let said = format!("not enabled: {}", item.message);
            tunnel.notes.push(Note::Warned(said));
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
