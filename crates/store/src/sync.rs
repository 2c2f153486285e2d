//! What the threads of a store meet at: locks, queues, the time that passes while they wait, and each other.
//!
//! Taken from here and not from where it comes from, because `crates/interleave` compiles the same files with a module
//! of this name in which a scheduler decides at each of these places who goes on.

pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64},
    },
    thread,
    time::Instant,
};

pub(crate) use crossbeam_channel as channel;
