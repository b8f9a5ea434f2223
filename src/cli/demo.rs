use super::{args::DemoArgs, say::Failure};
pub(super) fn main(_: &DemoArgs) -> Result<std::process::ExitCode, Failure> { Err(Failure::new("")) }
