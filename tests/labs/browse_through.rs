//! A dynamic forward: clients say where they want to go, and the far end knows the names.

use tunneld_lab::process::printed;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::topology::Topology;
use tunneld_lab::web::WebServer;

use crate::example::Example;
use crate::support::{LONG, Machine, PAGE, addr, curl, no_way, server, unknown};

/// A laptop, the gateway of an office, and a wiki that only the office knows.
struct Lab {
    sshd: Sshd,
    web: WebServer,
    lab: Topology,
}

impl Lab {
    fn new() -> Self {
        let mut lab = Topology::new(&["laptop", "gateway", "wiki"]);
        lab.link(("laptop", &["10.1.0.2/24"]), ("gateway", &["10.1.0.1/24"]));
        lab.link(("gateway", &["10.5.0.1/24"]), ("wiki", &["10.5.0.10/24"]));
        lab.knows("laptop", "gateway.example.com", "10.1.0.1");
        lab.knows("gateway", "wiki.internal", "10.5.0.10");
        let web = WebServer::start(&lab, "wiki", addr("10.5.0.10:80"), PAGE);
        no_way(&lab, "laptop", "10.5.0.10:80");
        unknown(&lab, "laptop", "wiki.internal");
        Lab {
            sshd: server(&lab, "gateway", "10.1.0.1:22", "tunnel", ""),
            web,
            lab,
        }
    }

    fn machine(&self, example: &Example) -> Machine {
        let machine = Machine::new(&self.lab, "laptop");
        machine.may_use(&self.sshd, "gateway.example.com", example.rights()[0]);
        machine
    }
}

#[test]
fn curl_fetches_by_names_that_only_the_far_end_knows_in_every_protocol() {
    // The commands are those of the example: SOCKS 5, SOCKS 4a, HTTP CONNECT.
    let lab = Lab::new();
    let example = Example::read("browse-through");
    let _daemon = lab.machine(&example).up(&example, "office");
    let commands = example.lines("curl ");
    for option in ["--socks5-hostname", "--socks4a", "--proxy"] {
        let mut with = commands.iter().filter(|line| line.contains(option));
        let command = with.next().unwrap_or_else(|| panic!("no {option}"));
        let args: Vec<_> = command.split(' ').skip(1).collect();
        let output = curl(&lab.lab, "laptop", &args);
        assert_eq!(printed(&output), PAGE, "{command}");
    }
    assert_eq!(lab.web.clients(), ["10.5.0.1"; 3]);
}

#[test]
fn curl_fetches_by_address_in_every_protocol() {
    // And a name that curl looks up itself is not found: it was the far end that knew it.
    let lab = Lab::new();
    let example = Example::read("browse-through");
    let _daemon = lab.machine(&example).up(&example, "office");
    for option in ["--socks5", "--socks4"] {
        let through = |url| curl(&lab.lab, "laptop", &[option, "127.0.0.1:1080", url]);
        let output = through("http://10.5.0.10/");
        assert_eq!(printed(&output), PAGE, "{option}");
        let said = printed(&through("http://wiki.internal/"));
        assert!(said.to_lowercase().contains("resolve"), "{option}: {said}");
    }
    assert_eq!(lab.web.clients(), ["10.5.0.1"; 2]);
}

#[test]
fn what_the_gateway_does_not_allow_is_refused_and_the_rest_goes_on() {
    let lab = Lab::new();
    let _other = WebServer::start(&lab.lab, "wiki", addr("10.5.0.10:8000"), "private");
    let example = Example::read("browse-through");
    let _daemon = lab.machine(&example).up(&example, "office");
    let fetch = |port| {
        let url = format!("http://wiki.internal:{port}/");
        let proxy = ["--socks5-hostname", "127.0.0.1:1080", url.as_str()];
        curl(&lab.lab, "laptop", &proxy)
    };
    let refused = fetch(8000);
    assert!(!refused.status.success(), "{}", printed(&refused));
    let denied = "connect to host wiki.internal port 8000, but the request was denied";
    lab.sshd.wait_for_log(denied, LONG);
    assert_eq!(printed(&fetch(80)), PAGE);
}
