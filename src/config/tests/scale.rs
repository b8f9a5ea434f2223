//! A large configuration is read whole; `sekisho check` on it is timed by hand.
use std::fmt::Write as _;

use super::support::{GOOD, world};

/// `GOOD` with so many more identities and roles.
pub(super) fn large(identities: usize, roles: usize) -> String {
    let mut text = GOOD.to_owned();
    for n in 0..roles {
        let _ = write!(
            text,
            "[role.r{n}]\npurpose = \"x\"\nallow = [\"orders/*:read\", \"feeds/getFeed\"]\n\
             query = [{{ operations = [\"orders/getOrders\"], deny = [\"BuyerEmail\"] }}]\n\
             limits = [{{ operations = [\"orders/*\"], requests = [\"10/s\", \"300/min\"] }}]\n"
        );
    }
    for n in 0..identities {
        let (one, two) = (n % roles, (n * 7 + 1) % roles);
        let _ = write!(
            text,
            "[identity.i{n}]\nkind = \"service\"\nowner = \"team@example.com\"\n\
             certificate = {{ san_uri = \"spiffe://example.com/i{n}\" }}\nnetworks = [\"office\"]\n\
             roles = [\"r{one}\", \"r{two}\"]\nreview_by = 2027-01-31\n"
        );
    }
    text
}

#[test]
fn ten_thousand_identities_are_read() {
    let loaded = world(&large(10_000, 1_000)).load().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.snapshot.identities.len(), 10_002);
    assert_eq!(loaded.snapshot.quotas.limits.len(), 1_001);
}

#[test]
fn ten_thousand_mistakes_are_told_up_to_the_bound() {
    let text = large(5_000, 1_000).replace("owner = \"team@example.com\"", "owner = 7");
    let errors = world(&text).load().unwrap_err();
    assert_eq!((errors.errors.len(), errors.omitted), (1_000, 4_000));
}
