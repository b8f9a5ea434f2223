//! The API of those who operate the gateway: what it knows, locks, kill switches, releases.
//! Controls: PRIV-3, ACC-1, ACC-2, ACC-5, NET-1, TLS-1, LOG-1, LOG-2.
//!
//! Never sees: requests of the data path, their bodies, keys, the log.
//! 1. A peer whose address is not listed is closed unread; TLS 1.3 with a client certificate is all
//!    that is spoken; a certificate that names no operator can do nothing.
//! 2. [`ROUTES`] is the one table: method, path, what it does, and by that who may. A route without a
//!    role can't be written down.
//! 3. Every act, done or refused, is an event in the log with its operator, and is counted.
//! 4. What is typed in is compared or hashed and goes no further; answers hold words of the program and
//!    of the configuration, numbers, times and keyed hashes.
//! 5. Bodies, connections, requests a second and pending acts are bounded.
//!
//! On failure: a problem document (RFC 9457); nothing was changed unless it says so. A restart forgets
//! pending acts, which then are asked for anew.
mod acts;
mod alarmed;
mod change;
mod door;
mod limits;
mod openapi;
mod pace;
mod pending;
mod problem;
mod read;
mod reload;
mod routes;
mod service;
mod shape;
mod typed;

pub use alarmed::AlarmOut;
pub use change::{ChangeLine, ChangeOut, DryRunOut, JudgedOut, MistakeOut, ReloadedOut, TrialOut};
pub use door::Api;
pub use limits::{LimitsOut, PacingOut, WindowOut};
pub use openapi::document;
pub use problem::{Fault, Problem};
pub use routes::{Does, ROUTES, Route, Verb};
pub use shape::{
    ActOut, DetectorOut, ExposureOut, GatewayOut, IdentityOut, KeyOut, LockOut, MeOut, Paged,
    PendingOut, TargetOut, TargetStatusOut, TrafficOut, TrafficRow, Word,
};
