//! The built-in contracts, held to figures counted from Amazon's models.
use std::collections::BTreeMap;

use super::*;

#[test]
fn mon_3_every_operation_has_a_contract() {
    assert_eq!(operations().count(), 370);
    assert_eq!(field_sets().filter(|id| *id != ERRORS).count(), 247);
    let mut bytes = 0;
    for operation in operations() {
        bytes += contract(operation).unwrap_or_else(|| panic!("{operation}")).size();
    }
    assert!(bytes < 8_000_000, "{bytes}");
    assert!(contract("orders/v0/noSuchOperation").is_none());
    // By the name in the catalogue, both methods of one path included.
    assert!(contract("shipping/v2/linkCarrierAccount.put").is_some());
}

#[test]
fn mon_3_every_field_of_a_class_is_carried() {
    let mut counts = BTreeMap::new();
    let mut subjects = BTreeMap::new();
    for id in field_sets().filter(|id| *id != ERRORS) {
        for (class, subject) in field_set(id).unwrap_or_else(|| panic!("{id}")).classes() {
            *counts.entry(class).or_insert(0) += 1;
            *subjects.entry(subject).or_insert(0) += 1;
        }
    }
    let expect = COUNTS;
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), expect);
    assert_eq!(subjects.into_iter().collect::<Vec<_>>(), SUBJECTS);
    let errors = field_set(ERRORS).unwrap();
    assert_eq!(errors.classes().count(), 6);
    assert!(errors.classes().all(|(class, _)| class == Class::ErrorText));
}

#[test]
fn mon_3_what_a_record_is_depends_on_the_operation() {
    for (operation, path, kind, id) in [
        (
            "orders/v0/getOrders",
            "payload.Orders[]",
            RecordKind::Order,
            "payload.Orders[].AmazonOrderId",
        ),
        ("orders/2026-01-01/searchOrders", "orders[]", RecordKind::Order, "orders[].orderId"),
        (
            "services/v1/getServiceJobs",
            "payload.jobs[]",
            RecordKind::Job,
            "payload.jobs[].serviceJobId",
        ),
    ] {
        let tree = contract_of(operation);
        assert_eq!(tree.mark_at(path).unit(), Some(kind), "{operation}");
        assert!(tree.mark_at(id).is_id(), "{operation}");
        assert_eq!(tree.whole(), RecordKind::Answer, "{operation}");
    }
    for (operation, kind, id) in [
        ("orders/v0/getOrderAddress", RecordKind::Order, "payload.AmazonOrderId"),
        ("reports/2021-06-30/getReportDocument", RecordKind::Document, "reportDocumentId"),
    ] {
        let tree = contract_of(operation);
        assert_eq!(tree.whole(), kind, "{operation}");
        assert!(tree.mark_at(id).is_id(), "{operation}");
    }
    assert_eq!(contract_of("notifications/v1/getDestinations").whole(), RecordKind::Answer);
}

#[test]
fn mon_3_a_contract_is_refused_if_it_can_not_be_meant() {
    let field = |path| Field { path, class: None, is_open: false };
    let unit = |path, id| Unit { kind: RecordKind::Order, path, id };
    for path in ["", "a..b", ".a", "a.", "a[", "a[]b", "a{x}", "a.[]"] {
        let found = FieldTree::compile(&[field(path)], &[]).err();
        assert_eq!(found, Some(TreeError::Path), "{path:?}");
    }
    for path in ["$", "[]", "{}", "[].a", "a", "a[][]", "a{}[].b-c_d"] {
        assert!(FieldTree::compile(&[field(path)], &[]).is_ok(), "{path:?}");
    }
    let fields = [field("a[].b[].id"), field("a[].id")];
    for units in [
        vec![unit("b[]", None)],
        vec![unit("a[]", Some("no"))],
        vec![unit("a[]", None), unit("a[].b[]", None)],
    ] {
        let found = FieldTree::compile(&fields, &units).err();
        assert_eq!(found, Some(TreeError::Unit), "{units:?}");
    }
    assert!(FieldTree::compile(&fields, &[unit("a[].b[]", Some("id")), unit("$", None)]).is_ok());
}

/// Fields of each class, over all sets.
const COUNTS: [(Class, usize); 21] = [
    (Class::Name, 148),
    (Class::Email, 43),
    (Class::Phone, 66),
    (Class::Address, 304),
    (Class::AddressCoarse, 210),
    (Class::Geo, 32),
    (Class::GiftMessage, 13),
    (Class::Customization, 6),
    (Class::FreeText, 72),
    (Class::RegulatedFreeText, 1),
    (Class::TaxId, 35),
    (Class::Payment, 41),
    (Class::Document, 29),
    (Class::PresignedUrl, 17),
    (Class::OrderId, 152),
    (Class::TrackingId, 40),
    (Class::PersonId, 9),
    (Class::Secret, 2),
    (Class::RestrictedDataToken, 1),
    (Class::OneTimePassword, 3),
    (Class::ErrorText, 217),
];

const SUBJECTS: [(Subject, usize); 8] = [
    (Subject::Nobody, 220),
    (Subject::Buyer, 482),
    (Subject::Recipient, 314),
    (Subject::Customer, 10),
    (Subject::Seller, 355),
    (Subject::Vendor, 49),
    (Subject::Technician, 10),
    (Subject::Business, 1),
];
