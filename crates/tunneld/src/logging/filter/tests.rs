//! What a filter lets through, and what it says of one that is wrong.

use std::sync::{Arc, Mutex};

use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// Writes down the tunnel and the level of each line, and how often a value was written out.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Seen {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }
}

/// The lines that come through, of one of each kind.
fn seen(filter: &str) -> Vec<String> {
    let seen = Seen::default();
    let filter: Filter = filter.parse().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(seen.clone());
    tracing::subscriber::with_default(subscriber, || {
        for name in ["db", "a-b.c", "other"] {
            let name: TunnelName = name.parse().unwrap();
            tracing::debug!(tunnel = %name, "{name} debug");
            tracing::info!(tunnel = name.as_str(), "{name} info");
            tracing::warn!(tunnel = %name, "{name} warn");
        }
        tracing::debug!("none debug");
        tracing::info!(forward = "db", "none info");
        tracing::warn!("none warn");
        tracing::error!(target: "russh::client", "of others");
        tracing::error!(target: "tunneldx", "of others");
    });
    let seen = seen.0.lock().unwrap();
    seen.clone()
}

#[test]
fn a_level_for_everything_is_for_every_tunnel_and_for_the_rest() {
    assert_eq!(
        seen("warn"),
        ["db warn", "a-b.c warn", "other warn", "none warn"]
    );
    assert_eq!(seen("debug").len(), 12);
    assert!(seen("error").is_empty());
}

#[test]
fn a_tunnel_with_a_level_of_its_own_has_more_or_fewer_lines_than_the_rest() {
    // Names with `-` and `.`; blanks after a comma; in any order.
    assert_eq!(
        seen("a-b.c=error, info,db=debug"),
        [
            "db debug",
            "db info",
            "db warn",
            "other info",
            "other warn",
            "none info",
            "none warn"
        ]
    );
    // Without a level for the rest it is `info`.
    assert_eq!(seen("db=debug"), seen("info,db=debug"));
}

#[test]
fn a_line_that_is_not_wanted_is_not_written_out() {
    // Nor is any of its values but the name of the tunnel.
    struct Counted(Arc<Mutex<u32>>);
    impl fmt::Display for Counted {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            *self.0.lock().unwrap() += 1;
            Ok(())
        }
    }
    let count = Arc::new(Mutex::new(0));
    let value = || Counted(Arc::clone(&count));
    let filter: Filter = "info,db=debug".parse().unwrap();
    let subscriber = tracing_subscriber::registry().with(filter);
    tracing::subscriber::with_default(subscriber, || {
        tracing::debug!(tunnel = "other", cause = %value(), "{}", value());
        tracing::debug!(cause = %value(), "{}", value());
    });
    assert_eq!(*count.lock().unwrap(), 0);
}

#[test]
fn the_level_of_the_program_is_the_highest_that_is_asked_for() {
    let hint = |text: &str| {
        let filter: Filter = text.parse().unwrap();
        Layer::<tracing_subscriber::Registry>::max_level_hint(&filter)
    };
    assert_eq!(hint("warn"), Some(LevelFilter::WARN));
    assert_eq!(hint("warn,db=debug"), Some(LevelFilter::DEBUG));
    assert_eq!(hint("info,db=warn"), Some(LevelFilter::INFO));
}

#[test]
fn what_is_wrong_is_told_with_what_was_meant() {
    let said = |text: &str| text.parse::<Filter>().unwrap_err();
    for (text, expected) in [
        ("inf", "`inf` is not a level; did you mean `info`?"),
        (
            "trace",
            "`trace` is not a level; there are: error, warn, info, debug; one for the tunnel `trace` is `trace=debug`",
        ),
        ("", "there is no level; as in `info` or `info,NAME=debug`"),
        (
            "info,",
            "there is no level; as in `info` or `info,NAME=debug`",
        ),
        (
            "info,warn",
            "`warn` is a second level for everything; one for a tunnel is NAME=warn",
        ),
        (
            "db=debgu",
            "`db=debgu`: `debgu` is not a level; did you mean `debug`?",
        ),
        (
            "db=",
            "`db=`: `` is not a level; there are: error, warn, info, debug",
        ),
        ("debug=db", "`debug=db`: did you mean `db=debug`?"),
        ("db=info,db=warn", "`db` has two levels"),
        (
            "d b=info",
            "`d b=info`: not a tunnel: a name has only letters, digits, `-`, `_` and `.`, not ' '",
        ),
        ("=info", "`=info`: not a tunnel: a name cannot be empty"),
    ] {
        assert_eq!(said(text), expected);
    }
}
