//! Three jump hosts in a row.

use tunneld_lab::pattern::pattern;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::topology::Topology;
use tunneld_lab::web::WebServer;

use crate::example::Example;
use crate::support::{LONG, Machine, PAGE};
use crate::support::{addr, closed, fetch, no_way, page, server, unknown};

/// Machines in a row, each of which reaches its neighbours and knows the name of the next one.
fn lab() -> Topology {
    let mut lab = Topology::new(&["office", "gateway", "plant", "cell", "controller"]);
    lab.link(("office", &["10.1.0.2/24"]), ("gateway", &["10.1.0.1/24"]));
    lab.link(("gateway", &["10.2.0.2/24"]), ("plant", &["10.2.0.1/24"]));
    lab.link(("plant", &["10.3.0.2/24"]), ("cell", &["10.3.0.1/24"]));
    lab.link(("cell", &["10.4.0.2/24"]), ("controller", &["10.4.0.1/24"]));
    lab.knows("office", "gateway.example.com", "10.1.0.1");
    lab.knows("gateway", "plant.internal", "10.2.0.1");
    lab.knows("plant", "cell.internal", "10.3.0.1");
    lab.knows("cell", "controller.internal", "10.4.0.1");
    lab
}

/// The four servers, from the nearest one on.
fn servers(lab: &Topology) -> [Sshd; 4] {
    [
        server(lab, "gateway", "10.1.0.1:22", "jump", ""),
        server(lab, "plant", "10.2.0.1:2222", "jump", ""),
        server(lab, "cell", "10.3.0.1:22", "operator", ""),
        server(lab, "controller", "10.4.0.1:22", "tunnel", ""),
    ]
}

#[test]
fn a_page_behind_three_jump_hosts_is_fetched_here() {
    // Every hop knows the next one only, and the third one takes a key of its own.
    let lab = lab();
    let web = WebServer::start(&lab, "controller", addr("127.0.0.1:80"), PAGE);
    let bytes = pattern(3 << 20, 5);
    web.put("bytes", &bytes);
    let servers = servers(&lab);
    for to in ["10.2.0.1:2222", "10.3.0.1:22", "10.4.0.1:22"] {
        no_way(&lab, "office", to);
    }
    for name in ["plant.internal", "cell.internal", "controller.internal"] {
        unknown(&lab, "office", name);
    }
    closed(&lab, "cell", "10.4.0.1:80");

    let example = Example::read("three-hops");
    let machine = Machine::new(&lab, "office");
    let rights = example.rights();
    let [gateway, plant, cell, controller] = &servers;
    machine.may_use(gateway, "gateway.example.com", rights[0]);
    machine.may_use(plant, "plant.internal", rights[1]);
    let own = ("cell_ed25519", "known_hosts.cell");
    machine.may_use_with(cell, "cell.internal", rights[2], own);
    machine.may_use(controller, "controller.internal", rights[3]);
    let _daemon = machine.up(&example, "controller");
    assert_eq!(page(&lab, "office", "http://127.0.0.1:8080/"), PAGE);
    let came = fetch(&lab, "office", "http://127.0.0.1:8080/bytes");
    assert!(came == bytes, "other bytes came");
    for (sshd, login) in servers.iter().zip([
        "Accepted publickey for jump from 10.1.0.2",
        "Accepted publickey for jump from 10.2.0.2",
        "Accepted publickey for operator from 10.3.0.2",
        "Accepted publickey for tunnel from 10.4.0.2",
    ]) {
        sshd.wait_for_log(login, LONG);
    }
}
