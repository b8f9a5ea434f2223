//! MON-3: an answer reveals the same however it is cut, and a stored series is taken whole or not at
//! all.
#![no_main]

use sekisho::base::HashKey;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use sekisho::base::Name;
use sekisho::exposure::{
    Fault, FieldTree, Halt, KEY_MAX, Ledger, Scanner, Tally, contract,
};

/// A list, one record, a free-form answer, a contract that contains itself.
static TREES: LazyLock<Vec<Arc<FieldTree>>> = LazyLock::new(|| {
    [
        "orders/v0/getOrders",
        "fulfillmentOutbound/2026-07-04/getOrder",
        "fulfillmentOutbound/2026-07-04/listOrders",
        "finances/2024-06-19/listTransactions",
    ]
    .map(|operation| contract(operation).expect("it is in the catalogue"))
    .to_vec()
});

fn judge(tree: &Arc<FieldTree>, bytes: &[u8], size: usize) -> (Tally, Option<Fault>, Option<Halt>) {
    let mut scanner = Scanner::new(Arc::clone(tree), HashKey::new([7; 16]));
    let mut halt = None;
    for piece in bytes.chunks(size) {
        halt = halt.or(scanner.feed(piece).err());
    }
    let (tally, fault) = scanner.finish();
    (tally.clone(), fault, halt)
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (which, size, bytes) = input;
    let tree = &TREES[usize::from(which) % TREES.len()];
    let whole = judge(tree, bytes, bytes.len().max(1));
    assert_eq!(judge(tree, bytes, usize::from(size) + 1), whole);
    assert_eq!(judge(tree, bytes, 1), whole);
    let (tally, fault, halt) = whole;
    assert_eq!(tally.bytes, bytes.len() as u64);
    assert!(tally.customers <= tally.records);
    assert!(tally.distinct.estimate() <= tally.records);
    if let Some(halt) = halt {
        assert!(halt.at < bytes.len() as u64 && fault == Some(halt.fault));
    }
    if fault == Some(Fault::KeyTooLong) {
        assert!(bytes.len() > KEY_MAX);
    }

    let name = Name::parse("service").expect("it is a name");
    let mut ledger = Ledger::new(1 << 20);
    if ledger.decode(&name, &name, bytes).is_ok() {
        assert_eq!(ledger.encode(&name, &name).as_deref(), Some(bytes));
    }
});
