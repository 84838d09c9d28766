//! What a configuration wants to do beside reading files and using the network: what the daemon has
//! to leave itself when it gives up its rights at the start.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::{Config, ForwardKind, Listen, StrictHostKeyChecking, Target, TunnelSpec, Via};

/// The most that is named of what a new configuration wants beyond the rights that there are.
const MAX_NAMED: usize = 3;

/// Programs, and places to write in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// The keys that name programs, with their tunnels: ``on_up of `db` ``. What a program does is
    /// its own affair, and it would have no more rights than the daemon.
    pub programs: BTreeSet<String>,
    /// Files that are written to, and made where they are not there, and folders in which they are
    /// made, changed and removed.
    pub files: BTreeSet<PathBuf>,
    /// Files that further keys of hosts are added to, where they have the host. That is welcome and no
    /// need: without it the host is known as it was.
    pub further: BTreeSet<PathBuf>,
    /// Folders in which unix sockets are made and removed.
    pub sockets: BTreeSet<PathBuf>,
}

impl Needs {
    /// What the tunnels of a configuration want, also those that are not enabled: a command may start
    /// them.
    pub fn of(config: &Config) -> Needs {
        let mut needs = Needs::default();
        for tunnel in config.tunnels.values() {
            needs.take_programs(tunnel);
            let target = &tunnel.target;
            for target in target.hops().into_iter().chain([target]) {
                needs.files.extend(learns(target));
                needs.further.extend(learns_more(target));
            }
            for forward in &tunnel.forwards {
                if let ForwardKind::Local(local) = &forward.kind
                    && let Listen::Unix(socket) = &local.listen.value
                {
                    needs
                        .sockets
                        .extend(socket.path.parent().map(Path::to_owned));
                }
            }
        }
        needs
    }

    fn take_programs(&mut self, tunnel: &TunnelSpec) {
        let command = matches!(tunnel.target.first_via(), Via::Command(_));
        let keys = [
            ("on_up", tunnel.on_up.is_some()),
            ("on_down", tunnel.on_down.is_some()),
            ("proxy_command", command),
        ];
        let named = keys.into_iter().filter(|(_, is_set)| *is_set);
        let words = named.map(|(key, _)| format!("{key} of `{}`", tunnel.name));
        self.programs.extend(words);
    }

    /// What of this is not `given`, for people; `None` if all of it is. Places are compared by their
    /// names: one that is reached by two of them is taken for two.
    pub fn beyond(&self, given: &Needs) -> Option<String> {
        let within = |given: &BTreeSet<PathBuf>, wanted: &PathBuf| {
            wanted.ancestors().any(|place| given.contains(place))
        };
        let files = self.files.iter().filter(|f| !within(&given.files, f));
        let sockets = self.sockets.iter().filter(|f| !within(&given.sockets, f));
        let programs = self.programs.difference(&given.programs).cloned();
        let wanted: Vec<String> = programs
            .chain(files.map(|file| format!("writing to {}", file.display())))
            .chain(sockets.map(|folder| format!("sockets in {}", folder.display())))
            .collect();
        named(&wanted, MAX_NAMED)
    }
}

/// The first `max` of these, and how many more there are; `None` if there are none.
pub fn named(all: &[String], max: usize) -> Option<String> {
    let shown = all.get(..max).unwrap_or(all);
    let list = shown.join(", ");
    match all.len() - shown.len() {
        _ if all.is_empty() => None,
        0 => Some(list),
        more => Some(format!("{list} and {more} more")),
    }
}

/// The file that new hosts are written to (`known_hosts::learn`).
fn learns(target: &Target) -> Option<PathBuf> {
    let accepts = target.strict_host_key_checking == StrictHostKeyChecking::AcceptNew;
    let first = target.known_hosts.first().filter(|_| accepts);
    first.map(|file| file.value.clone())
}

/// Those that further keys of a host may be written to: the one of them that has it.
fn learns_more(target: &Target) -> impl Iterator<Item = PathBuf> {
    let files = target.known_hosts.iter();
    let files = files.filter(|_| target.update_host_keys);
    files.map(|file| file.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, Surroundings, load};

    fn needs(tunnels: &str) -> Needs {
        let text = format!("[defaults]\nuser = 'u'\nknown_hosts = '/k/known_hosts'\n{tunnels}");
        let surroundings = Surroundings::for_tests();
        Needs::of(&load(&text, &Origin::for_tests(), &surroundings).unwrap())
    }

    fn paths(paths: &[&str]) -> BTreeSet<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    const PLAIN: &str = "[tunnels.db]\nhost = 'a'\nlocal_forward = '1:a:1'\n";

    #[test]
    fn a_tunnel_over_tcp_with_known_hosts_that_are_only_read_wants_nothing() {
        assert_eq!(needs(PLAIN), Needs::default());
    }

    #[test]
    fn every_key_that_names_a_program_is_found_also_of_a_tunnel_that_is_off() {
        let text = "[tunnels.db]\nenabled = false\nhost = 'a'\nlocal_forward = '1:a:1'\n\
                    on_up = ['/x']\non_down = ['/x']\nproxy_command = 'nc %h %p'\n";
        let programs = ["on_down of `db`", "on_up of `db`", "proxy_command of `db`"];
        assert!(needs(text).programs.iter().eq(programs));
    }

    #[test]
    fn known_hosts_are_written_only_where_keys_are_learnt() {
        // The first for new hosts; each of them for further keys; those of jump hosts, too.
        let learning = |keys: &str| {
            let needs = needs(&format!("{PLAIN}{keys}"));
            (needs.files, needs.further)
        };
        let two = "known_hosts = ['/a/k', '/b/k']\n";
        let (none, first) = (paths(&[]), paths(&["/a/k"]));
        let both = paths(&["/a/k", "/b/k"]);
        let further = "update_host_keys = true\n";
        let new = "strict_host_key_checking = 'accept-new'\n";
        assert_eq!(learning(two), (none.clone(), none.clone()));
        assert_eq!(learning(&format!("{two}{new}")).0, first);
        assert_eq!(learning(&format!("{two}{further}")), (none.clone(), both));
        let hop = "proxy_jump = [{ host = 'b', known_hosts = '/c/k', update_host_keys = true }]\n";
        assert_eq!(learning(hop), (none, paths(&["/c/k"])));
    }

    #[test]
    fn further_keys_are_no_need_that_a_new_configuration_has() {
        let more = needs(&format!("{PLAIN}update_host_keys = true\n"));
        assert_eq!(more.beyond(&Needs::default()), None);
    }

    #[test]
    fn sockets_are_made_where_tunnels_listen_and_not_where_they_connect_to() {
        let text = "[tunnels.db]\nhost = 'a'\n\
                    local_forward = ['/run/a/s:/run/b/s', '1:/run/c/s']\n\
                    remote_forward = ['/run/d/s:/run/e/s']\ndynamic_forward = ['/run/f/s']\n";
        assert_eq!(needs(text).sockets, paths(&["/run/a", "/run/f"]));
    }

    #[test]
    fn what_is_not_given_is_named() {
        let given = Needs {
            files: paths(&["/var/lib/tunneld"]),
            sockets: paths(&["/run/tunneld"]),
            ..Needs::default()
        };
        let wanted = |programs: &[&str], files: &[&str], sockets: &[&str]| {
            let wanted = Needs {
                programs: programs.iter().map(|p| (*p).to_owned()).collect(),
                files: paths(files),
                sockets: paths(sockets),
                ..Needs::default()
            };
            wanted.beyond(&given)
        };
        let below = ["/var/lib/tunneld", "/var/lib/tunneld/x"];
        assert_eq!(wanted(&[], &below, &["/run/tunneld/y"]), None);
        assert_eq!(
            wanted(&[], &["/run/tunneld"], &["/var/lib/tunneld"]).unwrap(),
            "writing to /run/tunneld, sockets in /var/lib/tunneld"
        );
        assert_eq!(
            wanted(&["p", "q"], &["/a"], &["/b", "/c"]).unwrap(),
            "p, q, writing to /a and 2 more"
        );
    }
}
