//! The libraries below us speak through `tracing` and `log`, and some quote requests. Here their
//! words end: what is kept is who spoke, how loudly and how often (LOG-2, MON-5).
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event as TracingEvent, Metadata, Subscriber};
use tracing_log::log;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::{LogSink, Metrics};
use crate::base::{Clock, Moment};
use crate::evidence::{Event, Framework, Severity};

/// One speaker's events at one level make one line per this time.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Watches what the libraries say. Clones share their counts.
#[derive(Clone, Debug)]
pub struct FrameworkWatch(Arc<Watch>);

#[derive(Debug)]
struct Watch {
    sink: LogSink,
    metrics: Arc<Metrics>,
    clock: Clock,
    tallies: Vec<Tally>,
}

/// One speaker at one level.
#[derive(Debug)]
struct Tally {
    framework: Framework,
    severity: Severity,
    /// Events since the last line.
    unsaid: AtomicU64,
    /// When the next line may be written, in nanoseconds of the monotonic clock.
    next_ns: AtomicU64,
}

/// Something else already listens to `tracing` or `log`, and would write what it hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyInstalled;

impl fmt::Display for AlreadyInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another logger is installed in this process")
    }
}

impl std::error::Error for AlreadyInstalled {}

impl FrameworkWatch {
    /// Becomes the process's only listener to `tracing` and `log`.
    ///
    /// # Errors
    /// If there is one already.
    pub fn install(
        sink: LogSink,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Self, AlreadyInstalled> {
        let watch = Self::new(sink, metrics, clock);
        // `log`'s macros ask this level before they look at their arguments: what is quieter than a
        // warning is never formatted.
        log::set_boxed_logger(Box::new(watch.clone())).map_err(|_| AlreadyInstalled)?;
        log::set_max_level(log::LevelFilter::Warn);
        let listener = Registry::default().with(watch.clone());
        tracing::subscriber::set_global_default(listener).map_err(|_| AlreadyInstalled)?;
        Ok(watch)
    }

    fn new(sink: LogSink, metrics: Arc<Metrics>, clock: Clock) -> Self {
        let mut tallies = Vec::with_capacity(Framework::ALL.len() * Severity::ALL.len());
        for &framework in Framework::ALL {
            for &severity in Severity::ALL {
                let (unsaid, next_ns) = (AtomicU64::new(0), AtomicU64::new(0));
                tallies.push(Tally { framework, severity, unsaid, next_ns });
            }
        }
        Self(Arc::new(Watch { sink, metrics, clock, tallies }))
    }

    fn heard(&self, target: &str, severity: Severity) {
        let watch = &*self.0;
        watch.metrics.framework(severity);
        let place = Framework::of_target(target).index() * Severity::ALL.len() + severity.index();
        if let Some(tally) = watch.tallies.get(place) {
            tally.unsaid.fetch_add(1, Ordering::AcqRel);
            watch.tell(tally, watch.clock.now());
        }
    }

    /// Writes the lines that are due for what was heard since the last ones. To be called now and
    /// then: without it the tail of a burst would wait for the next burst.
    pub fn tick(&self) {
        let now = self.0.clock.now();
        for tally in &self.0.tallies {
            self.0.tell(tally, now);
        }
    }
}

impl Watch {
    fn tell(&self, tally: &Tally, now: Moment) {
        let due = tally.next_ns.load(Ordering::Acquire);
        if now.mono_ns() < due || tally.unsaid.load(Ordering::Acquire) == 0 {
            return;
        }
        let next = now.plus(LINE_EVERY).mono_ns();
        if tally.next_ns.compare_exchange(due, next, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return; // Another thread writes this line.
        }
        let count = tally.unsaid.swap(0, Ordering::AcqRel);
        let Tally { framework, severity, .. } = *tally;
        self.sink.event(&Event::Framework { framework, severity, count });
    }
}

impl<S: Subscriber> Layer<S> for FrameworkWatch {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if loud(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        loud(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    /// Never visits the fields.
    fn on_event(&self, event: &TracingEvent<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let severity = match *metadata.level() {
            tracing::Level::ERROR => Severity::Error,
            _ => Severity::Warning,
        };
        self.heard(metadata.target(), severity);
    }
}

impl log::Log for FrameworkWatch {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    /// Never looks at the arguments.
    fn log(&self, record: &log::Record<'_>) {
        match record.level() {
            log::Level::Error => self.heard(record.target(), Severity::Error),
            log::Level::Warn => self.heard(record.target(), Severity::Warning),
            log::Level::Info | log::Level::Debug | log::Level::Trace => {}
        }
    }

    fn flush(&self) {}
}

/// Spans are nobody's: their fields may quote requests.
fn loud(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && *metadata.level() <= tracing::Level::WARN
}

#[cfg(test)]
mod tests {
    use log::Log;

    use super::*;
    use crate::observe::log::testing::Recorded;

    const SECRET: &str = "hanako@example.com";

    /// Proves that nobody formats it.
    struct Planted;

    impl fmt::Debug for Planted {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("a field of a framework event was looked at")
        }
    }

    impl fmt::Display for Planted {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("the message of a framework event was looked at")
        }
    }

    fn framework_lines(recorded: &Recorded) -> Vec<(String, String, u64)> {
        let lines = recorded.lines().into_iter().filter(|line| line["event.action"] == "framework");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        lines
            .map(|line| {
                let count = line["sekisho.count"].as_u64().unwrap();
                (text(&line["sekisho.framework"]), text(&line["log.level"]), count)
            })
            .collect()
    }

    #[test]
    fn log_2_the_words_of_a_library_end_here() {
        let recorded = Recorded::new();
        let watch =
            FrameworkWatch::new(recorded.sink(), recorded.metrics(), recorded.clock.clone());
        let listener = Registry::default().with(watch.clone());
        tracing::subscriber::with_default(listener, || {
            let span = tracing::span!(tracing::Level::ERROR, "request", who = ?Planted);
            let _entered = span.enter();
            tracing::event!(target: "h2::server", tracing::Level::ERROR, field = SECRET, "{SECRET}");
            tracing::event!(target: "h2::server", tracing::Level::WARN, field = ?Planted, "{Planted}");
            tracing::event!(target: "h2::server", tracing::Level::INFO, "{Planted}");
            tracing::event!(target: "h2::server", tracing::Level::TRACE, field = ?Planted);
        });
        say_by_log(&watch, log::Level::Error, format_args!("{Planted}"));
        say_by_log(&watch, log::Level::Info, format_args!("{SECRET}"));
        recorded.flush();
        let text = recorded.text() + &recorded.metrics().render();
        assert!(!text.contains(SECRET) && !text.contains("hanako"), "{text}");
        let mut had = framework_lines(&recorded);
        had.sort();
        let expect = [("h2", "error", 1), ("h2", "warning", 1), ("pingora", "error", 1)];
        assert_eq!(had, expect.map(|(who, level, n)| (who.to_owned(), level.to_owned(), n)));
        assert!(text.contains("sekisho_framework_events_total{level=\"error\"} 2\n"), "{text}");
        assert!(text.contains("sekisho_framework_events_total{level=\"warning\"} 1\n"), "{text}");
    }

    fn say_by_log(watch: &FrameworkWatch, level: log::Level, words: fmt::Arguments<'_>) {
        let target = "pingora_core::server";
        watch.log(&log::Record::builder().args(words).level(level).target(target).build());
    }

    #[test]
    fn mon_5_a_burst_is_one_line_a_minute_and_nothing_is_uncounted() {
        let recorded = Recorded::new();
        let watch =
            FrameworkWatch::new(recorded.sink(), recorded.metrics(), recorded.clock.clone());
        for _ in 0..1_000 {
            watch.heard("hyper::proto", Severity::Warning);
        }
        watch.tick();
        recorded.advance(Duration::from_secs(59));
        watch.tick();
        recorded.flush();
        let line = |count| ("hyper".to_owned(), "warning".to_owned(), count);
        assert_eq!(framework_lines(&recorded), [line(1)]);
        recorded.advance(Duration::from_secs(1));
        watch.tick();
        watch.tick();
        recorded.flush();
        assert_eq!(framework_lines(&recorded), [line(1), line(999)]);
    }
}
