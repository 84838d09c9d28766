//! Which part of the program may know which: ARCHITECTURE.md.

use crate::sources;

/// The sources in a part of the program: a folder, or a file.
fn part(of: &str) -> Vec<(String, String)> {
    let start = format!("crates/tunneld/src/{of}");
    let files = sources::files().into_iter();
    let files: Vec<_> = files.filter(|(file, _)| file.contains(&start)).collect();
    assert!(!files.is_empty(), "nothing in {start}");
    files
}

/// The lines of all files in which another part is named.
fn naming(files: Vec<(String, String)>, other: &str) -> Vec<String> {
    let name = format!("crate::{other}");
    let is_name = |line: &str| {
        let mut after = line.split(&name).skip(1);
        after.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let lines = |(file, text): (String, String)| {
        let lines = text.lines().filter(|line| is_name(line));
        lines
            .map(|line| format!("{file}: {line}"))
            .collect::<Vec<_>>()
    };
    files.into_iter().flat_map(lines).collect()
}

#[test]
fn what_is_observed_does_not_know_who_observes() {
    // `observe` reads snapshots; `daemon.rs` starts it, and nobody else knows that it is there.
    let others = sources::files().into_iter().filter(|(file, _)| {
        !file.contains("/src/observe/") && !file.ends_with("tunneld/src/daemon.rs")
    });
    assert_eq!(naming(others.collect(), "observe"), [""; 0]);
    assert!(!naming(part("daemon.rs"), "observe").is_empty());
    for other in ["control", "daemon", "cli"] {
        assert_eq!(naming(part("observe/"), other), [""; 0], "{other}");
    }
}

#[test]
fn the_servers_ground_knows_none_of_them() {
    // `http` is for whoever serves: it has no tunnels, no commands and no pages.
    for other in [
        "control",
        "observe",
        "supervisor",
        "tunnel",
        "daemon",
        "cli",
    ] {
        assert_eq!(naming(part("http/"), other), [""; 0], "{other}");
    }
    // And what commands are carried out by is not their server.
    for commanded in ["supervisor", "tunnel/", "watch"] {
        for server in ["control::server", "control::events", "control::client"] {
            assert_eq!(naming(part(commanded), server), [""; 0], "{commanded}");
        }
    }
}
