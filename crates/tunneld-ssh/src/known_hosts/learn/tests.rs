use std::fs;

use super::*;

const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE2+B12iGc6ubL7kTXfWFrGjLkrkOWTGmgAqcVNlvv3z";
const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU=";

fn key(line: &str) -> PublicKey {
    PublicKey::from_openssh(line).unwrap()
}

/// A file with this text, and what comes of it when the keys are entered for `h`.
fn entered(text: &str, keys: &[&str]) -> (String, Result<(), String>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    fs::write(&file, text).unwrap();
    let keys: Vec<PublicKey> = keys.iter().map(|line| key(line)).collect();
    let done = enter(&file, &KnownAs::host("h", 22), &keys).map_err(|e| e.to_string());
    (fs::read_to_string(&file).unwrap(), done)
}

#[test]
fn keys_of_other_types_are_entered_beside_those_that_are_there() {
    // On lines of their own, also behind a last line that does not end; none twice.
    let (text, done) = entered(&format!("h {ED25519}"), &[ED25519, ECDSA]);
    assert_eq!(done, Ok(()));
    assert_eq!(text, format!("h {ED25519}\nh {ECDSA}\n"));
    let (text, done) = entered(&format!("h {ED25519}"), &[ED25519]);
    assert_eq!((text, done), (format!("h {ED25519}"), Ok(())));
}

#[test]
fn another_key_of_a_type_or_a_revoked_one_keeps_all_of_them_out() {
    // What has come into the file since it was shown to somebody.
    for line in [format!("h {OTHER}\n"), format!("@revoked h {ED25519}\n")] {
        let (text, done) = entered(&line, &[ECDSA, ED25519]);
        let problem = done.unwrap_err();
        assert!(problem.contains(": line 1 "), "{problem}");
        assert_eq!(text, line);
    }
}

#[test]
fn a_line_with_a_key_that_no_server_can_offer_us_stands_in_nobodys_way() {
    // Old files have DSA keys. Who is learnt without being asked about is new altogether, as ever.
    let dsa = "h ssh-dss AAAAB3NzaC1kc3MAAAABAA==\n";
    let (text, done) = entered(dsa, &[ED25519, ECDSA]);
    assert_eq!(done, Ok(()));
    assert_eq!(text, format!("{dsa}h {ED25519}\nh {ECDSA}\n"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    fs::write(&file, dsa).unwrap();
    learn(&file, &KnownAs::host("h", 22), &key(ED25519)).unwrap_err();
}

#[test]
fn a_new_host_is_learnt_once_whatever_the_type_of_its_next_key() {
    // `accept-new` is for hosts that nothing is known of.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    let host = KnownAs::host("h", 22);
    learn(&file, &host, &key(ED25519)).unwrap();
    learn(&file, &host, &key(ECDSA)).unwrap_err();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("h {ED25519}\n"));
}
