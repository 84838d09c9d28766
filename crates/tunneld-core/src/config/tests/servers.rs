//! Two tunnels that want the same place of the same server: only one of them could ever have it.

use super::*;

/// Whether two tunnels with these lines, and with the same remote forward, get into each other's way.
fn conflict(one: &str, other: &str) -> bool {
    let tunnel = |name: &str, lines: &str| {
        let host = if lines.starts_with("host = ") {
            ""
        } else {
            "host = 'gw'\n"
        };
        format!("[tunnels.{name}]\n{host}remote_forward = '8080:a:1'\n{lines}\n")
    };
    match load(&(tunnel("a", one) + &tunnel("b", other))) {
        Ok(_) => false,
        Err(problems) => {
            let said = "`a` and `b` both listen on localhost:8080 at gw";
            assert_eq!(problems.iter().next().unwrap().message, said);
            assert_eq!(problems.len(), 1, "{problems}");
            true
        }
    }
}

#[test]
fn a_server_is_the_same_however_the_session_to_it_is_made() {
    for line in [
        "identity_file = '/k'",
        "identity_agent = '/a'",
        "password_credential = 'p'",
        "known_hosts = '/kh'",
        "strict_host_key_checking = 'accept-new'",
        "update_host_keys = false",
        "host_key_alias = 'farm'",
        "ciphers = 'aes256-ctr'",
        "macs = 'hmac-sha2-256'",
        "compression = true",
        "rekey_limit = '1G'",
        "address_family = 'inet'",
        "bind_address = '127.0.0.1'",
        "port = 22",
        "proxy_jump = 'none'",
    ] {
        assert!(conflict("", line), "{line}");
    }
    let jump = "proxy_jump = ['a', { host = 'b', user = 'ops' }]";
    assert!(conflict(jump, "proxy_jump = 'a,ops@b:22'"));
    let by = "proxy = 'http://p:80'";
    assert!(conflict(by, &format!("{by}\nrekey_limit = '1G'")));
}

#[test]
fn another_way_or_another_login_may_lead_to_another_server() {
    let jump = "proxy_jump = 'a,b'";
    for (one, other) in [
        ("", "port = 2222"),
        ("", "user = 'else'"),
        ("", "host = 'GW2'"),
        ("", jump),
        (jump, "proxy_jump = 'b,a'"),
        (jump, "proxy_jump = 'b'"),
        (jump, "proxy_jump = 'a,b:2'"),
        (jump, "proxy_jump = 'a,b'\nproxy = 'http://p:80'"),
        ("proxy = 'http://p:80'", "proxy = 'http://q:80'"),
        ("proxy_command = 'x %h'", "proxy_command = 'y %h'"),
    ] {
        assert!(!conflict(one, other), "{one} {other}");
    }
}

#[test]
fn a_tunnel_whose_server_is_not_known_is_in_nobodys_way_but_its_own() {
    let forward = "remote_forward = '8080:a:1'\n";
    let wrong = format!("[tunnels.a]\nhost = ''\n{forward}[tunnels.b]\nhost = ''\n{forward}");
    assert_eq!(load(&wrong).unwrap_err().len(), 2);
    let twice = "[tunnels.a]\nhost = ''\nremote_forward = ['8080:a:1', '8080:b:1']\n";
    let problems = load(twice).unwrap_err().to_string();
    assert!(problems.contains("`a` listens on localhost:8080 at the server twice"));
}
