//! The `flowstate` command once more: cargo builds no other package's binary for a test.

use std::process::ExitCode;

fn main() -> ExitCode {
    flowstate::cli::main()
}
