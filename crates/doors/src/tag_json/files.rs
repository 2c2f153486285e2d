//! Files that come in parts: "`CHAT: FILE` with NAME, SIZE, PART (from 1), PARTS and DATA".

use std::{collections::BTreeMap, time::Duration};

use chinwag_protocol::ConversationId;

use super::tag::Tag;
use crate::Moment;

/// "Incomplete files are dropped after 10 minutes."
pub(super) const COMPLETE_WITHIN: Duration = Duration::from_secs(10 * 60);

/// "At most 64 KiB decoded each."
pub(super) const PART_MAX: usize = 64 * 1024;

/// What one client's unfinished files may take up together, how many there may be, and of how many parts.
const BYTES_MAX: usize = 32 * 1024 * 1024;
const FILES_MAX: usize = 4;
const PARTS_MAX: u32 = 4_096;

/// The unfinished files of one client.
#[derive(Debug, Default)]
pub(super) struct Files {
    partial: BTreeMap<(ConversationId, String), Partial>,
    bytes: usize,
}

#[derive(Debug)]
struct Partial {
    parts: BTreeMap<u32, Vec<u8>>,
    bytes: usize,
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
    /// Takes a part in, for a file to this conversation.
    pub(super) fn put(&mut self, tag: &Tag, to: ConversationId, now: Moment) -> Put {
        self.expire(now);
        let (Some(name), Ok(bytes)) = (tag.filled("name"), tag.bytes("data")) else { return Put::Wrong };
        let (part, count) = (tag.number("part").unwrap_or(1), tag.number("parts").unwrap_or(1));
        let size = tag.number("size").map_or(bytes.len(), |size| size as usize);
        let is_sane = count <= PARTS_MAX && (1..=count).contains(&part) && bytes.len() <= PART_MAX;
        if !is_sane || size > BYTES_MAX {
            return Put::Wrong;
        }
        let key = (to, name);
        // Another file of the same name begins.
        if self.partial.get(&key).is_some_and(|partial| (partial.count, partial.size) != (count, size)) {
            self.forget(&key);
        }
        let has_room = self.partial.len() < FILES_MAX || self.partial.contains_key(&key);
        if !has_room || self.bytes + bytes.len() > BYTES_MAX {
            return Put::Wrong;
        }
        let fresh = || Partial { parts: BTreeMap::new(), bytes: 0, count, size, since: now };
        let partial = self.partial.entry(key.clone()).or_insert_with(fresh);
        let added = bytes.len();
        let replaced = partial.parts.insert(part, bytes).map_or(0, |before| before.len());
        partial.bytes = partial.bytes + added - replaced;
        self.bytes = self.bytes + added - replaced;
        if partial.parts.len() < count as usize {
            return Put::Waiting;
        }
        match self.forget(&key) {
            Some(partial) if partial.bytes == partial.size => {
                Put::Whole(partial.parts.into_values().flatten().collect())
            }
            _ => Put::Wrong,
        }
    }

    fn forget(&mut self, key: &(ConversationId, String)) -> Option<Partial> {
        let partial = self.partial.remove(key)?;
        self.bytes -= partial.bytes;
        Some(partial)
    }

    /// Drops what has waited too long; answers when to look again.
    pub(super) fn expire(&mut self, now: Moment) -> Option<Moment> {
        let bytes = &mut self.bytes;
        self.partial.retain(|_, partial| {
            let stays = partial.since + COMPLETE_WITHIN > now;
            *bytes -= if stays { 0 } else { partial.bytes };
            stays
        });
        self.partial.values().map(|partial| partial.since + COMPLETE_WITHIN).min()
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde_json::json;

    use super::{super::tag, *};

    const HERE: ConversationId = ConversationId(7);

    fn part(name: &str, part: u32, parts: u32, size: usize, bytes: &[u8]) -> Tag {
        let data = BASE64_STANDARD.encode(bytes);
        let json = json!({ "NAME": name, "PART": part, "PARTS": parts, "SIZE": size, "DATA": data });
        tag::parse(json.to_string().as_bytes()).unwrap().unwrap()
    }

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn parts_make_a_file_in_any_order_and_each_once() {
        let mut files = Files::default();
        assert_eq!(files.put(&part("a", 2, 2, 6, b"def"), HERE, at(0)), Put::Waiting);
        assert_eq!(files.put(&part("a", 2, 2, 6, b"DEF"), HERE, at(1)), Put::Waiting);
        assert_eq!(files.put(&part("a", 1, 2, 6, b"abc"), ConversationId(8), at(1)), Put::Waiting);
        assert_eq!(files.put(&part("a", 1, 2, 6, b"abc"), HERE, at(2)), Put::Whole(b"abcDEF".to_vec()));
        assert_eq!(files.put(&part("b", 1, 1, 0, b""), HERE, at(2)), Put::Whole(vec![]));
        assert_eq!(files.bytes, 3, "what is complete takes no room");
    }

    #[test]
    fn what_makes_no_sense_is_refused_at_its_limits() {
        let mut files = Files::default();
        let most = vec![0; PART_MAX];
        assert_eq!(files.put(&part("a", 1, 1, PART_MAX, &most), HERE, at(0)), Put::Whole(most.clone()));
        let more = vec![0; PART_MAX + 1];
        assert_eq!(files.put(&part("a", 1, 1, PART_MAX + 1, &more), HERE, at(0)), Put::Wrong);
        for (number, count, size) in
            [(0, 1, 1), (2, 1, 1), (1, 1, 2), (1, PARTS_MAX + 1, 9), (1, 2, BYTES_MAX + 1)]
        {
            assert_eq!(files.put(&part("a", number, count, size, b"x"), HERE, at(0)), Put::Wrong);
        }
        assert_eq!(files.put(&part("a", 1, PARTS_MAX, BYTES_MAX, b"x"), HERE, at(0)), Put::Waiting);
    }

    #[test]
    fn unfinished_files_take_a_bounded_room_and_go_after_ten_minutes() {
        let mut files = Files::default();
        for name in ["a", "b", "c", "d"] {
            assert_eq!(files.put(&part(name, 1, 2, 2, b"x"), HERE, at(0)), Put::Waiting);
        }
        assert_eq!(files.put(&part("e", 1, 2, 2, b"x"), HERE, at(599)), Put::Wrong);
        assert_eq!(files.expire(at(599)), Some(at(600)));
        assert_eq!(files.put(&part("e", 1, 2, 2, b"x"), HERE, at(600)), Put::Waiting);
        assert_eq!((files.partial.len(), files.bytes), (1, 1));
        let most = vec![0; PART_MAX];
        for number in 1..=u32::try_from(BYTES_MAX / PART_MAX).unwrap() - 1 {
            assert_eq!(files.put(&part("f", number, 4_000, BYTES_MAX, &most), HERE, at(600)), Put::Waiting);
        }
        assert_eq!(files.put(&part("f", 4_000, 4_000, BYTES_MAX, &most), HERE, at(600)), Put::Wrong);
    }
}
