//! What an identity's watch has learned and what it counts, as bytes for the store.
//!
//! A version byte, then integers and floating-point numbers in little-endian order. Version 1 ends
//! before the habit of bursts; with such a history an identity is judged by hours and quarters at
//! once, and by minutes after a day of work. Version 2 ends before the counts; with it every window
//! begins anew. Version 3 does not say when something was acted upon: it is not again in that window.
//!
//! Each value is named once, for both directions: see [`Bytes`].
use super::tail::Tail;
use super::told::Told;
use super::watch::{Core, Watch};
use super::week::Week;
use crate::base::Moment;

const VERSION: u8 = 4;
const WITHOUT_BURSTS: u8 = 1;
const WITHOUT_COUNTS: u8 = 2;

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
    /// More than a history ever has.
    pub const HISTORY_BYTES_MAX: usize = 1_536;

    /// What is to be written down at `now`.
    pub fn encode(&mut self, now: Moment) -> Vec<u8> {
        self.core.queued = false;
        let mut out = Vec::with_capacity(Self::HISTORY_BYTES_MAX);
        out.push(VERSION);
        let mut all = self.clone();
        // Nothing that is written is refused.
        let _written = all.pass(&mut To(&mut out), VERSION, now);
        out
    }

    /// # Errors
    /// On anything but what [`encode`](Self::encode) writes, or wrote in an earlier version, whole.
    pub fn decode(bytes: &[u8], now: Moment) -> Result<Self, HistoryFault> {
        let (version, bytes) = bytes.split_first().ok_or(HistoryFault::Length)?;
        match *version {
            WITHOUT_BURSTS..=VERSION => {}
            newer if newer > VERSION => return Err(HistoryFault::Newer),
            _ => return Err(HistoryFault::Malformed),
        }
        let (mut watch, mut from) = (Self::default(), From(bytes));
        watch.pass(&mut from, *version, now)?;
        if from.0.is_empty() { Ok(watch) } else { Err(HistoryFault::Length) }
    }

    fn pass(&mut self, by: &mut impl Bytes, version: u8, now: Moment) -> Result<(), HistoryFault> {
        self.core.pass_learned(by, version)?;
        if version > WITHOUT_COUNTS {
            self.pass_counts(by, now)?;
        }
        Ok(())
    }
}

impl Core {
    fn pass_learned(&mut self, by: &mut impl Bytes, version: u8) -> Result<(), HistoryFault> {
        by.u16(&mut self.volume.age)?;
        for habit in &mut self.volume.habits {
            habit.week = by.pass(*habit.week.cells()).map(Week::of_cells)?;
            by.within(&mut habit.recent, 0.0, 64.0)?;
            by.tail(&mut habit.hour_tail)?;
            by.tail(&mut habit.quarter_tail)?;
        }
        by.tail(&mut self.failures.tail)?;
        by.tail(&mut self.enumeration.hour_tail)?;
        by.tail(&mut self.enumeration.day_tail)?;
        by.within(&mut self.slow.share, 0.0, 1.0)?;
        by.within(&mut self.slow.spread, 1.0, 1e6)?;
        by.within(&mut self.slow.normal_most, 0.0, 1e3)?;
        by.u16(&mut self.slow.blocks)?;
        by.u16(&mut self.slow.days)?;
        by.u16(&mut self.sharing.usual_most)?;
        if version > WITHOUT_BURSTS {
            by.within(&mut self.volume.burst.habit, 0.0, 1.0)?;
        }
        Ok(())
    }

    /// What was learned, as if nothing had been counted.
    pub(super) fn learned(mut self) -> Self {
        let (mut bytes, mut learned) =
            (Vec::with_capacity(Watch::HISTORY_BYTES_MAX), Self::default());
        // Nothing that is written is refused.
        let _written = self.pass_learned(&mut To(&mut bytes), VERSION);
        let _read = learned.pass_learned(&mut From(&bytes), VERSION);
        learned
    }
}

/// Bytes that are written or read. What is passed is written as it is, or becomes what is read.
pub(super) trait Bytes {
    /// Gives back what is passed, or what is read in its place.
    fn pass<const N: usize>(&mut self, value: [u8; N]) -> Result<[u8; N], HistoryFault>;

    fn u8(&mut self, value: &mut u8) -> Result<(), HistoryFault> {
        [*value] = self.pass([*value])?;
        Ok(())
    }

    fn u16(&mut self, value: &mut u16) -> Result<(), HistoryFault> {
        *value = u16::from_le_bytes(self.pass(value.to_le_bytes())?);
        Ok(())
    }

    fn u32(&mut self, value: &mut u32) -> Result<(), HistoryFault> {
        *value = u32::from_le_bytes(self.pass(value.to_le_bytes())?);
        Ok(())
    }

    fn u64(&mut self, value: &mut u64) -> Result<(), HistoryFault> {
        *value = u64::from_le_bytes(self.pass(value.to_le_bytes())?);
        Ok(())
    }

    fn within(&mut self, value: &mut f32, low: f32, high: f32) -> Result<(), HistoryFault> {
        *value = f32::from_le_bytes(self.pass(value.to_le_bytes())?);
        if (low..=high).contains(value) { Ok(()) } else { Err(HistoryFault::Malformed) }
    }

    fn told(&mut self, value: &mut Told) -> Result<(), HistoryFault> {
        self.u8(&mut value.0)
    }

    fn tail(&mut self, tail: &mut Tail) -> Result<(), HistoryFault> {
        let (mut reals, mut counts) = tail.parts();
        for real in &mut reals {
            *real = f32::from_le_bytes(self.pass(real.to_le_bytes())?);
        }
        for count in &mut counts {
            self.u16(count)?;
        }
        *tail = Tail::of_parts(reals, counts).ok_or(HistoryFault::Malformed)?;
        Ok(())
    }
}

pub(super) struct To<'a>(pub(super) &'a mut Vec<u8>);

impl Bytes for To<'_> {
    fn pass<const N: usize>(&mut self, value: [u8; N]) -> Result<[u8; N], HistoryFault> {
        self.0.extend_from_slice(&value);
        Ok(value)
    }
}

pub(super) struct From<'a>(pub(super) &'a [u8]);

impl Bytes for From<'_> {
    fn pass<const N: usize>(&mut self, _default: [u8; N]) -> Result<[u8; N], HistoryFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(HistoryFault::Length)?;
        self.0 = rest;
        Ok(*taken)
    }
}
