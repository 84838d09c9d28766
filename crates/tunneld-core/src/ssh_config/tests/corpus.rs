//! The promise: for every file of the corpus and every host in it our answer is that of `ssh`,
//! keyword by keyword, and the lines that it refuses are those that we refuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::ssh::{Printed, environment, refused, used};
use super::{paths, shown, value};
use crate::config::{IdentityAgent, StrictHostKeyChecking};
use crate::ssh_config::{Answer, Query, Sources, Way, evaluate};
use crate::text::glob_matches;

/// The corpus in a folder of its own: ssh wants included files that nobody else can write to.
fn corpus() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ssh_config/corpus");
    copy(&from, dir.path(), &dir.path().display().to_string());
    dir
}

fn copy(from: &Path, to: &Path, dir: &str) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to, dir);
        } else {
            let text = fs::read_to_string(entry.path()).unwrap();
            fs::write(&to, text.replace("@DIR@", dir)).unwrap();
        }
    }
}

/// A file with those that it includes.
fn load(path: &Path) -> Sources {
    let text = fs::read_to_string(path).unwrap();
    let mut sources = Sources::new(path, text, environment());
    loop {
        let missing = sources.missing();
        if missing.is_empty() {
            return sources;
        }
        for pattern in missing {
            let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
            let found = files(&pattern).into_iter().map(read).collect();
            sources.add(pattern, Ok(found));
        }
    }
}

/// The files of a pattern, in the order of their names.
fn files(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap().to_str().unwrap();
    let entries = fs::read_dir(pattern.parent().unwrap())
        .into_iter()
        .flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths
        .filter(|path| {
            let found = path.file_name().unwrap().as_encoded_bytes();
            glob_matches(name.as_bytes(), found)
        })
        .collect();
    found.sort();
    found
}

/// What follows `# key: ` in the first lines of a file.
fn header<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let mut lines = text.lines().take_while(|line| line.starts_with('#'));
    lines.find_map(|line| {
        line.strip_prefix("# ")?
            .strip_prefix(key)?
            .strip_prefix(": ")
    })
}

#[test]
fn our_answer_is_that_of_ssh() {
    let dir = corpus();
    let mut compared = 0;
    for path in files(&dir.path().join("good/*")) {
        let sources = load(&path);
        let text = fs::read_to_string(&path).unwrap();
        let user = header(&text, "user");
        for host in header(&text, "hosts").unwrap().split(' ') {
            let query = Query {
                user,
                ..Query::new(host)
            };
            let what = format!("{} for {host}", path.display());
            assert_eq!(shown(&sources, &query), [""; 0], "{what}");
            compare(&path, &query, &evaluate(&sources, &query), &what);
            compared += 1;
        }
    }
    assert!(compared >= 90, "{compared}");
}

#[test]
fn the_lines_that_ssh_refuses_are_those_that_we_refuse() {
    let dir = corpus();
    for path in files(&dir.path().join("bad/*")) {
        let sources = load(&path);
        let name = path.file_name().unwrap().to_str().unwrap();
        let line = |said: &String| match said.split(':').nth(1) {
            Some(line) if line.parse::<usize>().is_ok() => {
                said.split(':').take(2).collect::<Vec<_>>().join(":")
            }
            _ => format!("{name}:{}", said.split(':').next().unwrap()),
        };
        let all = shown(&sources, &Query::new("db"));
        let mut ours: Vec<String> = all.iter().map(line).collect();
        let mut theirs = refused(&path, "db");
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{}: {all:#?}", path.display());
    }
}

fn compare(path: &Path, query: &Query<'_>, answer: &Answer, what: &str) {
    let host = query.host;
    let printed = Printed::of(path, query.user, &[], host);
    let defaults = Printed::of(Path::new("none"), query.user, &[], host);
    for (keyword, ours) in values(answer) {
        let ours = ours.or_else(|| defaults.one(keyword).map(str::to_owned));
        assert_eq!(ours.as_deref(), printed.one(keyword), "{keyword} of {what}");
    }
    let host_name = value(&answer.host_name).unwrap_or_else(|| host.to_lowercase());
    assert_eq!(Some(host_name.as_str()), printed.one("hostname"), "{what}");
    let strict = match printed.one("stricthostkeychecking") {
        Some("accept-new") => StrictHostKeyChecking::AcceptNew,
        Some("true" | "ask") => StrictHostKeyChecking::Yes,
        other => panic!("{other:?} of {what}"),
    };
    let ours = value(&answer.strict_host_key_checking);
    assert_eq!(ours.unwrap_or(StrictHostKeyChecking::Yes), strict, "{what}");
    if let Some(update) = value(&answer.update_host_keys) {
        let theirs = printed.one("updatehostkeys") == Some("true");
        assert_eq!(update, theirs, "{what}");
    }
    if query.user.is_none() {
        let ours = value(&answer.user).or(environment().user);
        assert_eq!(ours.as_deref(), printed.one("user"), "{what}");
    }
    algorithms(answer, &printed, what);
    way(path, query, answer, &printed, what);
    identities(path, query, answer, what);
}

/// Keywords, and what `ssh -G` prints for our values of them.
fn values(answer: &Answer) -> Vec<(&'static str, Option<String>)> {
    let flag = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let seconds = |time: Duration| time.as_secs().to_string();
    let known_hosts = |files| {
        let files: Option<Vec<String>> = paths(&value(files));
        files.map(|files| {
            if files.is_empty() {
                "none".to_owned()
            } else {
                files.join(" ")
            }
        })
    };
    let agent = value(&answer.identity_agent).map(|agent| match agent {
        None => "none".to_owned(),
        Some(IdentityAgent::Socket(path)) => path.display().to_string(),
        Some(IdentityAgent::Variable(name)) if name == "SSH_AUTH_SOCK" => name,
        Some(IdentityAgent::Variable(name)) => format!("${name}"),
    });
    let timeout = value(&answer.connect_timeout).map(seconds);
    vec![
        ("port", value(&answer.port).map(|p| p.to_string())),
        (
            "addressfamily",
            value(&answer.address_family).map(|f| f.as_str().to_owned()),
        ),
        (
            "bindaddress",
            value(&answer.bind_address).map(|a| a.to_string()),
        ),
        ("identitiesonly", value(&answer.identities_only).map(flag)),
        ("identityagent", agent),
        ("userknownhostsfile", known_hosts(&answer.user_known_hosts)),
        (
            "globalknownhostsfile",
            known_hosts(&answer.global_known_hosts),
        ),
        ("hostkeyalias", value(&answer.host_key_alias)),
        (
            "requiredrsasize",
            value(&answer.required_rsa_size).map(|n| n.to_string()),
        ),
        ("connecttimeout", timeout),
        (
            "serveraliveinterval",
            value(&answer.server_alive_interval).map(seconds),
        ),
        (
            "serveralivecountmax",
            value(&answer.server_alive_count_max).map(|n| n.to_string()),
        ),
        ("compression", value(&answer.compression).map(flag)),
    ]
}

/// What we hand on as written means to ssh what the file means to it.
fn algorithms(answer: &Answer, printed: &Printed, what: &str) {
    let rekey = value(&answer.rekey_bytes).map(|bytes| match value(&answer.rekey_time) {
        Some(time) => format!("{bytes} {time}"),
        None => bytes,
    });
    for (keyword, ours) in [
        ("ciphers", value(&answer.ciphers)),
        ("macs", value(&answer.macs)),
        ("kexalgorithms", value(&answer.kex_algorithms)),
        ("hostkeyalgorithms", value(&answer.host_key_algorithms)),
        ("rekeylimit", rekey),
    ] {
        let option = ours.map(|value| format!("-o{keyword}={value}"));
        let options: Vec<&str> = option.iter().map(String::as_str).collect();
        let alone = Printed::of(Path::new("none"), None, &options, "db");
        assert_eq!(
            alone.one(keyword),
            printed.one(keyword),
            "{keyword} of {what}"
        );
    }
}

fn way(path: &Path, query: &Query<'_>, answer: &Answer, printed: &Printed, what: &str) {
    let (jump, command) = match value(&answer.way) {
        None | Some(Way::Direct) => (None, None),
        Some(Way::Jump(hops)) => (Some(hops.join(",")), None),
        Some(Way::Command(command)) => (None, Some(command)),
    };
    assert_eq!(jump.as_deref(), printed.one("proxyjump"), "{what}");
    assert_eq!(
        command.is_some(),
        printed.one("proxycommand").is_some(),
        "{what}"
    );
    if command.is_some() {
        assert_eq!(
            command,
            used(path, query.user, &[], query.host).command,
            "{what}"
        );
    }
}

fn identities(path: &Path, query: &Query<'_>, answer: &Answer, what: &str) {
    let used = used(path, query.user, &["-oProxyCommand=/bin/false"], query.host);
    let certificates = paths(&answer.certificate_file);
    assert_eq!(
        certificates.clone().unwrap_or_default(),
        used.certificate_files,
        "{what}"
    );
    let Some(keys) = paths(&answer.identity_file) else {
        return;
    };
    // Beside each key ssh looks for a certificate, unless one is named.
    let beside = |key: String| match certificates {
        Some(_) => vec![key],
        None => vec![key.clone(), format!("{key}-cert")],
    };
    let keys: Vec<String> = keys.into_iter().flat_map(beside).collect();
    assert_eq!(keys, used.identity_files, "{what}");
}
