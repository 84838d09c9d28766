//! Hosts whose keys nobody has vouched for: what keeps a tunnel down although its file is right.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use tunneld_core::config::{Config, StrictHostKeyChecking, Target, host_port};
use tunneld_ssh::host_key::TrustCommand;
use tunneld_ssh::known_hosts::{KnownAs, KnownHosts};

use crate::cli::{Places, command_again};

/// So many hosts are named; the others are counted.
const MOST: usize = 10;

/// A line for each host that a tunnel will not trust, with the command that mends it. `places` is for
/// the command. Reads known_hosts, and asks nobody.
pub(super) fn warnings(config: &Config, places: &Places) -> Vec<String> {
    let unknown = unknown(config, places);
    let mut lines: Vec<String> = unknown
        .iter()
        .take(MOST)
        .map(|host| {
            let (place, command) = (&host.place, &host.command);
            format!("no key of {place} is known yet: `{command}` shows what it has, and adds it")
        })
        .collect();
    match unknown.len().saturating_sub(MOST) {
        0 => {}
        1 => lines.push("nor of 1 more host".to_owned()),
        more => lines.push(format!("nor of {more} more hosts")),
    }
    lines
}

struct Unknown {
    place: String,
    command: TrustCommand,
}

/// Each host once, in the order of the tunnels and of their ways.
fn unknown(config: &Config, places: &Places) -> Vec<Unknown> {
    let (mut files, mut seen) = (HashMap::new(), HashSet::new());
    let mut found = Vec::new();
    for spec in config.tunnels.values().filter(|spec| spec.enabled) {
        let at_end = TrustCommand::written(command_again(places, &["trust", spec.name.as_str()]));
        let hops = spec.target.hops().into_iter();
        let ways = hops.map(|hop| (hop, at_end.at_hop(hop)));
        for (target, command) in ways.chain([(&spec.target, at_end.clone())]) {
            let place = host_port(&target.host, target.port);
            if is_unknown(target, &mut files)
                && seen.insert((place.clone(), target.host_key_alias.clone()))
            {
                found.push(Unknown { place, command });
            }
        }
    }
    found
}

/// What files say that were read, by their paths.
type Files = HashMap<Vec<PathBuf>, Option<KnownHosts>>;

/// Whether nothing says which keys are this host's, and the first one is not simply taken.
fn is_unknown(target: &Target, files: &mut Files) -> bool {
    let strict = target.strict_host_key_checking == StrictHostKeyChecking::Yes;
    if !strict || !target.host_key_fingerprint.is_empty() {
        return false;
    }
    let paths: Vec<PathBuf> = target.known_hosts.iter().map(|f| f.value.clone()).collect();
    // One that cannot be read was told.
    let read = |paths: &Vec<PathBuf>| KnownHosts::read(paths).ok();
    let known = files.entry(paths).or_insert_with_key(read);
    known
        .as_ref()
        .is_some_and(|known| !known.has(&KnownAs::of(target)))
}
