//! The project's chores: `cargo xtask run`, `test`, `tidy`, `types`, `bench`, `chaos`, `simulate`, `fuzz`.
//!
//! Plain `std` and few dependencies, so that it compiles in seconds. It starts other programs and reads files; it
//! knows nothing of what the messenger does.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person who started it")]

mod bench;
mod cargo;
mod chaos;
mod fuzz;
mod run;
mod shell;
mod simulate;
mod test;
mod tidy;
mod types;
mod web;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  run [ARGUMENTS]       build what has changed, web app included, and run `chinwag serve ARGUMENTS`
  test                  everything that must hold before a change is kept
      --list            name the steps
      --only STEP       only this step; may repeat
  tidy                  the checks on the sources alone
  types                 write the web app's types from the protocol
  bench [ARGUMENTS]     build the release binary and print the standard figures as rows of a table
  chaos [ID]...         faults against a running server, judged from outside; all of them if none is named
      --seed N          make the same choices again
      --long            many times longer
      --dev             with the build that tests use
  simulate              the whole core in one thread, with faults, from seeds
      --seeds N         how many, 10,000 if not said
      --from SEED       from which on
  fuzz [TARGET]...      the fuzz targets, guided by coverage; all of them if none is named
      --seconds N       how long each, 60 if not said
      --jobs N          how many at a time
      --keep            bring what was found interesting into the repository
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let done = match command.as_deref() {
        Some("run") => run::run(&rest),
        Some("test") => test::run(&rest),
        Some("tidy") => tidy::run(),
        Some("types") => types::write(),
        Some("bench") => bench::run(&rest),
        Some("chaos") => chaos::run(&rest),
        Some("simulate") => simulate::run(&rest),
        Some("fuzz") => fuzz::run(&rest),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
