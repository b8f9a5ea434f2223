//! The decision as a whole, against what the catalogue says and against naive references.
mod generated;

use std::sync::LazyLock;

use super::*;
use crate::base::{Name, NetworkIx, PathFault};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn operation(text: &str, method: Method, path: &str, encoded: &[&str]) -> Operation {
    Operation {
        name: name(text),
        alias: None,
        method,
        template: Template::parse(path, encoded).unwrap(),
        query: QueryNames::Any,
        upgrades: Upgrades::Refused,
        holds: Holds::Nothing,
    }
}

/// The catalogue served by upstream 0, and a warehouse by upstream 1.
fn operations() -> Operations {
    let mut list: Vec<_> = catalogue().iter().map(CatalogueOperation::operation).collect();
    let mut stock = operation("warehouse/getStock", Method::Get, "/stock/{sku}", &["sku"]);
    stock.query = QueryNames::Listed(["page".into(), "size".into()].into());
    let mut feed = operation("warehouse/feed", Method::Get, "/feed", &[]);
    feed.upgrades = Upgrades::WebSocket;
    list.extend([stock, feed, operation("warehouse/root", Method::Delete, "/", &[])]);
    Operations::new(list).unwrap()
}

fn table(operations: &Operations) -> OperationTable {
    let upstream = |operation: &Operation| {
        UpstreamIx(u16::from(operation.name.as_str().starts_with("warehouse/")))
    };
    let served: Vec<_> = operations
        .iter()
        .map(|(ix, operation)| Route { operation: ix, upstream: upstream(operation) })
        .collect();
    OperationTable::build(operations, &served).unwrap()
}

static SERVED: LazyLock<(Operations, OperationTable)> = LazyLock::new(|| {
    let operations = operations();
    let table = table(&operations);
    (operations, table)
});

fn role(text: &str, allow: &[&str], query: Vec<QueryRule>) -> RoleSpec {
    RoleSpec { name: name(text), allow: allow.iter().map(ToString::to_string).collect(), query }
}

fn rule(operations: &[&str], limit: ParameterLimit) -> QueryRule {
    QueryRule { operations: operations.iter().map(ToString::to_string).collect(), limit }
}

fn values(parameter: &str, values: &[&str]) -> ParameterLimit {
    ParameterLimit::Values {
        parameter: parameter.into(),
        values: values.iter().map(ToString::to_string).collect(),
        presence: Presence::Required,
    }
}

fn identity(networks: NetworkMask, roles: &[&str]) -> IdentitySpec {
    IdentitySpec { networks, roles: roles.iter().map(ToString::to_string).collect() }
}

fn vpc() -> NetworkMask {
    NetworkMask::default().with(NetworkIx(3))
}

const SHIPPER: IdentityIx = IdentityIx(0);
const BOTH: IdentityIx = IdentityIx(1);
const NOWHERE: IdentityIx = IdentityIx(2);
const NOTHING: IdentityIx = IdentityIx(3);
const STRANGER: IdentityIx = IdentityIx(4);

fn policy() -> Policy {
    let deny = ParameterLimit::Deny(vec!["BuyerEmail".into()]);
    let roles = [
        role(
            "shipping",
            &["orders/getOrders", "orders/getOrderAddress", "warehouse/*:read"],
            vec![
                rule(&["orders/getOrders"], deny),
                rule(&["orders/*"], values("MarketplaceIds", &["A1VC38T7YXB528"])),
            ],
        ),
        role("japan", &["orders/getOrders"], vec![]),
    ];
    let identities = [
        identity(vpc(), &["shipping"]),
        identity(vpc(), &["japan", "shipping"]),
        identity(NetworkMask::default(), &["shipping"]),
        identity(vpc(), &[]),
    ];
    Policy::build(operations(), &roles, &identities).unwrap()
}

fn get(target: &str) -> Facts<'_> {
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    Facts {
        method: Method::Get,
        path: path.as_bytes(),
        query: query.map(str::as_bytes),
        upgrade: Upgrade::None,
        body: Body::None,
    }
}

fn outcome(facts: &Facts<'_>, who: IdentityIx, at: NetworkMask) -> Result<String, Denial> {
    let policy = policy();
    let decision = decide(facts, who, at, &table(policy.operations()), &policy);
    let permit = decision.map_err(|refused| refused.denial)?;
    Ok(policy.operation(permit.operation()).unwrap().name.to_string())
}

#[test]
fn priv_1_only_what_a_role_grants_is_permitted() {
    let orders = "/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528";
    let address = "/orders/v0/orders/902-3159896-1390916/address?MarketplaceIds=A1VC38T7YXB528";
    let cases: &[(IdentityIx, &str, Result<&str, Denial>)] = &[
        (SHIPPER, orders, Ok("orders/getOrders")),
        (SHIPPER, address, Ok("orders/getOrderAddress")),
        (SHIPPER, "/stock/A%2FB?page=1", Ok("warehouse/getStock")),
        (SHIPPER, "/orders/v0/orders/902/buyerInfo", Err(Denial::OperationNotGranted)),
        (SHIPPER, "/orders/v0/orders/902", Err(Denial::OperationNotGranted)),
        (SHIPPER, "/orders/v0/orders", Err(Denial::QueryNotGranted)),
        (SHIPPER, "/orders/v0/orders?MarketplaceIds=B", Err(Denial::QueryNotGranted)),
        (SHIPPER, "/stock/A?debug=1", Err(Denial::QueryNotGranted)),
        (SHIPPER, "/orders/v1/orders", Err(Denial::OperationUnknown)),
        (SHIPPER, "/", Err(Denial::OperationUnknown)),
        (SHIPPER, "/orders/v0/orders/", Err(Denial::Path(PathFault::EmptySegment))),
        (SHIPPER, "/orders/v0/orders?a=1&", Err(Denial::Path(PathFault::Query))),
        (BOTH, "/orders/v0/orders?BuyerEmail=x", Ok("orders/getOrders")),
        (NOTHING, orders, Err(Denial::OperationNotGranted)),
        (NOWHERE, orders, Err(Denial::NetworkNotListed)),
        (STRANGER, orders, Err(Denial::Internal)),
    ];
    for (who, target, expected) in cases {
        let found = outcome(&get(target), *who, vpc());
        assert_eq!(found, expected.map(str::to_owned), "{who:?} {target}");
    }
    let denied = format!("{orders}&BuyerEmail=x");
    assert_eq!(outcome(&get(&denied), SHIPPER, vpc()), Err(Denial::QueryNotGranted));
}

#[test]
fn net_1_an_identity_comes_from_its_own_networks_only() {
    let facts = get("/stock/A");
    let elsewhere = NetworkMask::default().with(NetworkIx(2));
    for (at, expected) in [
        (vpc(), Ok("warehouse/getStock".to_owned())),
        (vpc().with(NetworkIx(2)), Ok("warehouse/getStock".to_owned())),
        (elsewhere, Err(Denial::NetworkNotListed)),
        (NetworkMask::default(), Err(Denial::NetworkNotListed)),
    ] {
        assert_eq!(outcome(&facts, SHIPPER, at), expected);
    }
}

#[test]
fn priv_1_head_reaches_what_get_reaches_and_other_methods_do_not() {
    for (method, expected) in [
        (Method::Get, Ok("warehouse/getStock".to_owned())),
        (Method::Head, Ok("warehouse/getStock".to_owned())),
        (Method::Post, Err(Denial::OperationUnknown)),
        (Method::Delete, Err(Denial::OperationUnknown)),
    ] {
        assert_eq!(outcome(&Facts { method, ..get("/stock/A") }, SHIPPER, vpc()), expected);
    }
}

#[test]
fn priv_1_an_upgrade_needs_an_operation_that_has_one() {
    for (target, method, upgrade, expected) in [
        ("/feed", Method::Get, Upgrade::None, None),
        ("/feed", Method::Get, Upgrade::WebSocket, None),
        ("/feed", Method::Head, Upgrade::WebSocket, Some(Denial::UpgradeNotAllowed)),
        ("/feed", Method::Get, Upgrade::Other, Some(Denial::UpgradeNotAllowed)),
        ("/stock/A", Method::Get, Upgrade::WebSocket, Some(Denial::UpgradeNotAllowed)),
        ("/stock/A", Method::Get, Upgrade::Other, Some(Denial::UpgradeNotAllowed)),
    ] {
        let facts = Facts { method, upgrade, ..get(target) };
        assert_eq!(outcome(&facts, SHIPPER, vpc()).err(), expected, "{facts:?}");
    }
}

#[test]
fn mon_5_a_read_carries_no_body() {
    for (method, body, expected) in [
        (Method::Get, Body::Length(0), None),
        (Method::Get, Body::Length(1), Some(Denial::BodyNotAllowed)),
        (Method::Get, Body::Chunked, Some(Denial::BodyNotAllowed)),
        (Method::Head, Body::Chunked, Some(Denial::BodyNotAllowed)),
    ] {
        let facts = Facts { method, body, ..get("/stock/A") };
        assert_eq!(outcome(&facts, SHIPPER, vpc()).err(), expected, "{facts:?}");
    }
}

#[test]
fn a_permit_names_operation_upstream_and_role() {
    let policy = policy();
    let table = table(policy.operations());
    let permit = decide(&get("/stock/A"), BOTH, vpc(), &table, &policy).unwrap();
    assert_eq!((permit.upstream(), permit.role()), (UpstreamIx(1), RoleIx(0)));
    let refused = decide(&get("/orders/v0/orders/902"), BOTH, vpc(), &table, &policy).unwrap_err();
    assert_eq!(refused.operation, policy.operations().find("orders/v0/getOrder"));
}

#[test]
fn explain_tells_which_role_lacks_what() {
    let policy = policy();
    let table = table(policy.operations());
    let mut steps = Vec::new();
    let facts = get("/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528&BuyerEmail=x");
    let permit = decide_traced(&facts, BOTH, vpc(), &table, &policy, &mut steps).unwrap();
    let route = Route { operation: permit.operation(), upstream: UpstreamIx(0) };
    let (shipping, japan) = (RoleIx(0), RoleIx(1));
    assert_eq!(
        steps,
        [
            Step::OperationMatched(route),
            Step::QueryReadable,
            Step::NetworkListed,
            Step::RoleGrants(shipping),
            Step::QueryRefused(shipping, QueryRefusal::Denied("BuyerEmail")),
            Step::RoleGrants(japan),
            Step::QueryAdmitted(japan),
            Step::UpgradeAllowed,
            Step::BodyAllowed,
        ]
    );
    let mut steps = Vec::new();
    let facts = get("/orders/v0/orders/902/address");
    decide_traced(&facts, NOTHING, vpc(), &table, &policy, &mut steps).unwrap_err();
    assert_eq!(steps.last(), Some(&Step::Refused(Denial::OperationNotGranted)));
    let operation = policy.operations().find("orders/getOrderAddress").unwrap();
    assert_eq!(policy.roles_granting(operation), [shipping]);
    assert_eq!(policy.role_name(shipping).unwrap().as_str(), "shipping");
    assert_eq!(policy.roles_of(BOTH), [shipping, japan]);
}

#[test]
fn priv_1_all_mistakes_are_found_at_once_and_in_place() {
    let deny =
        |names: &[&str]| ParameterLimit::Deny(names.iter().map(ToString::to_string).collect());
    let roles = [
        role("empty", &[], vec![]),
        role("typo", &["orders/getOrder", "orders/*:readonly", "stock/*"], vec![]),
        role(
            "empty",
            &["warehouse/*"],
            vec![
                rule(&["orders/*"], deny(&["a"])),
                rule(&["warehouse/getStock"], deny(&["a", "b c"])),
                rule(&["warehouse/*"], values("page", &[])),
                rule(&["warehouse/getStock"], values("offset", &["1", "2,3", ""])),
                rule(&[], deny(&[])),
            ],
        ),
    ];
    let identities = [identity(vpc(), &["typo", "shipper"])];
    let errors = Policy::build(operations(), &roles, &identities).unwrap_err();
    let found: Vec<_> = errors.into_iter().map(|error| (error.place, error.fault)).collect();
    let candidates = vec![name("orders/v0/getOrder"), name("orders/2026-01-01/getOrder")];
    let (first, second, third) = (RoleIx(0), RoleIx(1), RoleIx(2));
    assert_eq!(
        found,
        [
            (Place::Role(first), PolicyFault::GrantsNothing),
            (Place::Allow(second, 0), PolicyFault::Pattern(PatternError::Ambiguous { candidates })),
            (Place::Allow(second, 1), PolicyFault::Pattern(PatternError::Suffix)),
            (Place::Allow(second, 2), PolicyFault::Pattern(PatternError::MatchesNothing)),
            (Place::Role(third), PolicyFault::NameTwice),
            (Place::QueryOperation(third, 0, 0), PolicyFault::LimitsNothing),
            (Place::QueryItem(third, 1, 1), PolicyFault::ParameterName),
            (Place::Query(third, 2), PolicyFault::EmptyRule),
            (Place::QueryItem(third, 3, 1), PolicyFault::Value),
            (Place::QueryItem(third, 3, 2), PolicyFault::Value),
            (Place::Query(third, 3), PolicyFault::ParameterNotListed(name("warehouse/getStock"))),
            (Place::Query(third, 4), PolicyFault::LimitsNothing),
            (Place::Query(third, 4), PolicyFault::EmptyRule),
            (Place::IdentityRole(IdentityIx(0), 1), PolicyFault::UnknownRole),
        ]
    );
}

#[test]
fn priv_1_a_path_can_mean_one_operation_only() {
    let list = vec![
        operation("a/one", Method::Get, "/a/{x}", &[]),
        operation("a/two", Method::Get, "/a/b", &[]),
        operation("a/three", Method::Post, "/a/b", &[]),
        operation("a/four", Method::Get, "/a/b/c", &[]),
    ];
    let operations = Operations::new(list).unwrap();
    let upstream = UpstreamIx(0);
    let serve = |ops: &[u16]| {
        let route = |ix: &u16| Route { operation: OperationIx(*ix), upstream };
        OperationTable::build(&operations, &ops.iter().map(route).collect::<Vec<_>>()).map(|_| ())
    };
    let conflict = |first, second| {
        Err(vec![TableError::Conflict { first: name(first), second: name(second) }])
    };
    assert_eq!(serve(&[0, 1, 2, 3]), conflict("a/one", "a/two"));
    assert_eq!(serve(&[0, 0]), conflict("a/one", "a/one"));
    assert_eq!(serve(&[0, 2, 3]), Ok(()));
    assert_eq!(serve(&[9]), Err(vec![TableError::NoOperation(OperationIx(9))]));
}

#[test]
fn a_known_identity_takes_less_than_a_kilobyte() {
    let role = |at: usize| {
        let limits = vec![rule(&["orders/*"], values("MarketplaceIds", &["A1VC38T7YXB528"]))];
        role(&format!("role-{at}"), &["orders/*", "warehouse/*:read"], limits)
    };
    let roles: Vec<_> = (0..1_000).map(role).collect();
    let names = |at: usize| [at, at / 3, at / 7 + 11].map(|at| format!("role-{}", at % 1_000));
    let identity = |at| IdentitySpec { networks: vpc(), roles: names(at).into() };
    let identities: Vec<_> = (0..10_000).map(identity).collect();
    let policy = Policy::build(operations(), &roles, &identities).unwrap();
    assert!(policy.bytes() < 1_024 * identities.len(), "{}", policy.bytes());
    let held = policy.roles_of(IdentityIx(9_999)).iter().map(|ix| policy.role_name(*ix).unwrap());
    assert_eq!(held.map(Name::as_str).collect::<Vec<_>>(), ["role-333", "role-439", "role-999"]);
}

/// Fills each parameter of a template.
fn path_of(template: &Template, mut fill: impl FnMut(Spelling) -> String) -> String {
    let mut text = String::new();
    for segment in template.segments() {
        text.push('/');
        match segment {
            Segment::Fixed(fixed) => text.push_str(fixed),
            Segment::Parameter(spelling) => text.push_str(&fill(*spelling)),
        }
    }
    if text.is_empty() { "/".into() } else { text }
}

#[test]
fn priv_1_every_catalogue_operation_is_found_by_its_own_path() {
    let operations = operations();
    let table = table(&operations);
    assert_eq!(table.len(), 374);
    for (ix, operation) in operations.iter() {
        let path = path_of(&operation.template, |_| "902-31~5_9.6".into());
        let route = table.match_request(operation.method, path.as_bytes()).unwrap();
        assert_eq!(route.operation, ix, "{path}");
        let encoded = path_of(&operation.template, |spelling| match spelling {
            Spelling::Encoded => "A%2fB%2520%2B".into(),
            Spelling::Strict => "x%20y".into(),
        });
        let route = table.match_request(operation.method, encoded.as_bytes()).unwrap();
        assert_eq!(route.operation, ix, "{encoded}");
    }
}
