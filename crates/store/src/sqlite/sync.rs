//! Waiting for the disk: what the writer has committed is made durable here, and only then told.
//!
//! The writer's commits put their pages into the write-ahead log and do not wait. A thread of this file then calls
//! `fdatasync` on the log, once for everything that was committed until then, and tells it, in the order of the
//! commits. So the writer decides the next requests while the disk works. A slow disk gets several syncs at once,
//! each begun a part of a sync later, so that a request does not wait for the end of one that began before it came.
//!
//! Readers see a commit before it is durable. They wait ([`Durability::settle`]) before anybody hears what they saw:
//! a power cut must not take back what somebody knows, because its number would be given to something else.
//!
//! After the first sync that fails nothing is told any more. It is not tried again, for the kernel reports a failure
//! once: each thread has a descriptor of its own, opened before anything was written.

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use chinwag_domain::{Committed, Publish, record::Cursor};
use chinwag_protocol::{Event, LogId, Position, Seq};

use super::look::Beside;
use crate::engine;

/// So many syncs at once, if they take long.
const THREADS: u32 = 8;

/// A sync that takes less than this is waited for.
const SLOW: Duration = Duration::from_millis(25);

/// Requests that are committed and not yet told; beyond, the writer waits.
const WAITING_MAX: usize = 4 * engine::BATCH;

/// Ends the process because the disk failed.
pub(super) struct Fatal {
    stopped: Arc<AtomicBool>,
    tell: Box<dyn Fn() + Send + Sync>,
}

impl Fatal {
    pub(super) fn new(stopped: Arc<AtomicBool>, tell: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { stopped, tell }
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
    }
}

/// What is known about the commits, shared by the writer, the readers and the threads of this file.
#[derive(Default)]
pub(super) struct Durability {
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
    /// How long to wait before another sync is begun beside those that are running.
    fn pause(&self) -> Option<Duration> {
        let began = self.began.filter(|_| self.running > 0)?;
        #[cfg(feature = "canaries")]
        if crate::canary::is(crate::canary::Canary::OneSyncAtATime) {
            return Some(Duration::from_millis(1));
        }
        let gap = SLOW.max(self.took / (THREADS - 1));
        gap.checked_sub(began.elapsed()).filter(|left| !left.is_zero())
    }
}

impl Durability {
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
        while state.waiting.len() + state.on_their_way > WAITING_MAX && !state.failed {
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
    pub(super) fn fail(&self) {
        self.lock().failed = true;
        self.told.notify_all();
        self.work.notify_all();
    }
}

/// What the threads work with.
pub(super) struct Tools {
    pub(super) beside: Arc<Beside>,
    pub(super) publish: Arc<dyn Publish>,
    pub(super) fatal: Arc<Fatal>,
}

/// The threads.
pub(super) struct Syncs {
    beside: Arc<Beside>,
    threads: Vec<JoinHandle<()>>,
}

impl Syncs {
    /// Begins to sync the write-ahead log of the store in `file`. It is there already.
    pub(super) fn start(file: &Path, tools: Tools) -> io::Result<Self> {
        let log = file.with_extension("db-wal");
        // SQLite does this with its own first sync of a new log, which may come late.
        if let Some(folder) = file.parent() {
            File::open(folder)?.sync_all()?;
        }
        let beside = tools.beside.clone();
        let tools = Arc::new(tools);
        let mut syncs = Self { beside, threads: Vec::new() };
        for number in 0..THREADS {
            let (log, tools) = (File::open(&log)?, tools.clone());
            let thread = std::thread::Builder::new().name(format!("sync-{number}"));
            syncs.threads.push(thread.spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| run(&log, &tools))).is_err() {
                    tools.fatal.die("telling panicked", &"see above");
                    tools.beside.durability.fail();
                }
            })?);
        }
        Ok(syncs)
    }
}

impl Syncs {
    /// Waits until everything that was committed is told.
    pub(super) fn finish(&self) {
        let durability = &self.beside.durability;
        let is_open =
            |state: &mut State| !state.failed && (!state.waiting.is_empty() || state.on_their_way > 0);
        drop(durability.told.wait_while(durability.lock(), is_open));
    }
}

impl Drop for Syncs {
    /// Waits until everything is told.
    fn drop(&mut self) {
        self.beside.durability.lock().ending = true;
        self.beside.durability.work.notify_all();
        engine::join(self.threads.drain(..));
    }
}

fn run(log: &File, tools: &Tools) {
    let durability = &tools.beside.durability;
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
fn group<'d>(
    log: &File,
    tools: &Tools,
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
    let synced = if dirty { sync(log) } else { Ok(()) };
    let mut state = durability.lock();
    state.running -= 1;
    if dirty {
        state.took = began.elapsed();
    }
    if let Err(error) = synced {
        state.failed = true;
        drop(state);
        tools.fatal.die("cannot write to the disk", &error);
        durability.fail();
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
    tell(tools, group);
    state = durability.lock();
    // Only now: who reads it is told of it too, and had better be told first.
    durability.durable.store(number, Ordering::SeqCst);
    state.told = turn + 1;
    state.on_their_way -= count;
    durability.told.notify_all();
    state
}

fn sync(log: &File) -> io::Result<()> {
    #[cfg(feature = "canaries")]
    if crate::canary::is(crate::canary::Canary::NoSync) {
        return Ok(());
    }
    let synced = log.sync_data();
    #[cfg(feature = "canaries")]
    if crate::canary::is(crate::canary::Canary::FailedSyncIgnored) {
        return Ok(());
    }
    synced
}

/// After a sync: moves the authors' cursors, wakes the index, publishes.
fn tell(tools: &Tools, group: Vec<Committed>) {
    #[cfg(feature = "canaries")]
    if crate::canary::is(crate::canary::Canary::Hoards) {
        // Not zeros: those would take no memory.
        group.iter().for_each(|_| std::mem::forget(vec![1_u8; 512 * 1024]));
    }
    let mut grown: Vec<(LogId, Seq)> = Vec::new();
    for entry in group.iter().flat_map(|committed| &committed.entries) {
        match grown.iter_mut().rev().take(8).find(|(log, _)| *log == entry.log) {
            Some((_, head)) => *head = entry.seq,
            None => grown.push((entry.log, entry.seq)),
        }
        if let (LogId::Conversation(conversation), Event::Message(body)) = (entry.log, &entry.event) {
            // What one wrote oneself is read.
            let read = Position { seq: entry.seq, messages: body.number };
            tools.beside.cursors.advance((conversation, entry.by), Cursor { delivered: entry.seq, read });
        }
    }
    // All at once, so that the index never knows one part of a batch without the other.
    tools.beside.index.grown(&grown);
    tools.publish.publish(group);
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::symlink,
        sync::{atomic::AtomicU32, mpsc},
    };

    use chinwag_protocol::Refused;
    use tempfile::TempDir;

    use super::*;
    use crate::sqlite::{cursors::Cursors, search::SearchIndex};

    struct Tickets;

    impl Publish for Tickets {
        fn publish(&self, batch: Vec<Committed>) {
            batch.into_iter().for_each(|committed| (committed.ticket)(committed.verdict));
        }
    }

    struct Bed {
        syncs: Syncs,
        deaths: Arc<AtomicU32>,
        tell: mpsc::Sender<(u32, bool)>,
        told: mpsc::Receiver<(u32, bool)>,
        _folder: TempDir,
    }

    /// Threads over this file in the place of the log.
    fn bed(log: &str) -> Bed {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("chinwag.db");
        std::fs::write(folder.path().join("log"), "").unwrap();
        symlink(folder.path().join(log), file.with_extension("db-wal")).unwrap();
        let index = SearchIndex::open(&folder.path().join("search.db"), &file, "epoch", None);
        let beside = Arc::new(Beside { cursors: Cursors::new(), index, durability: Durability::default() });
        let (stopped, deaths) = (Arc::default(), Arc::new(AtomicU32::new(0)));
        let died = deaths.clone();
        let on_fatal = Box::new(move || {
            died.fetch_add(1, Ordering::SeqCst);
        });
        let fatal = Fatal::new(stopped, on_fatal);
        let tools = Tools { beside, publish: Arc::new(Tickets), fatal: Arc::new(fatal) };
        let (tell, told) = mpsc::channel();
        Bed { syncs: Syncs::start(&file, tools).unwrap(), deaths, tell, told, _folder: folder }
    }

    impl Bed {
        fn commit(&self, number: u32) {
            let tell = self.tell.clone();
            let ticket = Box::new(move |verdict: Result<_, _>| {
                // Whether it was told as it was decided, and not that the disk has failed.
                let decided = verdict.is_err_and(|refused: Refused| refused.code == "decided");
                tell.send((number, decided)).unwrap();
            });
            let verdict = Err(Refused::conflict("decided", "no"));
            self.syncs.beside.durability.begin();
            self.syncs.beside.durability.push(vec![Committed { entries: Vec::new(), ticket, verdict }], true);
        }
    }

    #[test]
    fn commits_are_told_in_their_order_once() {
        let bed = bed("log");
        for number in 0..2_000 {
            bed.commit(number);
        }
        bed.syncs.finish();
        let told: Vec<(u32, bool)> = bed.told.try_iter().collect();
        assert_eq!(told, (0..2_000).map(|number| (number, true)).collect::<Vec<_>>());
        assert!(bed.syncs.beside.durability.settle());
    }

    #[test]
    fn after_a_sync_that_failed_nothing_is_told() {
        // It cannot be synced, as a disk that fails.
        let bed = bed("/dev/null");
        for number in 0..20 {
            bed.commit(number);
        }
        let told: Vec<(u32, bool)> = (0..20).map(|_| bed.told.recv().unwrap()).collect();
        assert!(told.iter().all(|(_, decided)| !decided), "{told:?}");
        assert_eq!(bed.deaths.load(Ordering::SeqCst), 1);
        assert!(!bed.syncs.beside.durability.settle(), "what a reader saw will never be durable");
    }

    #[test]
    fn a_reader_waits_for_what_it_may_have_seen() {
        let bed = bed("log");
        let durability = &bed.syncs.beside.durability;
        assert!(durability.settle());
        durability.begin();
        std::thread::scope(|scope| {
            let (done, waited) = mpsc::channel();
            scope.spawn(move || done.send(durability.settle()).unwrap());
            assert!(waited.try_recv().is_err(), "nothing was synced");
            bed.commit(1);
            assert!(waited.recv().unwrap());
            assert_eq!(bed.told.recv().unwrap(), (1, true));
        });
    }
}
