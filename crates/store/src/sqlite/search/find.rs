//! Finding: what the index proposes and what is not indexed yet, each compared with the store, newest first.
//!
//! Documents are in the order of time, and whatever is not indexed is at least as new as what is; so both parts are
//! gone through backwards and left as soon as a page is full. Which page, and when a text fits, is decided in the
//! same places as for the scan of the memory engine.

use std::{
    collections::{BinaryHeap, HashMap, HashSet},
    time::Instant,
};

use chinwag_domain::{
    Stop,
    port::Reader,
    reading::{
        fold,
        search::{Found, Wanted},
    },
};
use chinwag_protocol::{ConversationId, Entry, Event, LogId, Millis, Seq, UserId};
use rusqlite::Connection;

use super::{
    docs::{self, Doc, select_docs},
    gram,
};
use crate::{
    engine,
    scan::{self, PLACE_BITS},
};

/// How many entries of a log are read together.
const PAGE: usize = 256;

/// How often the clock is looked at while SQLite works on its own, in its instructions.
const LOOK_EVERY: i32 = 10_000;

/// Why nothing was found out.
pub(super) enum Trouble {
    /// A refusal, or the store's trouble.
    Stop(Stop),
    /// The index cannot be read.
    Index(rusqlite::Error),
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(error)
    }
}

/// Finds with the index and by scanning what it does not hold yet.
pub(super) fn with_index(
    reader: &dyn Reader,
    wanted: &Wanted,
    conn: &mut Connection,
    until: Instant,
) -> Result<Found, Trouble> {
    conn.progress_handler(LOOK_EVERY, Some(move || Instant::now() > until))?;
    // Marks and documents of one moment.
    let snapshot = conn.transaction()?;
    let mut search = Search::new(reader, wanted, until);
    let marks = docs::marks_of(&snapshot, &wanted.readable)?;
    if !search.tail(&marks)? {
        search.documents(&snapshot)?;
    }
    snapshot.commit()?;
    Ok(search.found())
}

/// Finds by scanning everything.
pub(super) fn without_index(reader: &dyn Reader, wanted: &Wanted, until: Instant) -> Result<Found, Trouble> {
    let mut search = Search::new(reader, wanted, until);
    search.tail(&HashMap::new())?;
    Ok(search.found())
}

type Hit = (Millis, ConversationId, Seq);

struct Search<'s> {
    reader: &'s dyn Reader,
    wanted: &'s Wanted,
    until: Instant,
    /// What may be read: from where on in which conversation.
    since: HashMap<ConversationId, Seq>,
    /// Nothing newer is on this page or a later one.
    newest: Millis,
    /// So many hits make the page, those before it in its first millisecond and the one after it included.
    needed: usize,
    looked_at: HashSet<(ConversationId, Seq)>,
    hits: Vec<Hit>,
}

/// The end of a log that is not indexed yet, read backwards.
struct Tail {
    conversation: ConversationId,
    /// Where it begins.
    from: Seq,
    /// What was read of it and not looked at, oldest first.
    page: Vec<Entry>,
}

impl<'s> Search<'s> {
    fn new(reader: &'s dyn Reader, wanted: &'s Wanted, until: Instant) -> Self {
        let mut since: HashMap<ConversationId, Seq> = HashMap::new();
        for part in &wanted.readable {
            let least = since.entry(part.conversation).or_insert(part.since);
            *least = part.since.min(*least);
        }
        let (mut newest, mut place) = (Millis(i64::MAX), 0);
        if let Some(below) = wanted.below {
            newest = Millis(i64::try_from(below >> PLACE_BITS).unwrap_or(i64::MAX));
            place = usize::try_from(below & ((1 << PLACE_BITS) - 1)).unwrap_or(usize::MAX);
        }
        let needed = place.saturating_add(wanted.limit).saturating_add(1);
        Self { reader, wanted, until, since, newest, needed, looked_at: HashSet::new(), hits: Vec::new() }
    }

    fn found(mut self) -> Found {
        self.hits.sort_unstable_by(|one, other| other.cmp(one));
        self.hits.dedup();
        scan::page(&self.hits, self.wanted)
    }

    fn in_time(&self) -> Result<(), Stop> {
        if Instant::now() > self.until {
            return Err(Stop::Refused(engine::busy()));
        }
        Ok(())
    }

    /// Whether the conditions other than on the text hold.
    fn fits(&self, at: Millis, by: UserId) -> bool {
        at <= self.newest
            && self.wanted.from.is_none_or(|from| from == by)
            && self.wanted.before.is_none_or(|before| at < before)
            && self.wanted.after.is_none_or(|after| at >= after)
    }

    fn may_read(&self, conversation: ConversationId, seq: Seq) -> bool {
        self.since.get(&conversation).is_some_and(|since| seq >= *since)
    }

    /// Takes a message as a hit if the store says that it is one.
    fn look_at(&mut self, conversation: ConversationId, seq: Seq) -> Result<Option<Millis>, Stop> {
        if !self.may_read(conversation, seq) || !self.looked_at.insert((conversation, seq)) {
            return Ok(None);
        }
        let Some(message) = self.reader.message(conversation, seq)? else { return Ok(None) };
        if message.overlay.state.deleted
            || !self.fits(message.at, message.author)
            || !self.wanted.fits(&fold(&message.text))
        {
            return Ok(None);
        }
        self.hits.push((message.at, conversation, seq));
        Ok(Some(message.at))
    }

    /// Scans what is not indexed, newest first; whether that was enough.
    fn tail(&mut self, marks: &HashMap<ConversationId, Seq>) -> Result<bool, Stop> {
        let mut tails: Vec<Tail> = Vec::new();
        // The newest entry not looked at of each tail, by its time.
        let mut newest: BinaryHeap<(Millis, usize)> = BinaryHeap::new();
        let parts: Vec<(ConversationId, Seq)> = self.since.iter().map(|(id, since)| (*id, *since)).collect();
        for (conversation, since) in parts {
            let mark = marks.get(&conversation).copied().unwrap_or_default();
            let head = self.reader.head(LogId::Conversation(conversation))?.position.seq;
            if head <= mark {
                continue;
            }
            // An entry that changes a message comes after it.
            let mut tail = Tail { conversation, from: mark.next().max(since), page: Vec::new() };
            tail.read(self.reader, head.next())?;
            newest.extend(tail.page.last().map(|entry| (entry.at, tails.len())));
            tails.push(tail);
            self.in_time()?;
        }
        let mut steps = 0_usize;
        while let Some((at, index)) = newest.pop() {
            steps += 1;
            if steps.is_multiple_of(64) {
                self.in_time()?;
                // What comes now was recorded at `at` or before, and so was whatever it changes.
                if self.hits.iter().filter(|hit| hit.0 > at).count() >= self.needed {
                    return Ok(true);
                }
            }
            let Some(entry) = tails[index].next(self.reader)? else { continue };
            newest.extend(tails[index].page.last().map(|entry| (entry.at, index)));
            self.changed_by(tails[index].conversation, &entry)?;
        }
        Ok(false)
    }

    /// Looks at the message that an entry is or changes.
    fn changed_by(&mut self, conversation: ConversationId, entry: &Entry) -> Result<(), Stop> {
        match &entry.event {
            // Most do not fit as they are and were never edited; those that were, come up with the edit.
            Event::Message(body) if self.fits(entry.at, entry.by) && self.wanted.fits(&fold(&body.text)) => {
                self.look_at(conversation, entry.seq)?;
            }
            Event::Edited { message, .. } => {
                self.look_at(conversation, *message)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Goes through what the index proposes.
    fn documents(&mut self, conn: &Connection) -> Result<(), Trouble> {
        let after = self.wanted.after.unwrap_or(Millis(i64::MIN));
        let before =
            self.wanted.before.unwrap_or(Millis(i64::MAX)).min(Millis(self.newest.0.saturating_add(1)));
        let (first, end) = (docs::first_since(conn, after)?, docs::first_since(conn, before)?);
        let mut statement;
        let mut rows = match gram::expression(self.wanted) {
            Some(expression) => {
                statement = conn.prepare_cached(select_docs!(
                    "gram CROSS JOIN doc d ON d.id = gram.rowid
                     WHERE gram MATCH ? AND gram.rowid >= ? AND gram.rowid < ? ORDER BY gram.rowid DESC"
                ))?;
                statement.query((expression, first, end))?
            }
            None => {
                statement = conn
                    .prepare_cached(select_docs!("doc d WHERE d.id >= ? AND d.id < ? ORDER BY d.id DESC"))?;
                statement.query((first, end))?
            }
        };
        let (mut found, mut last) = (0, Millis(i64::MAX));
        while let Some(row) = rows.next()? {
            self.in_time()?;
            let doc = Doc::read(row)?;
            // Within a millisecond the order of the documents is not that of the answer.
            if found >= self.needed && doc.at < last {
                break;
            }
            let Some((conversation, seq)) = doc.place() else { continue };
            if self.may_read(conversation, seq)
                && self.fits(doc.at, doc.by)
                && self.wanted.fits(&doc.text)
                && let Some(at) = self.look_at(conversation, seq)?
            {
                found += 1;
                last = at;
            }
        }
        Ok(())
    }
}

impl Tail {
    /// Reads the entries before a number.
    fn read(&mut self, reader: &dyn Reader, before: Seq) -> Result<(), Stop> {
        let log = LogId::Conversation(self.conversation);
        self.page = reader.entries_before(log, self.from, before, PAGE)?;
        Ok(())
    }

    /// The newest entry not looked at.
    fn next(&mut self, reader: &dyn Reader) -> Result<Option<Entry>, Stop> {
        let entry = self.page.pop();
        if let (Some(entry), true) = (&entry, self.page.is_empty())
            && entry.seq > self.from
        {
            self.read(reader, entry.seq)?;
        }
        Ok(entry)
    }
}
