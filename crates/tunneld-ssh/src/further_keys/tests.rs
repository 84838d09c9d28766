//! The promise: only keys that are new, of an accepted type and not revoked are asked a proof for, and
//! only where the host is known by lines that are for it alone.

use std::path::Path;

use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};

use super::*;

fn new_key(algorithm: Algorithm) -> PublicKey {
    let mut rng = russh::keys::key::safe_rng();
    let key = PrivateKey::random(&mut rng, algorithm).unwrap();
    PublicKey::from(key.public_key().key_data().clone())
}

fn ed25519() -> PublicKey {
    new_key(Algorithm::Ed25519)
}

fn line(hosts: &str, key: &PublicKey) -> String {
    format!("{hosts} {}\n", key.to_openssh().unwrap())
}

fn known(text: &str) -> KnownHosts {
    KnownHosts::from_text(Path::new("file"), text).unwrap()
}

fn target() -> Target {
    Target::new("db", 22, "tunnel")
}

fn none() -> News {
    News::default()
}

#[test]
fn what_is_new_is_found_and_what_is_gone_with_its_place() {
    let [present, old, new] = [0; 3].map(|_| ed25519());
    let text = line("db", &present) + &line("other", &new) + &line("db,10.0.0.5", &old);
    let news = sift(
        &target(),
        &known(&text),
        &[new.clone(), present, new.clone()],
    );
    let gone = Gone {
        key: named(old.key_data()),
        place: "file:3".to_owned(),
    };
    let expected = News {
        new: vec![new],
        gone: vec![gone],
    };
    assert_eq!(news, expected);
}

#[test]
fn lines_for_other_hosts_too_and_authorities_leave_all_as_it_is() {
    // As with ssh. A line about another host does not matter.
    let [present, new] = [0; 2].map(|_| ed25519());
    let own = line("db", &present);
    for more in ["*", "d?", "a,db,c", "!x,*", "@cert-authority *"] {
        let text = format!("{own}{}", line(more, &present));
        assert_eq!(
            sift(&target(), &known(&text), std::slice::from_ref(&new)),
            none()
        );
    }
    let text = format!("{own}{}", line("*.example.com", &present));
    let news = sift(&target(), &known(&text), std::slice::from_ref(&new));
    assert_eq!(news.new, std::slice::from_ref(&new));
    // It was removed after the session was made.
    let text = line("other", &present);
    assert_eq!(sift(&target(), &known(&text), &[new]), none());
}

#[test]
fn a_revoked_key_is_not_asked_for_and_the_others_are() {
    let [present, new, revoked] = [0; 3].map(|_| ed25519());
    let text = line("db", &present) + &line("@revoked *", &revoked);
    let announced = [present, revoked, new.clone()];
    let news = sift(&target(), &known(&text), &announced);
    assert_eq!((news.new, news.gone), (vec![new], vec![]));
}

#[test]
fn only_types_that_are_accepted_are_asked_for() {
    let present = ed25519();
    let curve = EcdsaCurve::NistP256;
    let ecdsa = new_key(Algorithm::Ecdsa { curve });
    let small = PublicKey::from_openssh(
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQC7f0fn3Yv5gGbq0mYzT2xwbYQIcZ6Qb5QvYbzC8CTcHzR5u1FY\
         0e3m0qvXr4vWTk5bYXkVtU9d8mYVd0xTqfsd",
    )
    .unwrap();
    let security_key = PublicKey::from_openssh(
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIKnhgS8w0VlxNBoX+pJ\
         YVmRcs7ovl5UvYwS8oZrMwDHvAAAABHNzaDo=",
    )
    .unwrap();
    let announced = [present.clone(), small, ecdsa.clone(), security_key];
    let known = known(&line("db", &present));
    let mut target = target();
    assert_eq!(sift(&target, &known, &announced).new, [ecdsa]);
    target.algorithms.host_keys = Some(vec!["ssh-ed25519".to_owned()]);
    assert_eq!(sift(&target, &known, &announced).new, []);
}

#[test]
fn a_server_that_announces_without_end_is_heard_to_the_hundredth_key() {
    let present = ed25519();
    let announced: Vec<_> = (0..150).map(|_| ed25519()).collect();
    let news = sift(&target(), &known(&line("db", &present)), &announced);
    assert_eq!(news.new, announced[..100]);
}

#[test]
fn the_lines_of_the_alias_count_where_there_is_one() {
    let [present, new] = [0; 2].map(|_| ed25519());
    let mut target = target();
    target.host_key_alias = Some("cluster".to_owned());
    let text = line("cluster", &present) + &line("db", &new);
    let news = sift(&target, &known(&text), &[present, new.clone()]);
    assert_eq!(news.new, [new]);
}

#[test]
fn who_does_not_want_it_has_no_learner() {
    let trust = TrustCommand::written("tunneld trust db".to_owned());
    let mut target = target();
    assert!(learner(&target, &trust).is_none());
    target.update_host_keys = true;
    assert!(learner(&target, &trust).is_some());
}
