//! What lasts as long as its peer likes has room of its own.
use super::*;

#[test]
fn log_1_what_lasts_takes_no_room_from_requests() {
    let recorded = Recorded::with_room(2, 0, Disk::default());
    let sink = recorded.sink();
    let lasting: Vec<_> = (0..50).map(|_| sink.reserve_lasting().unwrap()).collect();
    assert!(!sink.is_full());
    let requests = [sink.reserve().unwrap(), sink.reserve().unwrap()];
    assert_eq!(sink.reserve().unwrap_err(), LogFull);
    requests.into_iter().for_each(LogSlot::release);
    // All of them may end at once, and none is without its line.
    for (number, slot) in (0..).zip(lasting) {
        slot.write(&access(number));
    }
    recorded.flush();
    assert_eq!(numbers(&recorded.lines(), NUMBER), (0..50).collect::<Vec<_>>());
    assert!(!sink.is_full());
    sink.reserve_lasting().unwrap().release();
    assert_eq!(recorded.metrics().log().lost.get(), 0);
}

#[test]
fn log_1_while_nothing_can_be_written_what_ends_is_kept_and_nothing_more_begins() {
    let recorded = Recorded::with_room(2, 0, Disk { size: Some(0), ..Disk::default() });
    let sink = recorded.sink();
    let lasting: Vec<_> = (0..8).map(|_| sink.reserve_lasting().unwrap()).collect();
    for (number, slot) in (0..).zip(lasting) {
        slot.write(&access(number));
        // Three lines may wait.
        assert_eq!(sink.reserve_lasting().is_err(), number >= 2);
    }
    assert!(sink.is_full());
    recorded.disk.lock().size = None;
    recorded.flush();
    assert!(!sink.is_full());
    assert_eq!(numbers(&recorded.lines(), NUMBER), (0..8).collect::<Vec<_>>());
    // Places that were given up unused.
    assert_eq!(recorded.metrics().log().lost.get(), 2);
}

#[test]
fn log_1_a_request_that_turns_into_something_lasting_gives_its_room_back() {
    let recorded = Recorded::with_room(1, 0, Disk { size: Some(0), ..Disk::default() });
    let sink = recorded.sink();
    let turned = || {
        let mut slot = sink.reserve().unwrap();
        slot.lasts();
        slot
    };
    let sockets: Vec<_> = (0..4).map(|_| turned()).collect();
    for (number, slot) in (0..).zip(sockets) {
        slot.write(&access(number));
    }
    // Where lines pile up it keeps its room, so that no more wait than may.
    let held = turned();
    assert_eq!(sink.reserve().unwrap_err(), LogFull);
    held.release();
    recorded.disk.lock().size = None;
    recorded.flush();
    assert_eq!(numbers(&recorded.lines(), NUMBER), [0, 1, 2, 3]);
}
