//! `watch = true`: a change of the file, or of one that it includes, is a reload.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};

use tunneld_core::status::Phase;
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::target::{echoes, free_addr};

use crate::support::up;
use crate::support::{
    Bed, LONG, assert_exit, assert_has, builder, daemon_table, dead_tunnel, stdout, tunnel,
};

const CHANGED: &str = "the configuration has changed, reloading";

/// `db`, from these places to the target.
fn db(bed: &Bed, places: &[SocketAddr]) -> String {
    let pairs: Vec<_> = places.iter().map(|p| (*p, bed.echo.addr())).collect();
    tunnel("db", &bed.sshd, &pairs)
}

/// `db`, with this many places, in a file that is watched.
fn file(bed: &Bed, places: &[SocketAddr]) -> String {
    db(bed, places) + &daemon_table("watch = true")
}

fn watching(text: &str) -> DaemonBuilder {
    builder().config(text).log_filter("debug")
}

/// Waits until `db` has so many forwards, all in place.
#[track_caller]
fn has_forwards(daemon: &Daemon, count: usize) {
    daemon.wait_for("db", LONG, |t| {
        t.forwards.len() == count && t.phase == Phase::Up
    });
}

fn count(daemon: &Daemon, part: &str) -> usize {
    daemon.log_text().matches(part).count()
}

/// Waits until the files were looked at and nothing was found to be another.
fn looked_at(daemon: &Daemon, mark: usize) {
    daemon.wait_for_log_from(mark, "the configuration has not changed", LONG);
}

#[test]
fn a_change_is_applied_whether_the_file_is_renamed_or_written() {
    // As SIGHUP: the journal says why, and systemd is told. A connection is not touched.
    let bed = Bed::new();
    let (second, third) = (free_addr(), free_addr());
    let daemon = up(watching(&file(&bed, &[bed.listen])).notify());
    let mark = daemon.notify().mark();
    daemon.write_config(&file(&bed, &[bed.listen, second]));
    has_forwards(&daemon, 2);
    echoes(second).unwrap();
    daemon.wait_for_log(CHANGED, LONG);
    daemon.wait_for_log("configuration reloaded", LONG);
    daemon.notify().wait_from(mark, "RELOADING=1", LONG);
    // As `cat >` does.
    let text = fs::read_to_string(daemon.config_path()).unwrap();
    let text = text.replace(&second.to_string(), &third.to_string());
    fs::write(daemon.config_path(), text).unwrap();
    daemon.wait_for("db", LONG, |t| {
        t.forwards.len() == 2 && t.forwards[1].listen == third.to_string()
    });
    assert_eq!(daemon.wait_phase("db", Phase::Up, LONG).sessions, 1);
}

#[test]
fn what_says_the_same_reloads_nothing_and_a_bad_file_is_told_once() {
    // Written again, moved about, touched: nothing. Garbage: one error for each.
    let bed = Bed::new();
    let good = file(&bed, &[bed.listen]);
    let daemon = up(watching(&good));
    let mark = daemon.log_mark();
    daemon.write_config(&good);
    looked_at(&daemon, mark);
    assert_eq!(count(&daemon, CHANGED), 0);
    let mut errors = 0;
    for garbage in ["garbage", "other garbage"] {
        let mark = daemon.log_mark();
        daemon.write_config(garbage);
        daemon.wait_for_log_from(mark, "reload refused", LONG);
        errors += 1;
        let mark = daemon.log_mark();
        daemon.write_config(garbage);
        looked_at(&daemon, mark);
        assert_eq!(count(&daemon, "reload refused"), errors);
    }
    daemon.write_config(&good);
    daemon.wait_for_log("configuration reloaded", LONG);
    assert_eq!(daemon.tunnel("db").sessions, 1);
    echoes(bed.listen).unwrap();
}

#[test]
fn what_waits_for_a_restart_is_told_once_while_it_stays_the_same() {
    // Another change of the file is no news of that; another key is.
    let bed = Bed::new();
    let file = |keys: &str, places: usize| {
        let places: Vec<_> = (0..places).map(|_| free_addr()).collect();
        db(&bed, &places) + &daemon_table(&format!("watch = true\n{keys}"))
    };
    let daemon = up(watching(&file("", 1)));
    let (one, two) = (
        "start_timeout = \"9s\"\n",
        "start_timeout = \"9s\"\nready_when = \"all\"\n",
    );
    for (n, keys, told) in [(1, one, 1), (2, one, 1), (3, two, 2), (4, two, 2)] {
        daemon.write_config(&file(keys, 1 + n));
        let is_taken = || {
            daemon
                .status()
                .last_reload
                .is_some_and(|r| r.accepted == n as u64)
        };
        assert!(poll(LONG, || is_taken().then_some(())).is_some(), "{keys}");
        // The log is read beside this.
        let told = || (count(&daemon, "only after a restart") == told).then_some(());
        assert!(poll(LONG, told).is_some(), "{keys}");
    }
    // No other one has come behind them.
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("tunneld stopped", LONG);
    assert_eq!(count(&daemon, "only after a restart"), 2);
}

#[test]
fn it_is_off_by_default_and_a_reload_turns_it_on_and_off() {
    // What was done by command is not done again by the watch.
    let bed = Bed::new();
    let second = free_addr();
    let on = file(&bed, &[bed.listen]);
    let off = on.replace("watch = true", "watch = false");
    let daemon = up(watching(&off));
    daemon.write_config(&on);
    let output = daemon.reload();
    assert_exit(&output, 0);
    assert_has(&stdout(&output), &["  false → true\n"]);
    looked_at(&daemon, 0);
    assert_eq!(count(&daemon, CHANGED), 0);
    let off = file(&bed, &[bed.listen, second]).replace("watch = true", "watch = false");
    daemon.write_config(&off);
    has_forwards(&daemon, 2);
    daemon.write_config(&on);
    // Nobody looks any more: the change is there for the command.
    assert_has(&stdout(&daemon.reload()), &["~ db  adjust"]);
    assert_eq!(count(&daemon, CHANGED), 1);
}

#[test]
fn included_files_and_their_folders_are_watched() {
    // A file that comes, changes and goes; a folder in place of another; a link that is set anew; a
    // folder that was not there.
    let bed = Bed::new();
    let daemon_keys = daemon_table("watch = true");
    let text = format!("include = [\"d/*.toml\", \"late/*/*.toml\"]\n{daemon_keys}");
    let builder = watching(&(text + &bed.db().replace(".db]", ".main]")));
    let at = |name: &str| builder.dir().join(name);
    let (d, other, late) = (at("d"), at("other"), at("late"));
    let web = |n: usize| {
        let places: Vec<_> = (0..n).map(|_| (free_addr(), bed.echo.addr())).collect();
        tunnel("db", &bed.sshd, &places)
    };
    fs::create_dir(&d).unwrap();
    let daemon = builder.start();
    daemon.wait_phase("main", Phase::Up, LONG);
    looked_at(&daemon, 0);
    fs::write(d.join("a.toml"), web(1)).unwrap();
    has_forwards(&daemon, 1);
    fs::write(d.join("a.toml"), web(2)).unwrap();
    has_forwards(&daemon, 2);
    // Another folder under the name of this one.
    fs::create_dir(&other).unwrap();
    fs::write(other.join("a.toml"), web(3)).unwrap();
    fs::rename(&d, d.with_extension("old")).unwrap();
    fs::rename(&other, &d).unwrap();
    has_forwards(&daemon, 3);
    // And what happens in it is seen.
    fs::write(d.join("a.toml"), web(1)).unwrap();
    has_forwards(&daemon, 1);
    // A file elsewhere, by a link.
    fs::create_dir(&other).unwrap();
    fs::write(other.join("b"), web(2)).unwrap();
    fs::remove_file(d.join("a.toml")).unwrap();
    symlink(other.join("b"), d.join("b.toml")).unwrap();
    has_forwards(&daemon, 2);
    fs::write(other.join("b"), web(4)).unwrap();
    has_forwards(&daemon, 4);
    fs::remove_file(d.join("b.toml")).unwrap();
    let names = |daemon: &Daemon| daemon.status().tunnels.len();
    assert!(poll(LONG, || (names(&daemon) == 1).then_some(())).is_some());
    // Folders that come later.
    fs::create_dir_all(late.join("x")).unwrap();
    let mark = daemon.log_mark();
    looked_at(&daemon, mark.saturating_sub(1));
    fs::write(late.join("x/c.toml"), web(1)).unwrap();
    has_forwards(&daemon, 1);
    assert_eq!(daemon.tunnel("main").sessions, 1);
}

#[test]
fn a_file_that_cannot_be_watched_is_told_and_served_all_the_same() {
    // Where the system has no more to give: a warning with what to do, and reloads work.
    let bed = Bed::new();
    let none = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    let prefix = ["unshare", "-Ur", "sh", "-c", none];
    let daemon = up(watching(&file(&bed, &[bed.listen])).prefix(&prefix));
    let line = daemon.wait_for_log("cannot watch the configuration for changes: ", LONG);
    assert_has(&line, &["too many open files", "tunneld reload"]);
    daemon.write_config(&file(&bed, &[bed.listen, free_addr()]));
    assert_exit(&daemon.reload(), 0);
    has_forwards(&daemon, 2);
    echoes(bed.listen).unwrap();
}

#[test]
fn a_folder_behind_a_link_that_is_set_anew_is_noticed() {
    // As a deploy does: `current -> r1`, and then `current -> r2`, at once.
    let bed = Bed::new();
    let text = format!(
        "include = [\"current/*.toml\"]\n{}",
        daemon_table("watch = true")
    );
    let builder = watching(&(text + &bed.db().replace(".db]", ".main]")));
    let at = |name: &str| builder.dir().join(name);
    for (release, count) in [("r1", 1), ("r2", 2)] {
        let places: Vec<_> = (0..count).map(|_| (free_addr(), bed.echo.addr())).collect();
        fs::create_dir(at(release)).unwrap();
        let path = at(release).join("a.toml");
        fs::write(path, tunnel("db", &bed.sshd, &places)).unwrap();
    }
    // Deploys keep it elsewhere than the file.
    fs::create_dir(at("elsewhere")).unwrap();
    let (current, next) = (at("elsewhere/current"), at("elsewhere/next"));
    symlink("../r1", &current).unwrap();
    symlink(&current, at("current")).unwrap();
    symlink("../r2", &next).unwrap();
    let daemon = builder.start();
    has_forwards(&daemon, 1);
    looked_at(&daemon, 0);
    fs::rename(&next, &current).unwrap();
    has_forwards(&daemon, 2);
    // And what happens there is seen.
    fs::remove_file(daemon.dir().join("r2/a.toml")).unwrap();
    assert!(poll(LONG, || (daemon.status().tunnels.len() == 1).then_some(())).is_some());
}

#[test]
fn a_folder_that_cannot_be_read_is_named_and_the_others_are_watched() {
    // A named file in it is read all the same. Nobody is told about limits of the system.
    let bed = Bed::new();
    let text = |places: &[SocketAddr]| {
        let include = "include = [\"d/a.toml\"]\n".to_owned();
        include + &daemon_table("watch = true") + &db(&bed, places).replace(".db]", ".main]")
    };
    let builder = watching(&text(&[bed.listen])).prefix(&["setpriv", "--bounding-set=-all"]);
    let d = builder.dir().join("d");
    fs::create_dir(&d).unwrap();
    fs::write(d.join("a.toml"), dead_tunnel("a", bed.sshd.client_key())).unwrap();
    fs::set_permissions(&d, fs::Permissions::from_mode(0o311)).unwrap();
    let daemon = builder.start();
    let line = daemon.wait_for_log("cannot watch the configuration for changes: ", LONG);
    let folder = d.display();
    let hint = format!("chmod g+rx {folder};");
    assert_has(&line, &[&format!("{folder}: permission denied"), &hint]);
    assert!(!line.contains("sysctl"), "{line}");
    daemon.write_config(&text(&[bed.listen, free_addr()]));
    daemon.wait_for("main", LONG, |t| t.forwards.len() == 2);
    assert_eq!(count(&daemon, "cannot watch"), 1);
    fs::set_permissions(&d, fs::Permissions::from_mode(0o711)).unwrap();
}

#[test]
fn a_reload_that_waits_for_a_key_or_a_program_is_tried_again() {
    // Written before what it names is there: one error, and a touch of the file takes it once it is.
    let bed = Bed::new();
    let daemon = up(watching(&file(&bed, &[bed.listen])));
    let (key, other) = (bed.sshd.client_key(), daemon.dir().join("key"));
    let aside = daemon.dir().join("hook");
    let (from, to) = (key.display().to_string(), other.display().to_string());
    let text = file(&bed, &[bed.listen, free_addr()]).replace(&from, &to);
    let hook = format!("on_up = [{:?}]\nlocal_forward", aside.display());
    daemon.write_config(&text.replacen("local_forward", &hook, 1));
    let line = daemon.wait_for_log("reload refused", LONG);
    assert_has(&line, &["2 errors"]);
    let again = daemon.command_line("reload");
    daemon.wait_for_log(&format!("`{again}` once they are there"), LONG);
    let touch = || {
        let mark = daemon.log_mark();
        let touched = std::process::Command::new("touch")
            .arg(daemon.config_path())
            .status();
        assert!(touched.unwrap().success());
        daemon.wait_for_log_from(mark, "looked at again", LONG);
    };
    touch();
    touch();
    assert_eq!(count(&daemon, "reload refused"), 1);
    // What is wrong now is another thing.
    symlink("/bin/true", &aside).unwrap();
    touch();
    daemon.wait_for_log("1 error", LONG);
    assert_eq!(count(&daemon, "reload refused"), 2);
    // A key that comes beside the file is seen without a touch. Whole: half of one is another error.
    let half = daemon.dir().join("half");
    fs::copy(key, &half).unwrap();
    fs::rename(half, &other).unwrap();
    has_forwards(&daemon, 2);
    assert_eq!(count(&daemon, "reload refused"), 2);
    assert_eq!(count(&daemon, CHANGED), 1);
}
