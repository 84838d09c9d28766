//! The two ends of a forward as they are written: listening places and destinations.

use std::net::IpAddr;
use std::path::PathBuf;

use super::render::quoted;
use super::values::{ValueError, check_host, is_ipv6, parse_port};
use super::{Destination, Listen, ListenHost, RemoteListen, TcpListen, UnixListen};

/// The longest path of a unix socket of this machine, in bytes: `sun_path` of unix(7), whose last
/// byte is 0.
pub const MAX_SOCKET_PATH: usize = 107;

/// The longest path of a unix socket of the server, in bytes. Only the server knows its own limit:
/// this is the largest that any system is known to have.
pub const MAX_REMOTE_SOCKET_PATH: usize = 1023;

/// The permission bits of a unix socket where the file does not say.
pub(super) const SOCKET_MODE: u32 = 0o600;

/// Whose names, ports and paths they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// The one that tunneld runs on.
    This,
    /// The SSH server, or what it can reach.
    Server,
}

impl Machine {
    fn max_path(self) -> usize {
        match self {
            Machine::This => MAX_SOCKET_PATH,
            Machine::Server => MAX_REMOTE_SOCKET_PATH,
        }
    }
}

/// A listening place of this machine: `port`, `address:port`, `[v6]:port`, `localhost:port`,
/// `*:port`, `/path` or `fd:NAME`.
pub fn parse_listen(text: &str) -> Result<Listen, ValueError> {
    if let Some(name) = text.strip_prefix("fd:") {
        return descriptor(name).map(Listen::Fd);
    }
    if text.contains('/') {
        return unix_listen(text);
    }
    if !text.contains(':') {
        return tcp_listen(None, text);
    }
    let (host, port) = host_and_port(text)?;
    tcp_listen(Some(&host), &port)
}

/// A listening place of the server: `port`, `bind:port`, `*:port` or `/path`.
///
/// The address is what ssh sends for it (RFC 4254 section 7.1).
pub fn parse_remote_listen(text: &str) -> Result<RemoteListen, ValueError> {
    if text.contains('/') {
        return socket_path(text, Machine::Server).map(RemoteListen::Unix);
    }
    if !text.contains(':') {
        return remote_listen(None, text);
    }
    let (bind, port) = host_and_port(text)?;
    remote_listen(Some(&bind), &port)
}

/// A destination: `host:port`, `[v6]:port` or `/path`, as `machine` understands it.
pub fn parse_destination(text: &str, machine: Machine) -> Result<Destination, ValueError> {
    if text.contains('/') {
        return socket_path(text, machine).map(Destination::Unix);
    }
    if !text.contains(':') {
        let what = match parse_port(text) {
            Ok(_) => "needs a host before its port",
            Err(_) => "needs a port after its host",
        };
        return Err(ValueError::new(what).with_help(r#"write "host:port""#));
    }
    let (host, port) = host_and_port(text)?;
    destination(&host, &port)
}

/// A TCP port of this machine; without an address it is one of localhost.
pub(super) fn tcp_listen(address: Option<&str>, port: &str) -> Result<Listen, ValueError> {
    Ok(Listen::Tcp(TcpListen {
        host: address.map_or(Ok(ListenHost::Localhost), listen_host)?,
        port: parse_port(port)?,
    }))
}

/// A unix socket of this machine.
pub(super) fn unix_listen(path: &str) -> Result<Listen, ValueError> {
    let path = socket_path(path, Machine::This)?;
    Ok(Listen::Unix(UnixListen {
        path: PathBuf::from(path),
        mode: SOCKET_MODE,
        owner: None,
    }))
}

/// A TCP port of the server, with the address as RFC 4254 section 7.1 has it.
pub(super) fn remote_listen(bind: Option<&str>, port: &str) -> Result<RemoteListen, ValueError> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if bind == Some("fd") && !is_number(port) {
        let said = "is a place of the server, and `fd:` names a socket of this machine";
        return Err(ValueError::new(said).with_help(r#"write "bind:port", "port" or "/path""#));
    }
    let bind = match bind {
        None => "localhost".to_owned(),
        Some("" | "*") => String::new(),
        Some(written) => host_of("bind address", written)?,
    };
    // 0 asks the server for a port, and parse_port() has no words for that.
    let zero = !port.is_empty() && port.bytes().all(|b| b == b'0');
    let port = if zero {
        0
    } else {
        parse_port(port).map_err(|e| ValueError {
            message: e.message.replace("is from 1 to", "is from 0 to"),
            ..e
        })?
    };
    Ok(RemoteListen::Tcp { bind, port })
}

/// A host and its port.
pub(super) fn destination(host: &str, port: &str) -> Result<Destination, ValueError> {
    Ok(Destination::tcp(
        host_of("destination", host)?,
        parse_port(port)?,
    ))
}

fn host_of(what: &str, host: &str) -> Result<String, ValueError> {
    check_host(host).map_err(|e| ValueError {
        message: format!("has a {what} that {}", e.message),
        help: e.help,
    })?;
    if host.contains(':') && !is_ipv6(host) {
        let said = format!("has {} where a host is wanted", quoted(host));
        return Err(ValueError::new(said));
    }
    Ok(host.to_owned())
}

/// The addresses that a bind address stands for, as ssh reads it.
fn listen_host(text: &str) -> Result<ListenHost, ValueError> {
    match text {
        "" | "*" => Ok(ListenHost::Any),
        "localhost" => Ok(ListenHost::Localhost),
        _ => text.parse::<IpAddr>().map(ListenHost::Ip).map_err(|_| {
            let said = format!("cannot listen on {}: it is not an address", quoted(text));
            ValueError::new(said).with_help(match text {
                "fd" => r#"a socket of systemd is named in a table: { listen = "fd:NAME", … }"#,
                _ => "give an IP address, `localhost`, or `*` for every address",
            })
        }),
    }
}

/// The path of a unix socket.
pub(super) fn socket_path(text: &str, machine: Machine) -> Result<String, ValueError> {
    let max = machine.max_path();
    if !text.starts_with('/') {
        let said = format!(
            "has the path of a unix socket that does not begin with `/`: {}",
            quoted(text)
        );
        return Err(ValueError::new(said).with_help("write the whole path"));
    }
    if text.ends_with('/') {
        let said = format!("names a folder, and no unix socket in it: {}", quoted(text));
        return Err(ValueError::new(said));
    }
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        return Err(ValueError::new(format!("has a control character: {c:?}")));
    }
    if text.len() > max {
        return Err(ValueError::new(format!(
            "has a path of {} bytes, that of a unix socket has at most {max}",
            text.len()
        )));
    }
    Ok(text.to_owned())
}

/// The name of a descriptor that the service manager passes: `FileDescriptorName=` of
/// systemd.socket(5).
fn descriptor(name: &str) -> Result<String, ValueError> {
    const MAX: usize = 255;
    if name.is_empty() {
        return Err(ValueError::new("has no name after `fd:`")
            .with_help("the name is the FileDescriptorName= of the socket unit"));
    }
    if name.len() > MAX {
        let said = format!("has a name of more than {MAX} characters after `fd:`");
        return Err(ValueError::new(said));
    }
    match name.chars().find(|c| !fits_a_descriptor(*c)) {
        Some(c) => Err(ValueError::new(format!(
            "has a character that no FileDescriptorName= has: {c:?}"
        ))),
        None => Ok(name.to_owned()),
    }
}

/// What systemd lets the name of a descriptor have (its `fdname_is_valid`).
fn fits_a_descriptor(c: char) -> bool {
    c != ':' && (c == ' ' || c.is_ascii_graphic())
}

/// Splits `host:port` and `[v6]:port`.
fn host_and_port(text: &str) -> Result<(String, String), ValueError> {
    let mut fields = fields(text)?;
    if let (Some(port), Some(host), true) = (fields.pop(), fields.pop(), fields.is_empty()) {
        return Ok((host, port));
    }
    let error = ValueError::new(format!("has too many colons: {}", quoted(text)));
    Err(match text.rsplit_once(':') {
        Some((host, port)) if is_ipv6(host) => error.with_help(format!(
            r#"an IPv6 address is written in brackets: "[{host}]:{port}""#
        )),
        _ => error,
    })
}

/// The fields between colons. A field in brackets may have colons, and a backslash takes the
/// meaning from the character after it, as ssh reads them.
pub(super) fn fields(text: &str) -> Result<Vec<String>, ValueError> {
    // A forward has four fields, so there is no need to hold more of a long text.
    const ENOUGH: usize = 6;
    let mut found = Vec::new();
    let mut rest = text;
    while found.len() < ENOUGH {
        let (field, next) = match rest.strip_prefix('[') {
            Some(inner) => bracketed(inner, text)?,
            None => plain(rest, text)?,
        };
        found.push(field);
        match next {
            Some(next) => rest = next,
            None => break,
        }
    }
    Ok(found)
}

/// The field up to the closing bracket, and what follows its colon.
fn bracketed<'a>(inner: &'a str, text: &str) -> Result<(String, Option<&'a str>), ValueError> {
    let wrong = |what: &str| ValueError::new(format!("{what}: {}", quoted(text)));
    let (field, after) = inner
        .split_once(']')
        .ok_or_else(|| wrong("has a `[` without its `]`"))?;
    match after.strip_prefix(':') {
        Some(next) => Ok((field.to_owned(), Some(next))),
        None if after.is_empty() => Ok((field.to_owned(), None)),
        None => Err(wrong("has no colon after `]`")),
    }
}

/// The field up to the next colon, and what follows it.
fn plain<'a>(rest: &'a str, text: &str) -> Result<(String, Option<&'a str>), ValueError> {
    let mut field = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ':' => return Ok((field, Some(&rest[at + 1..]))),
            '\\' => match chars.next() {
                Some((_, c)) => field.push(c),
                None => {
                    let said = format!("ends in a backslash: {}", quoted(text));
                    return Err(ValueError::new(said));
                }
            },
            c => field.push(c),
        }
    }
    Ok((field, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_place_is_a_port_with_or_without_an_address() {
        for (text, meaning) in [
            ("80", "localhost:80"),
            ("localhost:80", "localhost:80"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("*:80", "*:80"),
            (":80", "*:80"),
        ] {
            assert_eq!(parse_listen(text).unwrap().to_string(), meaning);
        }
        let error = parse_listen("::1:80").unwrap_err();
        assert_eq!(error.message, "has too many colons: `::1:80`");
        assert_eq!(
            error.help.unwrap(),
            r#"an IPv6 address is written in brackets: "[::1]:80""#
        );
        for bad in ["", ":", "0", "x", "x:80", "1.2.3.4:", "a:b:c:d:e:f:g:h"] {
            assert!(parse_listen(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listening_place_is_a_unix_socket_or_one_that_is_passed() {
        for text in [
            "/run/x",
            "/run/a:b %d ${X}.sock",
            "fd:web",
            "fd:web.socket 2",
        ] {
            assert_eq!(parse_listen(text).unwrap().to_string(), text);
        }
        let Ok(Listen::Unix(place)) = parse_listen("/run/x") else {
            panic!("a path is a unix socket");
        };
        assert_eq!((place.mode, place.owner), (0o600, None));
        let long = format!("fd:{}", "x".repeat(256));
        for (bad, said) in [
            (
                "run/x",
                "has the path of a unix socket that does not begin with `/`: `run/x`",
            ),
            (
                "~/x",
                "has the path of a unix socket that does not begin with `/`: `~/x`",
            ),
            ("/run/", "names a folder, and no unix socket in it: `/run/`"),
            ("/a\0b", "has a control character: '\\0'"),
            ("fd:", "has no name after `fd:`"),
            (
                "fd:a:b",
                "has a character that no FileDescriptorName= has: ':'",
            ),
            (
                "fd:é",
                "has a character that no FileDescriptorName= has: 'é'",
            ),
            (
                long.as_str(),
                "has a name of more than 255 characters after `fd:`",
            ),
        ] {
            assert_eq!(parse_listen(bad).unwrap_err().message, said, "{bad}");
        }
    }

    #[test]
    fn a_path_is_as_long_as_an_address_of_its_machine_can_be() {
        let path = |len: usize| format!("/{}", "x".repeat(len - 1));
        assert!(parse_listen(&path(107)).is_ok());
        assert_eq!(
            parse_listen(&path(108)).unwrap_err().message,
            "has a path of 108 bytes, that of a unix socket has at most 107"
        );
        let connect = |len, machine| parse_destination(&path(len), machine);
        assert!(connect(107, Machine::This).is_ok());
        assert!(connect(108, Machine::This).is_err());
        assert!(connect(1023, Machine::Server).is_ok());
        assert!(connect(1024, Machine::Server).is_err());
        assert!(parse_remote_listen(&path(1023)).is_ok());
        assert!(parse_remote_listen(&path(1024)).is_err());
    }

    /// RFC 4254 section 7.1, and channel_rfwd_bind_host() of OpenSSH.
    #[test]
    fn the_address_of_a_remote_forward_is_what_ssh_sends() {
        for (text, bind, port) in [
            ("8080", "localhost", 8080),
            ("localhost:8080", "localhost", 8080),
            (":8080", "", 8080),
            ("*:8080", "", 8080),
            ("[]:8080", "", 8080),
            ("0.0.0.0:8080", "0.0.0.0", 8080),
            ("[::]:8080", "::", 8080),
            ("gw.example.com:8080", "gw.example.com", 8080),
            ("0", "localhost", 0),
            ("*:0", "", 0),
        ] {
            let bind = bind.to_owned();
            let place = RemoteListen::Tcp { bind, port };
            assert_eq!(parse_remote_listen(text), Ok(place.clone()), "{text}");
            assert_eq!(parse_remote_listen(&place.to_string()), Ok(place), "{text}");
        }
        for (bad, said) in [
            ("", "has no port"),
            ("65536", "has port `65536`, a port is from 0 to 65535"),
            ("-x:80", "has a bind address that cannot begin with `-`"),
            ("[a:b]:80", "has `a:b` where a host is wanted"),
            ("a:b:80", "has too many colons: `a:b:80`"),
        ] {
            assert_eq!(parse_remote_listen(bad).unwrap_err().message, said, "{bad}");
        }
    }

    #[test]
    fn a_destination_has_a_host_and_a_port_or_a_path() {
        let parse = |text: &str| parse_destination(text, Machine::Server);
        assert_eq!(parse("db:80"), Ok(Destination::tcp("db", 80)));
        assert_eq!(parse("[::1]:80"), Ok(Destination::tcp("::1", 80)));
        let path = "/run/x.sock";
        assert_eq!(parse(path), Ok(Destination::Unix(path.to_owned())));
        for (bad, said) in [
            ("80", "needs a host before its port"),
            ("db", "needs a port after its host"),
            (":80", "has a destination that is empty"),
            ("db:0", "has port 0, a port is from 1 to 65535"),
            (
                "u@db:80",
                "has a destination that has a character that no host has: '@'",
            ),
        ] {
            assert_eq!(parse(bad).unwrap_err().message, said, "{bad}");
        }
    }
}
