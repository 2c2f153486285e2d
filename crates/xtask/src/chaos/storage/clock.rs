//! Clocks that jump, and clocks of other years. Times are for people to read; they never order anything.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::super::{
    Bed, Verdict,
    http::Person,
    place::Place,
    process::Checker,
    scenarios::{RATE, verdict},
};
use crate::{shell, test};

/// The library that lies about the time, installed if that is possible.
pub(super) fn library() -> Option<PathBuf> {
    let find = || {
        ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .iter()
            .map(|name| PathBuf::from(format!("/usr/lib/{name}/faketime/libfaketime.so.1")))
            .find(|path| path.is_file())
    };
    find().or_else(|| {
        test::tools::install("faketime").ok()?;
        find()
    })
}

/// A program that runs another one with the time that stands in a file.
pub(super) struct Liar {
    file: PathBuf,
    settings: Vec<String>,
}

impl Liar {
    pub(super) fn new(library: &std::path::Path, file: PathBuf, time: &str, monotonic: bool) -> Result<Self> {
        let mut settings = vec![
            "env".to_owned(),
            "TZ=UTC".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
        ];
        if !monotonic {
            settings.push("DONT_FAKE_MONOTONIC=1".to_owned());
        }
        let liar = Self { file, settings };
        liar.say(time)?;
        Ok(liar)
    }

    pub(super) fn say(&self, time: &str) -> Result<()> {
        // In one step, so that nobody reads half of it.
        let draft = self.file.with_extension("draft");
        fs::write(&draft, time)?;
        fs::rename(&draft, &self.file).context("cannot set the time")
    }

    pub(super) fn tool(&self) -> Vec<&str> {
        self.settings.iter().map(String::as_str).collect()
    }
}

const MISSING: &str = "libfaketime is not installed (Debian: package `faketime`)";

/// F26: steps while it runs, with a crash after some; once with the monotone clock left alone, and once without.
pub(super) fn jumps(bed: &Bed) -> Result<Verdict> {
    let Some(library) = library() else { return Ok(Verdict::Skipped(MISSING.to_owned())) };
    let mut figures = String::new();
    for monotonic in [false, true] {
        let mut place = Place::new(bed, if monotonic { "F26-monotonic" } else { "F26" })?;
        let liar = Liar::new(&library, place.data.with_extension("time"), "+0", monotonic)?;
        let mut server = place.start(&liar.tool())?;
        let mut checker = Checker::start(bed, place.address, bed.seed, RATE)?;
        for step in ["-3600", "+86400", "-60", "+0"] {
            place.random.pause_ms(500, 1_500);
            liar.say(step)?;
            place.random.pause_ms(500, 1_500);
            drop(server);
            checker.crash()?;
            server = place.start(&liar.tool())?;
        }
        place.random.pause_ms(500, 1_000);
        let found = checker.heal()?;
        // Where the monotone clock jumps too, every deadline does.
        if !monotonic && let Some(why) = far(&place, &liar)? {
            return Ok(Verdict::Failed(why));
        }
        drop(server);
        let faked = if monotonic { "all clocks" } else { "the wall clock" };
        figures.push_str(&format!("{faked}: an hour back, a day on, back; {}; ", found.figures()));
        if found.broken {
            return Ok(Verdict::Failed(format!("{figures}\n{}", found.text)));
        }
    }
    Ok(Verdict::Passed(figures))
}

/// For a moment it is 400 days later, and somebody does something then. Whoever was signed in is so again when it is over,
/// and entries keep their order. Why not, if so.
fn far(place: &Place, liar: &Liar) -> Result<Option<String>> {
    let anna = Person::register(place.address, "anna")?;
    let group = anna.group("Time")?;
    let before = anna.say(group, "before", "before")?;
    liar.say("+34560000")?;
    let during = anna.say(group, "during", "during")?;
    Person::register(place.address, "bert")?;
    liar.say("+0")?;
    let after = anna.say(group, "after", "after")?;
    let seq = |said: &(u16, serde_json::Value)| said.1["posted"]["seq"].as_u64().filter(|_| said.0 == 200);
    // A session that is 400 days old has run out; one that is not has not.
    let refused = during.0 == 401;
    let ordered = seq(&before).zip(seq(&after)).is_some_and(|(before, after)| before < after);
    Ok((!ordered || !refused)
        .then(|| format!("before {before:?}, 400 days later {during:?}, after {after:?}")))
}

/// F27: a server in 2038 and one in a leap second, each with clients that are in 1970 and in 2100.
pub(super) fn years(bed: &Bed) -> Result<Verdict> {
    let Some(library) = library() else { return Ok(Verdict::Skipped(MISSING.to_owned())) };
    if shell::find("env").is_none() {
        return Ok(Verdict::Skipped("env is not there".to_owned()));
    }
    let mut figures = String::new();
    // Seconds before 2^31 seconds have passed, before a leap second, and before summer time ends.
    for (number, now) in
        ["@2038-01-19 03:14:04", "@2016-12-31 23:59:56", "@2026-10-25 00:59:56"].into_iter().enumerate()
    {
        let place = Place::new(bed, &format!("F27-{number}"))?;
        let liar = |name: &str, time| Liar::new(&library, place.data.with_extension(name), time, false);
        let (server, early, late) = (
            liar("server", now)?,
            liar("early", "@1970-01-01 00:00:10")?,
            liar("late", "@2100-06-01 12:00:00")?,
        );
        let _server = place.start(&server.tool())?;
        let mut checkers = Vec::new();
        for (seed, client) in (bed.seed..).zip([&early, &late]) {
            checkers.push(Checker::start_with(bed, &client.tool(), place.address, seed, RATE / 2, &[])?);
        }
        std::thread::sleep(std::time::Duration::from_secs(8) * bed.times);
        for (checker, year) in checkers.into_iter().zip(["1970", "2100"]) {
            let found = match checker.heal() {
                Ok(found) => found,
                Err(error) => {
                    let why = format!("nobody can go on with the server of {now}: {error:#}");
                    return Ok(Verdict::Failed(why));
                }
            };
            figures.push_str(&format!("server {now}, clients {year}: {}; ", found.figures()));
            if found.broken {
                return Ok(verdict(&found, &figures));
            }
        }
    }
    Ok(Verdict::Passed(figures))
}
