//! The scenarios: what is done to the server in each, and what must hold.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Bed, Scenario, Verdict, canary,
    disk::{self, Disk},
    place::Place,
    process::{Checker, Found, Random, Server, address},
    storage::uploads::{self, Uploader},
};
use crate::shell;

/// Every row that one node without calls can have.
pub(super) const ALL: &[Scenario] = &[
    Scenario { id: "F01", what: "killed at any moment", run: kill },
    Scenario { id: "F02", what: "killed at exact fdatasyncs", run: kill_at_sync },
    Scenario { id: "F03", what: "power cut", run: power_cut },
    Scenario {
        id: "F04",
        what: "power cut of a build that does not sync: must be seen",
        run: power_cut_canary,
    },
    Scenario { id: "F05", what: "the disk fails at a sync", run: failed_sync },
    Scenario { id: "F09", what: "slow disk", run: slow_disk },
    Scenario { id: "F11", what: "two servers on one folder", run: second_server },
    Scenario { id: "F13", what: "the server is stopped for seconds", run: frozen },
    Scenario { id: "F22", what: "everybody comes back at once", run: storm },
    Scenario { id: "F44", what: "asked to stop under load", run: terminated },
];

pub(super) const RATE: u32 = 600;

pub(super) fn verdict(found: &Found, figures: &str) -> Verdict {
    if found.broken {
        Verdict::Failed(format!("{figures}{}\n{}", found.figures(), found.text))
    } else {
        Verdict::Passed(format!("{figures}{}", found.figures()))
    }
}

fn kill(bed: &Bed) -> Result<Verdict> {
    let mut place = Place::new(bed, "F01")?;
    let mut server = place.start(&[])?;
    let mut checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    let kills = 20 * bed.times;
    let mut slowest = 0;
    for _ in 0..kills {
        place.random.pause_ms(150, 1_200);
        drop(server);
        checker.crash()?;
        server = place.start(&[])?;
        slowest = slowest.max(server.ready_ms);
    }
    let found = checker.heal()?;
    let figures = format!("{kills} kills, ready again in at most {slowest} ms; ");
    if slowest > 2_000 {
        return Ok(Verdict::Failed(figures));
    }
    Ok(verdict(&found, &figures))
}

/// The arguments of a `strace` that only looks at `fdatasync`, and does this to it.
fn strace(log: &Path, inject: &str) -> Vec<String> {
    let log = log.display().to_string();
    let inject = format!("inject=fdatasync:{inject}");
    ["strace", "-f", "-qq", "-ttt", "-o", &log, "-e", "trace=fdatasync", "-e", &inject]
        .iter()
        .map(|word| (*word).to_owned())
        .collect()
}

pub(super) fn no_strace() -> Option<Verdict> {
    shell::find("strace").is_none().then(|| Verdict::Skipped("strace is not installed".to_owned()))
}

pub(super) fn words(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

fn kill_at_sync(bed: &Bed) -> Result<Verdict> {
    if let Some(skipped) = no_strace() {
        return Ok(skipped);
    }
    let mut place = Place::new(bed, "F02")?;
    let log = place.data.with_extension("strace");
    let mut server = place.start(&[])?;
    let mut checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    let kills = 12 * bed.times;
    let mut at = Vec::new();
    for _ in 0..kills {
        drop(server);
        checker.crash()?;
        // Counted for each of the eight threads that sync; a start needs a few, which another start would do again.
        let number = 6 + place.random.below(40);
        let tool = strace(&log, &format!("signal=KILL:when={number}"));
        at.push(number);
        server = place.start(&words(&tool))?;
        if server.ended_within(Duration::from_secs(30)).is_none() {
            return Ok(Verdict::Failed(format!("fdatasync number {number} did not come in 30 s")));
        }
    }
    drop(server);
    checker.crash()?;
    let _server = place.start(&[])?;
    let found = checker.heal()?;
    Ok(verdict(&found, &format!("killed at fdatasync {at:?}; ")))
}

/// Some power cuts under load; what was found, how many files were acknowledged, and what became of those that are lost.
fn cuts(bed: &Bed, binary: &Path, name: &str, seed: u64, count: u32) -> Result<(Found, usize, Vec<String>)> {
    let disk = Disk::new(name)?;
    let mut random = Random(seed);
    let (data, address) = (disk.path().join("data"), address(&mut random));
    let mut server = Server::start(binary, &[], &data, address)?;
    let mut checker = Checker::start(bed, address, seed, RATE)?;
    let uploader = Uploader::start(address)?;
    for _ in 0..count {
        random.pause_ms(700, 2_500);
        disk.cut_power()?;
        drop(server);
        disk.unmount()?;
        checker.crash()?;
        disk.mount()?;
        server = Server::start(binary, &[], &data, address)?;
    }
    let found = checker.heal()?;
    let (files, lost) = uploader.found()?;
    Ok((found, files, lost))
}

fn power_cut(bed: &Bed) -> Result<Verdict> {
    if let Some(why) = disk::missing() {
        return Ok(Verdict::Skipped(why));
    }
    let count = 5 * bed.times;
    let (found, files, lost) = cuts(bed, &bed.server, "F03", bed.seed, count)?;
    let figures = format!("{count} cuts, {files} files acknowledged, {} of them lost; ", lost.len());
    if !lost.is_empty() {
        return Ok(Verdict::Failed(format!("{figures}{}; {}", found.figures(), lost.join("; "))));
    }
    Ok(verdict(&found, &figures))
}

fn power_cut_canary(bed: &Bed) -> Result<Verdict> {
    if let Some(why) = disk::missing() {
        return Ok(Verdict::Skipped(why));
    }
    let build = bed.wrong_build.as_deref().context("no wrong build was made")?;
    let (_folder, canary) = canary::wrapped(build, "no-sync")?;
    let (runs, mut broken, mut without, mut undone, mut said) = (10, 0, 0, 0, String::new());
    for run in 0..runs {
        match cuts(bed, &canary, &format!("F04-{run}"), bed.seed + run, 1) {
            Ok((found, _, _)) if found.broken => {
                broken += 1;
                found.text.lines().next().unwrap_or_default().clone_into(&mut said);
            }
            Ok(_) => {}
            // The store is from before the sessions were made: there is nobody left to read the end.
            Err(error) if format!("{error:#}").contains("the checker ended") => without += 1,
            // Our own trouble proves nothing.
            Err(error) => {
                undone += 1;
                println!("  run {run}: {error:#}");
            }
        }
    }
    let figures = format!(
        "{runs} runs: broken promises seen in {broken}, sessions lost in {without}, {undone} could not be done; {said}"
    );
    let blind = broken + without < 3;
    Ok(if blind {
        Verdict::Failed(format!("the test is blind: {figures}"))
    } else {
        Verdict::Passed(figures)
    })
}

fn failed_sync(bed: &Bed) -> Result<Verdict> {
    if let Some(skipped) = no_strace() {
        return Ok(skipped);
    }
    let mut place = Place::new(bed, "F05")?;
    let log = place.data.with_extension("strace");
    let mut server = place.start(&[])?;
    let mut checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    let runs = 5 * bed.times;
    let mut slowest = 0.0_f64;
    for _ in 0..runs {
        drop(server);
        checker.crash()?;
        let number = 8 + place.random.below(80);
        let tool = strace(&log, &format!("error=EIO:when={number}+"));
        server = place.start(&words(&tool))?;
        let Some(status) = server.ended_within(Duration::from_secs(30)) else {
            return Ok(Verdict::Failed(format!("it goes on after fdatasync {number} failed")));
        };
        let ended = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
        let text = fs::read_to_string(&log).context("what strace wrote")?;
        let first = text.lines().find(|line| line.contains("EIO")).context("no fdatasync failed")?;
        let failed: f64 = first.split_whitespace().nth(1).context("a time")?.parse()?;
        if status.success() {
            return Ok(Verdict::Failed(format!("it ended with {status} after fdatasync {number} failed")));
        }
        slowest = slowest.max(ended - failed);
        // What was acknowledged must be found although nothing could be synced from then on.
    }
    drop(server);
    checker.crash()?;
    let _server = place.start(&[])?;
    let found = checker.heal()?;
    let figures = format!("{runs} failures, ended with an error at most {:.0} ms after; ", slowest * 1000.0);
    if slowest > 1.0 {
        return Ok(Verdict::Failed(figures));
    }
    if let Some(why) = uploads::failed_sync(bed)? {
        return Ok(Verdict::Failed(format!("{why}; {figures}")));
    }
    Ok(verdict(&found, &figures))
}

fn slow_disk(bed: &Bed) -> Result<Verdict> {
    const DELAY_MS: u64 = 500;
    if let Some(skipped) = no_strace() {
        return Ok(skipped);
    }
    let place = Place::new(bed, "F09")?;
    let log = place.data.with_extension("strace");
    let mut tool = strace(&log, &format!("delay_enter={}", DELAY_MS * 1000));
    // Stopped at every system call, the server would be slow in itself. Each sync is timed.
    tool.splice(1..1, ["--seccomp-bpf".to_owned(), "-T".to_owned()]);
    let _server = place.start(&words(&tool))?;
    let checker = Checker::start(bed, place.address, bed.seed, 200)?;
    thread::sleep(Duration::from_secs(10) * bed.times);
    let found = checker.heal()?;
    let slowest = slowest_ms(&log)?;
    let figures = format!("{DELAY_MS} to {slowest} ms for each fdatasync; ");
    // A message waits for one sync, also that of somebody who comes back: not for what is read for him meanwhile. On
    // a busy machine some take longer than they were delayed.
    let in_time = found.answers_ms().is_some_and(|(_half, most)| most <= slowest + 100);
    if !in_time {
        return Ok(Verdict::Failed(format!("too slow: {figures}{}\n{}", found.figures(), found.text)));
    }
    Ok(verdict(&found, &figures))
}

/// The longest call that a log with times tells of.
fn slowest_ms(log: &Path) -> Result<u64> {
    let text = fs::read_to_string(log)?;
    let took = |line: &str| line.rsplit_once('<')?.1.strip_suffix('>')?.parse().ok();
    let slowest = text.lines().filter_map(took).max_by(f64::total_cmp).context("no call was timed")?;
    Ok(Duration::from_secs_f64(slowest).as_millis().try_into()?)
}

fn second_server(bed: &Bed) -> Result<Verdict> {
    let mut place = Place::new(bed, "F11")?;
    let _server = place.start(&[])?;
    let checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    let other = address(&mut place.random).to_string();
    let started = Instant::now();
    let mut second = Command::new(&bed.server)
        .args(["serve", "--listen", &other, "--data"])
        .arg(&place.data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut ended = None;
    while ended.is_none() && started.elapsed() < Duration::from_secs(5) {
        ended = second.try_wait()?;
        thread::sleep(Duration::from_millis(2));
    }
    let took = started.elapsed().as_millis();
    if ended.is_none() {
        second.kill()?;
        second.wait()?;
    }
    let Some(status) = ended else {
        return Ok(Verdict::Failed("it does not refuse a second server".to_owned()));
    };
    thread::sleep(Duration::from_secs(1));
    let found = checker.heal()?;
    let figures = format!("refused in {took} ms; ");
    if status.success() || took > 1_000 {
        return Ok(Verdict::Failed(format!("{status}: {figures}")));
    }
    Ok(verdict(&found, &figures))
}

fn frozen(bed: &Bed) -> Result<Verdict> {
    let mut place = Place::new(bed, "F13")?;
    let server = place.start(&[])?;
    let checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    for _ in 0..2 * bed.times {
        place.random.pause_ms(500, 1_500);
        server.signal("STOP");
        thread::sleep(Duration::from_secs(5));
        server.signal("CONT");
    }
    thread::sleep(Duration::from_secs(1));
    let found = checker.heal()?;
    Ok(verdict(&found, &format!("{} times 5 s; ", 2 * bed.times)))
}

fn storm(bed: &Bed) -> Result<Verdict> {
    let connections = if bed.times > 1 { "5000" } else { "1000" };
    let output = Command::new(&bed.server)
        .args(["bench", "--json", "reconnect", "--connections", connections])
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
    let report: Value = serde_json::from_str(line).unwrap_or_default();
    let figures: Vec<_> = report
        .as_object()
        .map(|all| {
            all.iter()
                .filter(|(_, value)| value.is_number())
                .map(|(name, value)| format!("{name} {value}"))
                .collect()
        })
        .unwrap_or_default();
    let figures = figures.join(", ");
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Ok(Verdict::Failed(format!("{}: {figures} {said}", output.status)));
    }
    let figure = |name: &str| report[name].as_f64().unwrap_or(f64::INFINITY);
    let mut wrong = Vec::new();
    if report["resumed"].as_f64().is_none_or(|resumed| resumed < 0.99 * figure("connections")) {
        wrong.push("not all were resumed");
    }
    if figure("back_p99_ms") > 15_000.0 || figure("all_back_ms") > 30_000.0 {
        wrong.push("coming back takes too long");
    }
    if figure("password_hashes") > 0.0 || figure("store_reads_per_connection") > 1.0 {
        wrong.push("coming back costs too much");
    }
    Ok(match wrong.is_empty() {
        true => Verdict::Passed(figures),
        false => Verdict::Failed(format!("{}: {figures}", wrong.join(", "))),
    })
}

fn terminated(bed: &Bed) -> Result<Verdict> {
    let mut place = Place::new(bed, "F44")?;
    let mut server = place.start(&[])?;
    let mut checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    let mut slowest = 0;
    for run in 0..4 * bed.times {
        place.random.pause_ms(500, 1_500);
        let asked = Instant::now();
        server.signal("TERM");
        let twice = run % 2 == 1;
        if twice {
            server.signal("TERM");
        }
        let Some(status) = server.ended_within(Duration::from_secs(10)) else {
            return Ok(Verdict::Failed("it does not end in 10 s".to_owned()));
        };
        slowest = slowest.max(asked.elapsed().as_millis());
        if !status.success() && !twice {
            return Ok(Verdict::Failed(format!("it ended with {status}")));
        }
        checker.crash()?;
        server = place.start(&[])?;
    }
    let found = checker.heal()?;
    Ok(verdict(&found, &format!("{} stops, the slowest took {slowest} ms; ", 4 * bed.times)))
}
