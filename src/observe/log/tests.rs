mod lasting;
mod opening;
mod rooms;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::testing::{Disk, Recorded, WITHIN, events, numbers, parse, spec};
use super::*;
use crate::base::{Clock, ManualClock, Moment, RequestIds};
use crate::evidence::AccessRecord;
use crate::observe::Metrics;

/// What tells one test line from another.
const NUMBER: &str = "http.request.body.bytes";
const START_MS: u64 = 1_795_342_500_000; // 2026-11-22T10:15:00Z
const DAY: Duration = Duration::from_secs(86_400);

fn access(number: u64) -> AccessRecord<'static> {
    let now = Moment::new(START_MS, 0);
    let mut record = AccessRecord::new(now, RequestIds::new([1, 2]).issue(now));
    record.request_bytes = number;
    record
}

fn line_length(number: u64) -> usize {
    let mut line = Vec::new();
    access(number).write_json(&mut line);
    line.len()
}

#[test]
fn log_1_room_is_promised_before_and_free_again_after_the_line_is_written() {
    let recorded = Recorded::with_room(3, 0, Disk::default());
    let sink = recorded.sink();
    let slots: Vec<_> = (0..3).map(|_| sink.reserve().unwrap()).collect();
    assert_eq!(sink.reserve().unwrap_err(), LogFull);
    assert!(sink.is_full());
    for (number, slot) in slots.into_iter().enumerate() {
        slot.write(&access(u64::try_from(number).unwrap()));
    }
    recorded.flush();
    assert!(!sink.is_full());
    assert_eq!(numbers(&recorded.lines(), NUMBER), [0, 1, 2]);
    sink.reserve().unwrap().release();
    assert_eq!(recorded.metrics().log().refused.get(), 1);
    assert_eq!(recorded.metrics().log().written.get(), 3);
}

/// Fills a disk in the middle of a line, until requests are refused; then makes it larger.
fn outage(disk: Disk) {
    let recorded = Recorded::with_room(20, 0, Disk { size: Some(line_length(0) * 5 / 2), ..disk });
    let sink = recorded.sink();
    let mut admitted = 0;
    let mut refused = 0;
    while refused < 7 {
        match sink.reserve() {
            Ok(slot) => {
                slot.write(&access(admitted));
                admitted += 1;
            }
            // After the second failure the first one is noted, and refusals count as the outage's.
            Err(LogFull) if recorded.disk.lock().failures < 2 => std::thread::yield_now(),
            Err(LogFull) => refused += 1,
        }
    }
    assert!(sink.flush(Duration::ZERO).is_err());
    let waiting = recorded.metrics().log().refused.get();
    recorded.advance(Duration::from_secs(90));
    recorded.disk.lock().size = None;
    recorded.flush();
    sink.reserve().unwrap().write(&access(admitted));
    recorded.flush();

    let lines = recorded.lines();
    assert_eq!(numbers(&lines, NUMBER), (0..=admitted).collect::<Vec<_>>());
    let began = events(&lines, "log-unavailable");
    assert_eq!(began.len(), 1);
    assert_eq!(began[0]["sekisho.detail"], "full");
    let ended = events(&lines, "log-recovered");
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0]["sekisho.elapsed_us"], 90_000_000);
    let told = ended[0]["sekisho.count"].as_u64().unwrap();
    assert!((7..=waiting).contains(&told), "{told} of {waiting}");
    assert_eq!(recorded.metrics().log().lost.get(), 0);
}

#[test]
fn log_1_a_full_disk_refuses_requests_and_loses_no_line() {
    outage(Disk::default());
}

#[test]
fn log_1_a_stream_that_fails_in_a_line_gets_the_rest_of_it_later() {
    outage(Disk { appends_only: Some(()), ..Disk::default() });
}

#[test]
fn log_1_short_writes_tear_no_line() {
    outage(Disk { piece: Some(37), ..Disk::default() });
}

#[test]
fn log_1_an_unwritable_device_refuses_requests() {
    // The kernel's own ENOSPC.
    let device = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (clock, _hand) = Clock::manual(START_MS);
    let metrics = Metrics::new("test", clock.now()).unwrap();
    let spec = LogSpec { lines_max: 4, spare_max: 4, ..spec(LogTarget::Stdout) };
    let medium = Box::new(StreamMedium::new(device));
    let sink = LogSink::with_medium(&spec, medium, clock, metrics.log()).unwrap();
    (0..4).for_each(|number| sink.reserve().unwrap().write(&access(number)));
    assert_eq!(sink.reserve().unwrap_err(), LogFull);
    assert_eq!(sink.close(Duration::from_millis(20)), Err(Unwritten(4)));
    // It was told to give up, and may take longer to do so than anybody waits for it.
    assert_eq!(sink.flush(WITHIN), Err(Unwritten(4)));
    assert_eq!(metrics.log().lost.get(), 4);
}

#[test]
fn log_1_refusals_have_room_of_their_own_and_what_is_lost_is_told() {
    let recorded = Recorded::with_room(2, 3, Disk { size: Some(0), ..Disk::default() });
    let sink = recorded.sink();
    for number in 0..2 {
        sink.reserve().unwrap().write(&access(number));
    }
    for number in 10..15 {
        sink.write_refusal(&access(number));
    }
    assert_eq!(recorded.metrics().log().lost.get(), 2);
    recorded.disk.lock().size = None;
    recorded.flush();
    let lines = recorded.lines();
    assert_eq!(numbers(&lines, NUMBER), [0, 1, 10, 11, 12]);
    let lost = events(&lines, "lines-lost");
    assert_eq!(lost.iter().map(|line| line["sekisho.count"].as_u64().unwrap()).sum::<u64>(), 2);
}

#[test]
fn log_1_a_slot_that_is_dropped_is_a_lost_line() {
    let recorded = Recorded::with_room(1, 1, Disk::default());
    drop(recorded.sink().reserve().unwrap());
    recorded.sink().reserve().unwrap().release();
    recorded.flush();
    let lines = recorded.lines();
    assert_eq!(numbers(&lines, "sekisho.count"), [1]);
    assert_eq!(lines[0]["event.action"], "lines-lost");
}

#[test]
fn log_1_a_closed_log_has_written_all_and_promises_nothing() {
    let recorded = Recorded::new();
    let sink = recorded.sink();
    let late = sink.reserve().unwrap();
    for number in 0..500 {
        sink.reserve().unwrap().write(&access(number));
    }
    sink.close(WITHIN).unwrap();
    assert_eq!(numbers(&recorded.lines(), NUMBER), (0..500).collect::<Vec<_>>());
    assert_eq!(sink.reserve().unwrap_err(), LogFull);
    assert!(sink.is_full());
    late.write(&access(500));
    sink.write_refusal(&access(501));
    assert_eq!(recorded.metrics().log().lost.get(), 2);
    assert_eq!(sink.flush(WITHIN), Ok(()));
}

#[test]
fn log_1_a_line_that_comes_while_the_last_ones_are_written_is_written_too() {
    let recorded = Recorded::new();
    let sink = recorded.sink();
    let late = sink.reserve().unwrap();
    recorded.disk.lock().then = Some(Box::new(move || late.write(&access(1))));
    sink.reserve().unwrap().write(&access(0));
    sink.close(WITHIN).unwrap();
    assert_eq!(numbers(&recorded.lines(), NUMBER), [0, 1]);
}

#[test]
fn log_1_a_dead_writer_refuses_requests() {
    let recorded = Recorded::with_room(5, 5, Disk { broken: Some(()), ..Disk::default() });
    let sink = recorded.sink();
    sink.reserve().unwrap().write(&access(0));
    assert_eq!(sink.flush(WITHIN), Err(Unwritten(1)));
    assert_eq!(sink.reserve().unwrap_err(), LogFull);
    assert_eq!(recorded.metrics().log().lost.get(), 1);
}

#[test]
fn the_last_sink_closes_the_log() {
    let recorded = Recorded::new();
    let slot = recorded.sink().reserve().unwrap();
    let shared = Arc::clone(&recorded.sink().shared);
    recorded.sink().reserve().unwrap().write(&access(1));
    drop(recorded);
    let mut queue = shared.queue.lock();
    shared.answered.wait_while_for(&mut queue, |q| !q.closed, WITHIN);
    assert!(queue.closed);
    assert_eq!(queue.unwritten, 0);
    drop(queue);
    slot.release();
}

/// A directory of a test's own.
struct Place {
    dir: PathBuf,
    clock: Clock,
    hand: Arc<ManualClock>,
    metrics: Metrics,
}

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sekisho-log-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        let (clock, hand) = Clock::manual(START_MS);
        let metrics = Metrics::new("test", clock.now()).unwrap();
        Self { dir, clock, hand, metrics }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("access.log")
    }

    fn open(&self, rotation: Rotation) -> Result<LogSink, LogOpenFault> {
        let spec = spec(LogTarget::File(self.path(), rotation));
        LogSink::open(&spec, self.clock.clone(), self.metrics.log())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap()
    }

    /// The lines of all files.
    fn lines(&self) -> Vec<serde_json::Value> {
        self.names().iter().flat_map(|name| parse(&self.text(name))).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

const NEVER: Rotation = Rotation { bytes: u64::MAX, every: Duration::MAX, keep: Duration::MAX };

/// Four threads write while `meanwhile` disturbs; every line must be there once.
fn write_from_four_threads(sink: &LogSink, place: &Place, mut meanwhile: impl FnMut(u32)) {
    const EACH: u64 = 3_000;
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            scope.spawn(move || {
                for number in thread * EACH..(thread + 1) * EACH {
                    let slot = loop {
                        match sink.reserve() {
                            Ok(slot) => break slot,
                            Err(LogFull) => std::thread::yield_now(),
                        }
                        assert!(sink.shared.open.load(Ordering::Acquire), "the writer is dead");
                    };
                    slot.write(&access(number));
                }
            });
        }
        for round in 0..8 {
            // Spread over the whole: the threads are in the middle of it.
            while place.metrics.log().written.get() < u64::from(round) * EACH / 2 + 100 {
                sink.flush(WITHIN).unwrap();
            }
            meanwhile(round);
            // However the threads fare, at least this line is after it.
            sink.write_refusal(&access(4 * EACH + u64::from(round)));
            sink.flush(WITHIN).unwrap();
        }
    });
    sink.close(WITHIN).unwrap();
    let mut had = numbers(&place.lines(), NUMBER);
    had.sort_unstable();
    assert_eq!(had, (0..4 * EACH + 8).collect::<Vec<_>>());
    assert_eq!(place.metrics.log().lost.get(), 0);
}

#[test]
fn log_4_rotation_by_size_keeps_every_line_once() {
    let place = Place::new();
    let bytes = 200_000;
    let sink = place.open(Rotation { bytes, ..NEVER }).unwrap();
    write_from_four_threads(&sink, &place, |_| place.hand.advance(Duration::from_millis(300)));
    let names = place.names();
    assert!(names.len() > 10, "{names:?}");
    assert!(names.contains(&"access.log.20261122T101500Z".into()), "{names:?}");
    assert!(names.contains(&"access.log.20261122T101500Z.1".into()), "{names:?}");
    for name in &names {
        let meta = fs::metadata(place.dir.join(name)).unwrap();
        assert!(meta.len() <= bytes, "{name}: {}", meta.len());
        assert_eq!(meta.mode() & 0o037, 0, "{name} is open to others");
    }
    let lines = place.lines();
    assert_eq!(events(&lines, "log-rotated").len(), names.len() - 1);
}

#[test]
fn log_4_rotation_by_time_keeps_every_line_once() {
    let place = Place::new();
    let sink = place.open(Rotation { every: Duration::from_secs(60), ..NEVER }).unwrap();
    write_from_four_threads(&sink, &place, |_| place.hand.advance(Duration::from_secs(60)));
    assert_eq!(place.names().len(), 9);
}

#[test]
fn log_4_a_file_moved_away_is_begun_anew_on_request_and_every_line_kept() {
    let place = Place::new();
    let sink = place.open(NEVER).unwrap();
    write_from_four_threads(&sink, &place, |round| {
        fs::rename(place.path(), place.dir.join(format!("moved.{round}"))).unwrap();
        sink.reopen();
        sink.flush(WITHIN).unwrap();
    });
    assert_eq!(place.names().len(), 9);
}

#[test]
fn log_4_a_day_ends_at_midnight_utc_across_restarts() {
    let place = Place::new();
    let rotation = Rotation { every: DAY, ..NEVER };
    let stamp = |ms| UNIX_EPOCH + Duration::from_millis(ms);
    for (number, unix_ms) in [(0, START_MS), (1, 1_795_391_999_999), (2, 1_795_392_000_000)] {
        place.hand.jump_wall_to(unix_ms);
        let sink = place.open(rotation).unwrap();
        sink.reserve().unwrap().write(&access(number));
        sink.close(WITHIN).unwrap();
        // The real clock is not the test's.
        let file = fs::File::options().append(true).open(place.path()).unwrap();
        file.set_modified(stamp(unix_ms)).unwrap();
    }
    assert_eq!(place.names(), ["access.log", "access.log.20261123T000000Z"]);
    assert_eq!(numbers(&parse(&place.text("access.log.20261123T000000Z")), NUMBER), [0, 1]);
    assert_eq!(numbers(&parse(&place.text("access.log")), NUMBER), [2]);
}

#[test]
fn log_4_only_files_past_their_time_are_deleted_and_that_is_logged() {
    let place = Place::new();
    let keep = DAY * 400;
    let old = UNIX_EPOCH + Duration::from_millis(START_MS) - DAY * 401;
    let young = old + DAY * 2;
    let files = [
        ("access.log.20251016T101500Z", old, "gone"),
        ("access.log.20251016T101500Z.7", old, "gone"),
        ("access.log.20251020T101500Z", old, "kept: by its name it is too young"),
        ("access.log.20240101T000000Z", young, "kept: changed since"),
        ("access.log.20240101T000000Z.gz", old, "kept: not ours"),
        ("access.log.20240101T000000Z.", old, "kept: not ours"),
        ("other.log.20240101T000000Z", old, "kept: not ours"),
        ("access.log.2024", old, "kept: not ours"),
    ];
    for (name, modified, _) in files {
        let path = place.dir.join(name);
        fs::write(&path, "{}\n").unwrap();
        fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    }
    fs::create_dir(place.dir.join("access.log.20230101T000000Z")).unwrap();
    let sink = place.open(Rotation { keep, ..NEVER }).unwrap();
    sink.close(WITHIN).unwrap();
    let names = place.names();
    for (name, _, expect) in files {
        assert_eq!(names.contains(&name.to_owned()), expect != "gone", "{name}: {expect}");
    }
    let lines = parse(&place.text("access.log"));
    let expired = events(&lines, "log-expired");
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0]["sekisho.count"], 2);
    assert_eq!(expired[0]["sekisho.control"], "LOG-4");
}

#[test]
fn log_4_a_file_that_another_process_rotated_is_not_rotated_again() {
    let place = Place::new();
    // Room for three lines, and for the events about them.
    let bytes = u64::try_from(line_length(0)).unwrap() * 4 - 1;
    let rotation = Rotation { bytes, ..NEVER };
    let (old, new) = (place.open(rotation).unwrap(), place.open(rotation).unwrap());
    let write = |sink: &LogSink, number| {
        sink.reserve().unwrap().write(&access(number));
        sink.flush(WITHIN).unwrap();
    };
    // Its first look after the file, which would tell it of the new one, is over.
    old.flush(WITHIN).unwrap();
    // The fourth line begins a new file, of which the other process does not know.
    (0..4).for_each(|number| write(&new, number));
    let before = place.names();
    assert_eq!(before.len(), 2);
    (4..8).for_each(|number| write(&old, number));
    assert_eq!(place.names(), before, "the new file was moved away");
    old.close(WITHIN).unwrap();
    new.close(WITHIN).unwrap();
    let lines = place.lines();
    let mut had = numbers(&lines, NUMBER);
    had.sort_unstable();
    assert_eq!(had, (0..8).collect::<Vec<_>>());
    assert_eq!(numbers(&parse(&place.text("access.log")), NUMBER), [3, 7]);
    assert_eq!(events(&lines, "log-rotation-failed").len(), 0);
}

#[test]
fn a_rotation_that_fails_keeps_the_old_file_in_use() {
    let place = Place::new();
    let sink = place.open(Rotation { bytes: 400, ..NEVER }).unwrap();
    // Every name that rotation would take is taken.
    let stamped = place.dir.join("access.log.20261122T101500Z");
    fs::write(&stamped, "").unwrap();
    for count in 1..10_000 {
        fs::hard_link(&stamped, place.dir.join(format!("access.log.20261122T101500Z.{count}")))
            .unwrap();
    }
    for number in 0..5 {
        sink.reserve().unwrap().write(&access(number));
    }
    sink.close(WITHIN).unwrap();
    let lines = parse(&place.text("access.log"));
    assert_eq!(numbers(&lines, NUMBER), [0, 1, 2, 3, 4]);
    assert_eq!(events(&lines, "log-rotation-failed").len(), 1);
}

#[test]
fn a_line_that_a_crash_tore_is_ended_before_the_next() {
    let place = Place::new();
    fs::write(place.path(), "{\"half\":").unwrap();
    let sink = place.open(NEVER).unwrap();
    sink.reserve().unwrap().write(&access(3));
    sink.close(WITHIN).unwrap();
    let text = place.text("access.log");
    let (torn, rest) = text.split_once('\n').unwrap();
    assert_eq!(torn, "{\"half\":");
    assert_eq!(numbers(&parse(rest), NUMBER), [3]);
}

#[test]
fn log_1_a_target_that_others_could_replace_is_refused() {
    let fault = |prepare: &dyn Fn(&Place)| {
        let place = Place::new();
        prepare(&place);
        place.open(NEVER).map(|_| ()).unwrap_err()
    };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    assert_eq!(fault(&|p| fs::remove_dir(&p.dir).unwrap()), LogOpenFault::DirectoryMissing);
    assert_eq!(fault(&|p| mode(&p.dir, 0o777)), LogOpenFault::DirectoryWorldWritable);
    assert_eq!(fault(&|p| symlink("/dev/null", p.path()).unwrap()), LogOpenFault::Link);
    assert_eq!(fault(&|p| fs::create_dir(p.path()).unwrap()), LogOpenFault::NotRegular);
    let world_writable = fault(&|p| {
        fs::write(p.path(), "").unwrap();
        mode(&p.path(), 0o622);
    });
    assert_eq!(world_writable, LogOpenFault::WorldWritable);
}

#[test]
fn log_1_a_new_log_file_is_closed_to_others() {
    let place = Place::new();
    let _sink = place.open(NEVER).unwrap();
    assert_eq!(fs::metadata(place.path()).unwrap().mode() & 0o037, 0);
}

#[test]
fn a_torn_line_is_taken_back_only_from_the_very_end() {
    let place = Place::new();
    let mut medium = FileMedium::open(&place.path(), NEVER, place.clock.now()).unwrap();
    assert_eq!(medium.write(b"{}\n{\"a\"").unwrap(), 7);
    assert_eq!(medium.mend(b"{\"a\""), medium::Resume::LineStart);
    assert_eq!(place.text("access.log"), "{}\n");
    assert_eq!(medium.write(b"{\"b\"").unwrap(), 4);
    // Another process of ours writes to the same file.
    io::Write::write_all(
        &mut fs::File::options().append(true).open(place.path()).unwrap(),
        b"{}\n",
    )
    .unwrap();
    // What it wrote stays; our line is written again, whole.
    assert_eq!(medium.mend(b"{\"b\""), medium::Resume::LineStart);
    assert_eq!(place.text("access.log"), "{}\n{\"b\"{}\n");
}
