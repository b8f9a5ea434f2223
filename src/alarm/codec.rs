//! Alarms and progress as the store keeps them. Big-endian, versioned, read strictly.
use super::kind::{Aspect, Kind, Severity};
use super::model::{Alarm, NAMES_MAX, Phrase, Source, Why};
use super::progress::{Ahead, Progress, TARGETS_MAX, TargetProgress};
use crate::base::{Name, Pseudonym};

const ALARM_FORMAT: u8 = 1;
const PROGRESS_FORMAT: u8 = 1;
const PAGE_FORMAT: u8 = 1;

/// Why bytes are no alarm or progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeFault {
    /// Written by a newer version of this program, or something else.
    Format,
    CutShort,
    Trailing,
    /// A code, name or number that can't be.
    Value,
}

struct From<'a>(&'a [u8]);

impl<'a> From<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DecodeFault::CutShort)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeFault> {
        self.take().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, DecodeFault> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeFault> {
        self.take().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Result<&'a [u8], DecodeFault> {
        let length = usize::from(self.byte()?);
        let (text, rest) = self.0.split_at_checked(length).ok_or(DecodeFault::CutShort)?;
        self.0 = rest;
        Ok(text)
    }

    fn name(&mut self) -> Result<Name, DecodeFault> {
        let text = std::str::from_utf8(self.text()?).map_err(|_| DecodeFault::Value)?;
        Name::parse(text).map_err(|_| DecodeFault::Value)
    }

    fn code<T>(&mut self, of: impl Fn(u8) -> Option<T>) -> Result<T, DecodeFault> {
        of(self.byte()?).ok_or(DecodeFault::Value)
    }

    /// A value behind a byte that says whether there is one.
    fn perhaps<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, DecodeFault>,
    ) -> Result<Option<T>, DecodeFault> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(DecodeFault::Value),
        }
    }

    fn end<T>(self, value: T) -> Result<T, DecodeFault> {
        if self.0.is_empty() { Ok(value) } else { Err(DecodeFault::Trailing) }
    }
}

/// Texts here are names and phrases, at most 96 bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

fn put_perhaps<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

impl Alarm {
    /// At most 1,100 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![ALARM_FORMAT, self.kind.code(), self.severity.code()];
        out.extend_from_slice(&self.first_ms.to_be_bytes());
        out.extend_from_slice(&self.last_ms.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.push(u8::from(self.several));
        out.push(u8::try_from(self.names().len()).unwrap_or(0));
        for (aspect, name) in self.names() {
            out.push(aspect.code());
            put_text(&mut out, name.as_str());
        }
        put_perhaps(&mut out, self.source, |out, source| {
            out.extend_from_slice(&source.pseudonym.bits().to_be_bytes());
            out.extend_from_slice(&source.day.to_be_bytes());
        });
        put_perhaps(&mut out, self.why.as_ref(), |out, why| {
            for number in [why.seen, why.expected, why.limit, why.since_ms] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            put_text(out, why.unit.as_str());
            put_text(out, why.setting.as_str());
        });
        out
    }

    /// # Errors
    /// On anything but what [`encode`](Self::encode) wrote, whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeFault> {
        let mut from = From(bytes);
        if from.byte()? != ALARM_FORMAT {
            return Err(DecodeFault::Format);
        }
        let kind = from.code(Kind::of_code)?;
        let severity = from.code(Severity::of_code)?;
        let mut alarm = Self::new(kind, severity, crate::base::Moment::new(0, 0));
        (alarm.first_ms, alarm.last_ms) = (from.u64()?, from.u64()?);
        alarm.count = from.u32()?;
        alarm.several = from.perhaps(|_| Ok(()))?.is_some();
        let names = usize::from(from.byte()?);
        if names > NAMES_MAX || alarm.count == 0 {
            return Err(DecodeFault::Value);
        }
        for _ in 0..names {
            let aspect = from.code(Aspect::of_code)?;
            // One spelling: sorted, none twice.
            if alarm.names().last().is_some_and(|(before, _)| *before >= aspect) {
                return Err(DecodeFault::Value);
            }
            alarm = alarm.about(aspect, &from.name()?);
        }
        alarm.source = from.perhaps(|from| {
            Ok(Source { pseudonym: Pseudonym::kept(from.u64()?), day: from.u32()? })
        })?;
        alarm.why = from.perhaps(|from| {
            let (seen, expected, limit) = (from.u64()?, from.u64()?, from.u64()?);
            let since_ms = from.u64()?;
            let unit = Phrase::read(from.text()?).ok_or(DecodeFault::Value)?;
            let setting = Phrase::read(from.text()?).ok_or(DecodeFault::Value)?;
            Ok(Why { seen, expected, limit, unit, since_ms, setting })
        })?;
        from.end(alarm)
    }
}

/// Alarms in pages of at most `max` bytes. One that is longer than a page is left out; none is.
#[must_use]
pub fn in_pages(alarms: &[Alarm], max: usize) -> Vec<Vec<u8>> {
    let mut pages: Vec<Vec<u8>> = Vec::new();
    for alarm in alarms.iter().map(Alarm::encode) {
        let Ok(length) = u16::try_from(alarm.len()) else { continue };
        let needs = 2 + alarm.len();
        match pages.last_mut().filter(|page| page.len().saturating_add(needs) <= max) {
            Some(_) => {}
            None if needs < max => pages.push(vec![PAGE_FORMAT]),
            None => continue,
        }
        if let Some(page) = pages.last_mut() {
            page.extend_from_slice(&length.to_be_bytes());
            page.extend_from_slice(&alarm);
        }
    }
    pages
}

/// The alarms on a page.
///
/// # Errors
/// On anything but what [`in_pages`] wrote, whole.
pub fn of_page(bytes: &[u8]) -> Result<Vec<Alarm>, DecodeFault> {
    let mut from = From(bytes);
    if from.byte()? != PAGE_FORMAT {
        return Err(DecodeFault::Format);
    }
    let mut alarms = Vec::new();
    while !from.0.is_empty() {
        let length = usize::from(from.take().map(u16::from_be_bytes)?);
        let (alarm, rest) = from.0.split_at_checked(length).ok_or(DecodeFault::CutShort)?;
        alarms.push(Alarm::decode(alarm)?);
        from.0 = rest;
    }
    Ok(alarms)
}

impl Progress {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![PROGRESS_FORMAT, u8::try_from(self.targets().len()).unwrap_or(0)];
        for (name, target) in self.targets() {
            put_text(&mut out, name.as_str());
            for number in [target.done, target.lost] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            put_perhaps(&mut out, target.ahead, |out, ahead| {
                out.extend_from_slice(&ahead.done.to_be_bytes());
                out.push(ahead.from.code());
            });
        }
        out
    }

    /// # Errors
    /// On anything but what [`encode`](Self::encode) wrote, whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeFault> {
        let mut from = From(bytes);
        if from.byte()? != PROGRESS_FORMAT {
            return Err(DecodeFault::Format);
        }
        let mut progress = Self::default();
        let targets = usize::from(from.byte()?);
        if targets > TARGETS_MAX {
            return Err(DecodeFault::Value);
        }
        for _ in 0..targets {
            let name = from.name()?;
            if progress.targets().iter().any(|(known, _)| *known == name) {
                return Err(DecodeFault::Value);
            }
            let (done, lost) = (from.u64()?, from.u64()?);
            let ahead = from.perhaps(|from| {
                Ok(Ahead { done: from.u64()?, from: from.code(Severity::of_code)? })
            })?;
            progress.set(&name, TargetProgress { done, ahead, lost });
        }
        from.end(progress)
    }
}
