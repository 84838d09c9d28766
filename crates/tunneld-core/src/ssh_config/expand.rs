//! Tokens, variables and `~`, as ssh_config(5) has them under TOKENS and ENVIRONMENT VARIABLES.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::lex::Word;
use super::setting::Wrong;
use crate::config::quoted;
use crate::config::values::ValueError;

/// The longest path, in bytes: PATH_MAX of Linux.
const MAX_PATH_LEN: usize = 4095;

/// What ssh would take from the process that runs it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// The login name of the user that tunneld runs as.
    pub user: Option<String>,
    /// That user's home directory.
    pub home: Option<PathBuf>,
    /// The environment variables.
    pub variables: BTreeMap<String, String>,
}

impl fmt::Debug for Environment {
    /// Without the values of the variables: some of them are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("user", &self.user)
            .field("home", &self.home)
            .field("variables", &self.variables.keys())
            .finish()
    }
}

/// What the tokens stand for.
pub(super) struct Tokens<'a> {
    /// `%h`.
    pub(super) host: &'a str,
    /// `%n`.
    pub(super) original_host: &'a str,
    /// `%k`.
    pub(super) alias: Option<&'a str>,
    /// `%p`.
    pub(super) port: u16,
    /// `%r`.
    pub(super) user: Option<&'a str>,
    /// `%u` and `%d`, and the variables.
    pub(super) environment: &'a Environment,
}

/// The tokens of paths.
const PATH_TOKENS: &str = "dhknpru";

/// The tokens of `ProxyCommand` and `ProxyJump`.
const COMMAND_TOKENS: &str = "hnpr";

impl Tokens<'_> {
    /// A command, or jump hosts.
    pub(super) fn command(&self, text: &str) -> Result<String, ValueError> {
        expand(text, COMMAND_TOKENS, None, |token| self.token(token))
    }

    /// A path. It has to be a whole one: relative ones are where ssh happens to be run.
    pub(super) fn path(&self, text: &str) -> Result<PathBuf, ValueError> {
        let variables = Some(self.environment);
        let rest = expand(text, PATH_TOKENS, variables, |token| self.token(token))?;
        let path = tilde(&rest, self.environment)?;
        match path.is_absolute() {
            true => Ok(path),
            false => {
                let said = format!("is a relative path: {}", quoted(text));
                Err(ValueError::new(said).with_help("write the whole path, or `~/` and the rest"))
            }
        }
    }

    fn token(&self, token: char) -> Option<String> {
        let text = match token {
            'h' => self.host,
            'n' => self.original_host,
            'k' => self.alias.unwrap_or(self.original_host),
            'r' => self.user?,
            'u' => self.environment.user.as_deref()?,
            'd' => self.environment.home.as_deref()?.to_str()?,
            'p' => return Some(self.port.to_string()),
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// `HostName`, in which `%h` is the host as it was written.
pub(super) fn host_name(text: &str, host: &str) -> Result<String, ValueError> {
    expand(text, "h", None, |_| Some(host.to_owned()))
}

/// A file that another one includes: `~` and `${VAR}` are known before the host is, tokens are not.
pub(super) fn include_path(
    word: &Word,
    dir: &Path,
    environment: &Environment,
) -> Result<PathBuf, Wrong> {
    let path = expand(&word.text, "", Some(environment), |_| None)
        .and_then(|text| tilde(&text, environment));
    let path = path.map_err(|error| Wrong {
        span: Some(word.span.clone()),
        error,
    })?;
    Ok(dir.join(path))
}

/// Puts values in the place of `%` and a letter of `letters`, of `%%` and, with an environment, of
/// `${VAR}`.
fn expand(
    text: &str,
    letters: &str,
    environment: Option<&Environment>,
    value: impl Fn(char) -> Option<String>,
) -> Result<String, ValueError> {
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['%', '$']) {
        found.push_str(&rest[..at]);
        rest = &rest[at..];
        if let (Some(environment), Some(after)) = (environment, rest.strip_prefix("${")) {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| ValueError::new("has a `${` without its `}`"))?;
            let value = environment.variables.get(name).ok_or_else(|| {
                let said = format!(
                    "needs the environment variable {}, which is not set",
                    quoted(name)
                );
                ValueError::new(said)
            })?;
            found.push_str(value);
            rest = after;
            continue;
        }
        let mut chars = rest.chars();
        match (chars.next(), chars.next()) {
            (Some('%'), Some('%')) => found.push('%'),
            (Some('%'), Some(token)) if letters.contains(token) => {
                let value = value(token).ok_or_else(|| {
                    ValueError::new(format!("has `%{token}`, and that is not known here"))
                })?;
                found.push_str(&value);
            }
            (Some('%'), Some(token)) => return Err(no_token(token, letters)),
            (Some('%'), None) => {
                return Err(ValueError::new("ends in a `%` without its letter"));
            }
            (_, _) => {
                found.push('$');
                rest = &rest[1..];
                continue;
            }
        }
        rest = chars.as_str();
    }
    found.push_str(rest);
    Ok(found)
}

fn no_token(token: char, letters: &str) -> ValueError {
    let token = quoted(&format!("%{token}"));
    let error = ValueError::new(format!(
        "has a token that tunneld does not have here: {token}"
    ));
    let mut known: Vec<String> = letters.chars().map(|c| format!("%{c}")).collect();
    known.push("%%".to_owned());
    match known.as_slice() {
        [only] => error.with_help(format!("there is only {only}")),
        _ => error.with_help(format!("there are {}", known.join(", "))),
    }
}

/// A path that may begin in the home directory.
fn tilde(text: &str, environment: &Environment) -> Result<PathBuf, ValueError> {
    if text.len() > MAX_PATH_LEN {
        return Err(ValueError::new(format!(
            "has more than {MAX_PATH_LEN} bytes"
        )));
    }
    let Some(below) = text.strip_prefix('~') else {
        return Ok(PathBuf::from(text));
    };
    if !below.is_empty() && !below.starts_with('/') {
        let said = "has a `~` that is not followed by `/`";
        return Err(ValueError::new(said).with_help("write the whole path"));
    }
    match &environment.home {
        Some(home) => Ok(home.join(below.trim_start_matches('/'))),
        None => {
            let said = "is in the home directory, and there is none";
            Err(ValueError::new(said).with_help("write the whole path"))
        }
    }
}
