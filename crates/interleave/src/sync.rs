//! What threads meet at, under the names that the real crates use, with a scheduler behind it.
//!
//! Time is counted in waits: a wait for a queue that stays empty sometimes ends, and then as much time has passed as
//! it would have taken. So a schedule replays the same whatever the machine is busy with.

use std::{
    cell::Cell,
    ops::Add,
    sync::{LockResult, atomic::Ordering},
    time::Duration,
};

pub use std::sync::PoisonError;

use shuttle::rand::{Rng, thread_rng};
pub use shuttle::{
    sync::{
        Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
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

    /// How much of it has passed since then.
    pub fn elapsed(&self) -> Duration {
        NOW.get().saturating_sub(self.0)
    }

    fn pass(until: Self) {
        NOW.set(NOW.get().max(until.0));
    }
}

/// Something took so long.
pub fn pass(time: Duration) {
    Instant::pass(Instant::now() + time);
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

/// A place to wait at until somebody says that something has changed.
#[derive(Debug, Default)]
pub struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    /// Nobody waits here yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits to be woken.
    ///
    /// # Errors
    /// If somebody panicked while he held the lock.
    pub fn wait<'g, T>(&self, guard: MutexGuard<'g, T>) -> LockResult<MutexGuard<'g, T>> {
        self.0.wait(guard)
    }

    /// Waits to be woken when something is no longer so.
    ///
    /// # Errors
    /// If somebody panicked while he held the lock.
    pub fn wait_while<'g, T>(
        &self,
        guard: MutexGuard<'g, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'g, T>> {
        self.0.wait_while(guard, condition)
    }

    /// Waits to be woken or for so long, which is sometimes over at once and sometimes never: a wake-up that is lost
    /// must not be hidden by the clock. Whether time was up is not told.
    ///
    /// # Errors
    /// If somebody panicked while he held the lock.
    pub fn wait_timeout<'g, T>(
        &self,
        guard: MutexGuard<'g, T>,
        at_most: Duration,
    ) -> LockResult<(MutexGuard<'g, T>, ())> {
        if thread_rng().gen_ratio(1, 4) {
            pass(at_most);
            return Ok((guard, ()));
        }
        match self.0.wait(guard) {
            Ok(guard) => Ok((guard, ())),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), ()))),
        }
    }

    /// Wakes one of those who wait.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
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
