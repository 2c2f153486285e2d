//! A log that cannot be written: its disk is full, or whoever reads it has stopped.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    super::{
        Bed, Verdict,
        http::get,
        place::Place,
        process::{Checker, Folder, Found, LIFTED, address},
        scenarios::RATE,
        tools::{does, missing, text},
    },
    tools::Memory,
};

/// A line for each answer of HTTP, so that there is much to write.
const FILTER: &str = "info,chinwag_server=debug";

const TURNS: u32 = 2;

/// What the p99 of answers may be with a stuck log: a tenth more, and what a busy machine adds by itself.
fn allowed_ms(usual: u64) -> u64 {
    usual + usual / 10 + 50
}

/// A reader of a pipe that has been stopped; ended with its owner.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// F42: nobody waits for the log; what is dropped is counted.
pub(super) fn stuck(bed: &Bed) -> Result<Verdict> {
    if let Some(why) = missing(&["mount", "mkfifo", "cat"]) {
        return Ok(Verdict::Skipped(why));
    }
    let (mut usual, mut full, mut stalled) = (Log::new("usual"), Log::new("full"), Log::new("stalled"));
    // In turn, because the machine has other things to do too.
    for turn in 0..TURNS {
        let folder = Folder::new(&format!("F42-log-{turn}"))?;
        usual.add(bed, turn, "/dev/null", || Ok(()))?;

        let small = Memory::mount(folder.0.join("small"), 1)?;
        full.add(bed, turn, &text(&small.path().join("log")), || Ok(()))?;

        let pipe = folder.0.join("pipe");
        does("mkfifo", &[&text(&pipe)])?;
        let reader = Command::new("cat").arg(&pipe).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let reader = Stopped(reader);
        let pid = reader.0.id().to_string();
        stalled.add(bed, turn, &text(&pipe), || does("kill", &["-STOP", &pid]))?;
    }
    let figures = format!(
        "of {TURNS} turns the better: 99 in 100 answers within {} ms; with a full disk for the log {} ms and {} lines dropped, with a stopped reader {} ms and {}; {}",
        usual.ms, full.ms, full.dropped, stalled.ms, stalled.dropped, stalled.said
    );
    let all = [&usual, &full, &stalled];
    if let Some(broken) = all.iter().find_map(|log| log.broken.as_ref()) {
        return Ok(Verdict::Failed(format!("{figures}\n{broken}")));
    }
    if let Some(slow) = all.iter().find(|log| log.ms > allowed_ms(usual.ms)) {
        return Ok(Verdict::Failed(format!("everybody waits for the log ({}): {figures}", slow.name)));
    }
    if full.dropped == 0 || stalled.dropped == 0 {
        return Ok(Verdict::Failed(format!("what is dropped is not counted: {figures}")));
    }
    Ok(Verdict::Passed(figures))
}

/// What was measured with a log of one sort.
struct Log {
    name: &'static str,
    /// What 99 in 100 answers took at most, in the better turn.
    ms: u64,
    /// Lines, in the turn where fewest were dropped.
    dropped: u64,
    said: String,
    broken: Option<String>,
}

impl Log {
    fn new(name: &'static str) -> Self {
        Self { name, ms: u64::MAX, dropped: u64::MAX, said: String::new(), broken: None }
    }

    fn add(&mut self, bed: &Bed, turn: u32, log: &str, stop: impl FnOnce() -> Result<()>) -> Result<()> {
        let (found, dropped) = chat(bed, &format!("F42-{}-{turn}", self.name), log, stop)?;
        self.ms = self.ms.min(found.answers_ms().context("no figure")?.1);
        self.dropped = self.dropped.min(dropped);
        self.said = found.figures();
        if found.broken {
            self.broken.get_or_insert(found.text);
        }
        Ok(())
    }
}

/// Chat for some seconds while the log goes to `log`: what was found, and how many lines were dropped.
fn chat(bed: &Bed, name: &str, log: &str, stop: impl FnOnce() -> Result<()>) -> Result<(Found, u64)> {
    let mut place = Place::new(bed, name)?;
    let metrics = address(&mut place.random);
    let redirect = format!("exec \"$@\" 2> '{log}'");
    let tool = ["sh", "-c", &redirect, "sh"];
    let settings = format!("metrics = \"{metrics}\"\n[log]\nfilter = \"{FILTER}\"\n{LIFTED}");
    let server = place.start_with(&tool, &settings)?;
    let checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    stop()?;
    let until = Instant::now() + Duration::from_secs(6) * bed.times;
    // A cheap question, whose answer is a line of the log.
    let asking = || while Instant::now() < until && get(place.address, "/health").is_ok() {};
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(asking))));
    let found = checker.heal()?;
    let dropped = dropped(metrics)?;
    drop(server);
    Ok((found, dropped))
}

/// The figure of the server.
fn dropped(metrics: SocketAddr) -> Result<u64> {
    let (_, text) = get(metrics, "/metrics")?;
    let line = text.lines().find(|line| line.starts_with("chinwag_log_lines_dropped_total "));
    Ok(line.and_then(|line| line.split(' ').nth(1)?.trim().parse().ok()).unwrap_or_default())
}
