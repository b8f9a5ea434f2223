//! What a request names in its path and query, as far as it may be the id of a record. No byte of it
//! stays.
use std::borrow::Cow;

use crate::base::OperationIx;
use crate::detect::{each_id, is_id};
use crate::engine::Live;
use crate::policy::{Facts, Template};

/// The bytes of one request's target.
pub(super) struct Asked<'a> {
    path: &'a [u8],
    query: &'a [u8],
    /// None where it is not known what is asked: every segment of the path may be a parameter.
    template: Option<&'a Template>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(facts: &Facts<'a>, live: &'a Live, operation: OperationIx) -> Self {
        let of = live.snapshot.policy.operation(operation);
        Self {
            path: facts.path,
            query: facts.query.unwrap_or_default(),
            template: of.map(|operation| &operation.template),
        }
    }

    /// Of a request that may have reached no operation. There is one way to read it.
    pub(super) fn plainly(target: &'a [u8]) -> Self {
        let at = memchr::memchr(b'?', target).unwrap_or(target.len());
        let (path, query) = target.split_at_checked(at).unwrap_or((target, &[]));
        Self { path, query: query.get(1..).unwrap_or_default(), template: None }
    }

    /// What stands for the operation's parameters in the path.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'a [u8]> {
        let path = self.path;
        self.template.into_iter().flat_map(move |template| template.parameters(path))
    }

    /// What the query asks for, with the names of its parameters.
    fn values(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.query.split(|byte| *byte == b'&').filter_map(|pair| {
            let (name, value) = pair.split_at(memchr::memchr(b'=', pair)?);
            Some((name, value.get(1..)?))
        })
    }

    /// Shows each object that the query names, where several may stand with commas. A time names none, nor
    /// does a place in a list that is paged through; both are others with every call.
    pub(super) fn named(&self, mut see: impl FnMut(&[u8])) {
        for (_, value) in self.values().filter(|(name, _)| !is_token(name)) {
            each_reading(value, |text| {
                let each = text.split(|byte| *byte == b',').filter(|one| !is_time(one));
                each.for_each(|one| each_id(one, &mut see));
            });
        }
    }

    /// Shows everything that may be the id of a record: parameters of the path, each value of the query,
    /// where several may stand with commas, and each run of an id's bytes in them, as in `id:902-…`.
    pub(super) fn ids(&self, mut see: impl FnMut(&[u8])) {
        let unknown = self.template.is_none();
        let segments = unknown.then(|| self.path.split(|byte| *byte == b'/')).into_iter().flatten();
        let values = self.values().map(|(_, value)| value);
        for value in self.parameters().chain(segments).chain(values) {
            each_reading(value, |text| {
                each_id(text, &mut see);
                // Another store's may have other bytes in it.
                text.split(|byte| *byte == b',').filter(|id| !is_id(id)).for_each(&mut see);
            });
        }
    }
}

/// Amazon's names for the place in a list: `nextToken`, `pageToken`, `NextToken`.
fn is_token(name: &[u8]) -> bool {
    let end = name.len().checked_sub(5).and_then(|at| name.get(at..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(b"token"))
}

/// A date, or a date and a time (RFC 3339 §5.6).
fn is_time(value: &[u8]) -> bool {
    let Some((date, time)) = value.split_first_chunk::<10>() else { return false };
    let fits =
        |(byte, like): (&u8, &u8)| if *like == b'-' { byte == like } else { byte.is_ascii_digit() };
    date.iter().zip(b"yyyy-mm-dd").all(fits)
        && matches!(time.first(), None | Some(b'T' | b't' | b' '))
}

/// Shows a text as it is when its escapes are read, and when those that come of it are read again:
/// `policy` lets no third layer pass, and a store may read either.
pub(super) fn each_reading(escaped: &[u8], mut see: impl FnMut(&[u8])) {
    let once = plain(escaped);
    let twice = plain(&once);
    see(&once);
    // Reading shortens exactly where an escape was.
    if twice.len() < once.len() {
        see(&twice);
    }
}

/// The bytes that escapes stand for.
fn plain(escaped: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', escaped).is_none() {
        return Cow::Borrowed(escaped);
    }
    let mut out = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((first, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|b| char::from(*b).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
            rest = tail.get(2..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    Cow::Owned(out)
}
