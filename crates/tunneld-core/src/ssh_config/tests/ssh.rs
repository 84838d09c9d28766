//! What ssh itself says: `ssh -G` prints the values of a host, `ssh -v` what it makes of tokens that
//! it expands only when it connects.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::ssh_config::Environment;

/// The variables that the corpus uses.
const VARIABLES: [(&str, &str); 2] = [("LAB", "/tmp/lab one"), ("LAB_2", "/tmp/lab-2")];

/// The environment that ssh is run in. It takes the user and the home directory from the list of
/// users, not from variables.
pub(super) fn environment() -> Environment {
    let me = |option| {
        let out = Command::new("id").arg(option).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    let user = me("-un");
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let entry = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&me("-u")));
    let home = entry.unwrap().split(':').nth(5).unwrap();
    let variables = VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Environment {
        user: Some(user),
        home: Some(home.into()),
        variables: variables.into(),
    }
}

/// Runs ssh with a file.
fn run(file: &Path, user: Option<&str>, options: &[&str], host: &str) -> Output {
    let mut command = Command::new("ssh");
    command.arg("-F").arg(file).args(options);
    if let Some(user) = user {
        command.args(["-l", user]);
    }
    command.arg("--").arg(host);
    command.envs(VARIABLES).env_remove("SSH_AUTH_SOCK");
    command.stdin(Stdio::null()).output().unwrap()
}

/// What `ssh -G` prints: the values of each keyword, in small letters.
#[derive(Debug)]
pub(super) struct Printed(BTreeMap<String, Vec<String>>);

impl Printed {
    pub(super) fn of(file: &Path, user: Option<&str>, options: &[&str], host: &str) -> Self {
        let options = [&["-G"], options].concat();
        let out = run(file, user, &options, host);
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{}: {stderr}", file.display());
        let stdout = String::from_utf8(out.stdout).unwrap();
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in stdout.lines() {
            let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
            all.entry(keyword.to_owned())
                .or_default()
                .push(value.to_owned());
        }
        Printed(all)
    }

    /// The only value of a keyword.
    pub(super) fn one(&self, keyword: &str) -> Option<&str> {
        let all = self.0.get(keyword)?;
        assert_eq!(all.len(), 1, "{keyword}");
        all.first().map(String::as_str)
    }
}

/// The lines that ssh refuses, as `FILE:LINE`; none where it takes the file.
pub(super) fn refused(file: &Path, host: &str) -> Vec<String> {
    let out = run(file, None, &["-G"], host);
    let stderr = String::from_utf8(out.stderr).unwrap();
    let mut lines: Vec<String> = stderr.lines().filter_map(refused_line).collect();
    assert_eq!(lines.is_empty(), out.status.success(), "{stderr}");
    lines.dedup();
    lines
}

/// `FILE line 3: …` or `FILE: line 3: …`.
fn refused_line(said: &str) -> Option<String> {
    let (file, rest) = said.split_once(" line ")?;
    let (line, _) = rest.split_once(':')?;
    line.parse::<usize>().ok()?;
    let file = Path::new(file.trim_end_matches(':'));
    Some(format!("{}:{line}", file.file_name()?.to_string_lossy()))
}

/// What ssh is about to use when it connects.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// The keys, with the certificates that it looks for beside each of them.
    pub(super) identity_files: Vec<String>,
    pub(super) certificate_files: Vec<String>,
    /// The command, where it is one.
    pub(super) command: Option<String>,
}

/// What ssh uses for a host whose `ProxyCommand` ends at once.
pub(super) fn used(file: &Path, user: Option<&str>, options: &[&str], host: &str) -> Used {
    let options = [&["-v"], options].concat();
    let out = run(file, user, &options, host);
    let stderr = String::from_utf8(out.stderr).unwrap();
    let mut used = Used::default();
    for line in stderr.lines().filter_map(|l| l.strip_prefix("debug1: ")) {
        let path = |rest: &str| rest.rsplit_once(" type ").unwrap().0.to_owned();
        if let Some(rest) = line.strip_prefix("identity file ") {
            used.identity_files.push(path(rest));
        } else if let Some(rest) = line.strip_prefix("certificate file ") {
            used.certificate_files.push(path(rest));
        } else if let Some(rest) = line.strip_prefix("Executing proxy command: exec ") {
            used.command = Some(rest.to_owned());
        }
    }
    assert!(used.command.is_some(), "{stderr}");
    used
}
