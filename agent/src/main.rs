//! The agent as a program.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match tributary_agent::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tributary-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
