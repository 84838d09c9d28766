//! The defaults in tunneld.toml(5) are those of the program.

use std::collections::BTreeMap;

use crate::manual_page::Page;
use crate::support::{Folder, assert_exit, stdout, tunneld};

/// Keys whose default is a rule, which the page has in words: no list, nobody left out, as many as
/// another key, made from the place, those of the machine.
const RULES: [&str; 5] = [
    "allow",
    "max_sessions",
    "name",
    "known_hosts",
    "host_key_fingerprint",
];

/// The defaults of a printed file, as the page writes them.
fn defaults(printed: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let marked = printed
        .lines()
        .filter_map(|line| line.strip_suffix("  # default"));
    for line in marked {
        let inner = line
            .strip_suffix(" }")
            .and_then(|line| line.split_once(" = { "));
        let parts = inner.map_or(vec![line], |(_, parts)| parts.split(", ").collect());
        for (key, value) in parts.iter().filter_map(|part| part.split_once(" = ")) {
            found.insert(key.to_owned(), written(value));
        }
    }
    found
}

fn written(value: &str) -> String {
    match value.trim_matches('"') {
        "[]" => "none".to_owned(),
        "0s" => "0".to_owned(),
        "7days" => "7d".to_owned(),
        value => value.to_owned(),
    }
}

#[test]
fn each_default_is_the_one_that_is_printed() {
    // `tunneld check --print` of a file that says next to nothing, key by key.
    let folder = Folder::new();
    let text = format!(
        "[tunnels.t]\nhost = 'h'\nuser = 'u'\nidentity_file = {:?}\n\
         [[tunnels.t.local_forward]]\nlisten = 1\nconnect = 'a:1'\n\
         [[tunnels.t.dynamic_forward]]\nlisten = '/s'\n",
        folder.key()
    );
    let file = folder.write("t.toml", &text);
    let output = tunneld(&["check", "--print", &file]);
    assert_exit(&output, 0);
    let page = Page::read("tunneld.toml.5");
    let tables = ["[daemon]", "[defaults]", "reconnect = { … }", "forwards"];
    let entries: Vec<_> = tables.iter().flat_map(|table| page.table(table)).collect();
    let mut compared = 0;
    for (key, value) in defaults(&stdout(&output)) {
        if RULES.contains(&key.as_str()) {
            continue;
        }
        let entry = entries.iter().find(|entry| entry.name == key);
        let entry = entry.unwrap_or_else(|| panic!("no entry for {key}"));
        let said = entry.says("Default:").unwrap_or_default();
        let said = said.trim_start_matches('"');
        let rest = said.strip_prefix(value.as_str());
        let whole = rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
        assert!(whole, "{key}: {value:?} is printed, the page has {said:?}");
        compared += 1;
    }
    assert!(compared > 35, "only {compared}");
}
