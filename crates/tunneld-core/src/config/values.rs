//! Values as they are written: each parser says what is wrong in its own words.
//!
//! The messages are predicates, so that whoever knows the subject puts it in front:
//! "`host` is empty".

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::Fingerprint;
use super::render::quoted;

/// The longest duration that is accepted: sums and products of a few of them cannot overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The longest host name or login name that is accepted, in bytes.
pub const MAX_HOST_LEN: usize = 255;

/// Why a text is not the value that was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// What is wrong, without its subject: `is empty`.
    pub message: String,
    /// What a person can do about it.
    pub help: Option<String>,
}

impl ValueError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        ValueError {
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValueError {}

/// A duration: `15s`, `500ms`, `1m30s`.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    const HELP: &str = r#"write "15s", "500ms" or "1m30s""#;
    if text.trim_start().starts_with('-') {
        return Err(ValueError::new("cannot be negative").with_help(HELP));
    }
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    // More digits than any sensible duration has: humantime would add them up to its limits.
    if text.chars().filter(char::is_ascii_digit).count() > 18 {
        return Err(too_long());
    }
    match humantime::parse_duration(text) {
        Ok(found) => check_duration(found),
        Err(error) => {
            let why = match error {
                humantime::DurationError::Empty => "it is empty".to_owned(),
                humantime::DurationError::UnknownUnit { unit, .. } if unit.is_empty() => {
                    format!("{} has no unit", quoted(text))
                }
                humantime::DurationError::UnknownUnit { unit, .. } => {
                    format!("there is no unit {}", quoted(&unit))
                }
                _ => quoted(text),
            };
            Err(ValueError::new(format!("is not a duration: {why}")).with_help(HELP))
        }
    }
}

/// Refuses a duration that is longer than [`MAX_DURATION`].
pub(crate) fn check_duration(found: Duration) -> Result<Duration, ValueError> {
    if found > MAX_DURATION {
        return Err(too_long());
    }
    Ok(found)
}

fn too_long() -> ValueError {
    ValueError::new("cannot be longer than 365 days")
}

/// What is said of a password.
pub(super) const NO_SECRETS: &str = "secrets are never in this file";

/// A host name or an address, as `host` of a tunnel.
pub fn parse_host(text: &str) -> Result<String, ValueError> {
    if let Some((user, host)) = text.rsplit_once('@') {
        let error = ValueError::new("is the host alone, without a user");
        return Err(match user.contains(':') {
            true => error.with_help(format!("write host = {host:?}; {NO_SECRETS}")),
            false => error.with_help(format!("write host = {host:?} and user = {user:?}")),
        });
    }
    if let Some(inner) = bracketed(text) {
        return Err(ValueError::new("takes an address without brackets")
            .with_help(format!("write host = {inner:?}")));
    }
    if text.contains(':') && !is_ipv6(text) {
        let error = ValueError::new("is the host alone, without a port");
        return Err(match text.rsplit_once(':') {
            Some((host, port)) if parse_port(port).is_ok() && !host.contains(':') => {
                error.with_help(format!("write host = {host:?} and port = {port}"))
            }
            _ => error,
        });
    }
    check_host(text)?;
    Ok(text.to_owned())
}

/// Where metrics are served: `127.0.0.1:9478`, `[::1]:9478`, or a port of 127.0.0.1 alone. A name is
/// no address: what it stands for may change, and the page is not for everybody.
pub(crate) fn parse_metrics_listen(text: &str) -> Result<SocketAddr, ValueError> {
    const HELP: &str = r#"write "127.0.0.1:9478", or "[::]:9478" for every address"#;
    let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = parse_port(port).map_err(|e| match digits {
        true => e,
        false => ValueError::new("has no port").with_help(HELP),
    })?;
    let ip = match bracketed(host) {
        Some(inner) => inner.parse().map(IpAddr::V6).ok(),
        None if host == "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        None => host.parse().map(IpAddr::V4).ok(),
    };
    match ip {
        Some(ip) => Ok(SocketAddr::new(ip, port)),
        None if is_ipv6(host) => {
            let help = format!(r#"write "[{host}]:{port}""#);
            Err(ValueError::new("wants an IPv6 address in brackets").with_help(help))
        }
        None => {
            Err(ValueError::new("wants an address of this machine, and not a name").with_help(HELP))
        }
    }
}

/// What every host has to be, wherever it is written.
pub(crate) fn check_host(text: &str) -> Result<(), ValueError> {
    // What a shell acts on is in no host name, and a host ends up in commands that we print.
    const NO_HOST_HAS: &str = "'`\"$\\;&<>|(){}[]@/,*?!#";
    if text.is_empty() {
        return Err(ValueError::new("is empty"));
    }
    if text.len() > MAX_HOST_LEN {
        return Err(ValueError::new(format!(
            "has more than {MAX_HOST_LEN} characters"
        )));
    }
    if text.starts_with('-') {
        return Err(ValueError::new("cannot begin with `-`"));
    }
    let bad = |c: char| c.is_whitespace() || c.is_control() || NO_HOST_HAS.contains(c);
    match text.chars().find(|c| bad(*c)) {
        Some(c) => Err(ValueError::new(format!(
            "has a character that no host has: {c:?}"
        ))),
        None => Ok(()),
    }
}

/// A login name.
pub fn parse_user(text: &str) -> Result<String, ValueError> {
    if text.is_empty() {
        return Err(ValueError::new("is empty"));
    }
    if text.len() > MAX_HOST_LEN {
        return Err(ValueError::new(format!(
            "has more than {MAX_HOST_LEN} characters"
        )));
    }
    if text.starts_with('-') {
        return Err(ValueError::new("cannot begin with `-`"));
    }
    match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        Some(c) => Err(ValueError::new(format!(
            "has a character that no login name has: {c:?}"
        ))),
        None => Ok(text.to_owned()),
    }
}

/// A fingerprint as `ssh-keygen -l` prints it.
pub fn parse_fingerprint(text: &str) -> Result<Fingerprint, ValueError> {
    const HELP: &str = "`ssh-keygen -l -f FILE` prints it: SHA256: and 43 characters";
    let is_md5 = text.starts_with("MD5:")
        || (text.len() == 47 && text.split(':').all(|b| b.len() == 2 && is_hex(b)));
    if is_md5 {
        return Err(ValueError::new("takes no MD5 fingerprint, MD5 is broken")
            .with_help("`ssh-keygen -l -E sha256 -f FILE` prints the SHA256 fingerprint"));
    }
    let wrong = |why: &str| {
        let said = format!("is not a fingerprint: {} {why}", quoted(text));
        ValueError::new(said).with_help(HELP)
    };
    let Some(digest) = text.strip_prefix("SHA256:") else {
        return Err(wrong("does not begin with `SHA256:`"));
    };
    let digest = digest.strip_suffix('=').unwrap_or(digest);
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    if let Some(c) = digest.chars().find(|c| !is_base64(*c)) {
        return Err(wrong(&format!("has {c:?}, which base64 does not have")));
    }
    let length = digest.len();
    if length != 43 {
        return Err(wrong(&format!("has {length} characters after it, not 43")));
    }
    // 43 characters carry 258 bits, a digest has 256: the last two are zero.
    if !digest.ends_with(|c| "AEIMQUYcgkosw048".contains(c)) {
        return Err(wrong("ends in a character that no digest ends in"));
    }
    Ok(Fingerprint(format!("SHA256:{digest}")))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A TCP port: 1 to 65535.
pub fn parse_port(text: &str) -> Result<u16, ValueError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(0) => Err(ValueError::new("has port 0, a port is from 1 to 65535")),
        Ok(port) if digits => Ok(port),
        _ if digits => Err(ValueError::new(format!(
            "has port {}, a port is from 1 to 65535",
            quoted(text)
        ))),
        _ if text.is_empty() => Err(ValueError::new("has no port")),
        _ => Err(ValueError::new(format!(
            "has {} where a port is wanted",
            quoted(text)
        ))),
    }
}

fn bracketed(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']')
}

/// An IPv6 address, with or without a zone.
pub(crate) fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "-"));
    !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_as_people_write_it() {
        for (text, millis) in [
            ("15s", 15_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("0", 0),
            ("0s", 0),
            ("2h", 7_200_000),
            ("365d", 31_536_000_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis));
        }
        for (text, said) in [
            ("", "is not a duration: it is empty"),
            ("15", "is not a duration: `15` has no unit"),
            (
                "15 parsecs",
                "is not a duration: there is no unit `parsecs`",
            ),
            ("soon", "is not a duration: `soon`"),
            ("-1s", "cannot be negative"),
            ("366d", "cannot be longer than 365 days"),
            (
                "18446744073709551615s 1000000000ns",
                "cannot be longer than 365 days",
            ),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().message, said, "{text}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_else() {
        let longest = "x".repeat(MAX_HOST_LEN);
        for good in [
            "db",
            "db.example.com",
            "10.0.0.1",
            "::1",
            "fe80::1%eth0",
            &longest,
        ] {
            assert_eq!(parse_host(good).unwrap(), good);
        }
        let long = "x".repeat(MAX_HOST_LEN + 1);
        for (bad, said, help) in [
            ("", "is empty", None),
            ("-oProxyCommand=x", "cannot begin with `-`", None),
            ("a b", "has a character that no host has: ' '", None),
            ("a\u{0}b", "has a character that no host has: '\\0'", None),
            ("$(x)", "has a character that no host has: '$'", None),
            (long.as_str(), "has more than 255 characters", None),
            (
                "me@db",
                "is the host alone, without a user",
                Some(r#"write host = "db" and user = "me""#),
            ),
            (
                "db:2222",
                "is the host alone, without a port",
                Some(r#"write host = "db" and port = 2222"#),
            ),
            ("db:ssh", "is the host alone, without a port", None),
            (
                "[::1]",
                "takes an address without brackets",
                Some(r#"write host = "::1""#),
            ),
        ] {
            let error = parse_host(bad).unwrap_err();
            assert_eq!(
                (error.message.as_str(), error.help.as_deref()),
                (said, help)
            );
        }
    }

    #[test]
    fn metrics_are_served_at_an_address_and_a_port() {
        for (text, parsed) in [
            ("127.0.0.1:9478", "127.0.0.1:9478"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::]:9478", "[::]:9478"),
            ("[::1]:65535", "[::1]:65535"),
            ("localhost:9478", "127.0.0.1:9478"),
            ("9478", "127.0.0.1:9478"),
        ] {
            assert_eq!(parse_metrics_listen(text).unwrap().to_string(), parsed);
        }
        let no_port = "has no port";
        let no_address = "wants an address of this machine, and not a name";
        let no_brackets = "wants an IPv6 address in brackets";
        for (bad, said) in [
            ("", no_port),
            ("127.0.0.1", no_port),
            ("127.0.0.1:", no_port),
            ("127.0.0.1:http", no_port),
            ("[::1]", no_port),
            ("127.0.0.1:0", "has port 0, a port is from 1 to 65535"),
            ("65536", "has port `65536`, a port is from 1 to 65535"),
            ("db1:9478", no_address),
            ("*:9478", no_address),
            (":9478", no_address),
            ("[db1]:9478", no_address),
            ("[127.0.0.1]:9478", no_address),
            ("http://127.0.0.1:9478", no_address),
            ("::1:9478", no_brackets),
            (":::9478", no_brackets),
        ] {
            assert_eq!(
                parse_metrics_listen(bad).unwrap_err().message,
                said,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_login_name_has_no_blanks_and_no_control_characters() {
        assert_eq!(parse_user("DOMAIN\\me@x").unwrap(), "DOMAIN\\me@x");
        for bad in ["", "a b", "a\n", "-l", &"x".repeat(256)] {
            assert!(parse_user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_is_a_sha256_digest() {
        let good = "SHA256:uNiVztksCsDhcc0u9e8BrrEYTWAD7Q3F3XcIcYQ1X4U";
        assert_eq!(parse_fingerprint(good).unwrap().as_str(), good);
        assert_eq!(
            parse_fingerprint(&format!("{good}=")).unwrap().as_str(),
            good
        );
        let md5 = "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48";
        for bad in [md5, "MD5:16:27"] {
            let said = parse_fingerprint(bad).unwrap_err().message;
            assert_eq!(said, "takes no MD5 fingerprint, MD5 is broken");
        }
        let wrong = |text: &str| parse_fingerprint(text).unwrap_err().message;
        assert_eq!(
            wrong("abc"),
            "is not a fingerprint: `abc` does not begin with `SHA256:`"
        );
        assert_eq!(
            wrong("SHA256:abc"),
            "is not a fingerprint: `SHA256:abc` has 3 characters after it, not 43"
        );
        assert!(wrong("SHA256:a_c").ends_with("has '_', which base64 does not have"));
        let last = good.strip_suffix('U').unwrap();
        assert!(wrong(&format!("{last}V")).ends_with("no digest ends in"));
    }
}
