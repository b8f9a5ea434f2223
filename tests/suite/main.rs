//! All integration tests, in one binary: a real gateway in this process, a real mock upstream, real
//! TLS and sockets. One module per control family; a test's name begins with the id it proves.
#![allow(clippy::missing_panics_doc, reason = "tests panic to fail")]

mod support;

mod smoke;
