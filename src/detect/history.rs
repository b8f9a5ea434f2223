//! What an identity's watch has learned, as bytes for the store. The counts of the running hour are
//! no part of it: after a restart the hour begins anew.
//!
//! A version byte, then integers and floating-point numbers in little-endian order; always
//! [`Watch::HISTORY_BYTES`] long. Version 1 ends before the habit of bursts; with such a history an
//! identity is judged by hours and quarters at once, and by minutes after a day of work.
use super::tail::Tail;
use super::watch::Watch;
use super::week::Week;

const VERSION: u8 = 2;
const WITHOUT_BURSTS: u8 = 1;

/// Why bytes are no history. The identity is young then, which is the stricter way to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryFault {
    /// Written by a newer version of this program.
    Newer,
    /// Too few or too many bytes.
    Length,
    /// A number that no history has.
    Malformed,
}

impl Watch {
    pub const HISTORY_BYTES: usize =
        1 + 2 + 3 * (168 + 4 + 2 * 16) + 3 * 16 + 3 * 4 + 2 * 2 + 2 + 4;

    pub fn encode(&self) -> Vec<u8> {
        let core = &self.core;
        let mut out = Vec::with_capacity(Self::HISTORY_BYTES);
        out.push(VERSION);
        out.extend_from_slice(&core.volume.age.to_le_bytes());
        for gauge in &core.volume.gauges {
            out.extend_from_slice(gauge.week.cells());
            out.extend_from_slice(&gauge.recent.to_le_bytes());
            put_tail(&gauge.hour_tail, &mut out);
            put_tail(&gauge.quarter_tail, &mut out);
        }
        put_tail(&core.failures.tail, &mut out);
        put_tail(&core.enumeration.hour_tail, &mut out);
        put_tail(&core.enumeration.day_tail, &mut out);
        for value in [core.slow.share, core.slow.spread, core.slow.normal_most] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in [core.slow.blocks, core.slow.days, core.sharing.usual_most] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&core.volume.burst.habit.to_le_bytes());
        out
    }

    /// # Errors
    /// On anything but what [`encode`](Self::encode) writes, or wrote in version 1, whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, HistoryFault> {
        let mut from = From(bytes);
        let [version] = from.take()?;
        match version {
            WITHOUT_BURSTS | VERSION => {}
            newer if newer > VERSION => return Err(HistoryFault::Newer),
            _ => return Err(HistoryFault::Malformed),
        }
        let mut watch = Self::default();
        let core = &mut watch.core;
        core.volume.age = from.u16()?;
        for gauge in &mut core.volume.gauges {
            gauge.week = Week::of_cells(from.take()?);
            gauge.recent = from.within(0.0, 64.0)?;
            gauge.hour_tail = from.tail()?;
            gauge.quarter_tail = from.tail()?;
        }
        core.failures.tail = from.tail()?;
        core.enumeration.hour_tail = from.tail()?;
        core.enumeration.day_tail = from.tail()?;
        core.slow.share = from.within(0.0, 1.0)?;
        core.slow.spread = from.within(1.0, 1e6)?;
        core.slow.normal_most = from.within(0.0, 1e3)?;
        core.slow.blocks = from.u16()?;
        core.slow.days = from.u16()?;
        core.sharing.usual_most = from.u16()?;
        if version > WITHOUT_BURSTS {
            core.volume.burst.habit = from.within(0.0, 1.0)?;
        }
        if from.0.is_empty() { Ok(watch) } else { Err(HistoryFault::Length) }
    }
}

fn put_tail(tail: &Tail, out: &mut Vec<u8>) {
    let (reals, counts) = tail.parts();
    for real in reals {
        out.extend_from_slice(&real.to_le_bytes());
    }
    for count in counts {
        out.extend_from_slice(&count.to_le_bytes());
    }
}

struct From<'a>(&'a [u8]);

impl From<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], HistoryFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(HistoryFault::Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, HistoryFault> {
        self.take().map(u16::from_le_bytes)
    }

    fn within(&mut self, low: f32, high: f32) -> Result<f32, HistoryFault> {
        let value = f32::from_le_bytes(self.take()?);
        if (low..=high).contains(&value) { Ok(value) } else { Err(HistoryFault::Malformed) }
    }

    fn tail(&mut self) -> Result<Tail, HistoryFault> {
        let reals = [
            f32::from_le_bytes(self.take()?),
            f32::from_le_bytes(self.take()?),
            f32::from_le_bytes(self.take()?),
        ];
        let counts = [self.u16()?, self.u16()?];
        Tail::of_parts(reals, counts).ok_or(HistoryFault::Malformed)
    }
}
