//! Local forwards that the bastion carries on to a network which only it can reach.

use tunneld_lab::topology::Topology;
use tunneld_lab::web::WebServer;

use crate::example::Example;
use crate::support::{Machine, addr, closed, no_way, page, server, unknown};

/// The fingerprint in the file, which is made up.
const MADE_UP: &str = "SHA256:0000000000000000000000000000000000000000000";

/// An office with two machines, the bastion, and a machine with three services behind it.
fn lab() -> Topology {
    let mut lab = Topology::new(&["office", "colleague", "bastion", "inner"]);
    lab.link(
        ("office", &["192.0.2.10/24"]),
        ("colleague", &["192.0.2.11/24"]),
    );
    lab.link(("office", &["10.1.0.2/24"]), ("bastion", &["10.1.0.1/24"]));
    lab.link(
        ("bastion", &["10.5.0.1/24", "fd00:5::1/64"]),
        ("inner", &["10.5.0.10/24", "fd00:5::10/64"]),
    );
    lab.knows("office", "bastion.example.com", "10.1.0.1");
    for name in ["wiki.internal", "metrics.internal"] {
        lab.knows("bastion", name, "10.5.0.10");
        unknown(&lab, "office", name);
    }
    lab
}

#[test]
fn services_that_only_the_bastion_reaches_are_fetched_here() {
    // By name, from another machine of the office, and by an IPv6 address; the key may go to these
    // places and no other, and the pin is what makes the bastion known.
    let lab = lab();
    let serve = |listen, page| WebServer::start(&lab, "inner", addr(listen), page);
    let wiki = serve("10.5.0.10:80", "wiki");
    let _metrics = serve("10.5.0.10:9090", "metrics");
    let _reports = serve("[fd00:5::10]:5432", "reports");
    for to in ["10.5.0.10:80", "10.5.0.10:9090", "[fd00:5::10]:5432"] {
        no_way(&lab, "office", to);
    }
    let sshd = server(&lab, "bastion", "10.1.0.1:2222", "tunnel", "");
    let pin = sshd.host_keys()[0].fingerprint();
    let example = Example::read("bastion").with(MADE_UP, &pin);
    let machine = Machine::new(&lab, "office");
    machine.may_use(&sshd, "another.example.com", example.rights()[0]);
    closed(&lab, "colleague", "192.0.2.10:9090");
    let _daemon = machine.up(&example, "internal");
    for (node, url, expected) in [
        ("office", "http://127.0.0.1:8080/", "wiki"),
        ("office", "http://[::1]:8080/", "wiki"),
        ("office", "http://127.0.0.1:5433/", "reports"),
        ("colleague", "http://192.0.2.10:9090/", "metrics"),
    ] {
        assert_eq!(page(&lab, node, url), expected, "{url}");
    }
    // It is the bastion that came.
    assert_eq!(wiki.clients(), ["10.5.0.1", "10.5.0.1"]);
}
