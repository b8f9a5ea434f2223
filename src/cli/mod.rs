//! The command line: one file per verb. Parses words, calls the rooms below, prints for people on a
//! terminal and JSON for machines, and says by its exit code how it went.
//!
//! Exit codes: 0 done; 1 refused or failed, the reason is on standard error; 2 the words make no
//! sense (clap's own); 3 a change that was looked at widens what may be done.
mod alarms;
mod args;
mod catalog;
mod change;
mod check;
mod demo;
mod dev_certs;
mod explain;
mod lists;
mod mock;
mod notify;
mod operate;
mod permit;
mod ready;
mod reload;
pub mod run;
pub mod say;
mod secret;
mod shell;
mod state;
mod upgrade;
pub mod watch;

use std::process::ExitCode;

use args::{Args, Verb};
use clap::Parser as _;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.verb {
        Verb::Run(words) => run::main(&words),
        Verb::Upgrade(words) => upgrade::main(&words),
        Verb::Ready(words) => ready::main(&words),
        Verb::Check(words) => check::main(&words),
        Verb::Diff(words) => change::main(&words),
        Verb::Explain(words) => explain::main(&words),
        Verb::Demo(words) => demo::main(&words),
        Verb::DevCerts(words) => dev_certs::main(&words),
        Verb::MockSpApi(words) => mock::main(&words),
        Verb::Catalog(words) => catalog::main(&words),
        Verb::Permit(words) => permit::main(&words),
        Verb::Operate(verb) => operate::main(&verb),
        Verb::Alarms(words) => alarms::main(&words),
        Verb::Schema => shell::schema(),
        Verb::AdminOpenapi => shell::openapi(),
        Verb::Completions(words) => Ok(shell::completions(&words)),
        Verb::Man => shell::man(),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            say::failure(&failure);
            ExitCode::FAILURE
        }
    }
}
