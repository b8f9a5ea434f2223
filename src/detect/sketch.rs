//! How many distinct things were seen: `HyperLogLog` (Flajolet and others, 2007) with 256 registers.
//! Its standard error is 1.04 / √256 = 6.5 %; small counts are nearly exact by linear counting.
use super::history::{Bytes, HistoryFault};
use super::scale::{real, whole};

/// 272 bytes, whatever is added. Takes keyed hashes, so that nobody can choose what collides.
#[derive(Clone, Debug)]
pub struct Sketch {
    registers: [u8; 256],
    /// Sum of 2^-register in units of 2^-55, kept with every change so that an estimate is O(1).
    sum: u64,
    empty: u16,
}

const REGISTERS: u16 = 256;
const UNIT: u8 = 55;

impl Default for Sketch {
    fn default() -> Self {
        Self { registers: [0; 256], sum: u64::from(REGISTERS) << UNIT, empty: REGISTERS }
    }
}

impl Sketch {
    /// Whether the estimate may have changed.
    pub fn add(&mut self, hash: u64) -> bool {
        let [place, ..] = hash.to_be_bytes();
        let rank = u8::try_from((hash << 8).leading_zeros() + 1).unwrap_or(UNIT).min(UNIT);
        let Some(register) = self.registers.get_mut(usize::from(place)) else { return false };
        if rank <= *register {
            return false;
        }
        self.sum = self.sum - (1 << (UNIT - *register)) + (1 << (UNIT - rank));
        self.empty -= u16::from(*register == 0);
        *register = rank;
        true
    }

    pub fn estimate(&self) -> u64 {
        let m = f32::from(REGISTERS);
        let units = real(1 << UNIT);
        let raw = 0.718_27 * m * m / (real(self.sum) / units);
        if self.empty > 0 && raw <= 2.5 * m {
            whole(m * (m / f32::from(self.empty)).ln())
        } else {
            whole(raw)
        }
    }

    /// Over a restart: of eight registers each, which are not empty, and what is in those.
    pub(super) fn pass(&mut self, by: &mut impl Bytes) -> Result<(), HistoryFault> {
        let mut registers = self.registers;
        let (eights, _) = registers.as_chunks_mut::<8>();
        for eight in eights {
            let used = |(bit, register): (u8, &u8)| u8::from(*register > 0) << bit;
            let mut mask = (0..).zip(eight.iter()).map(used).fold(0, |all, bit| all | bit);
            by.u8(&mut mask)?;
            for (_, register) in (0_u8..).zip(eight).filter(|(bit, _)| mask >> bit & 1 == 1) {
                by.u8(register)?;
                if !(1..=UNIT).contains(register) {
                    return Err(HistoryFault::Malformed);
                }
            }
        }
        self.registers = registers;
        self.sum = registers.iter().map(|register| 1 << (UNIT - register)).sum();
        self.empty = registers.iter().map(|register| u16::from(*register == 0)).sum();
        Ok(())
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
