//! The promise: `host_key_alias` stands for the host wherever its key is looked up, and for nothing
//! else.

use super::*;

fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.target.host_key_alias = Some("Cluster".to_owned());
    scene.target.port = 2222;
    scene
}

#[test]
fn the_alias_is_looked_up_without_a_port_and_the_host_is_not() {
    let scene = scene();
    let key = scene.ed25519();
    for (name, known) in [
        ("cluster", true),
        ("CLUSTER", true),
        ("[cluster]:2222", false),
        ("db.example.com", false),
        ("[db.example.com]:2222", false),
    ] {
        scene.write(&[line(name, &key)]);
        let trusted = scene.judge(&key) == scene.trusted(1);
        assert_eq!(trusted, known, "{name}");
    }
    scene.write(&[line("cluster", &key), line("@revoked cluster", &key)]);
    let (cause, _) = refusal(scene.judge(&key));
    assert!(cause.starts_with("host key revoked: "), "{cause}");
}

#[test]
fn a_refusal_names_both_and_its_commands_the_one_that_is_in_the_file() {
    let scene = scene();
    let (old, new) = (scene.ed25519(), scene.ed25519());
    let (file, sha) = (scene.file(), sha(&new));
    let (cause, hint) = refusal(scene.judge(&new));
    assert_eq!(
        cause,
        format!(
            "unknown host DB.example.com:2222 (as cluster): it offers ED25519 {sha}, which is not \
             in {file} (missing)"
        )
    );
    assert_eq!(hint, ADD);
    scene.write(&[line("cluster", &old), line("other", &old)]);
    let (cause, hint) = refusal(scene.judge(&new));
    assert!(
        cause.starts_with("host key changed: DB.example.com:2222 (as cluster) offered "),
        "{cause}"
    );
    let remove = format!("ssh-keygen -R cluster -f {file}");
    assert!(hint.contains(&remove), "{hint}");
    let done = Command::new("sh").args(["-c", &remove]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(refusal(scene.judge(&new)).0.starts_with("unknown host "));
}

#[test]
fn the_alias_is_what_accept_new_writes() {
    let mut scene = scene();
    scene.target.strict_host_key_checking = StrictHostKeyChecking::AcceptNew;
    let key = scene.ed25519();
    assert_eq!(scene.judge(&key), Verdict::Learn);
    let host = KnownAs::of(&scene.target);
    crate::known_hosts::learn(Path::new(&scene.file()), &host, &key).unwrap();
    assert_eq!(scene.judge(&key), scene.trusted(1));
    let text = fs::read_to_string(scene.file()).unwrap();
    assert!(text.starts_with("cluster ssh-ed25519 "), "{text}");
}
