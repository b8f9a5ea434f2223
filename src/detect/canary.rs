//! Canaries: ids of records that nobody has a reason to ask for (MON-4). Kept as keyed hashes only.
use crate::base::IdentityIx;

use crate::base::HashKey;

/// One planted record: its place in the list it came from, and for whom it was planted, so that a
/// leak names its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    pub number: u16,
    pub planted_for: Option<IdentityIx>,
}

/// Why a list of canaries is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryFault {
    /// An id shorter than eight characters turns up by chance.
    TooShort,
    /// Longer than [`CanarySet::LENGTH_MAX`].
    TooLong,
    /// A character other than `A-Z a-z 0-9 - _`.
    Character,
    /// The same id twice.
    Twice,
    /// More than 65,535.
    TooMany,
}

/// The ids to look for, ready to be asked about one.
#[derive(Clone, Debug)]
pub struct CanarySet {
    key: HashKey,
    /// Bit `n`: an id of `n` bytes is in the set.
    lengths: u64,
    /// Open addressing, at most half full; a free place has no canary.
    table: Box<[Option<(u64, Canary)>]>,
}

impl Default for CanarySet {
    /// None: nothing is ever found in it.
    fn default() -> Self {
        Self { key: HashKey::new([0; 16]), lengths: 0, table: Box::default() }
    }
}

impl CanarySet {
    /// In bytes.
    pub const LENGTH_MAX: usize = 63;
    const LENGTH_MIN: usize = 8;

    /// How many ids are looked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.iter().flatten().count()
    }

    /// # Errors
    /// With the place of the first id that can't be one.
    pub fn build(
        key: HashKey,
        ids: &[(&str, Option<IdentityIx>)],
    ) -> Result<Self, (usize, CanaryFault)> {
        let size = (ids.len() * 2).next_power_of_two().max(2);
        let mut set = Self { key, lengths: 0, table: vec![None; size].into_boxed_slice() };
        for (place, (id, planted_for)) in ids.iter().enumerate() {
            let fault = |fault| (place, fault);
            check(id).map_err(fault)?;
            let number = u16::try_from(place).map_err(|_| fault(CanaryFault::TooMany))?;
            let canary = Canary { number, planted_for: *planted_for };
            let hash = key.hash(id.as_bytes());
            if set.contains(hash).is_some() {
                return Err(fault(CanaryFault::Twice));
            }
            set.lengths |= 1 << id.len();
            set.put(hash, canary);
        }
        Ok(set)
    }

    pub fn is_empty(&self) -> bool {
        self.lengths == 0
    }

    /// By the id's hash under the set's key.
    pub fn contains(&self, hash: u64) -> Option<Canary> {
        for place in self.probe(hash) {
            match self.table.get(place) {
                Some(Some((own, canary))) if *own == hash => return Some(*canary),
                Some(Some(_)) => {}
                _ => return None,
            }
        }
        None
    }

    /// For a path segment or the value of a query parameter.
    pub fn find(&self, id: &[u8]) -> Option<Canary> {
        if self.has_length(id.len()) { self.contains(self.key.hash(id)) } else { None }
    }

    /// Whether an id of this many bytes is worth being hashed.
    pub(super) const fn has_length(&self, length: usize) -> bool {
        length <= Self::LENGTH_MAX && self.lengths >> length & 1 == 1
    }

    fn put(&mut self, hash: u64, canary: Canary) {
        for place in self.probe(hash) {
            if let Some(free @ None) = self.table.get_mut(place) {
                *free = Some((hash, canary));
                return;
            }
        }
    }

    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.table.len().saturating_sub(1);
        let first = usize::try_from(hash & 0xffff_ffff).unwrap_or(0);
        (0..=mask).map(move |step| (first + step) & mask)
    }
}

fn check(id: &str) -> Result<(), CanaryFault> {
    match id.len() {
        0..CanarySet::LENGTH_MIN => return Err(CanaryFault::TooShort),
        CanarySet::LENGTH_MIN..=CanarySet::LENGTH_MAX => {}
        _ => return Err(CanaryFault::TooLong),
    }
    if id.bytes().all(super::scan::is_id_byte) { Ok(()) } else { Err(CanaryFault::Character) }
}
