//! The promise: the failure says what was refused, why the rest was not tried, what the server would
//! still take, and what to do.

use tunneld_core::config::{Credential, Sourced};

use super::*;

const PUBLICKEY: MethodKind = MethodKind::PublicKey;
const PASSWORD: MethodKind = MethodKind::Password;
const INTERACTIVE: MethodKind = MethodKind::KeyboardInteractive;

const RESTART: &str = ", then systemctl restart tunneld: systemd passes it on at the start";

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
    assert_eq!(
        hint,
        format!("correct what password_credential names, or `user`{RESTART}")
    );

    let mut tried = refused(&["SHA256:a"]);
    tried.refused_password();
    let (cause, also) = failure(tried, &with_password(), &[PUBLICKEY, PASSWORD]);
    assert_eq!(also, hint);
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
    assert_eq!(
        hint,
        format!("correct what password_credential names{RESTART}")
    );
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
fn what_could_not_be_tried_is_mended_first() {
    // The key beside an expired certificate is offered, and refused by a server that knows the
    // authority alone: the line in authorized_keys is not what is missing.
    let problem = |failure: Failure| Problem {
        what: "a certificate",
        file: None,
        failure: failure.with_hint("renew it"),
        passes: true,
    };
    let expired = Failure::blocked(Stage::Authenticate, "certificate c expired on D");
    let mut tried = refused(&["SHA256:a"]);
    tried.unusable(problem(expired.clone()));
    let (cause, hint) = failure(tried, &target(), &[PUBLICKEY]);
    assert!(cause.ends_with("; not tried: certificate c expired on D"));
    let key = "add the public key to ~svc/.ssh/authorized_keys on db, or correct `user`";
    assert_eq!(hint, format!("renew it; {key}"));

    // One whose time comes is waited for; not with a wrong password.
    let early = Failure::transient(Stage::Authenticate, "certificate c is not valid before D");
    let class = |with_wrong_password: bool| {
        let mut tried = refused(&["SHA256:a"]);
        tried.unusable(problem(early.clone()));
        if with_wrong_password {
            tried.refused_password();
        }
        let failure = tried.into_failure(&with_password(), Some(&[PUBLICKEY][..].into()));
        (failure.class, failure.hint.unwrap())
    };
    assert_eq!(class(false), (Class::Transient, format!("renew it; {key}")));
    let hint = format!("renew it; correct what password_credential names, or `user`{RESTART}");
    assert_eq!(class(true), (Class::Blocked, hint));
}

#[test]
fn a_wrong_password_is_looked_at_before_keys_that_no_server_takes() {
    let mut tried = refused(&["SHA256:a"]);
    tried.refused_password();
    let (_, hint) = failure(tried, &with_password(), &[PASSWORD]);
    assert_eq!(
        hint,
        format!("correct what password_credential names, or `user`{RESTART}")
    );
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
    let nothing = request("", false);
    let ended = Failure::blocked(
        Stage::Authenticate,
        "server disconnected: Too many authentication failures",
    );
    let told = refused(&["SHA256:a", "SHA256:b"]).explain(ended.clone(), &nothing, &target());
    let expected = "server disconnected: Too many authentication failures (tried 2: SHA256:a, \
                    SHA256:b)";
    assert_eq!(told.cause, expected);
    let told = Tried::default().explain(ended.clone(), &nothing, &target());
    assert_eq!(told, ended);
}

#[test]
fn a_server_that_hangs_up_instead_of_an_answer_is_told_with_what_it_was_shown() {
    let closed = Failure::transient(Stage::Authenticate, "connection closed");
    let key = request("ED25519 SHA256:b (k)", false);
    let told = refused(&["SHA256:a", "SHA256:b"]).explain(closed.clone(), &key, &target());
    let expected = "connection closed, without an answer to ED25519 SHA256:b (k) (tried 2: \
                    SHA256:a, SHA256:b)";
    assert_eq!(
        (told.cause.as_str(), told.class),
        (expected, Class::Transient)
    );
    let told = Tried::default().explain(closed.clone(), &request("", false), &target());
    assert_eq!(told, closed);
}

#[test]
fn a_password_is_not_sent_again_and_again_to_a_server_that_hangs_up_on_it() {
    // It is likely wrong, and accounts are locked over that; also where it was refused before.
    let closed = Failure::transient(Stage::Authenticate, "connection closed");
    let hint = format!("correct what password_credential names, or `user`{RESTART}");
    let password = request("the password of \"db-password\"", true);
    let told = Tried::default().explain(closed.clone(), &password, &with_password());
    let expected = "connection closed, without an answer to the password of \"db-password\"";
    assert_eq!(
        (told.cause.as_str(), told.class),
        (expected, Class::Blocked)
    );
    assert_eq!(told.hint.unwrap(), hint);
    let mut tried = Tried::default();
    tried.refused_password();
    let told = tried.explain(closed, &request("", false), &with_password());
    assert_eq!(
        (told.cause.as_str(), told.class),
        ("connection closed", Class::Blocked)
    );
    assert_eq!(told.hint.unwrap(), hint);
}

fn request(with: &str, is_password: bool) -> Request<'_> {
    Request {
        method: "m",
        with,
        is_password,
    }
}
