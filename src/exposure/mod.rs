//! Counts what an answer reveals while it streams by: bytes, records of personal data, their classes,
//! how many are different; and keeps the sums. Control: MON-3; later PRIV-2 and MON-4.
//! Never sees: sockets, headers, identities' credentials, time but what is passed in. It keeps no byte
//! of an answer: counts, and sketches of keyed hashes.
//!
//! 1. Where an answer is cut into chunks changes nothing, not even the place of a fault.
//! 2. Memory is bounded: a scan has a fixed size whatever the answer, a ledger the size it was given.
//! 3. A field is found by what its key spells, escapes resolved; a key that two readers could read
//!    differently ends the scan. Of a repeated key every value is seen, so repeating hides nothing.
//! 4. What the contract does not know is counted as drift, never as harmless; under a field of a
//!    class everything is of that class. `null` and the empty string reveal nothing.
//!
//! ```text
//! answers.tsv ─► contract("orders/v0/getOrders") ─► FieldTree      path → class, subject, record unit
//! chunk ─► Scanner::feed ─► Scan (bytes → places of the tree) ─► Visitor (here: counts)
//!          Scanner::finish ─► Tally ─► Ledger::record(identity, operation, moment, tally)
//! ```
//!
//! A record is what a reader of the answer would count: one order with a name, an address and a phone
//! number is one record of three classes. `answers.tsv` says for each operation what that is and
//! which field names it; where nothing better is known, the whole answer is one record.
//!
//! On malformed or too deep input the scan stops with a [`Fault`]; what was seen before stays counted,
//! bytes are counted on, and the caller decides what becomes of the answer.
mod answers;
mod cell;
mod class;
mod draft;
mod key;
mod ledger;
mod pages;
mod scan;
mod series;
mod sketch;
mod tally;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod visit;
mod word;

pub use crate::base::{Class, ClassSet};
pub use answers::{ERRORS, contract, field_set, field_sets, operations};
pub use cell::Cell;
pub use class::{PerClass, RecordKind, Subject};
pub use ledger::{HOURS_DAYS, Hour, KEPT_DAYS, Ledger, LedgerFault, Range, Span};
pub use pages::{Page, PageId};
pub use scan::{DEPTH_MAX, KEY_MAX, Scan};
pub use sketch::Sketch;
pub use tally::{Scanner, Tally, records_at_most};
pub use tree::{Field, FieldTree, Mark, TreeError, Unit};
pub use visit::{Descend, Fault, Halt, Kind, Piece, Visitor};
