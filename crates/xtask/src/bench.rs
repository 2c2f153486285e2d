//! `cargo xtask bench`: the standard figures from the release binary.

use anyhow::Result;

use crate::{
    cargo::{Workspace, cargo},
    shell::{self, program},
};

/// The scenarios of `docs/benchmarks.md`.
const SCENARIOS: &[&str] = &["dm", "group", "idle", "offline", "reconnect"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let root = shell::root();
    shell::show(&mut program(cargo(), &root, &["build", "--release", "--locked", "--package", "chinwag"]))?;
    let binary = Workspace::read()?.target.join("release/chinwag");
    for scenario in SCENARIOS {
        let mut command = program(&binary, &root, &["bench", scenario]);
        command.args(arguments);
        shell::show(&mut command)?;
    }
    Ok(())
}
