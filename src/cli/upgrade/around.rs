//! A process that takes another one's place reads the files by itself: nothing there is compared with
//! what was in force, put on trial, or waits for anybody to ask for it. What would have to here does not
//! get by that way, unless somebody insists (LOG-1, PRIV-3).
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::api::JudgedOut;
use crate::cli::reload::figures;
use crate::config::Apply;
use crate::config::diff::Counts;
use crate::engine::{Engine, Judged};

/// Which configuration the new process may begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Begins {
    /// What is in force, or could be at once.
    Settled,
    /// Whatever is on disk: somebody insists.
    AsOnDisk,
}

/// Why it would get around something.
#[derive(Debug)]
pub(in crate::cli) enum Around {
    /// For so long yet.
    Trial(Duration),
    PutBack(Judged),
    /// It waits for somebody to ask.
    Request(Counts),
}

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trial(left) => write!(
                f,
                "the configuration is on trial for another {} s: wait",
                left.as_secs().saturating_add(1)
            ),
            Self::PutBack(judged) => write!(
                f,
                "the configuration on disk was put back, because {}: put it right",
                figures(&JudgedOut::from(judged))
            ),
            Self::Request(Counts { widens, narrows, neutral }) => write!(
                f,
                "the configuration on disk waits for somebody to ask for it; {widens} differences \
                 widen, {narrows} narrow, {neutral} do neither: `sekisho reload`"
            ),
        }?;
        f.write_str(", or insist: `sekisho upgrade --with-configuration`")
    }
}

/// Looks at what the new process would read, and says which texts that were: it must not read others.
pub(super) async fn look(engine: &Arc<Engine>) -> Result<Option<String>, Around> {
    if let Some(until) = engine.texts_on_trial() {
        return Err(Around::Trial(until.since(engine.clock.now())));
    }
    // What is wrong with the files the new process finds as well, and says. One of another version may
    // know what this one does not.
    let Ok(preview) = engine.preview_files().await else { return Ok(None) };
    if let Some(judged) = preview.put_back {
        return Err(Around::PutBack(judged));
    }
    let waits = engine.live().snapshot.reload.apply == Apply::OnRequest;
    if waits && !preview.diff.is_empty() {
        return Err(Around::Request(preview.diff.counts));
    }
    Ok(Some(preview.texts.digest()))
}
