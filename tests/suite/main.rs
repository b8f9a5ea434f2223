//! All integration tests, in one binary: a real gateway in this process, a real mock upstream, real
//! TLS and sockets. One module per control family; a test's name begins with the id it proves.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::large_futures,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "tests and their support panic to fail, hold whole worlds, and compare metrics that are whole numbers"
)]

mod support;

mod accused;
mod admin;
mod alarms;
mod bounds;
mod canaries;
mod closed;
mod detectors;
mod examples;
mod exposure;
mod forward;
mod front_door;
mod front_door_tls;
mod held;
mod hidden;
mod http2;
mod hygiene;
mod identity;
mod life;
mod listeners;
mod lockout;
mod logs;
mod malformed;
mod paced;
mod pacing;
mod pass;
mod passing;
mod permit;
mod privilege;
mod process;
mod quota;
mod reload;
mod returning;
mod smoke;
mod sockets;
mod state;
mod step_up;
mod store;
mod streams;
mod swept;
mod tidy;
mod unsent;
mod upstream;
mod wire;
