//! The line that every connection leaves behind whose TLS ended elsewhere.
use crate::__record as record;
use crate::base::{Moment, Name, Pseudonym};

use super::record::{Fixed, Nanos};
use super::words::Outcome;

record! {
    /// One connection that was passed on, however it ended (LOG-1, TLS-3). What passed is known by its
    /// length alone; the route's name stands for the server's.
    #[derive(Clone, Debug)]
    pub struct PassRecord<'a> in "sekisho.pass" {
        /// When its first message was whole.
        pub at: Moment = "@timestamp",
        pub outcome: Outcome = "event.outcome",
        /// How it ended, in a word of the program.
        pub ended: Fixed = "sekisho.ended",
        pub listener: &'a Name = "sekisho.listener",
        pub route: &'a Name = "sekisho.route",
        /// None if no target could be had.
        pub target: Option<&'a Name> = "sekisho.target",
        /// A named network that holds the client's address.
        pub network: Option<&'a Name> = "sekisho.network",
        /// Stands for the client's address.
        pub source: Pseudonym = "sekisho.source",
        /// The UTC day of the key under which `source` was made (days since 1970-01-01).
        pub source_day: u32 = "sekisho.source_day",
        /// Bytes that passed from the client to the target.
        pub up: u64 = "source.bytes",
        /// Bytes that passed from the target to the client.
        pub down: u64 = "destination.bytes",
        /// From its first message to its end, in nanoseconds.
        pub duration: Nanos = "event.duration",
        /// Targets that were tried.
        pub attempts: u8 = "sekisho.attempts",
        /// Generation of the configuration under which it was passed on.
        pub generation: u64 = "sekisho.snapshot",
    }
}
