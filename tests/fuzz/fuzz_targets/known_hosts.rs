//! The promise: no known_hosts file and no host certificate makes the parser, the matching or the
//! judgement panic, and what was read can be looked up. A first line that is a certificate is judged
//! by the lines below it.
#![no_main]

use std::path::Path;
use std::time::UNIX_EPOCH;

use libfuzzer_sys::fuzz_target;
use russh::keys::Certificate;
use tunneld_core::config::Target;
use tunneld_ssh::host_key::{self, TrustCommand};
use tunneld_ssh::known_hosts::{KnownAs, KnownHosts};

fuzz_target!(|text: &str| {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let certificate = Certificate::from_openssh(first).ok();
    let lines = if certificate.is_some() { rest } else { text };
    let Ok(known) = KnownHosts::from_text(Path::new("known_hosts"), lines) else {
        return;
    };
    for host in [
        KnownAs::host("db.example.com", 22),
        KnownAs::host("::1", 2222),
        KnownAs::host("", 0),
        KnownAs::alias("Cluster"),
    ] {
        let entries = [known.lookup(&host), known.lookup_bare(&host)].concat();
        for entry in entries {
            let _ = (entry.place(), entry.type_name(), entry.fingerprint());
            let _ = (entry.is_for_one_name(), entry.is_shared());
        }
        let _ = (known.known_algorithms(&host), known.has_authority(&host));
    }
    if let Some(certificate) = certificate {
        let trust = TrustCommand::written(String::new());
        let target = Target::new("db.example.com", 22, "tunnel");
        let _ = host_key::judge_certificate(&target, &known, &certificate, UNIX_EPOCH, &trust);
    }
});
