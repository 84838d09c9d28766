//! `tunneld trust` and known_hosts: what is in the file counts as for the daemon, and what is written
//! is what the daemon reads.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use tunneld_lab::process::run;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::support::{Table, text};
use crate::trust::{Desk, fingerprints, has, known, unknown};

#[test]
fn a_revoked_key_is_refused() {
    // Also where nothing else is known of the host.
    let sshd = Sshd::start();
    fs::write(
        sshd.known_hosts(),
        format!("@revoked {}", sshd.known_hosts_lines()),
    )
    .unwrap();
    let desk = Desk::new(&Table::to(&sshd));
    let said = desk.ends(&["--yes", "--fingerprint", &fingerprints(&sshd)[0]], 1);
    has(&said, &["REFUSED: host key revoked: ", "nothing was added"]);
    assert_eq!(known(&sshd).lines().count(), 1);
}

#[test]
fn hashed_names_are_the_hosts_own() {
    // What `ssh-keygen -H` makes.
    let sshd = Sshd::start();
    let file = sshd.known_hosts();
    run(Command::new("ssh-keygen").arg("-H").arg("-f").arg(&file));
    let said = Desk::new(&Table::to(&sshd)).ends(&[], 0);
    has(
        &said,
        &[&format!("already trusted: {}:1\n", file.display())],
    );
}

#[test]
fn what_only_root_trusts_is_new_and_what_only_root_has_revoked_is_refused() {
    // A file in root's home is not the daemon's; but it is a warning.
    let sshd = Sshd::start();
    let home = sshd.dir().join("home");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    let mut desk = Desk::new(&Table::to(&sshd).set("known_hosts", "UNSET"));
    let toml = fs::read_to_string(&desk.config).unwrap();
    fs::write(&desk.config, toml.replace("known_hosts = UNSET\n", "")).unwrap();
    desk.prefix = vec!["env".to_owned(), format!("HOME={}", home.display())];
    let lines = sshd.known_hosts_lines();
    fs::write(home.join(".ssh/known_hosts"), &lines).unwrap();
    has(&desk.ends(&[], 1), &["\nnew\n"]);
    fs::write(home.join(".ssh/known_hosts"), format!("@revoked {lines}")).unwrap();
    has(&desk.ends(&[], 1), &["REFUSED: host key revoked: "]);
}

#[test]
fn what_is_in_our_home_counts_for_a_daemon_that_is_ours_and_is_not_written_for_another() {
    // Who the daemon is, its socket tells; where none runs, root is warned.
    let sshd = Sshd::start();
    let table = Table::to(&sshd).set("known_hosts", text("~/known_hosts"));
    let daemon = table.clone().forward(free_addr(), free_addr()).start();
    let file = daemon.dir().join("known_hosts");
    let mut desk = Desk::new(&table);
    desk.prefix = vec!["env".to_owned(), format!("HOME={}", daemon.dir().display())];
    let named = ["--yes", "--fingerprint", &fingerprints(&sshd)[0]];
    let warning = format!("warning: {} is in a home", file.display());
    has(&desk.ends(&named, 0), &[&warning, "added to "]);
    has(&desk.ends(&[], 1), &["\nnew\n"]);

    desk.config = daemon.config_path().to_owned();
    let trusted = format!("already trusted: {}:1\n", file.display());
    has(&desk.ends(&[], 0), &[&trusted, "nothing to add"]);
    fs::write(&file, "").unwrap();
    let said = desk.ends(&named, 0);
    assert!(!said.contains("warning"), "{said}");

    fs::write(&file, "").unwrap();
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ];
    desk.prefix.extend(nobody.map(str::to_owned));
    let said = desk.ends(&named, 1);
    has(
        &said,
        &[
            "is in a home that is not the daemon's, which runs as root; nothing was added",
            &format!("`sudo -u root {}`", desk.again()),
        ],
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
}

#[test]
fn a_line_with_a_key_that_nobody_offers_any_more_is_in_nobodys_way() {
    // A DSA key of old is neither another key for the host nor what it is known by.
    let (sshd, desk) = unknown();
    let lines = sshd.known_hosts_lines();
    let name = lines.split(' ').next().unwrap();
    let dsa = format!("{name} ssh-dss AAAAB3NzaC1kc3MAAAABAA==\n");
    fs::write(sshd.known_hosts(), &dsa).unwrap();
    let said = desk.ends(&["--yes", "--fingerprint", &fingerprints(&sshd)[0]], 0);
    has(&said, &["\nnew\n", ": ED25519\n"]);
    let (first, _) = lines.split_once('\n').unwrap();
    assert_eq!(known(&sshd), format!("{dsa}{first}\n"));
    Table::to(&sshd).forward(free_addr(), free_addr()).up();
}

#[test]
fn a_new_file_can_be_read_by_the_daemon_and_belongs_to_whom_the_folder_belongs_to() {
    // Root makes it, under whatever umask, for a user that is not root; an old one stays as it is.
    let (sshd, _) = unknown();
    let folder = sshd.dir().join("state");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(60_000), Some(60_001)).unwrap();
    let file = folder.join("known_hosts");
    let table = Table::to(&sshd).set("known_hosts", text(file.display()));
    let strict = ["sh", "-c", "umask 077; exec \"$0\" \"$@\""].map(str::to_owned);
    let desk = Desk::new(&table).below(&strict);
    let all = fingerprints(&sshd);
    desk.ends(&["--yes", "--fingerprint", &all[0]], 0);
    let is = |path: &Path| {
        let is = fs::metadata(path).unwrap();
        (is.uid(), is.gid(), is.mode() & 0o777)
    };
    assert_eq!(is(&file), (60_000, 60_001, 0o644));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&file, Some(0), Some(0)).unwrap();
    desk.ends(&["--yes", "--fingerprint", &all[1]], 0);
    assert_eq!(is(&file), (0, 0, 0o600));
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
}

#[test]
fn a_file_that_cannot_be_written_is_told_with_who_can() {
    // Whoever is not root is told to be; a folder that is not there is told of.
    let (sshd, _) = unknown();
    let file = sshd.dir().join("known_hosts");
    fs::set_permissions(sshd.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let all = fingerprints(&sshd);
    let named = ["--yes", "--fingerprint", &all[0]];
    // With a way to the program, wherever that is.
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    ];
    let desk = Desk::new(&Table::to(&sshd)).below(&nobody.map(str::to_owned));
    let said = desk.ends(&named, 1);
    let shown = file.display();
    has(
        &said,
        &[
            &format!("to {shown}: permission denied; nothing was added"),
            &format!("`sudo {}`", desk.again()),
        ],
    );
    let away = text(sshd.dir().join("away/known_hosts").display());
    let desk = Desk::new(&Table::to(&sshd).set("known_hosts", away));
    has(
        &desk.ends(&named, 1),
        &["no such file or directory", "make its folder"],
    );
}

#[test]
fn a_known_hosts_file_that_is_broken_is_told_before_anybody_is_asked() {
    // With its line: it may be the one that revokes a key.
    let (sshd, desk) = unknown();
    fs::write(sshd.known_hosts(), "host ssh-ed25519 nonsense\n").unwrap();
    let said = desk.ends(&[], 1);
    has(
        &said,
        &[
            &format!("{}:1: ", sshd.known_hosts().display()),
            "mend the line",
        ],
    );
    assert!(!sshd.log().contains("Connection from"), "{}", sshd.log());
}

#[test]
fn a_key_that_has_changed_keeps_every_other_one_out_until_its_line_is_gone() {
    // Whoever shows a wrong key is not to be believed about the others; the hint works.
    let mut sshd = Sshd::start();
    let lines = sshd.known_hosts_lines();
    let old = fingerprints(&sshd);
    sshd.restart_with_new_host_key();
    let new = fingerprints(&sshd);
    let desk = Desk::new(&Table::to(&sshd));
    let named = ["--yes", "--fingerprint", &new[0]];
    for arguments in [&[][..], &named] {
        let said = desk.ends(arguments, 1);
        let place = format!("{}:1 has {}", sshd.known_hosts().display(), old[0]);
        has(&said, &["REFUSED: host key changed: ", &new[0], &place]);
        assert_eq!(known(&sshd), lines);
    }
    let said = desk.ends(&[], 1);
    let (_, hint) = said.split_once("ssh-keygen -R ").unwrap();
    let remove = format!("ssh-keygen -R {}", hint.split(',').next().unwrap());
    run(Command::new("sh").args(["-c", &remove]));
    desk.ends(&named, 0);
    assert_eq!(known(&sshd), sshd.known_hosts_lines());
}
