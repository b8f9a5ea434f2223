//! What is said of a panic: where, never what (LOG-2). The message may hold anything.
use std::panic::{Location, PanicHookInfo};
use std::sync::{Arc, OnceLock};

use prometheus::IntCounter;

use super::log::LogSink;
use super::say;
use crate::base::Clock;
use crate::evidence::{CodePlace, Event, EventRecord, Record};

/// Reports panics on standard error, and to the log from the moment there is one.
#[derive(Clone, Debug)]
pub struct PanicHook {
    clock: Clock,
    log: Arc<OnceLock<(LogSink, IntCounter)>>,
}

impl PanicHook {
    /// Replaces the process's hook, which would print the message. The first thing `main` does.
    #[must_use]
    pub fn install(clock: Clock) -> Self {
        let hook = Self { clock, log: Arc::default() };
        let installed = hook.clone();
        std::panic::set_hook(Box::new(move |info| installed.report(info)));
        hook
    }

    /// From now on panics are in the log and counted ([`Metrics::panics`](super::Metrics)). The first
    /// call counts.
    pub fn attach(&self, log: LogSink, panics: IntCounter) {
        let _ = self.log.set((log, panics));
    }

    fn report(&self, info: &PanicHookInfo<'_>) {
        // A panic without a location does not exist yet (its documentation reserves it).
        let place = CodePlace::of(info.location().unwrap_or(Location::caller()));
        let record = EventRecord::new(self.clock.now(), &Event::Panicked { place });
        let mut line = Vec::new();
        record.write_json(&mut line);
        say(&line);
        if let Some((log, panics)) = self.log.get() {
            panics.inc();
            log.write_event(&record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::log::testing::Recorded;

    #[test]
    fn log_2_a_panic_says_where_and_not_what() {
        let recorded = Recorded::new();
        let metrics = recorded.metrics();
        let before = std::panic::take_hook();
        let hook = PanicHook::install(recorded.clock.clone());
        hook.attach(recorded.sink(), metrics.panics.clone());
        let ended = std::thread::spawn(|| panic!("{}", "hanako@example.com")).join();
        std::panic::set_hook(before);
        assert!(ended.is_err());
        recorded.flush();
        let text = recorded.text();
        assert!(!text.contains("hanako"), "{text}");
        // Another test may panic while the hook is in place; ours is there in any case.
        let ours = recorded.lines().into_iter().any(|line| {
            line["event.action"] == "panicked"
                && line["log.origin.file.name"].as_str().unwrap().ends_with("src/observe/panic.rs")
                && line["log.origin.file.line"].as_u64().is_some()
        });
        assert!(ours, "{text}");
        assert!(metrics.panics.get() >= 1);
    }
}
