//! Where identities stand in their limits, and where Amazon's quotas stand, as answers (MON-2).
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Fault;
use super::read::{Query, count, paged};
use super::service::Call;
use super::shape::{Paged, Word};
use crate::engine::{LimitView, LimitsView};
use crate::policy::{Mode, Sharing};

/// Where one identity stands.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Limits")]
pub struct LimitsOut {
    pub identity: Word,
    pub windows: Vec<WindowOut>,
}

/// One window of one limit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Window")]
pub struct WindowOut {
    pub limit: Word,
    /// requests, bytes, pii-records, concurrent.
    pub unit: Word,
    pub most: u64,
    /// In seconds; 0 for concurrent.
    pub per_secs: u64,
    /// What is left: where gateways share, of all of them together.
    pub left: u64,
    /// If nothing is left: until something is, in seconds.
    pub wait_secs: u64,
    /// enforce or shadow.
    pub mode: Word,
    /// each or all: whether others spend from it too.
    pub sharing: Word,
    /// From where this gateway has what it may spend. own: it shares with nobody; asked: from the state
    /// that gateways share; part: that can't be had, and `part` of `most` is this gateway's meanwhile;
    /// none: that can't be had, and nothing is.
    pub source: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u64>,
    /// How many operations it covers.
    pub covers: u64,
    /// Whether these are all there are.
    pub covers_all: bool,
    /// Their names, where one identity was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Word>,
    /// The upstreams it is kept to; not there where it covers them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Word>,
}

/// One of Amazon's quotas, as this gateway paces its calls by it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Pacing")]
pub struct PacingOut {
    pub upstream: Word,
    /// The first of the operations that spend from it.
    pub operation: Word,
    /// The rate in force, in calls per second.
    pub per_sec: f64,
    /// Calls at once.
    pub burst: u64,
    /// Calls that could go now.
    pub spare: u64,
    /// Calls that wait for their turn.
    pub waiting: u64,
    /// Amazon refused calls, and is called more slowly than it published or said.
    pub throttled: bool,
}

/// Whether the names of operations are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    All,
    Counted,
}

impl Call {
    pub(super) async fn limits(&self, query: &Query<'_>) -> Result<Paged<LimitsOut>, Fault> {
        let engine = &self.state.engine;
        let all = engine.count_operations();
        if let Some(name) = query.text("identity") {
            let view = engine.view_limits_of(name).await.ok_or(Fault::TargetUnknown)?;
            return Ok(Paged::whole(vec![limits(&view, Names::All, all)]));
        }
        let (from, most) = query.page()?;
        let page = engine.view_limits(from, most).await;
        Ok(paged(&page, |view| limits(view, Names::Counted, all)))
    }

    pub(super) fn pacing(&self) -> Paged<PacingOut> {
        let all = self.state.engine.pacing_standings();
        let out = all.iter().map(|(upstream, operation, standing)| PacingOut {
            upstream: upstream.into(),
            operation: operation.into(),
            per_sec: f64::from(u32::try_from(standing.nano_hz / 1_000).unwrap_or(u32::MAX)) / 1e6,
            burst: standing.burst.into(),
            spare: standing.spare.into(),
            waiting: standing.waiting.into(),
            throttled: standing.throttled,
        });
        Paged::whole(out.collect())
    }
}

fn limits(view: &LimitsView, names: Names, all: usize) -> LimitsOut {
    LimitsOut {
        identity: (&view.identity).into(),
        windows: view.limits.iter().map(|limit| window(limit, names, all)).collect(),
    }
}

fn window(
    LimitView { window, operations, upstreams }: &LimitView,
    names: Names,
    all: usize,
) -> WindowOut {
    WindowOut {
        limit: (&window.limit).into(),
        unit: window.unit.into(),
        most: window.most,
        per_secs: window.per.as_secs(),
        left: window.left,
        wait_secs: window.wait.as_secs() + u64::from(window.wait.subsec_nanos() > 0),
        mode: match window.mode {
            Mode::Enforced => "enforce".into(),
            Mode::Shadow => "shadow".into(),
        },
        sharing: match window.sharing {
            Sharing::Each => "each".into(),
            Sharing::All => "all".into(),
        },
        source: window.source.as_str().into(),
        part: window.source.part(),
        covers: count(operations.len()),
        covers_all: operations.len() == all,
        operations: match names {
            Names::All => operations.iter().map(Word::from).collect(),
            Names::Counted => Vec::new(),
        },
        upstreams: upstreams.iter().map(Word::from).collect(),
    }
}
