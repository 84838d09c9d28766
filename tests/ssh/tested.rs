//! Running `tunneld test`, and reading what it says.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{prefixed, printed};

use crate::table::Table;

/// A file with the tunnel `t`, and a control socket that a daemon of ours has left behind: nobody
/// answers on it.
pub(crate) struct File {
    pub(crate) dir: TempDir,
    pub(crate) socket: PathBuf,
}

impl File {
    pub(crate) fn new(table: &Table) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("nobody.sock");
        drop(UnixListener::bind(&socket).unwrap());
        let daemon = format!("[daemon]\ncontrol_socket = {socket:?}\n");
        fs::write(dir.path().join("t.toml"), table.toml() + &daemon).unwrap();
        File { dir, socket }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("t.toml")
    }

    pub(crate) fn command(&self, prefix: &[String], words: &[&str]) -> Command {
        command(prefix, &self.path(), words)
    }
}

/// `tunneld test t` with this file.
pub(crate) fn command(prefix: &[String], config: &Path, words: &[&str]) -> Command {
    let binary = Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld"));
    let mut command = prefixed(prefix, binary.as_os_str());
    command
        .args(["test", "t", "--config"])
        .arg(config)
        .args(words)
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/nonexistent")
        .env_remove("TUNNELD_SOCKET")
        .stdin(Stdio::null());
    command
}

/// `tunneld test t`, which ends with this code and says nothing on stderr.
#[track_caller]
pub(crate) fn tested(table: &Table, code: i32) -> String {
    let output = File::new(table).command(&[], &[]).output().unwrap();
    said(&output, code)
}

#[track_caller]
pub(crate) fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", printed(output));
    assert!(output.stderr.is_empty(), "{}", printed(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// `tunneld test t --json`, which ends with this code.
#[track_caller]
pub(crate) fn json(table: &Table, code: i32) -> Value {
    let output = File::new(table).command(&[], &["--json"]).output().unwrap();
    serde_json::from_str(&said(&output, code)).unwrap()
}

/// The lines that begin with a mark, without it and with single blanks.
pub(crate) fn marked(text: &str, mark: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = text.lines().map(str::trim_start);
    lines
        .filter_map(|line| line.strip_prefix(mark))
        .map(words)
        .collect()
}

/// The line that is marked and begins so.
#[track_caller]
pub(crate) fn line(text: &str, mark: &str, begins: &str) -> String {
    let lines = marked(text, mark);
    let found = lines.iter().find(|line| line.starts_with(begins));
    found
        .unwrap_or_else(|| panic!("no {mark} {begins} in\n{text}"))
        .clone()
}

/// A failure ends the way: the last line with a mark is the failed step, its fix follows, and no
/// forward is spoken of. Returns the cause and the fix.
#[track_caller]
pub(crate) fn ends_with(text: &str, step: &str) -> (String, String) {
    let failed = line(text, "✗", step);
    let lines: Vec<_> = text.lines().collect();
    let at = lines.iter().position(|l| l.contains('✗')).unwrap();
    let rest = lines[at + 1..].join("\n");
    assert!(!rest.contains('✓') && !text.contains("forwards"), "{text}");
    assert!(text.ends_with("t: 1 problem\n"), "{text}");
    let fix = rest
        .lines()
        .find_map(|l| l.trim_start().strip_prefix("fix: "));
    (failed, fix.unwrap_or_default().to_owned())
}

pub(crate) fn names<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let list = list.as_array().unwrap().iter();
    list.map(|item| item[key].as_str().unwrap()).collect()
}
