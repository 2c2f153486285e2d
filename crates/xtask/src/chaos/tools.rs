//! Programs of the system that scenarios need.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Runs a program that must succeed.
pub(super) fn does(program: &str, arguments: &[&str]) -> Result<()> {
    succeeded(program, arguments, &says(program, arguments)?)
}

/// The same, with something to read.
pub(super) fn does_with(program: &str, arguments: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    child.stdin.take().context("a pipe")?.write_all(input.as_bytes())?;
    succeeded(program, arguments, &child.wait_with_output()?)
}

fn succeeded(program: &str, arguments: &[&str], output: &Output) -> Result<()> {
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Runs a program for what it says.
pub(super) fn says(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Result<Output> {
    let program = program.as_ref();
    let started = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    started.with_context(|| format!("cannot start {}", program.display()))
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Why this machine cannot do it, if it cannot: only root mounts, and the tools must be there.
pub(super) fn missing(tools: &[&str]) -> Option<String> {
    if let Some(tool) = tools.iter().find(|tool| shell::find(tool).is_none()) {
        return Some(format!("{tool} is not installed"));
    }
    let root = shell::output_of("id", &["-u"]).is_ok_and(|id| id.trim() == "0");
    (!root).then(|| "needs root".to_owned())
}
