//! `tunneld import` and the file that it is for: what is taken there.

use std::fs;
use std::process::Output;

use crate::import::{taken, tunneld};
use crate::support::{Folder, assert_exit, assert_has, stderr, stdout};

/// What is imported for this file.
fn import(folder: &Folder, file: &str, line: &str) -> Output {
    let mut words = vec!["import", "--config", file, "--"];
    words.extend(line.split(' '));
    tunneld(folder, &words)
}

/// A tunnel `db` that listens on port 1001.
const FILE: &str = "[tunnels.db]\nhost = \"db\"\nuser = \"me\"\nidentity_file = \"{dir}/id\"\n\
                    local_forward = \"127.0.0.1:1001:a:1\"\n";

#[test]
fn what_is_imported_can_be_added_to_a_file_that_has_its_name_and_its_port() {
    // Another name, and not enabled; the comments and the warnings say why.
    let folder = Folder::new();
    let file = folder.write("tunneld.toml", FILE);
    let output = import(&folder, &file, "ssh -i id -N -L 1001:a:1 db");
    let text = taken(&folder, &output);
    let why = [
        format!("not called `db`: {file} has a tunnel of that name\n"),
        format!(
            "not enabled: `db` of {file} listens on 127.0.0.1:1001, which overlaps with \
             localhost:1001\n"
        ),
    ];
    assert_has(&text, &["[tunnels.db-2]\n", "enabled = false\n"]);
    for why in why {
        assert_has(&text, &[&format!("# {why}")]);
        assert_has(&stderr(&output), &[&format!("warning: db-2: {why}")]);
    }
    fs::write(&file, fs::read_to_string(&file).unwrap() + &text).unwrap();
    assert_exit(&tunneld(&folder, &["check", &file]), 0);
    // What was added is there the next time.
    let output = import(&folder, &file, "ssh -i id -N -D 1002 db");
    let text = taken(&folder, &output);
    assert_has(&text, &["[tunnels.db-3]\n"]);
    assert!(!text.contains("enabled = false"), "{text}");
}

#[test]
fn tunnels_of_files_that_it_includes_are_there_too() {
    let folder = Folder::new();
    folder.write("more.toml", FILE);
    let file = folder.write("tunneld.toml", "include = [\"{dir}/more.toml\"]\n");
    let output = import(&folder, &file, "ssh -i id -N -L 1001:a:1 db");
    let text = taken(&folder, &output);
    assert_has(&text, &["[tunnels.db-2]\n", "enabled = false\n"]);
}

#[test]
fn a_file_that_is_not_there_or_has_nothing_is_not_spoken_of() {
    // On a workstation there is none; `> tunneld.toml` makes an empty one before there is anything.
    let folder = Folder::new();
    let empty = folder.write("empty.toml", "");
    let none = folder.at("none.toml").display().to_string();
    for file in [&none, &empty] {
        let output = import(&folder, file, "ssh -i id -N -L 1001:a:1 db");
        assert_has(&taken(&folder, &output), &["[tunnels.db]\n"]);
        assert_eq!(stderr(&output), "", "{file}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_since_nobody_knows_what_is_taken_there() {
    let folder = Folder::new();
    let output = import(&folder, "/", "ssh -i id -N -L 1001:a:1 db");
    assert_has(&taken(&folder, &output), &["[tunnels.db]\n"]);
    let said = "warning: cannot read /: is a directory, so it is not known which names and ports";
    assert_has(&stderr(&output), &[said]);
}

#[test]
fn a_file_that_is_wrong_is_told_since_nobody_knows_what_is_taken_there() {
    // What is imported is printed all the same.
    let folder = Folder::new();
    let file = folder.write("tunneld.toml", &FILE.replace("host", "hosst"));
    let output = import(&folder, &file, "ssh -i id -N -L 1001:a:1 db");
    assert_exit(&output, 0);
    assert_has(&stdout(&output), &["[tunnels.db]\n"]);
    let said = format!("warning: {file}: 1 error, so it is not known which names and ports");
    assert_has(&stderr(&output), &[&said, "`tunneld check`"]);
}
