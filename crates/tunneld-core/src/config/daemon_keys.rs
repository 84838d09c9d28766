//! `[daemon]`: what holds for the whole process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::items::{Base, choice, duration, parsed, path, positive};
use super::keys::Place;
use super::provenance::Spans;
use super::raw::{Cursor, Item, Problems};
use super::resolve::value_or;
use super::settings::{port, truth};
use super::values::parse_metrics_listen;
use super::way_forms::is_none;
use super::{DaemonConfig, ReadyWhen};

/// Where metrics are served; `None` for "none".
fn metrics_listen(item: Item<'_, '_>, problems: &mut Problems) -> Option<Option<SocketAddr>> {
    if let DeValue::Integer(_) = item.get() {
        let own = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        return port(item, problems).map(own).map(Some);
    }
    let parse = |text: &str| match is_none(text) {
        true => Ok(None),
        false => parse_metrics_listen(text).map(Some),
    };
    parsed(item, r#""address:port", or a port"#, parse, problems)
}

/// The settings of the whole daemon, and where they are written.
pub(super) fn daemon_config(
    table: &DeTable<'_>,
    base: Base<'_>,
    problems: &mut Problems,
) -> (DaemonConfig, Spans) {
    let mut keys = Cursor::new(table, Place::Daemon);
    let control_socket = keys.take("control_socket", problems, |item, problems| {
        path(item, base, problems)
    });
    let metrics_listen = keys.take("metrics_listen", problems, metrics_listen);
    let state_directory = keys.take("state_directory", problems, |item, problems| {
        path(item, base, problems)
    });
    let ready_when = keys.take("ready_when", problems, |item, problems| {
        let words = [
            ("settled", ReadyWhen::Settled),
            ("all", ReadyWhen::All),
            ("any", ReadyWhen::Any),
        ];
        choice(item, &words, problems)
    });
    let start_timeout = keys.take("start_timeout", problems, positive);
    let drain_timeout = keys.take("drain_timeout", problems, duration);
    let watch = keys.take("watch", problems, truth);
    let sandbox = keys.take("sandbox", problems, truth);
    let spans = keys.spans();
    keys.finish(problems);
    let config = DaemonConfig {
        control_socket: value_or(control_socket, || base.origin.control_socket()),
        metrics_listen: metrics_listen.and_then(|v| v.value),
        state_directory: state_directory.map(|v| v.value),
        ready_when: value_or(ready_when, || ReadyWhen::Settled),
        start_timeout: value_or(start_timeout, || Duration::from_secs(30)),
        drain_timeout: value_or(drain_timeout, || Duration::from_secs(10)),
        watch: value_or(watch, || false),
        sandbox: value_or(sandbox, || true),
    };
    (config, spans)
}
