//! Where the network cuts a request makes no difference.

use super::*;

/// What a client sends before it has an answer: it begins like each of the protocols at once.
const EARLY: &[u8] = b"\x05\x04CONNECT \x16\x03\x01\0\r\n\r\n";

fn served_with_early_data() -> impl Iterator<Item = (Vec<u8>, Talk)> {
    served().into_iter().map(|(request, end)| {
        let sent = match request.first() {
            Some(5) => vec![5, 0],
            _ => Vec::new(),
        };
        let rest = EARLY.to_vec();
        ([&request, EARLY].concat(), Talk { sent, end, rest })
    })
}

#[test]
fn a_request_cut_in_two_anywhere_is_the_same_request_and_loses_no_early_data() {
    for (bytes, expected) in served_with_early_data() {
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(talk([a, b]), expected, "cut at {cut} of {bytes:?}");
        }
    }
}

#[test]
fn a_request_cut_in_three_anywhere_is_the_same_request_and_loses_no_early_data() {
    for (bytes, expected) in served_with_early_data() {
        // The long ones are long names: nothing happens within them.
        let cuts = (0..=bytes.len()).filter(|cut| *cut < 80 || bytes.len() - cut < 40);
        let cuts: Vec<usize> = cuts.collect();
        for (nth, &first) in cuts.iter().enumerate() {
            for &second in &cuts[nth..] {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(talk(pieces), expected, "cut at {first} and {second}");
            }
        }
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_the_same_request() {
    for (bytes, expected) in served_with_early_data() {
        assert_eq!(talk(bytes.chunks(1)), expected);
    }
}

#[test]
fn a_request_is_whole_with_its_last_byte_and_not_before() {
    for (bytes, end) in served() {
        for length in 0..bytes.len() {
            let talk = talk([&bytes[..length]]);
            assert_eq!(talk.end, Step::More, "{length} bytes of {bytes:?}");
        }
        let talk = talk([&bytes[..]]);
        assert_eq!((talk.end, talk.rest), (end, Vec::new()));
    }
}

#[test]
fn a_refusal_is_the_same_wherever_the_request_is_cut() {
    let over_head = [b"CONNECT a:1 HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 9000]].concat();
    let requests: [&[u8]; 12] = [
        b"\x04\x02\x00\x50\x7f\x00\x00\x01\0",
        b"\x04\x01\x00\x50\x00\x00\x00\x01\0a b\0",
        &[b'\x04'; 400],
        b"\x05\x01\x02",
        b"\x05\x01\x00\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x16",
        b"\x05\x01\x00\x05\x01\x00\x02",
        b"\x05\x01\x00\x04\x01\x00\x01",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT db HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nX: y\r\n\r\0\n",
        &over_head,
    ];
    for bytes in requests {
        let whole = talk([bytes]);
        assert!(matches!(whole.end, Step::Refuse { .. }), "{whole:?}");
        for cut in (0..=bytes.len()).filter(|cut| *cut < 80 || *cut > 8100) {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(talk([a, b]), whole, "cut at {cut} of {bytes:?}");
        }
        assert_eq!(talk(bytes.chunks(1)), whole);
    }
}
