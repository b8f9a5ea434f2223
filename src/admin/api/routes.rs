//! THE table: what there is, and who may. Authorisation and the `OpenAPI` document are made from it.
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::alarmed::AlarmOut;
use super::change::{DryRunOut, TrialOut};
use super::limits::{LimitsOut, PacingOut};
use super::shape::{
    ActOut, DetectorOut, ExposureOut, GatewayOut, IdentityOut, KeyOut, LockOut, MeOut, Paged,
    PendingOut, TargetStatusOut, TrafficOut,
};
use super::typed::{KillBody, LockBody, ReloadBody, UnlockBody};
use crate::config::{OperatorAct, OperatorRole};

/// A request method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
}

impl Verb {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Does {
    Gateway,
    Me,
    Locks,
    Pending,
    Limits,
    Pacing,
    Exposure,
    Identities,
    Keys,
    Detectors,
    Alarms,
    AlarmTargets,
    Traffic,
    Trial,
    OpenApi,
    DryRun,
    Reload,
    Lock,
    Kill,
    Unlock,
    Confirm,
    Withdraw,
}

impl Does {
    /// The acts that may come of it; none where it only looks.
    #[must_use]
    pub const fn acts(self) -> &'static [OperatorAct] {
        match self {
            Self::Gateway
            | Self::Me
            | Self::Locks
            | Self::Pending
            | Self::Limits
            | Self::Pacing
            | Self::Exposure
            | Self::Identities
            | Self::Keys
            | Self::Detectors
            | Self::Alarms
            | Self::AlarmTargets
            | Self::Traffic
            | Self::Trial
            | Self::OpenApi
            | Self::DryRun => &[],
            Self::Reload => &[OperatorAct::Reload, OperatorAct::ReloadWidening],
            Self::Lock => &[OperatorAct::Lock],
            Self::Kill => &[OperatorAct::Kill],
            Self::Unlock => &[OperatorAct::Unlock, OperatorAct::UnlockSecurityLock],
            Self::Confirm | Self::Withdraw => OperatorAct::ALL,
        }
    }

    /// The least role that gets in: the least of what may come of it. Each act then asks for its own.
    #[must_use]
    pub fn role(self) -> OperatorRole {
        let least = self.acts().iter().map(|act| act.role()).min();
        least.unwrap_or(match self {
            // It changes nothing, and has the gateway read its files and run the programs they name.
            Self::DryRun => OperatorRole::Operator,
            _ => OperatorRole::Viewer,
        })
    }

    /// Its name in the log, where what it would have come to is not known.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway
            | Self::Me
            | Self::Locks
            | Self::Pending
            | Self::Limits
            | Self::Pacing
            | Self::Exposure
            | Self::Identities
            | Self::Keys
            | Self::Detectors
            | Self::Alarms
            | Self::AlarmTargets
            | Self::Traffic
            | Self::Trial
            | Self::OpenApi => "look",
            Self::DryRun => "dry-run",
            Self::Reload => "reload",
            Self::Lock => "lock",
            Self::Kill => "kill",
            Self::Unlock => "unlock",
            Self::Confirm => "confirm",
            Self::Withdraw => "withdraw",
        }
    }
}

/// A query parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub name: &'static str,
    pub about: &'static str,
    /// The words it may have; none: see `about`.
    pub words: &'static [&'static str],
}

const FROM: Param = Param { name: "from", about: "Place of the first entry, from 0.", words: &[] };
const MOST: Param =
    Param { name: "most", about: "Entries at most: 1 to 500; 100 if left out.", words: &[] };
const IDENTITY: Param = Param { name: "identity", about: "One identity's name.", words: &[] };
const DAYS: Param =
    Param { name: "days", about: "The last so many days: 1 to 400; 35 if left out.", words: &[] };
const BY: Param = Param {
    name: "by",
    about: "What is sorted by; requests if left out.",
    words: &["requests", "refused", "bytes", "records"],
};

type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Route {
    pub verb: Verb,
    /// `{id}` stands for one segment.
    pub path: &'static str,
    pub does: Does,
    pub about: &'static str,
    pub query: &'static [Param],
    pub(super) body: Option<MakeSchema>,
    pub(super) answer: MakeSchema,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb.as_str(), self.path)
    }
}

const fn get<T: JsonSchema>(
    path: &'static str,
    does: Does,
    query: &'static [Param],
    about: &'static str,
) -> Route {
    let answer = SchemaGenerator::subschema_for::<T>;
    Route { verb: Verb::Get, path, does, about, query, body: None, answer }
}

const fn post<B: JsonSchema>(path: &'static str, does: Does, about: &'static str) -> Route {
    let body = Some(SchemaGenerator::subschema_for::<B> as MakeSchema);
    let answer = SchemaGenerator::subschema_for::<ActOut>;
    Route { verb: Verb::Post, path, does, about, query: &[], body, answer }
}

const fn bare(path: &'static str, does: Does, about: &'static str) -> Route {
    let answer = SchemaGenerator::subschema_for::<ActOut>;
    Route { verb: Verb::Post, path, does, about, query: &[], body: None, answer }
}

/// Everything there is.
pub const ROUTES: &[Route] = &[
    get::<GatewayOut>("/v1/gateway", Does::Gateway, &[], "The gateway as a whole."),
    get::<MeOut>("/v1/me", Does::Me, &[], "Who asks, and what that person may do."),
    get::<Paged<LockOut>>("/v1/locks", Does::Locks, &[FROM, MOST], "Locks that hold."),
    post::<LockBody>(
        "/v1/locks",
        Does::Lock,
        "Lock something, for a time or until it is released.",
    ),
    post::<KillBody>("/v1/kills", Does::Kill, "Throw a kill switch: until it is released."),
    post::<UnlockBody>(
        "/v1/unlocks",
        Does::Unlock,
        "End every lock on something; probation follows.",
    ),
    get::<Paged<PendingOut>>(
        "/v1/pending",
        Does::Pending,
        &[],
        "Acts that wait for a second person.",
    ),
    bare(
        "/v1/pending/{id}/confirm",
        Does::Confirm,
        "Confirm another person's act; it is done at once.",
    ),
    bare(
        "/v1/pending/{id}/withdraw",
        Does::Withdraw,
        "Withdraw one's own act; an officer may withdraw any.",
    ),
    get::<Paged<LimitsOut>>(
        "/v1/limits",
        Does::Limits,
        &[IDENTITY, FROM, MOST],
        "Where identities stand in their limits.",
    ),
    get::<Paged<PacingOut>>(
        "/v1/pacing",
        Does::Pacing,
        &[],
        "Where Amazon's quotas stand that are in use.",
    ),
    get::<Paged<ExposureOut>>(
        "/v1/exposure",
        Does::Exposure,
        &[IDENTITY, DAYS, FROM, MOST],
        "What was revealed to whom: records with personal data, by class.",
    ),
    get::<Paged<IdentityOut>>("/v1/identities", Does::Identities, &[FROM, MOST], "Identities."),
    get::<Paged<KeyOut>>(
        "/v1/keys",
        Does::Keys,
        &[],
        "Keys, certificates, lists and key sets: how old, and until when.",
    ),
    get::<TrialOut>(
        "/v1/reload",
        Does::Trial,
        &[],
        "How the configuration in force stands: on trial, or what was put back and why.",
    ),
    Route {
        verb: Verb::Post,
        path: "/v1/reload/dry-run",
        does: Does::DryRun,
        about: "Read the files again and say what they would change. Nothing is changed.",
        query: &[],
        body: None,
        answer: SchemaGenerator::subschema_for::<DryRunOut>,
    },
    post::<ReloadBody>(
        "/v1/reload",
        Does::Reload,
        "Read the files again and put them in force; a security officer's act where that widens.",
    ),
    get::<Paged<DetectorOut>>(
        "/v1/detectors",
        Does::Detectors,
        &[],
        "Detectors and their settings.",
    ),
    get::<Paged<AlarmOut>>("/v1/alarms", Does::Alarms, &[FROM, MOST], "Alarms, the latest first."),
    get::<Paged<TargetStatusOut>>(
        "/v1/alarms/targets",
        Does::AlarmTargets,
        &[],
        "Who is told of alarms, and whether that works.",
    ),
    get::<TrafficOut>(
        "/v1/traffic",
        Does::Traffic,
        &[BY, MOST],
        "Who did most in the last minute.",
    ),
    get::<serde_json::Value>("/v1/openapi.json", Does::OpenApi, &[], "This document."),
];

/// What a request asks for.
pub(super) enum Found<'p> {
    /// The route, and what stands for `{id}`; empty where nothing does.
    Route(&'static Route, &'p str),
    /// The methods that the path has.
    OtherMethod(&'static str),
    Nothing,
}

pub(super) fn find<'p>(method: &http::Method, path: &'p str) -> Found<'p> {
    let (mut get, mut post) = (false, false);
    for route in ROUTES {
        let Some(id) = matches(route.path, path) else { continue };
        if route.verb.as_str() == method.as_str() {
            return Found::Route(route, id);
        }
        match route.verb {
            Verb::Get => get = true,
            Verb::Post => post = true,
        }
    }
    match (get, post) {
        (true, true) => Found::OtherMethod("GET, POST"),
        (true, false) => Found::OtherMethod("GET"),
        (false, true) => Found::OtherMethod("POST"),
        (false, false) => Found::Nothing,
    }
}

/// What stands for `{id}`, if the path fits; empty where nothing does.
fn matches<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    let mut id = "";
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(id),
            (Some("{id}"), Some(segment)) if !segment.is_empty() => id = segment,
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priv_3_what_changes_something_needs_more_than_a_look() {
        for route in ROUTES {
            let does = !route.does.acts().is_empty() || route.does == Does::DryRun;
            assert_eq!(route.verb == Verb::Post, does, "{route:?}");
            let role = route.does.role();
            assert_eq!(route.verb == Verb::Post, role > OperatorRole::Viewer, "{route:?}");
        }
        assert_eq!(Does::Kill.role(), OperatorRole::SecurityOfficer);
        let rows: std::collections::BTreeSet<_> =
            ROUTES.iter().map(|route| (route.verb.as_str(), route.path)).collect();
        assert_eq!(rows.len(), ROUTES.len(), "a row is there twice");
    }

    #[test]
    fn paths_have_one_spelling() {
        use http::Method;
        let is = |method, path| match find(&method, path) {
            Found::Route(route, _) => Some(route.does),
            _ => None,
        };
        assert_eq!(is(Method::GET, "/v1/locks"), Some(Does::Locks));
        assert_eq!(is(Method::POST, "/v1/pending/00ff/confirm"), Some(Does::Confirm));
        for path in ["/v1/locks/", "//v1/locks", "/v1/Locks", "/v1", "/", "/v1/pending//confirm"] {
            assert_eq!(is(Method::GET, path).or(is(Method::POST, path)), None, "{path}");
        }
        assert!(matches!(find(&Method::DELETE, "/v1/kills"), Found::OtherMethod("POST")));
    }
}
