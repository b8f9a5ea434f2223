//! `sekisho explain`. Lands with the next commit.
use super::{args::ExplainArgs, say::Failure};
pub(super) fn main(_: &ExplainArgs) -> Result<std::process::ExitCode, Failure> {
    Err(Failure::new("not in this build"))
}
