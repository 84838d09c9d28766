//! Three network namespaces in a row, A – R – B, with a cable to cut. Needs what
//! [`crate::topology`] needs.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;

use crate::topology::Topology;

/// The address of A, seen from everywhere.
pub const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 1, 2));
/// The address of B, seen from everywhere.
pub const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 2, 2));

/// A network of its own: A (10.99.1.2) and B (10.99.2.2) with a router R between them. Dropped, it
/// is removed.
pub struct NetLab(Topology);

impl NetLab {
    /// Whether this process may make one, for a test that has to say that it did not run.
    pub fn possible() -> bool {
        Topology::possible()
    }

    /// Makes the network.
    ///
    /// # Panics
    /// Without root or iproute2.
    pub fn new() -> Self {
        let mut lab = Topology::new(&["A", "R", "B"]);
        lab.link(("A", &["10.99.1.2/24"]), ("R", &["10.99.1.1/24"]));
        lab.link(("B", &["10.99.2.2/24"]), ("R", &["10.99.2.1/24"]));
        lab.ip("A", "route add default via 10.99.1.1");
        lab.ip("B", "route add default via 10.99.2.1");
        lab.forward("R");
        NetLab(lab)
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

impl Deref for NetLab {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        &self.0
    }
}
