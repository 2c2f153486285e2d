//! Waiting for the disk: what the writer has committed is made durable here, and only then told.
//!
//! The writer's commits put their pages into the write-ahead log and do not wait. A thread of this file then syncs the
//! log, once for everything that was committed until then, and tells it, in the order of the commits. So the writer
//! decides the next requests while the disk works. A slow disk gets several syncs at once, each begun a part of a sync
//! later, so that a request does not wait for the end of one that began before it came.
//!
//! Readers see a commit before it is durable. They wait ([`Durability::settle`]) before anybody hears what they saw:
//! a power cut must not take back what somebody knows, because its number would be given to something else.
//!
//! After the first sync that fails nothing is told any more. It is not tried again, for the kernel reports a failure
//! once: each thread has a descriptor of its own, opened before anything was written.
//!
//! What a sync is and what telling means stands in [`super::telling`]; here is only who waits for whom.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chinwag_domain::Committed;

use crate::{
    engine,
    sync::{
        AtomicBool, AtomicU64, Condvar, Instant, Mutex, MutexGuard, PoisonError,
        thread::{self, JoinHandle},
    },
};

/// So many syncs at once, if they take long.
pub(super) const THREADS: u32 = 8;

/// A sync that takes less than this is waited for.
const SLOW: Duration = Duration::from_millis(25);

/// Requests that are committed and not yet told; beyond, the writer waits.
pub(super) const WAITING_MAX: usize = 4 * engine::BATCH;

/// What commits were written to.
pub(super) trait Log: Send + 'static {
    /// Waits until everything that was written before is on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// What is to be done with commits that are on the disk.
pub(super) trait Tell: Send + Sync + 'static {
    /// Tells them; those of one call were taken together, and came after those of the call before.
    fn tell(&self, group: Vec<Committed>);
}

/// Ends the process because the disk failed.
pub(super) struct Fatal {
    stopped: Arc<AtomicBool>,
    durability: Arc<Durability>,
    tell: Box<dyn Fn() + Send + Sync>,
}

impl Fatal {
    pub(super) fn new(
        stopped: Arc<AtomicBool>,
        durability: Arc<Durability>,
        tell: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { stopped, durability, tell }
    }

    /// Whether nothing is accepted any more.
    pub(super) fn is_dead(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Nothing is acknowledged any more, and the process is to end.
    pub(super) fn die(&self, what: &str, error: &dyn std::fmt::Display) {
        if !self.stopped.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "{what}; nothing is accepted any more, the process ends");
            (self.tell)();
        }
        self.durability.fail();
    }
}

/// What is known about the commits, shared by the writer, the readers and the threads of this file.
pub(super) struct Durability {
    /// So many requests may be committed and not yet told.
    most: usize,
    /// Commits that were begun, and those of them that are durable.
    begun: AtomicU64,
    durable: AtomicU64,
    state: Mutex<State>,
    /// There is something to sync.
    work: Condvar,
    /// Something was told, or failed.
    told: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Committed>,
    /// The last commit in `waiting`.
    number: u64,
    /// Something in `waiting` has changed the store.
    dirty: bool,
    /// Groups that a thread took, and groups that were told: in the order in which they were taken.
    taken: u64,
    told: u64,
    /// Requests taken and not yet told.
    on_their_way: usize,
    running: u32,
    began: Option<Instant>,
    /// How long a sync took lately.
    took: Duration,
    failed: bool,
    ending: bool,
}

impl State {
    /// How long to wait before another sync is begun beside those that are running. At the end nobody waits: whoever
    /// goes last wakes nobody.
    fn pause(&self) -> Option<Duration> {
        let began = self.began.filter(|_| self.running > 0 && !self.ending)?;
        #[cfg(feature = "canaries")]
        if crate::canary::is(crate::canary::Canary::OneSyncAtATime) {
            return Some(Duration::from_millis(1));
        }
        let gap = SLOW.max(self.took / (THREADS - 1));
        gap.checked_sub(began.elapsed()).filter(|left| !left.is_zero())
    }
}

impl Durability {
    pub(super) fn new(most: usize) -> Self {
        let (begun, durable) = (AtomicU64::new(0), AtomicU64::new(0));
        let (work, told) = (Condvar::new(), Condvar::new());
        Self { most, begun, durable, state: Mutex::default(), work, told }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer is about to commit what others may see.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes what was committed since the last time. Everything that was begun is committed now, or was rolled back.
    pub(super) fn push(&self, committed: Vec<Committed>, dirty: bool) {
        let mut state = self.lock();
        while state.waiting.len() + state.on_their_way > self.most && !state.failed {
            state = self.told.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.extend(committed);
        state.number = self.begun.load(Ordering::SeqCst);
        state.dirty |= dirty;
        drop(state);
        self.work.notify_one();
    }

    /// Whether everything that is committed now is durable.
    pub(super) fn is_settled(&self) -> bool {
        let begun = self.begun.load(Ordering::SeqCst);
        self.durable.load(Ordering::SeqCst) >= begun
    }

    /// Waits until everything that is committed now is durable; `false` if it never will be.
    pub(super) fn settle(&self) -> bool {
        let begun = self.begun.load(Ordering::SeqCst);
        if self.durable.load(Ordering::SeqCst) >= begun {
            return true;
        }
        let state = self.lock();
        let is_open = |state: &mut State| !state.failed && self.durable.load(Ordering::SeqCst) < begun;
        let state = self.told.wait_while(state, is_open).unwrap_or_else(PoisonError::into_inner);
        !state.failed
    }

    /// Nothing will be durable any more.
    fn fail(&self) {
        self.lock().failed = true;
        self.told.notify_all();
        self.work.notify_all();
    }
}

/// What the threads work with.
pub(super) struct Tools<T> {
    pub(super) durability: Arc<Durability>,
    pub(super) fatal: Arc<Fatal>,
    pub(super) tell: T,
}

/// The threads.
pub(super) struct Syncs {
    durability: Arc<Durability>,
    threads: Vec<JoinHandle<()>>,
}

impl Syncs {
    /// Begins to sync: a thread for each way to the log.
    pub(super) fn start<L: Log, T: Tell>(logs: Vec<L>, tools: Tools<T>) -> io::Result<Self> {
        let durability = tools.durability.clone();
        let tools = Arc::new(tools);
        let mut syncs = Self { durability, threads: Vec::new() };
        for (number, log) in logs.into_iter().enumerate() {
            let tools = tools.clone();
            let thread = thread::Builder::new().name(format!("sync-{number}"));
            syncs.threads.push(thread.spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| run(&log, &tools))).is_err() {
                    tools.fatal.die("telling panicked", &"see above");
                }
            })?);
        }
        Ok(syncs)
    }

    /// Waits until everything that was committed is told; `false` if it never will be.
    pub(super) fn finish(&self) -> bool {
        let durability = &self.durability;
        let is_open =
            |state: &mut State| !state.failed && (!state.waiting.is_empty() || state.on_their_way > 0);
        let state = durability.told.wait_while(durability.lock(), is_open);
        !state.unwrap_or_else(PoisonError::into_inner).failed
    }
}

impl Drop for Syncs {
    /// Waits until everything is told.
    fn drop(&mut self) {
        self.durability.lock().ending = true;
        self.durability.work.notify_all();
        engine::join(self.threads.drain(..));
    }
}

fn run<L: Log, T: Tell>(log: &L, tools: &Tools<T>) {
    let durability = &*tools.durability;
    let mut state = durability.lock();
    loop {
        if state.waiting.is_empty() {
            if state.ending {
                return;
            }
            state = durability.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        if let Some(pause) = state.pause() {
            state = durability.work.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        state = group(log, tools, durability, state);
    }
}

/// Syncs and tells what waits.
fn group<'d, L: Log, T: Tell>(
    log: &L,
    tools: &Tools<T>,
    durability: &'d Durability,
    mut state: MutexGuard<'d, State>,
) -> MutexGuard<'d, State> {
    let group = std::mem::take(&mut state.waiting);
    if state.failed {
        // Not even begun: the next sync would say that all is well, of other data than was lost.
        drop(state);
        group.into_iter().for_each(|committed| (committed.ticket)(Err(engine::stopped())));
        return durability.lock();
    }
    let (number, count, dirty) = (state.number, group.len(), std::mem::take(&mut state.dirty));
    let turn = state.taken;
    let began = Instant::now();
    (state.taken, state.running, state.began) = (turn + 1, state.running + 1, Some(began));
    state.on_their_way += count;
    drop(state);
    let synced = if dirty { log.sync() } else { Ok(()) };
    let mut state = durability.lock();
    state.running -= 1;
    if dirty {
        state.took = began.elapsed();
    }
    if let Err(error) = synced {
        state.failed = true;
        drop(state);
        tools.fatal.die("cannot write to the disk", &error);
        state = durability.lock();
    }
    let is_early = |state: &mut State| state.told != turn && !state.failed;
    let mut state = durability.told.wait_while(state, is_early).unwrap_or_else(PoisonError::into_inner);
    if state.failed {
        drop(state);
        group.into_iter().for_each(|committed| (committed.ticket)(Err(engine::stopped())));
        return durability.lock();
    }
    drop(state);
    tools.tell.tell(group);
    state = durability.lock();
    // Only now: who reads it is told of it too, and had better be told first.
    durability.durable.store(number, Ordering::SeqCst);
    state.told = turn + 1;
    state.on_their_way -= count;
    durability.told.notify_all();
    state
}
