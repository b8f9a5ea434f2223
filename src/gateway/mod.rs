//! The request path on Pingora's engine. Controls: ACC-1, PRIV-1, NET-1, TLS-2, LOG-1, LOG-2, MON-5.
//!
//! Never sees: TCP, certificates' bytes, configuration text.
//! 1. The order of the checks is `request::admit`, read top-down; nothing configures it.
//! 2. Nothing goes upstream without a `Clearance`, which only `engine.settle` makes.
//! 3. Every request leaves exactly one access record, also when its task is dropped (`finish`).
//! 4. Nothing of the request is echoed or logged (`answer`, `evidence`).
//!
//! On failure: refused, answered from the one table in `answer`, counted, recorded.
mod asked;
mod body;
mod charge;
mod ctx;
mod facts;
mod finish;
mod form;
mod forward;
mod frames;
mod front;
mod granted;
mod guard;
mod hooks;
mod hygiene;
mod pace;
mod reader;
mod relay;
mod request;
mod respond;
mod search;
mod socket;

pub use front::Gateway;
