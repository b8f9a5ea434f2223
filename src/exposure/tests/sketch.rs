//! The keyed hash and the count of different things.
use crate::base::HashKey;
use std::hash::Hasher;

use proptest::prelude::*;

use super::*;

fn spread(n: u64) -> u64 {
    let mut hasher = HashKey::new(KEY).hasher();
    hasher.write(&n.to_le_bytes());
    hasher.finish()
}

fn of(things: impl IntoIterator<Item = u64>) -> Sketch {
    let mut sketch = Sketch::default();
    things.into_iter().for_each(|n| sketch.insert(spread(n)));
    sketch
}

#[test]
fn mon_3_few_things_are_counted_exactly_and_many_within_the_stated_error() {
    for count in [0, 1, 2, 10, 100, 400] {
        assert_eq!(of(0..count).estimate(), count);
    }
    // Root mean square over independent runs, with room for the runs being few.
    for count in [411_u64, 1_000, 5_000, 60_000] {
        let float = |n: u64| f64::from(u32::try_from(n).unwrap());
        let runs = 30;
        let squares: f64 = (0..runs)
            .map(|run| {
                let found = of((0..count).map(|n| n + (run << 40))).estimate();
                (float(found) / float(count) - 1.0).powi(2)
            })
            .sum();
        let error = (squares / float(runs)).sqrt();
        assert!(error < 1.5 * Sketch::STANDARD_ERROR, "{count}: {error}");
        assert!(count < 10_000 || error > 0.3 * Sketch::STANDARD_ERROR, "{count}: {error}");
    }
}

proptest! {
    #[test]
    fn mon_3_merging_is_counting_together(
        a in prop::collection::vec(0_u64..2_000, 0..900),
        b in prop::collection::vec(0_u64..2_000, 0..900),
    ) {
        let together = of(a.iter().chain(&b).copied());
        let mut merged = of(a.iter().copied());
        merged.merge(&of(b.iter().copied()));
        prop_assert_eq!(&merged, &together);
        let mut twice = merged.clone();
        twice.merge(&merged);
        prop_assert_eq!(&twice, &together);
        let mut other_way = of(b.iter().copied());
        other_way.merge(&of(a.iter().copied()));
        prop_assert_eq!(other_way, together);
    }

    /// The standard library's hasher is SipHash-1-3 with a key of zeros.
    #[test]
    fn mon_3_the_hash_is_siphash_however_it_is_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..70),
        cut in 0_usize..70,
    ) {
        let mut theirs = std::collections::hash_map::DefaultHasher::new();
        theirs.write(&bytes);
        let (a, b) = bytes.split_at(cut.min(bytes.len()));
        let mut ours = HashKey::new([0; 16]).hasher();
        ours.write(a);
        ours.write(b);
        prop_assert_eq!(ours.finish(), theirs.finish());
        let mut keyed = HashKey::new(KEY).hasher();
        keyed.write(&bytes);
        prop_assert_ne!(keyed.finish(), theirs.finish());
    }
}
