//! Whatever a client sends, in whatever pieces: no panic, a request or a refusal within the bound,
//! the same one as if it had come at once, and no byte of the connection lost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tunneld_core::config::Destination;
use tunneld_core::socks::{Handshake, MAX_REQUEST, Outcome, Step};

/// The replies on the way, the last step, and how many bytes were fed and left.
fn talk<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Step, usize, Vec<u8>) {
    let mut handshake = Handshake::new();
    let (mut sent, mut fed) = (Vec::new(), 0);
    let mut pieces = pieces;
    let end = loop {
        match handshake.step() {
            Step::Reply(bytes) => sent.extend(bytes),
            Step::More => match pieces.next() {
                Some(piece) => {
                    fed += piece.len();
                    handshake.feed(piece);
                }
                None => break Step::More,
            },
            end => break end,
        }
    };
    (sent, end, fed, handshake.into_rest())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (at_once, bytes) = input;
    let at_once = usize::from(at_once) + 1;
    let (sent, end, fed, rest) = talk(bytes.chunks(at_once));
    let (sent_whole, end_whole, _, rest_whole) = talk(std::iter::once(bytes));
    assert_eq!(sent, sent_whole);
    match (end, end_whole) {
        (Step::Ask(request), Step::Ask(whole)) => {
            assert_eq!(request, whole);
            assert!(bytes[..fed].ends_with(&rest) && bytes.ends_with(&rest_whole));
            assert_eq!(fed - rest.len(), bytes.len() - rest_whole.len());
            let Destination::Tcp { host, port } = &request.destination else {
                panic!("{request:?}");
            };
            assert!((1..=255).contains(&host.len()) && *port != 0);
            assert!(!host.chars().any(|c| c.is_control() || c.is_whitespace()));
            assert!(!request.reply(Outcome::Down).is_empty());
        }
        (Step::Refuse { reply, reason }, Step::Refuse { reply: whole, .. }) => {
            assert_eq!(reply, whole);
            assert!(!reason.is_empty() && reason.len() <= 256);
            assert!(!reason.chars().any(char::is_control));
        }
        (Step::More, Step::More) => assert!(bytes.len() < MAX_REQUEST),
        ends => panic!("{ends:?}"),
    }
});
