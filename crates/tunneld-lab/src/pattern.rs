//! Deterministic bytes, and a way to compare long streams.

use std::io::{self, Read};

/// A deterministic stream of bytes: the same `seed` gives the same bytes, however they are read.
#[derive(Debug, Clone)]
pub struct Pattern {
    state: u64,
    left: u64,
    word: [u8; 8],
    used: usize,
}

impl Pattern {
    /// The stream of `seed`, `len` bytes long.
    pub fn new(len: u64, seed: u64) -> Self {
        Pattern {
            state: seed,
            left: len,
            word: [0; 8],
            used: 8,
        }
    }

    fn next_word(&mut self) -> [u8; 8] {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    }
}

impl Read for Pattern {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut out = &mut buf[..len];
        while !out.is_empty() {
            if self.used == 8 {
                self.word = self.next_word();
                self.used = 0;
            }
            let n = out.len().min(8 - self.used);
            out[..n].copy_from_slice(&self.word[self.used..self.used + n]);
            self.used += n;
            out = &mut out[n..];
        }
        self.left -= len as u64;
        Ok(len)
    }
}

/// The bytes of a [`Pattern`].
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    Pattern::new(len as u64, seed)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// Reads once. A socket with a timeout fails whenever the process was stopped and goes on (signal(7)):
/// that is no end, and is not told.
pub fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// A running hash of a stream: quick, not cryptographic, the same however the stream is cut.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    hash: u64,
    len: u64,
    part: u64,
}

impl Digest {
    /// Takes more of the stream.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = usize::try_from(self.len % 8).unwrap();
            if let (0, Some((word, rest))) = (at, bytes.split_first_chunk::<8>()) {
                self.fold(u64::from_le_bytes(*word));
                self.len += 8;
                bytes = rest;
                continue;
            }
            self.part |= u64::from(bytes[0]) << (at * 8);
            self.len += 1;
            bytes = &bytes[1..];
            if self.len.is_multiple_of(8) {
                let word = std::mem::take(&mut self.part);
                self.fold(word);
            }
        }
    }

    fn fold(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// How many bytes there were, and their hash.
    pub fn finish(mut self) -> (u64, u64) {
        let (part, len) = (self.part, self.len);
        self.fold(part);
        self.fold(len);
        (len, self.hash)
    }

    /// The digest of everything that `source` has to give, up to its end or an error.
    pub fn of(source: impl Read) -> (u64, u64) {
        Self::until_end(source).0
    }

    /// The same, with the error that it ended with.
    pub fn until_end(mut source: impl Read) -> ((u64, u64), Option<io::Error>) {
        let mut digest = Digest::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match read_some(&mut source, &mut buffer) {
                Ok(0) => return (digest.finish(), None),
                Err(e) => return (digest.finish(), Some(e)),
                Ok(n) => digest.update(&buffer[..n]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_and_its_digest_do_not_depend_on_how_they_are_cut() {
        let whole = pattern(100_003, 7);
        let mut digest = Digest::default();
        for part in whole.chunks(13) {
            digest.update(part);
        }
        assert_eq!(digest.finish(), Digest::of(Pattern::new(100_003, 7)));
        assert_ne!(Digest::of(&whole[1..]), Digest::of(&whole[..100_002]));
        assert_ne!(pattern(64, 7), pattern(64, 8));
    }
}
