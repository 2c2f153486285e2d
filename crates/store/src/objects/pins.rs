//! Which files must not be removed just now, because somebody uploads them, and which are about to be removed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chinwag_protocol::FileId;

/// Shared by everything that adds and removes files.
#[derive(Clone, Default)]
pub(super) struct Pins(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    pinned: HashMap<FileId, u32>,
    condemned: HashSet<FileId>,
}

impl Pins {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a file from being removed, and saves it if that was about to happen.
    pub(super) fn pin(&self, file: FileId) -> Pin {
        let mut state = self.state();
        state.condemned.remove(&file);
        *state.pinned.entry(file).or_default() += 1;
        Pin { pins: self.clone(), file }
    }

    /// Marks a file for removal, unless somebody needs it.
    pub(super) fn condemn(&self, file: FileId) -> bool {
        let mut state = self.state();
        let free = !state.pinned.contains_key(&file);
        if free {
            state.condemned.insert(file);
        }
        free
    }

    /// Removes a file by `remove` if its mark is still there. Nobody can pin it meanwhile.
    pub(super) fn execute<E>(&self, file: FileId, remove: impl FnOnce() -> Result<(), E>) -> Result<bool, E> {
        let mut state = self.state();
        if !state.condemned.remove(&file) {
            return Ok(false);
        }
        remove().map(|()| true)
    }
}

/// Keeps a file from being removed while it lives.
pub struct Pin {
    pins: Pins,
    file: FileId,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.pins.state();
        if let Some(count) = state.pinned.get_mut(&self.file) {
            *count -= 1;
            if *count == 0 {
                state.pinned.remove(&self.file);
            }
        }
    }
}
