use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::{Moment, Name, Secret, base64url};

const DAY: u64 = 86_400;
/// 2026-11-22T00:00:00Z.
const TODAY: u64 = 20_779 * DAY;

struct Host(BTreeMap<FactKind, Fact>);

impl HostFacts for Host {
    fn fact(&self, kind: FactKind) -> Option<Fact> {
        self.0.get(&kind).cloned()
    }
}

fn host(name: &str) -> BTreeMap<FactKind, Fact> {
    BTreeMap::from([
        (FactKind::Machine, machine_fact(format!("{name}\n").as_bytes()).unwrap()),
        (FactKind::SealingKey, Fact::parse(&format!("x25519:{name}")).unwrap()),
    ])
}

fn signer(seed: u8) -> Signer {
    Signer::new(Secret::new([seed; 32])).unwrap()
}

fn claims() -> Claims {
    let name = |text: &str| Name::parse(text).unwrap();
    Claims {
        serial: name("20261122-1"),
        environment: name("production"),
        issued: TODAY - DAY,
        not_before: TODAY,
        expires: TODAY + 60 * DAY,
        listeners: vec![name("apps"), name("admin.api")],
        server_names: ["gateway.example.com", "*.spapi.example.com"]
            .map(|name| NamePattern::parse(name).unwrap())
            .to_vec(),
        host: host("one"),
    }
}

/// Judges a document on host `one` in production, where issuer 1 counts.
fn judged(
    document: &[u8],
    edit: impl FnOnce(&mut Expected<'_>),
    at: u64,
) -> Result<HostPermit, PermitFault> {
    let environment = Name::parse("production").unwrap();
    let issuers = [signer(9).public(), signer(1).public()];
    let host = Host(host("one"));
    let mut expected =
        Expected { environment: &environment, issuers: &issuers, host: &host, latest: None };
    edit(&mut expected);
    verify(document, &expected, Moment::new(at * 1_000, 0))
}

fn fault(edit: impl FnOnce(&mut Claims)) -> Option<PermitFault> {
    let mut claims = claims();
    edit(&mut claims);
    judged(signer(1).sign(&claims).as_bytes(), |_| {}, TODAY).err()
}

#[test]
fn tls_3_a_permit_allows_what_it_lists_and_nothing_else() {
    let document = signer(1).sign(&claims());
    let permit = judged(document.as_bytes(), |_| {}, TODAY).unwrap();
    assert_eq!(permit.claims(), &claims());
    assert_eq!(permit.issuer(), signer(1).public().id());
    assert!(permit.allows_listener("apps") && permit.allows_listener("admin.api"));
    assert!(!permit.allows_listener("Apps") && !permit.allows_listener("partners"));
    for name in [
        "gateway.example.com",
        "Gateway.Example.com",
        "fe.spapi.example.com",
        "*.spapi.example.com",
    ] {
        assert!(permit.allows_name(name), "{name}");
    }
    for name in [
        "example.com",
        "spapi.example.com",
        "a.b.spapi.example.com",
        "*.example.com",
        "*.fe.spapi.example.com",
        ".spapi.example.com",
        "*",
        "",
    ] {
        assert!(!permit.allows_name(name), "{name}");
    }
    assert!(!permit.covers("apps", &[]), "a certificate without a name");
    assert!(permit.covers("apps", &["gateway.example.com".to_owned()]));
    let some = ["gateway.example.com", "example.com"].map(str::to_owned);
    assert!(!permit.covers("apps", &some) && !permit.covers("other", &some[..1]));
    let nothing = |claims: &mut Claims| {
        claims.listeners.clear();
        claims.server_names.clear();
    };
    let mut none = claims();
    nothing(&mut none);
    let permit = judged(signer(1).sign(&none).as_bytes(), |_| {}, TODAY).unwrap();
    assert!(!permit.allows_listener("apps") && !permit.allows_name("gateway.example.com"));
}

#[test]
fn tls_3_an_address_is_a_name_of_its_own() {
    let pattern = |text: &str| NamePattern::parse(text).unwrap();
    assert!(pattern("192.0.2.7").covers("192.0.2.7"));
    assert!(pattern("2001:DB8:0::7").covers("2001:db8::7"));
    assert!(!pattern("*.0.2.7").covers("192.0.2.7"));
    assert!(!pattern("192.0.2.7").covers("192.0.2.8"));
}

#[test]
fn tls_3_a_permit_for_another_host_is_none_here() {
    assert_eq!(fault(|c| c.host = host("two")), Some(PermitFault::Host(FactKind::Machine)));
    let key = |c: &mut Claims| {
        c.host.insert(FactKind::SealingKey, Fact::parse("x25519:two").unwrap());
    };
    assert_eq!(fault(key), Some(PermitFault::Host(FactKind::SealingKey)));
    // What this host can't show is not assumed.
    let tpm = |c: &mut Claims| {
        c.host.insert(FactKind::Tpm, Fact::parse("tpm:key").unwrap());
    };
    assert_eq!(fault(tpm), Some(PermitFault::Unproved(FactKind::Tpm)));
    let document = signer(1).sign(&claims());
    for kind in [FactKind::Machine, FactKind::SealingKey] {
        let mut less = host("one");
        less.remove(&kind);
        let less = Host(less);
        let environment = Name::parse("production").unwrap();
        let issuers = [signer(1).public()];
        let expected =
            Expected { environment: &environment, issuers: &issuers, host: &less, latest: None };
        let judged = verify(document.as_bytes(), &expected, Moment::new(TODAY * 1_000, 0));
        assert_eq!(judged, Err(PermitFault::Unproved(kind)));
    }
}

#[test]
fn priv_5_a_permit_of_another_environment_is_none_here() {
    let other = |c: &mut Claims| c.environment = Name::parse("test").unwrap();
    assert_eq!(fault(other), Some(PermitFault::Environment));
}

#[test]
fn tls_3_only_a_trusted_key_s_word_counts() {
    let document = signer(2).sign(&claims());
    assert_eq!(judged(document.as_bytes(), |_| {}, TODAY), Err(PermitFault::Issuer));
    let nobody = |expected: &mut Expected<'_>| expected.issuers = &[];
    let own = signer(1).sign(&claims());
    assert_eq!(judged(own.as_bytes(), nobody, TODAY), Err(PermitFault::Issuer));
    // Under a trusted key's name.
    let ids = [signer(2), signer(1)].map(|signer| signer.public().id().as_str().to_owned());
    let renamed = document.replace(&ids[0], &ids[1]);
    assert_eq!(judged(renamed.as_bytes(), |_| {}, TODAY), Err(PermitFault::Signature));
}

#[test]
fn tls_3_every_byte_is_signed() {
    let document = signer(1).sign(&claims());
    for at in 0..document.len() {
        let mut changed = document.clone().into_bytes();
        changed[at] ^= 1;
        assert!(judged(&changed, |_| {}, TODAY).is_err(), "byte {at}");
        assert!(judged(&document.as_bytes()[..at], |_| {}, TODAY).is_err(), "cut at {at}");
    }
    let longer = format!("{document}\n");
    assert_eq!(judged(longer.as_bytes(), |_| {}, TODAY), Err(PermitFault::Torn));
    let half = &document.as_bytes()[..document.len() / 2];
    assert_eq!(judged(half, |_| {}, TODAY), Err(PermitFault::Torn));
    assert_eq!(judged(&vec![b'x'; 1 << 20], |_| {}, TODAY), Err(PermitFault::TooLarge));
}

#[test]
fn tls_3_a_permit_counts_from_its_first_second_to_before_its_last() {
    let document = signer(1).sign(&claims());
    let at = |at: u64| judged(document.as_bytes(), |_| {}, at).err();
    assert_eq!(at(TODAY - 1), Some(PermitFault::NotYet));
    assert_eq!(at(TODAY), None);
    assert_eq!(at(TODAY + 60 * DAY - 1), None);
    assert_eq!(at(TODAY + 60 * DAY), Some(PermitFault::Expired));
    let life = |issued: u64, begins: u64, ends: u64| {
        fault(|c| (c.issued, c.not_before, c.expires) = (issued, begins, ends))
    };
    assert_eq!(life(TODAY, TODAY, TODAY + 90 * DAY), None);
    for (issued, begins, ends) in [
        (TODAY, TODAY, TODAY + 90 * DAY + 1),
        (TODAY - DAY, TODAY, TODAY + 90 * DAY),
        (TODAY, TODAY - 1, TODAY + DAY),
        (TODAY, TODAY, TODAY),
    ] {
        assert_eq!(life(issued, begins, ends), Some(PermitFault::Life));
    }
}

/// Signed as it is.
fn signed(text: &str) -> String {
    let own = claims().to_text();
    let document = signer(1).sign(&claims());
    assert!(document.starts_with(&own));
    let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let signature = pair.sign(format!("sekisho host permit 1\n{text}").as_bytes());
    let signature = base64url::encode(signature.as_ref());
    format!("{text}signature: {} ed25519:{signature}\n", signer(1).public().id().as_str())
}

#[test]
fn a_signed_text_is_read_strictly() {
    let own = claims().to_text();
    let judged = |text: &str| judged(signed(text).as_bytes(), |_| {}, TODAY).err();
    assert_eq!(judged(&own), None);
    assert_eq!(judged(&format!("# a comment\n{own}")), None);
    for (from, to, fault) in [
        ("version = 1", "version = 2\nmore = 1", PermitFault::Version),
        ("version = 1\n", "", PermitFault::Malformed),
        ("version = 1\n", "version = 1\nversion = 1\n", PermitFault::Malformed),
        ("serial", "any = true\nserial", PermitFault::Malformed),
        ("[host]\n", "[host]\nany = \"x\"\n", PermitFault::Malformed),
        ("00:00:00Z", "00:00:00+09:00", PermitFault::Malformed),
        ("T00:00:00Z", "", PermitFault::Malformed),
        ("\"*.spapi.example.com\"", "\"*\"", PermitFault::Malformed),
        ("\"*.spapi.example.com\"", "\"A.example.com\"", PermitFault::Malformed),
        ("\"apps\"", "\"ap ps\"", PermitFault::Malformed),
        ("\"apps\"", "7", PermitFault::Malformed),
        ("machine = ", "machines = ", PermitFault::Malformed),
    ] {
        assert!(own.contains(from), "{from}");
        assert_eq!(judged(&own.replace(from, to)), Some(fault), "{to}");
    }
    let many = "\"apps\", ".repeat(257);
    assert_eq!(judged(&own.replace("\"apps\", ", &many)), Some(PermitFault::Malformed));
}

#[test]
fn tls_3_a_clock_that_went_back_makes_no_permit_good() {
    let document = signer(1).sign(&claims());
    let after = |latest: u64| {
        judged(document.as_bytes(), |expected| expected.latest = Some(latest), TODAY + DAY).err()
    };
    assert_eq!(after(TODAY), None);
    assert_eq!(after(TODAY + DAY + 3_600), None);
    assert_eq!(after(TODAY + DAY + 3_601), Some(PermitFault::ClockWentBack));
    assert_eq!(after(u64::MAX), Some(PermitFault::ClockWentBack));
}

#[test]
fn tls_3_the_record_of_the_latest_time_is_the_host_s_own() {
    let (key, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let record = clock::record("one", &key, TODAY);
    assert_eq!(clock::read(record.as_bytes(), "one", &key), Ok(Some(TODAY)));
    assert_eq!(clock::read(record.as_bytes(), "two", &other), Ok(None), "another host's");
    for bad in [
        record.replace(&TODAY.to_string(), &(TODAY - DAY).to_string()),
        record.trim_end().to_owned(),
        clock::record("one", &other, TODAY),
        record.replace("-1 ", "-2 "),
        format!("{record}{record}"),
        String::new(),
        "sekisho-clock-1 one 7 \n".to_owned(),
    ] {
        let read = clock::read(bad.as_bytes(), "one", &key);
        assert_eq!(read, Err(PermitFault::ClockRecord), "{bad:?}");
    }
}

#[test]
fn tls_3_within_a_process_time_does_not_go_back() {
    let start = Moment::new(TODAY * 1_000, 5_000_000_000);
    let steady = clock::Steady::from(start);
    let at = |wall: u64, mono: u64| steady.of(Moment::new(wall * 1_000, mono * 1_000_000_000));
    assert_eq!(at(TODAY + 10, 15).unix_secs(), TODAY + 10);
    assert_eq!(at(TODAY - 9 * DAY, 15).unix_secs(), TODAY + 10, "moved back");
    assert_eq!(at(TODAY + DAY, 15).unix_secs(), TODAY + DAY, "moved forward");
    assert_eq!(at(0, 15).mono_ns(), 15_000_000_000);
}

#[test]
fn every_fault_has_a_word_of_its_own() {
    let words: std::collections::BTreeSet<_> =
        PermitFault::ALL.iter().map(|fault| fault.as_str()).collect();
    assert_eq!(words.len(), PermitFault::ALL.len());
    assert!(PermitFault::ALL.iter().all(|fault| !fault.advice().is_empty()));
}

#[test]
fn keys_have_one_spelling() {
    let key = signer(1).public();
    assert_eq!(IssuerKey::parse(&format!("{key}\n")), Some(key));
    for bad in ["", "ed25519:", "ed25519:AA", &key.to_string().replace("ed25519", "rsa")] {
        assert_eq!(IssuerKey::parse(bad), None, "{bad}");
    }
    assert_eq!(key.id().as_str().len(), 16);
    let again = Signer::of_pem(signer(1).to_pem().as_bytes()).unwrap();
    assert_eq!(again.public(), key);
    let (said, issuer) = read_unverified(signer(1).sign(&claims()).as_bytes()).unwrap();
    assert_eq!((said, issuer), (claims(), key.id()));
}

proptest! {
    #[test]
    fn claims_survive_the_way_there_and_back(
        serial in "[a-z0-9][a-z0-9._-]{0,30}",
        issued in 0_u64..4_000_000_000,
        life in 1_u64..7_776_000,
        listeners in prop::collection::vec("[a-z][a-z0-9.-]{0,10}", 0..5),
        names in prop::collection::vec("(\\*\\.)?[a-z0-9-]{1,10}(\\.[a-z0-9-]{1,10}){0,3}", 0..5),
        fact in "[!#-\\[\\]-~]{1,256}",
    ) {
        let name = |text: &String| Name::parse(text).unwrap();
        let mut host = host("one");
        host.insert(FactKind::Instance, Fact::parse(&fact).unwrap());
        let claims = Claims {
            serial: name(&serial),
            issued,
            not_before: issued,
            expires: issued + life,
            listeners: listeners.iter().map(name).collect(),
            server_names: names.iter().map(|n| NamePattern::parse(n).unwrap()).collect(),
            host: host.clone(),
            ..claims()
        };
        let host = Host(host);
        let document = signer(1).sign(&claims);
        let environment = Name::parse("production").unwrap();
        let issuers = [signer(1).public()];
        let expected =
            Expected { environment: &environment, issuers: &issuers, host: &host, latest: None };
        let judged = verify(document.as_bytes(), &expected, Moment::new(issued * 1_000, 0));
        prop_assert_eq!(judged.map(|permit| permit.claims().clone()), Ok(claims));
    }

    #[test]
    fn no_text_that_nobody_signed_is_a_permit(bytes: Vec<u8>, tail: bool) {
        let mut document = bytes;
        if tail {
            document.extend_from_slice(signer(2).sign(&claims()).as_bytes());
        }
        let judged = judged(&document, |_| {}, TODAY);
        prop_assert!(judged.is_err());
    }
}
