//! Which members of a list have changed, told by many and asked by one.
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One flag for each place of a list. Setting one takes no lock, and twice is the same as once, so
/// that what waits to be looked at is never more than there is.
#[derive(Debug)]
pub struct Marks {
    words: Box<[AtomicU64]>,
    length: usize,
    /// The word where the next look begins, so that no place waits for ever.
    next: AtomicUsize,
}

impl Marks {
    /// For so many places, none of them marked.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let words = (0..length.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { words, length, next: AtomicUsize::new(0) }
    }

    /// Says that a place has changed; one that does not exist has not. Whoever takes the mark sees
    /// what was changed before.
    pub fn mark(&self, place: usize) {
        if let Some(word) = self.word(place) {
            word.fetch_or(1 << (place % 64), Ordering::AcqRel);
        }
    }

    /// As [`mark`](Self::mark), and cheaper where the place is marked already. Only for callers that
    /// hold the lock under which the place is read after its mark was taken.
    #[inline]
    pub fn mark_under_lock(&self, place: usize) {
        if let Some(word) = self.word(place) {
            let bit = 1 << (place % 64);
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::AcqRel);
            }
        }
    }

    #[inline]
    fn word(&self, place: usize) -> Option<&AtomicU64> {
        if place < self.length { self.words.get(place / 64) } else { None }
    }

    /// Takes at most so many marks away, and says whose they were.
    pub fn take(&self, most: usize) -> Vec<usize> {
        let mut places = Vec::new();
        let begin = self.next.load(Ordering::Relaxed);
        for turn in 0..self.words.len() {
            let at = (begin + turn) % self.words.len();
            let Some(word) = self.words.get(at) else { continue };
            let mut left = word.load(Ordering::Relaxed);
            while left != 0 {
                if places.len() >= most {
                    self.next.store(at, Ordering::Relaxed);
                    return places;
                }
                let bit = left & left.wrapping_neg();
                left ^= bit;
                word.fetch_and(!bit, Ordering::AcqRel);
                places.push(at * 64 + usize::try_from(bit.trailing_zeros()).unwrap_or(0));
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_taken_once_and_the_rest_waits_its_turn() {
        let marks = Marks::new(200);
        for place in [0, 63, 64, 199, 63] {
            marks.mark(place);
        }
        marks.mark_under_lock(130);
        marks.mark(200);
        assert_eq!(marks.take(2), [0, 63]);
        marks.mark(0);
        assert_eq!(marks.take(9), [64, 130, 199, 0], "what has waited comes first");
        assert!(marks.take(9).is_empty());
        assert!(Marks::new(0).take(1).is_empty());
    }
}
