//! `cargo xtask chaos`: faults of all kinds against a real server, judged from outside by `chinwag-checker`.
//!
//! Each scenario has the number of its row in the fault matrix and prints one line: `PASSED`, `FAILED` or `SKIPPED`,
//! the number, figures or a reason. With `--canary`, rows that have one are given something wrong and pass if they see
//! it. Seeds are printed; `--seed` makes the same choices again. Only processes, mounts
//! and folders that a scenario made itself are ended by it.

mod disk;
mod network;
mod process;
mod proxy;
mod scenarios;
mod storage;

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{
    cargo::{Workspace, cargo},
    shell::{self, Progress, program},
};

/// Which build is tested.
#[derive(Clone, Copy)]
struct Profile {
    arguments: &'static [&'static str],
    folder: &'static str,
}

/// What scenarios work with.
pub(crate) struct Bed {
    server: PathBuf,
    checker: PathBuf,
    seed: u64,
    /// How many times as long as usual.
    times: u32,
    profile: Profile,
    /// Each row is given something wrong, and has to see it.
    wrong: bool,
}

/// How a scenario ended.
pub(crate) enum Verdict {
    /// As promised; with figures.
    Passed(String),
    /// A promise was broken.
    Failed(String),
    /// This machine cannot do it.
    Skipped(String),
}

/// One row of the fault matrix.
pub(crate) struct Scenario {
    id: &'static str,
    what: &'static str,
    run: fn(&Bed) -> Result<Verdict>,
}

/// All rows, a module for each kind of fault.
const SCENARIOS: &[&[Scenario]] = &[scenarios::ALL, storage::ALL, network::ALL];

fn all() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().copied().flatten()
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut wanted = Vec::new();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let (mut seed, mut times) = (u64::from(since.subsec_nanos()), 1);
    let mut profile = Profile { arguments: &["--release"], folder: "release" };
    let mut wrong = false;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--long" => times = 20,
            "--canary" => wrong = true,
            "--dev" => profile = Profile { arguments: &[], folder: "debug" },
            "--seed" => seed = arguments.next().map(|text| text.parse()).transpose()?.unwrap_or(seed),
            id if all().any(|scenario| scenario.id == id) => wanted.push(id),
            other => bail!("there is no scenario {other}"),
        }
    }
    let progress = Progress::start();
    progress.say("building the server and its judge");
    let packages = ["--package", "chinwag", "--package", "chinwag-checker"];
    let build = ["build", "--locked"];
    shell::show(program(cargo(), &shell::root(), &build).args(packages).args(profile.arguments))?;
    let target = Workspace::read()?.target.join(profile.folder);
    let (server, checker) = (target.join("chinwag"), target.join("chinwag-checker"));
    let bed = Bed { server, checker, seed, times, profile, wrong };
    println!("seed {seed}");
    let mut lines = Vec::new();
    let has_canary = |scenario: &Scenario| {
        network::ALL.iter().any(|other| other.id == scenario.id) || storage::CANARIES.contains(&scenario.id)
    };
    for scenario in all().filter(|s| wanted.is_empty() || wanted.contains(&s.id)) {
        if wrong && !has_canary(scenario) {
            continue;
        }
        progress.say(&format!("{} {}", scenario.id, scenario.what));
        let line = match (scenario.run)(&bed) {
            Ok(Verdict::Failed(why)) if wrong => format!("PASSED {} sees what is wrong: {why}", scenario.id),
            Ok(Verdict::Passed(figures)) if wrong => {
                format!("FAILED {} does not see what is wrong: {figures}", scenario.id)
            }
            Ok(Verdict::Passed(figures)) => format!("PASSED {} {figures}", scenario.id),
            Ok(Verdict::Failed(why)) => format!("FAILED {} {why}", scenario.id),
            Ok(Verdict::Skipped(why)) => format!("SKIPPED {} {why}", scenario.id),
            Err(error) => format!("FAILED {} {error:#}", scenario.id),
        };
        println!("{line}");
        lines.push(line);
    }
    println!("\nseed {seed}");
    lines.iter().for_each(|line| println!("{}", line.lines().next().unwrap_or_default()));
    let failed = lines.iter().filter(|line| line.starts_with("FAILED")).count();
    if failed > 0 {
        bail!("{failed} of {} scenarios failed", lines.len());
    }
    Ok(())
}

impl Bed {
    /// The server with less durability than it promises: what a test of power cuts must see.
    fn canary(&self) -> Result<PathBuf> {
        self.server_with("canary", "chinwag-store/canary-normal")
    }

    /// The server with features that only tests use, built into a folder of its own.
    fn server_with(&self, folder: &str, features: &str) -> Result<PathBuf> {
        let target = Workspace::read()?.target.join(folder);
        let arguments = ["build", "--locked", "--package", "chinwag", "--package", "chinwag-store"];
        let mut build: Command = program(cargo(), &shell::root(), &arguments);
        build.args(self.profile.arguments);
        build.args(["--package", "chinwag-server", "--features", features, "--target-dir"]).arg(&target);
        shell::show(&mut build)?;
        Ok(target.join(self.profile.folder).join("chinwag"))
    }
}
