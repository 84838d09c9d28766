//! Each kind of forward arrives as it was written, with its name, its place and its limits.

use std::time::Duration;

use super::*;
use crate::config::{
    Destination, Expect, ForwardKind, ForwardSpec, Goal, Listen, Probe, RemoteListen, SocketOwner,
    effective,
};

fn of(forwards: &str) -> Vec<ForwardSpec> {
    tunnel(&format!("[tunnels.db]\nhost = 'db'\n{forwards}")).forwards
}

/// Name, kind, place and goal of each forward.
fn lines(forwards: &[ForwardSpec]) -> Vec<String> {
    let line = |f: &ForwardSpec| {
        let (kind, listen) = (f.kind_name(), f.listen_text());
        format!("{}: {kind} {listen} -> {}", f.name, f.goal())
    };
    forwards.iter().map(line).collect()
}

#[test]
fn all_kinds_stand_in_the_order_of_the_file() {
    let forwards = of(r#"
        dynamic_forward = ["127.0.0.1:1080", 1081, { listen = "/run/socks.sock" }]
        local_forward = "5432:db:5432"
        remote_forward = ["8080:web:80", { listen = "*:9090" }]
        "#);
    assert_eq!(
        lines(&forwards),
        [
            "dynamic-1080: dynamic 127.0.0.1:1080 -> SOCKS",
            "dynamic-1081: dynamic localhost:1081 -> SOCKS",
            "dynamic-socks.sock: dynamic /run/socks.sock -> SOCKS",
            "local-5432: local localhost:5432 -> db:5432",
            "remote-8080: remote localhost:8080 -> web:80",
            "remote-9090: remote *:9090 -> SOCKS",
        ]
    );
    let interleaved = of(r#"
        [[tunnels.db.remote_forward]]
        listen = 1
        [[tunnels.db.local_forward]]
        listen = 2
        connect = "a:1"
        [[tunnels.db.remote_forward]]
        listen = 3
        "#);
    let names: Vec<_> = interleaved.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["remote-1", "local-2", "remote-3"]);
}

#[test]
fn one_key_of_the_three_is_enough() {
    for key in ["local_forward = '1:a:1'", "remote_forward = '1'"] {
        assert_eq!(of(key).len(), 1);
    }
    assert_eq!(of("dynamic_forward = 1").len(), 1);
}

#[test]
fn a_forward_is_named_after_its_place_whatever_that_is() {
    let long = "x".repeat(90);
    let forwards = of(&format!(
        r#"
        local_forward = [
          "/run/pg.sock:a:1", "/srv/pg.sock:a:1", "/run/ä b.sock:a:1", "/run/{long}:a:1",
          {{ listen = "fd:web", connect = "a:1" }}, {{ listen = "fd:web server", connect = "a:1" }},
        ]
        remote_forward = [
          "0:a:1", "0:a:1", "*:0:a:1", "8080:a:1", "*:8080:a:1", "gw_1.example.com:8080:a:1",
          "[2001:db8::1]:8080:a:1", "/run/r.sock:a:1",
        ]
        dynamic_forward = ["1080", "127.0.0.2:1080"]
        "#
    ));
    let names: Vec<_> = forwards.iter().map(|f| f.name.as_str()).collect();
    let cut = format!("local-{}", &long[..52]);
    assert_eq!(
        names,
        [
            "local-pg.sock",
            "local-pg.sock-2",
            "local---b.sock",
            &cut,
            "local-fd-web",
            "local-fd-web-server",
            "remote-any",
            "remote-any-2",
            "remote-any-3",
            "remote-8080",
            "remote-8080-any",
            "remote-8080-gw_1.example.com",
            "remote-8080-2001-db8--1",
            "remote-r.sock",
            "dynamic-1080",
            "dynamic-1080-127.0.0.2",
        ]
    );
}

#[test]
fn many_forwards_of_one_place_have_a_name_each() {
    let many = "'0:a:1', ".repeat(1_000);
    let forwards = of(&format!("remote_forward = [{many}]"));
    assert_eq!(forwards.len(), 1_000);
    assert_eq!(forwards[999].name.as_str(), "remote-any-1000");
}

#[test]
fn everything_that_is_written_of_a_forward_arrives() {
    let forwards = of(r#"
        [[tunnels.db.local_forward]]
        listen = "/run/pg.sock"
        connect = "/run/postgresql/.s.PGSQL.5432"
        socket_mode = "0660"
        socket_owner = "postgres:web"
        idle_timeout = "1h"
        [[tunnels.db.remote_forward]]
        listen = "gw.example.com:0"
        connect = "/run/web.sock"
        max_connections = 7
        idle_timeout = 0
        allow = ["192.0.2.7", "2001:db8::/32"]
        [[tunnels.db.remote_forward]]
        listen = 0
        allow = "10.0.0.0/8"
        "#);
    let ForwardKind::Local(local) = &forwards[0].kind else {
        panic!("the first one is local");
    };
    let Listen::Unix(place) = &local.listen.value else {
        panic!("it listens on a unix socket");
    };
    assert_eq!(place.mode, 0o660);
    let owner = SocketOwner {
        user: Some("postgres".to_owned()),
        group: Some("web".to_owned()),
    };
    assert_eq!(place.owner, Some(owner));
    let path = "/run/postgresql/.s.PGSQL.5432".to_owned();
    assert_eq!(local.connect, Goal::To(Destination::Unix(path)));
    assert_eq!(forwards[0].idle_timeout, Some(Duration::from_secs(3600)));
    let ForwardKind::Remote(remote) = &forwards[1].kind else {
        panic!("the second one is remote");
    };
    let bind = "gw.example.com".to_owned();
    assert_eq!(remote.listen.value, RemoteListen::Tcp { bind, port: 0 });
    assert_eq!(forwards[1].max_connections, 7);
    assert_eq!(forwards[1].idle_timeout, None);
    let allowed: Vec<_> = forwards[1].allow.iter().map(|n| n.to_string()).collect();
    assert_eq!(allowed, ["192.0.2.7/32", "2001:db8::/32"]);
    assert_eq!(forwards[2].allow.len(), 1);
    assert_eq!(forwards[2].goal(), &Goal::Asked);
}

#[test]
fn a_probe_is_as_long_as_it_says() {
    let probe = |text: &str| {
        let text = format!("local_forward = {{ listen = 1, connect = 'a:1', probe = {text} }}");
        of(&text).remove(0).probe
    };
    let plain = Probe {
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        expect: None,
    };
    assert_eq!(probe("false"), None);
    assert_eq!(probe("true"), Some(plain.clone()));
    assert_eq!(probe("{}"), Some(plain.clone()));
    // A probe that comes more often than every five seconds is over before the next one.
    let quick = probe("{ interval = '2s' }").unwrap();
    assert_eq!(quick.timeout, Duration::from_secs(2));
    let expects = |text: &str| probe(text).unwrap().expect.unwrap();
    let line = Expect::FirstLine("SSH-2.0-".to_owned());
    assert_eq!(expects("{ expect = 'SSH-2.0-' }"), line);
    let http = |status, path: &str| Expect::Http {
        status,
        path: path.to_owned(),
    };
    assert_eq!(expects("{ expect = 204 }"), http(204, "/"));
    let asked = expects("{ expect = 200, path = '/health?deep=1&x=%20' }");
    assert_eq!(asked, http(200, "/health?deep=1&x=%20"));
}

#[test]
fn places_at_the_server_conflict_only_where_it_is_one_server() {
    let config = loaded(
        r#"
        [tunnels.a]
        host = "gw"
        remote_forward = ["0:a:1", "0:a:2", "8080:a:1", "*:8080:a:1", "/run/x:a:1"]
        local_forward = ["8080:a:1", "/run/x:a:1"]
        [tunnels.b]
        host = "gw"
        user = "somebody-else"
        remote_forward = ["8080:a:1", "/run/x:a:1"]
        [tunnels.c]
        host = "gw"
        proxy_jump = "bastion"
        remote_forward = ["8080:a:1", "/run/x:a:1"]
        [tunnels.d]
        host = "gw"
        enabled = false
        remote_forward = "8080:a:1"
        "#,
    );
    assert_eq!(config.tunnels.len(), 4);
}

#[test]
fn the_effective_configuration_has_every_key_of_every_kind() {
    let config = loaded(
        r#"
        [tunnels.db]
        host = "db"
        [[tunnels.db.remote_forward]]
        listen = 0
        connect = "web:80"
        probe = { expect = 200 }
        [[tunnels.db.dynamic_forward]]
        listen = "/run/socks.sock"
        socket_owner = ":web"
        "#,
    );
    let shown = effective(&config);
    let (_, forwards) = shown.split_once("\n\n[[").unwrap();
    assert_eq!(
        forwards,
        r#"tunnels."db".remote_forward]]
name = "remote-any"
listen = "localhost:0"
connect = "web:80"
max_connections = 4096
idle_timeout = "0s"
allow = []
probe = { interval = "30s", timeout = "5s", expect = 200, path = "/" }

[[tunnels."db".dynamic_forward]]
name = "dynamic-socks.sock"
listen = "/run/socks.sock"
while_down = "wait"
wait_timeout = "10s"
socket_mode = "0600"
socket_owner = ":web"
max_connections = 4096
idle_timeout = "0s"
"#
    );
}
