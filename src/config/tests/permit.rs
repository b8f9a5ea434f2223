//! TLS-3, PRIV-5: without a permit that covers it no key of a listener is opened, and everything else
//! is read and judged as ever.
use std::path::Path;

use super::rules::refused;
use super::support::{GOOD, TODAY, World, changed, claims, issuer, pki, sealed, world};
use crate::base::ControlId::{Priv4, Tls3};
use crate::base::{Moment, Name, Secret};
use crate::config::{Loaded, load_from};
use crate::permit::{Claims, Fact, FactKind, NamePattern, PermitFault, Signer};
use crate::seal::{HostKey, RANDOM_BYTES, seal};

const ADMIN: &str = "[admin]\naddress = \"127.0.0.1:9464\"\n";
const API: &str = "[admin]\naddress = \"127.0.0.1:9464\"\n[admin.api]\naddress = \"127.0.0.1:9465\"\nnetworks = [\"office\"]\ntls = { certificate = \"tls/a.pem\", key = \"tls/a.key\", client_ca = \"tls/ca.pem\" }\n[operator.sato]\ncertificate = { san_uri = \"spiffe://example.com/operators/sato\" }\nrole = \"viewer\"\n";

/// Loads a world; says whether a listener's key was asked for.
fn loaded(world: &World) -> (Loaded, bool) {
    let loaded = world.load().unwrap_or_else(|errors| panic!("{errors}"));
    let asked = world.asked.borrow().iter().any(|path| path.ends_with("tls/a.key"));
    (loaded, asked)
}

fn with_permit(document: impl AsRef<[u8]>) -> World {
    world(&changed(ADMIN, API)).with("permit/host.permit", document)
}

fn issued(edit: impl FnOnce(&mut Claims)) -> World {
    let mut claims = claims();
    edit(&mut claims);
    with_permit(issuer().sign(&claims))
}

/// No listener ends TLS, its key was not even asked for, and the operator is told why.
fn closed(world: &World, fault: PermitFault) {
    let (loaded, asked) = loaded(world);
    assert!(!asked, "{fault:?}: a private key was opened");
    let snapshot = &loaded.snapshot;
    assert_eq!(snapshot.permit.standing.as_ref().err(), Some(&fault));
    let listener = snapshot.listeners[0].tls.as_ref().unwrap();
    assert!(listener.certificates.is_empty(), "{fault:?}");
    assert_eq!(listener.withheld[0].server_names[0], "gateway.example.com");
    let api = snapshot.api.as_ref().unwrap();
    assert!(api.tls.certificates.is_empty(), "{fault:?}: the operators' API");
    let told =
        loaded.warnings.iter().find(|warning| warning.found.contains("no listener ends TLS"));
    let told = told.unwrap_or_else(|| panic!("{fault:?}: {:?}", loaded.warnings));
    assert_eq!((told.control, told.instead.as_str()), (Some(Tls3), fault.advice()));
}

#[test]
fn tls_3_with_a_permit_the_sealed_key_is_opened() {
    let (loaded, asked) = loaded(&with_permit(issuer().sign(&claims())));
    assert!(asked);
    assert_eq!(loaded.warnings, []);
    assert!(loaded.snapshot.listeners[0].tls.as_ref().unwrap().withheld.is_empty());
    assert_eq!(loaded.snapshot.listeners[0].tls.as_ref().unwrap().certificates.len(), 1);
    assert_eq!(loaded.snapshot.api.unwrap().tls.certificates.len(), 1);
    assert_eq!(loaded.snapshot.permit.standing.unwrap().serial().as_str(), "20261122-1");
}

#[test]
fn tls_3_without_a_valid_permit_no_key_is_opened() {
    let whole = issuer().sign(&claims());
    let stranger = Signer::new(Secret::new([9; 32])).unwrap();
    let day = 86_400;
    let today = TODAY.unix_secs();
    closed(&with_permit(stranger.sign(&claims())), PermitFault::Issuer);
    closed(&with_permit(&whole.as_bytes()[..whole.len() - 30]), PermitFault::Torn);
    closed(&with_permit(whole.replace("apps", "Apps")), PermitFault::Signature);
    let mut flipped = whole.clone().into_bytes();
    let at = flipped.len() - 40;
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    closed(&with_permit(flipped), PermitFault::Signature);
    closed(&with_permit(vec![b'x'; 1 << 20]), PermitFault::TooLarge);
    closed(&issued(|c| c.not_before = today + day), PermitFault::NotYet);
    closed(
        &issued(|c| {
            (c.issued, c.not_before, c.expires) = (today - 2 * day, today - 2 * day, today);
        }),
        PermitFault::Expired,
    );
    closed(&issued(|c| c.expires = today + 91 * day), PermitFault::Life);
    let other = |kind| {
        issued(|c| {
            c.host.insert(kind, Fact::parse("x25519:other").unwrap());
        })
    };
    closed(&other(FactKind::Machine), PermitFault::Host(FactKind::Machine));
    closed(&other(FactKind::SealingKey), PermitFault::Host(FactKind::SealingKey));
    closed(&other(FactKind::Tpm), PermitFault::Unproved(FactKind::Tpm));
    let mut missing = with_permit("");
    missing.files.remove(Path::new("/conf/permit/host.permit"));
    closed(&missing, PermitFault::Missing);
}

#[test]
fn priv_5_a_permit_of_another_environment_opens_nothing() {
    let test = issued(|c| c.environment = Name::parse("test").unwrap());
    closed(&test, PermitFault::Environment);
}

#[test]
fn tls_3_a_host_without_facts_of_its_own_opens_nothing() {
    let whole = || with_permit(issuer().sign(&claims()));
    let mut exposed = whole();
    exposed.exposed.insert(Path::new("/conf/state/host.key").to_owned());
    closed(&exposed, PermitFault::Unproved(FactKind::SealingKey));
    for path in ["/conf/state/host.key", "/etc/machine-id"] {
        for content in [None, Some("\n")] {
            let mut world = whole();
            world.files.remove(Path::new(path));
            if let Some(content) = content {
                world = world.with(path, content);
            }
            let kind = if path.ends_with("id") { FactKind::Machine } else { FactKind::SealingKey };
            closed(&world, PermitFault::Unproved(kind));
        }
    }
}

#[test]
fn tls_3_a_permit_for_another_listener_or_name_leaves_that_key_closed() {
    let withheld = |world: &World, says: &str| {
        let (loaded, _) = loaded(world);
        let told = loaded.warnings.iter().find(|warning| warning.found.contains(says));
        assert!(told.is_some_and(|told| told.control == Some(Tls3)), "{:?}", loaded.warnings);
        let closed = |tls: &crate::config::TlsSettings| tls.certificates.is_empty();
        let snapshot = loaded.snapshot;
        assert!(snapshot.permit.standing.is_ok());
        (closed(snapshot.listeners[0].tls.as_ref().unwrap()), closed(&snapshot.api.unwrap().tls))
    };
    let listeners = |names: &[&str]| {
        let names = names.iter().map(|name| Name::parse(name).unwrap()).collect();
        issued(|c| c.listeners = names)
    };
    assert_eq!(withheld(&listeners(&["apps"]), "does not name `admin.api`"), (false, true));
    assert_eq!(withheld(&listeners(&["admin.api"]), "does not name `apps`"), (true, false));
    let none = listeners(&[]);
    assert_eq!(withheld(&none, "does not name `apps`"), (true, true));
    assert!(!loaded(&none).1, "a private key was opened");
    let narrow = issued(|c| c.server_names.retain(|name| name.as_str() != "*.spapi.example.com"));
    assert_eq!(withheld(&narrow, "does not allow `fe.spapi.example.com`"), (true, true));
    assert!(!loaded(&narrow).1, "a private key was opened");
}

#[test]
fn tls_3_one_certificate_of_several_may_stay_closed() {
    let two = "certificates = [{ certificate = \"tls/a.pem\", key = \"tls/a.key\" }, { certificate = \"tls/own.pem\", key = \"tls/own.key\" }]";
    let one = "certificates = [{ certificate = \"tls/a.pem\", key = \"tls/a.key\" }]";
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["elsewhere.example.com".to_owned()]).unwrap();
    let own = own.self_signed(&key).unwrap().pem();
    let world = world(&changed(one, two))
        .with("tls/own.pem", own)
        .with("tls/own.key", sealed(&key.serialize_pem()));
    let (loaded, _) = loaded(&world);
    let tls = loaded.snapshot.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.certificates.len(), 1);
    assert_eq!(tls.withheld[0].server_names, ["elsewhere.example.com"]);
    assert!(!world.asked.borrow().iter().any(|path| path.ends_with("tls/own.key")));
}

#[test]
fn tls_3_a_certificate_without_a_name_is_under_no_permit() {
    let own = |names: &[&str], edit: &dyn Fn(&mut Claims)| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(names.clone()).unwrap().self_signed(&key).unwrap();
        let mut claims = claims();
        claims.server_names.clear();
        edit(&mut claims);
        let world = world(GOOD)
            .with("permit/host.permit", issuer().sign(&claims))
            .with("tls/a.pem", own.pem())
            .with("tls/a.key", sealed(&key.serialize_pem()));
        let (loaded, asked) = loaded(&world);
        let tls = loaded.snapshot.listeners[0].tls.as_ref().unwrap();
        let (open, closed) = (tls.certificates.len(), tls.withheld.len());
        assert_eq!((open == 1, closed == 0), (asked, asked), "{names:?}");
        (asked, loaded)
    };
    for names in [&[][..], &["192.0.2.7"], &["127.0.0.1"], &["2001:db8::7"]] {
        let (asked, loaded) = own(names, &|_| {});
        assert!(!asked, "{names:?}: a private key was opened");
        assert!(loaded.warnings.iter().any(|one| one.control == Some(Tls3)), "{names:?}");
    }
    let named = |claims: &mut Claims| {
        let names = ["192.0.2.7", "2001:db8::7", "gateway.example.com"];
        claims.server_names = names.map(|name| NamePattern::parse(name).unwrap()).to_vec();
    };
    let (asked, loaded) =
        own(&["gateway.example.com", "192.0.2.7", "2001:db8::7", "127.0.0.1"], &named);
    assert!(asked);
    // Nor does one that was opened stay so under a permit that names nothing of it.
    let snapshot = loaded.snapshot;
    let mut none = claims();
    none.server_names.clear();
    let other = world(GOOD).with("permit/host.permit", issuer().sign(&none)).load().unwrap();
    let under = snapshot.under(other.snapshot.permit.clone(), 2);
    assert!(under.listeners[0].tls.as_ref().unwrap().certificates.is_empty());
    let mut nameless = snapshot;
    let tls = nameless.listeners[0].tls.as_mut().unwrap();
    tls.certificates[0].server_names.clear();
    let permit = nameless.permit.clone();
    let tls = nameless.under(permit, 2).listeners.remove(0).tls.unwrap();
    assert_eq!((tls.certificates.len(), tls.withheld.len()), (0, 1));
    assert!(!own(&["gateway.example.com", "192.0.2.8"], &named).0);
}

#[test]
fn tls_3_a_listener_without_a_permit_section_is_a_mistake() {
    let section = "[permit]\nfile = \"permit/host.permit\"\nissuers = [\"permit/issuer.pub\"]\n";
    let errors = world(&changed(section, "")).load().unwrap_err();
    assert_eq!(errors.errors.len(), 1, "{errors}");
    assert_eq!(errors.errors[0].control, Some(Tls3));
    assert!(errors.errors[0].instead.contains("add [permit]"), "{errors}");
    let issuers = "issuers = [\"permit/issuer.pub\"]";
    refused(issuers, "issuers = []", "[]\n\n[net", Tls3, "no permit counts", "ed25519:");
    refused(issuers, "issuers = [\"permit/none\"]", "\"permit/none\"", Tls3, "not exist", "path");
    refused(
        issuers,
        "issuers = [\"tls/a.pem\"]",
        "\"tls/a.pem\"]\n\n[net",
        Tls3,
        "holds no",
        ".pub",
    );
    refused(issuers, "issuers = [\"ed25519:x\"]", "\"ed25519:x\"", Tls3, "is not", "ed25519:");
    let inline = format!("issuers = [\"{}\"]", issuer().public());
    assert_eq!(world(&changed(issuers, &inline)).load().unwrap().warnings, []);
    let policy = changed("state_dir = \"state\"", "state_dir = \"state\"\npolicy = [\"p/*.toml\"]");
    let errors = world(&policy.replace(section, "")).with("p/a.toml", section).load().unwrap_err();
    assert!(errors.errors.iter().any(|error| error.found.contains("in a policy file")), "{errors}");
}

#[test]
fn tls_3_a_key_that_lies_open_is_served_and_warned_of() {
    let key = "key = \"tls/a.key\"";
    let loaded = world(&changed(key, "key = \"tls/plain.key\"")).load().unwrap();
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning.control, Some(Tls3));
    assert!(warning.instead.contains("sekisho permit seal"), "{warning:?}");
    assert_eq!(loaded.snapshot.listeners[0].tls.as_ref().unwrap().certificates.len(), 1);
}

#[test]
fn tls_3_a_sealed_key_that_is_not_this_host_s_is_a_mistake() {
    let other = HostKey::new(Secret::new([8; 32])).unwrap();
    let random = zeroize::Zeroizing::new([7; RANDOM_BYTES]);
    let foreign = seal(pki().key.as_bytes(), &other.public(), &random).unwrap();
    let own = sealed(&pki().key);
    let refuse = |content: &str| {
        let errors = world(GOOD).with("tls/a.key", content).load().unwrap_err();
        assert_eq!(errors.errors.len(), 1, "{errors}");
        (errors.errors[0].control, errors.errors[0].found.clone())
    };
    let (control, found) = refuse(&foreign);
    assert_eq!(control, Some(Tls3));
    assert!(found.contains("another host's key"), "{found}");
    let (_, found) = refuse(own.get(..own.len() - 20).unwrap());
    assert!(found.contains("can't be opened"), "{found}");
    assert_eq!(refuse(&sealed("no key")).0, Some(Priv4));
}

#[test]
fn tls_3_a_clock_that_went_back_opens_nothing() {
    let whole = || with_permit(issuer().sign(&claims()));
    let (snapshot, _) = loaded(&whole());
    let permit = snapshot.snapshot.permit;
    let today = TODAY.unix_secs();
    let at = |latest: u64| whole().with("state/permit.clock", permit.clock_record(latest).unwrap());
    assert_eq!(loaded(&at(today + 3_600)).0.warnings, []);
    let behind = at(today + 3_601);
    closed(&behind, PermitFault::ClockWentBack);
    // What was seen is not forgotten by a process that started with the wrong clock.
    let again = loaded(&behind).0.snapshot.permit.clock_record(today).unwrap();
    closed(&whole().with("state/permit.clock", again), PermitFault::ClockWentBack);
    let forged = permit.clock_record(today).unwrap().replace(&today.to_string(), "1");
    let forged = whole().with("state/permit.clock", forged);
    closed(&forged, PermitFault::ClockRecord);
    assert_eq!(loaded(&forged).0.snapshot.permit.clock_record(today), None, "it stays as it is");
    // Another host's record says nothing of this one.
    let other = HostKey::new(Secret::new([8; 32])).unwrap();
    let record = crate::permit::clock::record(
        &other.public().to_string(),
        &other.derive("sekisho permit clock 1"),
        today + 86_400,
    );
    assert_eq!(loaded(&whole().with("state/permit.clock", record)).0.warnings, []);
}

#[test]
fn tls_3_the_end_of_a_permit_is_warned_of() {
    let world = world(GOOD);
    let at = |days: u64| {
        let now = Moment::new((TODAY.unix_secs() + days * 86_400) * 1_000, 0);
        load_from(&world, Path::new(super::support::MAIN), 1, now).unwrap().warnings
    };
    let told = |days| at(days).iter().any(|warning| warning.found.contains("the permit expires"));
    assert!(!told(45) && told(46) && told(59));
}
