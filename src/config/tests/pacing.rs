//! How calls share Amazon's quotas, as it is written.
use std::time::Duration;

use super::rules::refused;
use super::support::{changed, world};
use crate::base::ControlId::Mon2;
use crate::config::UpstreamPacing;
use crate::pacing::{Plan, Rate, Weight};

const AMAZON: &str = "region = \"fe\"";

#[test]
fn mon_2_pacing_has_defaults_and_internal_stores_have_none() {
    let snapshot = world(&changed(AMAZON, AMAZON)).load().unwrap().snapshot;
    let [Some(amazon), None] = snapshot.pacing.upstreams.as_slice() else {
        panic!("{:?}", snapshot.pacing)
    };
    let (wait, max_wait) = (Duration::from_secs(5), Duration::from_secs(60));
    assert_eq!(*amazon, UpstreamPacing { wait, max_wait, application: None, plans: Vec::new() });
    assert_eq!(snapshot.pacing.weights, [Weight::ONE, Weight::ONE]);
}

#[test]
fn mon_2_plans_weights_and_waits_are_read() {
    let pacing = "region = \"fe\"\npacing = { wait = \"1 s\", max_wait = \"10 s\", application = \"erp\", \
                  plans = [{ operations = [\"orders/*\"], rate = \"1/min\", burst = 7 }, \
                  { operations = [\"orders/getOrders\"], rate = \"2/s\", burst = 9 }] }";
    let text = changed(AMAZON, pacing)
        .replace("purpose = \"print labels\"", "purpose = \"print labels\"\nweight = 5")
        .replace("kind = \"person\"", "kind = \"person\"\nweight = 2");
    let snapshot = world(&text).load().unwrap().snapshot;
    let amazon = snapshot.pacing.upstreams[0].clone().unwrap();
    assert_eq!((amazon.wait, amazon.max_wait), (Duration::from_secs(1), Duration::from_secs(10)));
    assert_eq!(amazon.application.unwrap().as_str(), "erp");
    let of = |name: &str| {
        let ix = snapshot.operation(name).unwrap();
        amazon.plans.iter().find(|(of, _)| *of == ix).map(|(_, plan)| *plan)
    };
    let plan = |rate: f64, burst| Plan::new(Rate::per_second(rate).unwrap(), burst).ok();
    assert_eq!(of("orders/getOrderAddress"), plan(1.0 / 60.0, 7));
    assert_eq!(of("orders/getOrders"), plan(2.0, 9), "the later one");
    assert_eq!(of("sellers/getMarketplaceParticipations"), None);
    // The role's weight, but for an identity that has one of its own.
    assert_eq!(snapshot.pacing.weights, [2, 5].map(|weight| Weight::new(weight).unwrap()));
}

#[test]
fn mon_2_what_can_not_be_meant_is_refused() {
    let with = |pacing: &str| format!("region = \"fe\"\npacing = {{ {pacing} }}");
    refused(
        AMAZON,
        &with("wait = \"2 min\""),
        "\"2 min\"",
        Mon2,
        "longer than `max_wait`",
        "shorter `wait`",
    );
    refused(
        AMAZON,
        &with("max_wait = \"0 s\""),
        "\"0 s\"",
        Mon2,
        "longer than `max_wait`",
        "longer `max_wait`",
    );
    refused(
        AMAZON,
        &with("plans = [{ operations = [\"orders/*\"], rate = \"20000/s\", burst = 1 }]"),
        "\"20000/s\"",
        Mon2,
        "no such plan",
        "at most 10000/s",
    );
    refused(
        "kind = \"https\"",
        "kind = \"https\"\npacing = {}",
        "{}",
        Mon2,
        "for kind = \"sp-api\" only",
        "remove `pacing`",
    );
}
