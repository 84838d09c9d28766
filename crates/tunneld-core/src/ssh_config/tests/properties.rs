//! Promises that hold for every text.

use proptest::prelude::*;

use super::*;

/// Lines: valid, nearly valid, and not.
fn line() -> impl Strategy<Value = String> {
    let keywords = prop::sample::select(vec![
        "Host",
        "match",
        "Include",
        "HostName",
        "Port",
        "User",
        "IdentityFile",
        "CertificateFile",
        "IdentityAgent",
        "IdentitiesOnly",
        "ProxyJump",
        "ProxyCommand",
        "UserKnownHostsFile",
        "GlobalKnownHostsFile",
        "HostKeyAlias",
        "StrictHostKeyChecking",
        "UpdateHostKeys",
        "ServerAliveInterval",
        "ConnectTimeout",
        "Ciphers",
        "Compression",
        "RekeyLimit",
        "BindAddress",
        "AddressFamily",
        "IgnoreUnknown",
        "PreferredAuthentications",
        "CheckHostIP",
        "SendEnv",
        "Nonsense",
        "",
    ]);
    let values = prop::sample::select(vec![
        "db",
        "*",
        "!db",
        "host db",
        "final all",
        "exec true",
        "a b",
        "22",
        "0",
        "-1",
        "yes",
        "no",
        "none",
        "1h30m",
        "~/a",
        "/a/%h-%r",
        "%",
        "%%",
        "%z",
        "${LAB}/x",
        "${",
        "\"",
        "'a b'",
        "\"a b\" c",
        "a\\ b",
        "# c",
        "=",
        "==x",
        "1G 1h",
        "::1",
        "me@b:22,c",
        "",
        "é",
        "\u{fffd}",
        "\0",
    ]);
    let between = prop::sample::select(vec![" ", "=", " = ", "\t", ""]);
    let ends = prop::sample::select(vec!["\n", "\r\n", "", " # x\n", "\u{c}\n"]);
    prop_oneof![
        8 => (keywords, between, values, ends).prop_map(|(k, b, v, e)| format!("{k}{b}{v}{e}")),
        1 => any::<String>(),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(line(), 0..12).prop_map(|lines| lines.concat())
}

/// Whatever a file asks for is in another one.
fn loaded(text: &str, other: &str) -> Sources {
    let mut sources = sources(text);
    for _ in 0..3 {
        for pattern in sources.missing() {
            sources.add(pattern.clone(), Ok(vec![(pattern, other.to_owned())]));
        }
    }
    sources
}

proptest! {
    #[test]
    fn no_text_panics_and_every_place_is_in_its_file(text in text(), other in text()) {
        let sources = loaded(&text, &other);
        let answer = evaluate(&sources, &Query::new("db"));
        let files: Vec<_> = sources.files().map(|(_, text)| text).collect();
        for problem in sources.problems().iter().chain(&answer.problems) {
            prop_assert!(!problem.message.is_empty());
            prop_assert!(!problem.message.chars().any(char::is_control), "{:?}", problem);
            let place = files[problem.file].get(problem.start..problem.end);
            prop_assert!(place.is_some(), "{:?}", problem);
        }
        if let Some(port) = answer.port {
            let lines = files[port.place.file].split('\n').count();
            prop_assert!((1..=lines).contains(&port.place.line));
            let written = &files[port.place.file][port.place.span];
            prop_assert!(written.contains(&port.value.to_string()), "{}", written);
        }
    }

    /// A file that comes after another one changes nothing that the other one has said.
    #[test]
    fn the_first_value_wins(first in text(), second in text()) {
        let first = format!("{first}\n");
        let alone = evaluate(&sources(&first), &Query::new("db"));
        let both = evaluate(&sources(&format!("{first}Host *\n{second}")), &Query::new("db"));
        let last_pass = |text: &str| text.contains("final");
        if !last_pass(&second) && !last_pass(&first) {
            prop_assert!(alone.port.is_none() || alone.port == both.port);
            prop_assert!(alone.identities_only.is_none() || alone.identities_only == both.identities_only);
            prop_assert!(alone.user_known_hosts.is_none() || both.user_known_hosts.is_some());
        }
    }
}
