//! Backups: taken while the server works, restored elsewhere, and old ones under clients that know more.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::{
    Bed, Verdict,
    place::Place,
    process::{Checker, Server},
    scenarios::{RATE, verdict},
    tools::{says, text},
};

/// How long clients may take to be right again after an old backup was restored.
const CONVERGED_WITHIN: Duration = Duration::from_secs(10);

/// What a command of ours says in JSON; an error with its line if it fails.
pub(super) fn command(bed: &Bed, arguments: &[&str]) -> Result<Value> {
    let output = says(&bed.server, &[&["--json"], arguments].concat())?;
    if !output.status.success() {
        bail!("chinwag {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default()).context("a line of JSON")
}

/// F38: everything acknowledged before the backup began is in what is restored, and it goes on from there.
pub(super) fn under_load(bed: &Bed) -> Result<Verdict> {
    let mut place = Place::new(bed, "F38")?;
    let mut data = place.data.clone();
    let mut server = place.start(&[])?;
    let mut checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    let (mut slowest, mut entries) = (Duration::ZERO, 0);
    let rounds = 2 * bed.times;
    for round in 0..rounds {
        place.random.pause_ms(1_500, 3_000);
        let file = place.data.with_extension(format!("backup-{round}"));
        checker.note("backup")?;
        let began = Instant::now();
        let taken = command(bed, &["backup", &text(&file), "--data", &text(&data)])?;
        slowest = slowest.max(began.elapsed());
        entries = taken["entries"].as_u64().unwrap_or_default();
        place.random.pause_ms(500, 1_500);
        drop(server);
        checker.note("restored")?;
        let restored_to = place.data.with_extension(format!("restored-{round}"));
        let restored = command(bed, &["restore", &text(&file), "--data", &text(&restored_to)])?;
        let checked = command(bed, &["scrub", "--data", &text(&restored_to)])?;
        if checked["contents"] != taken["contents"] || restored["epoch"] == taken["epoch"] {
            return Ok(Verdict::Failed(format!("backed up {taken}, restored {restored}, found {checked}")));
        }
        data = restored_to;
        server = match Server::start(&bed.server, &[], &data, place.address) {
            Ok(server) => server,
            Err(error) => return Ok(Verdict::Failed(format!("what was restored does not start: {error:#}"))),
        };
    }
    place.random.pause_ms(1_500, 2_500);
    let found = match checker.heal() {
        Ok(found) => found,
        Err(error) => {
            let why = format!("what was restored does not know those who were there: {error:#}");
            return Ok(Verdict::Failed(why));
        }
    };
    drop(server);
    let figures = format!(
        "{rounds} times, the last with {entries} entries, taken and checked in at most {} ms; ",
        slowest.as_millis()
    );
    Ok(verdict(&found, &figures))
}

/// F39: clients with newer cursors notice that the store is another one, and are soon right again.
pub(super) fn old(bed: &Bed) -> Result<Verdict> {
    let place = Place::new(bed, "F39")?;
    let server = place.start(&[])?;
    let mut checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    thread::sleep(Duration::from_secs(1));
    let file = place.data.with_extension("backup");
    checker.note("backup")?;
    command(bed, &["backup", &text(&file), "--data", &text(&place.data)])?;
    // Much is said that the backup does not know.
    thread::sleep(Duration::from_secs(4) * bed.times);
    drop(server);
    checker.note("restored")?;
    let data: PathBuf = place.data.with_extension("restored");
    let restored = command(bed, &["restore", &text(&file), "--data", &text(&data)])?;
    let server = Server::start(&bed.server, &[], &data, place.address)?;
    // New things get the numbers of those that are gone.
    thread::sleep(Duration::from_secs(2));
    let healed = Instant::now();
    let found = checker.heal()?;
    let took = healed.elapsed();
    drop(server);
    let figures = format!(
        "went back to {} entries, everybody right again {} ms after; ",
        restored["entries"],
        took.as_millis()
    );
    if took > CONVERGED_WITHIN {
        return Ok(Verdict::Failed(figures));
    }
    Ok(verdict(&found, &figures))
}
