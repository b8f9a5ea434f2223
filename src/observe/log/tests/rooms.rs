//! Whose lines take whose room.
use super::*;

#[test]
fn log_1_refusals_take_no_room_from_events() {
    let spec = LogSpec { spare_max: 3, events_max: 2, ..spec(LogTarget::Stdout) };
    let recorded = Recorded::with(&spec, Disk { size: Some(0), ..Disk::default() });
    let sink = recorded.sink();
    for number in 0..10 {
        sink.write_refusal(&access(number));
    }
    // Nothing can be written, and strangers used up their room; what the gateway does is kept.
    sink.event(&Event::Draining);
    sink.event(&Event::LocksKept);
    assert_eq!(recorded.metrics().log().lost.get(), 7);
    sink.event(&Event::Draining);
    assert_eq!(recorded.metrics().log().lost.get(), 8, "bounded, too");
    recorded.disk.lock().size = None;
    recorded.flush();
    let lines = recorded.lines();
    assert_eq!(numbers(&lines, NUMBER), [0, 1, 2]);
    assert_eq!((events(&lines, "draining").len(), events(&lines, "locks-kept").len()), (1, 1));
    // The room is free again.
    sink.event(&Event::Draining);
    sink.event(&Event::Draining);
    recorded.flush();
    assert_eq!(recorded.metrics().log().lost.get(), 8);
}
