use super::*;
use crate::base::{Moment, RequestIds, UpstreamFault};

#[test]
fn a_wait_is_told_in_seconds_and_for_people() {
    for (secs, expect) in [
        (None, "later"),
        (Some(0), "in 0 s"),
        (Some(59), "in 59 s"),
        (Some(60), "in 60 s (1 min)"),
        (Some(5_400), "in 5400 s (1 h 30 min)"),
        (Some(86_399), "in 86399 s (23 h 59 min)"),
        (Some(604_800), "in 604800 s (7 d)"),
    ] {
        let mut out = String::new();
        wait(&mut out, secs);
        assert_eq!(out, expect);
    }
}

#[test]
fn every_answer_is_json_and_names_its_control() {
    let request = RequestIds::new([1, 2]).issue(Moment::new(0, 0));
    let name = Name::parse("label-printer").unwrap();
    let operation = Name::parse("orders/getOrderBuyerInfo").unwrap();
    let subject = Subject {
        identity: Some(&name),
        operation: Some(&operation),
        limit: None,
        pace: None,
        wait_secs: Some(90),
    };
    for denial in codes::ALL_DENIALS {
        let text = body(*denial, subject, request);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let error = &json["errors"][0];
        assert!(error["code"].as_str().unwrap().starts_with("Sekisho."));
        assert!(!error["message"].as_str().unwrap().contains('{'), "{text}");
        assert!(!error["details"].as_str().unwrap().contains('{'), "{text}");
        let details = error["details"].as_str().unwrap();
        match denial.told().control() {
            Some(control) => assert!(details.starts_with(&format!("{control}; ")), "{details}"),
            None => assert!(!details.contains('-'), "no control: {details}"),
        }
        assert!(details.ends_with(request.as_str()));
    }
}

#[test]
fn acc_2_whoever_is_locked_out_reads_what_a_stranger_reads() {
    let request = RequestIds::new([1, 2]).issue(Moment::new(0, 0));
    let told = |denial| {
        let subject = Subject::default();
        (body(denial, subject, request), line(denial), challenge(denial, Login::default()))
    };
    for denial in codes::ALL_DENIALS {
        if matches!(denial, Denial::Locked(_) | Denial::Canary) {
            assert_eq!(told(*denial), told(Denial::NoIdentity), "{denial:?}");
        }
    }
}

#[test]
fn a_failure_names_no_control_but_the_one_that_stopped_it() {
    use crate::base::ControlId;
    for denial in codes::ALL_DENIALS {
        let expect = match denial {
            Denial::Upstream(UpstreamFault::Untrusted) => Some(ControlId::Tls2),
            Denial::LogUnavailable => Some(ControlId::Log1),
            Denial::Upstream(_) | Denial::Internal => None,
            refusal => Some(refusal.control().expect("a refusal enforces something")),
        };
        assert_eq!(denial.control(), expect, "{denial:?}");
    }
}

#[test]
fn acc_1_identities_that_may_not_enter_all_read_the_same() {
    // One variant stands for unknown, disabled, expired and foreign: there is nothing to tell apart.
    let text = body(
        Denial::NoIdentity,
        Subject::default(),
        RequestIds::new([1, 2]).issue(Moment::new(0, 0)),
    );
    for word in ["unknown", "disabled", "expired"] {
        assert!(!text.contains(word), "{text}");
    }
}
