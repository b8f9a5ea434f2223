//! Networks that are locked, for the front door: nothing is looked up where there is none.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Moment, Shape, SourceRange};

use super::standing::{Hold, is_locked};

/// A copy shares what it holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(Option<Arc<Held>>);

#[derive(Clone, Debug, Default)]
struct Held {
    holds: BTreeMap<SourceRange, Hold>,
    /// Each once: as many look-ups as there are.
    shapes: Vec<Shape>,
}

impl Ranges {
    pub(super) fn put(&mut self, range: SourceRange, hold: Option<Hold>) {
        // What is the same stays shared.
        if self.0.as_ref().and_then(|held| held.holds.get(&range)) == hold.as_ref() {
            return;
        }
        let inner = Arc::make_mut(self.0.get_or_insert_default());
        let changed = match hold {
            Some(hold) => inner.holds.insert(range, hold).is_none(),
            None => inner.holds.remove(&range).is_some(),
        };
        if changed {
            inner.shapes = inner.holds.keys().map(|range| range.shape()).collect();
            inner.shapes.dedup();
        }
        if inner.holds.is_empty() {
            self.0 = None;
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn is_shared(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }

    /// The widest that is locked, of those that `of` says somebody is in.
    pub(super) fn locked(
        &self,
        of: impl Fn(Shape) -> Option<SourceRange>,
        now: Moment,
    ) -> Option<SourceRange> {
        let held = self.0.as_ref()?;
        let locked = |range: &SourceRange| is_locked(held.holds.get(range), now);
        held.shapes.iter().filter_map(|shape| of(*shape)).find(locked)
    }
}
