//! Personal data and secrets as types that can't be printed, compared or serialised by accident.
//! Controls: LOG-2. There is one exit from each, named so that it can be searched for.
use std::fmt;

use aws_lc_rs::hmac;
use zeroize::Zeroize;

/// Why a protected value is being looked at. Names the reason at every exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The value travels on to the party it is meant for.
    Forward,
    /// The value is compared with a list or a pattern.
    Match,
    /// The value takes part in a cryptographic check.
    Verify,
}

/// A value that is personal data. It has no `Display`, `Serialize`, `Deref`, `AsRef`, `Hash` or `Eq`.
///
/// ```compile_fail
/// let secret = sekisho::base::Pii::new("Hanako Yamada");
/// println!("{secret}");
/// ```
/// ```compile_fail
/// let secret = sekisho::base::Pii::new(String::from("Hanako Yamada"));
/// let name: &str = secret.as_ref();
/// ```
/// ```compile_fail
/// let secret = sekisho::base::Pii::new("Hanako Yamada");
/// serde_json::to_string(&secret).unwrap();
/// ```
#[derive(Clone, Copy)]
pub struct Pii<T>(T);

impl<T> Pii<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The only exit.
    pub const fn reveal_for(&self, _why: Use) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[pii]")
    }
}

impl Secret<[u8; 32]> {
    /// A key for one purpose, from which neither this one nor another purpose's can be told:
    /// HMAC-SHA-256 as in NIST SP 800-108.
    #[must_use]
    pub fn derive(&self, purpose: &'static str) -> [u8; 32] {
        let own = hmac::Key::new(hmac::HMAC_SHA256, self.reveal_for(Use::Verify));
        let mut derived = [0; 32];
        for (to, from) in derived.iter_mut().zip(hmac::sign(&own, purpose.as_bytes()).as_ref()) {
            *to = *from;
        }
        derived
    }
}

/// A key, password or token: as closed as [`Pii`], and wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The only exit.
    pub const fn reveal_for(&self, _why: Use) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Stands in for a value in the log: equal for equal values under one key, meaningless without it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pseudonym(pub(super) u64);

impl Pseudonym {
    /// For keeping it in a store; see [`Pseudonym::kept`].
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The one whose [`bits`](Self::bits) were kept.
    #[must_use]
    pub const fn kept(bits: u64) -> Self {
        Self(bits)
    }

    /// Sixteen hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> [u8; 16] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = [0; 16];
        for (place, digit) in out.iter_mut().enumerate() {
            let nibble = (self.0 >> (60 - 4 * place)) & 0xf;
            *digit = DIGITS.get(usize::try_from(nibble).unwrap_or(0)).copied().unwrap_or(b'0');
        }
        out
    }
}

/// The key under which pseudonyms are made. It changes every UTC day, so that a pseudonym can be
/// followed through one day of the log and no further.
pub struct PseudonymKey {
    day: u32,
    key: hmac::Key,
}

impl PseudonymKey {
    /// The key of a UTC day (days since 1970-01-01), derived from the master key with HMAC-SHA-256.
    #[must_use]
    pub fn of_day(master: &Secret<[u8; 32]>, day: u32) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master.reveal_for(Use::Verify));
        let derived = hmac::sign(&master, &day.to_be_bytes());
        Self { day, key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) }
    }

    #[must_use]
    pub const fn day(&self) -> u32 {
        self.day
    }

    /// HMAC-SHA-256 of `bytes`, cut to 64 bits: enough to tell a day's addresses apart.
    #[must_use]
    pub fn pseudonym(&self, bytes: &[u8]) -> Pseudonym {
        let tag = hmac::sign(&self.key, bytes);
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Pseudonym(u64::from_be_bytes(first))
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PseudonymKey(day {})", self.day)
    }
}
