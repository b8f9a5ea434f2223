//! The front door: who may connect at all, over what TLS, and which bytes the HTTP engine sees.
//! Controls: NET-1, NET-2, NET-3, TLS-1, TLS-3, MON-5.
//!
//! Never sees: operations, roles, quotas, upstreams.
//! 1. A connection is judged by address before a byte of it is read, and again by the real client's
//!    address behind a balancer (`accept`).
//! 2. There is no path from a socket to the request path but through TLS (`accept`, `conn`). A
//!    connection whose TLS ends elsewhere goes there unread but for its first message (`hello`,
//!    `pass`).
//! 3. Everything before the first request has one deadline; everything after has its own (`guard`).
//! 4. Bytes are judged as they come, split anywhere, in fixed memory (`head`, `chunked`, `frames`),
//!    and what the engine refuses by itself is found in what it writes (`replies`) and explained where
//!    the client left room for it (`margin`).
//!
//! On failure the connection is closed, counted and recorded; the caller is told where it can be.
mod accept;
mod buffered;
mod conn;
mod guard;
mod lent;
mod margin;
mod pass;
mod prefixed;
mod replies;
mod taking;
mod waiting;
mod words;

pub mod chunked;
pub mod frames;
pub mod head;
pub mod hello;
pub mod proxy_header;

pub use accept::{Bound, bind};
