//! `tunneld authorize NAME…`

mod keys;

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use tunneld_core::authorize::{self, Account, ExpiryTime, FromList, Limits, Rights};
use tunneld_core::config::{Config, Target, TunnelSpec};

use super::{Places, completions, hops};
use crate::exit::Exit;
use keys::Keys;

/// What is asked for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tunneld authorize db
  tunneld authorize db --only authorized_keys | ssh admin@db 'cat > ~tunnel/.ssh/authorized_keys'
  tunneld authorize wiki --hop bastion.example.com --from 192.0.2.0/24 --expiry-time 20301231Z")]
pub(super) struct Authorize {
    /// The tunnels. sshd reads one line for a key: what it needs for several tunnels goes together.
    #[arg(required = true, value_name = "NAME", add = completions::names())]
    names: Vec<String>,
    /// Only for this host on the way: a jump host, or the last one.
    #[arg(long, value_name = "HOST")]
    hop: Option<String>,
    /// The public key or the certificate, if it is not the one that the file leads to.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where the key may come from: addresses, address blocks and names, with commas between, as in
    /// `from=` of sshd(8). Put into the line of the first host, which is the one that sees us.
    #[arg(long, value_name = "PATTERN-LIST", value_parser = FromList::parse)]
    from: Option<FromList>,
    /// Until when the key is good: YYYYMMDD[HHMM[SS]] in the server's time zone, with a Z in UTC.
    #[arg(long, value_name = "TIME", value_parser = ExpiryTime::parse)]
    expiry_time: Option<ExpiryTime>,
    /// Print what goes into one of the two files, and not the other.
    #[arg(long, value_enum, value_name = "FILE")]
    only: Option<Part>,
}

/// The two files at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Part {
    AuthorizedKeys,
    SshdConfig,
}

pub(super) fn run(places: &Places, asked: &Authorize) -> Exit {
    let loaded = match super::load(&places.config) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match Page::new(&loaded.config, places, asked) {
        Ok(page) => {
            page.hints.iter().for_each(|hint| eprintln!("hint: {hint}"));
            super::print(&page.text(asked.only))
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            Exit::Failed
        }
    }
}

/// What is printed.
struct Page {
    accounts: Vec<Account>,
    hints: Vec<String>,
}

impl Page {
    fn new(config: &Config, places: &Places, asked: &Authorize) -> Result<Self, String> {
        let mut page = Page {
            accounts: Vec::new(),
            hints: Vec::new(),
        };
        let specs = specs(config, &asked.names)?;
        for spec in &specs {
            page.add_way(spec, asked)?;
        }
        if page.accounts.is_empty() {
            return Err(not_on_the_way(asked, &specs));
        }
        if let Some(time) = &asked.expiry_time
            && time.is_over(SystemTime::now())
        {
            let time = time.as_str();
            page.hint(format!(
                "--expiry-time {time} is over: sshd does not accept the key"
            ));
        }
        page.others(config, places, &asked.names);
        Ok(page)
    }

    fn add_way(&mut self, spec: &TunnelSpec, asked: &Authorize) -> Result<(), String> {
        let wanted = |target: &Target| {
            asked
                .hop
                .as_ref()
                .is_none_or(|hop| hops::goes_by(target, hop))
        };
        let way = authorize::way(spec).into_iter().enumerate();
        for (n, (target, rights)) in way.filter(|(_, (target, _))| wanted(target)) {
            let seen = n == 0 || asked.hop.is_some();
            self.add(target, &rights, seen, asked)?;
        }
        Ok(())
    }

    /// Adds what a host is asked for; it is `seen` if we connect to it ourselves.
    fn add(
        &mut self,
        target: &Target,
        rights: &Rights,
        seen: bool,
        asked: &Authorize,
    ) -> Result<(), String> {
        let keys = match asked.only {
            Some(Part::SshdConfig) => Vec::new(),
            _ => {
                let keys = Keys::of(target, asked.key.as_deref())?;
                keys.hints.into_iter().for_each(|hint| self.hint(hint));
                keys.found
            }
        };
        if asked.from.is_some() && !seen {
            let said = "--from is only for the first host: the others see the host before them";
            self.hint(said.to_owned());
        }
        for path in rights.unwritable() {
            self.hint(format!(
                "the forward to {path} is not covered, and will be refused: OpenSSH has no way to \
                 write that path; give the socket a short name without `]`"
            ));
        }
        let account = self.account(target, asked);
        if !seen {
            account.limits.from = None;
        }
        account.rights.add(rights);
        keys.iter().for_each(|key| account.grant(key, rights));
        Ok(())
    }

    fn account(&mut self, target: &Target, asked: &Authorize) -> &mut Account {
        let known = self.accounts.iter().position(|account| account.is(target));
        let at = known.unwrap_or_else(|| {
            let mut account = Account::of(target);
            account.limits = Limits {
                from: asked.from.clone(),
                expiry: asked.expiry_time.clone(),
            };
            self.accounts.push(account);
            self.accounts.len() - 1
        });
        &mut self.accounts[at]
    }

    fn hint(&mut self, hint: String) {
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
    }

    /// Names the tunnels that were not asked for and log in to the same accounts.
    fn others(&mut self, config: &Config, places: &Places, names: &[String]) {
        let here = |target: &Target| self.accounts.iter().any(|account| account.is(target));
        let shares = |spec: &&TunnelSpec| {
            let asked = names.iter().any(|name| name == spec.name.as_str());
            !asked && authorize::way(spec).iter().any(|(target, _)| here(target))
        };
        let others: Vec<_> = config.tunnels.values().filter(shares).collect();
        if !others.is_empty() {
            let names = names.iter().map(String::as_str);
            let others = others.iter().map(|spec| spec.name.as_str());
            let words: Vec<_> = ["authorize"]
                .into_iter()
                .chain(names)
                .chain(others)
                .collect();
            self.hint(format!(
                "of the lines for one key sshd reads the first, and of the blocks for one user too, \
                 and other tunnels log in there: {}",
                super::command_again(places, &words)
            ));
        }
    }

    fn text(&self, only: Option<Part>) -> String {
        let mut parts = Vec::new();
        for account in &self.accounts {
            if only != Some(Part::SshdConfig) {
                parts.push(account.authorized_keys());
            }
            match only {
                Some(Part::AuthorizedKeys) => {}
                None if account.is_root() => parts.push(account.without_sshd_config()),
                _ => parts.push(account.sshd_config()),
            }
        }
        parts.join("\n")
    }
}

fn specs<'a>(config: &'a Config, names: &[String]) -> Result<Vec<&'a TunnelSpec>, String> {
    let found = names.iter().map(|name| super::named(config, name));
    found.collect()
}

fn not_on_the_way(asked: &Authorize, specs: &[&TunnelSpec]) -> String {
    let hop = asked.hop.as_deref().unwrap_or_default();
    let hosts = specs.iter().flat_map(|spec| authorize::way(spec));
    let hosts: Vec<_> = hosts.map(|(target, _)| target.to_string()).collect();
    format!("`{hop}` is not on the way, which is: {}", hosts.join(", "))
}
