//! The promise: a key is written down whole or not at all, whoever else reads, writes or replaces the
//! file at that moment, and the file stays whose it is.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::FlockOperation;
use tunneld_core::failure::Class;

use super::*;

#[test]
fn a_learnt_key_is_found_by_us_and_by_ssh_keygen() {
    let dir = TempDir::new().unwrap();
    let text = new_key(dir.path(), &["-t", "ed25519"]);
    let path = dir.path().join("new");
    for (host, port) in [
        ("DB.example.com", 22),
        ("db.example.com", 2222),
        ("::1", 22),
    ] {
        learn(&path, &KnownAs::host(host, port), &key(&text)).unwrap();
        learn(&path, &KnownAs::host(host, port), &key(&text)).unwrap();
        let known = read(&path).unwrap();
        assert_eq!(known.lookup(&KnownAs::host(host, port)).len(), 1);
        assert_eq!(
            known.lookup(&KnownAs::host(host, port))[0].key(),
            Some(key(&text).key_data())
        );
        assert_eq!(
            found_by_ssh_keygen(&path, KnownAs::host(host, port).name()).len(),
            1
        );
    }
    let expected = format!("db.example.com {text}\n[db.example.com]:2222 {text}\n::1 {text}\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn learning_keeps_the_mode_the_link_and_what_was_there() {
    let dir = TempDir::new().unwrap();
    let text = new_key(dir.path(), &["-t", "ed25519"]);
    let path = file(&dir, "# no newline at the end");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    learn(&link, &name("a"), &key(&text)).unwrap();
    let got = fs::read_to_string(&path).unwrap();
    assert_eq!(got, format!("# no newline at the end\na {text}\n"));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o644
    );
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn many_learning_at_once_lose_nothing_and_double_nothing() {
    let dir = TempDir::new().unwrap();
    let text = new_key(dir.path(), &["-t", "ed25519"]);
    let path = dir.path().join("new");
    let key = key(&text);
    thread::scope(|scope| {
        for worker in 0..8 {
            let (path, key) = (&path, &key);
            scope.spawn(move || {
                for host in 0..10 {
                    learn(path, &name(&format!("own-{worker}-{host}")), key).unwrap();
                    learn(path, &name(&format!("shared-{host}")), key).unwrap();
                }
            });
        }
    });
    let lines = fs::read_to_string(&path).unwrap().lines().count();
    assert_eq!(lines, 8 * 10 + 10);
    let known = read(&path).unwrap();
    for host in 0..10 {
        assert_eq!(known.lookup(&name(&format!("shared-{host}"))).len(), 1);
        assert_eq!(known.lookup(&name(&format!("own-7-{host}"))).len(), 1);
    }
}

#[test]
fn nothing_is_learnt_that_is_revoked_changed_or_not_checkable_later() {
    let dir = TempDir::new().unwrap();
    let one = new_key(dir.path(), &["-t", "ed25519"]);
    let two = new_key(dir.path(), &["-t", "ed25519"]);
    let text = format!("a {one}\n@revoked * {two}\n");
    let path = file(&dir, &text);
    let says = |path: &Path, host: &str, key_text: &str, reason: &str| {
        let error = learn(path, &name(host), &key(key_text)).unwrap_err();
        let expected = format!("cannot add {host} to {}: {reason}", path.display());
        assert_eq!(error.to_string(), expected);
    };
    says(&path, "b", &two, "line 2 revokes the key");
    fs::write(&path, format!("a {one}\n")).unwrap();
    says(&path, "a", &two, "line 1 has another key for it");
    fs::write(&path, "a\n").unwrap();
    says(
        &path,
        "b",
        &one,
        &format!("{}:1: no key after `a`", path.display()),
    );
    says(Path::new("/dev/null"), "b", &one, "not a regular file");
    says(
        &dir.path().join("no/such/directory"),
        "b",
        &one,
        "no such file or directory",
    );
    for host in ["*", "a b", "a,b", "@revoked", "#a", "|1|", "!a", ""] {
        says(
            &path,
            host,
            &one,
            "the host name would not stand for itself there",
        );
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
}

#[test]
fn a_reader_sees_whole_lines_at_any_moment() {
    let dir = TempDir::new().unwrap();
    let text = new_key(dir.path(), &["-t", "ed25519"]);
    let path = file(&dir, "");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for host in 0..200 {
                learn(&path, &name(&format!("h{host}")), &key(&text)).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            let known = read(&path).unwrap();
            for entry in &known.entries {
                assert_eq!(entry.key(), Some(key(&text).key_data()));
            }
        }
    });
    assert_eq!(read(&path).unwrap().entries.len(), 200);
}

#[test]
fn what_a_killed_writer_leaves_is_a_comment_and_does_no_harm() {
    // A line is written with `#` in front, up to any point.
    let dir = TempDir::new().unwrap();
    let text = new_key(dir.path(), &["-t", "ed25519"]);
    let left = format!("#b.example.com {text}\n");
    for end in 1..=left.len() {
        let path = file(&dir, &format!("a {text}\n{}", &left[..end]));
        assert_eq!(read(&path).unwrap().entries.len(), 1);
        learn(&path, &name("db.example.com"), &key(&text)).unwrap();
        let known = read(&path).unwrap();
        assert_eq!(known.entries.len(), 2);
        assert_eq!(known.lookup(&name("db.example.com")).len(), 1);
    }
}

#[test]
fn a_name_that_begins_with_a_long_character_is_written_whole() {
    let dir = TempDir::new().unwrap();
    let text = new_key(dir.path(), &["-t", "ed25519"]);
    let path = dir.path().join("new");
    learn(&path, &name("ünï"), &key(&text)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("ünï {text}\n"));
}

/// How often this process has the file open.
fn opened(path: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let is_it = |entry: io::Result<fs::DirEntry>| {
        let target = entry.and_then(|entry| fs::read_link(entry.path()));
        target.is_ok_and(|target| target == path)
    };
    open.filter_map(|entry| is_it(entry).then_some(())).count()
}

#[test]
fn a_file_that_is_replaced_while_its_lock_is_waited_for_gets_the_line() {
    // As `ssh-keygen -R` does: it renames a new file over the old one.
    let dir = TempDir::new().unwrap();
    let text = new_key(dir.path(), &["-t", "ed25519"]);
    let path = file(&dir, &format!("gone {text}\n"));
    let old = File::open(&path).unwrap();
    rustix::fs::flock(&old, FlockOperation::LockExclusive).unwrap();
    thread::scope(|scope| {
        let learning = scope.spawn(|| learn(&path, &name("b"), &key(&text)));
        let new = dir.path().join("replacement");
        fs::write(&new, format!("a {text}\n")).unwrap();
        while opened(&path) < 2 {
            assert!(!learning.is_finished(), "it has not waited");
            thread::yield_now();
        }
        fs::rename(&new, &path).unwrap();
        drop(old);
        learning.join().unwrap().unwrap();
    });
    let expected = format!("a {text}\nb {text}\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn a_lock_that_is_never_given_up_is_an_error_that_time_may_mend() {
    let dir = TempDir::new().unwrap();
    let text = new_key(dir.path(), &["-t", "ed25519"]);
    let path = file(&dir, "");
    let held = File::open(&path).unwrap();
    rustix::fs::flock(&held, FlockOperation::LockExclusive).unwrap();
    let error = learn(&path, &name("a"), &key(&text)).unwrap_err();
    let expected = format!(
        "cannot add a to {}: somebody else holds its lock, for 5s already",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.into_failure().class, Class::Transient);
}

#[test]
fn what_keeps_a_file_from_being_written_is_said_with_the_way_out() {
    let dir = TempDir::new().unwrap();
    let text = new_key(dir.path(), &["-t", "ed25519"]);
    let path = dir.path().join("no/such/folder");
    let failure = learn(&path, &name("a"), &key(&text))
        .unwrap_err()
        .into_failure();
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::HostKey, Class::Blocked)
    );
    assert_eq!(
        failure.hint.unwrap(),
        "make its folder, for the user that tunneld runs as; or put a file that it can write first \
         in `known_hosts`, as /var/lib/tunneld/known_hosts, which the unit provides for"
    );
}

#[test]
fn further_keys_stand_beside_the_known_one_once_each_and_without_their_comments() {
    let dir = TempDir::new().unwrap();
    let [known, one, two] = [0; 3].map(|_| new_key(dir.path(), &["-t", "ed25519"]));
    let path = file(&dir, &format!("[db]:2222 {known}"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&path).unwrap();
    let host = KnownAs::host("db", 2222);
    let mut keys = [known.as_str(), &one, &two].map(key);
    keys[1].set_comment("a comment");
    let learnt = learn_further(&path, &host, &keys).unwrap();
    assert_eq!(learnt, keys[1..]);
    assert!(learn_further(&path, &host, &keys).unwrap().is_empty());
    let expected = [&known, &one, &two].map(|key| format!("[db]:2222 {key}\n"));
    assert_eq!(fs::read_to_string(&path).unwrap(), expected.concat());
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
}

#[test]
fn further_keys_of_a_hashed_host_do_not_tell_its_name() {
    let dir = TempDir::new().unwrap();
    let [known, further] = [0; 2].map(|_| new_key(dir.path(), &["-t", "ed25519"]));
    let path = file(&dir, &format!("db.example.com {known}\n"));
    let hash = Command::new("ssh-keygen").arg("-Hf").arg(&path).output();
    assert!(hash.unwrap().status.success());
    let host = name("db.example.com");
    assert_eq!(
        learn_further(&path, &host, &[key(&further)]).unwrap().len(),
        1
    );
    assert!(!fs::read_to_string(&path).unwrap().contains("example"));
    assert_eq!(read(&path).unwrap().lookup(&host).len(), 2);
    assert_eq!(found_by_ssh_keygen(&path, "db.example.com").len(), 2);
}

#[test]
fn no_further_key_is_written_that_is_revoked_or_whose_host_is_not_trusted_any_more() {
    let dir = TempDir::new().unwrap();
    let [known, further] = [0; 2].map(|_| new_key(dir.path(), &["-t", "ed25519"]));
    for text in [
        "".to_owned(),
        format!("other {known}\n"),
        format!("@cert-authority a {known}\n"),
        format!("a {known}\n@revoked * {further}\n"),
    ] {
        let path = file(&dir, &text);
        let learnt = learn_further(&path, &name("a"), &[key(&further)]).unwrap();
        assert!(learnt.is_empty());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn whether_a_key_could_be_learnt_is_found_out_without_writing() {
    let dir = TempDir::new().unwrap();
    let one = new_key(dir.path(), &["-t", "ed25519"]);
    let two = new_key(dir.path(), &["-t", "ed25519"]);
    let new = dir.path().join("new");
    could_learn(&new, &name("a"), &key(&one)).unwrap();
    assert!(!new.exists());
    let text = format!("a {one}");
    let path = file(&dir, &text);
    could_learn(&path, &name("a"), &key(&one)).unwrap();
    could_learn(&path, &name("b"), &key(&two)).unwrap();
    // For the same reasons as it is not learnt.
    let folder = dir.path().join("no/such/directory");
    for (path, host) in [
        (path.as_path(), "a"),
        (&path, "b,c"),
        (&folder, "a"),
        (dir.path(), "a"),
        (Path::new("/dev/null"), "a"),
    ] {
        let said = could_learn(path, &name(host), &key(&two)).unwrap_err();
        let learnt = learn(path, &name(host), &key(&two)).unwrap_err();
        assert_eq!(said, learnt);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}
