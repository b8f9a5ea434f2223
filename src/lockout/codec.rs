//! The table as bytes: for the store, and for other gateways.
//!
//! `SKLT`, version (u16), tick (u64), count (u32), then each subject with its locks, releases and
//! attempts; integers are little-endian, counts u32, names one length byte and their text.
use std::collections::BTreeMap;

use crate::base::{Moment, Name, SourceRange};

use super::entry::{Author, Entry, GatewayId, Grounds, Lock, Release, ReleaseReason};
use super::table::{LockTable, ROOM, Subject};
use super::{Cause, Deadline, Shown, Step, Until};

const MAGIC: [u8; 4] = *b"SKLT";
const VERSION: u16 = 1;
/// No honest version is ever greater, and whoever plants this one leaves room for all that follow.
const VERSION_MAX: u64 = 1 << 62;

/// Why bytes are no table. Nothing is taken from such bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeFault {
    /// They are something else.
    NotATable,
    /// Written by a newer version of this program.
    Newer,
    /// They end too early.
    CutShort,
    /// A value that no table has.
    Malformed,
}

impl LockTable {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.entries.len() * 128);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_u64(self.tick, &mut out);
        put_count(self.entries.len(), &mut out);
        for (subject, entry) in &self.entries {
            put_subject(subject, &mut out);
            put_entry(entry, &mut out);
        }
        out
    }

    /// # Errors
    /// On anything but what [`encode`](Self::encode) wrote, whole.
    pub fn decode(bytes: &[u8], now: Moment) -> Result<Self, DecodeFault> {
        Self::read(bytes, now).map(|(table, _tick)| table)
    }

    /// The table, and what stands in the tick's place.
    pub(super) fn read(bytes: &[u8], now: Moment) -> Result<(Self, u64), DecodeFault> {
        let mut from = From { rest: bytes, now };
        if from.take::<4>().map_err(|_| DecodeFault::NotATable)? != MAGIC {
            return Err(DecodeFault::NotATable);
        }
        match u16::from_le_bytes(from.take()?) {
            VERSION => {}
            newer if newer > VERSION => return Err(DecodeFault::Newer),
            _ => return Err(DecodeFault::Malformed),
        }
        let told = from.version()?;
        let mut tick = told;
        let mut entries = BTreeMap::new();
        for _ in 0..from.count()? {
            let subject = from.subject()?;
            let entry = from.entry()?;
            let versions = entry.locks.values().map(|lock| lock.version);
            tick = versions.chain(entry.released.values().copied()).fold(tick, u64::max);
            if entries.len() >= ROOM {
                return Err(DecodeFault::Malformed);
            }
            if entries.insert(subject, entry).is_some() {
                return Err(DecodeFault::Malformed);
            }
        }
        if !from.rest.is_empty() {
            return Err(DecodeFault::Malformed);
        }
        Ok((Self::of(tick, entries), told))
    }
}

fn put_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_name(name: &Name, out: &mut Vec<u8>) {
    out.push(u8::try_from(name.as_str().len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_str().as_bytes());
}

fn put_subject(subject: &Subject, out: &mut Vec<u8>) {
    let (tag, name, hash) = match subject {
        Subject::Identity(name) => (0, Some(name), 0),
        Subject::Source(hash) => (1, None, *hash),
        Subject::Operation(name) => (2, Some(name), 0),
        Subject::Upstream(name) => (3, Some(name), 0),
        Subject::Account(hash) => (4, None, *hash),
        Subject::Order(hash) => (5, None, *hash),
        Subject::Token(hash) => (6, None, *hash),
        Subject::Network(range) => {
            let (family, length, key) = range.parts();
            out.extend_from_slice(&[7, family, length]);
            return put_u64(key, out);
        }
    };
    out.push(tag);
    match name {
        Some(name) => put_name(name, out),
        None => put_u64(hash, out),
    }
}

fn put_entry(entry: &Entry, out: &mut Vec<u8>) {
    put_count(entry.locks.len(), out);
    for (grounds, lock) in &entry.locks {
        out.extend_from_slice(&grounds.gateway.0.to_le_bytes());
        out.push(grounds.step.code());
        put_u64(lock.version, out);
        match lock.until {
            Until::Released => out.push(0),
            Until::At(deadline) => {
                out.push(1);
                put_u64(deadline.unix_ms(), out);
            }
        }
        put_u64(lock.since_ms, out);
        out.push(grounds.cause.code());
        // What was shown stands above the lowest bit, which says whether a name follows.
        let shown = lock.shown.map_or(0, Shown::code) << 1;
        match &grounds.author {
            Author::Detector => out.push(shown),
            Author::Operator(name) => {
                out.push(shown | 1);
                put_name(name, out);
            }
        }
    }
    for counts in [&entry.released, &entry.attempts] {
        put_count(counts.len(), out);
        for (gateway, count) in counts {
            out.extend_from_slice(&gateway.0.to_le_bytes());
            put_u64(*count, out);
        }
    }
    match &entry.release {
        None => out.push(0),
        Some(release) => {
            out.push(1);
            put_u64(release.at_ms, out);
            put_u64(release.probation.unix_ms(), out);
            put_name(&release.by, out);
            out.push(release.reason.code());
            put_name(&release.case, out);
        }
    }
}

struct From<'a> {
    rest: &'a [u8],
    now: Moment,
}

impl From<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeFault> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeFault::CutShort)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, DecodeFault> {
        self.take().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, DecodeFault> {
        self.take().map(u64::from_le_bytes)
    }

    fn version(&mut self) -> Result<u64, DecodeFault> {
        let version = self.u64()?;
        if version > VERSION_MAX { Err(DecodeFault::Malformed) } else { Ok(version) }
    }

    /// How many things follow. Nothing is reserved for them, so a lie costs the liar the bytes.
    fn count(&mut self) -> Result<u32, DecodeFault> {
        self.take().map(u32::from_le_bytes)
    }

    fn gateway(&mut self) -> Result<GatewayId, DecodeFault> {
        self.take().map(|bytes| GatewayId(u16::from_le_bytes(bytes)))
    }

    fn name(&mut self) -> Result<Name, DecodeFault> {
        let length = usize::from(self.u8()?);
        let (text, rest) = self.rest.split_at_checked(length).ok_or(DecodeFault::CutShort)?;
        self.rest = rest;
        let text = std::str::from_utf8(text).map_err(|_| DecodeFault::Malformed)?;
        Name::parse(text).map_err(|_| DecodeFault::Malformed)
    }

    fn subject(&mut self) -> Result<Subject, DecodeFault> {
        Ok(match self.u8()? {
            0 => Subject::Identity(self.name()?),
            1 => Subject::Source(self.u64()?),
            2 => Subject::Operation(self.name()?),
            3 => Subject::Upstream(self.name()?),
            4 => Subject::Account(self.u64()?),
            5 => Subject::Order(self.u64()?),
            6 => Subject::Token(self.u64()?),
            7 => {
                let parts = (self.u8()?, self.u8()?, self.u64()?);
                Subject::Network(SourceRange::from_parts(parts).ok_or(DecodeFault::Malformed)?)
            }
            _ => return Err(DecodeFault::Malformed),
        })
    }

    fn entry(&mut self) -> Result<Entry, DecodeFault> {
        let mut locks = BTreeMap::new();
        for _ in 0..self.count()? {
            let (grounds, lock) = self.lock()?;
            if locks.insert(grounds, lock).is_some() {
                return Err(DecodeFault::Malformed);
            }
        }
        let (released, attempts) = (self.counts()?, self.counts()?);
        if released.values().any(|version| *version > VERSION_MAX) {
            return Err(DecodeFault::Malformed);
        }
        let release = match self.u8()? {
            0 => None,
            1 => Some(self.release()?),
            _ => return Err(DecodeFault::Malformed),
        };
        Ok(Entry { locks, released, release, attempts })
    }

    fn lock(&mut self) -> Result<(Grounds, Lock), DecodeFault> {
        let gateway = self.gateway()?;
        let step = Step::of_code(self.u8()?).filter(|step| *step > Step::Note);
        let step = step.ok_or(DecodeFault::Malformed)?;
        let version = self.version()?;
        let until = match self.u8()? {
            0 => Until::Released,
            1 => Until::At(Deadline::learned(self.u64()?, self.now)),
            _ => return Err(DecodeFault::Malformed),
        };
        let since_ms = self.u64()?;
        let cause = Cause::of_code(self.u8()?).ok_or(DecodeFault::Malformed)?;
        let by = self.u8()?;
        let shown = match by >> 1 {
            0 => None,
            code => Some(Shown::of_code(code).ok_or(DecodeFault::Malformed)?),
        };
        let author = if by & 1 == 0 { Author::Detector } else { Author::Operator(self.name()?) };
        let grounds = Grounds { gateway, step, cause, author };
        Ok((grounds, Lock { version, until, since_ms, shown }))
    }

    fn counts(&mut self) -> Result<BTreeMap<GatewayId, u64>, DecodeFault> {
        let mut counts = BTreeMap::new();
        for _ in 0..self.count()? {
            if counts.insert(self.gateway()?, self.u64()?).is_some() {
                return Err(DecodeFault::Malformed);
            }
        }
        Ok(counts)
    }

    fn release(&mut self) -> Result<Release, DecodeFault> {
        Ok(Release {
            at_ms: self.u64()?,
            probation: Deadline::learned(self.u64()?, self.now),
            by: self.name()?,
            reason: ReleaseReason::of_code(self.u8()?).ok_or(DecodeFault::Malformed)?,
            case: self.name()?,
        })
    }
}
