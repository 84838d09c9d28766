//! Promises that hold for every text.

use proptest::prelude::*;

use super::*;
use crate::config::{effective, load_bytes};

/// Pieces of files: valid, nearly valid, and not.
fn piece() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "host",
        "port",
        "user",
        "identity_file",
        "known_hosts",
        "strict_host_key_checking",
        "host_key_fingerprint",
        "connect_timeout",
        "server_alive_interval",
        "reconnect",
        "reconnect.initial",
        "reconnect.max",
        "enabled",
        "local_forward",
        "name",
        "listen",
        "connect",
        "while_down",
        "wait_timeout",
        "max_connections",
        "control_socket",
        "ready_when",
        "include",
        "remote_forward",
        "password",
        "hsot",
        "\"a b\"",
        "",
    ]);
    let values = prop::sample::select(vec![
        "\"db\"",
        "22",
        "0",
        "-1",
        "1.5",
        "true",
        "false",
        "\"yes\"",
        "\"15s\"",
        "\"\"",
        "\"5432:db:5432\"",
        "\"*:80:[::1]:80\"",
        "[\"1:a:1\", { listen = 80, connect = \"a:1\" }]",
        "{ initial = \"9m\" }",
        "[]",
        "{}",
        "[",
        "{",
        "\"",
        "\"\"\"",
        "''' x",
        "é",
        "2026-01-01",
        "99999999999999999999999999999999999999999999",
        "1e999",
        "nan",
        "[[[]]]",
        "\"~/x\"",
        "[1, [2], {}]",
        "\"\\u0000\"",
    ]);
    let headers = prop::sample::select(vec![
        "[daemon]",
        "[defaults]",
        "[tunnels]",
        "[tunnels.a]",
        "[tunnels.b]",
        "[tunnels.a.reconnect]",
        "[[tunnels.a.local_forward]]",
        "[tunnels.\"a b\"]",
        "[tunnels.é]",
        "[",
        "[[",
        "[tunnels",
        "[x]",
        "# comment",
        "\u{feff}",
        "\r",
        "\0",
        "]",
        "}",
    ]);
    prop_oneof![
        3 => (keys, values).prop_map(|(key, value)| format!("{key} = {value}\n")),
        2 => headers.prop_map(|header| format!("{header}\n")),
        1 => any::<String>(),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat())
}

/// A forward that is valid alone; its port makes it valid among others.
fn forward(port: u16) -> impl Strategy<Value = String> {
    let listen = prop::sample::select(vec!["", "*:", "127.0.0.1:", "[::1]:", "localhost:", ":"]);
    let connect = prop::sample::select(vec!["db:5432", "[2001:db8::1]:80", "10.0.0.1:1"]);
    let more = prop::sample::select(vec![
        "",
        ", while_down = \"refuse\"",
        ", wait_timeout = \"1m 1ms\"",
        ", max_connections = 7",
    ]);
    (listen, connect, more, any::<bool>()).prop_map(move |(listen, connect, more, table)| {
        if table {
            format!("{{ listen = \"{listen}{port}\", connect = \"{connect}\"{more} }}")
        } else {
            format!("\"{listen}{port}:{connect}\"")
        }
    })
}

/// Keys of `[defaults]` and `[tunnels.NAME]` with values that are valid in every combination.
fn settings() -> impl Strategy<Value = String> {
    let pin = "host_key_fingerprint = \"SHA256:uNiVztksCsDhcc0u9e8BrrEYTWAD7Q3F3XcIcYQ1X4U\"";
    prop::sample::subsequence(
        vec![
            "port = 2222",
            "user = \"o'neil\\\\\\\"x\"",
            "identity_file = [\"~/k\", \"k \\\"2\\\"\"]",
            "known_hosts = \"/kh\"",
            "strict_host_key_checking = \"accept-new\"",
            pin,
            "connect_timeout = \"365d\"",
            "server_alive_interval = 0",
            "server_alive_count_max = 1000",
            "stall_timeout = \"1us\"",
            "reconnect.multiplier = 1.1",
            "reconnect.jitter = 1e-9",
            "reconnect.initial = \"1ns\"",
            "reconnect.max = \"1d 1ns\"",
            "enabled = false",
        ],
        0..=15,
    )
    .prop_map(|keys| {
        keys.into_iter()
            .fold(String::new(), |all, key| all + key + "\n")
    })
}

fn valid_file() -> impl Strategy<Value = String> {
    let forwards = |base: u16| (forward(base), forward(base + 1), forward(base + 2));
    let tunnel = |name: &'static str, base: u16| {
        (settings(), forwards(base)).prop_map(move |(settings, (a, b, c))| {
            format!("[tunnels.{name}]\nhost = \"h\"\n{settings}local_forward = [{a}, {b}, {c}]\n")
        })
    };
    (settings(), tunnel("db", 100), tunnel("'a.b'", 200))
        .prop_map(|(defaults, a, b)| format!("[defaults]\n{defaults}{a}{b}"))
}

proptest! {
    #[test]
    fn no_text_panics_and_every_place_is_in_the_text(text in text()) {
        if let Err(problems) = load(&text) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.render(false).starts_with("error: "));
            for item in &problems {
                for span in item.span.iter().chain(item.related.iter().map(|r| &r.span)) {
                    prop_assert!(text.get(span.clone()).is_some(), "{:?} {:?}", span, item);
                }
            }
            let lines = text.split('\n').count();
            for view in problems.to_json_items() {
                prop_assert!(view.line.is_none_or(|line| (1..=lines).contains(&line)));
                prop_assert!(view.column.is_none_or(|column| column >= 1));
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(problems) = load_bytes(&bytes, &origin(), &surroundings()) {
            prop_assert!(problems.render(true).contains("error"));
        }
    }

    #[test]
    fn the_effective_configuration_loads_to_the_same(text in valid_file()) {
        let config = loaded(&text);
        prop_assert_eq!(&loaded(&effective(&config)), &config);
    }

    #[test]
    fn what_loads_at_all_loads_again_from_its_effective_form(text in text()) {
        if let Ok(config) = load(&text) {
            prop_assert_eq!(&loaded(&effective(&config)), &config);
        }
    }
}
