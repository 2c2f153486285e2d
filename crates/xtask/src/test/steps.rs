//! The steps, in the order in which they run: what is quick and finds much comes first.
//!
//! One profile (`dev`) serves all of them, and the end-to-end and browser tests use the very binary that
//! `cargo test` built, so that nothing is compiled twice.

use std::{
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow, bail};

use super::{canaries, counts::Counts, tools};
use crate::{
    bench::report,
    cargo::{Workspace, cargo},
    shell::{self, program},
    tidy, types, web,
};

/// One thing that must hold.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) run: fn() -> Result<Counts, Failed>,
}

/// A step that failed, with what it had counted.
pub(super) struct Failed {
    pub(super) counts: Counts,
    pub(super) why: Error,
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(why: E) -> Self {
        Self { counts: Counts::default(), why: why.into() }
    }
}

pub(super) const STEPS: &[Step] = &[
    Step { name: "tools", what: "the programs that tests need are there", run: provide },
    Step { name: "format", what: "Rust is formatted", run: format },
    Step { name: "tidy", what: "map, arrows, headers, documents, licences", run: check_tidy },
    Step { name: "web-lint", what: "the web app is formatted and linted", run: web_lint },
    Step { name: "web-check", what: "the web app's types hold", run: web_check },
    Step { name: "web-unit", what: "the web app's unit tests", run: web_unit },
    Step { name: "web-build", what: "the web app builds and is small enough", run: web_build },
    Step { name: "clippy", what: "no warnings in any target", run: clippy },
    Step { name: "types", what: "the web app's types are those of the protocol", run: check_types },
    Step { name: "canaries", what: "builds that are wrong on purpose are found", run: canaries::run },
    Step { name: "rust", what: "unit, property, suite and end-to-end tests", run: rust },
    Step { name: "browser", what: "two or three people in a real browser", run: browser },
    Step { name: "bench", what: "the load generator runs and prints figures", run: bench },
];

const SHORT: Duration = Duration::from_secs(10 * 60);
const LONG: Duration = Duration::from_secs(30 * 60);

/// For all steps together: less than automation allows, so that the table is still printed.
const ALTOGETHER: Duration = Duration::from_secs(85 * 60);

/// Runs a program within its own limit and what is left of the common one.
pub(super) fn watch(command: &mut Command, limit: Duration) -> Result<shell::Finished> {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    let left = ALTOGETHER.saturating_sub(STARTED.get_or_init(Instant::now).elapsed());
    shell::watch(command, limit.min(left))
}

/// Fails with the counts if the program did.
fn judged(finished: shell::Finished, counts: Counts) -> Result<Counts, Failed> {
    match finished.failure {
        None => Ok(counts),
        Some(why) => Err(Failed { counts, why: anyhow!(why) }),
    }
}

fn run_cargo(arguments: &[&str], limit: Duration) -> Result<shell::Finished> {
    watch(&mut program(cargo(), &shell::root(), arguments), limit)
}

fn run_npm(script: &str) -> Result<shell::Finished> {
    web::check_node()?;
    if !web::is_installed()? {
        web::install()?;
    }
    watch(&mut program("npm", &web::folder(), &["run", "--silent", script]), SHORT)
}

fn provide() -> Result<Counts, Failed> {
    tools::provide()?;
    web::check_node()?;
    if !web::is_installed()? {
        web::install()?;
    }
    Ok(Counts::default())
}

fn format() -> Result<Counts, Failed> {
    judged(run_cargo(&["fmt", "--all", "--check", "--", "--color=never"], SHORT)?, Counts::default())
}

fn check_tidy() -> Result<Counts, Failed> {
    tidy::run()?;
    Ok(Counts::default())
}

fn web_lint() -> Result<Counts, Failed> {
    judged(run_npm("lint")?, Counts::default())
}

fn web_check() -> Result<Counts, Failed> {
    judged(run_npm("check")?, Counts::default())
}

fn web_unit() -> Result<Counts, Failed> {
    let finished = run_npm("test")?;
    let counts = Counts::of_vitest(&finished.text);
    judged(finished, counts)
}

/// The budget of the first load is checked by the build itself (`web/scripts/budget.js`).
fn web_build() -> Result<Counts, Failed> {
    let counts = judged(run_npm("build")?, Counts::default())?;
    web::note_built()?;
    Ok(counts)
}

fn clippy() -> Result<Counts, Failed> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
    judged(run_cargo(&arguments, LONG)?, Counts::default())
}

fn check_types() -> Result<Counts, Failed> {
    types::check()?;
    Ok(Counts::default())
}

fn rust() -> Result<Counts, Failed> {
    let finished = run_cargo(&["test", "--workspace", "--locked", "--no-fail-fast"], LONG)?;
    let counts = Counts::of_cargo(&finished.text);
    judged(finished, counts)
}

/// The binary that `cargo test` leaves behind. Building it in the same way finds everything compiled.
fn binary() -> Result<PathBuf> {
    let built = run_cargo(&["test", "--workspace", "--locked", "--no-run", "--quiet"], LONG)?;
    if let Some(failure) = built.failure {
        bail!(failure);
    }
    let binary = Workspace::read()?.target.join("debug/chinwag");
    if !binary.is_file() {
        bail!("there is no {}", binary.display());
    }
    Ok(binary)
}

fn browser() -> Result<Counts, Failed> {
    let binary = binary()?;
    if !web::is_built()? {
        judged(run_npm("build")?, Counts::default())?;
        web::note_built()?;
    }
    let chromium =
        shell::find("chromium").context("chromium is not installed (Debian: package `chromium`)")?;
    let folder = web::folder().join("e2e");
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".test.mjs"))
        .map(|name| format!("e2e/{name}"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(anyhow!("there is no test in web/e2e (files named *.test.mjs)").into());
    }
    let mut command =
        program("node", &web::folder(), &["--test", "--test-reporter=spec", "--test-concurrency=1"]);
    command.args(&files).env("CHINWAG_BIN", &binary).env("CHINWAG_CHROMIUM", &chromium);
    let finished = watch(&mut command, LONG)?;
    let counts = Counts::of_node(&finished.text);
    judged(finished, counts)
}

/// Seconds of messages, native and by every door: shows that the tool runs and nothing is lost, not how fast the
/// server is.
fn bench() -> Result<Counts, Failed> {
    const RUNS: &[(&[&str], &[&str])] = &[
        (&["dm", "--seconds", "2", "--warm-up", "1", "--pairs", "4"], &["messages_per_s"]),
        (
            &["doors", "--duration", "1", "--warm-up", "0", "--pairs", "2"],
            &[
                "native_messages_per_s",
                "tcp_json_messages_per_s",
                "tag_json_messages_per_s",
                "pipe_line_messages_per_s",
                "udp_ack_messages_per_s",
            ],
        ),
    ];
    let binary = binary()?;
    for (scenario, rates) in RUNS {
        let arguments = [&["bench", "--json"], *scenario].concat();
        let finished = watch(&mut program(&binary, &shell::root(), &arguments), SHORT)?;
        if finished.failure.is_some() {
            return judged(finished, Counts::default());
        }
        let report = report(&finished.text)?;
        let figure =
            |name: &str| report[name].as_f64().with_context(|| format!("chinwag bench told no {name}"));
        let (lost, doubled) = (figure("lost")?, figure("doubled")?);
        // A datagram may come twice: its receiver's acknowledgement can be late.
        if lost > 0.0 || scenario[0] == "dm" && doubled > 0.0 {
            return Err(anyhow!("chinwag bench: {lost} messages were lost and {doubled} doubled").into());
        }
        for rate in *rates {
            if figure(rate)? <= 0.0 {
                return Err(anyhow!("chinwag bench {}: nothing arrived: {rate}", scenario[0]).into());
            }
        }
    }
    Ok(Counts::default())
}
