//! A local forward to what a server shows to nobody but itself.

use tunneld_lab::pattern::pattern;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::topology::Topology;
use tunneld_lab::web::WebServer;

use crate::example::Example;
use crate::support::{LONG, Machine, PAGE};
use crate::support::{addr, closed, fetch, fetch_fails, page, server};

/// A laptop, and a server with a web server on its loopback.
struct Lab {
    sshd: Sshd,
    web: WebServer,
    lab: Topology,
}

impl Lab {
    fn new() -> Self {
        let mut lab = Topology::new(&["laptop", "server"]);
        lab.link(("laptop", &["10.1.0.2/24"]), ("server", &["10.1.0.1/24"]));
        lab.knows("laptop", "server.example.com", "10.1.0.1");
        let web = WebServer::start(&lab, "server", addr("127.0.0.1:80"), PAGE);
        closed(&lab, "laptop", "10.1.0.1:80");
        Lab {
            sshd: server(&lab, "server", "10.1.0.1:22", "tunnel", ""),
            web,
            lab,
        }
    }

    fn machine(&self, rights: &str) -> Machine {
        let machine = Machine::new(&self.lab, "laptop");
        machine.may_use(&self.sshd, "server.example.com", rights);
        machine
    }
}

#[test]
fn a_page_on_the_loopback_of_a_server_is_fetched_here() {
    let lab = Lab::new();
    let example = Example::read("server-loopback");
    let bytes = pattern(3 << 20, 1);
    lab.web.put("bytes", &bytes);
    let machine = lab.machine(example.rights()[0]);
    let _daemon = machine.up(&example, "admin");
    assert_eq!(page(&lab.lab, "laptop", "http://127.0.0.1:8080/"), PAGE);
    let came = fetch(&lab.lab, "laptop", "http://127.0.0.1:8080/bytes");
    assert!(came == bytes, "other bytes came");
    assert_eq!(lab.web.clients(), ["127.0.0.1", "127.0.0.1"]);
}

#[test]
fn the_line_of_authorized_keys_allows_the_one_place_that_the_file_names() {
    let lab = Lab::new();
    let _other = WebServer::start(&lab.lab, "server", addr("127.0.0.1:81"), "private");
    let example = Example::read("server-loopback");
    let machine = lab.machine(example.rights()[0]);
    let more = r#"localhost:80", "127.0.0.1:8081:localhost:81""#;
    let example = example.with("8080:localhost:80\"", &format!("8080:{more}"));
    let _daemon = machine.up(&example, "admin");
    assert_eq!(page(&lab.lab, "laptop", "http://127.0.0.1:8080/"), PAGE);
    fetch_fails(&lab.lab, "laptop", "http://127.0.0.1:8081/", "curl: (");
    let denied = "connect to host localhost port 81, but the request was denied";
    lab.sshd.wait_for_log(denied, LONG);
}
