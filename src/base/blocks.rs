//! Memory for tables that are read at random places.
//!
//! In pages of 4 KiB a table of many megabytes has more of them than the processor remembers the
//! places of, so most lookups wait for a walk through the page tables besides their own access; in a
//! virtual machine that walk is through two. Huge pages (2 MiB on x86-64) end that: measured with a
//! million address prefixes, 7 to 10 % less time for each lookup.
use std::alloc::{Layout, handle_alloc_error};
use std::fmt;

use memmap2::{MmapMut, MmapOptions};

/// From here on huge pages are asked for, which take whole ones of physical memory.
const HUGE_FROM: usize = 1 << 20;
const HUGE_PAGE: usize = 2 << 20;

/// Blocks of `B` bytes each, which lie at multiples of `B` where that is a power of two. Immutable.
pub struct Blocks<const B: usize> {
    /// At the end there may be blocks of zeroes.
    bytes: MmapMut,
    blocks: usize,
}

impl<const B: usize> Blocks<B> {
    /// Aborts where the system gives no memory, as every collection does.
    #[must_use]
    pub fn of(blocks: &[[u8; B]]) -> Self {
        let wanted = size_of_val(blocks).max(1);
        let huge = wanted >= HUGE_FROM;
        let wanted = if huge { wanted.next_multiple_of(HUGE_PAGE) } else { wanted };
        let Ok(mut bytes) = MmapOptions::new().len(wanted).map_anon() else {
            handle_alloc_error(Layout::new::<[u8; B]>())
        };
        #[cfg(target_os = "linux")]
        if huge {
            // A kernel without huge pages gives small ones, which are only slower.
            let _ = bytes.advise(memmap2::Advice::HugePage);
        }
        for (place, block) in bytes.as_chunks_mut().0.iter_mut().zip(blocks) {
            *place = *block;
        }
        Self { bytes, blocks: blocks.len() }
    }

    #[inline]
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&[u8; B]> {
        self.bytes.as_chunks().0.get(place)
    }

    /// The memory of all blocks, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.blocks.saturating_mul(B)
    }
}

impl<const B: usize> fmt::Debug for Blocks<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blocks of {B} bytes", self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_1_every_block_is_where_it_was_put_in_small_pages_and_in_huge_ones() {
        for blocks in [0, 1, 63, 64, 65, HUGE_FROM / 64 - 1, HUGE_FROM / 64, 3 * HUGE_PAGE / 64 + 1]
        {
            let given: Vec<[u8; 64]> = (0..blocks)
                .map(|place| {
                    let mut block = [7; 64];
                    block[..8].copy_from_slice(&place.to_le_bytes());
                    block
                })
                .collect();
            let kept = Blocks::of(&given);
            assert!(given.iter().enumerate().all(|(place, block)| kept.get(place) == Some(block)));
            assert!(kept.get(blocks).is_none_or(|block| *block == [0; 64]));
            assert_eq!(kept.get(usize::MAX), None);
            assert_eq!(kept.bytes(), blocks * 64);
            assert!(given.is_empty() || kept.get(0).unwrap().as_ptr().addr().is_multiple_of(64));
        }
    }
}
