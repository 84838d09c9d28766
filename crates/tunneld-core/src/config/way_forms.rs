//! Jump hosts, proxies, commands and addresses as they are written.

use std::net::IpAddr;

use super::render::quoted;
use super::values::{NO_SECRETS, ValueError, check_host, is_ipv6, parse_port, parse_user};
use super::{Proxy, ProxyKind};

/// The longest command, in bytes.
const MAX_COMMAND_LEN: usize = 4_000;

/// A jump host: what a string says about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrittenHop {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// Whether a text is the `none` that ssh_config(5) has for these keys.
pub(super) fn is_none(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("none")
}

/// A jump host as `ssh -J` takes it: `[user@]host[:port]` or `ssh://[user@]host[:port]`.
pub(crate) fn parse_hop(text: &str) -> Result<WrittenHop, ValueError> {
    const HELP: &str = r#"write "host", "user@host:port" or "user@[v6]:port""#;
    let text = text.trim();
    if text.is_empty() {
        return Err(ValueError::new("has a jump host that is empty").with_help(HELP));
    }
    if is_none(text) {
        return Err(ValueError::new("has `none` among jump hosts")
            .with_help(r#"write proxy_jump = "none" for no jump host at all"#));
    }
    let (place, is_url) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ssh") => {
            (rest.strip_suffix('/').unwrap_or(rest), true)
        }
        Some((scheme, _)) => {
            let said = format!("cannot jump over {}", quoted(scheme));
            return Err(ValueError::new(said).with_help(HELP));
        }
        None => (text, false),
    };
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, place),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(hop_with_password());
    }
    if let Some(user) = user.filter(|user| is_url && user.contains(['%', ';'])) {
        let said = format!("has {} where a user is wanted", quoted(user));
        return Err(ValueError::new(said).with_help("use a table: { host = \"…\", user = \"…\" }"));
    }
    let user = user.map(parse_user).transpose().map_err(|e| ValueError {
        message: format!("has a user that {}", e.message),
        ..e
    })?;
    let (host, port) = host_and_port(place, "a jump host")?;
    let port = port.map(parse_port).transpose()?;
    Ok(WrittenHop {
        user,
        host: host.to_owned(),
        port,
    })
}

/// What is said of a password beside a jump host.
pub(super) fn hop_with_password() -> ValueError {
    ValueError::new(format!("has a password: {NO_SECRETS}"))
        .with_help("use a table: { host = \"…\", password_credential = \"…\" }")
}

/// A proxy as a URL, or `none`.
pub(super) fn parse_proxy(text: &str) -> Result<Option<Proxy>, ValueError> {
    const HELP: &str = r#"write "socks5://host:port" or "http://host:port""#;
    if is_none(text) {
        return Ok(None);
    }
    if text.contains('@') {
        let said = format!("has a user or a password: {NO_SECRETS}");
        return Err(
            ValueError::new(said).with_help("use a proxy that asks for none, or a `proxy_command`")
        );
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let said = format!("is not the URL of a proxy: {}", quoted(text));
        return Err(ValueError::new(said).with_help(HELP));
    };
    let kind = match scheme.to_ascii_lowercase().as_str() {
        "socks5" | "socks5h" => ProxyKind::Socks5,
        "http" => ProxyKind::Http,
        _ => {
            let said = format!("cannot speak {} to a proxy", quoted(scheme));
            return Err(ValueError::new(said).with_help(HELP));
        }
    };
    let place = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = host_and_port(place, "a proxy")?;
    let Some(port) = port else {
        return Err(ValueError::new("has no port").with_help(HELP));
    };
    Ok(Some(Proxy {
        kind,
        host: host.to_owned(),
        port: parse_port(port)?,
    }))
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`.
fn host_and_port<'a>(text: &'a str, what: &str) -> Result<(&'a str, Option<&'a str>), ValueError> {
    let wrong = |why: &str| ValueError::new(format!("{why}: {}", quoted(text)));
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner
                .split_once(']')
                .ok_or_else(|| wrong("has a `[` without its `]`"))?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(wrong("has no colon after `]`")),
            }
        }
        None if text.rsplit_once(':').is_some_and(|(a, _)| is_ipv6(a)) || is_ipv6(text) => {
            return Err(wrong("has an IPv6 address without brackets").with_help(in_brackets(text)));
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    check_host(host).map_err(|e| ValueError {
        message: format!("has {what} that {}", e.message),
        ..e
    })?;
    if host.contains(':') && !is_ipv6(host) {
        let said = format!("has {} where a host is wanted", quoted(host));
        return Err(ValueError::new(said));
    }
    Ok((host, port))
}

/// Where the brackets of an IPv6 address belong: its last group may be meant as a port.
fn in_brackets(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((address, port)) if is_ipv6(address) && parse_port(port).is_ok() => {
            format!("write \"[{address}]:{port}\"")
        }
        _ => format!("write \"[{text}]\""),
    }
}

/// An address of this machine, or `none`.
pub(super) fn parse_bind_address(text: &str) -> Result<Option<IpAddr>, ValueError> {
    if is_none(text) {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let said = format!("is no IP address: {}", quoted(text));
        ValueError::new(said).with_help(
            "write an address of this machine, such as \"192.0.2.7\"; a name is not looked up here",
        )
    })
}

/// A command for the shell, or `none`.
pub(super) fn parse_command(text: &str) -> Result<Option<String>, ValueError> {
    let text = text.trim();
    if is_none(text) {
        return Ok(None);
    }
    if text.is_empty() {
        return Err(ValueError::new("is empty").with_help(r#"write "none" for no command"#));
    }
    parse_word(text).map(Some)
}

/// A word that fits an argument (execve(2)).
pub(super) fn parse_argument(text: &str) -> Result<String, ValueError> {
    if text.len() > MAX_COMMAND_LEN {
        return Err(ValueError::new(format!(
            "has more than {MAX_COMMAND_LEN} bytes"
        )));
    }
    if text.contains('\0') {
        return Err(ValueError::new("has a control character: '\\0'"));
    }
    Ok(text.to_owned())
}

/// A word of a command, with tokens that are known.
pub(super) fn parse_word(text: &str) -> Result<String, ValueError> {
    const HELP: &str = "there are %h and %n (the host), %p (the port), %r (the user) and %%";
    let word = parse_argument(text)?;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            continue;
        }
        match chars.next() {
            Some('h' | 'n' | 'p' | 'r' | '%') => {}
            Some(other) => {
                let said = format!(
                    "has a token that is not known: {}",
                    quoted(&format!("%{other}"))
                );
                return Err(ValueError::new(said).with_help(HELP));
            }
            None => {
                return Err(ValueError::new("ends in a `%` without its letter").with_help(HELP));
            }
        }
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(text: &str) -> String {
        match parse_hop(text) {
            Ok(hop) => format!("{:?} {} {:?}", hop.user, hop.host, hop.port),
            Err(e) => e.message,
        }
    }

    #[test]
    fn a_jump_host_is_what_ssh_takes() {
        for (text, meaning) in [
            ("b", r#"None b None"#),
            (" b ", r#"None b None"#),
            ("b:2222", r#"None b Some(2222)"#),
            ("ops@b", r#"Some("ops") b None"#),
            ("ops@corp@b:22", r#"Some("ops@corp") b Some(22)"#),
            ("[::1]", r#"None ::1 None"#),
            (
                "ops@[fe80::1%eth0]:22",
                r#"Some("ops") fe80::1%eth0 Some(22)"#,
            ),
            ("ssh://b", r#"None b None"#),
            ("SSH://ops@[::1]:22/", r#"Some("ops") ::1 Some(22)"#),
        ] {
            assert_eq!(hop(text), meaning, "{text}");
        }
    }

    #[test]
    fn what_is_no_jump_host_is_refused_with_its_reason() {
        for (text, said) in [
            ("", "has a jump host that is empty"),
            ("ssh://", "has a jump host that is empty"),
            ("none", "has `none` among jump hosts"),
            ("http://b", "cannot jump over `http`"),
            ("@b", "has a user that is empty"),
            ("-l@b", "has a user that cannot begin with `-`"),
            (
                "-oProxyCommand=x",
                "has a jump host that cannot begin with `-`",
            ),
            ("b:", "has no port"),
            ("b:0", "has port 0, a port is from 1 to 65535"),
            ("b:ssh", "has `ssh` where a port is wanted"),
            ("b:1:2", "has `1:2` where a port is wanted"),
            ("::1", "has an IPv6 address without brackets: `::1`"),
            ("u:pw@b", "has a password: secrets are never in this file"),
            (
                "ssh://u:pw@b",
                "has a password: secrets are never in this file",
            ),
            ("[::1", "has a `[` without its `]`: `[::1`"),
            ("[::1]22", "has no colon after `]`: `[::1]22`"),
            ("[a:b]", "has `a:b` where a host is wanted"),
            (
                "a b",
                "has a jump host that has a character that no host has: ' '",
            ),
            ("ssh://a%20b@c", "has `a%20b` where a user is wanted"),
        ] {
            assert_eq!(hop(text), said, "{text}");
        }
    }

    #[test]
    fn an_ipv6_address_is_put_in_brackets_and_its_port_after_them() {
        let help = |error: ValueError| error.help.unwrap();
        let of_hop = |text: &str| help(parse_hop(text).unwrap_err());
        let of_proxy = |text: &str| help(parse_proxy(text).unwrap_err());
        assert_eq!(of_hop("::1:22"), "write \"[::1]:22\"");
        assert_eq!(of_hop("me@::1:22"), "write \"[::1]:22\"");
        assert_eq!(of_hop("fe80::1%eth0:22"), "write \"[fe80::1%eth0]:22\"");
        assert_eq!(
            of_hop("1:2:3:4:5:6:7:8:22"),
            "write \"[1:2:3:4:5:6:7:8]:22\""
        );
        assert_eq!(of_hop("2001:db8::1"), "write \"[2001:db8::1]\"");
        assert_eq!(of_hop("::1:99999"), "write \"[::1:99999]\"");
        assert_eq!(of_proxy("http://::1:3128"), "write \"[::1]:3128\"");
    }

    #[test]
    fn a_proxy_is_a_url_without_a_secret() {
        let proxy = |text: &str| match parse_proxy(text) {
            Ok(Some(proxy)) => proxy.to_string(),
            Ok(None) => "none".to_owned(),
            Err(e) => e.message,
        };
        for (text, meaning) in [
            ("none", "none"),
            ("socks5://p:1080", "socks5://p:1080"),
            ("SOCKS5H://p:1080/", "socks5://p:1080"),
            ("http://[::1]:3128", "http://[::1]:3128"),
            ("p:1080", "is not the URL of a proxy: `p:1080`"),
            ("", "is not the URL of a proxy: ``"),
            ("https://p:443", "cannot speak `https` to a proxy"),
            ("socks4://p:1080", "cannot speak `socks4` to a proxy"),
            ("http://p", "has no port"),
            ("http://:80", "has a proxy that is empty"),
            ("http://p:80/x", "has `80/x` where a port is wanted"),
            (
                "http://u:s3cret@p:80",
                "has a user or a password: secrets are never in this file",
            ),
        ] {
            assert_eq!(proxy(text), meaning, "{text}");
        }
    }

    #[test]
    fn an_address_to_come_from_is_one_and_not_a_name() {
        let bind = |text: &str| parse_bind_address(text).map_err(|e| e.message);
        assert_eq!(bind("none"), Ok(None));
        assert_eq!(bind("::1"), Ok(Some("::1".parse().unwrap())));
        for bad in ["", "localhost", "eth0", "10.0.0.0/8", "[::1]", "10.0.0.1:0"] {
            assert_eq!(bind(bad), Err(format!("is no IP address: `{bad}`")));
        }
    }

    #[test]
    fn a_command_has_the_tokens_that_are_known() {
        let command = |text: &str| parse_command(text).map_err(|e| e.message);
        assert_eq!(command(" None "), Ok(None));
        let nc = "nc -X 5 %h %p # %n %r %%";
        assert_eq!(command(nc), Ok(Some(nc.to_owned())));
        let long = "x".repeat(4_001);
        for (text, said) in [
            ("", "is empty"),
            ("nc %d", "has a token that is not known: `%d`"),
            ("nc %é", "has a token that is not known: `%é`"),
            ("nc %%%", "ends in a `%` without its letter"),
            ("a\0b", "has a control character: '\\0'"),
            (long.as_str(), "has more than 4000 bytes"),
        ] {
            assert_eq!(command(text).unwrap_err(), said, "{text}");
        }
    }
}
