//! A remote forward that a gateway opens to everybody.

use tunneld_lab::daemon::Daemon;
use tunneld_lab::pattern::pattern;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::topology::Topology;
use tunneld_lab::web::WebServer;

use crate::example::Example;
use crate::support::{Machine, PAGE, addr, closed, fetch, no_way, page, server};

/// The tunnel from a workstation to a gateway, and two machines that can reach the gateway: one on
/// either side.
struct Lab {
    _daemon: Daemon,
    _sshd: Sshd,
    web: WebServer,
    lab: Topology,
}

impl Lab {
    /// The gateway's sshd_config has what the example says, with this word for its own.
    fn new(gateway_ports: &str) -> Self {
        let mut lab = Topology::new(&["workstation", "gateway", "visitor", "neighbour"]);
        let own = ("workstation", ["10.1.0.2/24"]);
        lab.link((own.0, &own.1), ("gateway", &["10.1.0.1/24"]));
        lab.link(
            ("gateway", &["203.0.113.1/24"]),
            ("visitor", &["203.0.113.5/24"]),
        );
        lab.link(
            ("gateway", &["10.2.0.1/24"]),
            ("neighbour", &["10.2.0.5/24"]),
        );
        lab.knows("workstation", "gateway.example.com", "10.1.0.1");
        let web = WebServer::start(&lab, "workstation", addr("127.0.0.1:80"), PAGE);
        for node in ["visitor", "neighbour"] {
            no_way(&lab, node, "10.1.0.2:80");
        }
        closed(&lab, "visitor", "203.0.113.1:8080");

        let example = Example::read("publish-on-a-gateway");
        let config = example.below("Match User tunnel");
        assert!(
            config.contains("GatewayPorts clientspecified\n"),
            "{config}"
        );
        let config = config.replace("clientspecified", gateway_ports);
        let sshd = server(&lab, "gateway", "10.1.0.1:22", "tunnel", &config);
        let machine = Machine::new(&lab, "workstation");
        machine.may_use(&sshd, "gateway.example.com", example.rights()[0]);
        Lab {
            _daemon: machine.up(&example, "demo"),
            _sshd: sshd,
            web,
            lab,
        }
    }
}

fn everybody_fetches_the_page(lab: &Lab) {
    for (node, url) in [
        ("visitor", "http://203.0.113.1:8080/"),
        ("neighbour", "http://10.2.0.1:8080/"),
        ("gateway", "http://127.0.0.1:8080/"),
    ] {
        assert_eq!(page(&lab.lab, node, url), PAGE, "{url}");
    }
    // The last step is made at the workstation.
    assert_eq!(lab.web.clients(), ["127.0.0.1"; 3]);
}

#[test]
fn a_page_that_is_served_here_is_fetched_from_every_side_of_the_gateway() {
    let lab = Lab::new("clientspecified");
    everybody_fetches_the_page(&lab);
    let bytes = pattern(3 << 20, 3);
    lab.web.put("bytes", &bytes);
    let came = fetch(&lab.lab, "visitor", "http://203.0.113.1:8080/bytes");
    assert!(came == bytes, "other bytes came");
}

#[test]
fn a_gateway_that_opens_everything_serves_the_page_as_well() {
    everybody_fetches_the_page(&Lab::new("yes"));
}

#[test]
fn a_gateway_that_was_not_told_to_open_the_port_keeps_it_to_itself() {
    // What the comments of the example warn of.
    let lab = Lab::new("no");
    assert_eq!(page(&lab.lab, "gateway", "http://127.0.0.1:8080/"), PAGE);
    closed(&lab.lab, "visitor", "203.0.113.1:8080");
    closed(&lab.lab, "neighbour", "10.2.0.1:8080");
}
