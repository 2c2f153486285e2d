//! A queue between threads, with the part of crossbeam's face that the real crates use.

use std::{collections::VecDeque, sync::Arc, time::Duration};

pub use crossbeam_channel::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
use shuttle::{
    rand::{Rng, thread_rng},
    sync::{Condvar, Mutex, MutexGuard},
};

use super::Instant;

struct Shared<T> {
    inner: Mutex<Inner<T>>,
    came: Condvar,
}

struct Inner<T> {
    items: VecDeque<T>,
    most: usize,
    senders: usize,
    receivers: usize,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().expect("nothing panics while it holds this lock")
    }
}

/// The end that things are put into.
pub struct Sender<T>(Arc<Shared<T>>);

/// The end that things are taken from.
pub struct Receiver<T>(Arc<Shared<T>>);

/// A queue without a bound.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

/// A queue that holds so many things.
pub fn bounded<T>(most: usize) -> (Sender<T>, Receiver<T>) {
    let inner = Mutex::new(Inner { items: VecDeque::new(), most, senders: 1, receivers: 1 });
    let shared = Arc::new(Shared { inner, came: Condvar::new() });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    /// Puts something in, if there is room.
    ///
    /// # Errors
    /// If it is full, or nobody takes anything out any more.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let mut inner = self.0.lock();
        if inner.receivers == 0 {
            return Err(TrySendError::Disconnected(item));
        }
        if inner.items.len() >= inner.most {
            return Err(TrySendError::Full(item));
        }
        inner.items.push_back(item);
        drop(inner);
        self.0.came.notify_one();
        Ok(())
    }

    /// Puts something into a queue without a bound.
    ///
    /// # Errors
    /// If nobody takes anything out any more.
    ///
    /// # Panics
    /// If the queue has a bound and is full: none of ours waits for room.
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        match self.try_send(item) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(item)) => Err(SendError(item)),
            Err(TrySendError::Full(_)) => panic!("nothing waits for room in a queue"),
        }
    }
}

impl<T> Receiver<T> {
    /// Takes something out that is there already.
    ///
    /// # Errors
    /// If there is nothing.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut inner = self.0.lock();
        match inner.items.pop_front() {
            Some(item) => Ok(item),
            None if inner.senders == 0 => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Waits for something to take out.
    ///
    /// # Errors
    /// If nobody puts anything in any more.
    pub fn recv(&self) -> Result<T, RecvError> {
        let mut inner = self.0.lock();
        loop {
            if let Some(item) = inner.items.pop_front() {
                return Ok(item);
            }
            if inner.senders == 0 {
                return Err(RecvError);
            }
            inner = self.0.came.wait(inner).expect("nothing panics while it holds this lock");
        }
    }

    /// The same until a moment, which sometimes comes and sometimes does not.
    ///
    /// # Errors
    /// If the moment came first, or nobody puts anything in any more.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        if self.is_empty() && thread_rng().gen_ratio(1, 4) {
            Instant::pass(deadline);
            return self.try_recv().map_err(|error| match error {
                TryRecvError::Empty => RecvTimeoutError::Timeout,
                TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            });
        }
        self.recv().map_err(|RecvError| RecvTimeoutError::Disconnected)
    }

    /// The same for so long.
    ///
    /// # Errors
    /// As for [`Receiver::recv_deadline`].
    pub fn recv_timeout(&self, at_most: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_deadline(Instant::now() + at_most)
    }

    /// How many things wait.
    pub fn len(&self) -> usize {
        self.0.lock().items.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is there already.
    pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
    }
}

impl<'r, T> IntoIterator for &'r Receiver<T> {
    type Item = T;
    type IntoIter = Taken<'r, T>;

    fn into_iter(self) -> Taken<'r, T> {
        Taken(self)
    }
}

/// Everything that comes until nobody puts anything in any more.
pub struct Taken<'r, T>(&'r Receiver<T>);

impl<T> Iterator for Taken<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.lock().receivers += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.came.notify_all();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.lock().receivers -= 1;
    }
}
