//! `cargo xtask simulate`: any number of seeds of the simulation of the core (`crates/server/tests/simulation`).
//!
//! Built with optimisation, so that a night is worth many more seeds than the short run of every test.

use anyhow::{Context, Result, bail};

use crate::{
    cargo::cargo,
    shell::{self, program},
};

const SEEDS: u64 = 10_000;

/// Runs the seeds asked for; a failing one says how to replay it.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (seeds, from) = wanted(arguments)?;
    let test = ["test", "--release", "--package", "chinwag-server", "--test", "simulation", "--"];
    let mut command = program(cargo(), &shell::root(), &test);
    command.args(["promises_hold_under_every_seed", "--exact", "--nocapture"]);
    command.env("CHINWAG_SEEDS", seeds.to_string()).env("CHINWAG_FROM", from.to_string());
    shell::show(&mut command)
}

/// How many seeds, and from which on.
fn wanted(arguments: &[String]) -> Result<(u64, u64)> {
    let (mut seeds, mut from) = (SEEDS, 1);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let wanted = match argument.as_str() {
            "--seeds" => &mut seeds,
            "--from" => &mut from,
            other => bail!("unknown argument {other}"),
        };
        let number = arguments.next().with_context(|| format!("{argument} needs a number"))?;
        *wanted = number.parse().with_context(|| format!("{number} is no number"))?;
    }
    Ok((seeds, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_wanted() {
        let wanted =
            |words: &[&str]| wanted(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).ok();
        assert_eq!(wanted(&[]), Some((SEEDS, 1)));
        assert_eq!(wanted(&["--from", "7", "--seeds", "3"]), Some((3, 7)));
        assert_eq!((wanted(&["--seeds"]), wanted(&["--seeds", "x"]), wanted(&["7"])), (None, None, None));
    }
}
