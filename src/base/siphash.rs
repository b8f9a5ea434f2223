//! `SipHash-1-3`, streamed: a keyed hash that is fast on short ids (Aumasson and Bernstein, 2012).
//! Without the key nobody can find ids that hash to one register of the sketch, or test a guess
//! against it.
use std::fmt;

/// 128 bits, chosen at random by the caller and kept as long as sketches are to be merged.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 2]);

impl HashKey {
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        let word = u128::from_le_bytes(bytes);
        Self([low(word), low(word >> 64)])
    }

    #[must_use]
    pub const fn hasher(&self) -> SipHasher {
        let [k0, k1] = self.0;
        SipHasher {
            v: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
            tail: 0,
            length: 0,
        }
    }
}

impl HashKey {
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
const fn low(word: u128) -> u64 {
    word as u64
}

/// A hash being made; the same for the same bytes however they are cut.
#[derive(Clone, Copy)]
pub struct SipHasher {
    v: [u64; 4],
    /// Bytes that do not fill a word yet; `length % 8` of them.
    tail: u64,
    length: u64,
}

impl fmt::Debug for SipHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SipHasher")
    }
}

impl SipHasher {
    pub fn write(&mut self, mut bytes: &[u8]) {
        while !self.length.is_multiple_of(8) {
            let Some((first, rest)) = bytes.split_first() else { return };
            self.write_byte(*first);
            bytes = rest;
        }
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.absorb(u64::from_le_bytes(*word));
            self.length = self.length.wrapping_add(8);
        }
        for byte in rest {
            self.write_byte(*byte);
        }
    }

    pub fn write_byte(&mut self, byte: u8) {
        self.tail |= u64::from(byte) << (8 * (self.length & 7));
        self.length = self.length.wrapping_add(1);
        if self.length.is_multiple_of(8) {
            let word = std::mem::take(&mut self.tail);
            self.absorb(word);
        }
    }

    #[must_use]
    pub fn finish(mut self) -> u64 {
        self.absorb(self.tail | (self.length << 56));
        self.v[2] ^= 0xff;
        for _ in 0..3 {
            self.round();
        }
        self.v.iter().fold(0, |hash, part| hash ^ part)
    }

    const fn absorb(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.v[0] ^= word;
    }

    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32);
        c = c.wrapping_add(b);
        a = a.wrapping_add(d);
        b = b.rotate_left(17) ^ c;
        d = d.rotate_left(21) ^ a;
        c = c.rotate_left(32);
        self.v = [a, b, c, d];
    }
}
