//! `tunneld check`: every problem of a file at once, each with its place, and nothing hangs it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tunneld_core::config::{Origin, Surroundings, load};

use crate::support::{Folder, LONG, assert_exit, assert_has, binary, command, stderr, stdout};
use crate::support::{tunneld, values, within};

const GOOD: &str = "[tunnels.db]\nhost = \"h\"\nuser = \"u\"\nidentity_file = \"id\"\n\
                    known_hosts = \"kh\"\nlocal_forward = \"127.0.0.1:5432:localhost:5432\"\n";

#[test]
fn a_good_file_is_said_to_be_good() {
    // Exit 0 and one line on stdout that names the file.
    let folder = Folder::new();
    let file = folder.write("t.toml", GOOD);
    let key = fs::read_to_string(folder.at("id.pub")).unwrap();
    folder.write("kh", &format!("h {key}"));
    let output = tunneld(&["check", &file]);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), format!("{file}: 1 tunnel, no errors\n"));
    assert!(stderr(&output).is_empty());
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    // Each mistake of a bad file has file:line:column; the count comes last; stdout stays empty.
    // `check` and `run` say the same.
    let folder = Folder::new();
    let file = folder.write(
        "t.toml",
        "[tunnels.db]\nhost = \"h\"\nuser = \"u\"\nidentity_file = \"id\"\nport = 70000\n\
         local_foward = \"5432:localhost:5432\"\nlocal_forward = \"5432:localhost\"\n\
         connect_timeout = \"soon\"\n\n[tunnels.\"a b\"]\nhost = \"h\"\n\n\
         [tunnels.c]\nhost = 7\n\n[daemon]\nready_when = \"al\"\n",
    );
    let places = ["5:8", "6:1", "7:17", "8:19", "10:10", "14:8", "17:14"];
    for command in [&["check", file.as_str()][..], &["run", "--config", &file]] {
        let output = tunneld(command);
        assert_exit(&output, 78);
        assert!(stdout(&output).is_empty());
        let report = stderr(&output);
        for place in places {
            assert_has(&report, &[&format!("{file}:{place}\n")]);
        }
        assert_has(&report, &["did you mean `local_forward`?", "^^^^^^^^^^^^"]);
        assert_has(
            &report,
            &[
                "did you mean `all`?",
                "`c` forwards nothing",
                "`a-b` forwards nothing",
            ],
        );
    }
    assert!(stderr(&tunneld(&["check", &file])).ends_with("\n9 errors\n"));
}

#[test]
fn a_file_that_may_not_be_read_comes_with_a_way_out() {
    let folder = Folder::new();
    let file = folder.write("t.toml", GOOD);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let output = within(unprivileged().args(["check", &file]), LONG);
    assert_exit(&output, 78);
    let wanted = format!("error: cannot read {file}: permission denied\nhint: use sudo\n");
    assert_eq!(stderr(&output), wanted);
}

#[test]
fn root_is_told_how_to_check_as_the_user_of_the_daemon() {
    // Who can read everything finds no key that the daemon may not read. Programs read `--print`.
    let folder = Folder::new();
    folder.write("kh", "");
    let file = folder.write("t.toml", GOOD);
    let note = format!(
        "note: root can read everything, and the daemon runs as nobody: sudo -u nobody tunneld check \
         --config {file}\n"
    );
    for (owner, arguments, wanted) in [
        (0, &["check", &file][..], false),
        (65534, &["check", &file], true),
        (65534, &["check", "--print", &file], false),
    ] {
        std::os::unix::fs::chown(&file, Some(owner), None).unwrap();
        let output = tunneld(arguments);
        assert_exit(&output, 0);
        assert_eq!(
            stderr(&output).contains(&note),
            wanted,
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn two_tunnels_on_one_address_are_both_named() {
    // Which two, on what, and where the first one is.
    let folder = Folder::new();
    let again = GOOD.replace("tunnels.db", "tunnels.reports");
    let file = folder.write("t.toml", &format!("{GOOD}\n{again}"));
    let output = tunneld(&["check", &file]);
    assert_exit(&output, 78);
    let report = stderr(&output);
    assert_has(
        &report,
        &[
            "`db` and `reports` both listen on 127.0.0.1:5432",
            "first used",
        ],
    );
    assert_has(&report, &[&format!("{file}:13:17")]);
}

#[test]
fn the_effective_configuration_is_a_file_that_says_the_same() {
    // `--print` prints every default, and what it prints loads to an equal configuration.
    let folder = Folder::new();
    folder.write("kh", "");
    let text = format!("[defaults]\nserver_alive_interval = \"7s\"\n{GOOD}");
    let file = folder.write("t.toml", &text);
    let output = tunneld(&["check", "--print", &file]);
    assert_exit(&output, 0);
    let printed = stdout(&output);
    assert_has(
        &printed,
        &["server_alive_interval = \"7s\"", "drain_timeout = \"10s\""],
    );
    let parse = |text: &str| {
        let origin = Origin::of_file(file.as_ref());
        let surroundings = Surroundings {
            user: None,
            home: None,
            aes_hardware: false,
            ..Surroundings::default()
        };
        load(text, &origin, &surroundings).unwrap()
    };
    assert_eq!(parse(&printed), parse(&text));
    // And once more through the program: only where the values are written is another file.
    let again = folder.write("again.toml", &printed);
    let output = tunneld(&["check", "--print", &again]);
    assert_exit(&output, 0);
    assert_eq!(values(&stdout(&output)), values(&printed));
}

#[test]
fn what_is_no_configuration_at_all_is_said_in_one_error() {
    // Empty, blank, not UTF-8, not TOML, far too long: exit 78, the file's name, no panic.
    let folder = Folder::new();
    let at = |name: &str, bytes: &[u8]| {
        let path = folder.at(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let ten_megabytes = b"# a comment that fills a line to its end\n".repeat(10 << 20 >> 5);
    let cases = [
        (at("empty", b""), "is empty"),
        (at("blank", b" \n\n# nothing\n"), "help"),
        (at("bytes", b"[tunnels.db]\nhost = \"\xff\xfe\"\n"), "UTF-8"),
        (at("toml", b"[tunnels.db\nhost = = 1\n"), "toml:1:12"),
        (at("zeros", &[0; 4096]), "error"),
        (at("elf", &fs::read(binary()).unwrap()[..4096]), "error"),
        (at("long", &ten_megabytes), "bytes"),
    ];
    for (file, said) in cases {
        for command in [&["check", file.as_str()][..], &["run", "--config", &file]] {
            let output = tunneld(command);
            assert_exit(&output, 78);
            let report = stderr(&output);
            assert_has(&report, &[said, &file]);
            assert!(!report.contains("panicked"), "{report}");
            assert!(report.len() < 20_000, "{} bytes for {file}", report.len());
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_and_never_waited_for() {
    // A folder, a file without permission, no file, a pipe that nobody writes to, a device.
    let folder = Folder::new();
    let directory = folder.at("folder");
    fs::create_dir(&directory).unwrap();
    let secret = folder.write("secret", GOOD);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let fifo = folder.at("fifo").display().to_string();
    assert!(command("mkfifo").arg(&fifo).status().unwrap().success());
    let cases = [
        (directory.display().to_string(), "is a directory"),
        (
            folder.at("nothing").display().to_string(),
            "no such file or directory",
        ),
        (fifo, "not a regular file"),
        ("/dev/zero".to_owned(), "not a regular file"),
        (secret, "permission denied"),
    ];
    for (file, said) in &cases {
        for words in [&["check", file.as_str()][..], &["run", "--config", file]] {
            let mut line = match *said {
                "permission denied" => unprivileged(),
                _ => command(binary()),
            };
            let output = within(line.args(words), LONG);
            assert_exit(&output, 78);
            assert_has(&stderr(&output), &[file, said]);
        }
    }
}

#[test]
fn a_file_of_rubbish_is_answered_in_time_and_briefly() {
    // Hundreds of thousands of mistakes, a tower of brackets, a key with a thousand parts: exit 78,
    // no stack overflow, and no report that nobody could read.
    let folder = Folder::new();
    let lines = "x = 1\n[tunnels.\"a b\"]\n".repeat(100_000);
    let rubbish = [
        (
            "lines",
            format!("[tunnels.a]\n{}", "x = 1\n".repeat(500_000)),
        ),
        ("tables", lines),
        ("arrays", format!("x = {}", "[".repeat(1_000_000))),
        ("inline", format!("x = {}", "{a=".repeat(500_000))),
        ("dots", format!("a{} = 1", ".a".repeat(500_000))),
        ("headers", "[a.a.a.a.a.a.a]\n".repeat(100_000)),
        ("word", "x".repeat(3 << 20)),
    ];
    for (name, text) in rubbish {
        let file = folder.write(name, &text);
        let output = tunneld(&["check", &file]);
        assert_exit(&output, 78);
        let report = stderr(&output);
        assert!(report.len() < 1 << 20, "{} bytes for {name}", report.len());
        assert_has(&report, &[&file]);
    }
}

#[test]
fn paths_are_relative_to_the_file_and_not_to_the_caller() {
    // The same answer from whatever folder it is asked.
    let folder = Folder::new();
    folder.write("t.toml", GOOD);
    let mut here = command(binary());
    here.args(["check", "t.toml"]).current_dir(folder.at(""));
    assert_exit(&within(&mut here, LONG), 0);
    let mut elsewhere = command(binary());
    elsewhere
        .args(["check", &folder.at("t.toml").display().to_string()])
        .current_dir("/");
    assert_exit(&within(&mut elsewhere, LONG), 0);
}

/// The program; where root runs the tests, without root's right to read everything.
fn unprivileged() -> Command {
    if !rustix::process::geteuid().is_root() {
        return command(binary());
    }
    let mut line = command("setpriv");
    line.arg("--bounding-set=-dac_override,-dac_read_search");
    line.arg("--inh-caps=-dac_override,-dac_read_search")
        .arg(binary());
    line
}
