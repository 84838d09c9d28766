//! Machines of the lab meet where they are linked and nowhere else, have hosts and accounts of
//! their own, and run real servers. All of it needs root: without it these tests fail, and say so.

// Helpers are not tests to clippy, and their failure is the test's failure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use tunneld_lab::postgres::{Postgres, psql};
use tunneld_lab::process::{prefixed, printed, run};
use tunneld_lab::target::{EchoServer, echoes};
use tunneld_lab::topology::Topology;
use tunneld_lab::web::WebServer;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// left – middle – right.
fn row() -> Topology {
    let mut lab = Topology::new(&["left", "middle", "right"]);
    lab.link(
        ("left", &["10.1.0.2/24", "fd00:1::2/64"]),
        ("middle", &["10.1.0.1/24", "fd00:1::1/64"]),
    );
    lab.link(("middle", &["10.2.0.1/24"]), ("right", &["10.2.0.2/24"]));
    lab
}

#[test]
fn only_linked_nodes_meet() {
    let lab = row();
    for listen in ["10.1.0.1:7", "[fd00:1::1]:7", "10.2.0.2:7"] {
        let node = if listen.starts_with("10.2") {
            "right"
        } else {
            "middle"
        };
        let _echo = lab.inside(node, || EchoServer::start_on(addr(listen)));
        let from_left = lab.inside("left", || echoes(addr(listen)));
        match node {
            "middle" => from_left.unwrap(),
            _ => assert_eq!(
                from_left.unwrap_err().kind(),
                io::ErrorKind::NetworkUnreachable
            ),
        }
    }
}

#[test]
fn a_node_passes_packets_on_only_when_it_is_asked_to() {
    let lab = row();
    let _echo = lab.inside("right", || EchoServer::start_on(addr("10.2.0.2:7")));
    lab.ip("left", "route add default via 10.1.0.1");
    lab.ip("right", "route add default via 10.2.0.1");
    let ping = || {
        let to = addr("10.2.0.2:7");
        let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(1));
        lab.inside("left", connect).is_ok()
    };
    assert!(!ping());
    lab.forward("middle");
    assert!(ping());
}

#[test]
fn networks_with_the_same_addresses_do_not_meet() {
    let (one, two) = (row(), row());
    let _echo = one.inside("middle", || EchoServer::start_on(addr("10.1.0.1:7")));
    one.inside("left", || echoes(addr("10.1.0.1:7"))).unwrap();
    let error = two.inside("left", || echoes(addr("10.1.0.1:7")));
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_name_and_an_account_exist_at_their_node_only() {
    let lab = Topology::new(&["one", "two"]);
    lab.knows("one", "wiki.internal", "10.5.0.10");
    let account = lab.account("one", "tunnel", "/usr/sbin/nologin");
    let getent = |node: &str, what: &[&str]| {
        let output = lab.command(node, "getent").args(what).output().unwrap();
        output.status.success().then(|| printed(&output))
    };
    let hosts = getent("one", &["hosts", "wiki.internal"]).unwrap();
    assert_eq!(
        hosts.split_whitespace().collect::<Vec<_>>(),
        ["10.5.0.10", "wiki.internal"]
    );
    let entry = getent("one", &["passwd", "tunnel"]).unwrap();
    let home = account.home.display();
    assert_eq!(
        entry.trim(),
        format!("tunnel:x:{0}:{0}::{home}:/usr/sbin/nologin", account.id)
    );
    for what in [["hosts", "wiki.internal"], ["passwd", "tunnel"]] {
        assert_eq!(getent("two", &what), None);
    }
    // And the machine's own resolver has no say.
    let all = getent("two", &["hosts"]).unwrap();
    let names: Vec<_> = all
        .lines()
        .filter_map(|l| l.split_whitespace().last())
        .collect();
    assert_eq!(names, ["localhost", "localhost"]);
}

#[test]
fn an_account_is_who_it_says() {
    let lab = Topology::new(&["one"]);
    let account = lab.account("one", "someone", "/bin/sh");
    let prefix = [lab.exec_prefix("one"), account.exec_prefix()].concat();
    let touched = account.home.join("file");
    run(prefixed(&prefix, "touch").arg(&touched));
    assert!(touched.exists());
    assert_eq!(run(prefixed(&prefix, "id").arg("-un")), "someone\n");
    assert_eq!(
        run(prefixed(&prefix, "id").arg("-G")),
        format!("{}\n", account.id)
    );
}

#[test]
fn the_web_server_serves_at_its_address_only_and_knows_who_asked() {
    let lab = row();
    let web = WebServer::start(&lab, "middle", addr("10.1.0.1:80"), "a page\n");
    web.put("bytes", &[0, 159, 146, 150]);
    let fetch = |node: &str, url: &str| {
        let mut curl = lab.command(node, "curl");
        curl.args(["-sS", "--max-time", "20", url])
            .output()
            .unwrap()
    };
    assert_eq!(fetch("left", "http://10.1.0.1/").stdout, b"a page\n");
    let bytes = fetch("middle", "http://10.1.0.1/bytes").stdout;
    assert_eq!(bytes, [0, 159, 146, 150]);
    assert_eq!(web.clients(), ["10.1.0.2", "10.1.0.1"]);
    for url in ["http://127.0.0.1/", "http://10.2.0.1/"] {
        let said = printed(&fetch("middle", url));
        assert!(said.contains("curl: (7)"), "{said}");
    }
}

#[test]
fn the_database_answers_on_its_loopback_and_by_account_on_its_socket() {
    let lab = row();
    let database = Postgres::start(&lab, "middle");
    database.sql("create role guest login");
    let guest = lab.account("middle", "guest", "/bin/sh");
    let on_socket = format!("host={} user=guest", database.socket_dir().display());
    let who = "select current_user";
    let middle = lab.exec_prefix("middle");
    let as_guest = [middle.clone(), guest.exec_prefix()].concat();
    assert_eq!(run(&mut psql(&as_guest, &on_socket, who)), "guest\n");
    let refused = psql(&middle, &on_socket, who).output().unwrap();
    assert!(printed(&refused).contains("Peer authentication failed"));
    let on_loopback = "host=127.0.0.1 user=guest";
    assert_eq!(run(&mut psql(&middle, on_loopback, who)), "guest\n");
    let outside = psql(&lab.exec_prefix("left"), "host=10.1.0.1 user=guest", who);
    let outside = { outside }.output().unwrap();
    assert!(printed(&outside).contains("Connection refused"));
}

#[test]
fn nothing_is_left_of_a_dropped_network() {
    let lab = row();
    let name = lab.name("middle");
    let account = lab.account("middle", "someone", "/bin/sh");
    let list = || run(Command::new("ip").args(["netns", "list"]));
    assert!(list().contains(&name));
    drop(lab);
    assert!(!list().contains(&name));
    assert!(!account.home.exists());
}
