//! The promise: a known_hosts file means to tunneld what it means to ssh, and where it cannot be
//! understood, that is said with its place. The oracle is the real ssh-keygen.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use tunneld_core::failure::Stage;

mod writing;

/// A public key made by the real ssh-keygen, as `type base64`.
fn new_key(dir: &Path, kind: &[&str]) -> String {
    let path = dir.join(format!("key{}", fs::read_dir(dir).unwrap().count()));
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "", "-f"])
        .arg(&path)
        .args(kind)
        .status()
        .unwrap();
    assert!(made.success());
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    public.trim_end().to_owned()
}

fn key(text: &str) -> russh::keys::PublicKey {
    russh::keys::PublicKey::from_openssh(text).unwrap()
}

fn file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("known_hosts");
    fs::write(&path, text).unwrap();
    path
}

fn read(path: &Path) -> Result<KnownHosts, KnownHostsError> {
    KnownHosts::read(&[path.to_owned()])
}

fn name(host: &str) -> KnownAs {
    KnownAs::host(host, 22)
}

fn lines(entries: &[&Entry]) -> BTreeSet<usize> {
    entries.iter().map(|e| e.line()).collect()
}

/// The lines that `ssh-keygen -F` finds for a name.
fn found_by_ssh_keygen(path: &Path, name: &str) -> BTreeSet<usize> {
    let output = Command::new("ssh-keygen")
        .args(["-F", name, "-f"])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|l| l.starts_with("# Host "))
        .filter_map(|l| l.split(" found: line ").nth(1))
        .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

fn assert_same_as_ssh_keygen(path: &Path, hosts: &[(&str, u16)]) -> usize {
    let known = read(path).unwrap();
    let mut matches = 0;
    for (host, port) in hosts {
        let ours = lines(&known.lookup(&KnownAs::host(host, *port)));
        let theirs = found_by_ssh_keygen(path, KnownAs::host(host, *port).name());
        assert_eq!(
            ours,
            theirs,
            "{host} {port}\n{}",
            fs::read_to_string(path).unwrap()
        );
        matches += ours.len();
    }
    matches
}

const HOSTS: [(&str, u16); 11] = [
    ("db.example.com", 22),
    ("db.example.com", 2222),
    ("web.example.com", 22),
    ("example.com", 22),
    ("db1.example.com", 22),
    ("10.0.0.5", 22),
    ("10.0.0.55", 22),
    ("::1", 22),
    ("::1", 2222),
    ("2001:db8::5", 22),
    ("a", 22),
];

#[test]
fn the_same_lines_match_as_for_ssh_keygen() {
    let dir = TempDir::new().unwrap();
    let key = new_key(dir.path(), &["-t", "ed25519"]);
    let patterns = [
        "db.example.com",
        "DB.Example.COM",
        "*.example.com",
        "*.example.com,!db.example.com",
        "!db.example.com,*.example.com",
        "!*",
        "!db.example.com",
        "*",
        "??.example.com",
        "db?.example.com",
        "[db.example.com]:2222",
        "[db.example.com]:22",
        "[*]:2222",
        "[*.EXAMPLE.com]:*",
        "db.example.com:2222",
        "10.0.0.5",
        "10.0.0.*",
        "10.0.0.5,db.example.com",
        "::1",
        "[::1]:2222",
        "2001:DB8::5",
        "other,",
        ",a",
        "a,,b",
        "db.example.com,!db.example.com",
        "*a*",
        "d*b*.*m",
    ];
    let mut text = String::from("# a comment\n\n \t# another\n");
    for (index, pattern) in patterns.iter().enumerate() {
        let (before, between, end) = match index % 4 {
            0 => ("", " ", "\n"),
            1 => ("\t ", "\t", "\n"),
            2 => ("", "  \t ", " a comment # here\n"),
            _ => ("  ", " ", "\n\n"),
        };
        let key = key.replace(' ', between);
        text += &format!("{before}{pattern}{between}{key}{end}");
    }
    text += &format!("@revoked * {key}\n@cert-authority *.example.com\t{key}\n");
    let path = file(&dir, &text);
    let matches = assert_same_as_ssh_keygen(&path, &HOSTS);
    assert!(matches > 50, "{matches}");
}

#[test]
fn random_patterns_match_as_for_ssh_keygen() {
    let dir = TempDir::new().unwrap();
    let key = new_key(dir.path(), &["-t", "ed25519"]);
    let mut state: u32 = 1;
    let mut next = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % n
    };
    let mut text = String::new();
    for _ in 0..600 {
        let len = 1 + next(7);
        let mut pattern: String = (0..len)
            .map(|_| char::from(b"ab*?.,!A[]:2"[next(12) as usize]))
            .collect();
        if pattern.starts_with('*') && next(2) == 0 {
            pattern.insert(0, '!');
        }
        text += &format!("{pattern} {key}\n");
    }
    let path = file(&dir, &text);
    let hosts = [
        ("a", 22),
        ("ab", 22),
        ("a.b", 22),
        ("a", 2),
        ("b.a", 22),
        ("aab", 22),
    ];
    let matches = assert_same_as_ssh_keygen(&path, &hosts);
    assert!(matches > 100, "{matches}");
}

#[test]
fn a_file_hashed_by_ssh_keygen_matches_the_same_hosts() {
    let dir = TempDir::new().unwrap();
    let one = new_key(dir.path(), &["-t", "ed25519"]);
    let two = new_key(dir.path(), &["-t", "ecdsa"]);
    let path = file(
        &dir,
        &format!(
            "DB.example.com,10.0.0.5 {one}\n[db.example.com]:2222 {one}\ndb.example.com {two}\n\
             *.example.com {one}\n@revoked db.example.com {two}\n::1 {one}\n"
        ),
    );
    let hashed = Command::new("ssh-keygen")
        .args(["-H", "-f"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(hashed.status.success());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.matches("|1|").count() >= 5, "{text}");
    assert_same_as_ssh_keygen(&path, &HOSTS);
    let known = read(&path).unwrap();
    let db: Vec<_> = known.lookup(&name("db.EXAMPLE.com"));
    assert_eq!(db.iter().filter(|e| e.marker().is_none()).count(), 3);
    assert!(known.lookup(&name("db.example.org")).is_empty());
}

#[test]
fn crlf_and_a_missing_last_newline_change_nothing() {
    let dir = TempDir::new().unwrap();
    let one = new_key(dir.path(), &["-t", "ed25519"]);
    let path = file(&dir, &format!("# c\r\n\r\na\t{one}\r\nb  {one} comment"));
    let known = read(&path).unwrap();
    assert_eq!(lines(&known.lookup(&name("a"))), [3].into());
    assert_eq!(lines(&known.lookup(&name("b"))), [4].into());
    assert_eq!(
        known.lookup(&name("a"))[0].key(),
        Some(key(&one).key_data())
    );
    assert_eq!(
        known.lookup(&name("a"))[0].place(),
        format!("{}:3", path.display())
    );
}

#[test]
fn a_tab_after_a_marker_does_not_lose_the_line_as_it_does_for_ssh() {
    let dir = TempDir::new().unwrap();
    let one = new_key(dir.path(), &["-t", "ed25519"]);
    let path = file(&dir, &format!("@revoked\ta {one}\n"));
    let known = read(&path).unwrap();
    assert_eq!(known.lookup(&name("a"))[0].marker(), Some(Marker::Revoked));
}

#[test]
fn a_missing_file_is_empty_and_remembered() {
    let dir = TempDir::new().unwrap();
    let there = file(&dir, "");
    let missing = dir.path().join("missing");
    let known = KnownHosts::read(&[missing.clone(), there.clone()]).unwrap();
    let looked = |path, found| LookedAt { path, found };
    assert_eq!(known.files(), [looked(missing, false), looked(there, true)]);
    assert!(known.lookup(&name("a")).is_empty());
}

#[test]
fn a_broken_line_is_an_error_that_names_it() {
    let dir = TempDir::new().unwrap();
    let good = new_key(dir.path(), &["-t", "ed25519"]);
    let blob = good.split(' ').nth(1).unwrap();
    let short = &blob[..blob.len() - 8];
    for (line, problem) in [
        ("a".to_owned(), "no key after `a`".to_owned()),
        (
            "a ssh-ed25519".to_owned(),
            "no key after `ssh-ed25519`".to_owned(),
        ),
        ("a # ssh-ed25519".to_owned(), "no key after `a`".to_owned()),
        (
            format!("a ssh-ed25519 {short}"),
            format!("bad ssh-ed25519 key `{}…`", &short[..40]),
        ),
        (
            "a ssh-ed25519 AAAA!".to_owned(),
            "bad ssh-ed25519 key `AAAA!`".to_owned(),
        ),
        (
            "a ssh-new AAAA!".to_owned(),
            "bad ssh-new key `AAAA!`".to_owned(),
        ),
        (
            format!("a ssh-rsa {blob}"),
            "the line says `ssh-rsa`, its key is `ssh-ed25519`".to_owned(),
        ),
        (
            format!("@revoke a {good}"),
            "unknown marker `@revoke`".to_owned(),
        ),
        (
            format!("@REVOKED a {good}"),
            "unknown marker `@REVOKED`".to_owned(),
        ),
        (
            format!("@revoked @cert-authority a {good}"),
            "a line has one marker at most".to_owned(),
        ),
        ("@revoked".to_owned(), "no host after `@revoked`".to_owned()),
        (
            format!("|1|x|y {good}"),
            "bad hashed host `|1|x|y`".to_owned(),
        ),
        (
            format!("{} {good}", "x".repeat(1023)),
            "a host pattern has over 1022 bytes".to_owned(),
        ),
        (good.clone(), format!("bad {}… key ``", &blob[..40])),
    ] {
        let path = file(&dir, &format!("# first\nb {good}\n{line}\nc {good}\n"));
        let error = read(&path).unwrap_err();
        let expected = format!("{}:3: {problem}", path.display());
        if line == good {
            // A line without a host: the key is taken for a type.
            assert!(
                error.to_string().contains(":3: no key after `AAAA"),
                "{error}"
            );
        } else {
            assert_eq!(error.to_string(), expected);
        }
        let failure = error.into_failure();
        assert_eq!(failure.stage, Stage::HostKey);
        assert_eq!(failure.class, tunneld_core::failure::Class::Blocked);
        assert!(
            failure
                .hint
                .unwrap()
                .starts_with("mend the line or remove it")
        );
    }
}

#[test]
fn a_key_of_an_unknown_type_is_no_error_and_matches_no_server() {
    let dir = TempDir::new().unwrap();
    let blob = |kind: &str| {
        use base64::Engine as _;
        let mut bytes = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(kind.bytes());
        bytes.extend([0, 0, 0, 1, 7]);
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let kinds = ["ssh-dss", "sk-new@openssh.com", "ssh-mldsa-65", "x@y"];
    let mut text: String = kinds
        .iter()
        .map(|kind| format!("a {kind} {}\n", blob(kind)))
        .collect();
    text += "a 1024 35 1234567890 protocol 1\n";
    let known = read(&file(&dir, &text)).unwrap();
    let entries = known.lookup(&name("a"));
    assert_eq!(entries.len(), 5);
    assert!(entries.iter().all(|e| e.key().is_none()));
    assert_eq!(entries[0].type_name(), "ssh-dss");
    assert!(known.known_algorithms(&name("a")).is_empty());
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_an_empty_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("known_hosts");
    let shown = path.display();

    let says = |expected: &str| {
        let error = read(&path).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(
            error.into_failure().class,
            tunneld_core::failure::Class::Blocked
        );
    };
    fs::write(&path, b"# ok\n# fine\n# \xff\n").unwrap();
    says(&format!("{shown}:3: not UTF-8 text"));
    fs::File::create(&path)
        .unwrap()
        .set_len(MAX_FILE_LEN + 1)
        .unwrap();
    says(&format!("{shown} has more than 8 MiB"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    says(&format!("cannot read {shown}: is a directory"));
    fs::remove_dir(&path).unwrap();
    symlink(&path, &path).unwrap();
    says(&format!(
        "cannot read {shown}: too many levels of symbolic links"
    ));
    fs::remove_file(&path).unwrap();
    let fifo = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(fifo.success());
    says(&format!("cannot read {shown}: not a regular file"));
}

#[test]
fn a_shortage_is_passing_and_a_refusal_is_not() {
    let error =
        |code| KnownHostsError::unreadable(Path::new("f"), &io::Error::from_raw_os_error(code));
    let too_many = error(rustix::io::Errno::MFILE.raw_os_error());
    assert_eq!(too_many.to_string(), "cannot read f: too many open files");
    assert_eq!(
        too_many.into_failure().class,
        tunneld_core::failure::Class::Transient
    );
    let denied = error(rustix::io::Errno::ACCESS.raw_os_error());
    assert_eq!(denied.to_string(), "cannot read f: permission denied");
    let denied = denied.into_failure();
    assert_eq!(denied.class, tunneld_core::failure::Class::Blocked);
    let hint = "the user that tunneld runs as must be able to read it";
    assert_eq!(denied.hint.unwrap(), hint);
}

#[test]
fn the_known_types_are_told_once_each_without_revoked_keys_and_authorities() {
    let dir = TempDir::new().unwrap();
    let ed = new_key(dir.path(), &["-t", "ed25519"]);
    let ed2 = new_key(dir.path(), &["-t", "ed25519"]);
    let ec = new_key(dir.path(), &["-t", "ecdsa", "-b", "384"]);
    let rsa = new_key(dir.path(), &["-t", "rsa", "-b", "1024"]);
    let path = file(
        &dir,
        &format!(
            "a {ec}\na {ed}\na*,!b {ed2}\n@cert-authority a {rsa}\n@revoked a {ec}\nb {rsa}\n"
        ),
    );
    let known = read(&path).unwrap();
    assert_eq!(known.known_algorithms(&name("a")), [Algorithm::Ed25519]);
    assert_eq!(
        known.known_algorithms(&name("b")),
        [Algorithm::Rsa { hash: None }]
    );
    // The bare name stands in where nothing is known at the port.
    assert_eq!(
        known.known_algorithms(&KnownAs::host("b", 2222)),
        [Algorithm::Rsa { hash: None }]
    );
    assert_eq!(
        known.known_algorithms(&KnownAs::host("a", 2222)),
        [Algorithm::Ed25519]
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(?s).{0,300}") {
        let _ = parse(Path::new("f"), &text);
    }

    #[test]
    fn no_line_of_likely_pieces_makes_it_panic_or_be_passed_over(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "@revoked", "@cert-authority", "@x", "a", "*", "!a,*", "|1|AAAA|AAAA", "|1|", "#",
                "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "x@y",
                "AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE",
                "AAAAB3NzaC1yc2EAAAADAQABAAAAAQA=", "AAAA", "////", "=", " ", "\t", "\r", "\u{0}", "é",
            ]),
            0..8,
        ),
        glue in prop::sample::select(vec![" ", "\t", ""]),
    ) {
        let text = pieces.join(glue);
        if let Ok(entries) = parse(Path::new("f"), &text) {
            let said = text.trim_matches([' ', '\t', '\r']);
            prop_assert_eq!(entries.len(), usize::from(!said.is_empty() && !said.starts_with('#')));
            for entry in &entries {
                entry.hosts.matches("a");
                let _ = (entry.fingerprint(), entry.type_name());
            }
        }
    }
}
