//! Which credential a request's header fields carry. A credential that can't be told apart is none.
use std::fmt;

use crate::base::base64url;

/// Whether a token may also come as the password of Basic credentials, from clients that can't set
/// a header but take `https://user:TOKEN@gateway/…`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basic {
    #[default]
    Refused,
    /// The user name says nothing: the token names the identity.
    PasswordIsToken,
}

/// What stands where a token would stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'t> {
    /// There is no such header.
    None,
    /// One header with the configured scheme; its token, unread.
    Bearer(&'t [u8]),
    /// One header with Basic credentials, where these may carry a token; their base64, unread.
    Basic(&'t [u8]),
    /// Several headers: which of them counts is anybody's guess.
    Several,
    /// One header that is not the scheme, one space and a token. It is refused and not overlooked,
    /// so that a request is never judged by less than what it claims.
    Other,
}

/// Prints no byte of the token.
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bearer(_) => "Bearer([secret])",
            Self::Basic(_) => "Basic([secret])",
            Self::Several => "Several",
            Self::Other => "Other",
        })
    }
}

/// Reads all values of the token header, such as `Authorization: Bearer …` (RFC 6750 §2.1).
/// `scheme` is compared without regard to case (RFC 9110 §11.1); exactly one space follows it.
/// Without a scheme the whole value is the token, as in headers that carry nothing else.
///
/// The token's characters are left to [`super::parse_token`], which takes fewer than `token68`
/// does: base64url and two dots. Checking them here would cost each cached request a pass over the
/// token for nothing.
pub fn presented<'t>(
    values: impl IntoIterator<Item = &'t [u8]>,
    scheme: Option<&str>,
    basic: Basic,
) -> Presented<'t> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else { return Presented::None };
    if values.next().is_some() {
        return Presented::Several;
    }
    let token = match scheme {
        None => Some(value),
        Some(scheme) => behind(scheme, value),
    };
    let credentials = match basic {
        Basic::Refused => None,
        Basic::PasswordIsToken => behind("Basic", value),
    };
    let unspaced = |text: &&[u8]| text.first().is_some_and(|first| *first != b' ');
    match (credentials.filter(unspaced), token.filter(unspaced)) {
        (Some(credentials), _) => Presented::Basic(credentials),
        (None, Some(token)) => Presented::Bearer(token),
        (None, None) => Presented::Other,
    }
}

fn behind<'t>(scheme: &str, value: &'t [u8]) -> Option<&'t [u8]> {
    match value.split_at_checked(scheme.len()) {
        Some((name, [b' ', rest @ ..])) if name.eq_ignore_ascii_case(scheme.as_bytes()) => {
            Some(rest)
        }
        Some(_) | None => None,
    }
}

/// The password of Basic credentials (RFC 7617 §2): what follows the first colon. The user name has
/// to be there and is dropped.
pub(super) fn password(credentials: &[u8]) -> Option<Vec<u8>> {
    let mut text = base64(credentials)?;
    let is_text = std::str::from_utf8(&text).is_ok_and(|text| !text.contains(char::is_control));
    let colon = memchr::memchr(b':', &text).filter(|colon| *colon > 0 && is_text)?;
    text.drain(..=colon);
    Some(text)
}

/// RFC 4648 §4, which is base64url but for two characters and the padding, required here.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let bare = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    let translated: Option<Vec<u8>> = bare
        .iter()
        .map(|character| match character {
            b'+' => Some(b'-'),
            b'/' => Some(b'_'),
            b'-' | b'_' => None,
            other => Some(*other),
        })
        .collect();
    translated.filter(|_| text.len().is_multiple_of(4)).and_then(|text| base64url::decode(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(value: &str) -> Presented<'_> {
        presented([value.as_bytes()], Some("Bearer"), Basic::Refused)
    }

    #[test]
    fn acc_1_one_scheme_one_space_one_token() {
        assert_eq!(presented([], Some("Bearer"), Basic::Refused), Presented::None);
        assert_eq!(one("Bearer a.b.c"), Presented::Bearer(b"a.b.c"));
        assert_eq!(one("bEARER a.b.c"), Presented::Bearer(b"a.b.c"));
        let others =
            ["", "Bearer", "Bearer ", "Bearer  a", "Bearer\ta", "Bearera", "Basic a", "a Bearer a"];
        for other in others {
            assert_eq!(one(other), Presented::Other, "{other:?}");
        }
    }

    #[test]
    fn acc_1_without_a_scheme_the_value_is_the_token() {
        assert_eq!(
            presented([b"a.b.c".as_slice()], None, Basic::Refused),
            Presented::Bearer(b"a.b.c")
        );
        for other in [b"".as_slice(), b" a.b.c"] {
            assert_eq!(presented([other], None, Basic::Refused), Presented::Other);
        }
    }

    #[test]
    fn acc_1_two_headers_are_no_credential() {
        let same: &[u8] = b"Bearer a.b.c";
        assert_eq!(presented([same, same], Some("Bearer"), Basic::Refused), Presented::Several);
        assert_eq!(presented([same, b""], Some("Bearer"), Basic::Refused), Presented::Several);
    }

    #[test]
    fn acc_1_basic_credentials_count_only_where_they_may() {
        let basic =
            |value: &'static str, basic| presented([value.as_bytes()], Some("Bearer"), basic);
        assert_eq!(basic("Basic dTphLmIuYw==", Basic::Refused), Presented::Other);
        let allowed = Basic::PasswordIsToken;
        assert_eq!(basic("bASIC dTphLmIuYw==", allowed), Presented::Basic(b"dTphLmIuYw=="));
        assert_eq!(basic("Bearer a.b.c", allowed), Presented::Bearer(b"a.b.c"));
        for other in ["Basic", "Basic ", "Basic  dTph", "Basicx dTph", "Digest a"] {
            assert_eq!(basic(other, allowed), Presented::Other, "{other:?}");
        }
        let bare = presented([b"Basic dTph".as_slice()], None, allowed);
        assert_eq!(bare, Presented::Basic(b"dTph"));
    }

    #[test]
    fn acc_1_the_password_is_what_follows_the_first_colon() {
        for (credentials, expected) in [
            ("dTphLmIuYw==", Some("a.b.c")),
            ("dTphOmI=", Some("a:b")),
            ("5p625pa5OnQ=", Some("t")),
            ("dTo=", Some("")),
            ("YS5iLmM=", None),
            ("OmEuYi5j", None),
            ("dTphLmIuYw", None),
            ("dTphLmIuYw=", None),
            ("dTphLmIuYx==", None),
            ("dTphLmIuYw== ", None),
            ("dTph=mIuYw==", None),
            ("dTr_LmIuYw==", None),
            ("dTpa\n", None),
            ("dQA6YQ==", None),
            ("/zph", None),
            ("====", None),
            ("", None),
        ] {
            let found = password(credentials.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{credentials:?}");
        }
    }

    proptest! {
        #[test]
        fn a_password_is_read_from_one_spelling_only(text in "[A-Za-z0-9+/_=-]{0,40}") {
            if let Some(bytes) = base64(text.as_bytes()) {
                let again = base64url::encode(&bytes).replace('-', "+").replace('_', "/");
                prop_assert_eq!(text.trim_end_matches('='), again);
            }
        }

        #[test]
        fn random_credentials_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            drop(password(&bytes));
        }
    }

    #[test]
    fn log_2_the_token_is_not_printed() {
        assert_eq!(format!("{:?}", one("Bearer a.b.c")), "Bearer([secret])");
        assert_eq!(format!("{:?}", Presented::Basic(b"dTph")), "Basic([secret])");
    }
}
