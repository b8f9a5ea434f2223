//! A listener's number outlives reloads: it is its name's for as long as the process runs. So a
//! connection that was opened before a reload is never taken for one of another listener, whatever was
//! added, removed or put into another order (NET-1).
use std::collections::BTreeMap;

use super::Snapshot;
use crate::base::{ListenerIx, Name};

/// The numbers that were given so far.
#[derive(Clone, Debug, Default)]
pub struct ListenerNumbers(BTreeMap<Name, ListenerIx>);

/// This process has given all numbers away; a restart begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoNumberLeft;

impl ListenerNumbers {
    fn of(&mut self, name: &Name) -> Result<ListenerIx, NoNumberLeft> {
        if let Some(known) = self.0.get(name) {
            return Ok(*known);
        }
        let next = ListenerIx(u16::try_from(self.0.len()).map_err(|_full| NoNumberLeft)?);
        self.0.insert(name.clone(), next);
        Ok(next)
    }
}

impl Snapshot {
    /// Gives listeners the numbers that their names have had in this process. Until then a listener's
    /// number is its place in the configuration.
    ///
    /// # Errors
    /// See [`NoNumberLeft`].
    pub fn number_listeners(&mut self, numbers: &mut ListenerNumbers) -> Result<(), NoNumberLeft> {
        let mut places = Vec::new();
        for (place, listener) in self.listeners.iter_mut().enumerate() {
            listener.ix = numbers.of(&listener.name)?;
            if places.len() <= listener.ix.index() {
                places.resize(listener.ix.index() + 1, None);
            }
            if let Some(own) = places.get_mut(listener.ix.index()) {
                *own = Some(place);
            }
        }
        self.names.listener_places = Some(places);
        Ok(())
    }
}
