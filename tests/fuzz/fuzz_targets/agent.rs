//! The promise: whatever an agent answers, no panic, and what is taken for a key of its list is
//! sent back to it in the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tunneld_ssh::agent::AgentKey;
use tunneld_ssh::agent::frames::{MAX_KEYS, Signed, body_len, bound, listed, signed};

fuzz_target!(|body: &[u8]| {
    if let Some(head) = body.first_chunk::<4>() {
        let _ = body_len(*head).map_err(|garbled| garbled.to_string());
    }
    let _ = bound(body);
    if let Ok(Some(Signed { blob, .. })) = signed(body) {
        assert!(blob.len() < body.len());
    }
    if let Ok(Some(keys)) = listed(body) {
        assert!(keys.len() <= MAX_KEYS as usize);
        for listed in keys {
            let blob = listed.blob.clone();
            if let Ok(key) = AgentKey::read(listed) {
                assert!(key.to_string().chars().all(|c| !c.is_control()));
                let sent = match &key {
                    AgentKey::Key(key, _) => key.to_bytes(),
                    AgentKey::Certificate(certificate, _) => certificate.to_bytes(),
                };
                assert_eq!(sent.ok(), Some(blob));
            }
        }
    }
});
