//! The promise: no known_hosts file makes the parser or the matching panic, and what was read can
//! be looked up.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tunneld_ssh::known_hosts::KnownHosts;

fuzz_target!(|text: &str| {
    if let Ok(known) = KnownHosts::from_text(Path::new("known_hosts"), text) {
        for (host, port) in [("db.example.com", 22), ("::1", 2222), ("", 0)] {
            for entry in known.lookup(host, port) {
                let _ = (entry.place(), entry.type_name(), entry.fingerprint());
            }
            let _ = known.known_algorithms(host, port);
        }
    }
});
