//! The promise: the failure says what was refused, why the rest was not tried, what the server would
//! still take, and what to do.

use tunneld_core::config::{Credential, Sourced};

use super::*;

const PUBLICKEY: MethodKind = MethodKind::PublicKey;
const PASSWORD: MethodKind = MethodKind::Password;
const INTERACTIVE: MethodKind = MethodKind::KeyboardInteractive;

fn target() -> Target {
    Target::new("db", 22, "svc")
}

fn with_password() -> Target {
    let credential = Credential::Named("db-password".to_owned());
    Target {
        password_credential: Some(Sourced {
            value: credential,
            span: None,
        }),
        ..target()
    }
}

fn failure(tried: Tried, target: &Target, allowed: &[MethodKind]) -> (String, String) {
    let failure = tried.into_failure(target, Some(&allowed.into()));
    assert_eq!(failure.stage, Stage::Authenticate);
    assert_eq!(failure.class, Class::Blocked);
    (failure.cause, failure.hint.unwrap_or_default())
}

fn refused(keys: &[&str]) -> Tried {
    let mut tried = Tried::default();
    for key in keys {
        tried.refused_key((*key).to_owned());
    }
    tried
}

#[test]
fn rejected_keys_are_named_with_what_the_server_accepts() {
    let tried = refused(&["SHA256:a", "SHA256:b"]);
    let (cause, hint) = failure(tried, &target(), &[PUBLICKEY, PASSWORD]);
    let expected = "server rejected every key (tried 2: SHA256:a, SHA256:b); it accepts: \
                    publickey, password";
    assert_eq!(cause, expected);
    let expected = "add the public key to ~svc/.ssh/authorized_keys on db, or correct `user`, or \
                    name a password in password_credential";
    assert_eq!(hint, expected);

    let (_, hint) = failure(refused(&["SHA256:a"]), &target(), &[PUBLICKEY]);
    let expected = "add the public key to ~svc/.ssh/authorized_keys on db, or correct `user`";
    assert_eq!(hint, expected);
}

#[test]
fn a_server_that_takes_no_keys_is_told_apart() {
    let (cause, hint) = failure(refused(&["SHA256:a"]), &target(), &[PASSWORD]);
    let expected = "server rejected every key (tried 1: SHA256:a); it accepts: password";
    assert_eq!(cause, expected);
    assert_eq!(hint, "name a password in password_credential");
    let (cause, hint) = failure(refused(&["SHA256:a"]), &target(), &[]);
    let expected =
        "server rejected every key (tried 1: SHA256:a); it accepts: nothing that tunneld can do";
    assert_eq!(cause, expected);
    let expected = "the server takes no keys: see PubkeyAuthentication in its sshd_config";
    assert_eq!(hint, expected);
}

#[test]
fn a_rejected_password_is_named_by_its_credential() {
    let mut tried = Tried::default();
    tried.refused_password();
    let (cause, hint) = failure(tried, &with_password(), &[PASSWORD]);
    let expected = "server rejected the password of \"db-password\"; it accepts: password";
    assert_eq!(cause, expected);
    assert_eq!(hint, "correct what password_credential names, or `user`");

    let mut tried = refused(&["SHA256:a"]);
    tried.refused_password();
    let (cause, _) = failure(tried, &with_password(), &[PUBLICKEY, PASSWORD]);
    let expected = "server rejected every key (tried 1: SHA256:a) and the password of \
                    \"db-password\"; it accepts: publickey, password";
    assert_eq!(cause, expected);
}

#[test]
fn what_was_right_and_not_enough_is_not_called_rejected() {
    let mut tried = refused(&["SHA256:a"]);
    tried.accepted("the key SHA256:a".to_owned());
    let (cause, hint) = failure(tried, &target(), &[INTERACTIVE]);
    let expected = "server accepted the key SHA256:a and wants more: keyboard-interactive";
    assert_eq!(cause, expected);
    let expected = "name a password in password_credential; AuthenticationMethods in the server's \
                    sshd_config says what it wants";
    assert_eq!(hint, expected);

    let mut tried = refused(&["SHA256:a", "SHA256:b"]);
    tried.accepted("the key SHA256:b".to_owned());
    tried.refused_password();
    let (cause, hint) = failure(tried, &with_password(), &[PASSWORD]);
    let expected = "server accepted the key SHA256:b and wants more: password; it rejected every \
                    other key (tried 1: SHA256:a) and the password of \"db-password\"";
    assert_eq!(cause, expected);
    let expected = "AuthenticationMethods in the server's sshd_config says what it wants";
    assert_eq!(hint, expected);
}

#[test]
fn a_server_that_asks_for_more_than_a_password_is_quoted() {
    let code = "\"Verification code:\"".to_owned();
    let mut tried = Tried::default();
    tried.asked(code.clone());
    let (cause, hint) = failure(tried, &with_password(), &[INTERACTIVE]);
    let expected = "the server asks for more than a password: \"Verification code:\"";
    assert_eq!(cause, expected);
    assert!(hint.starts_with("nobody is there to answer"), "{hint}");

    let mut tried = refused(&["SHA256:a"]);
    tried.asked(code.clone());
    let (cause, _) = failure(tried, &with_password(), &[PUBLICKEY, INTERACTIVE]);
    let expected = "server rejected every key (tried 1: SHA256:a); it asks for more than a \
                    password: \"Verification code:\"; it accepts: publickey, keyboard-interactive";
    assert_eq!(cause, expected);

    let mut tried = refused(&["SHA256:a"]);
    tried.accepted("the key SHA256:a".to_owned());
    tried.asked(code);
    let (cause, _) = failure(tried, &with_password(), &[INTERACTIVE]);
    let expected = "server accepted the key SHA256:a and wants more: keyboard-interactive; it asks \
                    for more than a password: \"Verification code:\"";
    assert_eq!(cause, expected);
}

#[test]
fn what_could_not_be_tried_is_told_beside_what_was_refused() {
    let mut tried = refused(&["SHA256:a"]);
    let problem = Failure::blocked(Stage::Authenticate, "key file k: no such file");
    tried.problem(problem.clone());
    tried.problem(problem.clone());
    let (cause, _) = failure(tried, &target(), &[PUBLICKEY]);
    let expected = "server rejected every key (tried 1: SHA256:a); it accepts: publickey; not \
                    tried: key file k: no such file";
    assert_eq!(cause, expected);

    // Nothing could be tried: then that is the cause, and its hint the hint.
    let mut tried = Tried::default();
    tried.problem(problem.clone().with_hint("h"));
    let alone = failure(tried, &target(), &[PUBLICKEY]);
    assert_eq!(alone, (problem.cause.clone(), "h".to_owned()));
    let mut tried = Tried::default();
    tried.problem(problem);
    let (cause, _) = failure(tried, &target(), &[PASSWORD, PUBLICKEY]);
    let expected = "key file k: no such file; the server accepts: password, publickey";
    assert_eq!(cause, expected);
}

#[test]
fn what_passes_by_itself_is_waited_for() {
    // The key that is needed may be the one of the agent that is not there yet.
    let mut tried = Tried::default();
    tried.problem(Failure::blocked(
        Stage::Authenticate,
        "key file k is encrypted",
    ));
    tried.problem(Failure::transient(
        Stage::Authenticate,
        "agent a: no such file",
    ));
    let failure = tried.into_failure(&target(), Some(&[PUBLICKEY][..].into()));
    assert_eq!(failure.class, Class::Transient);
    assert_eq!(
        failure.cause,
        "key file k is encrypted; agent a: no such file"
    );
    // But a key that was rejected is not sent every second.
    let mut tried = refused(&["SHA256:a"]);
    tried.problem(Failure::transient(
        Stage::Authenticate,
        "agent a: no such file",
    ));
    let failure = tried.into_failure(&target(), Some(&[PUBLICKEY][..].into()));
    assert_eq!(failure.class, Class::Blocked);
}

#[test]
fn without_anything_to_try_it_is_said_what_the_server_accepts() {
    let (cause, hint) = failure(Tried::default(), &target(), &[PASSWORD]);
    assert_eq!(cause, "there is no key to try; it accepts: password");
    assert_eq!(hint, "name a password in password_credential");
    let (_, hint) = failure(Tried::default(), &target(), &[PUBLICKEY]);
    assert_eq!(
        hint,
        "make one with ssh-keygen, and name it in `identity_file`"
    );
    let (cause, _) = failure(Tried::default(), &with_password(), &[PUBLICKEY]);
    let expected =
        "there is no key to try, and the server takes no password; it accepts: publickey";
    assert_eq!(cause, expected);

    let tried = Tried {
        agent_unasked: true,
        ..Tried::default()
    };
    let (_, hint) = failure(tried, &target(), &[PUBLICKEY]);
    let expected = "SSH_AUTH_SOCK is set, but an agent is asked only where the file says so: \
                    identity_agent = \"SSH_AUTH_SOCK\"";
    assert_eq!(hint, expected);
}

#[test]
fn many_keys_are_counted_and_some_of_them_named() {
    let names: Vec<String> = (0..20).map(|n| format!("SHA256:{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (cause, _) = failure(refused(&names), &target(), &[PUBLICKEY]);
    assert!(cause.contains("(tried 20: SHA256:0, "), "{cause}");
    assert!(cause.contains("SHA256:7 and 12 more)"), "{cause}");
}

#[test]
fn a_server_that_ends_the_session_is_told_with_what_it_was_offered() {
    let ended = Failure::blocked(
        Stage::Authenticate,
        "server disconnected: Too many authentication failures",
    );
    let told = refused(&["SHA256:a", "SHA256:b"]).explain(ended.clone());
    let expected = "server disconnected: Too many authentication failures (tried 2: SHA256:a, \
                    SHA256:b)";
    assert_eq!(told.cause, expected);
    assert_eq!(Tried::default().explain(ended.clone()), ended);
}
