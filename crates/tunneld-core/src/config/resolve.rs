//! From the text of the file to a [`Config`], or to everything that is wrong with it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeTable;

use super::conflicts;
use super::daemon_keys::daemon_config;
use super::diagnostic::{Diagnostic, Diagnostics, Origin};
use super::document::Document;
use super::forward_keys::{self, forwards};
use super::include::{self, Includes, Part, not_utf8};
use super::items::{Base, parsed};
use super::keys::Place;
use super::provenance::{Provenance, Section, Spans};
use super::raw::{Cursor, Item, Problems, kind};
use super::reach::Reach;
use super::render::quoted;
use super::settings::Settings;
use super::ssh_files::{SshConfigs, SshFiles, laid_out};
use super::ssh_layer::Layer;
use super::values::parse_host;
use super::{Config, ForwardSpec, Keepalive, MAX_FILE_LEN, Sourced, TunnelSpec};
use crate::name::{MAX_NAME_LEN, TunnelName};

/// How many tunnels a file may have.
const MAX_TUNNELS: usize = 10_000;

/// How long before its end a certificate is warned of, where the file does not say.
const A_WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What the defaults depend on and a file does not say.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The login name of the user that tunneld runs as: the default `user`, as with ssh.
    pub user: Option<String>,
    /// That user's home directory: where `~/` and the default keys are.
    pub home: Option<PathBuf>,
    /// Whether the processor does AES: it decides which ciphers come first.
    pub aes_hardware: bool,
    /// The files of ssh that the file names, as far as they were read.
    pub ssh_configs: SshConfigs,
    /// The files that it includes, as far as they were read.
    pub includes: Includes,
}

#[cfg(test)]
impl Surroundings {
    /// A user `svc` with a home directory.
    pub(crate) fn for_tests() -> Self {
        Surroundings {
            user: Some("svc".to_owned()),
            home: Some("/home/svc".into()),
            aes_hardware: true,
            ssh_configs: SshConfigs::new(),
            includes: Includes::new(),
        }
    }
}

/// Checks the text of a file.
///
/// # Errors
///
/// Every problem of the file, in the order of the file.
pub fn load(
    text: &str,
    origin: &Origin,
    surroundings: &Surroundings,
) -> Result<Config, Diagnostics> {
    if let Some(item) = not_a_file(text.len(), origin) {
        return Err(Diagnostics::new(origin.clone(), "", vec![item]));
    }
    if is_blank(text) {
        let item = Diagnostic::new(format!("{} is empty", quoted(&origin.name))).with_help(
            "a tunnel needs a host and something to forward:\n\
             [tunnels.db]\n\
             host = \"db.example.com\"\n\
             local_forward = \"5432:localhost:5432\"",
        );
        return Err(Diagnostics::new(origin.clone(), "", vec![item]));
    }
    let laid = laid_out(origin, text, surroundings);
    let base = Base {
        origin,
        surroundings,
        starts: &laid.ssh,
    };
    let mut problems = Problems::default();
    let files = surroundings
        .includes
        .iter()
        .flat_map(|i| i.found.iter().flatten());
    let parts = files.zip(&laid.included);
    let parts = parts.map(|(file, start)| Part {
        file,
        start: *start,
    });
    let config = file(text, parts, base, &mut problems);
    let (items, dropped) = problems.told();
    if items.is_empty() && dropped == 0 {
        return Ok(config);
    }
    let all = Diagnostics::within(laid.texts, origin.clone(), items);
    Err(all.with_dropped(dropped))
}

/// Checks the bytes of a file.
///
/// # Errors
///
/// As [`load`]; and that the bytes are too many, or not UTF-8.
pub fn load_bytes(
    bytes: &[u8],
    origin: &Origin,
    surroundings: &Surroundings,
) -> Result<Config, Diagnostics> {
    if let Some(item) = not_a_file(bytes.len(), origin) {
        return Err(Diagnostics::new(origin.clone(), "", vec![item]));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => load(text, origin, surroundings),
        Err(error) => {
            let item = not_utf8(bytes, error, 0);
            let text = String::from_utf8_lossy(bytes);
            Err(Diagnostics::new(origin.clone(), text, vec![item]))
        }
    }
}

/// The control socket that a text names, whatever else is wrong with it: so that a daemon can be
/// asked while its file is being repaired.
pub fn control_socket(bytes: &[u8], origin: &Origin) -> Option<PathBuf> {
    let text = String::from_utf8_lossy(bytes.get(..MAX_FILE_LEN).unwrap_or(bytes));
    let (table, _) = DeTable::parse_recoverable(&text);
    let written = table.get_ref().get("daemon")?.get_ref();
    let written = written.get("control_socket")?.get_ref().as_str()?;
    (!written.is_empty()).then(|| origin.dir.join(written))
}

/// Whether a text may name a control socket where nobody can see it: it is not TOML, or was cut off.
pub fn hides_control_socket(bytes: &[u8], origin: &Origin) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let is_broken = || is_blank(&text) || !DeTable::parse_recoverable(&text).1.is_empty();
    control_socket(bytes, origin).is_none() && is_broken()
}

fn not_a_file(len: usize, origin: &Origin) -> Option<Diagnostic> {
    (len > MAX_FILE_LEN).then(|| {
        Diagnostic::new(format!(
            "{} has more than {MAX_FILE_LEN} bytes, which is all that is read",
            quoted(&origin.name)
        ))
    })
}

/// Nothing but white space and comments: what a truncated file looks like. To take it as "no
/// tunnels" would stop them all at the next reload.
fn is_blank(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#'))
}

/// What was read of a tunnel. Its forwards count as used even when the rest is wrong.
struct Read {
    name: TunnelName,
    enabled: bool,
    forwards: Vec<ForwardSpec>,
    spec: Option<TunnelSpec>,
    provenance: Vec<(Section, Spans)>,
}

/// The tunnels that were read, of all files.
#[derive(Default)]
pub(super) struct Tunnels {
    read: Vec<Read>,
    /// Where each of them is.
    places: HashMap<TunnelName, Range<usize>>,
}

fn file<'a>(
    text: &str,
    parts: impl Iterator<Item = Part<'a>>,
    base: Base<'_>,
    problems: &mut Problems,
) -> Config {
    let Document { table, syntax } = Document::parse(text, 0);
    problems.broken = !syntax.is_clean();
    let mut keys = Cursor::new(&table, Place::Root);
    if let Some(item) = keys.item("include") {
        include::check_patterns(item, base, problems);
    }
    let daemon = keys.item("daemon").and_then(|item| item.table(problems));
    let empty = DeTable::new();
    let (daemon, daemon_spans) = daemon_config(daemon.unwrap_or(&empty), base, problems);
    let defaults = defaults(&mut keys, base, problems);
    let mut found = Tunnels::default();
    if let Some(item) = keys.item("tunnels") {
        tunnels(item, &defaults, base, &mut found, problems);
    }
    keys.finish(problems);
    problems.unreadable(syntax);
    for part in parts {
        include::part(&part, &defaults, base, &mut found, problems);
    }
    let tunnels = found.read;
    let listening = tunnels.iter().filter(|t| t.enabled);
    let listening = listening.map(|t| conflicts::Listening {
        tunnel: &t.name,
        target: t.spec.as_ref().map(|spec| &spec.target),
        forwards: &t.forwards,
    });
    conflicts::check(listening, problems);
    let mut provenance = Provenance::default();
    provenance.insert(Section::Daemon, daemon_spans);
    let mut specs = BTreeMap::new();
    for tunnel in tunnels {
        specs.extend(tunnel.spec.map(|spec| (tunnel.name, spec)));
        for (section, spans) in tunnel.provenance {
            provenance.insert(section, spans);
        }
    }
    Config {
        daemon,
        tunnels: specs,
        provenance,
    }
}

/// `[defaults]` of a file.
pub(super) fn defaults(
    keys: &mut Cursor<'_, '_>,
    base: Base<'_>,
    problems: &mut Problems,
) -> Settings {
    let table = keys.item("defaults").and_then(|i| i.table(problems));
    let Some(table) = table else {
        return Settings::default();
    };
    let mut keys = Cursor::new(table, Place::Defaults);
    let settings = Settings::take(&mut keys, base, problems);
    keys.finish(problems);
    settings
}

pub(super) fn value_or<T>(found: Option<Sourced<T>>, default: impl FnOnce() -> T) -> T {
    found.map_or_else(default, |v| v.value)
}

/// `[tunnels]` of a file.
pub(super) fn tunnels(
    item: Item<'_, '_>,
    defaults: &Settings,
    base: Base<'_>,
    found: &mut Tunnels,
    problems: &mut Problems,
) {
    let Some(table) = item.table(problems) else {
        return;
    };
    let count = found.places.len() + table.len();
    if count > MAX_TUNNELS {
        let said = format!("has {count} tunnels, at most {MAX_TUNNELS} are kept");
        return problems.report(item.wrong(&said));
    }
    for (key, value) in table.iter() {
        let written = key.get_ref().as_ref();
        let name: TunnelName = match written.parse() {
            Ok(name) => name,
            Err(error) => {
                let said = format!("bad tunnel name {}: {error}", quoted(written));
                problems.report(Diagnostic::at(key.span(), said));
                // What is inside is checked all the same, under a name like it.
                if let (Some(like), Some(inner)) = (similar(written), value.get_ref().as_table()) {
                    tunnel(like, key.span(), inner, defaults, base, problems);
                }
                continue;
            }
        };
        let Some(inner) = value.get_ref().as_table() else {
            let what = kind(value.get_ref());
            let said = format!("`tunnels.{name}` wants a table, not {what}");
            problems.report(Diagnostic::at(value.span(), said).with_tunnel(name));
            continue;
        };
        problems.tunnel = Some(name.clone());
        let at = key.span();
        let read = tunnel(name.clone(), at.clone(), inner, defaults, base, problems);
        match found.places.get(&name) {
            None => {
                found.places.insert(name, at);
                found.read.push(read);
            }
            Some(first) => {
                let said = format!("there are two tunnels `{name}`");
                let item = Diagnostic::at(at, said);
                problems.report(item.with_related(first.clone(), "the first is"));
            }
        }
        problems.tunnel = None;
    }
}

/// The valid name that is most like an invalid one.
fn similar(written: &str) -> Option<TunnelName> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = written
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(MAX_NAME_LEN)
        .collect();
    name.parse().ok()
}

fn tunnel(
    name: TunnelName,
    at: Range<usize>,
    table: &DeTable<'_>,
    defaults: &Settings,
    base: Base<'_>,
    problems: &mut Problems,
) -> Read {
    let mut keys = Cursor::new(table, Place::Tunnel);
    let has_host = keys.has("host");
    let host = keys.take("host", problems, |item, problems| {
        parsed(item, "a host name or an address", parse_host, problems)
    });
    let forwards = forwards(&mut keys, problems);
    let written = Settings::take(&mut keys, base, problems).or(defaults);
    let meant = keys.finish(problems);
    if !has_host && !meant.contains(&"host") {
        let said = format!("tunnel `{name}` has no `host`");
        problems.report_absent(Diagnostic::at(at.clone(), said));
    }
    if !forwards.any && !forward_keys::KEYS.iter().any(|key| meant.contains(key)) {
        problems.report_absent(forwards_nothing(&name, &at));
    }
    let ssh = written.ssh_config.as_ref();
    let ssh = ssh.and_then(|path| SshFiles::named(path, base, problems));
    let layer = match (ssh, &host) {
        (Some(files), Some(host)) => Layer::of_tunnel(files, &host.value, &written, base, problems),
        _ => Layer::default(),
    };
    let settings = written.clone().or(&layer.settings);
    let reconnect = settings.reconnect(problems);
    let sessions = settings.sessions(problems);
    let enabled = settings.enabled.as_ref().is_none_or(|v| v.value);
    let reach = Reach {
        name: &name,
        at: at.clone(),
        host: host.as_ref(),
        written: &written,
        defaults,
        ssh,
        layer: &layer,
        settings: &settings,
        base,
    };
    let reached = reach.target(problems);
    let provenance = match &reached {
        Some(reached) => reached.provenance(&name, at, forwards.spans),
        None => Vec::new(),
    };
    let forwards = forwards.specs;
    let spec = reached.map(|reached| TunnelSpec {
        name: name.clone(),
        enabled,
        target: reached.target,
        connect_timeout: value_or(settings.connect_timeout, || Duration::from_secs(15)),
        keepalive: Keepalive {
            interval: value_or(settings.server_alive_interval, || Duration::from_secs(15)),
            count_max: value_or(settings.server_alive_count_max, || 3),
        },
        reconnect,
        certificate_expiry_warning: value_or(settings.certificate_expiry_warning, || A_WEEK),
        stall_timeout: value_or(settings.stall_timeout, || Duration::from_secs(30)),
        sessions,
        on_up: settings.hooks.up(),
        on_down: settings.hooks.down(),
        forwards: forwards.clone(),
    });
    Read {
        name,
        enabled,
        forwards,
        spec,
        provenance,
    }
}

fn forwards_nothing(name: &TunnelName, at: &Range<usize>) -> Diagnostic {
    let said = format!("tunnel `{name}` forwards nothing");
    Diagnostic::at(at.clone(), said).with_help("add local_forward = \"5432:localhost:5432\"")
}
