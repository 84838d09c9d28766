//! Host certificates: an authority's word for which key is the host's (PROTOCOL.certkeys).
//!
//! What makes one good for a host is OpenSSH's `sshkey_cert_check_host`, as of 10.3: the authority
//! is named by an `@cert-authority` line for the host, and its signature fits and is not made with
//! SHA-1; it is a certificate of a host, valid now, with no critical option, since none is known;
//! and one of its principals is the host's name without the port, or its `host_key_alias`. They
//! may have `*` and `?`, and a certificate without any is for no host: older versions took it for
//! one of every host.

use std::time::SystemTime;

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg};
use tunneld_core::certificate::date;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::text::{clip, glob_matches};

use super::{Case, least_rsa_bits, listed, named};
use crate::known_hosts::{Entry, Marker, rsa_bits};
use tunneld_core::text::printable;

/// The longest name from a certificate that a message shows, in characters.
const MOST_SHOWN: usize = 64;

impl Case<'_> {
    /// Who says that the certificate is the host's, or why nobody does.
    pub(super) fn accept(
        &self,
        certificate: &Certificate,
        now: SystemTime,
    ) -> Result<String, Failure> {
        let authority = self
            .authority_of(certificate)
            .ok_or_else(|| self.unknown_authority(certificate))?;
        let problem = |problem: Problem| {
            let from = format!("; {} offered {}", self.place(), id(certificate));
            let cause = format!("host certificate {}{from}", problem.cause);
            let cause = format!("{cause}, signed by the authority of {}", authority.place());
            let failure = match problem.passes {
                true => Failure::transient(Stage::HostKey, cause),
                false => Failure::blocked(Stage::HostKey, cause),
            };
            failure.with_hint(problem.hint)
        };
        let checks = [
            is_sound(certificate, least_rsa_bits(self.target)),
            is_in_time(certificate, now),
            is_for(certificate, self.host.principal()),
        ];
        checks
            .into_iter()
            .collect::<Result<(), _>>()
            .map_err(problem)?;
        let until = match end(certificate) {
            Some(end) => format!("until {}", date(end)),
            None => "forever".to_owned(),
        };
        let (place, id) = (authority.place(), id(certificate));
        Ok(format!("@cert-authority {place} ({id}, valid {until})"))
    }

    fn authority_of(&self, certificate: &Certificate) -> Option<&Entry> {
        let signs = |e: &&Entry| {
            e.marker() == Some(Marker::CertAuthority)
                && e.key() == Some(certificate.signature_key())
        };
        self.all_lines().into_iter().find(signs)
    }

    fn unknown_authority(&self, certificate: &Certificate) -> Failure {
        let cause = format!(
            "host certificate signed by an authority that no @cert-authority line names: {}; {} \
             offered {}",
            named(certificate.signature_key()),
            self.place(),
            id(certificate)
        );
        let file = match self.files.first() {
            Some(file) => file.display().to_string(),
            None => "known_hosts".to_owned(),
        };
        Failure::blocked(Stage::HostKey, cause).with_hint(format!(
            "if the authority is the right one by its own word (ssh-keygen -lf CA.pub, where its \
             key is), add to {file} a line with `@cert-authority {}` and that key",
            self.host.principal()
        ))
    }
}

/// Why a certificate is no good.
struct Problem {
    /// Goes on from `host certificate`.
    cause: String,
    hint: String,
    /// Whether waiting can help.
    passes: bool,
}

fn problem(cause: impl Into<String>, hint: impl Into<String>) -> Result<(), Problem> {
    Err(Problem {
        cause: cause.into(),
        hint: hint.into(),
        passes: false,
    })
}

/// Whether it is one that its authority can have made for a host, with a key of no less than this
/// many bits if it is RSA.
fn is_sound(certificate: &Certificate, least: usize) -> Result<(), Problem> {
    const AGAIN: &str = "sign the host's key again with a current ssh-keygen";
    let authority = certificate.signature_key();
    let signed = certificate.signature().algorithm();
    if signed == (Algorithm::Rsa { hash: None }) {
        return problem("is signed with SHA-1 (ssh-rsa)", AGAIN);
    }
    if let Some(bits) = rsa_bits(authority)
        && bits < least
    {
        return problem(
            format!("is signed with an RSA key of {bits} bits, at least {least} are needed"),
            "give the authority a new key",
        );
    }
    // Checks the signature. The time is for another sentence.
    let at = certificate.valid_after();
    if at < certificate.valid_before()
        && certificate
            .validate_at(at, &[authority.fingerprint(HashAlg::Sha256)])
            .is_err()
    {
        return problem("is damaged: the signature does not fit", AGAIN);
    }
    if certificate.cert_type() != CertType::Host {
        return problem(
            "is one of a user",
            "sign the host's key again, with ssh-keygen -h",
        );
    }
    match certificate.critical_options().keys().next() {
        Some(option) => problem(
            format!("has a critical option that is not known: {}", shown(option)),
            "sign the host's key again without it",
        ),
        None => Ok(()),
    }
}

fn is_in_time(certificate: &Certificate, now: SystemTime) -> Result<(), Problem> {
    if let Some(end) = end(certificate)
        && end <= now
    {
        return problem(
            format!("expired on {}", date(end)),
            "sign the host's key again (ssh-keygen -s CA -h -V +52w …), and let its sshd read it \
             again",
        );
    }
    match certificate.valid_after_time() {
        Some(start) if start <= now => Ok(()),
        Some(start) => Err(Problem {
            cause: format!("not valid before {}", date(start)),
            hint: "if that is past, the clock of this machine is wrong".to_owned(),
            passes: true,
        }),
        None => problem("is never valid", "sign the host's key again, with dates"),
    }
}

/// The first moment at which it is not valid any more; `None` where there is no such.
fn end(certificate: &Certificate) -> Option<SystemTime> {
    match certificate.valid_before() {
        u64::MAX => None,
        _ => certificate.valid_before_time(),
    }
}

fn is_for(certificate: &Certificate, host: &str) -> Result<(), Problem> {
    let again = || format!("sign the host's key again, with ssh-keygen -n {host}");
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return problem("is for no host", again());
    }
    let matches = |name: &String| glob_matches(name.as_bytes(), host.as_bytes());
    if principals.iter().any(matches) {
        return Ok(());
    }
    let names = listed(principals.iter().map(|name| shown(name)));
    problem(
        format!("is for {names}, not {host}"),
        format!(
            "{}; or set host_key_alias to a name that it is for",
            again()
        ),
    )
}

/// How messages name a certificate: by the name that its authority has given it.
pub(crate) fn id(certificate: &Certificate) -> String {
    format!("certificate \"{}\"", shown(certificate.key_id()))
}

fn shown(text: &str) -> String {
    clip(&printable(text), MOST_SHOWN)
}
