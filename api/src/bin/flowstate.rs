//! The command `flowstate`; see [`flowstate::cli`].

fn main() -> std::process::ExitCode {
    flowstate::cli::main()
}
