//! Generated templates, paths and grants, against naive references.
use proptest::prelude::*;

use super::*;

/// What a reader of the templates would say a path means.
fn naive(operations: &Operations, method: Method, path: &str) -> Option<OperationIx> {
    let method = if method == Method::Head { Method::Get } else { method };
    let fits = |operation: &Operation| {
        let pattern: Vec<_> = operation.template.as_str().split('/').collect();
        let segments: Vec<_> = path.split('/').collect();
        operation.method == method
            && pattern.len() == segments.len()
            && pattern.iter().zip(&segments).zip(1_usize..).all(|((pattern, segment), place)| {
                if !pattern.starts_with('{') {
                    return pattern == segment;
                }
                // The text before the first slash is no segment.
                let Some(Segment::Parameter(spelling)) =
                    operation.template.segments().get(place - 2)
                else {
                    return false;
                };
                path::check_segment(segment.as_bytes(), *spelling).is_ok()
            })
    };
    let mut found = operations.iter().filter(|(_, operation)| fits(operation));
    let first = found.next().map(|(ix, _)| ix);
    assert!(found.next().is_none(), "two operations for {path}");
    first
}

const METHODS: [Method; 6] =
    [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete];

fn any_method() -> impl Strategy<Value = Method> {
    proptest::sample::select(&METHODS[..])
}

/// Segments that collide often, so that fixed and parameter branches are both entered.
fn any_template() -> impl Strategy<Value = String> {
    let segment = prop_oneof![3 => "[ab]", 1 => Just("{p}".to_owned())];
    proptest::collection::vec(segment, 0..5).prop_map(|segments| {
        let unique = segments.iter().enumerate().map(|(at, s)| s.replace('p', &format!("p{at}")));
        format!("/{}", unique.collect::<Vec<_>>().join("/"))
    })
}

fn any_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        6 => "[ab]".prop_map(String::from),
        1 => proptest::sample::select(
            &["c", "", "..", "%2e", "%2E%2E", "a%2Fb", "a%20b", "%61", "..%2f", "%252e", "a;b"][..]
        ).prop_map(String::from),
    ];
    proptest::collection::vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn priv_1_matching_agrees_with_reading_the_templates(
        templates in
            proptest::collection::vec((any_method(), any_template(), any::<bool>()), 1..12),
        requests in proptest::collection::vec((any_method(), any_path()), 40),
    ) {
        let mut list: Vec<Operation> = Vec::new();
        for (at, (method, text, free)) in templates.iter().enumerate() {
            let names: Vec<_> = (0..5).map(|at| format!("p{at}")).collect();
            let encoded: Vec<_> = names
                .iter()
                .filter(|name| *free && text.contains(name.as_str()))
                .map(String::as_str)
                .collect();
            let next = operation(&format!("o/{at}"), *method, text, &encoded);
            let clash =
                |o: &Operation| o.method == next.method && o.template.overlaps(&next.template);
            if *method != Method::Head && !list.iter().any(clash) {
                list.push(next);
            }
        }
        let operations = Operations::new(list).unwrap();
        let table = table(&operations);
        for (method, path) in &requests {
            let found = table.match_request(*method, path.as_bytes());
            let expected = naive(&operations, *method, path);
            prop_assert_eq!(found.ok().map(|route| route.operation), expected, "{}", path);
            if found == Err(Denial::OperationUnknown) {
                prop_assert!(check_path(path.as_bytes()).is_ok());
            }
        }
    }

    #[test]
    fn mon_5_a_spoiled_catalogue_path_is_refused(
        pick in any::<proptest::sample::Index>(),
        place in any::<proptest::sample::Index>(),
        spoiler in proptest::sample::select(&[
            "/../", "/./", "//", "/%2e%2e/", "/.%2E/", "/..%2f", "/..%5c", "%00", "/%252e%252e/",
            "\\", ";x", "/..;/", "%c0%ae", "%", "\u{7f}", " ", "/%2e%2e%2f", "#",
        ][..]),
    ) {
        let (operations, table) = &*SERVED;
        let at = pick.index(operations.len());
        let (_, operation) = operations.iter().nth(at).unwrap();
        let mut path = path_of(&operation.template, |_| "A1".into());
        let at = place.index(path.len()) + 1;
        path.insert_str(at, spoiler);
        for method in METHODS {
            let found = table.match_request(method, path.as_bytes());
            prop_assert!(found.is_err(), "{} {:?}", path, found);
        }
    }

    #[test]
    fn priv_1_no_identity_gets_what_no_role_of_its_names(
        grants in proptest::collection::vec(proptest::collection::vec(0_usize..374, 1..6), 1..6),
        held in proptest::collection::vec(0_usize..6, 0..4),
        asked in 0_usize..374,
    ) {
        let (operations, table) = &*SERVED;
        let names: Vec<_> = operations.iter().map(|(_, o)| o.name.to_string()).collect();
        let roles: Vec<_> = grants
            .iter()
            .enumerate()
            .map(|(at, allow)| RoleSpec {
                name: name(&format!("role-{at}")),
                allow: allow.iter().map(|at| names[*at].clone()).collect(),
                query: vec![],
            })
            .collect();
        let held: Vec<_> = held.into_iter().filter(|role| *role < roles.len()).collect();
        let texts: Vec<_> = held.iter().map(|role| format!("role-{role}")).collect();
        let who = IdentitySpec { networks: vpc(), roles: texts };
        let policy = Policy::build(operations.clone(), &roles, &[who]).unwrap();
        let wanted = policy.operation(OperationIx(u16::try_from(asked).unwrap())).unwrap();
        let path = path_of(&wanted.template, |_| "x".into());
        let facts = Facts { method: wanted.method, ..get(&path) };
        let decision = decide(&facts, IdentityIx(0), vpc(), table, &policy);
        let expected = held.iter().any(|role| grants[*role].contains(&asked));
        prop_assert_eq!(decision.is_ok(), expected);
    }
}
