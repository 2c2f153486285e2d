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
        process::{Checker, Found, LIFTED, address},
        scenarios::RATE,
        tools::{does, missing, text},
    },
    tools::Memory,
};

/// A line for each answer of HTTP, so that there is much to write.
const FILTER: &str = "info,chinwag_server=debug";

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
    let folder = super::super::process::Folder::new("F42-log")?;
    let (usual, _, _) = chat(bed, "F42-usual", "/dev/null", || Ok(()))?;
    let usual_ms = p99(&usual).context("no figure")?;

    let small = Memory::mount(folder.0.join("small"), 1)?;
    let (full, full_dropped, full_broken) =
        chat(bed, "F42-full", &text(&small.path().join("log")), || Ok(()))?;

    let pipe = folder.0.join("pipe");
    does("mkfifo", &[&text(&pipe)])?;
    let reader = Command::new("cat").arg(&pipe).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let reader = Stopped(reader);
    let pid = reader.0.id().to_string();
    let (stalled, stalled_dropped, stalled_broken) =
        chat(bed, "F42-stalled", &text(&pipe), || does("kill", &["-STOP", &pid]))?;

    let (full_ms, stalled_ms) = (p99(&full), p99(&stalled));
    let figures = format!(
        "99 in 100 answers within {usual_ms} ms; with a full disk for the log {full_ms:?} ms and {full_dropped} lines dropped, with a stopped reader {stalled_ms:?} ms and {stalled_dropped}; {}; {}",
        full.figures(),
        stalled.figures()
    );
    let slow = |ms: Option<u64>| ms.is_none_or(|ms| ms > allowed_ms(usual_ms));
    let counted = full_dropped > 0 && stalled_dropped > 0;
    if full_broken || stalled_broken || usual.broken || slow(full_ms) || slow(stalled_ms) || !counted {
        return Ok(Verdict::Failed(format!("{figures}\n{}{}", full.text, stalled.text)));
    }
    Ok(Verdict::Passed(figures))
}

/// Chat for some seconds while the log goes to `log`; what was found, how many lines were dropped, and whether
/// something was broken.
fn chat(bed: &Bed, name: &str, log: &str, stop: impl FnOnce() -> Result<()>) -> Result<(Found, u64, bool)> {
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
    let broken = found.broken;
    Ok((found, dropped, broken))
}

/// The figure of the server.
fn dropped(metrics: SocketAddr) -> Result<u64> {
    let (_, text) = get(metrics, "/metrics")?;
    let line = text.lines().find(|line| line.starts_with("chinwag_log_lines_dropped_total "));
    Ok(line.and_then(|line| line.split(' ').nth(1)?.trim().parse().ok()).unwrap_or_default())
}

/// What 99 in 100 answers took at most, as the checker says it.
fn p99(found: &Found) -> Option<u64> {
    let line = found.text.lines().find(|line| line.starts_with("answers"))?;
    line.rsplit("within ").next()?.split(' ').next()?.parse().ok()
}
