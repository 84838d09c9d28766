//! Errors of russh and of the operating system, turned into failures: the only such mapping.

use std::io;
use std::time::Duration;

use russh::client::RemoteDisconnectInfo;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::text::{clip, printable};

use crate::algorithms::is_marker;

/// What a session's callbacks fail with.
#[derive(Debug)]
pub enum SessionError {
    /// From russh.
    Ssh(russh::Error),
    /// Our own decision, such as a host key that is not trusted.
    Refused(Failure),
}

impl From<russh::Error> for SessionError {
    fn from(e: russh::Error) -> Self {
        SessionError::Ssh(e)
    }
}

/// The operating system's reason in its own words: lowercase and without the number.
pub fn os_reason(e: &io::Error) -> String {
    let text = e.to_string();
    let text = match text.find(" (os error") {
        Some(end) => &text[..end],
        None => &text,
    };
    match text {
        "" => "unknown error".to_owned(),
        text => lowercase_first(text),
    }
}

/// A failure of a session, or of an attempt to make one, at `stage`.
pub(crate) fn session_failure(stage: Stage, e: &SessionError) -> Failure {
    match e {
        SessionError::Refused(failure) => failure.clone(),
        SessionError::Ssh(e) => ssh_failure(stage, e),
    }
}

fn ssh_failure(stage: Stage, e: &russh::Error) -> Failure {
    use russh::Error;
    match e {
        Error::IO(io) if io.kind() == io::ErrorKind::UnexpectedEof => closed(stage),
        Error::IO(io) => Failure::transient(stage, os_reason(io)),
        Error::Disconnect | Error::HUP | Error::SendError | Error::RecvError => closed(stage),
        Error::Version => Failure::transient(stage, "the server does not speak SSH 2")
            .with_hint("check `host` and `port`: something else listens there"),
        Error::NoCommonAlgo { kind, theirs, .. } => no_common_algorithm(kind, theirs),
        Error::WrongServerSig => Failure::blocked(
            Stage::HostKey,
            "the server's signature does not fit its host key",
        ),
        Error::NoAuthMethod => no_method_failure(),
        Error::Pending => Failure::transient(stage, "the server did not finish a key re-exchange"),
        other => Failure::transient(stage, lowercase_first(&printable(&other.to_string()))),
    }
}

/// The server takes no method of authentication that russh knows the name of, for which russh ends
/// the session.
pub(crate) fn no_method_failure() -> Failure {
    let cause = "the server accepts no way to authenticate that tunneld knows";
    Failure::blocked(Stage::Authenticate, cause)
}

fn closed(stage: Stage) -> Failure {
    let cause = match stage {
        Stage::KeyExchange | Stage::HostKey => "server closed the connection during key exchange",
        Stage::Authenticate => "server closed the connection during authentication",
        _ => "server closed the connection",
    };
    Failure::transient(stage, cause)
}

fn no_common_algorithm(kind: &russh::AlgorithmKind, theirs: &[String]) -> Failure {
    if matches!(kind, russh::AlgorithmKind::Key) && is_sha1_only(theirs) {
        return sha1_only(theirs);
    }
    let (name, keyword) = match kind {
        russh::AlgorithmKind::Kex => ("key exchange method", "KexAlgorithms"),
        russh::AlgorithmKind::Key => ("host key type", "HostKeyAlgorithms"),
        russh::AlgorithmKind::Cipher => ("cipher", "Ciphers"),
        russh::AlgorithmKind::Compression => ("compression", "Compression"),
        russh::AlgorithmKind::Mac => ("MAC", "MACs"),
    };
    let theirs = theirs.iter().map(String::as_str);
    let theirs: Vec<&str> = theirs.filter(|name| !is_marker(name)).collect();
    let names = clip(&printable(&theirs.join(",")), 300);
    Failure::blocked(
        Stage::KeyExchange,
        format!("no common {name}; the server offers {names}"),
    )
    .with_hint(format!(
        "tunneld has none of these: allow another one in the server's sshd_config ({keyword}), or \
         update the server"
    ))
}

/// Whether all the types of host key that a server offers sign with SHA-1.
fn is_sha1_only(theirs: &[String]) -> bool {
    let plain = |name: &&String| !name.contains("-cert-v0");
    let sha1 = |name: &String| name == "ssh-rsa" || name == "ssh-dss";
    let mut theirs = theirs.iter().filter(plain).peekable();
    theirs.peek().is_some() && theirs.all(sha1)
}

fn sha1_only(theirs: &[String]) -> Failure {
    let names = clip(&printable(&theirs.join(",")), 300);
    Failure::blocked(
        Stage::KeyExchange,
        format!("no common host key type; the server offers only {names}, which signs with SHA-1"),
    )
    .with_hint(
        "on the server: `ssh-keygen -A` makes an Ed25519 key for it, and OpenSSH from 7.2 on signs \
         with its RSA key as rsa-sha2-512, unless HostKeyAlgorithms in its sshd_config forbids that",
    )
}

/// Why a server has not proved that it has a host key; `None` when the session ended meanwhile.
pub(crate) fn proof_failure(e: &russh::Error) -> Option<&'static str> {
    use russh::Error;
    match e {
        Error::Disconnect | Error::SendError => None,
        Error::RequestDenied => Some("the server refuses to prove that it has them"),
        _ => Some("the server's proof that it has them is wrong"),
    }
}

/// The server said goodbye (SSH_MSG_DISCONNECT, RFC 4253 section 11.1).
pub(crate) fn disconnect_failure(stage: Stage, info: &RemoteDisconnectInfo) -> Failure {
    let said = clip(&printable(&info.message), 200);
    let cause = format!("server disconnected: {said}");
    // sshd says so once MaxAuthTries is reached: asking again with the same keys changes nothing.
    if stage == Stage::Authenticate && said.contains("Too many authentication failures") {
        return Failure::blocked(stage, cause)
            .with_hint("list only the right key in `identity_file`: each wrong one counts");
    }
    Failure::transient(stage, cause)
}

/// What had not happened when the deadline was over.
pub(crate) fn timeout_failure(stage: Stage, after: Duration) -> Failure {
    let seconds = after.as_secs_f64();
    let cause = match stage {
        Stage::Resolve => format!("no answer from the resolver in {seconds}s"),
        Stage::Connect => format!("connection timed out after {seconds}s"),
        Stage::HostKey => format!("known_hosts not read and checked within {seconds}s"),
        Stage::KeyExchange => format!("server accepted but did not speak SSH within {seconds}s"),
        Stage::Authenticate => format!("authentication not finished within {seconds}s"),
        _ => format!("no answer within {seconds}s"),
    };
    Failure::transient(stage, cause)
}

fn lowercase_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunneld_core::failure::Class;

    #[test]
    fn the_systems_reason_is_lowercase_and_without_its_number() {
        let e = io::Error::from_raw_os_error(111);
        assert_eq!(os_reason(&e), "connection refused");
    }

    #[test]
    fn host_keys_that_sign_with_sha1_only_are_told_from_others_that_are_not_in_common() {
        let cause = |names: &[&str]| {
            let theirs: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            no_common_algorithm(&russh::AlgorithmKind::Key, &theirs).cause
        };
        let sha1 = "no common host key type; the server offers only ";
        for names in [
            &["ssh-rsa"][..],
            &["ssh-rsa", "ssh-dss"],
            &["ssh-rsa-cert-v01@openssh.com", "ssh-rsa"],
        ] {
            let expected = format!("{sha1}{}, which signs with SHA-1", names.join(","));
            assert_eq!(cause(names), expected);
        }
        for names in [
            &["ssh-rsa", "x@y"][..],
            &[],
            &["ssh-rsa-cert-v01@openssh.com"],
        ] {
            assert!(!cause(names).starts_with(sha1), "{names:?}");
        }
    }

    #[test]
    fn what_is_no_key_exchange_is_not_told_as_one_that_the_server_offers() {
        let theirs = ["ecdh-x", "ext-info-s", "kex-strict-s-v00@openssh.com"].map(str::to_owned);
        let failure = no_common_algorithm(&russh::AlgorithmKind::Kex, &theirs);
        let cause = "no common key exchange method; the server offers ecdh-x";
        assert_eq!(failure.cause, cause);
    }

    #[test]
    fn a_goodbye_over_too_many_keys_needs_a_person_and_others_do_not() {
        let info = |message: &str| RemoteDisconnectInfo {
            reason_code: russh::Disconnect::ByApplication,
            message: message.to_owned(),
            lang_tag: String::new(),
        };
        let tries = disconnect_failure(
            Stage::Authenticate,
            &info("Too many authentication failures"),
        );
        assert_eq!(tries.class, Class::Blocked);
        let restart = disconnect_failure(Stage::Session, &info("bye\r\nnow\x1b[31m"));
        assert_eq!(restart.class, Class::Transient);
        assert_eq!(restart.cause, "server disconnected: bye  now [31m");
        let typed = disconnect_failure(Stage::Session, &info("run `x`\u{202e}"));
        assert_eq!(typed.cause, "server disconnected: run 'x'");
    }

    #[test]
    fn what_a_server_lacks_is_told_with_the_keyword_and_without_markers() {
        let theirs = [
            "sntrup761x25519-sha512@openssh.com",
            "kex-strict-s-v00@openssh.com",
        ];
        let theirs = theirs.map(str::to_owned);
        let failure = no_common_algorithm(&russh::AlgorithmKind::Kex, &theirs);
        assert_eq!(
            failure.cause,
            "no common key exchange method; the server offers sntrup761x25519-sha512@openssh.com"
        );
        assert_eq!(
            failure.hint.unwrap(),
            "tunneld has none of these: allow another one in the server's sshd_config \
             (KexAlgorithms), or update the server"
        );
    }
}
