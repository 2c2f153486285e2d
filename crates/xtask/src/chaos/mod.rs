//! `cargo xtask chaos`: faults of all kinds against a real server, judged from outside by `chinwag-checker`.
//!
//! Each scenario has the number of its row in the fault matrix and prints one line: `PASSED`, `FAILED` or `SKIPPED`,
//! the number, figures or a reason. With `--canary`, each row is run with servers that are wrong on purpose, and says
//! `CAUGHT` if it sees that; a long run does both. Seeds are printed; `--seed` makes the same choices again. Only
//! processes, mounts and folders that a scenario made itself are ended by it.

mod canary;
mod disk;
mod everybody;
mod http;
mod network;
mod place;
mod process;
mod proxy;
mod scenarios;
mod storage;
mod tools;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

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
    /// The build that can be wrong on purpose, where one was made.
    wrong_build: Option<PathBuf>,
    /// The server is wrong on purpose.
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
const SCENARIOS: &[&[Scenario]] = &[scenarios::ALL, everybody::ALL, storage::ALL, network::ALL];

fn all() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().copied().flatten()
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut wanted = Vec::new();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let (mut seed, mut times) = (u64::from(since.subsec_nanos()), 1);
    let mut profile = Profile { arguments: &["--release"], folder: "release" };
    let (mut is_long, mut only_canaries) = (false, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--long" => (is_long, times) = (true, 20),
            "--canary" => only_canaries = true,
            "--dev" => profile = Profile { arguments: &[], folder: "debug" },
            "--seed" => seed = arguments.next().map(|text| text.parse()).transpose()?.unwrap_or(seed),
            id if all().any(|scenario| scenario.id == id) => wanted.push(id),
            other => bail!("there is no scenario {other}"),
        }
    }
    let rows = || all().filter(|scenario| wanted.is_empty() || wanted.contains(&scenario.id));
    let progress = Progress::start();
    progress.say("building the server and its judge");
    let with_canaries = (is_long || only_canaries) && canary::is_any(rows());
    // Of the same crates, so it goes first: what is built last has the usual name.
    let wrong = with_canaries || rows().any(|scenario| scenario.id == "F04");
    let wrong = wrong.then(|| profile.build_wrong()).transpose()?;
    let target = profile.build(&["--package", "chinwag", "--package", "chinwag-checker"])?;
    let (server, checker) = (target.join("chinwag"), target.join("chinwag-checker"));
    let bed = Bed { server, checker, seed, times, wrong_build: wrong, wrong: false };
    println!("seed {seed}");
    let mut lines = Vec::new();
    for scenario in rows() {
        progress.say(&format!("{} {}", scenario.id, scenario.what));
        let mut own = Vec::new();
        if !only_canaries {
            own.push(match (scenario.run)(&bed) {
                Ok(Verdict::Passed(figures)) => format!("PASSED {} {figures}", scenario.id),
                Ok(Verdict::Failed(why)) => format!("FAILED {} {why}", scenario.id),
                Ok(Verdict::Skipped(why)) => format!("SKIPPED {} {why}", scenario.id),
                Err(error) => format!("FAILED {} {error:#}", scenario.id),
            });
        }
        if let Some(build) = bed.wrong_build.as_ref().filter(|_| is_long || only_canaries) {
            own.extend(canary::judge(&bed, build, scenario));
        }
        own.iter().for_each(|line| println!("{line}"));
        lines.extend(own);
    }
    println!("\nseed {seed}");
    lines.iter().for_each(|line| println!("{}", line.lines().next().unwrap_or_default()));
    let failed = lines.iter().filter(|line| line.starts_with("FAILED")).count();
    if failed > 0 {
        bail!("{failed} of {} failed", lines.len());
    }
    Ok(())
}

impl Profile {
    /// Builds something; where it lies then.
    fn build(&self, what: &[&str]) -> Result<PathBuf> {
        let mut build = program(cargo(), &shell::root(), &["build", "--locked"]);
        shell::show(build.args(what).args(self.arguments))?;
        Ok(Workspace::read()?.target.join(self.folder))
    }

    /// The server that can be wrong on purpose, beside the usual one.
    fn build_wrong(&self) -> Result<PathBuf> {
        let target = self.build(&["--package", "chinwag", "--features", "chinwag/canaries"])?;
        let wrong = target.join("chinwag-canaries");
        std::fs::copy(target.join("chinwag"), &wrong).context("cannot keep the wrong build")?;
        Ok(wrong)
    }
}
