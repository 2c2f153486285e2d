//! The whole core in one thread, with virtual time, from a seed: rules, hub, connections, clients, and a store that
//! can lose what it has not committed. See `docs/promises.md` for what it holds.
//!
//! A failing seed prints itself and replays with `CHINWAG_SEED=n cargo test -p chinwag-server --test simulation`;
//! `CHINWAG_SEEDS` and `CHINWAG_FROM` say how many are run and from which on.

#![allow(clippy::unwrap_used, reason = "a simulation that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "a failing seed is told to a person")]

mod canary;
mod chance;
mod device;
mod disk;
mod link;
mod oracle;
mod people;
mod waits;
mod world;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use canary::Canary;
use waits::Wait;
use world::World;

/// Steps under faults of each seed.
const STEPS: usize = 4_000;
/// Seeds of each ordinary run.
const SEEDS: u64 = 200;
/// Every so many seeds, one runs twice.
const TWICE: u64 = 50;
/// A broken variant must be found within so many seeds.
const CANARY_SEEDS: u64 = 1_000;

/// What came of a seed.
struct Outcome {
    hash: u64,
    recorded: u64,
    broken: Option<String>,
    crashed_at: BTreeSet<Wait>,
    last_words: Vec<String>,
}

fn run(seed: u64, canary: Option<Canary>) -> Outcome {
    let mut world = World::new(seed, canary);
    world.live(STEPS);
    if world.oracle.broken.is_none() {
        world.heal();
    }
    if world.oracle.broken.is_none() {
        world.compare_all();
    }
    let rare = format!("{:?}", world.rare());
    let mut last_words: Vec<String> = world.log.drain(..).collect();
    last_words.push(rare);
    Outcome {
        hash: world.hash(),
        recorded: world.oracle.recorded(),
        broken: world.oracle.broken.take(),
        crashed_at: std::mem::take(&mut world.crashed_at),
        last_words,
    }
}

fn commit() -> String {
    let output = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default().trim().to_owned()
}

/// Runs a seed; complains in full if it fails.
fn judge(seed: u64) -> Result<u64, String> {
    let outcome = run(seed, None);
    let Some(broken) = outcome.broken else {
        if seed.is_multiple_of(TWICE) && run(seed, None).hash != outcome.hash {
            return Err(format!("seed {seed} does not run the same twice"));
        }
        return Ok(outcome.recorded);
    };
    Err(format!(
        "seed {seed} at commit {}: {broken}\nreplay: CHINWAG_SEED={seed} cargo test -p chinwag-server --test simulation",
        commit()
    ))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn promises_hold_under_every_seed() {
    if let Some(seed) = number("CHINWAG_SEED") {
        let outcome = run(seed, None);
        if let Some(broken) = outcome.broken {
            for line in outcome.last_words {
                eprintln!("{line}");
            }
            panic!("seed {seed} at commit {}: {broken}", commit());
        }
        return;
    }
    let (from, count) = (number("CHINWAG_FROM").unwrap_or(1), number("CHINWAG_SEEDS").unwrap_or(SEEDS));
    let (next, recorded) = (AtomicU64::new(from), AtomicU64::new(0));
    let failures = std::sync::Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Each world lives in one thread; several worlds live side by side.
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count || failures.lock().unwrap().len() >= 5 {
                        return;
                    }
                    match judge(seed) {
                        Ok(entries) => drop(recorded.fetch_add(entries, Ordering::Relaxed)),
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
    eprintln!("{count} seeds from {from}, {} entries recorded", recorded.into_inner());
}

/// Seeds that once found something, with what it was. Each stays good for it only as long as the simulation makes the
/// same choices; the ordinary tests of these parts hold the cases themselves.
const FOUND: [(u64, &str); 4] = [
    (7, "M4: a catch-up went on after its session had ended"),
    (1_069, "C2: a place guessed while its entries were not at hand was never put right"),
    (250, "D5: a copy of a refused message, on a connection that was cut, was recorded after all"),
    (1_374, "L3: who left and came back while a gap was being filled never heard the rest of it"),
];

#[test]
fn seeds_that_found_something_stay_good() {
    for (seed, what) in FOUND {
        if let Err(failure) = judge(seed) {
            panic!("{what}, again? {failure}");
        }
    }
}

/// Crashes prove little that come when nothing is under way.
#[test]
fn the_server_crashes_at_every_wait() {
    let mut missing: BTreeSet<Wait> = Wait::ALL.into();
    for seed in 1..=SEEDS {
        for wait in run(seed, None).crashed_at {
            missing.remove(&wait);
        }
        if missing.is_empty() {
            return;
        }
    }
    panic!("in {SEEDS} seeds the server never crashed at {missing:?}");
}

#[test]
fn every_broken_variant_is_found() {
    std::thread::scope(|scope| {
        for canary in Canary::ALL {
            scope.spawn(move || {
                let is_meant = |broken: &String| canary.breaks().iter().any(|id| broken.starts_with(id));
                let found = (1..=CANARY_SEEDS)
                    .find_map(|seed| Some((seed, run(seed, Some(canary)).broken.filter(is_meant)?)));
                let (seed, broken) = found.unwrap_or_else(|| panic!("{canary:?} was not found"));
                eprintln!("{canary:?} found by seed {seed}: {}", broken.lines().next().unwrap_or_default());
            });
        }
    });
}
