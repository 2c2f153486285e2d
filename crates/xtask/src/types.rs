//! The TypeScript types of the web app are made from the protocol; this makes them and sees whether they are current.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::{cargo::cargo, shell};

fn place() -> PathBuf {
    shell::root().join("web/src/protocol/types.ts")
}

/// Writes the types.
pub(crate) fn write() -> Result<()> {
    fs::write(place(), generate()?).with_context(|| format!("cannot write {}", place().display()))
}

/// Fails if the types in the repository are not those of the protocol.
pub(crate) fn check() -> Result<()> {
    let kept = fs::read_to_string(place()).with_context(|| format!("cannot read {}", place().display()))?;
    let made = generate()?;
    if kept == made {
        return Ok(());
    }
    let line = kept.lines().zip(made.lines()).take_while(|(kept, made)| kept == made).count() + 1;
    bail!("web/src/protocol/types.ts differs from the protocol at line {line}: run `cargo xtask types`")
}

fn generate() -> Result<String> {
    let example = ["--example", "typescript", "--features", "typescript"];
    let mut arguments = vec!["run", "--quiet", "--locked", "--package", "chinwag-protocol"];
    arguments.extend(example);
    shell::output_of(&cargo(), &arguments)
}
