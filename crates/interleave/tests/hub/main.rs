//! Who hears what while members post, one is removed, a session is ended, and connections come, fall behind and come
//! back, in every order that a scheduler tries: the real hub, its outboxes, the session cache, and the queue and
//! threads of the store in memory under the real rules. Only the socket is left out.
//!
//! A failing schedule prints itself. `CHINWAG_SCHEDULE=… cargo test -p chinwag-interleave --test hub` runs it again;
//! `CHINWAG_SCHEDULES` says how many are tried, of each sort; `CHINWAG_BROKEN` names the one variant to be found.
#![allow(clippy::unwrap_used, reason = "a lock is poisoned only when a schedule has failed already")]

mod broken;
mod client;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use broken::Broken;
use chinwag_interleave::sync::forget_wake_ups;
use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

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

fn try_with(scheduler: impl Scheduler + 'static, broken: Broken) {
    Runner::new(scheduler, config()).run(move || world::live(broken));
}

#[test]
fn promises_hold_in_every_order_tried() {
    if let Ok(schedule) = std::env::var("CHINWAG_SCHEDULE") {
        shuttle::replay(|| world::live(Broken::Nothing), &schedule);
        return;
    }
    try_with(RandomScheduler::new(schedules()), Broken::Nothing);
    try_with(PctScheduler::new(CHANGES, schedules()), Broken::Nothing);
}

/// Whether a broken variant is found, and by what it breaks.
fn complaint(broken: Broken) -> Option<String> {
    forget_wake_ups(broken == Broken::WakeUpForgotten);
    let random = catch_unwind(AssertUnwindSafe(|| {
        try_with(RandomScheduler::new_from_seed(7, BROKEN_SCHEDULES), broken);
    }));
    let found = random.and_then(|()| {
        let scheduler = PctScheduler::new_from_seed(7, CHANGES, BROKEN_SCHEDULES);
        catch_unwind(AssertUnwindSafe(|| try_with(scheduler, broken)))
    });
    forget_wake_ups(false);
    let said = found.err()?;
    let text = said.downcast_ref::<String>().cloned();
    Some(text.or_else(|| said.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

#[test]
fn everything_broken_on_purpose_is_found() {
    let only = std::env::var("CHINWAG_BROKEN").ok();
    for broken in Broken::ALL
        .into_iter()
        .filter(|broken| only.as_ref().is_none_or(|name| format!("{broken:?}") == *name))
    {
        let said = complaint(broken).unwrap_or_else(|| panic!("{broken:?} was not found"));
        let breaks = broken.breaks();
        assert!(breaks.iter().any(|part| said.contains(part)), "{broken:?} should break {breaks:?}: {said}");
    }
}
