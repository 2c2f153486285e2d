//! What threads meet at, under the names that the real crates use, with a scheduler behind it.
//!
//! Time is counted in waits: a wait for a queue that stays empty sometimes ends, and then as much time has passed as
//! it would have taken. So a schedule replays the same whatever the machine is busy with.

use std::{cell::Cell, ops::Add, sync::atomic::Ordering, time::Duration};

pub use std::sync::PoisonError;

pub use shuttle::{
    sync::{
        Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicUsize},
    },
    thread,
};
pub use tokio::sync::oneshot;

pub mod channel;

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static FORGETFUL: Cell<bool> = const { Cell::new(false) };
}

/// A moment of counted time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// How far the time of this thread's schedules has come.
    pub fn now() -> Self {
        Self(NOW.get())
    }

    fn pass(until: Self) {
        NOW.set(NOW.get().max(until.0));
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

/// A wake-up that is remembered until somebody waits for it; before it is given, another thread may go on.
#[derive(Debug, Default)]
pub struct Notify {
    inner: tokio::sync::Notify,
    border: AtomicBool,
}

impl Notify {
    /// Nobody was woken yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes who waits, or whoever waits next.
    pub fn notify_one(&self) {
        self.border.load(Ordering::SeqCst);
        if FORGETFUL.get() {
            self.inner.notify_waiters();
        } else {
            self.inner.notify_one();
        }
    }

    /// Waits to be woken.
    pub fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.inner.notified()
    }
}

/// Makes every wake-up of this thread's schedules a forgetful one, that reaches only who waits at that moment: broken
/// on purpose, to see that a lost wake-up would be found.
pub fn forget_wake_ups(forget: bool) {
    FORGETFUL.set(forget);
}
