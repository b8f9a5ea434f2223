//! The program. Everything is in the library, so that tests run the very same code.
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sekisho::cli::main()
}
