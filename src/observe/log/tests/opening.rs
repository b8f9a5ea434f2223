//! Every line says from which environment it is.
use super::*;
use crate::base::{Name, PseudonymKey, Secret};
use crate::evidence::{Fixed, Nanos, Outcome, PassRecord};

fn pass(name: &Name) -> PassRecord<'_> {
    let at = Moment::new(START_MS, 0);
    PassRecord {
        at,
        outcome: Outcome::Allowed,
        ended: Fixed::new("closed"),
        listener: name,
        route: name,
        target: None,
        network: None,
        source: PseudonymKey::of_day(&Secret::new([7; 32]), 20_779).pseudonym(b"x"),
        source_day: 20_779,
        up: 0,
        down: 0,
        duration: Nanos(Duration::ZERO),
        attempts: 1,
        generation: 1,
    }
}

#[test]
fn priv_5_every_line_names_the_environment() {
    let place = Place::new();
    // A line and a half a file: the writer's own notes are in it, too.
    let rotation = Rotation { bytes: 700, ..NEVER };
    let sink = place.open(rotation).unwrap();
    let name = Name::parse("edge").unwrap();
    sink.reserve().unwrap().write(&access(1));
    sink.reserve_lasting().unwrap().write(&pass(&name));
    sink.write_refusal(&access(2));
    sink.event(&Event::Draining);
    drop(sink.reserve().unwrap());
    sink.close(WITHIN).unwrap();
    let lines = place.lines();
    for line in &lines {
        assert_eq!(line[Opening::KEY], "test", "{line}");
    }
    let of = |key: &str, word: &str| lines.iter().filter(|line| line[key] == word).count();
    assert_eq!(
        (of("event.dataset", "sekisho.access"), of("event.dataset", "sekisho.pass")),
        (2, 1)
    );
    for action in ["draining", "log-rotated", "lines-lost"] {
        assert!(of("event.action", action) > 0, "{action}: {lines:?}");
    }
    let text = place.text("access.log");
    assert!(
        text.starts_with("{\"service.environment\":\"test\",\"event.dataset\":\"sekisho."),
        "{text}"
    );
}
