//! The man pages say what the program does: every key, command, option, exit code and variable.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tunneld_core::config::tables;

use crate::examples::moved;
use crate::manual_page::{Page, repository};
use crate::sources;
use crate::support::{Folder, assert_exit, binary, stdout, tunneld};

fn set<T: Into<String>>(names: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    names.into_iter().map(Into::into).collect()
}

/// Both have the same names.
#[track_caller]
fn assert_same(what: &str, written: &BTreeSet<String>, real: &BTreeSet<String>) {
    let missing: Vec<_> = real.difference(written).collect();
    let wrong: Vec<_> = written.difference(real).collect();
    assert!(missing.is_empty(), "{what}: no entry for {missing:?}");
    assert!(wrong.is_empty(), "{what}: there is no {wrong:?}");
}

/// The keys that tunneld.toml(5) has for a table of the file.
fn described(page: &Page, table: &str) -> BTreeSet<String> {
    let names = |table: &str| set(page.table(table).into_iter().map(|entry| entry.name));
    match (table, table.strip_prefix("a table of ")) {
        // What may stand in [defaults] is described there.
        ("[tunnels.NAME]", _) => &names(table) | &names("[defaults]"),
        (_, Some("proxy_jump")) => {
            let part = page.part(&format!(".\\\" keys: {table}"), &[".\\\" end of keys"]);
            let words = part.words().into_iter().filter(|word| word != ".Ic");
            set(words.filter(|word| word != "."))
        }
        (_, Some(forward)) => {
            let kind = forward.trim_end_matches("_forward");
            let of_kind = |kinds: &str| kinds.split(", ").any(|k| k == kind);
            let entries = page.table("forwards").into_iter();
            set(entries
                .filter(|entry| entry.says("Kinds:").is_some_and(|kinds| of_kind(&kinds)))
                .map(|entry| entry.name))
        }
        _ => names(table),
    }
}

#[test]
fn tunneld_toml_has_every_key_and_no_other() {
    // Each table of the file: the keys that the parser takes are those that the page describes.
    let page = Page::read("tunneld.toml.5");
    let mut tables_seen = 0;
    // An included file has two of the tables, and nothing of its own.
    for (table, keys) in tables().filter(|(table, _)| *table != "an included file") {
        assert_same(table, &described(&page, table), &set(keys.iter().copied()));
        tables_seen += 1;
    }
    assert!(tables_seen >= 10, "{tables_seen}");
}

#[test]
fn each_key_says_its_default_and_what_a_reload_does() {
    // Nobody has to guess: `Default:` and `On reload:` in each entry.
    let page = Page::read("tunneld.toml.5");
    let tables = [
        "the file itself",
        "[daemon]",
        "[tunnels.NAME]",
        "[defaults]",
        "reconnect = { … }",
        "on_up = { … } or on_down = { … }",
        "forwards",
        "probe = { … }",
    ];
    for entry in tables.iter().flat_map(|table| page.table(table)) {
        for what in ["Default", "On reload:"] {
            assert!(entry.says(what).is_some(), "{}: no `{what}`", entry.name);
        }
    }
}

#[test]
fn the_files_in_tunneld_toml_are_right() {
    // What the page shows as a file passes `tunneld check`.
    let page = Page::read("tunneld.toml.5");
    let shown = ["DESCRIPTION", "EXAMPLES"].map(|name| page.section(name).literal_blocks());
    let shown = shown.concat();
    assert!(shown.len() >= 4, "{shown:?}");
    let folder = Folder::new();
    for text in shown {
        let file = folder.write("t.toml", &moved(&text, &folder));
        assert_exit(&tunneld(&["check", &file]), 0);
    }
}

/// The commands that `tunneld --help` lists.
fn commands() -> BTreeSet<String> {
    let help = stdout(&tunneld(&["--help"]));
    let (_, list) = help.split_once("\nCommands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    // A line that goes on is further in.
    let lines = list.lines().filter(|line| !line.starts_with("   "));
    lines.filter_map(name).collect()
}

/// The long options of a command, from its own help.
fn options(command: &str) -> BTreeSet<String> {
    let help = stdout(&tunneld(&[command, "--help"]));
    let lines = help.lines().map(str::trim_start);
    let lines = lines.filter(|line| line.starts_with('-'));
    let long = lines.filter_map(|line| line.split_once("--"));
    let name = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '-');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    let found = long.map(|(_, text)| name(text));
    found.filter(|name| !name.is_empty()).collect()
}

#[test]
fn tunneld_has_every_command_with_its_options() {
    // `tunneld --help` and tunneld(8) list the same commands, each with the same options.
    let page = Page::read("tunneld.8");
    let everywhere = set(["config", "socket", "help"]);
    let entries = page.section("COMMANDS").entries("Cm");
    let written = set(entries.iter().map(|entry| &entry.name));
    assert_same("tunneld(8)", &written, &commands());
    for command in commands() {
        let of = entries.iter().filter(|entry| entry.name == command);
        let written = set(of.flat_map(|entry| entry.options()));
        let written = &written - &everywhere;
        let taken = match command.as_str() {
            "help" => BTreeSet::new(),
            command => &options(command) - &everywhere,
        };
        assert_same(&format!("tunneld {command}"), &written, &taken);
    }
    let general = page.section("DESCRIPTION").entries("Fl");
    let general = set(general.iter().flat_map(|entry| entry.options()));

    assert_eq!(general, &everywhere | &set(["version"]));
}

#[test]
fn tunneld_has_every_exit_code() {
    // Those of the program, those of its help, and those of tunneld(8) are the same.
    let page = Page::read("tunneld.8").section("EXIT STATUS");
    let items = page.words();
    let items = items.iter().zip(items.iter().skip(1));
    let written = set(items
        .filter(|(word, _)| *word == ".It")
        .map(|(_, n)| n.as_str()));
    let number = |text: &str| text.parse::<u8>().is_ok();
    let help = stdout(&tunneld(&["--help"]));
    let (_, help) = help.split_once("Exit codes: ").unwrap();
    let helped = set(help
        .split(';')
        .filter_map(|code| code.split_whitespace().next())
        .filter(|n| number(n)));
    let code = fs::read_to_string(repository().join("crates/tunneld/src/exit.rs")).unwrap();
    let values = code.lines().filter_map(|line| line.split_once(" = "));
    let values = values.map(|(_, value)| value.trim_end_matches(','));
    // 2 is clap's.
    let coded = set(values.filter(|n| number(n)).chain(["2"]));
    assert_eq!(written, helped);
    assert_eq!(written, coded);
}

#[test]
fn tunneld_has_every_variable_of_the_environment() {
    // What the program looks at is in ENVIRONMENT.
    let page = Page::read("tunneld.8");
    let written = set(page.section("ENVIRONMENT").words());
    // A hook for tests, and what the scripts of `completions` pass.
    let others = set(["TUNNELD_INJECT", "_CLAP_COMPLETE_INDEX", "_CLAP_IFS"]);
    let mut read = &sources::variables() - &others;
    // These are in a list, and the library for times looks at the last one.
    read.extend(set(["LC_ALL", "LC_CTYPE", "LANG", "TZ"]));
    assert!(read.contains("TUNNELD_CONFIG"), "{read:?}");
    let missing: Vec<_> = read.difference(&written).collect();
    assert!(missing.is_empty(), "not in ENVIRONMENT: {missing:?}");
}

#[test]
fn what_the_pages_name_in_the_folder_for_documents_is_installed_there() {
    // packaging/install puts it there, and the packages have the same.
    let root = tempfile::tempdir().unwrap();
    let installed = Command::new(repository().join("packaging/install"))
        .arg(root.path())
        .env("TUNNELD_BIN", binary())
        .output()
        .unwrap();
    assert_exit(&installed, 0);
    for page in ["tunneld.8", "tunneld.toml.5"] {
        let text = fs::read_to_string(repository().join("packaging/man").join(page)).unwrap();
        let words = text.split([' ', '\n']);
        let named = words.filter(|word| word.starts_with("/usr/share/doc/tunneld/"));
        for path in named {
            let there = root.path().join(&path[1..]);
            assert!(there.is_file(), "{page}: {path}");
        }
        for relative in [".Pa docs/", ".Pa examples/"] {
            assert!(!text.contains(relative), "{page}: {relative}");
        }
    }
}

#[test]
fn tunneld_toml_has_every_variable_of_a_hook() {
    // What on_up and on_down are told.
    let page = Page::read("tunneld.toml.5");
    let part = page.part(".\\\" hook variables", &[".\\\" end of hook variables"]);
    let words = part.words().into_iter();
    let written = set(words.filter(|word| word.starts_with("TUNNELD_")));
    assert_eq!(written, sources::hook_variables());
}

#[test]
fn tunneld_has_every_route_of_the_control_socket() {
    // Each path that the daemon answers is in CONTROL SOCKET, and no other.
    let page = Page::read("tunneld.8");
    let part = page.part(".\\\" routes", &[".\\\" end of routes"]);
    let commands = set(["/start", "/stop", "/restart", "/history"]);
    let paths = part
        .words()
        .into_iter()
        .filter(|word| word.starts_with('/'));
    let written = &set(paths) - &commands;
    assert_same("CONTROL SOCKET", &written, &sources::routes());
}

#[test]
fn tunneld_has_every_kind_of_error_of_the_control_socket() {
    // What programs go by when a request fails.
    let page = Page::read("tunneld.8");
    let part = page.part(".\\\" kinds", &[".\\\" end of kinds"]);
    let words = part.words().into_iter();
    let written =
        set(words.filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    assert_same("kinds of error", &written, &sources::error_kinds());
}

/// The metrics in the tables of docs/metrics.md, which a test of its own compares with /metrics.
pub(crate) fn metrics() -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    set(names.filter(|name| name.starts_with("tunneld_") || name.starts_with("process_")))
}

#[test]
fn tunneld_has_every_metric() {
    // Those of docs/metrics.md, and no other.
    let page = Page::read("tunneld.8");
    let part = page.part(".\\\" metrics", &[".\\\" end of metrics"]);
    let written = set(part.entries("Li").into_iter().map(|entry| entry.name));
    assert!(metrics().len() > 20);
    assert_eq!(written, metrics());
}
