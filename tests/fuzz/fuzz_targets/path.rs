//! PRIV-1, MON-5: a path that matches an operation is in the one accepted spelling, and no method or
//! query makes the decision stumble.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sekisho::base::{Denial, UpstreamIx};
use sekisho::policy::{
    CatalogueOperation, Method, OperationTable, Operations, Route, catalogue, check_path,
    check_query,
};

static TABLE: LazyLock<OperationTable> = LazyLock::new(|| {
    let list = catalogue().iter().map(CatalogueOperation::operation).collect();
    let operations = Operations::new(list).expect("the catalogue is consistent");
    let served: Vec<_> = operations
        .iter()
        .map(|(operation, _)| Route { operation, upstream: UpstreamIx(0) })
        .collect();
    OperationTable::build(&operations, &served).expect("the catalogue is consistent")
});

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (method, path, query) = input;
    let methods =
        [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete];
    let method = methods[usize::from(method) % methods.len()];
    match TABLE.match_request(method, path) {
        Ok(_) => {
            assert!(path.starts_with(b"/"));
            assert!(
                !path
                    .iter()
                    .any(|b| b.is_ascii_control() || !b.is_ascii() || b"?#;\\ ".contains(b))
            );
            assert!(
                path[1..].split(|b| *b == b'/').all(|s| !s.is_empty() && s != b"." && s != b"..")
            );
        }
        Err(Denial::Path(fault)) => assert_eq!(check_path(path), Err(fault)),
        Err(denial) => assert_eq!(denial, Denial::OperationUnknown),
    }
    if check_query(query).is_ok() {
        assert!(!query.iter().any(|b| b.is_ascii_control() || *b == b'#' || *b == b' '));
    }
});
