//! Cursors: kept in memory, moved without waiting for the disk, written behind by the writer.
//!
//! A cursor only goes forward, so values from memory and from the database are joined by taking the larger; no
//! order of loading, moving and writing can lose a step. Losing the last second in a crash makes clients receive
//! again what they drop by its number.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chinwag_domain::{Known, record::Cursor};
use chinwag_protocol::{ConversationId, UserId};

/// Whose cursor in which conversation.
pub(super) type Key = (ConversationId, UserId);

const SHARDS: usize = 16;

/// How many cursors one shard remembers before it forgets those that are written.
const SHARD_MOST: usize = 20_000;

#[derive(Clone, Copy)]
struct Slot {
    cursor: Cursor,
    /// The database's value is in it.
    joined: bool,
}

#[derive(Default)]
struct Shard {
    slots: HashMap<Key, Slot>,
    /// Those that the database does not have yet.
    dirty: HashSet<Key>,
}

/// See the module.
pub(super) struct Cursors {
    shards: Vec<Mutex<Shard>>,
}

/// The larger of two cursors, part by part.
pub(crate) fn join(one: Cursor, other: Cursor) -> Cursor {
    Cursor { delivered: one.delivered.max(other.delivered), read: one.read.max(other.read) }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A cursor is whole at any instant, whoever panicked.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cursors {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn shard(&self, (conversation, user): Key) -> MutexGuard<'_, Shard> {
        let mix = conversation.0.wrapping_mul(31).wrapping_add(user.0) as usize;
        lock(&self.shards[mix % SHARDS])
    }

    /// Moves a cursor forward without asking the database where it is.
    pub(super) fn advance(&self, key: Key, to: Cursor) {
        let mut shard = self.shard(key);
        let slot = shard.slots.entry(key).or_insert(Slot { cursor: Cursor::default(), joined: false });
        let moved = join(slot.cursor, to);
        if moved != slot.cursor {
            slot.cursor = moved;
            shard.dirty.insert(key);
        }
    }

    /// Moves a cursor forward and answers where it is now; `load` is asked for the database's value if need be.
    pub(super) fn move_to(
        &self,
        key: Key,
        to: Cursor,
        load: impl FnOnce() -> Known<Cursor>,
    ) -> Known<Cursor> {
        let known = self.shard(key).slots.get(&key).is_some_and(|slot| slot.joined);
        // Not under the lock: a slow disk must not hold up the writer.
        let loaded = if known { Cursor::default() } else { load()? };
        let mut shard = self.shard(key);
        let slot = shard.slots.entry(key).or_insert(Slot { cursor: Cursor::default(), joined: false });
        let before = join(slot.cursor, loaded);
        slot.joined = true;
        slot.cursor = join(before, to);
        let now = slot.cursor;
        if now != before {
            shard.dirty.insert(key);
        }
        Ok(now)
    }

    /// What memory knows of a cursor.
    pub(super) fn known(&self, key: Key) -> Option<Cursor> {
        self.shard(key).slots.get(&key).map(|slot| slot.cursor)
    }

    /// Takes all cursors that are to be written.
    pub(super) fn take_dirty(&self) -> Vec<(Key, Cursor)> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            let Shard { slots, dirty } = &mut *shard;
            taken.extend(dirty.drain().filter_map(|key| Some((key, slots.get(&key)?.cursor))));
        }
        taken
    }

    /// Gives back what could not be written.
    pub(super) fn put_back(&self, taken: &[(Key, Cursor)]) {
        for (key, cursor) in taken {
            let mut shard = self.shard(*key);
            let slot = shard.slots.entry(*key).or_insert(Slot { cursor: *cursor, joined: false });
            slot.cursor = join(slot.cursor, *cursor);
            shard.dirty.insert(*key);
        }
    }

    /// Forgets what is written, where there is too much.
    pub(super) fn trim(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            if shard.slots.len() > SHARD_MOST {
                let Shard { slots, dirty } = &mut *shard;
                slots.retain(|key, _| dirty.contains(key));
            }
        }
    }
}
