//! A stand-in for Amazon's Selling Partner API and for an internal store, over real TLS, and a small
//! HTTPS caller. `sekisho mock-sp-api`, `sekisho demo` and the tests stand on it. Controls: none.
//! Never sees: the gateway's configuration, state or keys; anybody's real data.
//!
//! 1. Every person is invented and every personal string of theirs is in [`PLANTED`].
//! 2. The same seed gives the same answers.
//! 3. Bounded: connections, bodies kept, requests remembered; everything stops when the
//!    [`MockHandle`] is dropped.
//!
//! On failure: a request that it can't serve gets an answer in Amazon's form; a start that fails says
//! why as a [`MockFault`].
mod amazon;
mod answer;
mod call;
mod client;
mod flow;
mod orders;
mod people;
mod raw;
mod scenario;
mod seen;
mod selling;
mod serve;
mod server;
mod store;
mod throttle;
mod tokens;
mod witness;
mod world;

pub use amazon::Operation;
pub use call::{BodyEnd, Call, CallFault, RawEnd, RawReply, Reply};
pub use client::{Caller, CallerConfig, Session, TlsVersions};
pub use flow::{Flow, FlowBroken, Length};
pub use people::PLANTED;
pub use scenario::{Scenario, ScenarioRule, UnknownScenario};
pub use seen::SeenRequest;
pub use server::{
    Alpn, ClientAuth, MockBounds, MockConfig, MockFault, MockHandle, MockSpApi, Personality,
};
pub use throttle::{Rate, Throttling};
pub use tokens::LwaClient;

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(u32::from(nibble), 16));
        }
        text
    })
}

#[cfg(test)]
mod tests;
