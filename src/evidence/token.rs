//! The one value from the wire that may be logged.
use super::record::{Loggable, sealed::Sealed, write_plain};

/// Amazon's id of a request, from the *upstream's* answer (`x-amzn-RequestId`): what Amazon's support
/// asks for, so it must be in the log.
///
/// Safe to log because of its form, not of its sender: exactly 36 characters, hexadecimal digits in
/// groups of 8-4-4-4-12 (RFC 9562 §4). No name, address, e-mail or order number has that form, no
/// character of it needs an escape, and its length is fixed. It is meant for the answers of
/// `sp-api` upstreams only; anything else is dropped, not cleaned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SafeToken([u8; 36]);

impl SafeToken {
    /// None if the value is not in the form of a UUID.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text: [u8; 36] = value.try_into().ok()?;
        let fits = text.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
        fits.then_some(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for SafeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Sealed for SafeToken {}
impl Loggable for SafeToken {
    fn write_value(&self, out: &mut Vec<u8>) {
        write_plain(&self.0, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_2_only_a_uuid_is_an_amazon_request_id() {
        let good = "3f2504e0-4F89-41d3-9a0c-0305e82c3301";
        assert_eq!(SafeToken::parse(good.as_bytes()).unwrap().as_str(), good);
        for bad in [
            "",
            "3f2504e04f8941d39a0c0305e82c3301",
            "3f2504e0-4f89-41d3-9a0c-0305e82c330",
            "3f2504e0-4f89-41d3-9a0c-0305e82c33011",
            "3f2504e0-4f89-41d3-9a0c_0305e82c3301",
            "3f2504e-04f89-41d3-9a0c-0305e82c3301",
            "hanako.yamada-at-example.com-0123456",
            "gggggggg-gggg-gggg-gggg-gggggggggggg",
            "3f2504e0-4f89-41d3-9a0c-0305e82c\"301",
            "503-5555555-1234567",
        ] {
            assert_eq!(SafeToken::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
