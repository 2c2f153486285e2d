//! The binary: arguments, and which part of the program they mean. Nothing is decided here.

mod args;
mod bench;
mod command;
mod exit;
mod show;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    exit::report(command::run(args))
}
