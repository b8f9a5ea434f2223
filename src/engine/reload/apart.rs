//! A process that another one has relieved follows the configuration until its last connection has
//! ended: whoever may enter no more is cut there as well (ACC-3). No socket and no trial comes of it.
use std::sync::Arc;

use super::files::Reading;
use super::hold::Hold;
use super::turn::Why;
use super::{Engine, Live};

/// When files that were read are put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// If they differ from what is in force here.
    IfOther,
    /// At once: the other process has done so.
    AtOnce,
}

impl Engine {
    /// Reads the configuration again and has it judge what is left here, while nothing else may come
    /// into force. What was in force before, if it is so no more.
    ///
    /// # Errors
    /// What is wrong with it. The one before it stays in force then.
    pub async fn follow_files(
        self: &Arc<Self>,
        _meanwhile: &Hold,
        follow: Follow,
    ) -> Result<Option<Arc<Live>>, Why> {
        let files = self.reloads.files.lock().clone().ok_or(Why::NoFiles)?;
        let engine = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let (before, now) = (engine.live(), engine.steady_now());
            let generation = before.snapshot.generation.saturating_add(1);
            let read = files.read(Reading::ToLook, generation, now, &before.snapshot);
            let loaded = read.loaded.map_err(Why::Errors)?;
            let known = engine.reloads.origin.lock().as_ref().map(|origin| origin.print);
            if known == Some(read.origin.print) && follow == Follow::IfOther {
                return Ok(None);
            }
            let next = engine.numbered(loaded.snapshot).map_err(Why::Fault)?;
            engine.exchange(&before, next, None).map_err(Why::Fault)?;
            *engine.reloads.origin.lock() = Some(read.origin);
            Ok(Some(before))
        });
        done.await.unwrap_or(Err(Why::Broken))
    }
}
