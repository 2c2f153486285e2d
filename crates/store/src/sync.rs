//! What the threads of a store meet at: locks, queues, and each other.
//!
//! Taken from here and not from where it comes from, because `crates/interleave` compiles the same files with a module
//! of this name in which a scheduler decides at each of these places who goes on.

pub(crate) use std::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
};

pub(crate) use crossbeam_channel as channel;
