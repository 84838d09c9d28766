//! The keys that `[defaults]` and `[tunnels.NAME]` have in common.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::diagnostic::{Diagnostic, Origin};
use super::keys::{Place, nearest};
use super::raw::{Cursor, Item, Problems};
use super::render::quoted;
use super::resolve::Surroundings;
use super::values::{ValueError, check_duration};
use super::values::{parse_duration, parse_fingerprint, parse_user};
use super::{Fingerprint, Reconnect, Sourced, StrictHostKeyChecking};

/// How many files or fingerprints a list may have.
const MAX_LIST: usize = 100;

/// The longest path, in bytes: PATH_MAX of Linux.
const MAX_PATH_LEN: usize = 4095;

/// What a path of the file is completed with.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    pub(super) origin: &'a Origin,
    pub(super) surroundings: &'a Surroundings,
}

/// What one table says; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) port: Option<Sourced<u16>>,
    pub(super) user: Option<Sourced<String>>,
    pub(super) identity_file: Option<Sourced<Vec<Sourced<PathBuf>>>>,
    pub(super) known_hosts: Option<Sourced<Vec<Sourced<PathBuf>>>>,
    pub(super) strict_host_key_checking: Option<Sourced<StrictHostKeyChecking>>,
    pub(super) host_key_fingerprint: Option<Sourced<Vec<Fingerprint>>>,
    pub(super) connect_timeout: Option<Sourced<Duration>>,
    pub(super) server_alive_interval: Option<Sourced<Duration>>,
    pub(super) server_alive_count_max: Option<Sourced<u32>>,
    pub(super) stall_timeout: Option<Sourced<Duration>>,
    pub(super) enabled: Option<Sourced<bool>>,
    reconnect: ReconnectParts,
}

#[derive(Debug, Clone, Default)]
struct ReconnectParts {
    initial: Option<Sourced<Duration>>,
    max: Option<Sourced<Duration>>,
    multiplier: Option<Sourced<f64>>,
    jitter: Option<Sourced<f64>>,
    reset_after: Option<Sourced<Duration>>,
}

impl Settings {
    /// Takes the settings out of a table.
    pub(super) fn take(keys: &mut Cursor<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Self {
        Settings {
            port: keys.take("port", problems, |item, problems| {
                u16::try_from(item.number(1, u32::from(u16::MAX), problems)?).ok()
            }),
            user: keys.take("user", problems, |item, problems| {
                parsed(item, "a login name", parse_user, problems)
            }),
            identity_file: keys.take("identity_file", problems, |item, problems| {
                let found = paths(item, base, problems)?;
                if found.is_empty() {
                    problems.report(item.wrong("names no file").with_help(
                        "name a private key, or leave the key out to use those in ~/.ssh",
                    ));
                    return None;
                }
                Some(found)
            }),
            known_hosts: keys.take("known_hosts", problems, |item, problems| {
                paths(item, base, problems)
            }),
            strict_host_key_checking: keys.take("strict_host_key_checking", problems, strictness),
            host_key_fingerprint: keys.take("host_key_fingerprint", problems, fingerprints),
            connect_timeout: keys.take("connect_timeout", problems, positive),
            server_alive_interval: keys.take("server_alive_interval", problems, duration),
            server_alive_count_max: keys.take(
                "server_alive_count_max",
                problems,
                |item, problems| item.number(0, 1_000, problems),
            ),
            stall_timeout: keys.take("stall_timeout", problems, positive),
            enabled: keys.take("enabled", problems, |item, problems| item.truth(problems)),
            reconnect: keys
                .take("reconnect", problems, reconnect_parts)
                .map(|parts| parts.value)
                .unwrap_or_default(),
        }
    }

    /// These settings, and where they say nothing those of `defaults`.
    pub(super) fn or(self, defaults: &Settings) -> Self {
        let (ours, theirs) = (self.reconnect, &defaults.reconnect);
        Settings {
            port: or(self.port, &defaults.port),
            user: or(self.user, &defaults.user),
            identity_file: or(self.identity_file, &defaults.identity_file),
            known_hosts: or(self.known_hosts, &defaults.known_hosts),
            strict_host_key_checking: or(
                self.strict_host_key_checking,
                &defaults.strict_host_key_checking,
            ),
            host_key_fingerprint: or(self.host_key_fingerprint, &defaults.host_key_fingerprint),
            connect_timeout: or(self.connect_timeout, &defaults.connect_timeout),
            server_alive_interval: or(self.server_alive_interval, &defaults.server_alive_interval),
            server_alive_count_max: or(
                self.server_alive_count_max,
                &defaults.server_alive_count_max,
            ),
            stall_timeout: or(self.stall_timeout, &defaults.stall_timeout),
            enabled: or(self.enabled, &defaults.enabled),
            reconnect: ReconnectParts {
                initial: or(ours.initial, &theirs.initial),
                max: or(ours.max, &theirs.max),
                multiplier: or(ours.multiplier, &theirs.multiplier),
                jitter: or(ours.jitter, &theirs.jitter),
                reset_after: or(ours.reset_after, &theirs.reset_after),
            },
        }
    }

    /// How to come back, complete.
    pub(super) fn reconnect(&self, problems: &mut Problems) -> Reconnect {
        const INITIAL: Duration = Duration::from_secs(1);
        const MAX: Duration = Duration::from_secs(60);
        const RESET_AFTER: Duration = Duration::from_secs(30);
        let parts = &self.reconnect;
        let initial = parts.initial.as_ref().map_or(INITIAL, |v| v.value);
        let max = parts.max.as_ref().map_or(MAX, |v| v.value);
        if initial > max {
            // The one that is written is at fault; of two, the one that is written later.
            let spans =
                [&parts.initial, &parts.max].map(|p| p.as_ref().and_then(|v| v.span.clone()));
            let span = spans.into_iter().flatten().max_by_key(|s| s.start);
            let said = format!(
                "`reconnect.initial` is longer than `reconnect.max`: {} > {}",
                humantime::format_duration(initial),
                humantime::format_duration(max)
            );
            problems.report(Diagnostic {
                span,
                ..Diagnostic::new(said)
            });
        }
        Reconnect {
            initial,
            max,
            multiplier: parts.multiplier.as_ref().map_or(2.0, |v| v.value),
            jitter: parts.jitter.as_ref().map_or(0.5, |v| v.value),
            reset_after: parts.reset_after.as_ref().map_or(RESET_AFTER, |v| v.value),
        }
    }
}

fn or<T: Clone>(ours: Option<T>, theirs: &Option<T>) -> Option<T> {
    ours.or_else(|| theirs.clone())
}

fn reconnect_parts(item: Item<'_, '_>, problems: &mut Problems) -> Option<ReconnectParts> {
    let mut keys = Cursor::new(item.table(problems)?, Place::Reconnect);
    fn part<'t, T>(
        keys: &mut Cursor<'t, '_>,
        (key, shown): (&'static str, &'static str),
        problems: &mut Problems,
        parse: impl FnOnce(Item<'_, '_>, &mut Problems) -> Option<T>,
    ) -> Option<Sourced<T>> {
        let item = keys.item_as(key, shown)?;
        Some(Sourced {
            value: parse(item, problems)?,
            span: Some(item.span()),
        })
    }
    let parts = ReconnectParts {
        initial: part(
            &mut keys,
            ("initial", "reconnect.initial"),
            problems,
            positive,
        ),
        max: part(&mut keys, ("max", "reconnect.max"), problems, positive),
        multiplier: part(
            &mut keys,
            ("multiplier", "reconnect.multiplier"),
            problems,
            |item, problems| item.real(1.0, 100.0, problems),
        ),
        jitter: part(
            &mut keys,
            ("jitter", "reconnect.jitter"),
            problems,
            |item, problems| item.real(0.0, 1.0, problems),
        ),
        reset_after: part(
            &mut keys,
            ("reset_after", "reconnect.reset_after"),
            problems,
            duration,
        ),
    };
    keys.finish(problems);
    Some(parts)
}

/// A string that `parse` understands.
pub(super) fn parsed<T>(
    item: Item<'_, '_>,
    wanted: &str,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
    problems: &mut Problems,
) -> Option<T> {
    let text = item.text(wanted, problems)?;
    parse(text).map_err(|e| problems.report(item.error(e))).ok()
}

/// A duration; a bare number is seconds, as in ssh_config(5).
pub(super) fn duration(item: Item<'_, '_>, problems: &mut Problems) -> Option<Duration> {
    const HELP: &str = r#"write "15s", "500ms" or "1m30s"; a bare number is seconds"#;
    let found = match item.get() {
        DeValue::String(text) => parse_duration(text),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(seconds) if seconds < 0 => {
                problems.report(item.wrong("cannot be negative").with_help(HELP));
                return None;
            }
            Ok(seconds) => check_duration(Duration::from_secs(
                u64::try_from(seconds).unwrap_or(u64::MAX),
            )),
            Err(_) => check_duration(Duration::MAX),
        },
        _ => {
            problems.report(item.wants("a duration").with_help(HELP));
            return None;
        }
    };
    found.map_err(|e| problems.report(item.error(e))).ok()
}

/// A duration that is more than nothing.
pub(super) fn positive(item: Item<'_, '_>, problems: &mut Problems) -> Option<Duration> {
    let found = duration(item, problems)?;
    if found.is_zero() {
        problems.report(item.wrong("has to be more than 0"));
        return None;
    }
    Some(found)
}

/// One of a few words.
pub(super) fn choice<T: Copy>(
    item: Item<'_, '_>,
    words: &[(&'static str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let names: Vec<&'static str> = words.iter().map(|(name, _)| *name).collect();
    let wanted = one_of(&names);
    let text = item.text(&wanted, problems)?;
    let found = words.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        let mut wrong = item.wrong(&format!("wants {wanted}, not {}", quoted(text)));
        if let Some(near) = nearest(&names, text) {
            wrong = wrong.with_label(format!("did you mean `{near}`?"));
        }
        problems.report(wrong);
    }
    found.map(|(_, value)| *value)
}

/// `"a", "b" or "c"`.
fn one_of(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|n| format!("{n:?}")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn strictness(item: Item<'_, '_>, problems: &mut Problems) -> Option<StrictHostKeyChecking> {
    let refused = match item.get() {
        DeValue::Boolean(true) => return Some(StrictHostKeyChecking::Yes),
        DeValue::Boolean(false) => Some("false"),
        DeValue::String(text) => ["no", "off", "ask"].into_iter().find(|w| w == text),
        _ => None,
    };
    if let Some(written) = refused {
        let said = match written {
            "ask" => "cannot be `ask`: nobody is there to answer".to_owned(),
            _ => format!("cannot be `{written}`: host keys are always checked"),
        };
        problems.report(item.wrong(&said).with_help(
            "write \"accept-new\" to trust a host's key the first time it is seen, \
             or pin it with `host_key_fingerprint`",
        ));
        return None;
    }
    choice(
        item,
        &[
            ("yes", StrictHostKeyChecking::Yes),
            ("accept-new", StrictHostKeyChecking::AcceptNew),
        ],
        problems,
    )
}

/// The items of a list, unless it is too long.
fn list<'t, 'i>(item: Item<'t, 'i>, problems: &mut Problems) -> Option<Vec<Item<'t, 'i>>> {
    let items = item.each();
    if items.len() > MAX_LIST {
        let said = format!("has {} entries, at most {MAX_LIST} are taken", items.len());
        problems.report(item.wrong(&said));
        return None;
    }
    Some(items)
}

fn fingerprints(item: Item<'_, '_>, problems: &mut Problems) -> Option<Vec<Fingerprint>> {
    let items = list(item, problems)?;
    let mut found = Vec::with_capacity(items.len());
    for item in &items {
        let wanted = "a string or an array of strings";
        found.extend(parsed(*item, wanted, parse_fingerprint, problems));
    }
    (found.len() == items.len()).then_some(found)
}

fn paths(
    item: Item<'_, '_>,
    base: Base<'_>,
    problems: &mut Problems,
) -> Option<Vec<Sourced<PathBuf>>> {
    let items = list(item, problems)?;
    let mut found = Vec::with_capacity(items.len());
    for item in &items {
        found.extend(path(*item, base, problems).map(|value| Sourced {
            value,
            span: Some(item.span()),
        }));
    }
    (found.len() == items.len()).then_some(found)
}

/// A path: absolute, below the home directory (`~/`), or relative to the file's directory.
pub(super) fn path(item: Item<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let wanted = match item.key {
        "control_socket" => "a path",
        _ => "a path or an array of paths",
    };
    let text = item.text(wanted, problems)?;
    let wrong = if text.is_empty() {
        Some(item.wrong("is an empty path"))
    } else if text.len() > MAX_PATH_LEN {
        Some(item.wrong(&format!("has more than {MAX_PATH_LEN} bytes")))
    } else {
        let control = text.chars().find(|c| c.is_control());
        control.map(|c| item.wrong(&format!("has a control character: {c:?}")))
    };
    if let Some(wrong) = wrong {
        problems.report(wrong);
        return None;
    }
    let Some(below) = text.strip_prefix('~') else {
        return Some(base.origin.dir.join(text));
    };
    let home = base.surroundings.home.as_deref();
    match (below.strip_prefix('/'), home) {
        (Some(below), Some(home)) => Some(join(home, below)),
        (Some(_), None) => {
            problems.report(
                item.wrong("is in the home directory, and there is none")
                    .with_help("write the whole path"),
            );
            None
        }
        (None, _) => {
            problems.report(
                item.wrong("has a `~` that is not followed by `/`")
                    .with_help("write the whole path, or `./~…` for a file of that name"),
            );
            None
        }
    }
}

/// `~//x` is below the home directory too: joining an absolute path would leave it.
fn join(home: &Path, below: &str) -> PathBuf {
    home.join(below.trim_start_matches('/'))
}
