//! MON-7: an alarm from the store has one reading or none, and every form in which it is told is whole.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sekisho::alarm::{Alarm, Message, Origin, Progress, alertmanager, document, journal, syslog};
use sekisho::base::Name;

fuzz_target!(|bytes: &[u8]| {
    assert!(Progress::decode(bytes).map_or(true, |read| read.encode() == bytes));
    let Ok(alarm) = Alarm::decode(bytes) else { return };
    assert_eq!(alarm.encode(), bytes);
    let name = Name::parse("fuzz").unwrap();
    let origin = Origin { environment: name.clone(), target: name, queue: 1, version: "0" };
    let list = [(1, &alarm)];
    let told = Message::Alarms(&list);
    for body in [document(&origin, told, 0), alertmanager(&origin, told, 0, Duration::from_secs(1))] {
        assert!(body.is_ascii());
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.starts_with(['{', '[']) && text.ends_with(['}', ']']));
    }
    for line in syslog(&origin, told, 0) {
        assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)));
    }
    for entry in journal(&origin, told) {
        assert!(entry.ends_with(b"\n") && entry.is_ascii());
    }
});
