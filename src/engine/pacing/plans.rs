//! Which of Amazon's quotas a call takes from: made anew from each configuration, with numbers that
//! the next one makes the same.
use std::collections::HashMap;
use std::time::Duration;

use crate::base::{HashKey, IdentityIx, OperationIx, UpstreamIx};
use crate::config::{Region, Snapshot, Stage, UpstreamKind, UpstreamPacing, UpstreamSettings};
use crate::pacing::{Ask, BucketKey, Caller, Patience, Plan, Rate, Weight};
use crate::policy::{CatalogueOperation, Endpoint, catalogue};

/// Everything in the configuration that pacing goes by.
#[derive(Debug)]
pub(in crate::engine) struct Plans {
    /// By [`OperationIx`]; none for what is not Amazon's API.
    operations: Vec<Option<Published>>,
    /// By [`UpstreamIx`]; none for internal stores.
    upstreams: Vec<Option<Reach>>,
    /// By [`IdentityIx`].
    callers: Vec<(Caller, Weight)>,
}

#[derive(Clone, Copy, Debug)]
struct Published {
    operation: u64,
    plan: Plan,
    counted: Counted,
}

/// For whom Amazon counts an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    ForSeller,
    /// A grantless operation names no seller.
    ForApplication,
}

#[derive(Debug)]
struct Reach {
    seller: u64,
    /// Amazon counts each application apart, in each region and stage. The token that a caller brings
    /// says which it is, but in a form that only Amazon can read and that changes by the hour; keyed
    /// by it, one quota would be taken for many. So the configuration says it, and where it doesn't
    /// all upstreams are taken for one application: never more than Amazon allows.
    application: u64,
    /// The sandbox has one quota for everything.
    everything: Option<(u64, Plan)>,
    granted: HashMap<OperationIx, Plan>,
    wait: Patience,
    max_wait: Patience,
}

/// On which terms a call goes to Amazon.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    bucket: BucketKey,
    plan: Plan,
    caller: Caller,
    weight: Weight,
    lesson: Lesson,
    /// How long it waits if it says nothing of it.
    pub wait: Patience,
    /// How long it may wait.
    pub max_wait: Patience,
}

/// Whether what Amazon says of a rate is about the quota that the call was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lesson {
    Own,
    /// One operation's rate is not that of all together.
    Another,
}

impl Terms {
    /// What `x-amzn-RateLimit-Limit` teaches; nonsense teaches nothing.
    #[must_use]
    pub fn learn(&self, told: &[u8]) -> Option<Rate> {
        match self.lesson {
            Lesson::Own => Rate::parse(told).ok(),
            Lesson::Another => None,
        }
    }

    /// The quota that the call takes from.
    #[must_use]
    pub const fn bucket(&self) -> BucketKey {
        self.bucket
    }

    #[must_use]
    pub const fn ask(&self, patience: Patience) -> Ask {
        let Self { bucket, plan, caller, weight, .. } = *self;
        Ask { bucket, plan, caller, weight, patience }
    }
}

impl Plans {
    pub(in crate::engine) fn of(snapshot: &Snapshot, key: &HashKey) -> Self {
        let known: HashMap<&str, &CatalogueOperation> = catalogue()
            .iter()
            .filter(|operation| operation.endpoint() == Endpoint::Api)
            .map(|operation| (operation.name.as_str(), operation))
            .collect();
        let operations = snapshot.policy.operations().iter();
        let settings = snapshot.upstreams.iter().zip(&snapshot.pacing.upstreams);
        let names = (0..).map_while(|ix| snapshot.names.identity(IdentityIx(ix)));
        Self {
            operations: operations
                .map(|(_, one)| known.get(one.name.as_str()).map(|own| published(own, key)))
                .collect(),
            upstreams: settings
                .map(|(upstream, pacing)| Reach::of(upstream, pacing.as_ref()?, key))
                .collect(),
            callers: names
                .map(|name| Caller(number(key, &["caller", name.as_str()])))
                .zip(snapshot.pacing.weights.iter().copied())
                .collect(),
        }
    }

    pub(super) fn terms(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
    ) -> Option<Terms> {
        let (bucket, plan, reach) = self.quota(operation, upstream)?;
        let (caller, weight) = *self.callers.get(who.index())?;
        let shared = reach.everything.is_some_and(|(number, _)| number == bucket.operation);
        Some(Terms {
            bucket,
            plan,
            caller,
            weight,
            lesson: if shared { Lesson::Another } else { Lesson::Own },
            wait: reach.wait,
            max_wait: reach.max_wait,
        })
    }

    /// Every quota there may be, with an upstream and an operation that take from it.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (UpstreamIx, OperationIx, BucketKey)> {
        let upstreams = (0..).map(UpstreamIx).zip(&self.upstreams);
        let upstreams = upstreams.filter(|(_, reach)| reach.is_some()).map(|(ix, _)| ix);
        upstreams.flat_map(move |upstream| {
            let operations = (0..).map(OperationIx).zip(&self.operations);
            operations.filter_map(move |(operation, _)| {
                let (bucket, ..) = self.quota(operation, upstream)?;
                Some((upstream, operation, bucket))
            })
        })
    }

    fn quota(&self, ix: OperationIx, upstream: UpstreamIx) -> Option<(BucketKey, Plan, &Reach)> {
        let own = self.operations.get(ix.index())?.as_ref()?;
        let reach = self.upstreams.get(upstream.index())?.as_ref()?;
        let (operation, plan) = match (reach.granted.get(&ix), reach.everything) {
            (Some(granted), _) => (own.operation, *granted),
            (None, Some(everything)) => everything,
            (None, None) => (own.operation, own.plan),
        };
        let seller = match own.counted {
            Counted::ForSeller => reach.seller,
            Counted::ForApplication => 0,
        };
        Some((BucketKey { seller, application: reach.application, operation }, plan, reach))
    }
}

impl Reach {
    fn of(upstream: &UpstreamSettings, pacing: &UpstreamPacing, key: &HashKey) -> Option<Self> {
        let UpstreamKind::SpApi { region, stage } = upstream.kind else { return None };
        let place = [
            match region {
                Region::Na => "na",
                Region::Eu => "eu",
                Region::Fe => "fe",
            },
            match stage {
                Stage::Production => "production",
                Stage::Sandbox => "sandbox",
            },
        ];
        let application = pacing.application.as_ref().map_or("", |name| name.as_str());
        let [region, word] = place;
        Some(Self {
            seller: number(key, &["seller", upstream.seller.as_str()]),
            application: number(key, &["application", application, region, word]),
            everything: match stage {
                Stage::Production => None,
                Stage::Sandbox => Some((number(key, &["sandbox"]), sandbox())),
            },
            granted: pacing.plans.iter().copied().collect(),
            wait: patience(pacing.wait),
            max_wait: patience(pacing.max_wait),
        })
    }
}

fn patience(wait: Duration) -> Patience {
    Patience::new(wait)
}

fn published(own: &CatalogueOperation, key: &HashKey) -> Published {
    let plan = own.rate.and_then(|told| {
        Rate::per_second(told.per_second).and_then(|rate| Plan::new(rate, told.burst)).ok()
    });
    let grantless = own.standing.is_grantless();
    Published {
        operation: number(key, &["operation", own.long_name.as_str()]),
        plan: plan.unwrap_or(Plan::UNPUBLISHED),
        counted: if grantless { Counted::ForApplication } else { Counted::ForSeller },
    }
}

/// Amazon's sandbox: five calls a second, fifteen at once, for all operations together (SP-API
/// documentation, "The Selling Partner API sandbox").
fn sandbox() -> Plan {
    Rate::per_second(5.0).and_then(|rate| Plan::new(rate, 15)).unwrap_or(Plan::UNPUBLISHED)
}

/// A number for words that stays the same as long as they do.
fn number(key: &HashKey, words: &[&str]) -> u64 {
    let mut hasher = key.hasher();
    for word in words {
        hasher.write(word.as_bytes());
        hasher.write_byte(0);
    }
    hasher.finish()
}
