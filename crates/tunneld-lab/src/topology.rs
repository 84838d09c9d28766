//! Machines and the cables between them: network namespaces by name, with their own hosts and
//! accounts. Needs root, iproute2 and util-linux.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::etc::{self, Account};
use crate::process::{prefixed, printed, run};

/// A network of its own: two of them do not meet, whatever their addresses are. Dropped, it is
/// removed.
///
/// Nodes reach those that they are linked with and no other: there are no routes, and nothing is
/// forwarded, until somebody asks for it. What is run at a node knows the names of its own hosts
/// file and no other.
pub struct Topology {
    prefix: String,
    /// How many links each node has.
    links: HashMap<String, usize>,
    dir: TempDir,
}

/// One end of a link: the node, and its addresses there, as `10.1.0.2/24`.
pub type End<'a> = (&'a str, &'a [&'a str]);

impl Topology {
    /// Whether this process may make one, for a test that has to say that it did not run.
    pub fn possible() -> bool {
        rustix::process::geteuid().is_root() && Command::new("ip").arg("-V").output().is_ok()
    }

    /// Makes the nodes, with nothing but their loopback interfaces.
    ///
    /// # Panics
    /// Without root or iproute2.
    pub fn new(nodes: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        remove_leftovers();
        let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        // Accounts of the nodes have their homes below it.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut topology = Topology {
            prefix: format!("tl-{}-{nth}", std::process::id()),
            links: HashMap::new(),
            dir,
        };
        for node in nodes {
            topology.add(node);
        }
        topology
    }

    fn add(&mut self, node: &str) {
        let mut command = Command::new("ip");
        command.args(["netns", "add", &self.name(node)]);
        match command.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => panic!("a network needs root and iproute2: {}", printed(&output)),
            Err(error) => panic!("a network needs root and iproute2: `ip`: {error}"),
        }
        self.links.insert(node.to_owned(), 0);
        etc::write(&self.dir_of(node));
        self.ip(node, "link set lo up");
        // A new namespace has this from its host, which may well forward.
        self.set_forwarding(node, "0");
    }

    /// Connects two nodes. The first link of a node is its eth0, the next one its eth1.
    pub fn link(&mut self, one: End, other: End) {
        let (left, right) = (self.next_device(one.0), self.next_device(other.0));
        let peer = self.name(other.0);
        self.ip(
            one.0,
            &format!("link add {left} type veth peer name {right} netns {peer}"),
        );
        for ((node, addresses), device) in [(one, left), (other, right)] {
            for address in addresses {
                // Else the address is of no use for as long as its duplicates are looked for.
                let more = if address.contains(':') { "nodad" } else { "" };
                self.ip(node, &format!("addr add {address} dev {device} {more}"));
            }
            self.ip(node, &format!("link set {device} up"));
        }
    }

    fn next_device(&mut self, node: &str) -> String {
        let count = self.links.get_mut(node);
        let count = count.unwrap_or_else(|| panic!("no node {node}"));
        *count += 1;
        format!("eth{}", *count - 1)
    }

    /// Lets a node pass on packets between its links.
    pub fn forward(&self, node: &str) {
        self.set_forwarding(node, "1");
    }

    fn set_forwarding(&self, node: &str, value: &str) {
        self.inside(node, || {
            for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                let path = Path::new("/proc/sys/net").join(file);
                // A kernel without IPv6 has no such file, and does not forward it either.
                if path.exists() {
                    fs::write(&path, value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                }
            }
        });
    }

    /// The namespace of a node, as `ip netns` knows it.
    pub fn name(&self, node: &str) -> String {
        format!("{}-{node}", self.prefix)
    }

    fn dir_of(&self, node: &str) -> PathBuf {
        assert!(self.links.contains_key(node), "no node {node}");
        self.dir.path().join(node)
    }

    /// What to put in front of a command to run it at a node, with the node's hosts and accounts.
    /// The command takes the place of the prefix: they are one process.
    pub fn exec_prefix(&self, node: &str) -> Vec<String> {
        let words = ["ip", "netns", "exec", &self.name(node)].map(str::to_owned);
        let own = etc::exec_prefix(&self.dir_of(node));
        words.into_iter().chain(own).collect()
    }

    /// A command that runs at a node.
    pub fn command(&self, node: &str, program: &str) -> Command {
        prefixed(&self.exec_prefix(node), program)
    }

    /// Runs `ip` at a node: `link set eth0 down`.
    pub fn ip(&self, node: &str, arguments: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name(node)]);
        run(command.args(arguments.split_whitespace()))
    }

    /// Runs `work` at a node, on a thread of its own. Sockets that it makes stay at the node, and
    /// so do the threads that it starts. Names are those of the test process all the same.
    pub fn inside<T: Send>(&self, node: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(self.name(node));
        let namespace = File::open(path).expect("no such node");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), kind).expect("cannot enter a node");
                work()
            });
            let result = thread.join();
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Teaches a node a name, by its hosts file. What runs there already learns it, too.
    pub fn knows(&self, node: &str, name: &str, address: &str) {
        etc::add_host(&self.dir_of(node), name, address);
    }

    /// Gives a node a resolv.conf(5), for programs that are run there from now on and that ask a
    /// resolver themselves.
    pub fn asks(&self, node: &str, resolv_conf: &str) {
        etc::write_resolv_conf(&self.dir_of(node), resolv_conf);
    }

    /// Makes an account at a node, with a home and this shell, and without a password.
    pub fn account(&self, node: &str, name: &str, shell: &str) -> Account {
        etc::add_account(&self.dir_of(node), name, shell)
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        for node in self.links.keys() {
            remove(&self.name(node));
        }
    }
}

fn remove(name: &str) {
    let _ = Command::new("ip").args(["netns", "del", name]).output();
}

/// Removes what a test process left that was killed: its namespaces carry its process id.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return;
    };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let pid = name
            .strip_prefix("tl-")
            .and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}
