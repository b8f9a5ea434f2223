//! `sekisho permit`: hosts' keys and requests, the platform team's key, permits, sealed keys (TLS-3).
pub(super) mod args;
pub(super) mod clock;
pub(super) mod files;
mod keys;
mod paper;
mod verdict;

use std::process::ExitCode;

use super::say::Failure;
use args::{Act, PermitArgs};

pub(super) fn main(words: &PermitArgs) -> Result<ExitCode, Failure> {
    match &words.act {
        Act::Host(words) => keys::host(words),
        Act::Keygen(words) => keys::keygen(words),
        Act::Seal(words) => keys::seal(words),
        Act::Issue(words) => paper::issue(words),
        Act::Show(words) => paper::show(words),
        Act::Verify(words) => verdict::verify(words),
    }
}
