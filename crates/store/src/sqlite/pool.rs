//! The readers: threads with a view of the store each, fed by a bounded queue.
//!
//! Each reading runs inside one transaction, so all its look-ups see the same commits; it begins after the reading
//! was asked for, so it sees everything published before. What it sees is durable before anybody hears of it.
//!
//! How the store is looked at stands in [`super::view`]; here is only who waits for whom.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use chinwag_domain::{Failed, Reader, port::Reading};

use super::sync::Durability;
use crate::{
    engine,
    sync::{
        channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded},
        thread::{self, JoinHandle},
    },
};

/// So many readings more wait for the disk together.
const TOGETHER: usize = 63;

/// After so long without a reading, a reader gives back what it holds in memory.
const QUIET: Duration = Duration::from_secs(5);
const FOREVER: Duration = Duration::from_secs(3_600);

/// What a reader looks at.
pub(super) trait View: Send + 'static {
    /// Decides which commits are seen until the end: those until now.
    fn begin(&self) -> Result<(), Failed>;
    /// The store as it was at the beginning.
    fn reader(&self) -> impl Reader;
    /// Lets go of what was decided at the beginning, if anything was.
    fn end(&self);
    /// Gives back what is held in memory: there was nothing to read for a while.
    fn slim(&self);
}

/// See the module.
pub(super) struct Pool {
    queue: Option<Sender<Reading>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Begins to read: a thread for each view.
    pub(super) fn start<V: View>(
        views: Vec<V>,
        durability: &Arc<Durability>,
        most: usize,
    ) -> io::Result<Self> {
        let (queue, waiting) = bounded(most);
        let mut pool = Self { queue: Some(queue), threads: Vec::with_capacity(views.len()) };
        for (number, view) in views.into_iter().enumerate() {
            let (durability, waiting) = (durability.clone(), waiting.clone());
            let thread = thread::Builder::new().name(format!("reader-{number}"));
            pool.threads.push(thread.spawn(move || run(&view, &durability, &waiting))?);
        }
        Ok(pool)
    }

    /// Hands a reading to the next free reader, or answers at once that there is too much to do.
    pub(super) fn read(&self, reading: Reading) {
        let Some(queue) = &self.queue else { return reading(Err(engine::stopped())) };
        match queue.try_send(reading) {
            Ok(()) => {}
            Err(TrySendError::Full(reading)) => reading(Err(engine::busy())),
            Err(TrySendError::Disconnected(reading)) => reading(Err(engine::stopped())),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue = None;
        engine::join(self.threads.drain(..));
    }
}

fn run<V: View>(view: &V, durability: &Durability, waiting: &Receiver<Reading>) {
    let mut fat = false;
    loop {
        let reading = match waiting.recv_timeout(if fat { QUIET } else { FOREVER }) {
            Ok(reading) => reading,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if fat {
                    view.slim();
                }
                fat = false;
                continue;
            }
        };
        fat = true;
        let mut readings = vec![reading];
        let mut begun = view.begin();
        if begun.is_ok() && !durability.is_settled() {
            // Those that wait too wait for the same sync, over a state that was taken after they were asked for.
            view.end();
            readings.extend(waiting.try_iter().take(TOGETHER));
            begun = view.begin();
        }
        let ready = match begun {
            Ok(()) if durability.settle() => Ok(()),
            Ok(()) => Err(engine::stopped()),
            Err(error) => Err(engine::failed(&error)),
        };
        let reader = view.reader();
        for reading in readings {
            let given = ready.clone().map(|()| &reader as &dyn Reader);
            if catch_unwind(AssertUnwindSafe(|| reading(given))).is_err() {
                tracing::error!("a reading panicked");
            }
        }
        drop(reader);
        view.end();
    }
}
