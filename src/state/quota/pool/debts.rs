//! What a gateway owes the store, from one process to the next.
use super::{Pool, Source};

impl Pool {
    /// What is owed, in requests, bytes or records, for who writes it down now.
    pub(in crate::state) fn keep_owed(&self) -> u64 {
        let mut state = self.state.lock();
        state.kept = state.owed > 0;
        state.debt()
    }

    pub(in crate::state) fn owed(&self) -> u64 {
        self.state.lock().debt()
    }

    /// Whether something is owed, or is said to be in the file.
    pub(in crate::state) fn is_to_keep(&self) -> bool {
        let state = self.state.lock();
        state.kept || state.owed > 0
    }

    /// So much is owed since before this process began, as the file says.
    pub(in crate::state) fn restore_owed(&self, owed: u64) {
        let mut state = self.state.lock();
        state.owed = state.owed.max(i64::try_from(owed).unwrap_or(i64::MAX));
        state.kept = true;
    }

    /// Another process leaves so much to be told.
    pub(in crate::state) fn owe(&self, more: u64) {
        let mut state = self.state.lock();
        state.owed = state.owed.saturating_add_unsigned(more);
    }

    /// Another process knows already of so much that is owed here. Gives the rest, which that one owes
    /// from now on, unless this one can be heard itself.
    pub(in crate::state) fn hand_over(&self, known: u64) -> u64 {
        let mut state = self.state.lock();
        let rest = state.debt().saturating_sub(known);
        if state.owed > 0 {
            state.owed = i64::try_from(rest).unwrap_or(i64::MAX);
        }
        if matches!(state.source, Source::Asked) {
            return 0;
        }
        state.owed = state.owed.min(0);
        rest
    }
}
