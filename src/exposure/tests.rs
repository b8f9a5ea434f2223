//! The room's tests: fixtures, attacks on the reader, a slow reference beside it, the data, the
//! sketch and the ledger.
mod attacks;
mod data;
mod fixtures;
mod ledger;
mod pages;
mod reference;
mod sketch;
mod splice;

use crate::base::HashKey;
use std::sync::Arc;

use super::*;

const KEY: [u8; 16] = *b"a key for tests.";

/// All that a scan says.
type Outcome = (Tally, Option<Fault>, Option<Halt>);

fn scan_pieces<'a>(tree: &Arc<FieldTree>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut scanner = Scanner::new(Arc::clone(tree), HashKey::new(KEY));
    let mut halt = None;
    for piece in pieces {
        halt = halt.or(scanner.feed(piece).err());
    }
    let (tally, fault) = scanner.finish();
    (tally.clone(), fault, halt)
}

fn scan(tree: &Arc<FieldTree>, text: &[u8]) -> Outcome {
    scan_pieces(tree, [text])
}

/// Scans a text whole, cut at each place, and byte by byte; all must say the same.
fn scan_every_way(tree: &Arc<FieldTree>, text: &[u8]) -> Outcome {
    let whole = scan(tree, text);
    for at in 0..=text.len() {
        let (a, b) = text.split_at(at);
        assert_eq!(scan_pieces(tree, [a, b]), whole, "cut at {at}: {}", text.escape_ascii());
        assert_eq!(scan_pieces(tree, [a, b"", b]), whole, "cut at {at}, with nothing between");
    }
    assert_eq!(scan_pieces(tree, text.chunks(1)), whole, "byte by byte: {}", text.escape_ascii());
    whole
}

fn contract_of(operation: &str) -> Arc<FieldTree> {
    contract(operation).unwrap_or_else(|| panic!("{operation} has no contract"))
}

fn classes(tally: &Tally) -> Vec<(Class, u64)> {
    tally.by_class.iter().collect()
}
