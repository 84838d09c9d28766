//! What a file shows without a passphrase: the public half, from the file itself or from its
//! neighbour, which is all that an agent's key is found by.

use super::*;

fn public_of(path: &Path) -> Option<String> {
    KeyFile::read(path).unwrap().public().map(fingerprint)
}

#[test]
fn an_encrypted_key_shows_its_public_half_where_the_file_or_its_neighbour_does() {
    let dir = TempDir::new().unwrap();
    for (format, shown_alone) in [("RFC4716", true), ("PKCS8", false)] {
        let args = ["-t", "ecdsa", "-a", "1", "-m", format];
        let path = keygen(&dir, format, "secret", &args);
        let expected = Some(fingerprint_by_ssh_keygen(&path));
        assert_eq!(public_of(&path), expected);
        fs::remove_file(beside(&path)).unwrap();
        assert_eq!(public_of(&path), expected.filter(|_| shown_alone));
    }
}

#[test]
fn a_public_key_stands_for_the_one_that_an_agent_has() {
    // `identity_file = "id.pub"`, or `id` where only `id.pub` is here.
    let dir = TempDir::new().unwrap();
    let path = keygen(&dir, "id", "", &["-t", "ed25519"]);
    let expected = Some(fingerprint_by_ssh_keygen(&path));
    let public = beside(&path);
    assert_eq!(public_of(&public), expected);
    fs::remove_file(&path).unwrap();
    assert_eq!(public_of(&path), expected);
    assert!(Identity::read(&path).unwrap_err().is_missing());
}

#[test]
fn a_public_key_with_a_comment_or_before_it_is_read() {
    let dir = TempDir::new().unwrap();
    let path = keygen(&dir, "id", "", &["-t", "ed25519"]);
    let line = fs::read_to_string(beside(&path)).unwrap();
    let file = write(&dir, "more.pub", format!("# mine\n\n{line}"));
    assert_eq!(public_of(&file), Some(fingerprint_by_ssh_keygen(&path)));
}

#[test]
fn a_private_key_that_does_not_belong_to_the_public_one_beside_it_is_told() {
    // The server was asked about the public one: a signature of another key is of no use.
    let dir = TempDir::new().unwrap();
    let args = ["-t", "ecdsa", "-m", "PKCS8"];
    let (one, two) = (
        keygen(&dir, "one", "secret", &args),
        keygen(&dir, "two", "", &args),
    );
    fs::copy(beside(&two), beside(&one)).unwrap();
    let KeyFile::Locked(key) = KeyFile::read(&one).unwrap() else {
        panic!();
    };
    let problem = key.unlock("secret").unwrap_err();
    let (key, public) = (one.display(), beside(&one));
    let public = public.display();
    assert_eq!(
        problem.to_string(),
        format!("key file {key} is not the private half of {public}")
    );
    let hint = format!("ssh-keygen -y -f {key} > {public} writes the right one");
    assert_eq!(problem.hint().unwrap(), hint);
}

/// The private half of a security key holds no secret: a handle that the key itself understands.
fn security_key_file(dir: &TempDir, comment: &str) -> PathBuf {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    let kind = string(b"sk-ssh-ed25519@openssh.com");
    let point = string(&[7; 32]);
    let public = [&kind[..], &point, &string(b"ssh:")].concat();
    let mut inner = [&[1; 8], &public[..], &[1], &string(b"handle"), &string(b"")].concat();
    inner.extend(string(comment.as_bytes()));
    inner.extend((1..).take((8 - inner.len() % 8) % 8));
    let none = string(b"none");
    let mut blob = b"openssh-key-v1\0".to_vec();
    for part in [&none, &none, &string(b""), &1_u32.to_be_bytes().to_vec()] {
        blob.extend_from_slice(part);
    }
    blob.extend(string(&public));
    blob.extend(string(&inner));
    let body = STANDARD.encode(blob);
    let label = "OPENSSH PRIVATE KEY";
    let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    write(dir, "id_sk", text)
}

#[test]
fn the_file_of_a_security_key_needs_an_agent() {
    let dir = TempDir::new().unwrap();
    let path = security_key_file(&dir, "c");
    run("ssh-keygen", &["-l", "-f", &path.display().to_string()]);
    assert_problem(
        &path,
        " is a key that lives on a security key, and needs an agent, which tunneld does not \
         support",
        "ssh-add PATH, and name the agent in identity_agent",
    );
    assert!(public_of(&path).is_some());
}
