//! `sekisho demo`: a gateway before a mock SP-API, and a guided series of real HTTPS requests. Each
//! says what it expects, so the series is a self-test as well.
mod series;
mod show;
mod stage;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::args::DemoArgs;
use super::mock::Stop;
use super::run;
use super::say::{self, Failure};
use crate::base::Clock;
use crate::observe::{FrameworkWatch, PanicHook};
use stage::Stage;

/// How often what happened at the door is written, as in `run`.
const TICK: Duration = Duration::from_secs(2);

pub(super) fn main(words: &DemoArgs) -> Result<ExitCode, Failure> {
    let clock = Clock::system();
    let panics = PanicHook::install(clock.clone());
    let runtime = run::runtime(None).map_err(Failure::new)?;
    runtime.block_on(async {
        // From here on Ctrl-C ends the play, and so the folder is removed whatever happens.
        let mut stop = Stop::install().map_err(Failure::new)?;
        let stage = Stage::set(clock.clone()).await?;
        let (log, metrics) = (stage.gateway.log.clone(), Arc::clone(&stage.gateway.engine.metrics));
        panics.attach(log.clone(), metrics.panics.clone());
        let framework = FrameworkWatch::install(log, metrics, clock).map_err(Failure::new)?;
        let code = tokio::select! {
            code = play(words, &stage, &framework) => code,
            () = stop.asked() => {
                say::out("");
                // A series that was cut short has shown nothing.
                if words.exit { ExitCode::FAILURE } else { ExitCode::SUCCESS }
            }
        };
        stage.strike().await;
        Ok(code)
    })
}

/// The series; then, unless it is to end, the gateway stays up.
async fn play(words: &DemoArgs, stage: &Stage, framework: &FrameworkWatch) -> ExitCode {
    say::out(show::opening(stage));
    let (mut notes, mut missed) = (stage::Notes::default(), Vec::new());
    for (number, act) in (1..).zip(series::acts(stage)) {
        let seen = stage.play(&act, &mut notes).await;
        let differs = series::differs(&act, &seen);
        say::out(show::act(number, &act, &seen, differs.as_deref()));
        missed.extend(differs.map(|why| format!("{number} ({}): {why}", act.title)));
    }
    let search = stage.search(&notes);
    missed
        .extend(search.found.first().map(|what| format!("the search of the log: it holds {what}")));
    say::out(show::closing(&search, &missed));
    if words.exit {
        return if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    say::out(show::invitation(stage, &notes));
    loop {
        tokio::time::sleep(TICK).await;
        stage.gateway.engine.flush_door();
        framework.tick();
    }
}
