//! The two queues of a store, one to its writer and one to its readers, and the order in which they end.

use std::sync::{Arc, atomic::Ordering};

use chinwag_domain::{Ask, port::Reading};

use super::pool::Pool;
use crate::{
    engine,
    sync::{
        AtomicBool,
        channel::{Sender, TrySendError},
        thread::JoinHandle,
    },
};

/// See the module.
pub(super) struct Front {
    queue: Option<Sender<Ask>>,
    writer: Option<JoinHandle<()>>,
    pool: Option<Pool>,
    stopped: Arc<AtomicBool>,
}

impl Front {
    /// In front of a writer that reads the other end of `queue`, and ends with it.
    pub(super) fn new(
        queue: Sender<Ask>,
        writer: JoinHandle<()>,
        pool: Pool,
        stopped: Arc<AtomicBool>,
    ) -> Self {
        Self { queue: Some(queue), writer: Some(writer), pool: Some(pool), stopped }
    }

    /// Hands a request to the writer, or answers at once that there is too much to do.
    pub(super) fn transact(&self, ask: Ask) {
        let Some(queue) = self.queue.as_ref().filter(|_| !self.stopped.load(Ordering::Acquire)) else {
            return (ask.ticket)(Err(engine::stopped()));
        };
        match queue.try_send(ask) {
            Ok(()) => {}
            Err(TrySendError::Full(ask)) => (ask.ticket)(Err(engine::busy())),
            Err(TrySendError::Disconnected(ask)) => (ask.ticket)(Err(engine::stopped())),
        }
    }

    /// Hands a reading to a reader.
    pub(super) fn read(&self, reading: Reading) {
        match &self.pool {
            Some(pool) => pool.read(reading),
            None => reading(Err(engine::stopped())),
        }
    }

    /// Answers what was asked of the readers, and ends them. To be done first: the writer's last checkpoint is then
    /// alone with the file.
    pub(super) fn stop_reading(&mut self) {
        self.pool = None;
    }

    /// Decides, commits and tells what was asked of the writer, and ends it.
    pub(super) fn stop_writing(&mut self) {
        self.queue = None;
        engine::join(self.writer.take().into_iter());
    }
}
