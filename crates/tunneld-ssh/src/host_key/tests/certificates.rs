//! The promise: a host certificate is taken from the authorities that known_hosts names for the host,
//! for the host, while it is valid; else the key in it counts as if it had come alone, and where
//! that does not help, it is said what is wrong with the certificate. They are made by the real
//! ssh-keygen.

use std::time::{Duration, UNIX_EPOCH};

use super::*;

/// A certificate that is valid for all of 2023.
const IN_2023: [&str; 2] = ["-V", "20230101000000Z:20240101000000Z"];

/// In the middle of 2023.
const NOW: u64 = 1_688_169_600;

/// A scene with an authority, and a key of the host.
struct Signed {
    scene: Scene,
    authority: PublicKey,
    host: PublicKey,
}

impl Signed {
    fn new() -> Self {
        Self::with(Scene::new(), &["-t", "ed25519"])
    }

    fn with(scene: Scene, authority: &[&str]) -> Self {
        let authority = named_key(&scene.dir, "authority", authority);
        let host = named_key(&scene.dir, "host", &["-t", "ed25519"]);
        let signed = Signed {
            scene,
            authority,
            host,
        };
        signed.trust("*.example.com");
        signed
    }

    fn trust(&self, hosts: &str) {
        let authority = line(&format!("@cert-authority {hosts}"), &self.authority);
        self.scene.write(&[authority]);
    }

    /// The host's key, signed by the authority with more arguments of ssh-keygen.
    fn sign(&self, args: &[&str]) -> Certificate {
        let path = |name: &str| self.scene.dir.path().join(name);
        let signed = Command::new("ssh-keygen")
            .arg("-qs")
            .arg(path("authority"))
            .args(["-I", "an id"])
            .args(args)
            .arg(path("host.pub"))
            .output()
            .unwrap();
        assert!(signed.status.success(), "{args:?}: {signed:?}");
        let text = fs::read_to_string(path("host-cert.pub")).unwrap();
        Certificate::from_openssh(&text).unwrap()
    }

    fn good(&self) -> Certificate {
        self.sign(&[&["-hn", "db.example.com"], &IN_2023[..]].concat())
    }

    fn judge(&self, certificate: &Certificate) -> (Verdict, Option<String>) {
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        judge_certificate(
            &self.scene.target,
            &self.scene.known(),
            certificate,
            now,
            &trust(),
        )
    }

    /// That the certificate is refused with this cause, and what to do about it.
    fn refuses(&self, certificate: &Certificate, what: &str) -> String {
        let (cause, hint) = refusal(self.judge(certificate).0);
        assert_eq!(cause, self.cause(what));
        hint
    }

    fn cause(&self, what: &str) -> String {
        format!(
            "host certificate {what}; DB.example.com:22 offered certificate \"an id\", signed by \
             the authority of {}:1",
            self.scene.file()
        )
    }
}

fn named_key(dir: &TempDir, name: &str, kind: &[&str]) -> PublicKey {
    let path = dir.path().join(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-f"]).arg(&path).args(kind);
    assert!(command.status().unwrap().success());
    PublicKey::from_openssh(&fs::read_to_string(path.with_extension("pub")).unwrap()).unwrap()
}

#[test]
fn a_certificate_of_a_known_authority_is_trusted_with_its_place_its_name_and_its_end() {
    for kind in [
        ["-t", "ed25519", "-b", "256"],
        ["-t", "ecdsa", "-b", "384"],
        ["-t", "rsa", "-b", "2048"],
    ] {
        let signed = Signed::with(Scene::new(), &kind);
        let by = |until: &str| Verdict::Trusted {
            by: format!(
                "@cert-authority {}:1 (certificate \"an id\", valid {until})",
                signed.scene.file()
            ),
            known_in: None,
        };
        let trusted = (by("until 2024-01-01 00:00:00 UTC"), None);
        assert_eq!(signed.judge(&signed.good()), trusted);
        let unbounded = signed.sign(&["-hn", "db.example.com"]);
        assert_eq!(signed.judge(&unbounded), (by("forever"), None));
    }
}

#[test]
fn the_first_and_the_last_second_of_a_certificate_count() {
    let signed = Signed::new();
    let good = signed.good();
    let at = |now: u64| {
        let now = UNIX_EPOCH + Duration::from_secs(now);
        let known = signed.scene.known();
        let (verdict, _) = judge_certificate(&signed.scene.target, &known, &good, now, &trust());
        matches!(verdict, Verdict::Trusted { .. })
    };
    let (begin, end) = (1_672_531_200, 1_704_067_200);
    assert!(!at(0) && !at(begin - 1) && at(begin) && at(end - 1) && !at(end) && !at(u64::MAX / 4));
}

#[test]
fn it_has_to_be_for_the_host_as_it_is_named_without_its_port_or_for_its_alias() {
    // What it is for, the host, its port and its alias.
    let mut signed = Signed::new();
    signed.trust("*");
    for (names, host, port, alias, good) in [
        ("db.example.com", "DB.example.com", 22, None, true),
        ("db.example.com", "db.example.com", 2222, None, true),
        ("[db.example.com]:2222", "db.example.com", 2222, None, false),
        ("a,b,db.example.com", "db.example.com", 22, None, true),
        ("DB.example.com", "db.example.com", 22, None, false),
        ("*.example.com", "db.example.com", 22, None, true),
        ("*.example.com", "example.com", 22, None, false),
        ("db?.example.com", "db1.example.com", 22, None, true),
        ("!db.example.com,*", "a", 22, None, true),
        ("db", "db.example.com", 22, None, false),
        ("10.0.0.5", "10.0.0.5", 2222, None, true),
        ("db.example.com", "10.0.0.5", 22, None, false),
        (
            "db.example.com",
            "10.0.0.5",
            2222,
            Some("db.example.com"),
            true,
        ),
        ("10.0.0.5", "10.0.0.5", 22, Some("db.example.com"), false),
    ] {
        let target = &mut signed.scene.target;
        host.clone_into(&mut target.host);
        target.port = port;
        target.host_key_alias = alias.map(str::to_owned);
        let (verdict, _) = signed.judge(&signed.sign(&["-hn", names]));
        let trusted = matches!(verdict, Verdict::Trusted { .. });
        assert_eq!(trusted, good, "{names} for {host}:{port} {alias:?}");
    }
}

#[test]
fn an_authority_counts_for_the_hosts_of_its_line_with_and_without_the_port() {
    let mut signed = Signed::new();
    signed.scene.target.port = 2222;
    let good = signed.good();
    for (hosts, counts) in [
        ("[db.example.com]:2222", true),
        ("db.example.com", true),
        ("*.example.com", true),
        ("*,!db.example.com", true),
        ("[db.example.com]:22", false),
        ("*.example.org", false),
    ] {
        signed.trust(hosts);
        let host = KnownAs::of(&signed.scene.target);
        assert_eq!(signed.scene.known().has_authority(&host), counts, "{hosts}");
        let (verdict, _) = signed.judge(&good);
        let trusted = matches!(verdict, Verdict::Trusted { .. });
        assert_eq!(trusted, counts, "{hosts}");
    }
}

#[test]
fn an_expired_certificate_is_refused_with_its_end() {
    let signed = Signed::new();
    let old = [
        "-hn",
        "db.example.com",
        "-V",
        "20220101000000Z:20221231235959Z",
    ];
    let hint = signed.refuses(&signed.sign(&old), "expired on 2022-12-31 23:59:59 UTC");
    assert!(hint.starts_with("sign the host's key again (ssh-keygen -s CA -h -V +52w "));
}

#[test]
fn one_that_is_not_valid_yet_is_refused_with_its_begin_and_time_helps() {
    let signed = Signed::new();
    let new = [
        "-hn",
        "db.example.com",
        "-V",
        "20240101000000Z:20250101000000Z",
    ];
    let (Verdict::Refused(failure), _) = signed.judge(&signed.sign(&new)) else {
        panic!("trusted");
    };
    assert_eq!(
        failure.cause,
        signed.cause("not valid before 2024-01-01 00:00:00 UTC")
    );
    assert_eq!(failure.class, Class::Transient);
    let hint = "if that is past, the clock of this machine is wrong";
    assert_eq!(failure.hint.unwrap(), hint);
}

#[test]
fn one_for_other_hosts_is_refused_with_their_names() {
    let signed = Signed::new();
    let names = "a.example.com,b,c,d,e";
    let what = "is for a.example.com, b, c and 2 more, not db.example.com";
    let hint = signed.refuses(&signed.sign(&["-hn", names]), what);
    assert_eq!(
        hint,
        "sign the host's key again, with ssh-keygen -n db.example.com; or set host_key_alias to a \
         name that it is for"
    );
    signed.refuses(&signed.sign(&["-h"]), "is for no host");
}

#[test]
fn one_of_an_unknown_authority_is_refused_with_its_fingerprint() {
    let signed = Signed::new();
    let other = named_key(&signed.scene.dir, "other", &["-t", "ed25519"]);
    signed.scene.write(&[line("@cert-authority *", &other)]);
    let (cause, hint) = refusal(signed.judge(&signed.good()).0);
    assert_eq!(
        cause,
        format!(
            "host certificate signed by an authority that no @cert-authority line names: ED25519 \
             {}; DB.example.com:22 offered certificate \"an id\"",
            sha(&signed.authority)
        )
    );
    let add = format!(
        "add to {} a line with `@cert-authority db.example.com` and that key",
        signed.scene.file()
    );
    assert!(hint.ends_with(&add), "{hint}");
}

#[test]
fn what_no_host_certificate_may_be_is_refused_with_its_reason() {
    let signed = Signed::new();
    let user = signed.sign(&["-n", "db.example.com"]);
    signed.refuses(&user, "is one of a user");
    let name = ["-hn", "db.example.com"];
    let option = signed.sign(&[&name[..], &["-O", "critical:x@y=z"]].concat());
    signed.refuses(&option, "has a critical option that is not known: x@y");
    let extension = signed.sign(&[&name[..], &["-O", "extension:x@y=z"]].concat());
    assert!(matches!(
        signed.judge(&extension).0,
        Verdict::Trusted { .. }
    ));
    // One byte of what is signed is another.
    let mut bytes = signed.good().to_bytes().unwrap();
    let at = bytes.windows(5).position(|w| w == b"an id").unwrap();
    bytes[at + 2] = b'_';
    let forged = Certificate::from_bytes(&bytes).unwrap();
    let (cause, _) = refusal(signed.judge(&forged).0);
    assert!(
        cause.starts_with("host certificate is damaged: the signature does not fit; "),
        "{cause}"
    );
}

#[test]
fn a_signature_with_sha1_is_refused() {
    let signed = Signed::with(Scene::new(), &["-t", "rsa", "-b", "2048"]);
    let sha1 = signed.sign(&["-t", "ssh-rsa", "-hn", "db.example.com"]);
    signed.refuses(&sha1, "is signed with SHA-1 (ssh-rsa)");
}

#[test]
fn where_the_certificate_does_not_help_the_key_in_it_does_if_it_is_known() {
    let signed = Signed::new();
    let authority = line("@cert-authority *", &signed.authority);
    let own = line("db.example.com", &signed.host);
    signed.scene.write(&[authority.clone(), own]);
    let bad = signed.sign(&["-hn", "other"]);
    let (verdict, problem) = signed.judge(&bad);
    assert_eq!(verdict, signed.scene.trusted(2));
    assert_eq!(
        problem,
        Some(signed.cause("is for other, not db.example.com"))
    );
    // A key that is known as another one does not help; the certificate is what is to be mended.
    let changed = line("db.example.com", &signed.scene.ed25519());
    signed.scene.write(&[authority, changed]);
    signed.refuses(&bad, "is for other, not db.example.com");
}

#[test]
fn accept_new_learns_the_key_of_a_certificate_that_is_no_good_as_ssh_does() {
    let mut signed = Signed::new();
    signed.scene.target.strict_host_key_checking = StrictHostKeyChecking::AcceptNew;
    let (verdict, problem) = signed.judge(&signed.sign(&["-hn", "other"]));
    assert_eq!(verdict, Verdict::Learn);
    assert!(problem.unwrap().contains("is for other, not "));
    let (verdict, problem) = signed.judge(&signed.good());
    assert!(matches!(verdict, Verdict::Trusted { .. }) && problem.is_none());
}

#[test]
fn a_revoked_key_and_a_revoked_authority_are_refused_with_a_good_certificate() {
    let signed = Signed::new();
    let good = signed.good();
    let authority = line("@cert-authority *", &signed.authority);
    let (file, own) = (signed.scene.file(), line("*", &signed.host));
    let revoke = |key| line("@revoked *", key);
    signed
        .scene
        .write(&[authority.clone(), own.clone(), revoke(&signed.host)]);
    assert_eq!(
        refusal(signed.judge(&good).0).0,
        format!(
            "host key revoked: DB.example.com:22 offered ED25519 {}, which {file}:3 revokes",
            sha(&signed.host)
        )
    );
    signed
        .scene
        .write(&[authority, own, revoke(&signed.authority)]);
    assert_eq!(
        refusal(signed.judge(&good).0).0,
        format!(
            "host certificate authority revoked: DB.example.com:22 offered a certificate of ED25519 \
             {}, which {file}:3 revokes",
            sha(&signed.authority)
        )
    );
    let host = KnownAs::of(&signed.scene.target);
    assert!(!signed.scene.known().has_authority(&host));
}

#[test]
fn an_authority_of_a_security_key_is_understood() {
    // There is no such key here: that its line is read, and can be looked for, is what can be seen.
    let scene = Scene::new();
    let key = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIKnhgS8w0V\
               lxNBoX+pJYVmRcs7ovl5UvYwS8oZrMwDHvAAAABHNzaDo=";
    scene.write(&[format!("@cert-authority * {key}")]);
    let known = scene.known();
    let entries = known.lookup(&KnownAs::of(&scene.target));
    assert_eq!(entries[0].type_name(), "ED25519-SK");
    assert!(entries[0].fingerprint().is_some());
}

#[test]
fn no_damage_to_a_certificate_makes_it_another_good_one_or_the_judgement_panic() {
    // Each byte: the nonce, the key, the dates, the lengths, the signature.
    let signed = Signed::new();
    let good = signed.good();
    let bytes = good.to_bytes().unwrap();
    let known = signed.scene.known();
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let mut read = 0;
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x81;
        let Ok(damaged) = Certificate::from_bytes(&bytes) else {
            continue;
        };
        read += 1;
        let (verdict, _) = judge_certificate(&signed.scene.target, &known, &damaged, now, &trust());
        assert!(matches!(verdict, Verdict::Refused(_)), "{at}: {verdict:?}");
    }
    assert!(read > 100, "{read}");
}
