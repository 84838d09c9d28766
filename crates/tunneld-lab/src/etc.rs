//! A node's own hosts and accounts: files in a folder, and a prefix that puts them over those of
//! /etc for one command and what it starts.

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The files that a node has for itself.
const FILES: [&str; 4] = ["hosts", "nsswitch.conf", "passwd", "group"];

/// The file that a node has for itself once somebody writes it: names do not come from there, other
/// records may.
const RESOLV_CONF: &str = "resolv.conf";

/// Names come from these files alone: what the host's resolver knows is not known at a node.
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files\n";

const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// An account that exists at one node.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number, and that of its group.
    pub id: u32,
    /// Its home, which belongs to it.
    pub home: PathBuf,
}

impl Account {
    /// What to put in front of a command to run it as this account. Below the prefix of the node:
    /// it takes root to change over.
    pub fn exec_prefix(&self) -> Vec<String> {
        let words = ["setpriv", "--clear-groups"].map(str::to_owned);
        let ids = [
            format!("--reuid={}", self.id),
            format!("--regid={}", self.id),
        ];
        words.into_iter().chain(ids).collect()
    }
}

/// Writes the files of a new node: the accounts of this machine, and no name but localhost.
pub(crate) fn write(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for file in FILES {
        let text = match file {
            "hosts" => HOSTS.to_owned(),
            "nsswitch.conf" => NSSWITCH.to_owned(),
            _ => fs::read_to_string(Path::new("/etc").join(file)).unwrap(),
        };
        fs::write(dir.join(file), text).unwrap();
    }
}

/// The words that run a command with the files of `dir`. Only below `ip netns exec`, which makes
/// the mount namespace that the files appear in.
pub(crate) fn exec_prefix(dir: &Path) -> Vec<String> {
    let script = format!(
        "for file in {} {RESOLV_CONF}; do [ ! -e \"$0/$file\" ] || \
         mount --bind \"$0/$file\" \"/etc/$file\" || exit; done; exec \"$@\"",
        FILES.join(" ")
    );
    let dir = dir.to_str().unwrap();
    ["sh", "-c", &script, dir].map(str::to_owned).to_vec()
}

/// Adds a line to hosts, in place: what was mounted elsewhere is this very file.
pub(crate) fn add_host(dir: &Path, name: &str, address: &str) {
    let mut hosts = fs::File::options()
        .append(true)
        .open(dir.join("hosts"))
        .unwrap();
    writeln!(hosts, "{address} {name}").unwrap();
}

/// Writes resolv.conf, which is seen by what is run from then on.
pub(crate) fn write_resolv_conf(dir: &Path, text: &str) {
    fs::write(dir.join(RESOLV_CONF), text).unwrap();
}

/// Adds an account, in place. It wins over one of the same name that this machine may have.
pub(crate) fn add_account(dir: &Path, name: &str, shell: &str) -> Account {
    static NEXT: AtomicU32 = AtomicU32::new(60_001);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let home = dir.join("home").join(name);
    fs::create_dir_all(&home).unwrap();
    chown(&home, Some(id), Some(id)).unwrap();
    let line = format!("{name}:x:{id}:{id}::{}:{shell}\n", home.display());
    for (file, line) in [("passwd", line), ("group", format!("{name}:x:{id}:\n"))] {
        let path = dir.join(file);
        // The first entry of a name is the one that counts.
        let text = line + &fs::read_to_string(&path).unwrap();
        fs::write(path, text).unwrap();
    }
    Account {
        name: name.to_owned(),
        id,
        home,
    }
}
