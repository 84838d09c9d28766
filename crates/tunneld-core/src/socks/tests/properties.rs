//! Whatever comes: no panic, an end within the bound, and the same end however it is cut.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::socks::MAX_REQUEST;

/// Bytes that begin as a client of ours does, more often than not.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let opening = prop_oneof![
        Just(b"\x04\x01\x00\x50\x00\x00\x00\x01".to_vec()),
        Just(b"\x05".to_vec()),
        Just(b"\x05\x01\x00\x05\x01\x00\x03".to_vec()),
        Just(b"CONNECT ".to_vec()),
        Just(b"CONNECT a:1 HTTP/1.1\r\n".to_vec()),
        Just(Vec::new()),
    ];
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b" \r\n:.\0a1[]".to_vec())];
    (opening, vec(byte, 0..400)).prop_map(|(opening, garbage)| [opening, garbage].concat())
}

/// A request that is served, with some of its bytes replaced.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let damage = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (prop::sample::select(served()), damage).prop_map(|((mut bytes, _), damage)| {
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

/// What the client notices: the reason may tell more of what came when more came.
fn noticed(talk: Talk) -> Talk {
    let end = match talk.end {
        Step::Refuse { reply, reason: _ } => refuse(&reply, ""),
        end => end,
    };
    Talk { end, ..talk }
}

proptest! {
    #[test]
    fn every_client_is_served_or_refused_within_the_bound(
        begin in anything(), filler in any::<u8>(), at_once in 1usize..2000,
    ) {
        let mut bytes = begin;
        bytes.resize(MAX_REQUEST, filler);
        let mut handshake = Handshake::new();
        let mut pieces = bytes.chunks(at_once);
        let end = loop {
            match handshake.step() {
                Step::Reply(_) => {}
                Step::More => match pieces.next() {
                    Some(piece) => handshake.feed(piece),
                    None => break Step::More,
                },
                end => break end,
            }
            prop_assert!(handshake.pending.len() <= MAX_REQUEST + at_once);
        };
        prop_assert_ne!(&end, &Step::More);
        if let Step::Refuse { reply, reason } = end {
            prop_assert!(reply.len() <= 1024 && reason.len() <= 256, "{}", reason);
            prop_assert!(reason.chars().all(|c| !c.is_control()), "{}", reason);
        }
    }

    #[test]
    fn the_end_is_the_same_however_the_bytes_are_cut(
        bytes in prop_oneof![anything(), damaged()], at_once in 1usize..20,
    ) {
        let whole = noticed(talk([&bytes[..]]));
        prop_assert_eq!(noticed(talk(bytes.chunks(at_once))), whole);
    }

    #[test]
    fn no_byte_is_lost_or_made_up(bytes in prop_oneof![anything(), damaged()]) {
        let talk = talk([&bytes[..]]);
        if let Step::Ask(request) = talk.end {
            prop_assert!(bytes.ends_with(&talk.rest));
            let whole = &bytes[..bytes.len() - talk.rest.len()];
            prop_assert_eq!(super::talk([whole]).end, Step::Ask(request));
        }
    }
}
