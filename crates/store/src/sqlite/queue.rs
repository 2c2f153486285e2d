//! The writer's queue: what is waiting is decided in one transaction, committed once for all, and handed on to be told.
//!
//! It waits for nothing but requests: a batch is what has come in by the time it is taken, at most 2,048 requests and
//! about as much work as the last commit took. A commit that fails other than by a full disk is *unknown*: nothing is
//! acknowledged from then on, and the process is asked to end. A transaction that cannot be finished for another
//! reason is rolled back, and what was in it is decided again, one by one.
//!
//! What a transaction is, and what else there is to write, stands in [`super::writer`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use chinwag_domain::{Ask, Committed, Request, Stop, port::Verdict};
use chinwag_protocol::Entry;

use super::sync::{Durability, Fatal, Syncs};
use crate::{
    engine::{self, BATCH},
    sync::{
        Instant,
        channel::{Receiver, RecvTimeoutError},
    },
};

/// How much work one transaction takes at most: as much as the last commit took, within these bounds. So at least
/// half of the time is spent on work, however slow the disk is.
const WINDOW_LEAST: Duration = Duration::from_millis(2);
const WINDOW_MOST: Duration = Duration::from_millis(20);

/// What sort of trouble a write had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The disk is full: certainly not stored.
    Full,
    /// The disk failed: nobody knows.
    Disk,
    /// This one request could not be written.
    Request,
}

/// What came of a request inside the open transaction.
pub(super) struct Decided {
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) verdict: Verdict,
    /// It changed what others may see.
    pub(super) changed: bool,
}

/// What the queue is emptied into: a database with one transaction at a time, and what else has to be written there.
pub(super) trait Base {
    /// Begins a transaction.
    fn begin(&mut self) -> Result<(), Stop>;
    /// Decides a request and writes what came of it. An error means that the database could not be written: then the
    /// transaction may hold a part of it and must be rolled back.
    fn decide(&mut self, request: &Request) -> Result<Decided, Stop>;
    /// Writes into the transaction of a batch a piece of what can wait; after an error, no more until it went alone.
    fn take_along(&mut self) -> Result<(), Stop>;
    /// Ends the transaction: what it holds can be read, and is on its way to the disk.
    fn commit(&mut self) -> Result<(), Stop>;
    /// Takes back what the open transaction holds, if one is open.
    fn roll_back(&mut self);
    /// What sort of trouble an error of one of these is.
    fn trouble(stop: &Stop) -> Trouble;

    /// Whether the disk is full.
    fn is_full(&self) -> bool;
    /// The disk has become full.
    fn fill_up(&mut self);
    /// Looks whether a full disk has room again.
    fn look_for_room(&mut self);

    /// How long to wait for a request before there is something else to do.
    fn patience(&self) -> Duration;
    /// That time is over, and no request came.
    fn idle(&mut self);
    /// Something was decided and committed, or could not be; `batch`: it was not looked at one by one.
    fn after(&mut self, batch: bool);
    /// Nobody can ask any more, and everything is told.
    fn finish(&mut self);
}

/// See the module.
pub(super) struct Queue<B> {
    base: B,
    waiting: Receiver<Ask>,
    durability: Arc<Durability>,
    fatal: Arc<Fatal>,
    /// Makes commits durable and tells them.
    syncs: Syncs,
    window: Duration,
    /// The open transaction, or the last one, holds what others may see.
    dirty: bool,
}

/// A request that was decided inside the open transaction.
struct Step {
    ask: Ask,
    entries: Vec<Arc<Entry>>,
    verdict: Verdict,
}

impl Step {
    fn refused(ask: Ask, verdict: Verdict) -> Vec<Self> {
        vec![Self { ask, entries: Vec::new(), verdict }]
    }
}

impl<B: Base> Queue<B> {
    pub(super) fn new(
        base: B,
        waiting: Receiver<Ask>,
        durability: Arc<Durability>,
        fatal: Arc<Fatal>,
        syncs: Syncs,
    ) -> Self {
        Self { base, waiting, durability, fatal, syncs, window: WINDOW_LEAST, dirty: false }
    }

    /// Works until the store is dropped, then writes what is left to write.
    pub(super) fn run(mut self) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        if worked.is_err() {
            self.fatal.die("the writer panicked", &"see above");
        }
        // Whoever still asks is told so, until nobody can ask any more.
        for ask in &self.waiting {
            (ask.ticket)(Err(engine::stopped()));
        }
    }

    fn work(&mut self) {
        while !self.fatal.is_dead() {
            let mut batch = false;
            match self.waiting.recv_timeout(self.base.patience()) {
                Ok(first) if self.base.is_full() => self.alone(first),
                Ok(first) => {
                    self.batch(first);
                    batch = true;
                }
                Err(RecvTimeoutError::Timeout) => self.base.idle(),
                Err(RecvTimeoutError::Disconnected) => {
                    // Telling moves the cursors of authors, and these are yet to be written. To a disk that has failed
                    // nothing more is.
                    if self.syncs.finish() {
                        self.base.finish();
                    }
                    return;
                }
            }
            self.base.after(batch);
        }
    }

    fn decide(&mut self, request: &Request) -> Result<(Vec<Arc<Entry>>, Verdict), Stop> {
        let decided = self.base.decide(request)?;
        self.dirty |= decided.changed;
        Ok((decided.entries, decided.verdict))
    }

    fn commit(&mut self) -> Result<(), Stop> {
        if self.dirty {
            self.durability.begin();
        }
        self.base.commit()
    }

    fn roll_back(&mut self) {
        self.base.roll_back();
        self.dirty = false;
    }

    /// One transaction for what is waiting, `first` included.
    fn batch(&mut self, first: Ask) {
        let (began, waiting) = (Instant::now(), self.waiting.len());
        let mut steps: Vec<Step> = Vec::new();
        if let Err(stop) = self.base.begin() {
            return self.give_up(B::trouble(&stop), &stop, Vec::new(), first);
        }
        let mut next = Some(first);
        while let Some(ask) = next.take() {
            match self.decide(&ask.request) {
                Ok((entries, verdict)) => steps.push(Step { ask, entries, verdict }),
                Err(stop) => return self.give_up(B::trouble(&stop), &stop, steps, ask),
            }
            let has_room = steps.len() < BATCH && began.elapsed() < WINDOW_MOST;
            if has_room && (steps.len() < waiting || began.elapsed() < self.window) {
                next = self.waiting.try_recv().ok();
            }
        }
        #[cfg(feature = "canaries")]
        if crate::canary::tells_early(steps.first().map(|step| &step.ask.request)) {
            self.dirty = false;
            self.tell(std::mem::take(&mut steps));
            self.syncs.finish();
            // As long as a slow disk would take.
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Err(stop) = self.base.take_along() {
            let Some(last) = steps.pop() else { return self.roll_back() };
            return self.give_up(B::trouble(&stop), &stop, steps, last.ask);
        }
        let decided = Instant::now();
        match self.commit() {
            Ok(()) => {
                self.window = decided.elapsed().clamp(WINDOW_LEAST, WINDOW_MOST);
                self.tell(steps);
            }
            Err(stop) => {
                let Some(last) = steps.pop() else { return };
                // At a commit, whatever is not a full disk is unknown.
                let trouble = match B::trouble(&stop) {
                    Trouble::Full => Trouble::Full,
                    _ => Trouble::Disk,
                };
                self.give_up(trouble, &stop, steps, last.ask);
            }
        }
    }

    /// After a commit: hands it on to be made durable and told.
    fn tell(&mut self, steps: Vec<Step>) {
        let dirty = std::mem::take(&mut self.dirty);
        let committed = steps
            .into_iter()
            .map(|step| Committed { entries: step.entries, ticket: step.ask.ticket, verdict: step.verdict })
            .collect();
        self.durability.push(committed, dirty);
    }

    /// The transaction cannot be finished. `steps` were decided in it, `last` is where it broke.
    fn give_up(&mut self, trouble: Trouble, stop: &Stop, steps: Vec<Step>, last: Ask) {
        let asks = steps.into_iter().map(|step| step.ask).chain([last]);
        if trouble == Trouble::Disk {
            self.fatal.die("cannot write to the disk", stop);
            return asks.for_each(|ask| (ask.ticket)(Err(engine::stopped())));
        }
        self.roll_back();
        if trouble == Trouble::Full {
            self.base.fill_up();
        } else {
            tracing::warn!(error = %stop, "a batch is taken apart, because one of its requests cannot be written");
        }
        // A savepoint for each request would make SQLite copy every page that it changes. Instead, what was not
        // committed is decided again, one by one: rules are pure, and some were only repetitions.
        for ask in asks {
            self.alone(ask);
        }
    }

    /// One transaction for one request. While the disk is full, what reads or repeats is answered, what makes room
    /// is tried, everything else is refused.
    fn alone(&mut self, ask: Ask) {
        if self.fatal.is_dead() {
            return (ask.ticket)(Err(engine::stopped()));
        }
        self.base.look_for_room();
        let was_full = self.base.is_full();
        let decided = self.base.begin().and_then(|()| self.decide(&ask.request));
        let ended = decided.and_then(|step| self.commit().map(|()| step));
        let stop = match ended {
            Ok((entries, verdict)) => return self.tell(vec![Step { ask, entries, verdict }]),
            Err(stop) => stop,
        };
        match B::trouble(&stop) {
            Trouble::Disk => {
                self.fatal.die("cannot write to the disk", &stop);
                (ask.ticket)(Err(engine::stopped()));
            }
            Trouble::Full => {
                self.roll_back();
                self.base.fill_up();
                if !was_full {
                    tracing::warn!("there was no room after all");
                }
                self.tell(Step::refused(ask, Err(engine::storage_full())));
            }
            Trouble::Request => {
                self.roll_back();
                self.tell(Step::refused(ask, engine::verdict_of(stop)));
            }
        }
    }
}
