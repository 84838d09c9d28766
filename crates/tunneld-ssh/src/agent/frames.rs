//! What is said to an agent and what it answers, as bytes (draft-ietf-sshm-ssh-agent; OpenSSH's
//! extensions are in its PROTOCOL.agent). No sockets and no clock: values in, values out.
//!
//! russh has a client of its own. It is not used because it gives the whole list up over one key of
//! a type that it does not know, or over one comment that is not UTF-8, and because it writes what
//! is signed to the log.

use std::fmt;

use russh::keys::ssh_encoding::{self, Decode};

/// The longest frame that is taken, in bytes without its length: as OpenSSH's.
pub const MAX_FRAME: usize = 256 << 10;

/// The most keys that an agent may have: as OpenSSH's.
pub const MAX_KEYS: u32 = 2048;

/// The extension that tells an agent which server is meant.
const SESSION_BIND: &[u8] = b"session-bind@openssh.com";

mod number {
    pub(super) const SUCCESS: u8 = 6;
    pub(super) const REQUEST_IDENTITIES: u8 = 11;
    pub(super) const IDENTITIES_ANSWER: u8 = 12;
    pub(super) const SIGN_REQUEST: u8 = 13;
    pub(super) const SIGN_RESPONSE: u8 = 14;
    pub(super) const EXTENSION: u8 = 27;
    /// SSH_AGENT_FAILURE and what older agents say for it.
    pub(super) const FAILURES: [u8; 3] = [5, 30, 102];
}

/// Flag of a request to sign with an RSA key: SHA-256.
pub const RSA_SHA2_256: u32 = 2;
/// Flag of a request to sign with an RSA key: SHA-512.
pub const RSA_SHA2_512: u32 = 4;

/// A key as it stands in an agent's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key or certificate in the protocol's form.
    pub blob: Vec<u8>,
    /// What its owner calls it; what is not UTF-8 in it is replaced.
    pub comment: String,
}

/// An answer that is none: what came instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Garbled {
    /// A frame longer than [`MAX_FRAME`].
    TooLong(u32),
    /// A frame without a message.
    Empty,
    /// A message that answers another question.
    Unexpected(u8),
    /// A message that ends too early, or whose lengths do not fit.
    Damaged,
    /// A list of more than [`MAX_KEYS`] keys.
    TooMany(u32),
}

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Garbled::TooLong(len) => write!(f, "sent a frame of {len} bytes"),
            Garbled::Empty => f.write_str("sent an empty frame"),
            Garbled::Unexpected(number) => write!(f, "answered with message {number}"),
            Garbled::Damaged => f.write_str("sent a damaged answer"),
            Garbled::TooMany(keys) => write!(f, "says that it has {keys} keys"),
        }
    }
}

impl From<ssh_encoding::Error> for Garbled {
    fn from(_: ssh_encoding::Error) -> Self {
        Garbled::Damaged
    }
}

/// Asks for the list of keys.
pub fn list() -> Vec<u8> {
    framed(number::REQUEST_IDENTITIES, |_| {})
}

/// Asks for a signature over `data` with the key of this blob.
pub fn sign(key: &[u8], data: &[u8], flags: u32) -> Vec<u8> {
    framed(number::SIGN_REQUEST, |body| {
        put_string(body, key);
        put_string(body, data);
        body.extend(flags.to_be_bytes());
    })
}

/// Tells which server the signatures that are asked for later are meant for.
pub fn bind(host_key: &[u8], session_id: &[u8], signature: &[u8]) -> Vec<u8> {
    framed(number::EXTENSION, |body| {
        for part in [SESSION_BIND, host_key, session_id, signature] {
            put_string(body, part);
        }
        // The connection is not forwarded to that server.
        body.push(0);
    })
}

/// How many bytes follow the first four of a frame.
///
/// # Errors
///
/// When no answer is that long, or that short.
pub fn body_len(head: [u8; 4]) -> Result<usize, Garbled> {
    let len = u32::from_be_bytes(head);
    match usize::try_from(len) {
        Ok(0) => Err(Garbled::Empty),
        Ok(bytes) if bytes <= MAX_FRAME => Ok(bytes),
        _ => Err(Garbled::TooLong(len)),
    }
}

/// The answer to [`list`]; `None` when the agent refuses.
///
/// # Errors
///
/// When it is not one.
pub fn listed(body: &[u8]) -> Result<Option<Vec<Listed>>, Garbled> {
    let Some(mut rest) = answer(body, number::IDENTITIES_ANSWER)? else {
        return Ok(None);
    };
    let count = u32::decode(&mut rest)?;
    if count > MAX_KEYS {
        return Err(Garbled::TooMany(count));
    }
    let mut keys = Vec::new();
    for _ in 0..count {
        let blob = Vec::<u8>::decode(&mut rest)?;
        let comment = Vec::<u8>::decode(&mut rest)?;
        let comment = String::from_utf8_lossy(&comment).into_owned();
        keys.push(Listed { blob, comment });
    }
    Ok(Some(keys))
}

/// The answer to [`sign`]: the signature in the protocol's form, of which no more is known here
/// than that it begins with the name of an algorithm; `None` when the agent refuses.
///
/// # Errors
///
/// When it is not one.
pub fn signed(body: &[u8]) -> Result<Option<Signed>, Garbled> {
    let Some(mut rest) = answer(body, number::SIGN_RESPONSE)? else {
        return Ok(None);
    };
    let blob = Vec::<u8>::decode(&mut rest)?;
    let algorithm = String::decode(&mut blob.as_slice())?;
    Ok(Some(Signed { algorithm, blob }))
}

/// A signature that an agent made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The name of its algorithm: `rsa-sha2-512`.
    pub algorithm: String,
    /// All of it, with whatever a security key adds: flags and a counter.
    pub blob: Vec<u8>,
}

impl Signed {
    /// The signature at the end of a message that ends with one (RFC 4252 section 7).
    pub fn append_to(&self, message: &mut Vec<u8>) {
        put_string(message, &self.blob);
    }
}

/// Whether the answer to [`bind`] is a yes.
pub fn bound(body: &[u8]) -> bool {
    body.first() == Some(&number::SUCCESS)
}

/// What follows the number of the message that is waited for; `None` when the agent refuses.
fn answer(body: &[u8], wanted: u8) -> Result<Option<&[u8]>, Garbled> {
    match body.split_first() {
        Some((number, rest)) if *number == wanted => Ok(Some(rest)),
        Some((number, _)) if number::FAILURES.contains(number) => Ok(None),
        Some((number, _)) => Err(Garbled::Unexpected(*number)),
        None => Err(Garbled::Empty),
    }
}

fn framed(number: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = vec![number];
    write(&mut body);
    let mut frame = Vec::with_capacity(4 + body.len());
    put_string(&mut frame, &body);
    frame
}

/// A string of RFC 4251 section 5. All of ours are pieces of an SSH packet, far below 4 GiB.
fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend((bytes.len() as u32).to_be_bytes());
    to.extend(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_the_bytes_of_the_draft() {
        // Sections 3.2, 3.6 and 3.8; the extension as in PROTOCOL.agent.
        assert_eq!(list(), [0, 0, 0, 1, 11]);
        let signing = sign(b"k", b"da", RSA_SHA2_256);
        let expected = b"\0\0\0\x10\x0d\0\0\0\x01k\0\0\0\x02da\0\0\0\x02";
        assert_eq!(signing, expected);
        let binding = bind(b"h", b"s", b"g");
        let expected = [
            &b"\0\0\0\x2d\x1b\0\0\0\x18session-bind@openssh.com"[..],
            b"\0\0\0\x01h\0\0\0\x01s\0\0\0\x01g\0",
        ];
        assert_eq!(binding, expected.concat());
    }

    #[test]
    fn a_signature_is_handed_on_as_it_came() {
        // A security key adds to it what nobody here has to understand.
        let blob = b"\0\0\0\x05sk-x@\0\0\0\x03sig\x01\0\0\0\x09";
        let len = u8::try_from(blob.len()).unwrap();
        let body = [&[14, 0, 0, 0, len][..], blob].concat();
        let signature = signed(&body).unwrap().unwrap();
        assert_eq!(signature.algorithm, "sk-x@");
        let mut message = b"before".to_vec();
        signature.append_to(&mut message);
        let expected = [&b"before\0\0\0"[..], &[len], blob].concat();
        assert_eq!(message, expected);
    }

    #[test]
    fn a_frame_is_as_long_as_openssh_takes_it_and_no_longer() {
        let limit = u32::try_from(MAX_FRAME).unwrap();
        assert_eq!(body_len(limit.to_be_bytes()), Ok(MAX_FRAME));
        let over = body_len((limit + 1).to_be_bytes());
        assert_eq!(over, Err(Garbled::TooLong(limit + 1)));
        assert_eq!(body_len([0; 4]), Err(Garbled::Empty));
    }

    proptest! {
        #[test]
        fn no_answer_makes_a_panic(number in prop::sample::select(vec![5_u8, 12, 14]), rest: Vec<u8>) {
            let body = [vec![number], rest].concat();
            let _ = (listed(&body), signed(&body), bound(&body));
        }

        #[test]
        fn a_list_is_read_as_it_was_written(keys: Vec<(Vec<u8>, String)>) {
            let mut body = vec![number::IDENTITIES_ANSWER];
            body.extend(u32::try_from(keys.len()).unwrap().to_be_bytes());
            for (blob, comment) in &keys {
                put_string(&mut body, blob);
                put_string(&mut body, comment.as_bytes());
            }
            let expected = keys.into_iter().map(|(blob, comment)| Listed { blob, comment });
            prop_assert_eq!(listed(&body), Ok(Some(expected.collect())));
        }
    }
}
