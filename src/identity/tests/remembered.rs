//! Being remembered changes the cost of an answer, never the answer.
use proptest::prelude::*;
use serde_json::json;

use super::super::support::*;
use super::super::*;
use crate::base::{HashKey, Secret};

fn world() -> World {
    World::new(spec(vec![with_token("printer", Binding::Bearer)]))
}

#[test]
fn acc_1_a_remembered_token_expires_all_the_same() {
    let world = world();
    let token = world.signer.sign(&claims("printer"));
    assert!(world.token(&token).is_ok());
    assert_eq!(world.cache.len(), 1);
    assert!(world.prove_at(None, Some(&token), at(NOW + 629)).is_ok());
    let refused = world.prove_at(None, Some(&token), at(NOW + 630)).unwrap_err();
    assert_eq!(refused.denial, Denial::Token(TokenFault::Expired));
    // A clock that was set back does not revive what is not valid yet.
    let refused = world.prove_at(None, Some(&token), at(NOW - 91)).unwrap_err();
    assert_eq!(refused.denial, Denial::Token(TokenFault::NotYetValid));
}

#[test]
fn acc_3_a_new_registry_or_key_set_is_asked_again() {
    let mut world = world();
    let token = world.signer.sign(&claims("printer"));
    assert!(world.token(&token).is_ok());

    // The key is withdrawn: the remembered signature counts no more.
    let other = Signer::new(Algorithm::Es256, "k1");
    let before = std::mem::replace(&mut world.keys, key_sets(&[other.jwk()]));
    assert_eq!(world.token(&token), Err(Denial::Token(TokenFault::Signature)));
    world.keys = before;
    assert!(world.token(&token).is_ok());

    // A leaver is disabled.
    let mut leaver = spec(vec![with_token("printer", Binding::Bearer)]);
    leaver.generation = 2;
    leaver.identities[0].standing = Standing::Disabled;
    world.trust = Trust::build(leaver).unwrap();
    assert_eq!(world.token(&token), Err(Denial::NoIdentity));

    // The audience changes; the place of the identity stays.
    let mut moved = spec(vec![with_token("printer", Binding::Bearer)]);
    moved.generation = 3;
    moved.issuers[0].audiences = vec!["elsewhere".to_owned()];
    world.trust = Trust::build(moved).unwrap();
    assert_eq!(world.token(&token), Err(Denial::Token(TokenFault::Audience)));
}

#[test]
fn acc_1_unknown_disabled_expired_and_foreign_are_one_answer_and_equally_remembered() {
    let mut disabled = with_token("disabled", Binding::Bearer);
    disabled.standing = Standing::Disabled;
    let mut expired = with_token("expired", Binding::Bearer);
    expired.expires = Some(NOW);
    let mut foreign = with_token("foreign", Binding::Certificate);
    foreign.environment = name("staging");
    let disabled_mesh = IdentitySpec { name: name("mesh"), ..disabled.clone() };
    let disabled_mesh = with_certificate(IdentitySpec { token: None, ..disabled_mesh });
    let world = World::new(spec(vec![disabled, expired, foreign, disabled_mesh]));
    for (count, subject) in ["disabled", "expired", "foreign", "unknown"].iter().enumerate() {
        let token = world.signer.sign(&claims(subject));
        assert_eq!(world.token(&token), Err(Denial::NoIdentity), "{subject}");
        assert_eq!(world.token(&token), Err(Denial::NoIdentity), "{subject}, again");
        assert_eq!(world.cache.len(), count + 1, "{subject}");
    }
    let disabled = world.prove_at(Some(&peer(&uri_of("mesh"))), None, at(NOW)).unwrap_err();
    let unknown = world.prove_at(Some(&peer(&uri_of("nobody"))), None, at(NOW)).unwrap_err();
    assert_eq!(disabled.denial, unknown.denial);
    assert_eq!(disabled.denial, Denial::NoIdentity);
    // The log, unlike the answer, knows whom it was about.
    assert_eq!((disabled.identity, unknown.identity), (Some(IdentityIx(3)), None));
}

#[test]
fn acc_3_an_identity_enters_until_the_second_it_expires() {
    let mut leaving = with_token("printer", Binding::Bearer);
    leaving.expires = Some(NOW + 10);
    let world = World::new(spec(vec![leaving]));
    let token = world.signer.sign(&claims("printer"));
    assert_eq!(world.token(&token).unwrap().until(), NOW + 10);
    assert!(world.prove_at(None, Some(&token), at(NOW + 9)).is_ok());
    let refused = world.prove_at(None, Some(&token), at(NOW + 10)).unwrap_err();
    assert_eq!(refused.denial, Denial::NoIdentity);
}

#[test]
fn refusals_are_not_remembered_and_memory_is_bounded() {
    let world = World {
        cache: TokenCache::new(&Secret::new([1; 32]), HashKey::new([9; 16]), 64),
        ..world()
    };
    let forged = Signer::new(Algorithm::Es256, "k1").sign(&claims("printer"));
    for token in [b"nonsense".as_slice(), &forged] {
        assert!(world.token(token).is_err());
    }
    assert!(world.cache.is_empty());
    let sign = |n: u64| world.signer.sign(&claims_with("printer", json!({ "jti": n.to_string() })));
    for n in 0..200 {
        assert!(world.token(&sign(n)).is_ok());
        assert!(world.cache.len() <= 64);
    }
    for n in 0..200 {
        assert!(world.token(&sign(n)).is_ok(), "what was given up is verified again");
    }
    assert!(world.cache.len() > 32);
}

#[test]
fn nothing_is_remembered_for_more_than_an_hour() {
    let world = world();
    let far = claims_with("printer", json!({ "exp": NOW + 86_400 }));
    let token = world.signer.sign(&far);
    assert!(world.token(&token).is_ok());
    let recalled = |seconds| {
        let tag = world.cache.tag(&token);
        world.cache.recall(&tag, &world.trust, &world.keys, at(NOW + seconds)).is_some()
    };
    assert!(recalled(3_599));
    assert!(!recalled(3_600));
    assert!(world.prove_at(None, Some(&token), at(NOW + 3_600)).is_ok());
}

/// A reload asks for no signature again where nothing changed; whatever did is asked for.
#[test]
fn acc_1_what_was_verified_goes_on_under_the_next_registry() {
    let registry = |generation, names: &[&str]| {
        let all = names.iter().map(|name| with_token(name, Binding::Bearer)).collect();
        let mut next = spec(all);
        next.generation = generation;
        next
    };
    let world = World::new(registry(1, &["printer", "clerk"]));
    let tokens = ["printer", "clerk"].map(|subject| world.signer.sign(&claims(subject)));
    for token in &tokens {
        assert!(world.token(token).is_ok());
    }
    let recalled = |token: &[u8], trust: &Trust, keys: &KeySets| {
        let found = world.cache.recall(&world.cache.tag(token), trust, keys, at(NOW))?;
        trust.identity(found.identity?).map(|name| name.as_str().to_owned())
    };
    // Somebody else comes in before them, and one leaves.
    let second = Trust::build(registry(2, &["archive", "printer"])).unwrap();
    let [printer, clerk] = &tokens;
    assert_eq!(recalled(printer, &second, &world.keys), None, "not without being told");
    world.cache.adopt(&world.trust, &second);
    assert_eq!(recalled(printer, &second, &world.keys).as_deref(), Some("printer"));
    assert_eq!(recalled(clerk, &second, &world.keys), None, "the leaver is nobody");
    // From there to the next one, and back.
    let third = Trust::build(registry(3, &["printer"])).unwrap();
    world.cache.adopt(&second, &third);
    assert_eq!(recalled(printer, &third, &world.keys).as_deref(), Some("printer"));
    world.cache.adopt(&third, &second);
    assert_eq!(recalled(printer, &second, &world.keys).as_deref(), Some("printer"));
    // Another audience, other keys: verified again.
    let mut moved = registry(4, &["printer"]);
    moved.issuers[0].audiences = vec!["elsewhere".to_owned()];
    let moved = Trust::build(moved).unwrap();
    world.cache.adopt(&second, &moved);
    assert_eq!(recalled(printer, &moved, &world.keys), None);
    // Other logins count as strong ones: what was noted of them counts no more.
    let mut strict = registry(6, &["printer"]);
    strict.strong.methods = vec!["hwk".to_owned()];
    let strict = Trust::build(strict).unwrap();
    world.cache.adopt(&second, &strict);
    assert_eq!(recalled(printer, &strict, &world.keys), None);
    let same = Trust::build(registry(5, &["printer"])).unwrap();
    world.cache.adopt(&second, &same);
    let other = key_sets(&[Signer::new(Algorithm::Es256, "k1").jwk()]);
    assert_eq!(recalled(printer, &same, &other), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn remembered_and_fresh_answers_are_equal(
        exp in 0_u64..200, nbf in 0_u64..200, times in proptest::collection::vec(0_u64..400, 1..8),
    ) {
        let world = world();
        let dates = json!({ "exp": NOW + exp, "nbf": NOW + nbf, "iat": NOW });
        let token = world.signer.sign(&claims_with("printer", dates));
        for seconds in times {
            let now = at(NOW + seconds);
            let fresh = prove(
                None, Presented::Bearer(&token), &world.trust, &world.keys, &cache(), now,
            );
            prop_assert_eq!(world.prove_at(None, Some(&token), now), fresh);
        }
    }
}
