//! What a signed-in client may be told: how it calls each group, and the messages in those that it knows.
//!
//! "Never send `recv_chat` for a group the client has not seen in `load_history` or `join_group`: KeyError ends
//! the receiver." What comes meanwhile in another group is not kept here: its place in the log is, and from there
//! it is read when the client has seen the group.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_protocol::{Answer, ConversationId, Entry, Event, LogId, MessageState, Query, Seq};

use super::{
    DOOR, Shared,
    said::{chat, shortened},
    session::{Doing, Session},
};
use crate::{Given, LinkId, Question, Room, Seat, words};

/// The old server counts groups from here; 200000 itself is the client's own "System" chat.
const GROUPS_FROM: u32 = 200_000;

/// Entries read at once, when a group was seen at last.
const PAGE: u16 = 200;

/// The most that one result of a search may take in its frame.
const RESULT_MAX: usize = 20_000;

/// Where a signed-in client is.
pub(super) struct Place {
    pub(super) seat: Seat,
    /// How the client calls each conversation it has seen, in an answer or in its list.
    pub(super) spelled: BTreeMap<ConversationId, String>,
    posts: u64,
    /// Sent but perhaps not yet on its way: up to which entry of each conversation.
    written: BTreeMap<ConversationId, Seq>,
    /// What came in conversations that the client has not seen: after which entry, up to which.
    missed: BTreeMap<ConversationId, (Seq, Seq)>,
    /// Some of that is being read.
    reading: bool,
    /// The conversation that he is leaving, for which he deletes what he said there.
    pub(super) leaving: Option<ConversationId>,
    held: bool,
}

/// The number of a conversation on this wire; the same for everybody and for ever.
pub(super) fn group_id(conversation: ConversationId) -> u32 {
    GROUPS_FROM.saturating_add(conversation.0)
}

/// The conversation of a number, if it can be one.
pub(super) fn conversation_of(group: u32) -> Option<ConversationId> {
    group.checked_sub(GROUPS_FROM).filter(|id| *id > 0).map(ConversationId)
}

impl Place {
    pub(super) fn new(seat: Seat) -> Self {
        Self {
            seat,
            spelled: BTreeMap::new(),
            posts: 0,
            written: BTreeMap::new(),
            missed: BTreeMap::new(),
            reading: false,
            leaving: None,
            held: false,
        }
    }

    /// Nothing is told while the client would not know what to do with it.
    pub(super) fn hold(&mut self, link: LinkId, hold: bool, shared: &mut Shared) {
        if std::mem::replace(&mut self.held, hold) != hold {
            shared.desk.hold(link, hold);
        }
    }

    pub(super) fn client_id(&mut self) -> String {
        self.posts += 1;
        format!("{DOOR}-{}-{}", self.seat.session, self.posts)
    }

    /// The conversation that the client calls so. One that he is no longer in it may not call anything.
    pub(super) fn called(&self, name: &str) -> Option<ConversationId> {
        let spelled = |(id, spelled): &(&ConversationId, &String)| {
            spelled.as_str() == name && self.seat.room(**id).is_some()
        };
        self.spelled.iter().find(spelled).map(|(id, _)| *id)
    }

    /// Decides how the client is to call a conversation, once: by the name that it used itself, else by its own.
    pub(super) fn spell(&mut self, room: &Room, wish: Option<&str>, shared: &Shared) {
        let name = match (wish, room.peer) {
            (Some(wish), _) => wish.to_owned(),
            (None, Some(peer)) => format!("@{}", shared.desk.people.handle(peer)),
            (None, None) => room.name.clone(),
        };
        self.spell_freely(room.id, &name);
    }

    /// "A duplicate name in one list raises in the GUI": the second gets a number.
    pub(super) fn spell_freely(&mut self, id: ConversationId, name: &str) {
        if self.spelled.contains_key(&id) {
            return;
        }
        let taken: BTreeSet<&str> = self.spelled.values().map(String::as_str).collect();
        let free = std::iter::once(name.to_owned())
            .chain((2..).map(|number| format!("{name} ({number})")))
            .find(|name| !taken.contains(name.as_str()));
        self.spelled.extend(free.map(|name| (id, name)));
    }

    /// A message as a search shows it: "`[DATE] in group #ID: NAME` newline `[USER] text`."
    pub(super) fn result(
        &self,
        entry: &Entry,
        state: Option<&MessageState>,
        shared: &Shared,
    ) -> Option<String> {
        let (LogId::Conversation(id), Event::Message(body)) = (entry.log, &entry.event) else { return None };
        let text = state.and_then(|state| state.text.as_ref()).unwrap_or(&body.text);
        let name = match (self.spelled.get(&id), self.seat.room(id)) {
            (Some(spelled), _) => spelled.clone(),
            (None, Some(room)) => match room.peer {
                Some(peer) => format!("@{}", shared.desk.people.handle(peer)),
                None => room.name.clone(),
            },
            (None, None) => String::new(),
        };
        let date = shared.desk.settings.local(entry.at).strftime("%Y-%m-%d %H:%M:%S");
        let author = shared.desk.people.handle(entry.by);
        let text = shortened(text, RESULT_MAX);
        Some(format!("[{date}] in group #{}: {name}\n[{author}] {text}", group_id(id)))
    }

    /// Sends what an entry says.
    fn tell(&mut self, link: LinkId, conversation: ConversationId, entry: &Entry, shared: &mut Shared) {
        let author = shared.desk.people.handle(entry.by);
        for line in words::lines(entry, &shared.desk.settings.web, |user| shared.desk.people.handle(user)) {
            for bytes in chat(&author, group_id(conversation), &line) {
                shared.desk.send(link, bytes);
            }
        }
        self.written.insert(conversation, entry.seq);
    }

    /// Something came in a conversation that the client has not seen.
    fn miss(&mut self, conversation: ConversationId, seq: Seq) {
        self.missed.entry(conversation).or_insert((seq.prev(), seq)).1 = seq;
    }

    /// What was sent is on its way: this is all that the wire lets us know of delivery.
    fn delivered(&mut self, link: LinkId, shared: &mut Shared) {
        for (conversation, delivered) in std::mem::take(&mut self.written) {
            shared.desk.delivered(link, conversation, delivered);
        }
    }

    /// The next conversation that the client has seen by now, and of which it has missed something.
    fn next_missed(&self) -> Option<(ConversationId, Seq)> {
        let known =
            |(id, _): &(&ConversationId, _)| self.spelled.contains_key(id) && self.seat.room(**id).is_some();
        self.missed.iter().find(known).map(|(id, (after, _))| (*id, *after))
    }
}

impl Session {
    /// Something happened.
    pub(super) fn entry(&mut self, entry: &Entry, shared: &mut Shared) {
        let link = self.link;
        if self.closed {
            // Nobody reads it any more: it is still to be delivered.
            return;
        }
        let Some(place) = &mut self.place else { return };
        place.seat.apply(entry);
        let LogId::Conversation(conversation) = entry.log else { return };
        if place.leaving == Some(conversation) && entry.by == place.seat.me {
            // He asked for all of them at once, and will not see the group again.
            return;
        }
        let is_silent = words::lines(entry, "", |_| String::new()).is_empty();
        let has_missed = place.missed.contains_key(&conversation);
        if has_missed || !is_silent && !place.spelled.contains_key(&conversation) {
            place.miss(conversation, entry.seq);
            return;
        }
        place.tell(link, conversation, entry, shared);
        if is_silent {
            // Nothing was sent, so nothing has to leave first.
            place.delivered(link, shared);
        }
    }

    /// What was sent is on its way.
    pub(super) fn drained(&mut self, shared: &mut Shared) {
        if let Some(place) = &mut self.place {
            place.delivered(self.link, shared);
        }
    }

    /// The client has seen a group, or several: reads what it has missed there, and only then goes on.
    pub(super) fn tell_missed(&mut self, shared: &mut Shared) {
        let link = self.link;
        let Some(place) = self.place.as_mut().filter(|place| !place.reading) else { return };
        let Some((conversation, after)) = place.next_missed() else {
            return place.hold(link, false, shared);
        };
        // What comes meanwhile waits, so that it is told after this.
        place.hold(link, true, shared);
        let query = Query::Entries { log: LogId::Conversation(conversation), after, limit: PAGE };
        place.reading = true;
        shared.desk.ask(link, Doing::Missed(conversation), Question::Query(query));
    }

    /// Takes the answer to that.
    pub(super) fn was_missed(
        &mut self,
        conversation: ConversationId,
        given: Option<Given>,
        shared: &mut Shared,
    ) {
        let link = self.link;
        let Some(place) = &mut self.place else { return };
        place.reading = false;
        let Some(Given::Answer(Answer::Entries { entries, more })) = given else {
            // It stays missed, until the client asks for its list again.
            return place.hold(link, false, shared);
        };
        if let Some((_, until)) = place.missed.remove(&conversation)
            && place.spelled.contains_key(&conversation)
        {
            for entry in entries.iter().filter(|entry| entry.seq <= until) {
                place.tell(link, conversation, entry, shared);
            }
            match entries.last().map(|entry| entry.seq).filter(|last| more && *last < until) {
                Some(last) => _ = place.missed.insert(conversation, (last, until)),
                None => place.written.extend([(conversation, until)]),
            }
        }
        self.tell_missed(shared);
    }
}
