//! Decides whether a query can be read one way only, and whether it keeps to a role's limits.
//! Controls: PRIV-1, MON-5. Never sees: who asks, the path.
//!
//! 1. A query is at most 256 `name=value` pairs between `&`; `;` separates nothing and is refused.
//!    Names are never empty and hold letters, digits and `- . _ ~ $ : @ [ ]` only, so that no
//!    second decoding turns one name into another.
//! 2. A name may occur several times (list parameters come as `a=1&a=2` or `a=1,2`). No server's
//!    choice among them matters, because a limit holds for every occurrence, and in it for every
//!    element between commas, escaped commas included.
//! 3. Limits take a name for the parameter's also in another letter case and with `[…]` behind it;
//!    a required parameter must be there in its own spelling.
//! 4. A plain `+` can mean itself or a space, so in a bound value nothing but `*` matches it;
//!    `%2B` is a plus, `%20` a space.
use super::escape::{ByteSet, Unescape, check_text, cut, unescape};
use super::glob::Glob;
use super::operation::QueryNames;
use super::path::{Escapes, check_bytes};
use crate::base::PathFault;

/// The most parameters of one query: keeps the time for judging limits bounded.
const PARAMETERS_MAX: usize = 256;

/// Judges a query's form; nothing at all behind the question mark is well formed.
pub fn check(query: &[u8]) -> Result<(), PathFault> {
    if query.is_empty() {
        return Ok(());
    }
    for (place, (name, value)) in pairs(query).enumerate() {
        if name.is_empty() || place >= PARAMETERS_MAX {
            return Err(PathFault::Query);
        }
        check_part(name)?;
        check_part(value)?;
        if !unescape(name).all(|byte| NAME_BYTES.contains(byte)) {
            return Err(PathFault::Query);
        }
    }
    Ok(())
}

/// What a name is made of, escapes undone.
const NAME_BYTES: ByteSet = ByteSet::UNRESERVED.with(b"$:@[]");

/// RFC 3986 §3.4, without what separates pairs.
const PART_BYTES: ByteSet = ByteSet::UNRESERVED.with(b"!$'()*+,=:@/?");

fn check_part(part: &[u8]) -> Result<(), PathFault> {
    let judge = |byte: u8| match byte {
        _ if PART_BYTES.contains(byte) => Ok(()),
        b';' => Err(PathFault::Query),
        _ if byte.is_ascii_control() => Err(PathFault::ControlByte),
        _ => Err(PathFault::IllegalByte),
    };
    match check_bytes(part, judge)? {
        Escapes::None => Ok(()),
        Escapes::Some => check_text(unescape(part)),
    }
}

/// Names and values as they stand. A name without `=` has the empty value.
fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = Some(query).filter(|query| !query.is_empty());
    std::iter::from_fn(move || {
        let (pair, behind) = cut(rest?, b'&');
        rest = behind;
        let (name, value) = cut(pair, b'=');
        Some((name, value.unwrap_or_default()))
    })
}

/// What a role may not do with one query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum QueryLimit {
    /// The parameter does not occur.
    Denied { parameter: Box<str> },
    /// Each of the parameter's values is one of these.
    Values { parameter: Box<str>, values: Box<[Glob]>, presence: Presence },
}

/// Whether a bound parameter may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It must occur, because leaving it out would mean "all".
    #[default]
    Required,
    Optional,
}

/// Why a query is not granted. Names come from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryRefusal<'p> {
    /// A parameter that the operation does not list.
    NotListed,
    /// This parameter is denied to the role.
    Denied(&'p str),
    /// This parameter must be there.
    Missing(&'p str),
    /// This parameter has a value that the role does not allow.
    Value(&'p str),
}

impl QueryNames {
    /// Whether the operation knows all names of a well-formed query.
    pub(super) fn admit(&self, query: &[u8]) -> Result<(), QueryRefusal<'static>> {
        let Self::Listed(names) = self else { return Ok(()) };
        let known = |name| names.iter().any(|listed| spells(name, listed));
        if pairs(query).all(|(name, _)| known(name)) {
            Ok(())
        } else {
            Err(QueryRefusal::NotListed)
        }
    }
}

impl QueryLimit {
    /// Whether a well-formed query keeps to the limit.
    pub(super) fn admit(&self, query: &[u8]) -> Result<(), QueryRefusal<'_>> {
        match self {
            Self::Denied { parameter } => {
                if pairs(query).any(|(name, _)| may_mean(name, parameter)) {
                    return Err(QueryRefusal::Denied(parameter));
                }
            }
            Self::Values { parameter, values, presence } => {
                let mut present = false;
                for (name, value) in pairs(query).filter(|(name, _)| may_mean(name, parameter)) {
                    if !elements_match(value, values) {
                        return Err(QueryRefusal::Value(parameter));
                    }
                    present |= spells(name, parameter);
                }
                match presence {
                    Presence::Required if !present => return Err(QueryRefusal::Missing(parameter)),
                    Presence::Required | Presence::Optional => {}
                }
            }
        }
        Ok(())
    }
}

fn spells(name: &[u8], parameter: &str) -> bool {
    unescape(name).eq(parameter.bytes())
}

fn may_mean(name: &[u8], parameter: &str) -> bool {
    let lower = |byte: u8| byte.to_ascii_lowercase();
    let base = unescape(name).take_while(|byte| *byte != b'[').map(lower);
    base.eq(parameter.bytes().map(lower))
}

/// Whether every element between commas is one of `allowed`.
fn elements_match(value: &[u8], allowed: &[Glob]) -> bool {
    // No pattern holds NUL (`grant.rs` refuses it) and no well-formed value does, so it can stand
    // for the plus sign of which nobody knows what it means.
    let mut rest = Unescape::new(value.iter().map(|b| if *b == b'+' { 0 } else { *b }));
    loop {
        let element = rest.clone().take_while(|byte| *byte != b',');
        if !allowed.iter().any(|glob| glob.matches(element.clone())) {
            return false;
        }
        if !rest.any(|byte| byte == b',') {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mon_5_a_query_can_be_split_one_way_only() {
        for (query, expected) in [
            ("", Ok(())),
            ("a", Ok(())),
            ("a=", Ok(())),
            ("a=1&b=2&a=3", Ok(())),
            ("CreatedAfter=2026-01-01T00:00:00Z&MarketplaceIds=A,B", Ok(())),
            ("NextToken=ab%2Bc%3d==&x=%E3%81%82", Ok(())),
            ("filter%5Bname%5D=x", Ok(())),
            ("q=a/b?c", Ok(())),
            ("=1", Err(PathFault::Query)),
            ("&", Err(PathFault::Query)),
            ("a=1&", Err(PathFault::Query)),
            ("a=1&&b=2", Err(PathFault::Query)),
            ("a=1;b=2", Err(PathFault::Query)),
            ("a+b=1", Err(PathFault::Query)),
            ("a%20b=1", Err(PathFault::Query)),
            ("Buyer%2545mail=x", Err(PathFault::Query)),
            ("a%26b=1", Err(PathFault::Query)),
            ("a%3Db=1", Err(PathFault::Query)),
            ("%E3%81%82=1", Err(PathFault::Query)),
            ("a=%", Err(PathFault::BrokenEscape)),
            ("a=%4", Err(PathFault::BrokenEscape)),
            ("a%=1", Err(PathFault::BrokenEscape)),
            ("a%4=41", Err(PathFault::BrokenEscape)),
            ("a=%00", Err(PathFault::ControlByte)),
            ("a=%0D%0Ab", Err(PathFault::ControlByte)),
            ("a=\x01", Err(PathFault::ControlByte)),
            ("a=%C1%A1", Err(PathFault::BadUtf8)),
            ("a=%FF", Err(PathFault::BadUtf8)),
            ("a=b c", Err(PathFault::IllegalByte)),
            ("a[]=1", Err(PathFault::IllegalByte)),
            ("a=<x>", Err(PathFault::IllegalByte)),
            ("a=é", Err(PathFault::IllegalByte)),
            ("a=1#b", Err(PathFault::IllegalByte)),
        ] {
            assert_eq!(check(query.as_bytes()), expected, "{query}");
        }
    }

    #[test]
    fn mon_5_a_query_has_a_bounded_number_of_parameters() {
        let query = |count| vec!["a=1"; count].join("&");
        assert_eq!(check(query(256).as_bytes()), Ok(()));
        assert_eq!(check(query(257).as_bytes()), Err(PathFault::Query));
    }

    #[test]
    fn priv_1_a_denied_parameter_is_found_however_it_is_written() {
        let limit = QueryLimit::Denied { parameter: "BuyerEmail".into() };
        for query in [
            "BuyerEmail=a",
            "BuyerEmail",
            "x=1&BuyerEmail=a",
            "Buyer%45mail=a",
            "%42uyerEmai%6c=a",
            "buyeremail=a",
            "BuyerEmail%5B%5D=a",
            "BuyerEmail%5b0%5D=a",
        ] {
            assert_eq!(check(query.as_bytes()), Ok(()), "{query}");
            assert_eq!(
                limit.admit(query.as_bytes()),
                Err(QueryRefusal::Denied("BuyerEmail")),
                "{query}"
            );
        }
        for query in ["", "BuyerEmails=a", "Buyer=Email", "x=BuyerEmail", "xBuyerEmail=1"] {
            assert_eq!(limit.admit(query.as_bytes()), Ok(()), "{query}");
        }
    }

    #[test]
    fn priv_1_every_value_of_a_bound_parameter_is_judged() {
        let limit = |presence| QueryLimit::Values {
            parameter: "Ids".into(),
            values: ["A1", "B*"].map(Glob::new).into(),
            presence,
        };
        let value = Err(QueryRefusal::Value("Ids"));
        let missing = Err(QueryRefusal::Missing("Ids"));
        for (query, required, optional) in [
            ("Ids=A1", Ok(()), Ok(())),
            ("Ids=%411", Ok(()), Ok(())),
            ("Ids=A1,B7&x=C", Ok(()), Ok(())),
            ("Ids=A1&Ids=B", Ok(()), Ok(())),
            ("%49ds=A1", Ok(()), Ok(())),
            ("Ids=A1%2CB2", Ok(()), Ok(())),
            ("Ids=B+2", Ok(()), Ok(())),
            ("", missing, Ok(())),
            ("x=1", missing, Ok(())),
            ("ids=A1", missing, Ok(())),
            ("Ids%5B%5D=A1", missing, Ok(())),
            ("Ids", value, value),
            ("Ids=", value, value),
            ("Ids=C", value, value),
            ("Ids=a1", value, value),
            ("Ids=A1,C", value, value),
            ("Ids=A1%2CC", value, value),
            ("Ids=A1,", value, value),
            ("Ids=A1&Ids=C", value, value),
            ("Ids=A1&ids=C", value, value),
            ("Ids=A1&Ids%5B%5D=C", value, value),
            ("Ids=A1+", value, value),
            ("Ids=A1%20", value, value),
            ("Ids=%2541%31", value, value),
        ] {
            assert_eq!(check(query.as_bytes()), Ok(()), "{query}");
            assert_eq!(limit(Presence::Required).admit(query.as_bytes()), required, "{query}");
            assert_eq!(limit(Presence::Optional).admit(query.as_bytes()), optional, "{query}");
        }
    }

    #[test]
    fn priv_1_a_plain_plus_matches_neither_plus_nor_space() {
        let values = ["A B", "C+D"].map(Glob::new).into();
        let parameter = "x".into();
        let limit = QueryLimit::Values { parameter, values, presence: Presence::Required };
        for (query, expected) in
            [("x=A%20B", true), ("x=A+B", false), ("x=C%2BD", true), ("x=C+D", false)]
        {
            assert_eq!(limit.admit(query.as_bytes()).is_ok(), expected, "{query}");
        }
    }

    #[test]
    fn priv_1_a_closed_list_of_names_is_closed() {
        let listed = QueryNames::Listed(["page".into(), "size".into()].into());
        let nothing = QueryNames::Listed([].into());
        for (query, expected) in [
            ("", Ok(())),
            ("page=1&size=2", Ok(())),
            ("p%61ge=1", Ok(())),
            ("Page=1", Err(QueryRefusal::NotListed)),
            ("page=1&debug=1", Err(QueryRefusal::NotListed)),
        ] {
            assert_eq!(listed.admit(query.as_bytes()), expected, "{query}");
            assert_eq!(nothing.admit(query.as_bytes()).is_ok(), query.is_empty(), "{query}");
            assert_eq!(QueryNames::Any.admit(query.as_bytes()), Ok(()), "{query}");
        }
    }
}
