//! Three network namespaces in a row, A – R – B, with a cable to cut. Needs root and iproute2.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{printed, run};

/// The address of A, seen from everywhere.
pub const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 1, 2));
/// The address of B, seen from everywhere.
pub const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 2, 2));

/// A network of its own: A (10.99.1.2) and B (10.99.2.2) with a router R between them. Dropped, it
/// is removed.
pub struct NetLab {
    prefix: String,
}

impl NetLab {
    /// Whether this process may make one, for a test that has to say that it did not run.
    pub fn possible() -> bool {
        rustix::process::geteuid().is_root() && Command::new("ip").arg("-V").output().is_ok()
    }

    /// Makes the network.
    ///
    /// # Panics
    /// Without root or iproute2.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        remove_leftovers();
        let lab = NetLab {
            prefix: format!("tl-{}-{nth}", std::process::id()),
        };
        for node in ["A", "R", "B"] {
            lab.add(node);
            lab.ip(node, "link set lo up");
        }
        for (node, link, net) in [("A", "r-a", 1), ("B", "r-b", 2)] {
            let peer = lab.name(node);
            lab.ip(
                "R",
                &format!("link add {link} type veth peer name eth0 netns {peer}"),
            );
            lab.ip("R", &format!("addr add 10.99.{net}.1/24 dev {link}"));
            lab.ip("R", &format!("link set {link} up"));
            lab.ip(node, &format!("addr add 10.99.{net}.2/24 dev eth0"));
            lab.ip(node, "link set eth0 up");
            lab.ip(node, &format!("route add default via 10.99.{net}.1"));
        }
        lab.inside("R", || {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("cannot forward");
        });
        lab
    }

    fn add(&self, node: &str) {
        let mut command = Command::new("ip");
        command.args(["netns", "add", &self.name(node)]);
        match command.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => panic!("a NetLab needs root and iproute2: {}", printed(&output)),
            Err(error) => panic!("a NetLab needs root and iproute2: `ip`: {error}"),
        }
    }

    /// The namespace of a node, as `ip netns` knows it.
    pub fn name(&self, node: &str) -> String {
        format!("{}-{node}", self.prefix)
    }

    /// What to put in front of a command to run it at a node: `ip netns exec NAME`.
    pub fn exec_prefix(&self, node: &str) -> Vec<String> {
        let words = ["ip", "netns", "exec", &self.name(node)];
        words.map(str::to_owned).to_vec()
    }

    /// Runs `ip` at a node: `link set eth0 down`.
    pub fn ip(&self, node: &str, arguments: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name(node)]);
        run(command.args(arguments.split_whitespace()))
    }

    /// Runs `work` at a node, on a thread of its own. Sockets that it makes stay at the node, and
    /// so do the threads that it starts.
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

    /// Cuts the cable: packets between A and B disappear without a word to either.
    pub fn cut(&self) {
        self.ip("R", "route add blackhole 10.99.1.2/32");
        self.ip("R", "route add blackhole 10.99.2.2/32");
    }

    /// Mends what [`NetLab::cut`] cut; connections that lived on both sides go on.
    pub fn heal(&self) {
        self.ip("R", "route del blackhole 10.99.1.2/32");
        self.ip("R", "route del blackhole 10.99.2.2/32");
    }
}

impl Default for NetLab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NetLab {
    fn drop(&mut self) {
        for node in ["A", "B", "R"] {
            remove(&self.name(node));
        }
    }
}

fn remove(name: &str) {
    let _ = Command::new("ip").args(["netns", "del", name]).output();
}

/// Removes what a test process left that was killed: its namespaces carry its process id.
fn remove_leftovers() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
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
