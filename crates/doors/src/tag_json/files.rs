//! Files that come in parts: "`CHAT: FILE` with NAME, SIZE, PART (from 1), PARTS and DATA".

use std::{collections::BTreeMap, time::Duration};

use super::wire::Tag;
use crate::Moment;

/// "Incomplete files are dropped after 10 minutes."
pub(super) const COMPLETE_WITHIN: Duration = Duration::from_secs(10 * 60);

/// "At most 64 KiB decoded each."
const PART_MAX: usize = 64 * 1024;

/// What one client's unfinished files may take up, and how many there may be.
const BYTES_MAX: usize = 32 * 1024 * 1024;
const FILES_MAX: usize = 4;

/// The unfinished files of one client.
#[derive(Debug, Default)]
pub(super) struct Files {
    partial: BTreeMap<(String, String), Partial>,
}

#[derive(Debug)]
struct Partial {
    parts: BTreeMap<u32, Vec<u8>>,
    count: u32,
    size: usize,
    since: Moment,
}

/// What a part led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// More parts are missing.
    Waiting,
    /// The file is whole.
    Whole(Vec<u8>),
    /// It makes no sense, or is too large.
    Wrong,
}

impl Files {
    /// Takes a part in, for a file to this recipient.
    pub(super) fn put(&mut self, tag: &Tag, recipient: &str, now: Moment) -> Put {
        let (Some(name), Some(bytes)) = (tag.text("name"), tag.bytes("data")) else { return Put::Wrong };
        let (part, count) = (tag.number("part").unwrap_or(1), tag.number("parts").unwrap_or(1));
        let size = tag.number("size").map_or(bytes.len(), |size| size as usize);
        let is_sane = (1..=count).contains(&part) && bytes.len() <= PART_MAX && size <= BYTES_MAX;
        let key = (recipient.to_owned(), name);
        if !is_sane || (self.partial.len() >= FILES_MAX && !self.partial.contains_key(&key)) {
            return Put::Wrong;
        }
        let fresh = || Partial { parts: BTreeMap::new(), count, size, since: now };
        let partial = self.partial.entry(key.clone()).or_insert_with(fresh);
        if (partial.count, partial.size) != (count, size) {
            // Another file of the same name begins.
            *partial = fresh();
        }
        partial.parts.insert(part, bytes);
        let (all, bytes) =
            (partial.parts.len() == count as usize, partial.parts.values().map(Vec::len).sum::<usize>());
        if bytes > BYTES_MAX || all && bytes != size {
            self.partial.remove(&key);
            return Put::Wrong;
        }
        if !all {
            return Put::Waiting;
        }
        let whole = self.partial.remove(&key).map(|partial| partial.parts.into_values().flatten().collect());
        whole.map_or(Put::Wrong, Put::Whole)
    }

    /// Drops what has waited too long; answers when to look again.
    pub(super) fn expire(&mut self, now: Moment) -> Option<Moment> {
        self.partial.retain(|_, partial| partial.since + COMPLETE_WITHIN > now);
        self.partial.values().map(|partial| partial.since + COMPLETE_WITHIN).min()
    }
}
