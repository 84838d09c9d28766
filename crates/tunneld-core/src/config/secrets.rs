//! Secrets that somebody has written into a file, where they never belong: what shows a line of the
//! file leaves them out.
//!
//! They are looked for in the text and not in the values. A file with a secret in it is wrong, and
//! may be no TOML at all: a password without quotes is a problem of its own line.

use super::keys::{folded, is_secret};
use super::login::is_credential;

/// What is in the names of keys whose values are hosts, maybe with a login name and its password.
const HOSTS: [&str; 4] = ["host", "proxy", "jump", "url"];

/// What a value over several lines begins and ends with.
const LONG: [(&str, &str); 4] = [(r#"""""#, r#"""""#), ("'''", "'''"), ("[", "]"), ("{", "}")];

/// The places of a text from which on, up to the end of the line, it may be a secret; in their order,
/// at most one a line.
pub(super) fn places(text: &str) -> Vec<usize> {
    let mut scan = Scan::default();
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        found.extend(scan.line(line).map(|at| start + at));
        start += line.len();
    }
    found
}

/// What earlier lines say about the next one.
#[derive(Default)]
struct Scan {
    /// What ends the secret that an earlier line has begun.
    until: Option<&'static str>,
    /// Whether the last key is one of hosts: its array may go on.
    of_hosts: bool,
}

impl Scan {
    /// Where the secret of this line begins.
    fn line(&mut self, line: &str) -> Option<usize> {
        match self.until {
            Some(end) if line.contains(end) => {
                self.until = None;
                // What seems to end one may be the beginning of the next one.
                self.keys(line);
                Some(0)
            }
            Some(_) => Some(0),
            None => self.keys(line),
        }
    }

    /// Where the secret of this line begins, by its keys.
    fn keys(&mut self, line: &str) -> Option<usize> {
        let mut hosts = self.of_hosts.then_some(0);
        let mut secret = None;
        for (at, _) in line.match_indices('=') {
            let key = key_before(&line[..at]);
            let value = &line[at + 1..];
            let begin = line.len() - value.trim_start_matches([' ', '\t']).len();
            if is_secret(key) && !names_a_place(key, value) {
                let opened = LONG.into_iter().find(|(open, close)| {
                    let inner = value.trim_start().strip_prefix(open);
                    inner.is_some_and(|inner| !inner.contains(close))
                });
                self.until = opened.map(|(_, close)| close);
                self.of_hosts = false;
                secret = Some(begin);
                break;
            }
            let key = folded(key);
            self.of_hosts = HOSTS.iter().any(|h| key.contains(h)) && key != "proxycommand";
            if self.of_hosts {
                hosts = hosts.or(Some(begin));
            }
        }
        let hosts = hosts.filter(|from| has_password(&line[*from..]));
        secret.into_iter().chain(hosts).min()
    }
}

/// The key in front of a `=`, or what stands in its place.
fn key_before(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(['"', '\'']);
    let in_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    text.rsplit(|c| !in_key(c)).next().unwrap_or_default()
}

/// Whether a key says where a secret is, and its value is such a place.
fn names_a_place(key: &str, value: &str) -> bool {
    let value = value.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let inner = quote.and_then(|quote| value[1..].split_once(quote));
    folded(key).ends_with("credential") && inner.is_some_and(|(inner, _)| is_credential(inner))
}

/// Whether somebody has a password beside the login name in a URL, or among jump hosts:
/// `user:password@host`. The ports of the hosts before are none.
pub(super) fn has_password(text: &str) -> bool {
    let Some(last) = text.rfind('@') else {
        return false;
    };
    let is_end = |c: char| matches!(c, ',' | '"' | '\'') || c.is_whitespace();
    let mut words = text[..last].rsplit(is_end).map(|word| {
        let after_scheme = word.split_once("://").map(|(_, rest)| rest);
        after_scheme.unwrap_or(word)
    });
    let user = words.next().unwrap_or_default();
    let is_port = |text: &str| {
        text.trim_end_matches('/')
            .bytes()
            .all(|b| b.is_ascii_digit())
    };
    user.contains(':')
        || words.any(|word| {
            let host = word.rsplit(']').next().unwrap_or(word);
            let parts = host.split_once(':');
            parts.is_some_and(|(name, port)| !name.contains('@') && !is_port(port))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text as it may be shown.
    fn shown(text: &str) -> String {
        let places = places(text);
        let mut start = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            let here = start..start + line.len();
            start = here.end;
            match places.iter().find(|place| here.contains(place)) {
                Some(place) => format!("{}…\n", &text[here.start..*place]),
                None => line.to_owned(),
            }
        });
        lines.collect()
    }

    #[test]
    fn the_value_of_a_secret_is_left_out_to_the_end_of_its_line() {
        for (text, kept) in [
            ("password = \"x\"\n", "password = …\n"),
            ("  \"Pass-Phrase\"='x' # y\n", "  \"Pass-Phrase\"=…\n"),
            ("db.my_secret = x\n", "db.my_secret = …\n"),
            ("password =   x", "password =   …\n"),
            ("password =\nuser = 1\n", "password =…\nuser = 1\n"),
            (
                "{ user = 'u', password = 'a\"b', port = 1 }\n",
                "{ user = 'u', password = …\n",
            ),
            ("password_credential = 'a b'\n", "password_credential = …\n"),
            ("password_credential = x\n", "password_credential = …\n"),
            (
                "password_credential = [\"x\"]\n",
                "password_credential = …\n",
            ),
            (
                "passphrase_credential = '~me/x'\n",
                "passphrase_credential = …\n",
            ),
            (
                "proxy_command = 'x --password=y'\n",
                "proxy_command = 'x --password=…\n",
            ),
        ] {
            assert_eq!(shown(text), kept);
        }
        let long = format!("password_credential = '{}'\n", "x".repeat(256));
        assert_eq!(shown(&long), "password_credential = …\n");
    }

    #[test]
    fn a_secret_over_several_lines_is_left_out_from_all_of_them() {
        for (text, kept) in [
            (
                "password = \"\"\"\nx\ny\"\"\"\nuser = 1\n",
                "password = …\n…\n…\nuser = 1\n",
            ),
            ("password = '''x'''\nuser = 1\n", "password = …\nuser = 1\n"),
            (
                "password = [\n  'x',\n]\nuser = 1\n",
                "password = …\n…\n…\nuser = 1\n",
            ),
            (
                "password = { a = 'x'\nb = 'y' }\nc = 1",
                "password = …\n…\nc = 1",
            ),
            (
                "proxy_jump = [\n  'b:22',\n  'u:x@c',\n]\n",
                "proxy_jump = [\n  'b:22',\n…\n]\n",
            ),
        ] {
            assert_eq!(shown(text), kept);
        }
    }

    #[test]
    fn a_password_beside_a_login_name_is_left_out() {
        for (text, kept) in [
            ("proxy = \"http://u:x@p:80\"\n", "proxy = …\n"),
            ("proxy = http://u:x@p:80\n", "proxy = …\n"),
            ("http_proxy = 'u:x@p'\n", "http_proxy = …\n"),
            ("ProxyJump = ['a', 'ssh://u:22@b']\n", "ProxyJump = …\n"),
            ("host = \"u:x@b\"\n", "host = …\n"),
            ("{ host = 'u:x@b', password = 'y' }\n", "{ host = …\n"),
        ] {
            assert_eq!(shown(text), kept);
        }
        for with in [
            "u:x@b", "u@c:x@b", "u:x@y@b", "u:x,y@b", "u:x'y@b", "u:]@b", "u:@b",
        ] {
            assert!(has_password(with), "{with}");
        }
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        for text in [
            "password_credential = \"db-password\" # the name\n",
            "password_credential = '/etc/tunneld/p'\npassphrase_credential = \"none\"\n",
            "{ password_credential = \"~/p\", port = 1 }\n",
            "[tunnels.password]\nuser = 1\n",
            "proxy = \"http://p:80/\"\nproxy = 'http://me@p:80'\n",
            "proxy_jump = \"a:22,ops@b:x,[::1]:22,ssh://me@[::1]:22/\"\n",
            "proxy_jump = [\"[::1]:22\", 'ssh://b', 'ops@c']\n",
            "local_forward = '8080:u@h:80'\nproxy_command = 'ssh -W %h:%p u@h'\n",
            "host = \"db:22\"\nhost = 'me@db'\n",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn a_text_that_is_made_to_be_slow_is_not() {
        for part in [
            "proxy=",
            "password_credential='a'",
            "proxy='a:1,",
            "@:",
            "a",
            "= ",
            "[",
            "'",
        ] {
            places(&part.repeat((1 << 20) / part.len()));
        }
    }
}
