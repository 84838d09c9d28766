//! Forwards as `ssh -L`, `-R` and `-D` take them.

use super::places::{
    Machine, destination, fields, parse_listen, remote_listen, socket_path, tcp_listen, unix_listen,
};
use super::render::quoted;
use super::values::{ValueError, is_ipv6};
use super::{Destination, Goal, Listen, RemoteListen};

/// What the words between the colons are: where it listens, and where it connects to.
type Form = (Start, Option<End>);

enum Start {
    Port(String),
    Address(String, String),
    Path(String),
}

enum End {
    Host(String, String),
    Path(String),
}

/// A forward as `ssh -L` takes it: where it listens here, and where the server connects to.
///
/// `[address:]port:host:hostport`, and a path with a `/` in it in the place of either end. An
/// address or a path may stand in brackets. Without an address the forward listens on localhost;
/// an empty one and `*` mean every address. Slashes may stand for the colons, as OpenSSH took them
/// before it forwarded unix sockets: old command lines have IPv6 addresses in this form.
pub fn parse_local_forward(text: &str) -> Result<(Listen, Destination), ValueError> {
    const HELP: &str = r#"write "port:host:hostport" or "address:port:host:hostport""#;
    const PATHS: &str =
        r#"write "port:/remote/sock", "/local/sock:host:hostport" or "/local/sock:/remote/sock""#;
    let text = text.trim_start();
    let help = if text.contains('/') { PATHS } else { HELP };
    match form(text)? {
        Some((listen, Some(connect))) => Ok((listen.here(help)?, connect.on(Machine::Server)?)),
        _ => Err(not_taken("-L", text, help)),
    }
}

/// A forward as `ssh -R` takes it: where the server listens, and where we connect to.
///
/// As with `-L`; port 0 leaves the choice to the server, and without a destination each client asks
/// for its own.
pub fn parse_remote_forward(text: &str) -> Result<(RemoteListen, Goal), ValueError> {
    const HELP: &str =
        r#"write "port:host:hostport", "bind:port:host:hostport", or "port" alone for SOCKS"#;
    const PATHS: &str =
        r#"write "/remote/sock:host:hostport", "port:/local/sock" or "/remote/sock:/local/sock""#;
    let text = text.trim_start();
    let help = if text.contains('/') { PATHS } else { HELP };
    match form(text)? {
        Some((listen, Some(connect))) => {
            Ok((listen.there(help)?, Goal::To(connect.on(Machine::This)?)))
        }
        Some((listen, None)) => Ok((listen.there(help)?, Goal::Asked)),
        None => Err(not_taken("-R", text, help)),
    }
}

/// A forward as `ssh -D` takes it: where it listens here. `fd:NAME` is ours.
pub fn parse_dynamic_forward(text: &str) -> Result<Listen, ValueError> {
    const HELP: &str = r#"write "port", "address:port" or "/path""#;
    let text = text.trim_start();
    let bare_ipv6 = text.rsplit_once(':').is_some_and(|(a, _)| is_ipv6(a));
    if text.starts_with("fd:") || bare_ipv6 {
        return parse_listen(text);
    }
    match form(text)? {
        Some((listen, None)) => listen.here(HELP),
        Some((_, Some(_))) => {
            let said = format!(
                "takes no destination, each client asks for its own: {}",
                quoted(text)
            );
            Err(ValueError::new(said).with_help(format!("{HELP}, or move it to `local_forward`")))
        }
        None => Err(not_taken("-D", text, HELP)),
    }
}

fn not_taken(option: &str, text: &str, help: &str) -> ValueError {
    let said = format!(
        "is not a forward that `ssh {option}` takes: {}",
        quoted(text)
    );
    let colons = text.matches(':').count();
    ValueError::new(said).with_help(if colons > 3 && !text.contains(['[', '/']) {
        "an IPv6 address is written in brackets: \"8080:[::1]:80\""
    } else {
        help
    })
}

impl Start {
    fn here(self, help: &str) -> Result<Listen, ValueError> {
        match self {
            Start::Port(port) => tcp_listen(None, &port).map_err(|e| hinted(e, help)),
            Start::Address(address, port) => {
                tcp_listen(Some(&address), &port).map_err(|e| hinted(e, help))
            }
            Start::Path(path) => unix_listen(&literal(path)?),
        }
    }

    fn there(self, help: &str) -> Result<RemoteListen, ValueError> {
        match self {
            Start::Port(port) => remote_listen(None, &port).map_err(|e| hinted(e, help)),
            Start::Address(bind, port) => {
                remote_listen(Some(&bind), &port).map_err(|e| hinted(e, help))
            }
            Start::Path(path) => {
                socket_path(&literal(path)?, Machine::Server).map(RemoteListen::Unix)
            }
        }
    }
}

impl End {
    fn on(self, machine: Machine) -> Result<Destination, ValueError> {
        match self {
            End::Host(host, port) => destination(&host, &port),
            End::Path(path) => socket_path(&literal(path)?, machine).map(Destination::Unix),
        }
    }
}

fn hinted(mut error: ValueError, help: &str) -> ValueError {
    error.help.get_or_insert_with(|| help.to_owned());
    error
}

/// Refuses what ssh would fill in (TOKENS and environment variables of ssh_config(5)): taken as it
/// is, it would be another path than the one that is meant.
fn literal(path: String) -> Result<String, ValueError> {
    let at = path.find("${").or_else(|| path.find('%'));
    let Some(at) = at else {
        return Ok(path);
    };
    let end = match path[at..].find('}') {
        Some(end) if path[at..].starts_with('$') => at + end + 1,
        _ => path[at..]
            .char_indices()
            .nth(2)
            .map_or(path.len(), |(n, _)| at + n),
    };
    let said = format!(
        "has {} in a path, which ssh fills in and tunneld does not",
        quoted(&path[at..end])
    );
    Err(ValueError::new(said)
        .with_help("write the path out, or use a table: it takes every character as it is"))
}

/// Which of the forms a text has; `None` if it has none of them.
fn form(text: &str) -> Result<Option<Form>, ValueError> {
    let words = match slashed(text) {
        Some(words) => words,
        None => fields(text)?,
    };
    let is_path = |word: &String| word.contains('/');
    let path = |word: &String| Start::Path(word.clone());
    let port = |word: &String| Start::Port(word.clone());
    let address = |a: &String, p: &String| Start::Address(a.clone(), p.clone());
    let host = |h: &String, p: &String| Some(End::Host(h.clone(), p.clone()));
    let to_path = |word: &String| Some(End::Path(word.clone()));
    Ok(Some(match words.as_slice() {
        [a] if is_path(a) => (path(a), None),
        [a] => (port(a), None),
        [a, b] if is_path(a) && is_path(b) => (path(a), to_path(b)),
        [a, b] if is_path(b) => (port(a), to_path(b)),
        [a, _] if is_path(a) => return Ok(None),
        [a, b] => (address(a, b), None),
        [a, b, c] if is_path(a) => (path(a), host(b, c)),
        [a, b, c] if is_path(c) => (address(a, b), to_path(c)),
        [a, b, c] => (port(a), host(b, c)),
        [a, b, c, d] => (address(a, b), host(c, d)),
        _ => return Ok(None),
    }))
}

/// The words between slashes, if the text is a forward in this form and not a path.
fn slashed(text: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = text.split('/').take(5).collect();
    // What has a path in it has a colon before the slash: that is no port, and no address either.
    let is_port = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit());
    let is_address = |w: &str| !w.is_empty() && (!w.contains(':') || is_ipv6(w));
    let fits = match words[..] {
        [port, _, host_port] => is_port(port) && is_port(host_port),
        [address, port, _, host_port] => is_address(address) && is_port(port) && is_port(host_port),
        _ => false,
    };
    fits.then(|| words.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error: ValueError) -> String {
        match error.help {
            Some(help) => format!("{} ({help})", error.message),
            None => error.message,
        }
    }

    fn local(text: &str) -> String {
        let shown = |(listen, connect)| format!("{listen} -> {connect}");
        parse_local_forward(text).map_or_else(said, shown)
    }

    fn remote(text: &str) -> String {
        let shown = |(listen, connect)| format!("{listen} -> {connect}");
        parse_remote_forward(text).map_or_else(said, shown)
    }

    fn dynamic(text: &str) -> String {
        parse_dynamic_forward(text).map_or_else(said, |listen| listen.to_string())
    }

    /// Each form that `ssh -G -L …` takes means the same here.
    #[test]
    fn a_forward_is_what_ssh_takes() {
        for (text, meaning) in [
            ("5432:db:5432", "localhost:5432 -> db:5432"),
            (" 5432:db:5432", "localhost:5432 -> db:5432"),
            ("05432:db:5432", "localhost:5432 -> db:5432"),
            ("127.0.0.1:80:db:5432", "127.0.0.1:80 -> db:5432"),
            ("[127.0.0.1]:80:db:5432", "127.0.0.1:80 -> db:5432"),
            ("localhost:80:db:5432", "localhost:80 -> db:5432"),
            ("[localhost]:80:db:5432", "localhost:80 -> db:5432"),
            ("[::1]:80:db:5432", "[::1]:80 -> db:5432"),
            ("[::]:80:db:5432", "[::]:80 -> db:5432"),
            ("80:[::1]:5432", "localhost:80 -> [::1]:5432"),
            (
                "80:[fe80::1%eth0]:5432",
                "localhost:80 -> [fe80::1%eth0]:5432",
            ),
            (
                "[::1]:80:[2001:db8::1]:5432",
                "[::1]:80 -> [2001:db8::1]:5432",
            ),
            ("*:80:db:5432", "*:80 -> db:5432"),
            (":80:db:5432", "*:80 -> db:5432"),
            ("[]:80:db:5432", "*:80 -> db:5432"),
            ("0.0.0.0:80:db:5432", "0.0.0.0:80 -> db:5432"),
            ("80:10.0.0.1:5432", "localhost:80 -> 10.0.0.1:5432"),
            ("80:[db]:5432", "localhost:80 -> db:5432"),
            ("/run/a:db:80", "/run/a -> db:80"),
            ("/run/a:[::1]:80", "/run/a -> [::1]:80"),
            ("[/run/a:b]:db:80", "/run/a:b -> db:80"),
            ("/run/a\\:b:db:80", "/run/a:b -> db:80"),
            ("/run/a:/run/b", "/run/a -> /run/b"),
            ("80:/run/b", "localhost:80 -> /run/b"),
            ("80:[/run/b:c]", "localhost:80 -> /run/b:c"),
            ("127.0.0.1:80:/run/b", "127.0.0.1:80 -> /run/b"),
            ("[::1]:80:/run/b", "[::1]:80 -> /run/b"),
            (":80:/run/b", "*:80 -> /run/b"),
            ("5:/80/h/1", "localhost:5 -> /80/h/1"),
        ] {
            assert_eq!(local(text), meaning, "{text}");
        }
    }

    #[test]
    fn slashes_stand_for_colons_as_in_old_command_lines() {
        for (text, meaning) in [
            ("5432/db/5432", "localhost:5432 -> db:5432"),
            ("127.0.0.1/80/db/5432", "127.0.0.1:80 -> db:5432"),
            ("::1/80/::1/5432", "[::1]:80 -> [::1]:5432"),
            ("*/80/db/5432", "*:80 -> db:5432"),
        ] {
            assert_eq!(local(text), meaning, "{text}");
        }
    }

    #[test]
    fn what_ssh_refuses_is_refused_with_its_reason() {
        let help = r#" (write "port:host:hostport" or "address:port:host:hostport")"#;
        for (text, said) in [
            (
                "",
                format!("is not a forward that `ssh -L` takes: ``{help}"),
            ),
            (
                "80",
                format!("is not a forward that `ssh -L` takes: `80`{help}"),
            ),
            (
                "80:db",
                format!("is not a forward that `ssh -L` takes: `80:db`{help}"),
            ),
            (
                "0:db:80",
                format!("has port 0, a port is from 1 to 65535{help}"),
            ),
            (
                "65536:db:80",
                format!("has port `65536`, a port is from 1 to 65535{help}"),
            ),
            (
                "http:db:80",
                format!("has `http` where a port is wanted{help}"),
            ),
            (
                "+80:db:80",
                format!("has `+80` where a port is wanted{help}"),
            ),
            ("80:db:0", "has port 0, a port is from 1 to 65535".into()),
            ("80:db:", "has no port".into()),
            ("80::80", "has a destination that is empty".into()),
            (
                "80:-x:80",
                "has a destination that cannot begin with `-`".into(),
            ),
            (
                "80:a b:80",
                "has a destination that has a character that no host has: ' '".into(),
            ),
            ("80:[a:b]:80", "has `a:b` where a host is wanted".into()),
            (
                "[::1:80:db:80",
                "has a `[` without its `]`: `[::1:80:db:80`".into(),
            ),
            (
                "[::1]80:db:80",
                "has no colon after `]`: `[::1]80:db:80`".into(),
            ),
            (
                "::1:80:db:80",
                "is not a forward that `ssh -L` takes: `::1:80:db:80` \
                 (an IPv6 address is written in brackets: \"8080:[::1]:80\")"
                    .into(),
            ),
            (
                "gateway:80:db:80",
                "cannot listen on `gateway`: it is not an address \
                 (give an IP address, `localhost`, or `*` for every address)"
                    .into(),
            ),
            (
                "fd:web:db:80",
                "cannot listen on `fd`: it is not an address \
                 (a socket of systemd is named in a table: { listen = \"fd:NAME\", … })"
                    .into(),
            ),
            ("80:db:80\\", "ends in a backslash: `80:db:80\\`".into()),
        ] {
            assert_eq!(local(text), said, "{text}");
        }
    }

    #[test]
    fn what_ssh_fills_in_is_not_taken_as_it_is() {
        for (text, token) in [
            ("/run/%u.sock:db:80", "`%u`"),
            ("/run/%%:db:80", "`%%`"),
            ("80:/run/${XDG}/x", "`${XDG}`"),
            ("80:/run/${XDG", "`${`"),
            ("80:/run/x%", "`%`"),
        ] {
            let expected = format!(
                "has {token} in a path, which ssh fills in and tunneld does not \
                 (write the path out, or use a table: it takes every character as it is)"
            );
            assert_eq!(local(text), expected, "{text}");
        }
        // In an address it is its zone.
        assert!(parse_local_forward("80:[fe80::1%eth0]:80").is_ok());
    }

    #[test]
    fn a_form_with_a_path_that_is_none_is_refused() {
        let help = "write \"port:/remote/sock\", \"/local/sock:host:hostport\" or \
                    \"/local/sock:/remote/sock\"";
        for text in [
            "/run/a",
            "/run/a:80",
            "gw/x/db/80",
            "/80/db/80",
            "80:/a:b:c:d",
        ] {
            let expected = format!("is not a forward that `ssh -L` takes: `{text}` ({help})");
            assert_eq!(local(text), expected, "{text}");
        }
        for (text, said) in [
            ("/run/a:db:/run/b", "has `/run/b` where a port is wanted"),
            (
                "run/a:db:80",
                "has the path of a unix socket that does not begin with `/`: `run/a` \
                 (write the whole path)",
            ),
            (
                "80:b/run/a",
                "has the path of a unix socket that does not begin with `/`: `b/run/a` \
                 (write the whole path)",
            ),
        ] {
            assert_eq!(local(text), said, "{text}");
        }
    }

    /// Each form that `ssh -G -R …` takes means the same here.
    #[test]
    fn a_remote_forward_is_what_ssh_takes() {
        for (text, meaning) in [
            ("8080:db:80", "localhost:8080 -> db:80"),
            ("0:db:80", "localhost:0 -> db:80"),
            (":8080:db:80", "*:8080 -> db:80"),
            ("*:8080:db:80", "*:8080 -> db:80"),
            ("0.0.0.0:8080:db:80", "0.0.0.0:8080 -> db:80"),
            ("gw:8080:[::1]:80", "gw:8080 -> [::1]:80"),
            ("[::1]:8080:db:80", "[::1]:8080 -> db:80"),
            ("/run/a:db:80", "/run/a -> db:80"),
            ("8080:/run/b", "localhost:8080 -> /run/b"),
            ("gw:80:/run/x", "gw:80 -> /run/x"),
            ("/run/a:/run/b", "/run/a -> /run/b"),
            ("1080", "localhost:1080 -> SOCKS"),
            ("0", "localhost:0 -> SOCKS"),
            ("gw:1080", "gw:1080 -> SOCKS"),
            ("*:1080", "*:1080 -> SOCKS"),
            (":1080", "*:1080 -> SOCKS"),
            ("[::1]:1080", "[::1]:1080 -> SOCKS"),
            ("[::]:0", "[::]:0 -> SOCKS"),
            ("/run/a", "/run/a -> SOCKS"),
            ("::1/80/db/5432", "[::1]:80 -> db:5432"),
        ] {
            assert_eq!(remote(text), meaning, "{text}");
        }
    }

    #[test]
    fn what_is_no_remote_forward_is_refused_with_its_reason() {
        let help =
            r#"write "port:host:hostport", "bind:port:host:hostport", or "port" alone for SOCKS"#;
        for (text, said) in [
            ("", format!("has no port ({help})")),
            (
                "http",
                format!("has `http` where a port is wanted ({help})"),
            ),
            (
                "65536",
                format!("has port `65536`, a port is from 0 to 65535 ({help})"),
            ),
            (
                "80:db:0",
                "has port 0, a port is from 1 to 65535".to_owned(),
            ),
            (
                "1:2:3:4:5:6",
                "is not a forward that `ssh -R` takes: `1:2:3:4:5:6` \
                 (an IPv6 address is written in brackets: \"8080:[::1]:80\")"
                    .to_owned(),
            ),
            (
                "/run/a:80",
                "is not a forward that `ssh -R` takes: `/run/a:80` \
                 (write \"/remote/sock:host:hostport\", \"port:/local/sock\" or \
                 \"/remote/sock:/local/sock\")"
                    .to_owned(),
            ),
        ] {
            assert_eq!(remote(text), said, "{text}");
        }
    }

    /// Each form that `ssh -G -D …` takes means the same here.
    #[test]
    fn a_dynamic_forward_is_what_ssh_takes() {
        for (text, meaning) in [
            ("1080", "localhost:1080"),
            ("127.0.0.1:1080", "127.0.0.1:1080"),
            (":1080", "*:1080"),
            ("*:1080", "*:1080"),
            ("[::1]:1080", "[::1]:1080"),
            ("/run/a", "/run/a"),
            ("fd:socks", "fd:socks"),
        ] {
            assert_eq!(dynamic(text), meaning, "{text}");
        }
        let help = r#"write "port", "address:port" or "/path""#;
        for (text, said) in [
            (
                "0",
                format!("has port 0, a port is from 1 to 65535 ({help})"),
            ),
            (
                "a:/run/x",
                format!(
                    "takes no destination, each client asks for its own: `a:/run/x` \
                     ({help}, or move it to `local_forward`)"
                ),
            ),
            (
                "/run/x:80",
                format!("is not a forward that `ssh -D` takes: `/run/x:80` ({help})"),
            ),
            (
                "::1:80",
                "has too many colons: `::1:80` \
                 (an IPv6 address is written in brackets: \"[::1]:80\")"
                    .to_owned(),
            ),
        ] {
            assert_eq!(dynamic(text), said, "{text}");
        }
    }
}
