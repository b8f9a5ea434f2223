use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::base::{
    ClientAddr, Moment, Name, Pseudonym, PseudonymKey, RequestId, RequestIds, Secret,
};

fn line(record: &impl Record) -> Vec<u8> {
    let mut out = Vec::new();
    record.write_json(&mut out);
    out
}

fn json(record: &impl Record) -> Value {
    serde_json::from_slice(&line(record)).unwrap()
}

fn id() -> RequestId {
    RequestIds::new([1, 2]).issue(Moment::new(1_795_342_500_123, 0))
}

fn pseudonym(of: &[u8]) -> Pseudonym {
    PseudonymKey::of_day(&Secret::new([7; 32]), 20_779).pseudonym(of)
}

/// Every field filled with the longest value it can have.
fn longest(name: &Name) -> AccessRecord<'_> {
    let mut record = AccessRecord::new(Moment::new(u64::MAX, 0), id());
    record.operation = Some(name);
    record.method = Some(Fixed::new("OPTIONS"));
    record.status = Some(u16::MAX);
    record.identity = Some(name);
    record.proof = Some(Proof::BoundToken);
    record.role = Some(name);
    record.listener = Some(name);
    record.network = Some(name);
    record.source = Some(pseudonym(b"x"));
    record.source_day = Some(u32::MAX);
    record.tls = Some(TlsVersion::V1_3);
    record.protocol = Some(Protocol::Http1);
    record.request_bytes = u64::MAX;
    record.response_bytes = u64::MAX;
    record.duration = Nanos(Duration::MAX);
    record.limit = Some(name);
    record.shadow_limit = Some(name);
    record.paced = Some(Duration::MAX);
    record.pii_records = Some(u64::MAX);
    record.drift = Some(u64::MAX);
    record.upstream = Some(name);
    record.upstream_first_byte = Some(Duration::MAX);
    record.upstream_status = Some(u16::MAX);
    record.amazon_request = SafeToken::parse(b"3f2504e0-4f89-41d3-9a0c-0305e82c3301");
    record.attempts = Some(u8::MAX);
    record.generation = u64::MAX;
    record.deny(crate::base::Denial::Token(crate::base::TokenFault::CertificateBinding));
    record
}

#[test]
fn log_1_an_access_record_reads_as_documented() {
    let name = Name::parse("orders/getOrderAddress").unwrap();
    let mut record = AccessRecord::new(Moment::new(1_795_342_500_123, 0), id());
    record.operation = Some(&name);
    record.method = Some(Fixed::new("GET"));
    record.status = Some(403);
    record.duration = Nanos(Duration::from_micros(21));
    record.upstream_first_byte = Some(Duration::from_millis(2));
    record.generation = 3;
    record.deny(crate::base::Denial::OperationNotGranted);
    let expect = format!(
        concat!(
            r#"{{"event.dataset":"sekisho.access","@timestamp":"2026-11-22T10:15:00.123Z","#,
            r#""sekisho.request_id":"{}","event.outcome":"denied","#,
            r#""sekisho.operation":"orders/getOrderAddress","http.request.method":"GET","#,
            r#""http.response.status_code":403,"sekisho.denial":"OperationNotGranted","#,
            r#""sekisho.control":"PRIV-1","http.request.body.bytes":0,"#,
            r#""http.response.body.bytes":0,"event.duration":21000,"#,
            r#""sekisho.upstream_us":2000,"sekisho.snapshot":3}}"#,
            "\n"
        ),
        id().as_str()
    );
    assert_eq!(String::from_utf8(line(&record)).unwrap(), expect);
}

#[test]
fn the_longest_line_is_within_its_bound() {
    let name = Name::parse(&"x".repeat(Name::LENGTH_MAX)).unwrap();
    let written = line(&longest(&name));
    assert!(written.len() <= LINE_BYTES_MAX, "{}", written.len());
    let keys = json(&longest(&name)).as_object().unwrap().len();
    assert_eq!(keys, AccessRecord::KEYS.len() + 1, "a key occurs twice, or a field is not written");
}

#[test]
fn keys_are_distinct() {
    for keys in [AccessRecord::KEYS, EventRecord::KEYS] {
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }
}

/// LOG-2 by construction: whatever a name may hold needs no escape.
#[test]
fn log_2_no_name_can_break_a_line() {
    for byte in 0..=u8::MAX {
        let text = format!("a{}", char::from(byte));
        if let Ok(name) = Name::parse(&text) {
            assert!(needs_no_escape(name.as_str()), "{byte:#x}");
        }
    }
    for control in crate::base::ControlId::ALL {
        assert!(needs_no_escape(control.as_str()));
    }
    assert!(needs_no_escape(id().as_str()));
}

#[test]
fn log_2_an_address_is_a_pseudonym_in_the_line() {
    let address = ClientAddr::new("203.0.113.77".parse().unwrap());
    let source = address.pseudonym(&PseudonymKey::of_day(&Secret::new([7; 32]), 20_779));
    let mut record = AccessRecord::new(Moment::new(0, 0), id());
    record.source = Some(source);
    record.source_day = Some(20_779);
    let text = String::from_utf8(line(&record)).unwrap();
    assert!(!text.contains("203.0.113.77") && !text.contains("cb00714d"), "{text}");
    assert_eq!(json(&record)["sekisho.source"].as_str().unwrap().as_bytes(), source.to_hex());
}

#[expect(clippy::too_many_lines, reason = "one list")]
fn every_event(name: &Name, number: u64, text: Fixed) -> Vec<Event<'_>> {
    let elapsed = Duration::from_nanos(number);
    let door = AtDoor {
        listener: name,
        fault: Some(text),
        source: Some((pseudonym(&number.to_be_bytes()), 20_779)),
        count: number,
    };
    let held = Held {
        subject: LockSubject::Identity(name),
        step: text,
        cause: text,
        control: crate::base::ControlId::Acc2,
        actor: Some(name),
        case: Some(name),
        lasts: Some(elapsed),
    };
    let judged = JudgedConfig {
        in_force: number,
        judged: number,
        place: text,
        upstream: Some(name),
        listener: Some(name),
        seen: number,
        expected: number,
        limit: number,
        sent: number,
        why: text,
    };
    let passing =
        Passing { listener: name, route: name, target: name, fault: Some(text), left: number };
    let mut events = vec![
        Event::Noticed(Noticed {
            detector: text,
            control: crate::base::ControlId::Mon3,
            level: text,
            grade: text,
            identity: Some(name),
            source: Some((pseudonym(&number.to_be_bytes()), 20_779)),
            seen: number,
            expected: number,
            limit: number,
            since_ms: number,
            unit: text,
            setting: text,
        }),
        Event::Locked(held.clone()),
        Event::LockWithheld(held),
        Event::Unlocked {
            subject: LockSubject::Upstream(name),
            actor: name,
            reason: text,
            case: name,
        },
        Event::LocksUnkept { fault: text },
        Event::LocksKept,
        Event::Started { version: text, generation: number },
        Event::Draining,
        Event::Stopped { ran: elapsed },
        Event::ListenerBound { listener: name, port: 8443 },
        Event::ListenerClosed { listener: name },
        Event::Upgrade(Upgrade::Begun),
        Event::Upgrade(Upgrade::Done),
        Event::Upgrade(Upgrade::Failed { fault: Fixed::new("late") }),
        Event::ConfigReloaded(Applied {
            generation: number,
            trigger: text,
            actor: Some(name),
            widens: number,
            narrows: number,
            neutral: number,
        }),
        Event::ConfigRolledBack(judged.clone()),
        Event::ConfigSuspect(judged),
        Event::ConfigProven { generation: number },
        Event::ConfigRefused { generation: number, errors: number, why: text },
        Event::AddressRefused(door.clone()),
        Event::ConnectionsExceeded(door.clone()),
        Event::ConnectionsCut { listener: name, identity: Some(name), cause: text, count: number },
        Event::ProxyHeaderRefused(door.clone()),
        Event::HandshakeFailed(door.clone()),
        Event::TlsNotPermitted(door.clone()),
        Event::Permit(PermitNews::Accepted { serial: name, left: Duration::from_secs(number) }),
        Event::Permit(PermitNews::Refused { fault: text }),
        Event::Permit(PermitNews::Kept { serial: name, fault: text }),
        Event::Permit(PermitNews::Ending { serial: name, left: Duration::from_secs(number) }),
        Event::Permit(PermitNews::Ended { serial: name }),
        Event::Permit(PermitNews::Withheld { listener: name }),
        Event::ProtocolRefused(door),
        Event::RequestsRefused(Gathered {
            listener: Some(name),
            denial: Some(DenialCode::NoCredential),
            source: Some((pseudonym(&number.to_be_bytes()), 20_779)),
            count: number,
        }),
        Event::BreakerOpened { upstream: name, endpoint: Fixed::new("token"), failures: number },
        Event::UpstreamUnresolved { upstream: name, endpoint: Fixed::new("main") },
        Event::UpstreamResolved { upstream: name, endpoint: Fixed::new("main") },
        Event::BreakerClosed { upstream: name, endpoint: Fixed::new("main") },
        Event::UpstreamUntrusted { upstream: name },
        Event::TargetDown(passing.clone()),
        Event::TargetUp(passing),
        Event::JwksFailed { issuer: name, fault: text },
        Event::JwksRecovered { issuer: name, keys: number },
        Event::LogRecovered { refused: number, outage: elapsed },
        Event::LinesLost { count: number },
        Event::LogRotated { bytes: number },
        Event::LogExpired { files: number, bytes: number },
        Event::StoreFaulty { fault: text },
        Event::StoreHealed { outage: elapsed },
        Event::MemoryRefused { count: number },
        Event::AlarmRaised(Raised {
            alarm: text,
            control: crate::base::ControlId::Mon7,
            grade: text,
            count: number,
            identity: Some(name),
            operation: Some(name),
            upstream: Some(name),
            listener: Some(name),
            issuer: Some(name),
            source: Some((pseudonym(&number.to_be_bytes()), 20_779)),
            numbers: Some([number; 3]),
        }),
        Event::AlarmDelivered { target: name, count: number },
        Event::AlarmFailed { target: name, fault: text, failures: number },
        Event::AlarmsLost { target: Some(name), count: number },
        Event::Panicked { place: CodePlace::of(std::panic::Location::caller()) },
        Event::OperatorAct(Operated {
            operator: Some(name),
            role: Some(text),
            act: text,
            outcome: text,
            reason: Some(text),
            subject: Some(LockSubject::Identity(name)),
            case: Some(name),
            asked_by: Some(name),
            request: Some(id()),
            count: Some(number),
        }),
    ];
    for &fault in LogFault::ALL {
        events.push(Event::LogUnavailable { fault });
        events.push(Event::LogRotationFailed { fault });
    }
    for &framework in Framework::ALL {
        let severity = Severity::Warning;
        events.push(Event::Framework { framework, severity, count: number });
    }
    events
}

#[test]
fn log_1_every_event_has_an_action_of_its_own() {
    let name = Name::parse("apps").unwrap();
    let mut seen = HashSet::new();
    for event in every_event(&name, 5, Fixed::new("x")) {
        let value = json(&EventRecord::new(Moment::new(0, 0), &event));
        seen.insert(value["event.action"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen.len(), Action::ALL.len());
}

fn name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9][A-Za-z0-9._/:@-]{0,95}".prop_map(|text| Name::parse(&text).unwrap())
}

/// Texts that a program could hold, the worst of them included.
fn fixed() -> impl Strategy<Value = Fixed> {
    prop::sample::select(vec![
        "GET",
        "",
        "a\"b",
        "back\\slash",
        "two\nlines",
        "\u{0}\u{1f}",
        "関所",
    ])
    .prop_map(Fixed::new)
}

fn one_line(bytes: &[u8]) -> Value {
    assert_eq!(bytes.iter().position(|&b| b == b'\n'), Some(bytes.len() - 1));
    serde_json::from_slice(bytes).unwrap()
}

proptest! {
    #[test]
    fn any_access_record_is_one_line_of_json(
        at in any::<u64>(),
        names in prop::collection::vec(prop::option::of(name()), 6),
        method in prop::option::of(fixed()),
        numbers in any::<(u64, u64, u64, Option<u16>, Option<u8>)>(),
        denial in prop::option::of(prop::sample::select(codes::ALL_DENIALS)),
    ) {
        let mut record = AccessRecord::new(Moment::new(at, 0), id());
        record.operation = names[0].as_ref();
        record.identity = names[1].as_ref();
        record.role = names[2].as_ref();
        record.listener = names[3].as_ref();
        record.network = names[4].as_ref();
        record.upstream = names[5].as_ref();
        record.method = method;
        record.request_bytes = numbers.0;
        record.duration = Nanos(Duration::from_nanos(numbers.1));
        record.upstream_first_byte = Some(Duration::from_micros(numbers.2));
        record.status = numbers.3;
        record.attempts = numbers.4;
        if let Some(denial) = denial {
            record.deny(denial);
        }
        let value = one_line(&line(&record));
        prop_assert_eq!(value["http.request.body.bytes"].as_u64(), Some(numbers.0));
        prop_assert_eq!(value["event.duration"].as_u64(), Some(numbers.1));
        prop_assert_eq!(value["sekisho.upstream_us"].as_u64(), Some(numbers.2));
        prop_assert_eq!(value["user.name"].as_str(), names[1].as_ref().map(Name::as_str));
        prop_assert_eq!(value["sekisho.denial"].as_str(), denial.map(codes::code));
    }

    #[test]
    fn any_event_is_one_line_of_json(
        at in any::<u64>(), name in name(), number in any::<u64>(), text in fixed(),
    ) {
        for event in every_event(&name, number, text) {
            one_line(&line(&EventRecord::new(Moment::new(at, 0), &event)));
        }
    }

    #[test]
    fn any_integer_is_written_in_full(unsigned in any::<u64>(), signed in any::<i64>()) {
        let mut out = Vec::new();
        unsigned.write_value(&mut out);
        out.push(b' ');
        signed.write_value(&mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{unsigned} {signed}"));
    }
}
