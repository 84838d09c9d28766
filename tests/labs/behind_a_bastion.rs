//! A session with a machine that only the bastion can reach, through the bastion.

use tunneld_lab::pattern::pattern;
use tunneld_lab::topology::Topology;
use tunneld_lab::web::WebServer;

use crate::example::Example;
use crate::support::{LONG, Machine, PAGE};
use crate::support::{addr, closed, fetch, no_way, page, server, unknown};

#[test]
fn a_page_on_the_loopback_of_a_machine_behind_the_bastion_is_fetched_here() {
    // The bastion cannot fetch it either: there is a session with the machine itself.
    let mut lab = Topology::new(&["office", "bastion", "wiki"]);
    lab.link(("office", &["10.1.0.2/24"]), ("bastion", &["10.1.0.1/24"]));
    lab.link(("bastion", &["10.5.0.1/24"]), ("wiki", &["10.5.0.10/24"]));
    lab.knows("office", "bastion.example.com", "10.1.0.1");
    lab.knows("bastion", "wiki.internal", "10.5.0.10");
    let web = WebServer::start(&lab, "wiki", addr("127.0.0.1:80"), PAGE);
    let bytes = pattern(3 << 20, 2);
    web.put("bytes", &bytes);
    let bastion = server(&lab, "bastion", "10.1.0.1:2222", "jump", "");
    let wiki = server(&lab, "wiki", "10.5.0.10:22", "tunnel", "");
    no_way(&lab, "office", "10.5.0.10:22");
    unknown(&lab, "office", "wiki.internal");
    closed(&lab, "bastion", "10.5.0.10:80");

    let example = Example::read("behind-a-bastion");
    let machine = Machine::new(&lab, "office");
    let rights = example.rights();
    machine.may_use(&bastion, "bastion.example.com", rights[0]);
    machine.may_use(&wiki, "wiki.internal", rights[1]);
    let _daemon = machine.up(&example, "wiki");
    assert_eq!(page(&lab, "office", "http://127.0.0.1:8080/"), PAGE);
    let came = fetch(&lab, "office", "http://127.0.0.1:8080/bytes");
    assert!(came == bytes, "other bytes came");
    bastion.wait_for_log("Accepted publickey for jump from 10.1.0.2", LONG);
    wiki.wait_for_log("Accepted publickey for tunnel from 10.5.0.1", LONG);
    assert_eq!(web.clients(), ["127.0.0.1", "127.0.0.1"]);
}
