//! The binary: arguments, and which part of the program they mean. Nothing is decided here.

mod args;
mod bench;
mod command;
mod exit;
mod show;
mod udp;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// Messages are made by one thread and dropped by another, where the system's allocator waits for its locks.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    exit::report(command::run(args))
}
