//! Who hears what while members post, one is removed, a session is ended, and connections come, fall behind and come
//! back, in every order that a scheduler tries: the real hub, its outboxes, the session cache, and the queue and
//! threads of the store in memory, and then of the one on disk, under the real rules. Only the socket is left out, and
//! the disk. What the store on disk does when that fails is tried without the hub ([`durable`]).
//!
//! A failing schedule prints itself. `CHINWAG_SCHEDULE=… cargo test -p chinwag-interleave --test hub` runs it again;
//! `CHINWAG_SCHEDULES` says how many are tried, of each sort; `CHINWAG_BROKEN` names the one variant to be found.
#![allow(clippy::unwrap_used, reason = "a lock is poisoned only when a schedule has failed already")]

mod broken;
mod client;
mod durable;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use broken::Broken;
use chinwag_interleave::{BROKEN, disk, sync::forget_wake_ups};
use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};
use world::Engine;

/// Schedules of each sort in an ordinary run.
const SCHEDULES: usize = 150;

/// A broken variant must be found within so many schedules of each sort.
const BROKEN_SCHEDULES: usize = 2_000;

/// How many times a scheduler that goes by ranks changes them.
const CHANGES: usize = 4;

fn config() -> Config {
    let mut config = Config::default();
    config.stack_size = 512 * 1024;
    config.max_steps = MaxSteps::FailAfter(200_000);
    config.failure_persistence = FailurePersistence::Print;
    config
}

fn schedules() -> usize {
    let wanted = std::env::var("CHINWAG_SCHEDULES").ok();
    wanted.map_or(SCHEDULES, |text| text.parse().unwrap_or_else(|_| panic!("{text} is no number")))
}

fn try_with(scheduler: impl Scheduler + 'static, live: impl Fn() + Send + Sync + 'static) {
    Runner::new(scheduler, config()).run(live);
}

/// Tries schedules of each sort, or the one that failed before.
fn try_all(live: impl Fn() + Clone + Send + Sync + 'static) {
    if let Ok(schedule) = std::env::var("CHINWAG_SCHEDULE") {
        return shuttle::replay(live, &schedule);
    }
    try_with(RandomScheduler::new(schedules()), live.clone());
    try_with(PctScheduler::new(CHANGES, schedules()), live);
}

#[test]
fn promises_hold_in_every_order_tried() {
    try_all(|| world::live(Broken::Nothing, Engine::Memory));
}

#[test]
fn promises_hold_over_the_store_on_disk_too() {
    try_all(|| world::live(Broken::Nothing, Engine::Disk));
}

#[test]
fn what_is_told_is_on_disk_in_order_and_everybody_is_answered() {
    try_all(|| durable::live(disk::engine::open));
}

/// Whether a broken variant is found, and by what it breaks.
fn complaint(live: impl Fn() + Clone + Send + Sync + 'static) -> Option<String> {
    let random = catch_unwind(AssertUnwindSafe(|| {
        try_with(RandomScheduler::new_from_seed(7, BROKEN_SCHEDULES), live.clone());
    }));
    let found = random.and_then(|()| {
        let scheduler = PctScheduler::new_from_seed(7, CHANGES, BROKEN_SCHEDULES);
        catch_unwind(AssertUnwindSafe(|| try_with(scheduler, live)))
    });
    let said = found.err()?;
    let text = said.downcast_ref::<String>().cloned();
    Some(text.or_else(|| said.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

/// Whether this broken variant is to be tried.
fn is_wanted(name: &str) -> bool {
    std::env::var("CHINWAG_BROKEN").ok().is_none_or(|only| only == name)
}

fn must_be_found(name: &str, breaks: &[&str], live: impl Fn() + Clone + Send + Sync + 'static) {
    let said = complaint(live).unwrap_or_else(|| panic!("{name} was not found"));
    assert!(breaks.iter().any(|part| said.contains(part)), "{name} should break {breaks:?}: {said}");
}

#[test]
fn everything_broken_on_purpose_is_found() {
    for broken in Broken::ALL.into_iter().filter(|broken| is_wanted(&format!("{broken:?}"))) {
        forget_wake_ups(broken == Broken::WakeUpForgotten);
        must_be_found(&format!("{broken:?}"), broken.breaks(), move || world::live(broken, Engine::Memory));
        forget_wake_ups(false);
    }
}

#[test]
fn every_way_to_break_the_store_is_found() {
    for (name, open, breaks) in BROKEN.iter().copied().filter(|(name, ..)| is_wanted(name)) {
        must_be_found(name, breaks, move || durable::live(open));
    }
}
