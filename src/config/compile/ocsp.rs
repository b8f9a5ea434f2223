//! Reads an OCSP response (RFC 6960 §4.2) as far as it matters for a staple. Pure: bytes in, facts out;
//! DER with definite lengths only, every length checked.
use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

const SEQUENCE: u8 = 0x30;
const ENUMERATED: u8 = 0x0a;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const TIME: u8 = 0x18;
/// `id-pkix-ocsp-basic`.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
const SHA1_OID: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA256_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// Why a response can't be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StapleFault {
    /// It is no OCSP response, or one of an unknown kind.
    Form,
    /// The responder gave no answer.
    NoAnswer,
    /// It speaks of another certificate.
    Other,
    Revoked,
    /// The authority does not know the certificate.
    Unknown,
    /// It does not say until when it counts.
    Endless,
}

/// What a response says of a certificate that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Good<'d> {
    /// Seconds since 1970.
    pub(super) this_update: u64,
    pub(super) next_update: u64,
    /// The bytes that are signed, their signature, and certificates of who signed, if any.
    pub(super) signed: &'d [u8],
    pub(super) signature: &'d [u8],
    pub(super) signers: Vec<&'d [u8]>,
}

/// The certificate that a response must speak of.
pub(super) struct Subject<'c> {
    pub(super) issuer_name: &'c [u8],
    pub(super) serial: &'c [u8],
}

struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// The next value of this tag: its contents, and all of it.
    fn whole(&mut self, tag: u8) -> Option<(&'d [u8], &'d [u8])> {
        let (own, rest) = self.0.split_first()?;
        let (short, rest) = rest.split_first()?;
        let (length, rest) = match *short {
            length @ 0..=0x7f => (usize::from(length), rest),
            long @ 0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                let value = digits.iter().fold(0_usize, |sum, digit| {
                    sum.saturating_mul(256).saturating_add(usize::from(*digit))
                });
                (value, rest)
            }
            _ => return None,
        };
        let (contents, after) = rest.split_at_checked(length)?;
        if *own != tag {
            return None;
        }
        let whole = self.0.get(..self.0.len().saturating_sub(after.len()))?;
        self.0 = after;
        Some((contents, whole))
    }

    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.whole(tag).map(|(contents, _)| contents)
    }

    fn inside(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Der)
    }

    /// Steps over whatever is next, if there is something.
    fn skip(&mut self) -> Option<u8> {
        let tag = *self.0.first()?;
        self.take(tag).map(|_| tag)
    }

    /// Steps over the next value if it has this tag.
    fn skip_if(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            let _ = self.skip();
        }
    }
}

/// # Errors
/// See [`StapleFault`].
pub(super) fn read<'d>(der: &'d [u8], of: &Subject<'_>) -> Result<Good<'d>, StapleFault> {
    let (status, basic) = outer(der).ok_or(StapleFault::Form)?;
    if status != [0] {
        return Err(StapleFault::NoAnswer);
    }
    let mut basic =
        Der(basic.ok_or(StapleFault::Form)?).inside(SEQUENCE).ok_or(StapleFault::Form)?;
    let (data, signed) = basic.whole(SEQUENCE).ok_or(StapleFault::Form)?;
    let signature = signature(&mut basic).ok_or(StapleFault::Form)?;
    let mut signers = Vec::new();
    if let Some(mut list) = basic.inside(0xa0).and_then(|mut list| list.inside(SEQUENCE)) {
        while let Some((_, whole)) = list.whole(SEQUENCE) {
            signers.push(whole);
        }
    }
    let mut singles = singles(data).ok_or(StapleFault::Form)?;
    let (mut fault, mut any) = (StapleFault::Other, false);
    while let Some(mut single) = singles.inside(SEQUENCE) {
        any = true;
        if !speaks_of(&mut single, of).ok_or(StapleFault::Form)? {
            continue;
        }
        match single.skip() {
            Some(0x80) => {}
            Some(0xa1) => return Err(StapleFault::Revoked),
            Some(0x82) => return Err(StapleFault::Unknown),
            _ => return Err(StapleFault::Form),
        }
        let this_update = single.take(TIME).and_then(seconds).ok_or(StapleFault::Form)?;
        let next = single.inside(0xa0).and_then(|mut next| next.take(TIME));
        fault = StapleFault::Endless;
        let Some(next_update) = next.and_then(seconds) else { continue };
        return Ok(Good { this_update, next_update, signed, signature, signers });
    }
    Err(if any { fault } else { StapleFault::Form })
}

/// The status, and the basic response where there is one.
fn outer(der: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut all = Der(der);
    let mut response = all.inside(SEQUENCE)?;
    if !all.0.is_empty() {
        return None;
    }
    let status = response.take(ENUMERATED)?;
    let Some(mut bytes) = response.inside(0xa0) else { return Some((status, None)) };
    let mut bytes = bytes.inside(SEQUENCE)?;
    if bytes.take(OID)? != BASIC {
        return None;
    }
    Some((status, Some(bytes.take(OCTETS)?)))
}

fn signature<'d>(basic: &mut Der<'d>) -> Option<&'d [u8]> {
    basic.take(SEQUENCE)?;
    match basic.take(BITS)?.split_first() {
        Some((0, bits)) => Some(bits),
        _ => None,
    }
}

fn singles(data: &[u8]) -> Option<Der<'_>> {
    let mut data = Der(data);
    data.skip_if(0xa0);
    // Who answers: by name or by key.
    data.skip()?;
    data.take(TIME)?;
    data.inside(SEQUENCE)
}

fn speaks_of(single: &mut Der<'_>, of: &Subject<'_>) -> Option<bool> {
    let mut id = single.inside(SEQUENCE)?;
    let hash: &Algorithm = match id.inside(SEQUENCE)?.take(OID)? {
        SHA1_OID => &SHA1_FOR_LEGACY_USE_ONLY,
        SHA256_OID => &SHA256,
        _ => return Some(false),
    };
    let name = id.take(OCTETS)?;
    id.take(OCTETS)?;
    let serial = id.take(INTEGER)?;
    Some(name == digest(hash, of.issuer_name).as_ref() && serial == of.serial)
}

/// `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5.2).
fn seconds(text: &[u8]) -> Option<u64> {
    let (digits, zone) = text.split_at_checked(14)?;
    if zone != b"Z" || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let day = format!("{}-{}-{}", text.get(..4)?, text.get(4..6)?, text.get(6..8)?);
    let day = u64::from(crate::config::raw::day(&day)?);
    let (hours, minutes, secs) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let fits = hours < 24 && minutes < 60 && secs < 61;
    fits.then(|| day * 86_400 + hours * 3_600 + minutes * 60 + secs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_read_in_one_form_only() {
        assert_eq!(seconds(b"19700102000001Z"), Some(86_401));
        assert_eq!(seconds(b"20261128153000Z"), Some(1_795_879_800));
        for bad in ["19700102000001", "19701302000001Z", "19700102250001Z", "1970010200000Z", "Z"] {
            assert_eq!(seconds(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_response_is_told_apart() {
        let of = Subject { issuer_name: b"name", serial: &[1] };
        assert_eq!(read(b"", &of), Err(StapleFault::Form));
        // tryLater, and nothing behind it.
        assert_eq!(read(&[0x30, 3, 0x0a, 1, 3], &of), Err(StapleFault::NoAnswer));
        assert_eq!(read(&[0x30, 3, 0x0a, 1, 0], &of), Err(StapleFault::Form));
        assert_eq!(read(&[0x30, 3, 0x0a, 1, 3, 0], &of), Err(StapleFault::Form));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let of = Subject { issuer_name: b"name", serial: &[1] };
            prop_assert!(read(&bytes, &of).is_err());
        }
    }
}
