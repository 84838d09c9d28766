//! The way to a host is what the nearest table says: jump hosts, a proxy, a command, or none.

use super::*;
use crate::config::{
    Proxy, ProxyCommand, ProxyKind, SessionCount, StrictHostKeyChecking, Target, Via, effective,
};

fn target(settings: &str) -> Target {
    tunnel(&format!(
        "[tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n{settings}"
    ))
    .target
}

/// The jump hosts, the first one first.
fn hops(target: &Target) -> Vec<String> {
    target.hops().iter().map(|hop| hop.to_string()).collect()
}

#[test]
fn each_form_of_a_jump_host_is_a_host_on_the_way() {
    for (written, way) in [
        (r#""b""#, vec!["svc@b:22"]),
        (r#""ops@b:2222,ssh://c/""#, vec!["ops@b:2222", "svc@c:22"]),
        (
            r#"["a, b", { host = "::1", port = 2, user = "me" }]"#,
            vec!["svc@a:22", "svc@b:22", "me@[::1]:2"],
        ),
        (r#""none""#, vec![]),
        (r#"["NONE"]"#, vec![]),
        ("[]", vec![]),
    ] {
        let found = target(&format!("proxy_jump = {written}"));
        assert_eq!(hops(&found), way, "{written}");
        assert_eq!(found.first_via(), &Via::Direct);
    }
}

#[test]
fn each_host_is_reached_over_the_one_before_it() {
    let db = target("proxy_jump = 'a,b'\nproxy = 'socks5://p:1080'");
    let Via::Jump(b) = &db.via else {
        panic!("db is reached over b");
    };
    let Via::Jump(a) = &b.via else {
        panic!("b is reached over a");
    };
    assert_eq!((b.host.as_str(), a.host.as_str()), ("b", "a"));
    // What leaves this machine is the connection to the first of them.
    let proxy = Proxy {
        kind: ProxyKind::Socks5,
        host: "p".to_owned(),
        port: 1080,
    };
    assert_eq!(a.via, Via::Proxy(proxy));
    assert_eq!(db.first_via(), &a.via);
}

#[test]
fn a_jump_host_takes_from_the_tunnel_what_it_does_not_say() {
    let pin = "SHA256:uNiVztksCsDhcc0u9e8BrrEYTWAD7Q3F3XcIcYQ1X4U";
    let text = format!(
        r#"
        [defaults]
        user = "all"
        port = 2222
        known_hosts = "/kh"
        [tunnels.db]
        host = "db"
        user = "me"
        port = 22
        identity_file = "/id"
        strict_host_key_checking = "accept-new"
        host_key_fingerprint = "{pin}"
        local_forward = "1:a:1"
        [[tunnels.db.proxy_jump]]
        host = "a"
        [[tunnels.db.proxy_jump]]
        host = "b"
        port = 1
        user = "ops"
        identity_file = "~/b"
        known_hosts = ["/kb"]
        strict_host_key_checking = "yes"
        host_key_fingerprint = "{pin}"
        "#
    );
    let db = tunnel(&text).target;
    assert_eq!(db.to_string(), "me@db:22");
    assert_eq!(hops(&db), ["all@a:2222", "ops@b:1"]);
    let [a, b] = db.hops()[..] else {
        panic!("there are two jump hosts");
    };
    assert_eq!(a.identity_file, db.identity_file);
    assert!(!a.identity_file_is_default);
    assert_eq!(a.known_hosts, db.known_hosts);
    assert_eq!(a.strict_host_key_checking, StrictHostKeyChecking::AcceptNew);
    // The key of another host is not its own.
    assert!(a.host_key_fingerprint.is_empty());
    let path = |files: &[crate::config::Sourced<std::path::PathBuf>]| files[0].value.clone();
    assert_eq!(path(&b.identity_file), std::path::Path::new("/home/svc/b"));
    assert_eq!(path(&b.known_hosts), std::path::Path::new("/kb"));
    assert_eq!(b.strict_host_key_checking, StrictHostKeyChecking::Yes);
    assert_eq!(b.host_key_fingerprint[0].as_str(), pin);
}

#[test]
fn the_default_keys_of_a_tunnel_are_those_of_its_jump_hosts() {
    let db = target("proxy_jump = 'a'");
    assert!(db.hops()[0].identity_file_is_default);
    assert_eq!(db.hops()[0].identity_file, db.identity_file);
    let written = target("proxy_jump = { host = 'a', identity_file = '/a' }");
    assert!(written.identity_file_is_default);
    assert!(!written.hops()[0].identity_file_is_default);
}

#[test]
fn a_jump_host_needs_a_user_too() {
    let nobody = Surroundings::default();
    let text = "[tunnels.db]\nhost = 'db'\nuser = 'me'\nlocal_forward = '1:a:1'\n";
    let jump = format!("{text}proxy_jump = 'b'\n");
    let problems = crate::config::load(&jump, &origin(), &nobody).unwrap_err();
    let said = "jump host `b` of tunnel `db` has no `user`, and tunneld's own is not known";
    assert!(problems.to_string().contains(said), "{problems}");
    let jump = format!("{text}proxy_jump = 'ops@b'\n");
    assert!(crate::config::load(&jump, &origin(), &nobody).is_ok());
}

#[test]
fn a_command_is_a_line_for_the_shell_or_words_without_one() {
    let command = |written: &str| target(&format!("proxy_command = {written}")).via;
    let line = "nc -X 5 -x p:1080 %h %p".to_owned();
    assert_eq!(
        command(r#"" nc -X 5 -x p:1080 %h %p""#),
        Via::Command(ProxyCommand::Shell(line))
    );
    let words = ["nc", "", "%h"].map(str::to_owned).to_vec();
    assert_eq!(
        command(r#"["nc", "", "%h"]"#),
        Via::Command(ProxyCommand::Argv(words))
    );
    // In an array it is a program of that name.
    let program = vec!["none".to_owned()];
    assert_eq!(
        command(r#"["none"]"#),
        Via::Command(ProxyCommand::Argv(program))
    );
    assert_eq!(command(r#""none""#), Via::Direct);
}

#[test]
fn what_a_tunnel_says_stands_in_place_of_the_defaults() {
    let proxy = "socks5://p:1080";
    let cases = [
        (format!("proxy = '{proxy}'"), "", proxy),
        (format!("proxy = '{proxy}'"), "proxy = 'none'", "none"),
        (format!("proxy = '{proxy}'"), "proxy_command = 'nc'", "nc"),
        (
            format!("proxy = '{proxy}'"),
            "proxy_command = 'none'",
            "none",
        ),
        (
            "proxy_command = 'nc'".to_owned(),
            "proxy = 'http://p:1'",
            "http://p:1",
        ),
        ("proxy_command = 'nc'".to_owned(), "proxy = 'none'", "none"),
        (
            "proxy_command = 'nc'".to_owned(),
            "proxy = 'none'\nproxy_command = 'nc 2'",
            "nc 2",
        ),
    ];
    for (defaults, own, effective) in cases {
        let text = format!(
            "[defaults]\n{defaults}\n[tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n{own}\n"
        );
        let shown = match tunnel(&text).target.via {
            Via::Direct => "none".to_owned(),
            Via::Proxy(proxy) => proxy.to_string(),
            Via::Command(command) => command.to_string(),
            Via::Jump(hop) => hop.to_string(),
        };
        assert_eq!(shown, effective, "{text}");
    }
    let text = "[defaults]\nproxy_jump = 'b'\n[tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n";
    assert_eq!(hops(&tunnel(text).target), ["svc@b:22"]);
    let none = format!("{text}proxy_jump = 'none'\n");
    assert_eq!(tunnel(&none).target.via, Via::Direct);
}

#[test]
fn so_many_sessions_as_are_kept_may_be_open() {
    let sessions = |settings: &str| {
        tunnel(&format!(
            "[tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n{settings}"
        ))
        .sessions
    };
    let count = |min, max| SessionCount { min, max };
    assert_eq!(sessions(""), count(1, 1));
    assert_eq!(sessions("min_sessions = 4"), count(4, 4));
    assert_eq!(sessions("max_sessions = 16"), count(1, 16));
    assert_eq!(sessions("min_sessions = 2\nmax_sessions = 3"), count(2, 3));
}

#[test]
fn the_effective_configuration_has_the_whole_way() {
    let text = "[tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n\
                proxy_jump = ['a', { host = 'b', identity_file = '/b' }]\nproxy = 'http://p:1'\n";
    let shown = effective(&loaded(text));
    assert!(shown.contains("\nproxy = \"http://p:1\"\nproxy_command = \"none\"\n"));
    let (_, ways) = shown.split_once("\n\n[[").unwrap();
    let (ways, _) = ways
        .split_once("\n\n[[tunnels.\"db\".local_forward")
        .unwrap();
    let (default, rest) = UNWRITTEN.trim_end().split_once('\n').unwrap();
    assert_eq!(
        ways,
        format!(
            "tunnels.\"db\".proxy_jump]]\nhost = \"a\"\nport = 22\nuser = \"svc\"\n{default}\n{rest}\n\n\
             [[tunnels.\"db\".proxy_jump]]\nhost = \"b\"\nport = 22\nuser = \"svc\"\n\
             identity_file = [\"/b\"]\n{rest}"
        )
    );
}
