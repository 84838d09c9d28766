//! One line of known_hosts, in the format of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".

use super::key::KnownKey;
use super::pattern::Hosts;
use super::{Marker, quote};

/// A line that says something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) marker: Option<Marker>,
    pub(super) hosts: Hosts,
    pub(super) key: KnownKey,
}

/// Reads one line without its end. `None` is a blank line or a comment; an error says what is
/// wrong. Nothing is passed over: a line that cannot be read may be the one that revokes a key.
pub(super) fn parse(line: &str) -> Result<Option<Line>, String> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let (first, rest) = field(line);
    if first.is_empty() || first.starts_with('#') {
        return Ok(None);
    }
    let marker = marker(first)?;
    let (hosts, rest) = match marker {
        Some(_) => field(rest),
        None => (first, rest),
    };
    if marker.is_some() && (hosts.is_empty() || hosts.starts_with('#')) {
        return Err(format!("no host after {}", quote(first)));
    }
    if hosts.starts_with('@') {
        return Err("a line has one marker at most".to_owned());
    }
    let (kind, rest) = field(rest);
    if kind.is_empty() || kind.starts_with('#') {
        return Err(format!("no key after {}", quote(hosts)));
    }
    let (data, rest) = field(rest);
    if data.is_empty() || data.starts_with('#') {
        return Err(format!("no key after {}", quote(kind)));
    }
    let (after, _) = field(rest);
    Ok(Some(Line {
        marker,
        hosts: Hosts::parse(hosts)?,
        key: KnownKey::parse(kind, data, after)?,
    }))
}

/// The next field, and what follows it: spaces and tabs separate, however many.
fn field(text: &str) -> (&str, &str) {
    let blank = [' ', '\t'];
    let text = text.trim_start_matches(blank);
    text.split_at(text.find(blank).unwrap_or(text.len()))
}

fn marker(field: &str) -> Result<Option<Marker>, String> {
    match field {
        "@cert-authority" => Ok(Some(Marker::CertAuthority)),
        "@revoked" => Ok(Some(Marker::Revoked)),
        _ if field.starts_with('@') => Err(format!("unknown marker {}", quote(field))),
        _ => Ok(None),
    }
}
