//! What threads of the hub meet at: locks, counters, queues, wake-ups, and the time that passes while they wait.
//!
//! Taken from here and not from where it comes from, because `crates/interleave` compiles the same files with a module
//! of this name in which a scheduler decides at each of these places who goes on.

pub(crate) use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    thread,
    time::Instant,
};

pub(crate) use crossbeam_channel as channel;
pub(crate) use tokio::sync::{Notify, oneshot};
