//! The gateway as a program.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match tributary_gateway::cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tributary-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
