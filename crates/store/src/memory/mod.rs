//! The engine for tests and trials: everything in memory, gone with the process.
//!
//! It keeps the same promises as the others but durability, and is simple enough to be believed: the suite holds
//! the other engines to it.

mod reader;
mod state;

use std::{
    hash::{BuildHasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
};

use chinwag_domain::{Ask, Committed, Publish, Store, port::Reading, record::Cursor};
use chinwag_protocol::{ConversationId, Millis, UserId};

use crate::{
    engine::{self, BATCH, Clock, Decide, QUEUE, READING_QUEUE},
    sync::{
        RwLock, RwLockReadGuard, RwLockWriteGuard,
        channel::{Receiver, Sender, TrySendError, bounded},
        thread::{self, JoinHandle},
    },
};
pub use state::State;

/// See the module. Dropping it finishes what is in the queues.
pub struct MemoryStore {
    state: Arc<RwLock<State>>,
    asks: Option<Sender<Ask>>,
    readings: Option<Sender<Reading>>,
    threads: Vec<JoinHandle<()>>,
    epoch: String,
}

impl MemoryStore {
    /// An empty store with the given rules.
    pub fn new(decide: Decide, clock: Clock, publish: Arc<dyn Publish>) -> Self {
        Self::with_queue(decide, clock, publish, QUEUE)
    }

    /// The same with another length of its queue.
    pub fn with_queue(decide: Decide, clock: Clock, publish: Arc<dyn Publish>, queue: usize) -> Self {
        Self::beginning_with(State::default(), decide, clock, publish, queue)
    }

    /// The same, over what was decided before.
    pub fn beginning_with(
        state: State,
        decide: Decide,
        clock: Clock,
        publish: Arc<dyn Publish>,
        queue: usize,
    ) -> Self {
        let state = Arc::new(RwLock::new(state));
        let (asks, waiting) = bounded(queue);
        let mut writer = Writer { state: state.clone(), decide, clock, publish, last_at: Millis(0) };
        let mut threads = vec![thread::spawn(move || writer.run(&waiting))];
        let (readings, waiting) = bounded(READING_QUEUE);
        for _ in 0..2 {
            let (state, waiting) = (state.clone(), waiting.clone());
            threads.push(thread::spawn(move || read_all(&state, &waiting)));
        }
        let epoch = format!("{:016x}", RandomState::new().hash_one("epoch"));
        Self { state, asks: Some(asks), readings: Some(readings), threads, epoch }
    }
}

fn read_all(state: &RwLock<State>, waiting: &Receiver<Reading>) {
    for reading in waiting {
        let state = shared(state);
        if catch_unwind(AssertUnwindSafe(|| reading(Ok(&*state)))).is_err() {
            tracing::error!("a reading panicked");
        }
    }
}

// A panic never happens while the state is half changed: the rules run over it before anything is kept.
fn shared(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone(state: &RwLock<State>) -> RwLockWriteGuard<'_, State> {
    state.write().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    state: Arc<RwLock<State>>,
    decide: Decide,
    clock: Clock,
    publish: Arc<dyn Publish>,
    last_at: Millis,
}

impl Writer {
    fn run(&mut self, waiting: &Receiver<Ask>) {
        while let Ok(first) = waiting.recv() {
            let mut batch = Vec::new();
            // In a statement of its own: whoever is told may read at once, so the lock is gone by then.
            {
                let state = self.state.clone();
                let mut state = alone(&state);
                let asks = std::iter::once(first).chain(waiting.try_iter()).take(BATCH);
                for ask in asks {
                    let at = self.last_at.max((self.clock)());
                    let (entries, verdict) = state.decide(&*self.decide, at, &ask.request);
                    if !entries.is_empty() {
                        self.last_at = at;
                    }
                    batch.push(Committed { entries, ticket: ask.ticket, verdict });
                }
            }
            self.publish.publish(batch);
        }
    }
}

impl Store for MemoryStore {
    fn transact(&self, ask: Ask) {
        let Some(queue) = &self.asks else { return (ask.ticket)(Err(engine::stopped())) };
        match queue.try_send(ask) {
            Ok(()) => {}
            Err(TrySendError::Full(ask)) => (ask.ticket)(Err(engine::busy())),
            Err(TrySendError::Disconnected(ask)) => (ask.ticket)(Err(engine::stopped())),
        }
    }

    fn read(&self, reading: Reading) {
        let Some(queue) = &self.readings else { return reading(Err(engine::stopped())) };
        match queue.try_send(reading) {
            Ok(()) => {}
            Err(TrySendError::Full(reading)) => reading(Err(engine::busy())),
            Err(TrySendError::Disconnected(reading)) => reading(Err(engine::stopped())),
        }
    }

    fn move_cursor(&self, conversation: ConversationId, user: UserId, to: Cursor) -> Cursor {
        alone(&self.state).move_cursor(conversation, user, to)
    }

    fn epoch(&self) -> String {
        self.epoch.clone()
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.asks = None;
        self.readings = None;
        engine::join(self.threads.drain(..));
    }
}
