//! The first field of a known_hosts line: which hosts it is about, matched as OpenSSH's
//! `match.c` and `hostfile.c` match it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use tunneld_core::text::glob_matches;

use super::quote;

/// OpenSSH matches patterns in a buffer of this size, and lets a longer one match nothing.
const MAX_PATTERN_LEN: usize = 1022;

/// How a hashed host name begins.
const HASH_MAGIC: &str = "|1|";

/// The hosts that one line is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hosts {
    /// `|1|salt|hash`: one name, hashed with HMAC-SHA1 so that the file does not tell it.
    Hashed {
        /// The key of the HMAC.
        salt: [u8; 20],
        /// What the name hashes to.
        hash: [u8; 20],
    },
    /// Comma-separated patterns.
    Patterns(Vec<Pattern>),
}

/// One pattern of a comma-separated list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// `!`: a host that it matches is not meant, whatever else matches.
    negated: bool,
    /// Lowercase, with `*` and `?`.
    glob: String,
}

impl Hosts {
    /// Reads the field, or says what is wrong with it.
    pub(super) fn parse(field: &str) -> Result<Self, String> {
        if field.starts_with('|') {
            return parse_hashed(field);
        }
        let patterns = field.split(',').map(parse_pattern);
        patterns.collect::<Result<Vec<_>, _>>().map(Hosts::Patterns)
    }

    /// Whether the line is about `name`: a lowercase host, or `[host]:port`.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Hosts::Hashed { salt, hash } => {
                let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else {
                    return false;
                };
                mac.update(name.as_bytes());
                mac.verify_slice(hash).is_ok()
            }
            Hosts::Patterns(patterns) => {
                let mut matched = false;
                for pattern in patterns {
                    if glob_matches(pattern.glob.as_bytes(), name.as_bytes()) {
                        if pattern.negated {
                            return false;
                        }
                        matched = true;
                    }
                }
                matched
            }
        }
    }

    /// Whether the line may be about several hosts. A name and its address are one: ssh writes both
    /// on one line where CheckHostIP is on.
    pub(super) fn are_several(&self) -> bool {
        match self {
            Hosts::Hashed { .. } => false,
            Hosts::Patterns(patterns) => self.has_wildcard() || patterns.len() > 2,
        }
    }

    /// Whether the line has one name, and no pattern.
    pub(super) fn is_one_name(&self) -> bool {
        match self {
            Hosts::Hashed { .. } => true,
            Hosts::Patterns(patterns) => patterns.len() == 1 && !self.has_wildcard(),
        }
    }

    /// How a line about the host `name` names it that is to tell no more than this one does.
    pub(super) fn alike(&self, name: &str) -> String {
        match self {
            Hosts::Hashed { salt, hash } => {
                let (salt, hash) = (STANDARD.encode(salt), STANDARD.encode(hash));
                format!("{HASH_MAGIC}{salt}|{hash}")
            }
            Hosts::Patterns(_) => name.to_owned(),
        }
    }

    /// Whether the line may be about hosts that it does not name.
    fn has_wildcard(&self) -> bool {
        match self {
            Hosts::Hashed { .. } => false,
            Hosts::Patterns(patterns) => patterns.iter().any(|p| p.glob.contains(['*', '?'])),
        }
    }
}

fn parse_pattern(text: &str) -> Result<Pattern, String> {
    let (negated, glob) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if glob.len() > MAX_PATTERN_LEN {
        return Err(format!("a host pattern has over {MAX_PATTERN_LEN} bytes"));
    }
    Ok(Pattern {
        negated,
        glob: glob.to_ascii_lowercase(),
    })
}

fn parse_hashed(field: &str) -> Result<Hosts, String> {
    let bad = || format!("bad hashed host {}", quote(field));
    let rest = field.strip_prefix(HASH_MAGIC).ok_or_else(bad)?;
    let (salt, hash) = rest.split_once('|').ok_or_else(bad)?;
    let decode = |text: &str| -> Option<[u8; 20]> { STANDARD.decode(text).ok()?.try_into().ok() };
    Ok(Hosts::Hashed {
        salt: decode(salt).ok_or_else(bad)?,
        hash: decode(hash).ok_or_else(bad)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_hash_is_an_error_and_not_a_host_that_never_matches() {
        let good = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=";
        let hosts = Hosts::parse(good).unwrap();
        assert!(hosts.matches("192.168.1.61"));
        assert!(!hosts.matches("192.168.1.6"));
        for bad in [
            "|",
            "|1|",
            "|2|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=",
            "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=",
            "|1|F1E1|3988QV0VE8wmZL7suNrYQLITLCg=",
            "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=|",
        ] {
            let problem = Hosts::parse(bad).unwrap_err();
            assert!(problem.starts_with("bad hashed host `|"), "{problem}");
        }
    }
}
