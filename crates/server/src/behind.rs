//! What a connection lacks and has to read from the store: entries that it missed, and where its own cursors are.
//!
//! A pure machine between an outbox and whoever writes to the connection. While something is being read only answers
//! leave the outbox, because entries and signals have to come after what is read; so a question never waits for a
//! reading, and a reading may wait for the disk. The simulation drives the same machine.

use std::collections::VecDeque;

use bytes::Bytes;
use chinwag_domain::{Actor, Reader, facts::Known, reading};
use chinwag_protocol::{Closing, CursorMoved, Entry, LogId, Seq, ServerFrame, ServerSignal};

use crate::hub::{Missing, Next, Outbox, frame};

/// Entries of one reading, roughly.
pub const PAGE: usize = 200;

/// Logs of one reading. Each reading may have to wait for the disk, so they are read together.
const LOGS_MAX: usize = 32;

/// What is to be read next.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Logs of which entries are missing, each with the last number that the client has.
    pub logs: Vec<(LogId, Seq)>,
    /// Where the client's own cursors are, if nothing is missing after this.
    pub cursors: bool,
}

/// A page of what is missing of a log, and whether there is more.
pub type Page = (LogId, Vec<Entry>, bool);

/// What was read.
#[derive(Debug, Default)]
pub struct Found {
    /// Of the first of the logs, as many as fit.
    pub pages: Vec<Page>,
    /// Where the client's own cursors are.
    pub cursors: Option<Vec<CursorMoved>>,
}

impl Wanted {
    /// The first of these logs, and the cursors only with the last of them.
    pub fn of(logs: impl Iterator<Item = (LogId, Seq)>, cursors: bool) -> Self {
        let mut logs = logs.fuse();
        let first: Vec<_> = logs.by_ref().take(LOGS_MAX).collect();
        Self { logs: first, cursors: cursors && logs.next().is_none() }
    }

    /// Reads it over one state, with about `page` entries.
    pub fn read(&self, reader: &dyn Reader, actor: &Actor, page: usize) -> Known<Found> {
        let (mut found, mut count, mut whole) = (Found::default(), 0, true);
        for (log, after) in &self.logs {
            if !whole || count >= page {
                whole = false;
                break;
            }
            let (entries, more) = reading::missed(reader, actor, *log, *after, page)?;
            count += entries.len();
            whole = !more;
            found.pages.push((*log, entries, more));
        }
        if self.cursors && whole {
            found.cursors = Some(reading::own_cursors(reader, actor)?);
        }
        Ok(found)
    }
}

/// What a connection that has written everything is to do next.
pub enum Step {
    /// Write these frames, taken into the buffer given.
    Write,
    /// Read this, and hand it to [`Behind::found`]. Meanwhile go on.
    Read(Wanted),
    /// Signals were lost: have the hub hold cursors back, then call [`Behind::held`].
    Hold,
    /// Say this and close.
    Close(Box<Closing>),
    /// Nothing yet: wait for [`Outbox::changed`], or for what is being read.
    Wait,
}

/// See the module.
#[derive(Default)]
pub struct Behind {
    /// Logs of which entries are missing, each with the last one that the client has or is being sent.
    rest: Vec<(LogId, Seq)>,
    /// Up to where each log was put among the frames that are being written.
    on_their_way: Vec<(LogId, Seq)>,
    /// The hub holds cursors back until the client's own are told.
    cursors: bool,
    /// The client is to be told when it is up to date.
    announce: bool,
    is_reading: bool,
}

impl Behind {
    /// The connection begins with a snapshot that was read after the hub knew of it.
    pub fn fresh() -> Self {
        Self { announce: true, ..Self::default() }
    }

    /// The connection goes on from where its client was, and the hub holds cursors back: what another device has read
    /// meanwhile is in no log, so the client is told its own cursors when it knows the entries they are about.
    pub fn resumed() -> Self {
        Self { announce: true, cursors: true, ..Self::default() }
    }

    /// Whether the client is being sent what it missed.
    pub fn is_catching_up(&self) -> bool {
        self.is_reading || !self.rest.is_empty() || !self.on_their_way.is_empty()
    }

    /// Says what to do. To be called when nothing is being written; `frames` is empty, and takes at most `count`
    /// frames or about `bytes`.
    pub fn next(
        &mut self,
        outbox: &Outbox,
        frames: &mut VecDeque<Bytes>,
        count: usize,
        bytes: usize,
    ) -> Step {
        for (log, last) in self.on_their_way.drain(..) {
            outbox.sent(log, last);
        }
        let only_answers = self.is_reading || !self.rest.is_empty();
        let next = match only_answers {
            true => outbox.next_answers(frames, count, bytes),
            false => outbox.next(frames, count, bytes),
        };
        match next {
            Next::Write => Step::Write,
            Next::Close(closing) => Step::Close(closing),
            Next::CatchUp(missing) => {
                self.miss(missing);
                self.read(outbox)
            }
            Next::Wait if self.is_reading => Step::Wait,
            Next::Wait if self.cursors || only_answers => self.read(outbox),
            Next::Wait if std::mem::take(&mut self.announce) => {
                frames.push_back(frame(&ServerFrame::CaughtUp {}));
                Step::Write
            }
            Next::Wait if outbox.signals_were_lost() => Step::Hold,
            Next::Wait => Step::Wait,
        }
    }

    fn miss(&mut self, missing: Missing) {
        self.rest = missing.into_iter().map(|(log, first)| (log, first.prev())).collect();
    }

    fn read(&mut self, outbox: &Outbox) -> Step {
        self.is_reading = true;
        let wanted = Wanted::of(self.rest.iter().copied(), self.cursors);
        if wanted.cursors {
            // The hub holds cursors back since before the last one was written, so what is read is none the older, and
            // with it all of them are told that were lost until now.
            outbox.signals_were_lost();
        }
        Step::Read(wanted)
    }

    /// The hub holds cursors back. Those that were told before are still written first.
    pub fn held(&mut self) {
        self.cursors = true;
    }

    /// What was wanted has been read: puts it among the frames to write, behind the answers that are there. If it
    /// answers `true`, the hub is to tell cursors again.
    ///
    /// Where a page does not go on from what the client has, he left and came in again meanwhile, and may not see what
    /// was between. That he did stands in his own log, perhaps in an entry that waits in the outbox: the page is read
    /// again after it.
    #[must_use]
    pub fn found(&mut self, found: Found, outbox: &Outbox, frames: &mut VecDeque<Bytes>) -> bool {
        self.is_reading = false;
        let (mut more_of, mut puts_off) = (Vec::new(), false);
        for (log, entries, more) in found.pages {
            let after = self.rest.iter().find(|(other, _)| *other == log).map(|(_, after)| after.next());
            self.rest.retain(|(other, _)| *other != log);
            let (Some(first), Some(last)) = (entries.first(), entries.last().map(|entry| entry.seq)) else {
                continue;
            };
            if after.is_some_and(|next| next != first.seq) {
                outbox.missing(log, first.seq);
                puts_off = true;
                continue;
            }
            frames.extend(entries.into_iter().map(|entry| frame(&ServerFrame::Entry(entry))));
            self.on_their_way.push((log, last));
            if more {
                more_of.push((log, last));
            }
        }
        self.rest.splice(..0, more_of);
        let Some(cursors) = found.cursors.filter(|_| !puts_off) else { return false };
        self.cursors = false;
        let signals = cursors.into_iter().map(|moved| ServerFrame::Signal(ServerSignal::Cursor(moved)));
        frames.extend(signals.map(|signal| frame(&signal)));
        if std::mem::take(&mut self.announce) {
            frames.push_back(frame(&ServerFrame::CaughtUp {}));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::{ConversationId, Event, Millis, Position, UserId};

    use super::*;
    use crate::ws;

    const LOG: LogId = LogId::Conversation(ConversationId(1));
    const OTHER: LogId = LogId::Conversation(ConversationId(2));

    fn entry(log: LogId, seq: u32) -> Entry {
        let (at, by) = (Millis(0), UserId(1));
        Entry { log, seq: Seq(seq), at, by, client_id: None, event: Event::Hidden {} }
    }

    fn publish(outbox: &Outbox, log: LogId, seq: u32) {
        let _ = outbox.entry(log, Seq(seq), frame(&ServerFrame::Entry(entry(log, seq))));
    }

    fn answer(outbox: &Outbox) {
        assert!(outbox.ask());
        outbox.answer(frame(&ServerFrame::Pong {}));
    }

    fn read(step: Step) -> Wanted {
        match step {
            Step::Read(wanted) => wanted,
            _ => panic!("nothing is read"),
        }
    }

    /// What a connection writes until it has to wait, in short.
    fn written(behind: &mut Behind, outbox: &Outbox, frames: &mut VecDeque<Bytes>) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.extend(frames.drain(..).map(|frame| match serde_json::from_slice(ws::text_of(&frame)) {
                Ok(ServerFrame::Entry(entry)) => format!("{} {}", entry.log, entry.seq),
                Ok(ServerFrame::Signal(_)) => "cursor".to_owned(),
                Ok(ServerFrame::CaughtUp {}) => "caught up".to_owned(),
                Ok(ServerFrame::Pong {}) => "answer".to_owned(),
                other => panic!("{other:?}"),
            }));
            match behind.next(outbox, frames, 1, 1024) {
                Step::Write => {}
                Step::Wait => return all,
                _ => panic!("neither written nor waited"),
            }
        }
    }

    fn cursor() -> CursorMoved {
        let (conversation, user) = (ConversationId(1), UserId(1));
        CursorMoved { conversation, user, delivered: Seq(2), read: Position::default() }
    }

    #[test]
    fn answers_do_not_wait_for_what_is_being_read_and_all_else_comes_after_it() {
        let (outbox, mut behind, mut frames) = (Outbox::default(), Behind::resumed(), VecDeque::new());
        outbox.missing(LOG, Seq(3));
        let wanted = read(behind.next(&outbox, &mut frames, 1, 1024));
        assert_eq!((wanted.logs, wanted.cursors), (vec![(LOG, Seq(2))], true));
        publish(&outbox, LOG, 4);
        publish(&outbox, LOG, 5);
        publish(&outbox, OTHER, 7);
        answer(&outbox);
        answer(&outbox);
        assert_eq!(written(&mut behind, &outbox, &mut frames), ["answer", "answer"]);
        let pages = vec![(LOG, vec![entry(LOG, 3), entry(LOG, 4)], false)];
        assert!(behind.found(Found { pages, cursors: Some(vec![cursor()]) }, &outbox, &mut frames));
        let all = ["c1 3", "c1 4", "cursor", "caught up", "c1 5", "c2 7"];
        assert_eq!(written(&mut behind, &outbox, &mut frames), all, "each once");
        assert!(!behind.is_catching_up());
    }

    #[test]
    fn whoever_came_in_again_hears_of_it_before_what_was_said_since() {
        let (outbox, mut behind, mut frames) = (Outbox::default(), Behind::resumed(), VecDeque::new());
        let own = LogId::User(UserId(1));
        outbox.missing(LOG, Seq(3));
        let _ = read(behind.next(&outbox, &mut frames, 1, 1024));
        publish(&outbox, own, 5);
        publish(&outbox, LOG, 9);
        let pages = vec![(LOG, vec![entry(LOG, 9)], false)];
        assert!(!behind.found(Found { pages, cursors: Some(vec![cursor()]) }, &outbox, &mut frames));
        for told in ["u1 5", "c1 9"] {
            assert!(matches!(behind.next(&outbox, &mut frames, 1, 1024), Step::Write));
            let frame = frames.pop_front().unwrap();
            let Ok(ServerFrame::Entry(entry)) = serde_json::from_slice(ws::text_of(&frame)) else { panic!() };
            assert_eq!(format!("{} {}", entry.log, entry.seq), told);
        }
        let wanted = read(behind.next(&outbox, &mut frames, 1, 1024));
        assert_eq!(
            (wanted.logs, wanted.cursors),
            (vec![(LOG, Seq(8))], true),
            "nobody who was away misses it"
        );
    }

    #[test]
    fn own_cursors_come_with_the_last_page() {
        let (outbox, mut behind, mut frames) = (Outbox::default(), Behind::resumed(), VecDeque::new());
        outbox.missing(LOG, Seq(1));
        outbox.missing(OTHER, Seq(1));
        let _ = read(behind.next(&outbox, &mut frames, 1, 1024));
        let pages = vec![(LOG, vec![entry(LOG, 1)], true)];
        assert!(!behind.found(Found { pages, cursors: None }, &outbox, &mut frames));
        frames.clear();
        let wanted = read(behind.next(&outbox, &mut frames, 1, 1024));
        assert_eq!(
            wanted.logs,
            [(LOG, Seq(1)), (OTHER, Seq(0))],
            "the rest of the first log before the others"
        );
        assert!(wanted.cursors);
    }

    #[test]
    fn lost_signals_are_made_good_after_what_was_told_before() {
        let (outbox, mut behind, mut frames) = (Outbox::default(), Behind::fresh(), VecDeque::new());
        assert_eq!(written(&mut behind, &outbox, &mut frames), ["caught up"]);
        outbox.lose_signal();
        assert!(matches!(behind.next(&outbox, &mut frames, 1, 1024), Step::Hold));
        outbox.signal(frame(&ServerFrame::Signal(ServerSignal::Cursor(cursor()))));
        behind.held();
        assert!(matches!(behind.next(&outbox, &mut frames, 1, 1024), Step::Write));
        frames.clear();
        let wanted = read(behind.next(&outbox, &mut frames, 1, 1024));
        assert!(wanted.logs.is_empty() && wanted.cursors);
        assert!(behind.found(
            Found { pages: Vec::new(), cursors: Some(vec![cursor()]) },
            &outbox,
            &mut frames
        ));
        assert_eq!(written(&mut behind, &outbox, &mut frames), ["cursor"]);
    }
}
