//! A bad file changes nothing: the command prints the diagnostics and exits 78, the tunnels go on.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::target::echoes;

use crate::support::{Bed, LONG, Transfer, assert_exit, assert_has, stderr, stdout};

/// Reloads, and checks that it was refused with these words, and that nothing has changed.
#[track_caller]
fn refused(daemon: &Daemon, bed: &Bed, said: &[&str]) {
    let before = daemon.status().tunnels;
    for words in [&["reload"][..], &["reload", "--dry-run"]] {
        let output = daemon.cli(words);
        assert_exit(&output, 78);
        assert!(stdout(&output).is_empty(), "{}", stdout(&output));
        assert_has(&stderr(&output), said);
        assert_has(
            &stderr(&output),
            &["; the running configuration is unchanged\n"],
        );
    }
    let after = daemon.status();
    assert!(!after.last_reload.unwrap().ok);
    let names = |tunnels: &[tunneld_core::status::TunnelStatus]| {
        tunnels
            .iter()
            .map(|t| (t.name.clone(), t.phase, t.sessions))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&after.tunnels), names(&before));
    echoes(bed.listen).unwrap();
}

#[test]
fn whatever_the_file_becomes_the_tunnels_go_on() {
    // Garbage, nothing, half of it, no file at all, a folder: each is refused while a transfer runs,
    // and the file that is right again is taken.
    let bed = Bed::new();
    let daemon = bed.up();
    let good = fs::read_to_string(daemon.config_path()).unwrap();
    let transfer = Transfer::start(bed.listen, 9);
    let path = daemon.config_path();
    let place = path.display().to_string();

    fs::write(path, b"\x00\xff garbage").unwrap();
    refused(&daemon, &bed, &[&place, "UTF-8"]);
    fs::write(path, "this is = not toml [\n").unwrap();
    refused(&daemon, &bed, &[&format!("{place}:1:"), "1 error"]);
    fs::write(path, "").unwrap();
    refused(&daemon, &bed, &[&place, "is empty"]);
    let half = good.find("local_forward").unwrap() + "local_forward = [\"12".len();
    fs::write(path, &good[..half]).unwrap();
    refused(&daemon, &bed, &[&format!("{place}:7:")]);
    fs::remove_file(path).unwrap();
    refused(&daemon, &bed, &[&place, "no such file"]);
    fs::create_dir(path).unwrap();
    refused(&daemon, &bed, &[&place, "is a directory"]);
    fs::remove_dir(path).unwrap();
    transfer.wait_for_more();

    fs::write(path, &good).unwrap();
    let output = daemon.reload();
    assert_exit(&output, 0);
    assert_has(&stdout(&output), &["1 unchanged"]);
    assert_eq!(daemon.tunnel("db").sessions, 1);
    transfer.finish();
}

#[test]
fn a_pipe_in_place_of_the_file_does_not_hang_the_daemon() {
    // Nobody writes to it, and the answer comes all the same.
    let bed = Bed::new();
    let daemon = bed.up();
    fs::remove_file(daemon.config_path()).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(daemon.config_path())
        .status();
    assert!(made.unwrap().success());
    refused(&daemon, &bed, &["not a regular file"]);
}

#[test]
fn one_wrong_tunnel_keeps_the_right_ones_from_being_applied() {
    // All or nothing: a new tunnel that is right does not start beside one that is wrong.
    let bed = Bed::new();
    let daemon = bed.up();
    let new = bed
        .db()
        .replace("tunnels.db", "tunnels.new")
        .replace(&bed.listen.to_string(), "127.0.0.1:1");
    daemon.write_config(&(bed.db() + &new + "[tunnels.wrong]\nhots = \"h\"\n"));
    refused(&daemon, &bed, &["did you mean `host`?"]);
}

#[test]
fn a_changed_tunnel_whose_key_is_missing_is_refused() {
    // The key of a tunnel that would start or be replaced has to be there; that of an untouched
    // one is not asked about.
    let bed = Bed::new();
    let daemon = bed.up();
    let key = bed.sshd.client_key().display().to_string();
    let missing = daemon.dir().join("nokey").display().to_string();
    daemon.write_config(&bed.db().replace(&key, &missing));
    let place = daemon.config_path().display().to_string();
    refused(
        &daemon,
        &bed,
        &[&format!("{place}:5:17"), &missing, "no such file"],
    );
    // The running tunnel's own key may be away at a reload that is not about it.
    let aside = format!("{key}.aside");
    fs::rename(&key, &aside).unwrap();
    let second = bed
        .db()
        .replace("local_forward", "connect_timeout = \"9s\"\nlocal_forward");
    daemon.write_config(&second);
    assert_exit(&daemon.reload(), 0);
    fs::rename(&aside, &key).unwrap();
    assert_eq!(daemon.wait_phase("db", Phase::Up, LONG).sessions, 1);
    echoes(bed.listen).unwrap();
}

#[test]
fn a_file_that_is_being_written_is_taken_whole_or_not_at_all() {
    // An editor that writes in place while reloads come: each sees a file that is right or wrong,
    // and the tunnel never notices.
    let bed = Bed::new();
    let daemon = bed.up();
    let good = fs::read(daemon.config_path()).unwrap();
    let transfer = Transfer::start(bed.listen, 18);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Each time cut at another place, and then whole again.
            for cut in (0..good.len()).cycle() {
                fs::write(daemon.config_path(), &good[..cut]).unwrap();
                fs::write(daemon.config_path(), &good).unwrap();
                if done.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        for _ in 0..20 {
            let output = daemon.reload();
            let said = tunneld_lab::process::printed(&output);
            match output.status.code() {
                Some(0) => assert_has(&said, &["1 unchanged"]),
                Some(78) => assert_has(&said, &["the running configuration is unchanged"]),
                other => panic!("{other:?}: {said}"),
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    transfer.wait_for_more();
    transfer.finish();
    assert_exit(&daemon.reload(), 0);
    assert_eq!(daemon.tunnel("db").sessions, 1);
}

#[test]
fn status_tells_what_is_wrong_with_the_file() {
    // The place and the words of the first error, how many there are, and the command that shows all.
    let bed = Bed::new();
    let daemon = bed.up();
    let place = daemon.config_path().display().to_string();
    daemon.write_config("[tunnels.db]\nhots = \"a\"\nusre = \"u\"\n");
    let refused = daemon.reload();
    assert_exit(&refused, 78);
    let first = daemon.status().last_reload.unwrap().error.unwrap();
    assert!(first.starts_with(&format!("{place}:")), "{first}");
    let page = stdout(&daemon.cli(&["status"]));
    let said = format!("ago: {first}; `tunneld check {place}` shows all of it\n");
    assert_has(&page, &[&said, " errors in all"]);
}
