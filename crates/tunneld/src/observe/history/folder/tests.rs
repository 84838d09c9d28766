use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::history::Span;
use tunneld_core::ledger::Ledger;
use tunneld_core::status::Phase;

use super::super::disk::{Disk, Work};
use super::*;

const START: u64 = 1_763_748_000_000;

fn at(seconds: u64) -> Moment {
    Moment {
        unix_ms: START + seconds * 1000,
        since_start: Duration::from_secs(seconds),
    }
}

fn name(name: &str) -> TunnelName {
    name.parse().unwrap()
}

fn open(dir: &TempDir, run: &str) -> Folder {
    let names = BTreeSet::from([name("db")]);
    Folder::open(dir.path(), run.to_owned(), &names).unwrap()
}

/// Up since the first second.
fn up() -> Ledger {
    let mut ledger = Ledger::new(at(0));
    ledger.enter(at(0), Phase::Up, None);
    ledger
}

fn found(folder: &Folder) -> Record {
    match folder.read(&name("db")) {
        Found::Record(record) => *record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_daemon_that_was_killed_was_alive_until_its_last_sign_of_life() {
    let dir = tempfile::tempdir().unwrap();
    let folder = open(&dir, "1");
    folder
        .write(&name("db"), at(10), &up().record(at(10)))
        .unwrap();
    folder.write_alive(at(70)).unwrap();
    assert_eq!(found(&folder).entries(), 1, "this run has not ended");
    let record = found(&open(&dir, "2"));
    assert_eq!(record.at_unix_ms(), at(70).unix_ms);
    let report = record.report(name("db"));
    let phases: Vec<Phase> = report.entries.iter().map(|e| e.phase).collect();
    assert_eq!(phases, [Phase::Up, Phase::Idle]);
    assert_eq!(report.entries[0].lasted_ms, 70_000);
    let all = report.availability.iter().find(|w| w.window == Span::All);
    assert_eq!(all.unwrap().tally.up_ms, 70_000);
    // A sign of life of another daemon says nothing.
    open(&dir, "3").write_alive(at(500)).unwrap();
    assert_eq!(found(&open(&dir, "4")).at_unix_ms(), at(10).unix_ms);
}

#[test]
fn nobody_else_can_read_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("new/state");
    let folder = Folder::open(&state, "1".to_owned(), &BTreeSet::new()).unwrap();
    folder
        .write(&name("db"), at(1), &up().record(at(1)))
        .unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(folder.path()), 0o700);
    assert_eq!(mode(&folder.path().join("db.json")), 0o600);
}

#[test]
fn what_is_not_a_history_is_refused_with_its_reason_and_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let folder = open(&dir, "1");
    let db = folder.path().join("db.json");
    let good = folder
        .page(&name("db"), at(1), &up().record(at(1)))
        .unwrap();
    let good = String::from_utf8(good).unwrap();
    let garbage: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let huge = good.clone() + &" ".repeat(1 << 20);
    let written = |bytes: &[u8]| fs::write(&db, bytes).unwrap();
    let cases: [(&str, &dyn Fn()); 10] = [
        ("expected value", &|| written(&garbage)),
        ("EOF while parsing", &|| {
            written(&good.as_bytes()[..good.len() / 2])
        }),
        ("longer than 1 MiB", &|| written(huge.as_bytes())),
        ("of version 7", &|| {
            written(br#"{"version": 7, "tunnel": 5}"#)
        }),
        ("of tunnel `web`", &|| {
            written(good.replace(r#""db""#, r#""web""#).as_bytes());
        }),
        ("not a regular file", &|| fs::create_dir(&db).unwrap()),
        ("not a regular file", &|| {
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &db, kind, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }),
        ("symbolic links", &|| symlink("/etc/passwd", &db).unwrap()),
        ("not a regular file", &|| fs::create_dir(&db).unwrap()),
        ("what tunneld does not write", &|| {
            written(
                good.replace(r#""up_ms":1000"#, r#""up_ms":999999"#)
                    .as_bytes(),
            );
        }),
    ];
    for (reason, make) in cases {
        make();
        match folder.read(&name("db")) {
            Found::Bad(said) => assert!(said.contains(reason), "{said}"),
            other => panic!("{reason}: {other:?}"),
        }
        let aside = folder.set_aside(&name("db")).unwrap();
        assert_eq!(aside, folder.path().join("db.json.bad"));
        assert!(fs::symlink_metadata(&aside).is_ok(), "{reason}");
        assert!(matches!(folder.read(&name("db")), Found::Nothing));
    }
}

#[test]
fn a_history_that_is_too_long_for_its_file_loses_its_oldest_entries() {
    let dir = tempfile::tempdir().unwrap();
    let folder = open(&dir, "1");
    let mut ledger = up();
    for n in 0..90 {
        let failure = Failure::transient(Stage::Connect, format!("{n}{}", "x".repeat(40_000)));
        ledger.enter(at(n + 1), Phase::Waiting, Some(&failure));
    }
    folder
        .write(&name("db"), at(100), &ledger.record(at(100)))
        .unwrap();
    let entries = found(&folder).entries();
    assert!((10..90).contains(&entries), "{entries}");
}

#[test]
fn two_daemons_with_one_folder_never_make_a_broken_file() {
    let dir = tempfile::tempdir().unwrap();
    let record = up().record(at(5));
    open(&dir, "0").write(&name("db"), at(5), &record).unwrap();
    std::thread::scope(|scope| {
        for run in ["1", "2"] {
            let (folder, record) = (open(&dir, run), &record);
            scope.spawn(move || {
                for _ in 0..200 {
                    folder.write(&name("db"), at(5), record).unwrap();
                }
            });
        }
        let reader = open(&dir, "3");
        for _ in 0..200 {
            found(&reader);
        }
    });
    let left = fs::read_dir(dir.path().join("history")).unwrap().count();
    assert_eq!(left, 1);
}

#[test]
fn files_of_tunnels_that_are_gone_are_kept_for_a_month() {
    let dir = tempfile::tempdir().unwrap();
    let path = open(&dir, "1").path().to_owned();
    let aged = |file: &str, days: u64| {
        let file = File::create(path.join(file)).unwrap();
        let age = Duration::from_secs(days * 24 * 3600);
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    aged("db.json", 40);
    aged("gone.json", 40);
    aged("gone.json.bad", 40);
    aged("left.json", 20);
    aged(".db.json.5.new", 1);
    aged("notes of mine", 400);
    open(&dir, "2");
    let entries = fs::read_dir(&path).unwrap();
    let mut left: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["db.json", "left.json", "notes of mine"]);
}

#[test]
fn a_folder_that_comes_late_is_used_from_then_on() {
    // Something is in its place first, as before a file system is mounted.
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::write(&state, "").unwrap();
    let mut disk = Disk::new(state.clone(), "1".to_owned());
    let work = || Work {
        names: BTreeSet::from([name("db")]),
        write: Vec::new(),
        read: vec![name("db")],
        alive: true,
        now: at(1),
    };
    assert!(disk.work(work()).found.is_empty() && !disk.is_open());
    fs::remove_file(&state).unwrap();
    assert_eq!(disk.work(work()).found.len(), 1);
    assert!(disk.is_open());
}
