//! What can be asked for: operations by name, and the patterns that name several of them.
use std::collections::HashMap;
use std::fmt;

use super::glob::Glob;
use super::template::Template;
use crate::base::{Name, OperationIx};

/// A request method that an operation can have. OPTIONS, CONNECT, TRACE and all others have no
/// operation, so they can't be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    /// Reaches the operations of GET.
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 §9.1).
    pub const fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"GET" => Some(Self::Get),
            b"HEAD" => Some(Self::Head),
            b"POST" => Some(Self::Post),
            b"PUT" => Some(Self::Put),
            b"PATCH" => Some(Self::Patch),
            b"DELETE" => Some(Self::Delete),
            _ => None,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// What the pattern suffixes `:read` and `:write` go by.
    #[must_use]
    pub const fn access(self) -> Access {
        match self {
            Self::Get | Self::Head => Access::Read,
            Self::Post | Self::Put | Self::Patch | Self::Delete => Access::Write,
        }
    }
}

/// By method alone: some SP-API reads are POSTs, and those count as writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Read,
    Write,
}

/// Which query parameters an operation knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryNames {
    /// Any (the SP-API catalogue lists none); a role can still deny or bind some.
    Any,
    /// These and no others; an empty list allows no parameter.
    Listed(Box<[Box<str>]>),
}

/// Whether an operation lets a connection stop being HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrades {
    #[default]
    Refused,
    WebSocket,
}

/// What answers are said to hold, where no contract tells what is where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holds {
    /// Nothing that would be counted, or what the contract says.
    #[default]
    Nothing,
    PersonalData,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    pub name: Name,
    /// The long name `api/version/operation`, where the name is the short one.
    pub alias: Option<Name>,
    pub method: Method,
    pub template: Template,
    pub query: QueryNames,
    pub upgrades: Upgrades,
    pub holds: Holds,
}

/// All operations of one snapshot, by index and by name.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    list: Box<[Operation]>,
    places: HashMap<Name, OperationIx>,
}

/// Why a list of operations can't be used. Indices are places in that list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationError {
    /// Two operations answer to one name.
    NameTwice { first: OperationIx, second: OperationIx },
    /// A colon would be read as the `:read` or `:write` of a pattern.
    NameHoldsColon(OperationIx),
    /// HEAD is served by the operation of GET.
    MethodHead(OperationIx),
    /// A WebSocket starts with a GET (RFC 6455 §4.1).
    UpgradeNeedsGet(OperationIx),
    /// More than [`Operations::MAX`].
    TooMany,
}

impl Operations {
    pub const MAX: usize = 16_384;

    pub fn new(list: Vec<Operation>) -> Result<Self, Vec<OperationError>> {
        if list.len() > Self::MAX {
            return Err(vec![OperationError::TooMany]);
        }
        let mut errors = Vec::new();
        let mut places = HashMap::with_capacity(list.len() * 2);
        for (ix, operation) in (0..).map(OperationIx).zip(&list) {
            let mut names = vec![&operation.name];
            names.extend(operation.alias.as_ref().filter(|alias| **alias != operation.name));
            for name in names {
                if let Some(first) = places.insert(name.clone(), ix) {
                    errors.push(OperationError::NameTwice { first, second: ix });
                }
            }
            if operation.name.as_str().contains(':') {
                errors.push(OperationError::NameHoldsColon(ix));
            }
            if operation.method == Method::Head {
                errors.push(OperationError::MethodHead(ix));
            }
            if operation.upgrades != Upgrades::Refused && operation.method != Method::Get {
                errors.push(OperationError::UpgradeNeedsGet(ix));
            }
        }
        if errors.is_empty() { Ok(Self { list: list.into(), places }) } else { Err(errors) }
    }

    pub fn get(&self, ix: OperationIx) -> Option<&Operation> {
        self.list.get(ix.index())
    }

    pub fn iter(&self) -> impl Iterator<Item = (OperationIx, &Operation)> {
        (0..).map(OperationIx).zip(&self.list)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The operation with this short or long name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<OperationIx> {
        Name::parse(name).ok().and_then(|name| self.places.get(&name).copied())
    }

    /// The operations a pattern names: a name, or a text with `*`, and after it `:read` or `:write`
    /// if wanted.
    pub fn select(&self, pattern: &str) -> Result<OperationSet, PatternError> {
        let (names, access) = match pattern.rsplit_once(':') {
            None => (pattern, None),
            Some((names, "read")) => (names, Some(Access::Read)),
            Some((names, "write")) => (names, Some(Access::Write)),
            Some(_) => return Err(PatternError::Suffix),
        };
        let fits = |operation: &Operation| access.is_none_or(|a| a == operation.method.access());
        let mut set = OperationSet::empty(self.len());
        if names.contains('*') {
            let glob = Glob::new(names);
            for (ix, operation) in self.iter().filter(|(_, operation)| fits(operation)) {
                let mut both =
                    [Some(&operation.name), operation.alias.as_ref()].into_iter().flatten();
                if both.any(|name| glob.matches(name.as_str().bytes())) {
                    set.insert(ix);
                }
            }
        } else if let Some(ix) = self.find(names) {
            if self.get(ix).is_some_and(fits) {
                set.insert(ix);
            }
        } else {
            return Err(self.unknown(names));
        }
        if set.is_empty() { Err(PatternError::MatchesNothing) } else { Ok(set) }
    }

    /// Says what a name that is none may have meant.
    fn unknown(&self, text: &str) -> PatternError {
        let versions: Vec<_> = text.split_once('/').map_or_else(Vec::new, |(api, rest)| {
            self.iter()
                .filter(|(_, operation)| {
                    let parts = operation.name.as_str().split_once('/');
                    parts.is_some_and(|(a, r)| {
                        a == api && r.split_once('/').is_some_and(|(_, last)| last == rest)
                    })
                })
                .map(|(_, operation)| operation.name.clone())
                .collect()
        });
        if !versions.is_empty() {
            return PatternError::Ambiguous { candidates: versions };
        }
        let mut near: Vec<_> = self
            .iter()
            .map(|(_, operation)| (distance(text, operation.name.as_str()), &operation.name))
            .filter(|(distance, _)| *distance <= 1 + text.len() / 6)
            .collect();
        near.sort();
        PatternError::Unknown {
            closest: near.into_iter().map(|(_, n)| n.clone()).take(3).collect(),
        }
    }
}

/// Why a pattern names no operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// A colon with something other than `read` or `write` behind it.
    Suffix,
    /// It is well formed, and no operation fits.
    MatchesNothing,
    /// The API has this operation in several versions: one of these must be named.
    Ambiguous { candidates: Vec<Name> },
    /// No operation has this name; up to three that are spelled alike.
    Unknown { closest: Vec<Name> },
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, names: &[Name]| {
            names.iter().enumerate().try_for_each(|(at, name)| {
                f.write_str(if at == 0 { "" } else { " or " })?;
                f.write_str(name.as_str())
            })
        };
        match self {
            Self::Suffix => f.write_str("after a colon only `read` or `write` may stand"),
            Self::MatchesNothing => f.write_str("no operation fits it"),
            Self::Ambiguous { candidates } => {
                f.write_str("several versions have this operation; write ")?;
                list(f, candidates)
            }
            Self::Unknown { closest } if closest.is_empty() => {
                f.write_str("no operation has this name")
            }
            Self::Unknown { closest } => {
                f.write_str("no operation has this name; did you mean ")?;
                list(f, closest)
            }
        }
    }
}

/// A set of operations, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationSet(Box<[u64]>);

impl OperationSet {
    #[must_use]
    pub fn empty(operations: usize) -> Self {
        Self(vec![0; operations.div_ceil(64)].into())
    }

    pub fn insert(&mut self, ix: OperationIx) {
        if let Some(word) = self.0.get_mut(ix.index() / 64) {
            *word |= 1 << (ix.0 % 64);
        }
    }

    pub fn insert_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }

    #[inline]
    #[must_use]
    pub fn contains(&self, ix: OperationIx) -> bool {
        self.0.get(ix.index() / 64).is_some_and(|word| (word >> (ix.0 % 64)) & 1 == 1)
    }

    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(mine, theirs)| mine & theirs != 0)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// How many characters must change, case aside (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *cell;
            let same = x.eq_ignore_ascii_case(&y);
            *cell = (corner + usize::from(!same)).min(above + 1).min(left + 1);
            (corner, left) = (above, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(name: &str, alias: Option<&str>, method: Method) -> Operation {
        Operation {
            name: Name::parse(name).unwrap(),
            alias: alias.map(|alias| Name::parse(alias).unwrap()),
            method,
            template: Template::parse("/x", &[]).unwrap(),
            query: QueryNames::Any,
            upgrades: Upgrades::Refused,
            holds: Holds::Nothing,
        }
    }

    fn operations() -> Operations {
        Operations::new(vec![
            operation("orders/getOrders", Some("orders/v0/getOrders"), Method::Get),
            operation("orders/v0/getOrder", None, Method::Get),
            operation("orders/2026/getOrder", None, Method::Get),
            operation("orders/confirmShipment", Some("orders/v0/confirmShipment"), Method::Post),
            operation("warehouse/getStock", None, Method::Get),
        ])
        .unwrap()
    }

    fn selected(pattern: &str) -> Result<Vec<u16>, PatternError> {
        let operations = operations();
        let set = operations.select(pattern)?;
        Ok(operations.iter().filter(|(ix, _)| set.contains(*ix)).map(|(ix, _)| ix.0).collect())
    }

    #[test]
    fn priv_1_a_pattern_names_no_more_than_it_says() {
        for (pattern, expected) in [
            ("*", vec![0, 1, 2, 3, 4]),
            ("orders/*", vec![0, 1, 2, 3]),
            ("orders/*:read", vec![0, 1, 2]),
            ("orders/*:write", vec![3]),
            ("*:write", vec![3]),
            ("orders/getOrders", vec![0]),
            ("orders/v0/getOrders", vec![0]),
            ("orders/v0/*", vec![0, 1, 3]),
            ("orders/*/getOrder", vec![1, 2]),
            ("warehouse/getStock:read", vec![4]),
        ] {
            assert_eq!(selected(pattern), Ok(expected), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_without_operations_says_what_may_be_meant() {
        let name = |text| Name::parse(text).unwrap();
        assert_eq!(selected("orders/get*:delete"), Err(PatternError::Suffix));
        assert_eq!(selected("order/*"), Err(PatternError::MatchesNothing));
        assert_eq!(selected("warehouse/getStock:write"), Err(PatternError::MatchesNothing));
        assert_eq!(
            selected("orders/getOrder"),
            Err(PatternError::Ambiguous {
                candidates: vec![name("orders/v0/getOrder"), name("orders/2026/getOrder")]
            })
        );
        assert_eq!(
            selected("warehouse/getstok"),
            Err(PatternError::Unknown { closest: vec![name("warehouse/getStock")] })
        );
        assert_eq!(selected("nothing"), Err(PatternError::Unknown { closest: vec![] }));
        assert_eq!(selected(""), Err(PatternError::Unknown { closest: vec![] }));
    }

    #[test]
    fn a_list_of_operations_has_one_meaning_per_name() {
        let mut websocket = operation("b", None, Method::Post);
        websocket.upgrades = Upgrades::WebSocket;
        let list = vec![
            operation("a/x", Some("a/v1/x"), Method::Get),
            operation("a/v1/x", None, Method::Get),
            operation("a:read", None, Method::Get),
            operation("c", Some("c"), Method::Head),
            websocket,
        ];
        assert_eq!(
            Operations::new(list).unwrap_err(),
            vec![
                OperationError::NameTwice { first: OperationIx(0), second: OperationIx(1) },
                OperationError::NameHoldsColon(OperationIx(2)),
                OperationError::MethodHead(OperationIx(3)),
                OperationError::UpgradeNeedsGet(OperationIx(4)),
            ]
        );
    }

    #[test]
    fn methods_without_operations_are_none() {
        for method in ["OPTIONS", "CONNECT", "TRACE", "get", "", "GET "] {
            assert_eq!(Method::parse(method.as_bytes()), None, "{method}");
        }
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            assert_eq!(Method::parse(method.as_bytes()).unwrap().as_str(), method);
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, expected) in
            [("", "", 0), ("ab", "AB", 0), ("kitten", "sitting", 3), ("", "abc", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
