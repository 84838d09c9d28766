//! A remote forward from a home network, whose target is another machine of it.

use tunneld_lab::pattern::pattern;
use tunneld_lab::topology::Topology;
use tunneld_lab::web::WebServer;

use crate::example::Example;
use crate::support::{Machine, PAGE};
use crate::support::{addr, closed, fetch, no_way, page, server, unknown};

#[test]
fn a_page_of_another_machine_at_home_is_fetched_at_the_cloud_host() {
    // And nobody but the cloud host can fetch it there.
    let mut lab = Topology::new(&["pi", "nas", "cloud", "visitor"]);
    lab.link(("pi", &["192.168.1.2/24"]), ("nas", &["192.168.1.20/24"]));
    lab.link(("pi", &["10.1.0.2/24"]), ("cloud", &["10.1.0.1/24"]));
    lab.link(
        ("cloud", &["203.0.113.1/24"]),
        ("visitor", &["203.0.113.5/24"]),
    );
    lab.knows("pi", "nas.home", "192.168.1.20");
    lab.knows("pi", "cloud.example.com", "10.1.0.1");
    let web = WebServer::start(&lab, "nas", addr("192.168.1.20:80"), PAGE);
    let bytes = pattern(3 << 20, 4);
    web.put("bytes", &bytes);
    no_way(&lab, "cloud", "192.168.1.20:80");
    no_way(&lab, "nas", "10.1.0.1:22");
    unknown(&lab, "cloud", "nas.home");

    let example = Example::read("home-network");
    let config = example.below("Match User tunnel");
    let sshd = server(&lab, "cloud", "10.1.0.1:22", "tunnel", &config);
    let machine = Machine::new(&lab, "pi");
    machine.may_use(&sshd, "cloud.example.com", example.rights()[0]);
    let _daemon = machine.up(&example, "nas");
    assert_eq!(page(&lab, "cloud", "http://127.0.0.1:8080/"), PAGE);
    let came = fetch(&lab, "cloud", "http://127.0.0.1:8080/bytes");
    assert!(came == bytes, "other bytes came");
    // It is the Pi that came.
    assert_eq!(web.clients(), ["192.168.1.2", "192.168.1.2"]);
    closed(&lab, "visitor", "203.0.113.1:8080");
}
