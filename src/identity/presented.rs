//! Which credential a request's header fields carry. A credential that can't be told apart is none.
use std::fmt;

/// What stands where a token would stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'t> {
    /// There is no such header.
    None,
    /// One header with the configured scheme; its token, unread.
    Bearer(&'t [u8]),
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
) -> Presented<'t> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else { return Presented::None };
    if values.next().is_some() {
        return Presented::Several;
    }
    let token = match scheme {
        None => Some(value),
        Some(scheme) => match value.split_at_checked(scheme.len()) {
            Some((name, [b' ', token @ ..])) if name.eq_ignore_ascii_case(scheme.as_bytes()) => {
                Some(token)
            }
            Some(_) | None => None,
        },
    };
    token
        .filter(|token| token.first().is_some_and(|first| *first != b' '))
        .map_or(Presented::Other, Presented::Bearer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str) -> Presented<'_> {
        presented([value.as_bytes()], Some("Bearer"))
    }

    #[test]
    fn acc_1_one_scheme_one_space_one_token() {
        assert_eq!(presented([], Some("Bearer")), Presented::None);
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
        assert_eq!(presented([b"a.b.c".as_slice()], None), Presented::Bearer(b"a.b.c"));
        for other in [b"".as_slice(), b" a.b.c"] {
            assert_eq!(presented([other], None), Presented::Other);
        }
    }

    #[test]
    fn acc_1_two_headers_are_no_credential() {
        let same: &[u8] = b"Bearer a.b.c";
        assert_eq!(presented([same, same], Some("Bearer")), Presented::Several);
        assert_eq!(presented([same, b""], Some("Bearer")), Presented::Several);
    }

    #[test]
    fn log_2_the_token_is_not_printed() {
        assert_eq!(format!("{:?}", one("Bearer a.b.c")), "Bearer([secret])");
    }
}
