//! The program. Everything is in the library, so that tests run the very same code.
use std::process::ExitCode;

fn main() -> ExitCode {
    sekisho::cli::main()
}
