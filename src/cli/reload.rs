//! Reloads as the process sees them: where its files are, and what to tell whoever started it.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use super::run::Running;
use super::say::{self, Colour, Stream};
use super::watch::{Retold, Salt, Watched};
use crate::admin::api::JudgedOut;
use crate::base::Moment;
use crate::config::{self, Apply, Outside, Severity, Snapshot};
use crate::engine::{
    Again, Engine, Files, Judged, Order, Origin, Outcome, Read, Reading, Ruling, Then, Trigger,
    Why, Widening,
};

/// A configuration on this machine.
struct OnDisk {
    path: PathBuf,
    watched: Arc<Watched>,
    salt: Salt,
}

impl Files for OnDisk {
    fn read(&self, reading: Reading<'_>, generation: u64, now: Moment, before: &Snapshot) -> Read {
        // Looking must not make a change look old to those who watch for it.
        let aside = Watched::default();
        let load = |outside: &dyn Outside| {
            config::reload_from(outside, &self.path, generation, now, before)
        };
        let (watched, loaded) = match reading {
            Reading::ToApply => (&*self.watched, self.watched.anew(|watched| load(watched))),
            Reading::AtRest(texts) => {
                let load = |outside: &Retold<'_>| load(outside);
                (&*self.watched, self.watched.anew_at_rest(texts, load))
            }
            Reading::Again(texts) => (&*self.watched, load(&self.watched.with(texts))),
            Reading::AgainAtRest(texts) => {
                (&*self.watched, load(&self.watched.with_at_rest(texts)))
            }
            Reading::ToLook => (&aside, load(&aside)),
        };
        Read { loaded, origin: self.origin(watched) }
    }

    fn fell_short(&self) -> bool {
        self.watched.fell_short()
    }
}

impl OnDisk {
    fn origin(&self, watched: &Watched) -> Origin {
        Origin { print: watched.print(&self.salt), texts: Arc::new(watched.texts()) }
    }
}

impl Running {
    /// From now on operators can have these files read again; `watched` has seen them read once.
    pub fn follow(&self, path: &Path, watched: &Arc<Watched>) {
        let (path, watched) = (path.to_owned(), Arc::clone(watched));
        let files = OnDisk { path, watched, salt: Salt::default() };
        let origin = files.origin(&files.watched);
        self.engine.read_from(Arc::new(files), Some(origin));
    }

    /// Reads the configuration again and puts it in force, as for SIGHUP; a bad one changes nothing
    /// and says why. What was put back before is tried again: somebody insists.
    pub async fn reload(&self) -> bool {
        self.reload_by(Trigger::Signal, Again::Yes).await
    }

    /// A file changed. Whether that is enough is the configuration's to say.
    pub async fn files_changed(&self) -> bool {
        if self.engine.live().snapshot.reload.apply == Apply::OnRequest {
            let taken = match self.engine.look_at_permit().await {
                Ok(taken) => taken,
                Err(why) => {
                    tell_why(&why);
                    say::err("the permit can't be taken up yet, and is tried again");
                    return false;
                }
            };
            let permit = if taken { "the permit is taken up; other " } else { "" };
            say::err(format_args!(
                "{permit}files that changed wait for SIGHUP or `sekisho reload`"
            ));
            return taken;
        }
        self.reload_by(Trigger::File, Again::No).await
    }

    async fn reload_by(&self, trigger: Trigger, again: Again) -> bool {
        let order = Order { trigger, expect: None, widening: Widening::Allowed, again };
        let outcome = self.engine.reload_files(order).await;
        tell(&outcome);
        matches!(*outcome, Outcome::Applied { .. })
    }
}

/// Judges configurations on trial, until the process ends.
pub(super) async fn judge(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = engine.watch_reloads(tell_of_ruling) => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

fn tell(outcome: &Outcome) {
    match outcome {
        Outcome::Applied { generation, diff, warnings, took, held, .. } => {
            for warning in warnings {
                say::err(warning.render(Severity::Warning, say::palette(Stream::Err)));
            }
            let counts = diff.counts;
            say::err(format_args!(
                "configuration {generation} is in force, after {} ms; {} differences widen, {} narrow, {} do neither",
                took.as_millis(),
                counts.widens,
                counts.narrows,
                counts.neutral
            ));
            if let Some(judged) = held {
                say::err(format_args!(
                    "that is what the configuration in force refers to; the files' own texts are not \
                     applied: {}",
                    why_put_back(judged)
                ));
            }
        }
        Outcome::Refused { generation, why } => {
            tell_why(why);
            say::err(say::paint(
                Stream::Err,
                Colour::Yellow,
                &format!("configuration {generation} stays in force"),
            ));
        }
    }
}

fn tell_why(why: &Why) {
    match why {
        Why::Errors(errors) => say::err(errors.render(say::palette(Stream::Err))),
        Why::Fault(fault) => {
            say::err(format_args!("the new configuration is not applied: {fault}"));
        }
        Why::PutBack(judged) => {
            say::err(format_args!(
                "the new configuration is not applied: {}",
                why_put_back(judged)
            ));
        }
        Why::NoFiles | Why::Changed | Why::Widens | Why::Broken => {
            say::err(format_args!("the new configuration is not applied: {}", why.word()));
        }
    }
}

fn why_put_back(judged: &Judged) -> String {
    format!(
        "it was put back, because {}; change it, or insist by SIGHUP or `sekisho reload --again`",
        figures(&JudgedOut::from(judged))
    )
}

fn tell_of_ruling(Ruling { judged, then }: &Ruling) {
    let figures = figures(&JudgedOut::from(judged));
    let said = match then {
        Then::PutBack { in_force } => format!(
            "configuration {} was put back, {in_force} is in force again: {figures}",
            judged.generation
        ),
        Then::Stays(why) => format!(
            "configuration {} stays in force and is suspect ({why}): {figures}",
            judged.generation
        ),
    };
    say::err(say::paint(Stream::Err, Colour::Yellow, &said));
}

/// What it was found to have done.
pub(super) fn figures(judged: &JudgedOut) -> String {
    let place = match &judged.name {
        Some(name) => format!("{} {name}", judged.place),
        None => judged.place.to_string(),
    };
    format!(
        "at {place} {} of {} failed, {} in 1,000; before it were {}, and up to {} would have been chance",
        judged.failed, judged.sent, judged.seen, judged.expected, judged.limit
    )
}
