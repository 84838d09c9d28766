//! The way to a host: jump hosts, each with what the files of ssh say about it, or a command.

use super::job::Maker;
use super::keys::Keys;
use super::note::Note;
use crate::config::{array, host_port, parse_hop, string};
use crate::ssh_config::{Answer, Query, Way, evaluate};

/// How many jump hosts the file takes.
const MAX_HOPS: usize = 8;

impl Maker<'_> {
    /// How the host is reached.
    pub(super) fn way(&mut self, answer: &Answer, keys: &mut Keys) -> Result<(), String> {
        match answer.way.as_ref().map(|way| &way.value) {
            None | Some(Way::Direct) => Ok(()),
            Some(Way::Command(line)) => {
                self.command(line, keys);
                Ok(())
            }
            Some(Way::Jump(hops)) => self.hops(hops, keys),
        }
    }

    /// The jump hosts, each as its own entry in the files of ssh says.
    fn hops(&mut self, hops: &[String], keys: &mut Keys) -> Result<(), String> {
        let mut written = hops.to_vec();
        let mut found = Vec::new();
        // The first one may have jump hosts of its own, which come before it.
        let mut first = true;
        while let Some(text) = written.pop() {
            if found.len() == MAX_HOPS {
                return Err(format!("has more than {MAX_HOPS} jump hosts"));
            }
            let hop = parse_hop(&text).map_err(|e| format!("jump host: {}", e.message))?;
            let query = Query {
                user: hop.user.as_deref(),
                port: hop.port,
                ..Query::new(&hop.host)
            };
            let answer = evaluate(self.hop_sources, &query);
            if written.is_empty() && first {
                match answer.way.as_ref().map(|way| &way.value) {
                    Some(Way::Jump(before)) => written = before.clone(),
                    Some(Way::Command(line)) => self.command(line, keys),
                    None | Some(Way::Direct) => {}
                }
                first = !written.is_empty();
            }
            let host = answer
                .host_name
                .as_ref()
                .map_or(&hop.host, |name| &name.value);
            let port = hop.port.or(answer.port.as_ref().map(|port| port.value));
            let user = hop
                .user
                .as_ref()
                .or(answer.user.as_ref().map(|user| &user.value));
            let user = user.or(self.job.environment.user.as_ref());
            found.push(self.hop(host, port, user, &answer));
        }
        found.reverse();
        let value = match found.as_slice() {
            [one] if one.starts_with('"') => one.clone(),
            _ => array(found.into_iter()),
        };
        keys.add("proxy_jump", value);
        Ok(())
    }

    fn hop(
        &mut self,
        host: &str,
        port: Option<u16>,
        user: Option<&String>,
        answer: &Answer,
    ) -> String {
        let mut keys = Keys::default();
        keys.server(answer);
        self.notes.append(&mut keys.notes);
        if keys.all.is_empty() {
            let place = match port {
                Some(port) => host_port(host, port),
                None if host.contains(':') => format!("[{host}]"),
                None => host.to_owned(),
            };
            return string(&user.map_or_else(|| place.clone(), |user| format!("{user}@{place}")));
        }
        let mut all = vec![("host", string(host))];
        all.extend(port.map(|port| ("port", port.to_string())));
        all.extend(user.map(|user| ("user", string(user))));
        all.append(&mut keys.all);
        let parts: Vec<_> = all.into_iter().map(|(k, v)| format!("{k} = {v}")).collect();
        format!("{{ {} }}", parts.join(", "))
    }

    /// Its tokens are expanded: what is left is no token.
    fn command(&mut self, line: &str, keys: &mut Keys) {
        if has_password(line) {
            let said = "the `proxy_command` has a password in it: whoever may read the file or \
                        list processes can read it";
            self.notes.push(Note::Warned(said.to_owned()));
        }
        keys.add("proxy_command", string(&line.replace('%', "%%")));
    }
}

/// Whether a password is on a command line: `sshpass -p`, `ncat --proxy-auth`.
fn has_password(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let mut sshpass = false;
    words.any(|word| {
        sshpass |= word == "sshpass" || word.ends_with("/sshpass");
        (sshpass && word.starts_with("-p")) || word.starts_with("--proxy-auth")
    })
}
