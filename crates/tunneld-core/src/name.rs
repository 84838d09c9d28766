//! Names of tunnels and forwards: valid by construction.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name that is accepted, in bytes.
///
/// Names end up in journal fields, metric labels, control URLs and file names, so they are short.
pub const MAX_NAME_LEN: usize = 64;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// The text is empty.
    Empty,
    /// The text has more than [`MAX_NAME_LEN`] bytes.
    TooLong,
    /// The text begins with something other than a letter or a digit.
    BadStart(char),
    /// The text has a character that names do not have.
    BadChar(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("a name cannot be empty"),
            NameError::TooLong => write!(f, "a name has at most {MAX_NAME_LEN} characters"),
            NameError::BadStart(c) => {
                write!(f, "a name begins with a letter or a digit, not {c:?}")
            }
            NameError::BadChar(c) => write!(
                f,
                "a name has only letters, digits, `-`, `_` and `.`, not {c:?}"
            ),
        }
    }
}

impl std::error::Error for NameError {}

fn check(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > MAX_NAME_LEN {
        return Err(NameError::TooLong);
    }
    let bad = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if let Some(c) = text.chars().find(|c| bad(*c)) {
        return Err(NameError::BadChar(c));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::BadStart(first));
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a tunnel: the `NAME` of `[tunnels.NAME]`.
    TunnelName
);
name_type!(
    /// The name of a forward: unique within its tunnel.
    ForwardName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_fits_a_journal_field_a_label_and_a_url() {
        for good in ["db", "DB-1", "a.b_c", "9lives", &"x".repeat(MAX_NAME_LEN)] {
            assert_eq!(good.parse::<TunnelName>().unwrap().as_str(), good);
        }
        assert_eq!("".parse::<TunnelName>(), Err(NameError::Empty));
        assert_eq!(".db".parse::<TunnelName>(), Err(NameError::BadStart('.')));
        assert_eq!("-db".parse::<TunnelName>(), Err(NameError::BadStart('-')));
        assert_eq!("a b".parse::<TunnelName>(), Err(NameError::BadChar(' ')));
        assert_eq!("a/b".parse::<TunnelName>(), Err(NameError::BadChar('/')));
        assert_eq!("dé".parse::<TunnelName>(), Err(NameError::BadChar('é')));
        let long = "x".repeat(MAX_NAME_LEN + 1);
        assert_eq!(long.parse::<TunnelName>(), Err(NameError::TooLong));
    }

    #[test]
    fn a_bad_name_does_not_come_in_through_json_either() {
        assert!(serde_json::from_str::<ForwardName>("\"a b\"").is_err());
        assert_eq!(
            serde_json::to_string(&"pg".parse::<ForwardName>().unwrap()).unwrap(),
            "\"pg\""
        );
    }
}
