//! What is shipped in examples/ is right, and the reference knows every key that there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tunneld_core::config::tables;

use crate::support::{Folder, assert_exit, stdout, tunneld};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// The text of an example, with the files of a real machine moved into the folder.
pub(crate) fn moved(text: &str, folder: &Folder) -> String {
    let root = folder.at("root");
    let text = text.replace("\"/etc/", &format!("\"{}/etc/", root.display()));
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        for path in line
            .split('"')
            .filter(|word| word.starts_with(&*root.to_string_lossy()))
        {
            let path = Path::new(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match path.file_name().unwrap().to_string_lossy() {
                name if name.contains("known_hosts") => fs::write(path, "").unwrap(),
                _ => fs::copy(folder.key(), path).map(drop).unwrap(),
            }
        }
    }
    text
}

#[test]
fn every_example_passes_check() {
    // With the keys and known_hosts that it names in place, each file is without errors.
    let folder = Folder::new();
    let mut checked = BTreeSet::new();
    for entry in fs::read_dir(examples()).expect("there is no examples/") {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let file = folder.write(&name, &moved(&fs::read_to_string(path).unwrap(), &folder));
            assert_exit(&tunneld(&["check", &file]), 0);
            checked.insert(name);
        }
    }
    assert!(checked.contains("reference.toml"), "{checked:?}");
    assert!(checked.len() >= 3, "{checked:?}");
}

/// The keys that a text assigns, with those of inline tables.
fn keys(text: &str) -> BTreeSet<String> {
    let assigned = |part: &str| {
        let (key, _) = part.split_once(" = ")?;
        let key = key.trim_start_matches(['{', ' ']).trim();
        let plain = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        (plain && !key.is_empty()).then(|| key.to_owned())
    };
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let parts = lines.flat_map(|line| {
        let inline = line.split_once("= {").map_or("", |(_, inline)| inline);
        std::iter::once(line).chain(inline.split(','))
    });
    let tables = text.lines().filter_map(|line| line.strip_prefix("[["));
    let tables = tables.filter_map(|line| line.trim_end_matches(']').rsplit('.').next());
    parts
        .filter_map(assigned)
        .chain(tables.map(str::to_owned))
        .collect()
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    // The effective configuration prints each key that the parser knows: the reference sets the
    // same ones.
    let folder = Folder::new();
    let text = fs::read_to_string(examples().join("reference.toml")).unwrap();
    let file = folder.write("reference.toml", &moved(&text, &folder));
    let output = tunneld(&["check", "--print", &file]);
    assert_exit(&output, 0);
    let mut printed = keys(&stdout(&output));
    assert!(printed.len() >= 25, "{printed:?}");
    // What is in the files that it names is filled in.
    printed.insert("include".to_owned());
    assert_eq!(keys(&text), printed);
}

#[test]
fn the_reference_has_each_key_of_the_parser() {
    // By the parser's own lists: also keys that the effective configuration does not print.
    let text = fs::read_to_string(examples().join("reference.toml")).unwrap();
    let written = keys(&text);
    let of_tables = ["the file itself", "an included file"];
    for (table, known) in tables().filter(|(table, _)| !of_tables.contains(table)) {
        for key in known {
            // In a comment, where the default is to have no such table.
            let shown = |mark| text.contains(&format!("{mark}{key} = "));
            let known = written.contains(*key) || shown("{ ") || shown(", ");
            assert!(known, "{table}: no {key} in reference.toml");
        }
    }
}
