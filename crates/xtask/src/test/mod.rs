//! `cargo xtask test`: everything that must hold before a change is kept, as named steps.
//!
//! A failing step does not stop the ones after it; the table at the end tells all. The very last line is
//! `N passed, N failed`, counting steps and the tests inside them.
//!
//! Invariant: nothing is skipped. A missing tool is installed or fails its step, a step that finds no test
//! fails, and so does one whose tests skip something.

mod canaries;
mod counts;
mod steps;
pub(crate) mod tools;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use counts::Counts;
use steps::STEPS;

/// How one step went.
struct Outcome {
    name: &'static str,
    counts: Counts,
    failure: Option<String>,
    took: Duration,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Some(wanted) = wanted(arguments)? else {
        for step in STEPS {
            println!("{:<12} {}", step.name, step.what);
        }
        return Ok(());
    };
    let mut outcomes = Vec::new();
    for step in STEPS.iter().filter(|step| wanted.is_empty() || wanted.iter().any(|name| name == step.name)) {
        println!("\n=== {}: {}", step.name, step.what);
        let started = Instant::now();
        let (counts, failure) = match (step.run)() {
            Ok(counts) => (counts, counts.complaint()),
            Err(failed) => (failed.counts, Some(format!("{:#}", failed.why))),
        };
        if let Some(failure) = &failure {
            println!("FAILED {}: {failure}", step.name);
        }
        outcomes.push(Outcome { name: step.name, counts, failure, took: started.elapsed() });
    }
    report(&outcomes)
}

/// The steps asked for, all if empty; `None` for a list of them.
fn wanted(arguments: &[String]) -> Result<Option<Vec<String>>> {
    let mut wanted = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => return Ok(None),
            "--only" => match arguments.next() {
                Some(name) if STEPS.iter().any(|step| step.name == name) => wanted.push(name.clone()),
                Some(name) => bail!("there is no step {name}; `cargo xtask test --list` names them"),
                None => bail!("--only needs the name of a step"),
            },
            other => bail!("unknown argument {other}"),
        }
    }
    Ok(Some(wanted))
}

fn report(outcomes: &[Outcome]) -> Result<()> {
    println!("\n{:<12} {:>7} {:>7} {:>9}  result", "step", "passed", "failed", "seconds");
    for outcome in outcomes {
        let result = outcome.failure.as_deref().unwrap_or("ok");
        let first = result.lines().next().unwrap_or_default();
        let Counts { passed, failed, .. } = outcome.counts;
        println!("{:<12} {passed:>7} {failed:>7} {:>9.1}  {first}", outcome.name, outcome.took.as_secs_f64());
    }
    let broken = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    let passed = outcomes.iter().map(|o| o.counts.passed).sum::<usize>() + outcomes.len() - broken;
    let failed = outcomes.iter().map(|o| o.counts.failed).sum::<usize>() + broken;
    println!();
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        // The line above is the last one; the exit code says the rest.
        std::process::exit(1);
    }
    Ok(())
}
