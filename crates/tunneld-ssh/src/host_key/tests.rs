//! The promise: no key is trusted that is not the host's own as far as its files say, and every
//! refusal names the place, shows both fingerprints and says what to do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tunneld_core::config::Sourced;
use tunneld_core::failure::Class;

use super::*;

mod alias;
mod certificates;

/// What to do about a key that is not known.
const ADD: &str = "`tunneld trust db` shows the host's keys, to be compared with what the host itself \
                   says, and adds them";

struct Scene {
    dir: TempDir,
    target: Target,
}

/// A public key made by the real ssh-keygen.
fn new_key(dir: &TempDir, kind: &[&str]) -> PublicKey {
    let path = dir
        .path()
        .join(format!("key{}", fs::read_dir(dir).unwrap().count()));
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "a comment", "-f"])
        .arg(&path)
        .args(kind)
        .status()
        .unwrap();
    assert!(made.success());
    let text = fs::read_to_string(path.with_extension("pub")).unwrap();
    PublicKey::from_openssh(&text).unwrap()
}

impl Scene {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let known_hosts = Sourced {
            value: dir.path().join("known_hosts"),
            span: None,
        };
        let target = Target {
            known_hosts: vec![known_hosts],
            ..Target::new("DB.example.com", 22, "tunnel")
        };
        Scene { dir, target }
    }

    fn ed25519(&self) -> PublicKey {
        new_key(&self.dir, &["-t", "ed25519"])
    }

    fn file(&self) -> String {
        self.target.known_hosts[0].value.display().to_string()
    }

    fn write(&self, lines: &[String]) {
        fs::write(self.file(), lines.join("\n")).unwrap();
    }

    fn known(&self) -> KnownHosts {
        let files = self.target.known_hosts.iter().map(|f| f.value.clone());
        KnownHosts::read(&files.collect::<Vec<PathBuf>>()).unwrap()
    }

    fn judge(&self, key: &PublicKey) -> Verdict {
        judge(&self.target, &self.known(), key, &trust())
    }

    fn judge_pinned(&self, pins: &[&str], key: &PublicKey) -> Verdict {
        let (known, trust) = (self.known(), trust());
        let mut case = Case::new(&self.target, &known, key.key_data(), &trust);
        case.pins = pins.to_vec();
        case.judge()
    }

    /// By a line that is for other hosts too, or for another port.
    fn trusted_by_another(&self, line: usize) -> Verdict {
        Verdict::Trusted {
            by: format!("{}:{line}", self.file()),
            known_in: None,
        }
    }

    fn trusted(&self, line: usize) -> Verdict {
        Verdict::Trusted {
            by: format!("{}:{line}", self.file()),
            known_in: Some(self.file().into()),
        }
    }
}

fn trust() -> TrustCommand {
    TrustCommand::of(&"db".parse().unwrap())
}

fn line(hosts: &str, key: &PublicKey) -> String {
    format!("{hosts} {}", key.to_openssh().unwrap())
}

fn sha(key: &PublicKey) -> String {
    fingerprint(key.key_data())
}

fn refusal(verdict: Verdict) -> (String, String) {
    let Verdict::Refused(failure) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(failure.stage, Stage::HostKey);
    assert_eq!(failure.class, Class::Blocked);
    (failure.cause, failure.hint.unwrap())
}

#[test]
fn the_hosts_own_key_is_trusted_wherever_it_stands() {
    let scene = Scene::new();
    let (own, other) = (scene.ed25519(), scene.ed25519());
    scene.write(&[line("db.example.com", &other), line("*.example.com", &own)]);
    // The key that the server sends has no comment.
    let offered = PublicKey::from(own.key_data().clone());
    assert_eq!(scene.judge(&offered), scene.trusted_by_another(2));
}

#[test]
fn an_unknown_host_is_refused_with_the_fingerprint_the_files_and_the_command() {
    let mut scene = Scene::new();
    let key = scene.ed25519();
    let (file, sha) = (scene.file(), sha(&key));
    let (cause, hint) = refusal(scene.judge(&key));
    assert_eq!(
        cause,
        format!(
            "unknown host DB.example.com:22: it offers ED25519 {sha}, which is not in {file} \
             (missing)"
        )
    );
    assert_eq!(hint, ADD);
    scene.write(&[line("other", &key)]);
    let second = scene.dir.path().join("second file");
    scene.target.known_hosts.push(Sourced {
        value: second.clone(),
        span: None,
    });
    scene.target.host = "::1".to_owned();
    scene.target.port = 2222;
    let (cause, hint) = refusal(scene.judge(&key));
    assert_eq!(
        cause,
        format!(
            "unknown host [::1]:2222: it offers ED25519 {sha}, which is in none of {file}, {} \
             (missing)",
            second.display()
        )
    );
    assert_eq!(hint, ADD);
}

#[test]
fn the_command_for_a_jump_host_names_it_with_its_port_and_the_tunnel() {
    // As the shell takes it; of the last host asked about, however many there are.
    let hop = |host: &str, port| trust().at_hop(&Target::new(host, port, "ops")).to_string();
    assert_eq!(hop("b", 22), "tunneld trust db --hop b:22");
    assert_eq!(hop("::1", 2222), "tunneld trust db --hop '[::1]:2222'");
    let second = trust().at_hop(&Target::new("a", 22, "ops"));
    let third = second.at_hop(&Target::new("b", 22, "ops")).to_string();
    assert_eq!(third, hop("b", 22));
}

#[test]
fn accept_new_learns_an_unknown_host_and_nothing_else() {
    let mut scene = Scene::new();
    scene.target.strict_host_key_checking = StrictHostKeyChecking::AcceptNew;
    let (own, other) = (scene.ed25519(), scene.ed25519());
    let rsa = new_key(&scene.dir, &["-t", "rsa", "-b", "2048"]);
    assert_eq!(scene.judge(&own), Verdict::Learn);
    let host = KnownAs::host("DB.example.com", 22);
    crate::known_hosts::learn(Path::new(&scene.file()), &host, &own).unwrap();
    assert_eq!(scene.judge(&own), scene.trusted(1));
    assert!(
        refusal(scene.judge(&other))
            .0
            .starts_with("host key changed: ")
    );
    assert!(
        refusal(scene.judge(&rsa))
            .0
            .starts_with("no RSA host key is known for ")
    );
    scene.write(&[line("@revoked *", &other)]);
    assert_eq!(scene.judge(&own), Verdict::Learn);
    assert!(
        refusal(scene.judge(&other))
            .0
            .starts_with("host key revoked: ")
    );
    scene.target.known_hosts.clear();
    let (cause, hint) = refusal(scene.judge(&own));
    assert!(cause.ends_with("and no known_hosts file is set"), "{cause}");
    assert_eq!(
        hint,
        "set known_hosts, or pin the key with host_key_fingerprint"
    );
}

#[test]
fn a_changed_key_is_refused_with_both_fingerprints_the_place_and_the_commands() {
    let mut scene = Scene::new();
    let (old, new) = (scene.ed25519(), scene.ed25519());
    let file = scene.file();
    scene.write(&["# first".to_owned(), line("db.example.com", &old)]);
    let (cause, hint) = refusal(scene.judge(&new));
    assert_eq!(
        cause,
        format!(
            "host key changed: DB.example.com:22 offered ED25519 {}, {file}:2 has {}",
            sha(&new),
            sha(&old)
        )
    );
    assert_eq!(
        hint,
        format!(
            "if the change is expected: ssh-keygen -R db.example.com -f {file}, then `tunneld trust \
             db`"
        )
    );

    scene.target.port = 2222;
    scene.write(&[line("[db.example.com]:2222", &old)]);
    let (_, hint) = refusal(scene.judge(&new));
    let removal = format!("ssh-keygen -R '[db.example.com]:2222' -f {file}, then `tunneld trust");
    assert!(hint.contains(&removal), "{hint}");
}

#[test]
fn the_command_of_the_hint_really_takes_the_changed_key_out() {
    let mut scene = Scene::new();
    scene.target.port = 2222;
    let (old, new) = (scene.ed25519(), scene.ed25519());
    scene.write(&[line("[db.example.com]:2222", &old), line("other", &old)]);
    let (_, hint) = refusal(scene.judge(&new));
    let command = hint
        .split(": ")
        .nth(1)
        .unwrap()
        .split(", then")
        .next()
        .unwrap();
    let done = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
    assert!(refusal(scene.judge(&new)).0.starts_with("unknown host "));
    assert_eq!(fs::read_to_string(scene.file()).unwrap().lines().count(), 1);
}

#[test]
fn a_line_that_names_other_hosts_is_not_removed_by_the_hint() {
    // `ssh-keygen -R` would take all of it, also where it has a key of another type.
    let scene = Scene::new();
    let (old, new) = (scene.ed25519(), scene.ed25519());
    let rsa = new_key(&scene.dir, &["-t", "rsa", "-b", "2048"]);
    let (file, own) = (scene.file(), line("db.example.com", &old));
    let edit = |n| format!("edit {file}:{n} (it names other hosts too), then ");
    for (shared, wanted) in [
        (
            line("*.example.com", &old),
            format!("remove {file}:1, {}", edit(2)),
        ),
        (
            line("web,db.example.com", &old),
            format!("remove {file}:1, {}", edit(2)),
        ),
        (
            line("web,db.example.com", &rsa),
            format!("remove {file}:1, then "),
        ),
    ] {
        scene.write(&[own.clone(), shared]);
        let (cause, hint) = refusal(scene.judge(&new));
        assert!(
            cause.contains(&format!("{file}:1 has {}", sha(&old))),
            "{cause}"
        );
        assert!(
            hint.starts_with(&format!("if the change is expected: {wanted}")),
            "{hint}"
        );
    }
    // What others are called is no matter.
    scene.write(&[own, line("web,mail", &old)]);
    let (_, hint) = refusal(scene.judge(&new));
    assert!(hint.contains("ssh-keygen -R db.example.com -f "), "{hint}");
}

#[test]
fn a_key_of_a_type_that_is_not_known_is_neither_changed_nor_new() {
    let mut scene = Scene::new();
    scene.target.strict_host_key_checking = StrictHostKeyChecking::AcceptNew;
    let offered = scene.ed25519();
    let ec = new_key(&scene.dir, &["-t", "ecdsa", "-b", "256"]);
    let rsa = new_key(&scene.dir, &["-t", "rsa", "-b", "2048"]);
    scene.write(&[line("db.example.com", &ec), line("db.example.com", &rsa)]);
    let (cause, hint) = refusal(scene.judge(&offered));
    let file = scene.file();
    assert_eq!(
        cause,
        format!(
            "no ED25519 host key is known for DB.example.com:22, known are: ECDSA nistp256 \
             ({file}:1), RSA ({file}:2); it offered {}",
            sha(&offered)
        )
    );
    assert_eq!(hint, ADD);
}

#[test]
fn a_revoked_key_is_refused_before_and_after_a_line_that_trusts_it_and_with_a_pin() {
    let scene = Scene::new();
    let key = scene.ed25519();
    let (plain, revoked) = (line("db.example.com", &key), line("@revoked *", &key));
    for lines in [[&plain, &revoked], [&revoked, &plain]] {
        scene.write(&lines.map(Clone::clone));
        let at = 1 + lines.iter().position(|l| **l == revoked).unwrap();
        let expected = format!(
            "host key revoked: DB.example.com:22 offered ED25519 {}, which {}:{at} revokes",
            sha(&key),
            scene.file()
        );
        assert_eq!(refusal(scene.judge(&key)).0, expected);
        assert_eq!(refusal(scene.judge_pinned(&[&sha(&key)], &key)).0, expected);
    }
}

#[test]
fn pins_decide_alone() {
    let scene = Scene::new();
    let (own, other) = (scene.ed25519(), scene.ed25519());
    scene.write(&[line("db.example.com", &other)]);
    let pin = sha(&own);
    let by = format!("host_key_fingerprint {pin}");
    assert_eq!(
        scene.judge_pinned(&["SHA256:x", &pin], &own),
        Verdict::Trusted { by, known_in: None }
    );
    // Known, but not pinned; and accept-new does not matter.
    let (cause, hint) = refusal(scene.judge_pinned(&[&pin], &other));
    assert_eq!(
        cause,
        format!(
            "host key not pinned: DB.example.com:22 offered ED25519 {}, host_key_fingerprint has \
             {pin}",
            sha(&other)
        )
    );
    assert!(
        hint.ends_with("needs a pin for each: `tunneld trust db` shows them"),
        "{hint}"
    );
}

#[test]
fn an_authority_for_certificates_does_not_vouch_for_a_plain_key() {
    let scene = Scene::new();
    let key = scene.ed25519();
    scene.write(&[line("@cert-authority *", &key)]);
    let (cause, _) = refusal(scene.judge(&key));
    let file = scene.file();
    assert!(
        cause.starts_with("unknown host DB.example.com:22: "),
        "{cause}"
    );
    let note = format!("(the @cert-authority of {file}:1 says nothing of a plain key)");
    assert!(cause.ends_with(&note), "{cause}");
}

#[test]
fn at_another_port_the_bare_name_can_trust_a_key_but_not_change_it() {
    let mut scene = Scene::new();
    scene.target.port = 2222;
    let (own, other) = (scene.ed25519(), scene.ed25519());
    scene.write(&[line("db.example.com", &own)]);
    assert_eq!(scene.judge(&own), scene.trusted_by_another(1));
    assert!(
        refusal(scene.judge(&other))
            .0
            .starts_with("unknown host DB.example.com:2222")
    );
    scene.write(&[
        line("db.example.com", &own),
        line("[db.example.com]:2222", &other),
    ]);
    assert!(
        refusal(scene.judge(&own))
            .0
            .starts_with("host key changed: ")
    );
    scene.write(&[line("@revoked db.example.com", &own)]);
    assert!(
        refusal(scene.judge(&own))
            .0
            .starts_with("host key revoked: ")
    );
    // Not the other way round.
    scene.target.port = 22;
    scene.write(&[line("[db.example.com]:2222", &own)]);
    assert!(refusal(scene.judge(&own)).0.starts_with("unknown host "));
}

#[test]
fn an_rsa_key_below_the_least_size_is_refused_with_its_size() {
    let scene = Scene::new();
    let small = PublicKey::from_openssh(
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQC7f0fn3Yv5gGbq0mYzT2xwbYQIcZ6Qb5QvYbzC8CTcHzR5u1FY\
         0e3m0qvXr4vWTk5bYXkVtU9d8mYVd0xTqfsd",
    )
    .unwrap();
    scene.write(&[line("*", &small)]);
    let (cause, _) = refusal(scene.judge(&small));
    assert_eq!(
        cause,
        format!(
            "host key too small: DB.example.com:22 offered RSA {} with 512 bits, at least 1024 \
             are needed",
            sha(&small)
        )
    );
    let enough = new_key(&scene.dir, &["-t", "rsa", "-b", "1024"]);
    scene.write(&[line("*", &enough)]);
    assert_eq!(scene.judge(&enough), scene.trusted_by_another(1));
    // `required_rsa_size` asks for more.
    let mut scene = scene;
    scene.target.required_rsa_size = 2048;
    let (cause, _) = refusal(scene.judge(&enough));
    assert!(
        cause.ends_with("with 1024 bits, at least 2048 are needed"),
        "{cause}"
    );
}

#[test]
fn known_types_are_asked_for_first_and_in_our_order() {
    let rsa = |hash| Algorithm::Rsa { hash };
    let sha512 = rsa(Some(russh::keys::HashAlg::Sha512));
    let sha256 = rsa(Some(russh::keys::HashAlg::Sha256));
    let ec = |curve| Algorithm::Ecdsa { curve };
    let p256 = ec(russh::keys::EcdsaCurve::NistP256);
    let p384 = ec(russh::keys::EcdsaCurve::NistP384);
    let ed = Algorithm::Ed25519;
    let preferred = [
        ed.clone(),
        p256.clone(),
        p384.clone(),
        sha512.clone(),
        sha256.clone(),
    ];
    assert_eq!(order(&preferred, &[]), preferred);
    assert_eq!(
        order(&preferred, &[rsa(None), p384.clone()]),
        [p384, sha512, sha256, ed, p256]
    );
}
