//! Knows everything that was ever committed, and judges what is told to whom.
//!
//! Shares no code with the hub or the reading side: windows of membership are worked out here from the log alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chinwag_protocol::{ConversationId, CursorMoved, Entry, Event, LogId, Posted, Seq, SessionId, UserId};

struct Recorded {
    entry: Arc<Entry>,
    /// Its number among everything that was ever committed.
    order: u64,
    /// Its text was erased since.
    is_erased: bool,
}

/// From the first entry somebody may see to the last.
#[derive(Clone, Copy)]
struct Window {
    since: Seq,
    until: Option<Seq>,
}

#[derive(Default)]
pub(crate) struct Oracle {
    logs: BTreeMap<LogId, Vec<Recorded>>,
    windows: BTreeMap<(ConversationId, UserId), Vec<Window>>,
    ended: BTreeMap<SessionId, u64>,
    /// Where each message stands, by its author and its text, which is never said twice.
    said: BTreeMap<(UserId, String), Vec<(ConversationId, Seq)>>,
    acked: BTreeMap<String, Posted>,
    refused: BTreeSet<(UserId, String)>,
    order: u64,
    pub(crate) broken: Option<String>,
}

impl Oracle {
    /// Notes the first violation; later ones are its consequences.
    pub(crate) fn blame(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// Whether a message was ever committed.
    pub(crate) fn was_said(&self, user: UserId, text: &str) -> bool {
        self.said.contains_key(&(user, text.to_owned()))
    }

    pub(crate) fn recorded(&self) -> u64 {
        self.order
    }

    /// These were committed, in this order.
    pub(crate) fn commit(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            self.order += 1;
            let log = self.logs.entry(entry.log).or_default();
            if entry.seq.0 as usize != log.len() + 1 {
                let expected = log.len() + 1;
                self.blame(|| format!("O1: {} has entry {} where {expected} is due", entry.log, entry.seq));
                return;
            }
            log.push(Recorded { entry: entry.clone(), order: self.order, is_erased: false });
            match entry.log {
                LogId::Conversation(id) => self.follow(id, entry),
                LogId::User(_) => {
                    if let Event::SessionEnded { session } = entry.event {
                        self.ended.insert(session, self.order);
                    }
                }
                LogId::Directory => {}
            }
        }
    }

    fn follow(&mut self, id: ConversationId, entry: &Entry) {
        match &entry.event {
            Event::Joined { user, since, .. } => {
                self.windows.entry((id, *user)).or_default().push(Window { since: *since, until: None });
            }
            Event::Left { user } | Event::Removed { user, .. } => {
                if let Some(window) = self.windows.get_mut(&(id, *user)).and_then(|all| all.last_mut()) {
                    window.until = Some(entry.seq);
                }
            }
            Event::Message(body) => {
                let key = (entry.by, body.text.clone());
                let places = self.said.entry(key.clone()).or_default();
                places.push((id, entry.seq));
                let times = places.len();
                if times > 1 {
                    self.blame(|| format!("D7: {:?} of user {} was recorded {times} times", key.1, key.0));
                }
                if self.refused.contains(&key) {
                    self.blame(|| format!("D5: {:?} of user {} was refused, yet recorded", key.1, key.0));
                }
            }
            Event::Deleted { message } => {
                let log = self.logs.get_mut(&entry.log).expect("the entry is in it");
                for recorded in log {
                    let is_edit = matches!(&recorded.entry.event, Event::Edited { message: edited, .. } if edited == message);
                    recorded.is_erased |= recorded.entry.seq == *message || is_edit;
                }
            }
            _ => {}
        }
    }

    fn windows(&self, log: LogId, user: UserId, seq: Seq) -> Vec<Window> {
        match log {
            LogId::Conversation(id) => {
                let all = self.windows.get(&(id, user)).map_or(&[][..], Vec::as_slice);
                let holds =
                    |window: &&Window| seq >= window.since && window.until.is_none_or(|until| seq <= until);
                all.iter().filter(holds).copied().collect()
            }
            LogId::User(owner) if owner != user => Vec::new(),
            LogId::User(_) | LogId::Directory => vec![Window { since: Seq(1), until: None }],
        }
    }

    /// Whether a user may see this entry.
    pub(crate) fn may_see(&self, log: LogId, user: UserId, seq: Seq) -> bool {
        !self.windows(log, user, seq).is_empty()
    }

    /// An entry came over the wire to a device.
    pub(crate) fn receive(&mut self, user: UserId, session: SessionId, entry: &Entry) {
        let place = format!("{} {}", entry.log, entry.seq);
        let index = (entry.seq.0 as usize).wrapping_sub(1);
        let Some(recorded) = self.logs.get(&entry.log).and_then(|log| log.get(index)) else {
            return self.blame(|| format!("D3: user {user} was told {place}, which was never committed"));
        };
        let windows = self.windows(entry.log, user, entry.seq);
        let genuine = windows.iter().any(|window| is_genuine(recorded, entry, *window));
        let overstayed = self.ended.get(&session).filter(|ended| recorded.order > **ended).copied();
        if windows.is_empty() {
            self.blame(|| format!("M1: user {user} was told {place}, which he may not see: {entry:?}"));
        } else if !genuine {
            let truth = recorded.entry.clone();
            self.blame(|| format!("M3: user {user} was told {place} as {entry:?}; it is {truth:?}"));
        } else if let Some(ended) = overstayed {
            self.blame(|| format!("M4: session {session} ended at {ended} was told {place} of later"));
        }
    }

    /// A post was acknowledged.
    pub(crate) fn ack(&mut self, user: UserId, client_id: &str, text: &str, posted: Posted) {
        let places = self.said.get(&(user, text.to_owned())).cloned().unwrap_or_default();
        if places != [(posted.conversation, posted.seq)] {
            self.blame(|| format!("D1: {text:?} was acknowledged as {posted:?} but stands at {places:?}"));
        }
        let former = *self.acked.entry(client_id.to_owned()).or_insert(posted);
        if former != posted {
            self.blame(|| format!("D7: {client_id} was answered {former:?} and then {posted:?}"));
        }
    }

    /// A post was refused for good.
    pub(crate) fn refuse(&mut self, user: UserId, text: &str) {
        if self.said.contains_key(&(user, text.to_owned())) {
            self.blame(|| format!("D5: {text:?} of user {user} was recorded, yet refused"));
        }
        self.refused.insert((user, text.to_owned()));
    }

    /// Everything acknowledged is still there, and the store agrees on every log's end.
    pub(crate) fn hold_against(&mut self, heads: &[(LogId, Seq)]) {
        let mine: Vec<(LogId, Seq)> =
            self.logs.iter().map(|(log, entries)| (*log, Seq(entries.len() as u32))).collect();
        if mine != heads {
            self.blame(|| format!("D1: the store ends at {heads:?}, but {mine:?} was committed"));
        }
    }

    /// A client went over numbers: nobody may have kept from it what it was entitled to.
    pub(crate) fn skip(&mut self, user: UserId, log: LogId, after: Seq, next: Seq) {
        let kept = (after.0 + 1..next.0).map(Seq).find(|seq| self.may_see(log, user, *seq));
        if let Some(kept) = kept {
            self.blame(|| format!("L1: user {user} went from {log} {after} to {next} without {kept}"));
        }
    }

    /// What another one's or one's own cursor is told as must not go backwards on one connection.
    pub(crate) fn cursor(
        &mut self,
        told: &mut BTreeMap<(ConversationId, UserId), CursorMoved>,
        now: CursorMoved,
    ) {
        let before = told.insert((now.conversation, now.user), now);
        if let Some(before) = before
            && (now.delivered < before.delivered || (now.read < before.read && now.read.seq > Seq::ZERO))
        {
            self.blame(|| format!("C1: a cursor was told as {before:?} and then as {now:?}"));
        }
    }
}

fn is_genuine(recorded: &Recorded, entry: &Entry, window: Window) -> bool {
    let truth = &recorded.entry;
    if truth.event.target().is_some_and(|target| target < window.since) {
        let bare = Entry { by: UserId(0), client_id: None, event: Event::Hidden {}, ..Entry::clone(truth) };
        return *entry == bare;
    }
    if **truth == *entry {
        return true;
    }
    let mut erased = Entry::clone(truth);
    match &mut erased.event {
        Event::Message(body) => body.text.clear(),
        Event::Edited { text, .. } => text.clear(),
        _ => return false,
    }
    recorded.is_erased && erased == *entry
}
