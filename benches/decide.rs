//! The pure decision and its parts: 10,000 identities, 400 operations, 1,000 roles. Target: at most
//! 1 µs and no allocation (only the `build_*` rows may show allocations).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop")]
use divan::{AllocProfiler, Bencher, black_box};
use sekisho::base::{IdentityIx, Name, NetworkIx, UpstreamIx};
use sekisho::policy::{
    Body, CatalogueOperation, Facts, Holds, IdentitySpec, Method, NetworkMask, Operation,
    OperationTable, Operations, ParameterLimit, Policy, Presence, QueryNames, QueryRule, RoleSpec,
    Route, Template, Upgrade, Upgrades, catalogue, decide,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const IDENTITIES: u32 = 10_000;
const OPERATIONS: usize = 400;
const ROLES: usize = 1_000;

fn main() {
    divan::main();
}

fn operations() -> Operations {
    let mut list: Vec<_> = catalogue().iter().map(CatalogueOperation::operation).collect();
    for at in list.len()..OPERATIONS {
        list.push(Operation {
            name: Name::parse(&format!("store/get{at}")).unwrap(),
            alias: None,
            method: Method::Get,
            template: Template::parse(&format!("/store/{at}/{{id}}"), &[]).unwrap(),
            query: QueryNames::Listed(["page".into(), "size".into()].into()),
            upgrades: Upgrades::Refused,
            holds: Holds::Nothing,
        });
    }
    Operations::new(list).unwrap()
}

/// Every role names single operations and a pattern; every fifth binds the marketplace.
fn roles() -> Vec<RoleSpec> {
    let names: Vec<_> = operations().iter().map(|(_, o)| o.name.to_string()).collect();
    let role = |at: usize| {
        let mut allow: Vec<_> =
            (0..8).map(|n| names[(at * 37 + n * 53) % names.len()].clone()).collect();
        allow.push("orders/*:read".into());
        allow.push(format!("store/get{}", 371 + at % 29));
        let limit = ParameterLimit::Values {
            parameter: "MarketplaceIds".into(),
            values: vec!["A1VC38T7YXB528".into(), "ATVPDKIKX0DER".into()],
            presence: Presence::Required,
        };
        let rule = QueryRule { operations: vec!["orders/getOrders".into()], limit };
        RoleSpec {
            name: Name::parse(&format!("role-{at}")).unwrap(),
            allow,
            query: if at.is_multiple_of(5) { vec![rule] } else { vec![] },
        }
    };
    (0..ROLES).map(role).collect()
}

/// Three roles each, hardly two identities alike; the first of them binds the marketplace.
fn identities() -> Vec<IdentitySpec> {
    let identity = |at: usize| IdentitySpec {
        networks: here(),
        roles: [at * 5, at * 7 + 1, at / 3 + 11].map(|n| format!("role-{}", n % ROLES)).into(),
    };
    (0..IDENTITIES as usize).map(identity).collect()
}

fn here() -> NetworkMask {
    NetworkMask::default().with(NetworkIx(2))
}

fn table(operations: &Operations) -> OperationTable {
    let served: Vec<_> = operations
        .iter()
        .map(|(operation, _)| Route { operation, upstream: UpstreamIx(0) })
        .collect();
    OperationTable::build(operations, &served).unwrap()
}

fn get<'r>(path: &'r str, query: Option<&'r str>) -> Facts<'r> {
    Facts {
        method: Method::Get,
        path: path.as_bytes(),
        query: query.map(str::as_bytes),
        upgrade: Upgrade::None,
        body: Body::None,
    }
}

/// Asks for another identity every time, so that caches are as cold as in service.
fn run(bencher: Bencher<'_, '_>, facts: Facts<'_>, permitted: Option<bool>) {
    let policy = Policy::build(operations(), &roles(), &identities()).unwrap();
    let table = table(policy.operations());
    let mut who = 0_u32;
    if let Some(expected) = permitted {
        let decision = decide(&facts, IdentityIx(who), here(), &table, &policy);
        assert_eq!(decision.is_ok(), expected, "{decision:?}");
    }
    bencher.bench_local(|| {
        who = (who + 7_919) % IDENTITIES;
        decide(black_box(&facts), IdentityIx(who), here(), &table, &policy)
    });
}

#[divan::bench(sample_size = 1_000)]
fn permitted(bencher: Bencher<'_, '_>) {
    run(bencher, get("/orders/v0/orders/902-3159896-1390916/address", None), Some(true));
}

#[divan::bench(sample_size = 1_000)]
fn permitted_with_bound_query(bencher: Bencher<'_, '_>) {
    let query = "CreatedAfter=2026-01-01T00%3A00%3A00Z&OrderStatuses=Unshipped,PartiallyShipped\
                 &MarketplaceIds=A1VC38T7YXB528,ATVPDKIKX0DER";
    run(bencher, get("/orders/v0/orders", Some(query)), Some(true));
}

#[divan::bench(sample_size = 1_000)]
fn refused_value_in_query(bencher: Bencher<'_, '_>) {
    let query =
        "CreatedAfter=2026-01-01T00%3A00%3A00Z&MarketplaceIds=A1VC38T7YXB528,A1PA6795UKMFR9";
    run(bencher, get("/orders/v0/orders", Some(query)), None);
}

#[divan::bench(sample_size = 1_000)]
fn refused_not_granted(bencher: Bencher<'_, '_>) {
    run(bencher, get("/finances/v0/financialEventGroups/abc/financialEvents", None), None);
}

#[divan::bench(sample_size = 1_000)]
fn refused_unknown_path(bencher: Bencher<'_, '_>) {
    run(bencher, get("/orders/v0/orders/902-3159896-1390916/secrets", None), Some(false));
}

#[divan::bench(sample_size = 1_000)]
fn refused_traversal(bencher: Bencher<'_, '_>) {
    run(bencher, get("/orders/v0/orders/%2e%2e/%2e%2e/etc/passwd", None), Some(false));
}

#[divan::bench(sample_size = 1_000, args = [
    "/orders/v0/orders",
    "/orders/v0/orders/902-3159896-1390916/address",
    "/listings/2021-08-01/items/A1SELLER/A%2FB%20C",
    "/inbound/fba/2024-03-20/inboundPlans/wf1234/shipments/sh1234/contentUpdatePreviews/cu1234",
    "/store/399/abc",
])]
fn match_path(bencher: Bencher<'_, '_>, path: &str) {
    let operations = operations();
    let table = table(&operations);
    table.match_request(Method::Get, path.as_bytes()).unwrap();
    bencher.bench_local(|| table.match_request(Method::Get, black_box(path.as_bytes())));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn build_policy(bencher: Bencher<'_, '_>) {
    let (roles, identities) = (roles(), identities());
    bencher
        .with_inputs(operations)
        .bench_local_values(|operations| Policy::build(operations, &roles, &identities).unwrap());
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn build_table(bencher: Bencher<'_, '_>) {
    let operations = operations();
    bencher.bench_local(|| table(&operations));
}
