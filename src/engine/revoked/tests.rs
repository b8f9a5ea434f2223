//! What is decided by serial numbers alone is what a handshake decides.
use std::path::PathBuf;

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;

use super::*;
use crate::base::Clock;
use crate::config::{ClientAuth, OnDisk, TlsSettings, TlsVersion};
use crate::devcerts::{DevCa, Leaf, LeafPlan};
use crate::engine::tls::{Judge, still_verifies};

const DAY: u64 = 86_400;

fn now() -> Moment {
    Clock::system().now()
}

fn later(days: u64) -> Moment {
    Moment::new(now().unix_ms() + days * DAY * 1_000, 0)
}

fn authority() -> DevCa {
    DevCa::new("authority", now()).unwrap()
}

fn issue(authority: &DevCa) -> Leaf {
    authority.issue(&LeafPlan::client("somebody", now())).unwrap()
}

fn list(authority: &DevCa, revoked: &[&Leaf]) -> RevocationList {
    let (from, ends) = (now().unix_secs() - 60, now().unix_secs() + DAY);
    let pem = authority.revocation_list(revoked, (from, ends)).unwrap();
    RevocationList {
        file: PathBuf::from("revoked.crl"),
        on_disk: OnDisk::Same,
        der: CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).unwrap(),
        this_update_unix_secs: from,
        next_update_unix_secs: ends,
    }
}

fn judge(authorities: &[&DevCa], lists: Vec<RevocationList>) -> Judge {
    let settings = TlsSettings {
        certificates: Vec::new(),
        withheld: Vec::new(),
        expired: Vec::new(),
        client_ca: Some(authorities.iter().map(|ca| ca.certificate()).collect()),
        client_crl: lists,
        client_auth: ClientAuth::Optional,
        min_version: TlsVersion::V1_3,
        alpn: Vec::new(),
    };
    Judge::build(&settings, 1, None).unwrap().unwrap()
}

/// What comes of it, which a handshake finds as well; and how it was found.
#[track_caller]
fn admits(judge: &Judge, chain: &[CertificateDer<'static>], now: Moment) -> (bool, Verdict) {
    let admitted = judge.admits(chain, now);
    assert_eq!(admitted, still_verifies(Some(&judge.verifier), chain, now));
    (admitted, judge.revoked.judge(chain, now))
}

#[test]
fn acc_3_a_long_list_is_looked_up_as_a_handshake_does() {
    let authority = authority();
    let leaves: Vec<Leaf> = (0..3_000).map(|_| issue(&authority)).collect();
    let (revoked, others) = leaves.split_at(2_900);
    let judge = judge(&[&authority], vec![list(&authority, &revoked.iter().collect::<Vec<_>>())]);
    for leaf in revoked.iter().step_by(29) {
        assert_eq!(admits(&judge, &leaf.chain(), now()), (false, Verdict::Goes));
    }
    for leaf in others {
        assert_eq!(admits(&judge, &leaf.chain(), now()), (true, Verdict::Stays));
    }
    let list = &judge.revoked.lists[0];
    assert_eq!(list.serials.len(), 2_900);
    assert!(list.serials.capacity() * 21 < judge.lists()[0].der.len());
    // Out of date it speaks for nobody.
    assert_eq!(admits(&judge, &others[0].chain(), later(2)), (false, Verdict::Goes));
}

#[test]
fn acc_3_what_else_a_handshake_refuses_is_refused() {
    let (forger, stranger) = (authority(), DevCa::new("stranger", now()).unwrap());
    let authority = authority();
    let (leaf, odd) = (issue(&authority), issue(&stranger));
    let judge = judge(&[&authority], vec![list(&authority, &[])]);
    assert_eq!(admits(&judge, &odd.chain(), now()), (false, Verdict::Unclear));
    assert_eq!(admits(&judge, &leaf.chain(), later(40)), (false, Verdict::Unclear), "expired");
    assert_eq!(admits(&judge, &[], now()), (false, Verdict::Unclear));
    // Of the same name, with another key.
    let odd_key = issue(&forger);
    assert_eq!(admits(&judge, &odd_key.chain(), now()), (false, Verdict::Unclear));
    // With more in the chain than it takes.
    let long: Vec<_> = leaf.chain().into_iter().chain([authority.certificate()]).collect();
    assert_eq!(admits(&judge, &long, now()), (true, Verdict::Stays));
}

#[test]
fn acc_3_what_is_not_clear_is_left_to_the_handshakes_verifier() {
    // Two authorities of one name: an old key and a new one.
    let (old, new) = (authority(), authority());
    let (of_old, of_new, revoked) = (issue(&old), issue(&new), issue(&new));
    let both = judge(&[&old, &new], vec![list(&old, &[]), list(&new, &[&revoked])]);
    for leaf in [&of_old, &of_new, &revoked] {
        assert_eq!(admits(&both, &leaf.chain(), now()).1, Verdict::Unclear);
    }
    // No lists at all.
    let free = judge(&[&old], Vec::new());
    assert_eq!(admits(&free, &of_old.chain(), now()), (true, Verdict::Unclear));
}
