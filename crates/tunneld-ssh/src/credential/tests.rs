//! The promise: a secret is read from where it was put, without the line's end behind it, and
//! refused with what to do where others can read it or it is none.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use tunneld_core::failure::Class;

use super::*;

/// A directory as systemd makes it, with one credential.
fn credentials(name: &str, contents: impl AsRef<[u8]>, mode: u32) -> (TempDir, Credential) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, contents).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (dir, Credential::Named(name.to_owned()))
}

fn contents(contents: impl AsRef<[u8]>) -> Result<String, String> {
    let (dir, credential) = credentials("pw", contents, 0o400);
    match read_in(&credential, Some(dir.path())) {
        Ok(text) => Ok(text.to_string()),
        Err(problem) => Err(problem.to_string()),
    }
}

#[test]
fn one_line_end_is_taken_off_and_nothing_else() {
    for (file, secret) in [
        ("word", "word"),
        ("word\n", "word"),
        ("word\r\n", "word"),
        ("two words \n", "two words "),
        ("word\n\n", "word\n"),
        ("ä€", "ä€"),
    ] {
        assert_eq!(contents(file).unwrap(), secret);
    }
}

#[test]
fn what_is_no_secret_is_said() {
    for (file, problem) in [
        (b"".to_vec(), "credential \"pw\" is empty"),
        (b"\n".to_vec(), "credential \"pw\" is empty"),
        (b"a\0b".to_vec(), "credential \"pw\" is not a text"),
        (b"\xff\xfe".to_vec(), "credential \"pw\" is not a text"),
        (
            vec![b'x'; 65_537],
            "credential \"pw\": over 64 KiB, too large for a secret",
        ),
    ] {
        assert_eq!(contents(file).unwrap_err(), problem);
    }
}

#[test]
fn a_credential_that_is_missing_is_told_with_the_line_of_the_unit() {
    let credential = Credential::Named("db-password".to_owned());
    let problem = read_in(&credential, None).unwrap_err();
    let cause = "credential \"db-password\" is missing: $CREDENTIALS_DIRECTORY is not set";
    assert_eq!(problem.to_string(), cause);
    assert!(problem.is_out_of_sight());
    let hint = "give it to the unit: LoadCredential=db-password:/path/to/the/file in [Service], \
                then systemctl restart tunneld: systemd passes it on at the start; or name a file \
                with its path";
    assert_eq!(problem.hint().unwrap(), hint);

    let (dir, _) = credentials("other", "x", 0o400);
    let problem = read_in(&credential, Some(dir.path())).unwrap_err();
    let path = dir.path().join("db-password");
    let cause = format!(
        "credential \"db-password\" is missing: no file {}",
        path.display()
    );
    assert_eq!(problem.to_string(), cause);
    assert!(!problem.is_out_of_sight());
    assert_eq!(problem.hint().unwrap(), hint);
    assert_eq!(problem.into_failure().class, Class::Blocked);

    let problem = read_in(&Credential::File(path.clone()), None).unwrap_err();
    let path = path.display();
    let cause = format!("credential file {path}: no such file");
    assert_eq!(problem.to_string(), cause);
    let hint = format!("write the secret into it: install -m 600 /dev/stdin {path}");
    assert_eq!(problem.hint().unwrap(), hint);
}

#[test]
fn a_secret_that_others_can_read_is_refused_with_the_command_that_closes_it() {
    // But for the group in systemd's own directory, whose bits are the mask of an access list.
    let (dir, credential) = credentials("pw", "x", 0o640);
    assert!(read_in(&credential, Some(dir.path())).is_ok());
    let path = dir.path().join("pw");
    let file = Credential::File(path.clone());
    for mode in [0o640, 0o644, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let problem = read_in(&file, None).unwrap_err();
        let path = path.display();
        let cause = format!("credential file {path} is open to others: mode {mode:04o}");
        assert_eq!(problem.to_string(), cause);
        assert_eq!(problem.hint().unwrap(), format!("chmod 600 {path}"));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(read_in(&credential, Some(dir.path())).is_err());
}

#[test]
fn a_file_of_another_owner_that_is_open_has_to_become_ours() {
    // Closed by its owner alone, it could not be read any more.
    let openness = Openness {
        mode: 0o644,
        ours: false,
    };
    let us = nix::unistd::User::from_uid(nix::unistd::Uid::effective());
    let us = us.unwrap().unwrap().name;
    let hint = format!("sudo chown {us} /k && sudo chmod 600 /k");
    assert_eq!(openness.hint(Path::new("/k")), hint);
}

#[test]
fn what_cannot_be_opened_is_told_in_the_words_of_the_system() {
    let dir = TempDir::new().unwrap();
    let problem = read_in(&Credential::File(dir.path().to_owned()), None).unwrap_err();
    let cause = format!("credential file {}: is a directory", dir.path().display());
    assert_eq!(problem.to_string(), cause);
    assert_eq!(problem.hint(), None);
}

#[test]
fn a_shortage_is_passing_and_a_refusal_is_not() {
    let failure = |fault| {
        CredentialProblem {
            credential: Credential::Named("pw".to_owned()),
            kind: CredentialProblemKind::NotReadable {
                reason: "too many open files".to_owned(),
                fault,
            },
        }
        .into_failure()
    };
    assert_eq!(failure(ReadFault::Passing).class, Class::Transient);
    assert_eq!(failure(ReadFault::Denied).class, Class::Blocked);
    assert_eq!(
        failure(ReadFault::Denied).hint.unwrap(),
        "the user that tunneld runs as must own it"
    );
}
