//! One conversation as its member's client knows it.

use std::collections::BTreeMap;

use chinwag_protocol::{
    CallView, ConversationChange, ConversationView, CursorMoved, Entry, Event, HistoryPage, Item, Position,
    Seq, UserId,
};

use super::fold::{erase, fold};

/// So many of the newest entries are kept for each conversation; older ones are asked for as pages of history.
pub const ITEMS_MAX: usize = 500;
const MENTIONS_MAX: usize = 100;

/// A conversation and the part of its timeline that is at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// As the server would show it now.
    pub view: ConversationView,
    /// The newest entries without a gap up to the head, each with what later ones made of it.
    pub items: BTreeMap<Seq, Item>,
    /// How far other members are, where that was told. Not part of a snapshot.
    pub cursors: BTreeMap<UserId, CursorMoved>,
}

impl From<ConversationView> for Conversation {
    fn from(view: ConversationView) -> Self {
        Self { view, items: BTreeMap::new(), cursors: BTreeMap::new() }
    }
}

impl Conversation {
    /// Messages not yet read.
    pub fn unread(&self) -> u32 {
        let read = self.view.mine.as_ref().map_or(self.view.head, |mine| mine.read);
        self.view.head.messages.saturating_sub(read.messages)
    }

    /// Unread messages that mention one.
    pub fn mentions(&self) -> &[Seq] {
        self.view.mine.as_ref().map_or(&[], |mine| mine.mentions.as_slice())
    }

    /// Applies an entry whose turn it is.
    pub(super) fn take(&mut self, entry: &Entry, me: UserId) {
        self.view.head.seq = entry.seq;
        match &entry.event {
            Event::Changed(change) => self.change(change),
            Event::Joined { user, role, since, .. } => {
                self.view.members += 1;
                if let Some(mine) = self.view.mine.as_mut().filter(|_| *user == me) {
                    mine.role = *role;
                    mine.since = *since;
                }
            }
            Event::Left { .. } | Event::Removed { .. } => {
                self.view.members = self.view.members.saturating_sub(1);
            }
            Event::RoleChanged { user, role } => {
                if let Some(mine) = self.view.mine.as_mut().filter(|_| *user == me) {
                    mine.role = *role;
                }
            }
            Event::Message(body) => {
                self.view.head.messages = body.number;
                self.view.last = Some(Box::new(Item { entry: entry.clone(), state: None }));
                if entry.by == me {
                    self.read_to(self.view.head);
                } else if body.mentions_all || body.mentions.contains(&me) {
                    self.mention(entry.seq);
                }
            }
            Event::Deleted { message } => {
                if let Some(mine) = &mut self.view.mine {
                    mine.mentions.retain(|seq| seq != message);
                }
            }
            Event::CallStarted { media, via } => {
                self.view.call = Some(CallView {
                    call: entry.seq,
                    by: entry.by,
                    at: entry.at,
                    media: *media,
                    via: via.clone(),
                    accepted: Vec::new(),
                    declined: Vec::new(),
                });
            }
            Event::CallAnswered { call: seq, accepted } => {
                if let Some(call) = self.view.call.as_mut().filter(|call| call.call == *seq) {
                    call.declined.retain(|user| *user != entry.by);
                    if *accepted { &mut call.accepted } else { &mut call.declined }.push(entry.by);
                }
            }
            Event::CallEnded { .. } => self.view.call = None,
            Event::Closed {} => {
                self.view.closed = true;
                self.view.handle = None;
                self.view.avatar = None;
            }
            // A hidden entry only takes its number; the others change a message, see below.
            _ => {}
        }
        self.fold_into_messages(entry);
        self.items.insert(entry.seq, Item { entry: entry.clone(), state: None });
        while self.items.len() > ITEMS_MAX {
            self.items.pop_first();
        }
    }

    fn change(&mut self, change: &ConversationChange) {
        let view = &mut self.view;
        if change.handle.is_some() {
            view.handle.clone_from(&change.handle);
        }
        if let Some(name) = &change.name {
            view.name.clone_from(name);
        }
        if let Some(topic) = &change.topic {
            view.topic.clone_from(topic);
        }
        if let Some(avatar) = change.avatar {
            view.avatar = avatar.file;
        }
        if let Some(public) = change.public {
            view.public = public;
            if !public {
                view.handle = None;
            }
        }
        if let Some(history) = change.history {
            view.history = history;
        }
        if let Some(posting) = change.posting {
            view.posting = posting;
        }
    }

    fn fold_into_messages(&mut self, entry: &Entry) {
        let target = match &entry.event {
            Event::Message(body) => body.thread,
            other => other.target(),
        };
        let Some(target) = target else { return };
        if let Some(item) = self.items.get_mut(&target) {
            fold(item, entry);
        }
        if let Some(last) = self.view.last.as_mut().filter(|last| last.entry.seq == target) {
            fold(last, entry);
        }
        if let Event::Deleted { message } = &entry.event {
            // The texts it once had go too.
            for item in self.items.values_mut() {
                if matches!(&item.entry.event, Event::Edited { message: edited, .. } if edited == message) {
                    erase(&mut item.entry);
                }
            }
        }
    }

    /// At most a hundred are counted; more only say "many".
    fn mention(&mut self, seq: Seq) {
        if let Some(mine) = &mut self.view.mine
            && seq > mine.read.seq
            && mine.mentions.len() < MENTIONS_MAX
        {
            mine.mentions.push(seq);
        }
    }

    /// Moves one's own read cursor forward; backwards is ignored. Answers whether it moved.
    pub(super) fn read_to(&mut self, position: Position) -> bool {
        match &mut self.view.mine {
            // With the same number, the one that knows of more messages: a place that was guessed here, because its
            // entries are not at hand, is put right by what the server says.
            Some(mine) if position > mine.read => {
                mine.read = position;
                mine.mentions.retain(|seq| *seq > position.seq);
                true
            }
            _ => false,
        }
    }

    /// The number of messages up to an entry, as far as it is known here.
    pub(super) fn position_at(&self, seq: Seq) -> Position {
        if seq >= self.view.head.seq {
            return self.view.head;
        }
        let message = self.items.range(..=seq).rev().find_map(|(_, item)| match &item.entry.event {
            Event::Message(body) => Some(body.number),
            _ => None,
        });
        let read = self.view.mine.as_ref().map_or(0, |mine| mine.read.messages);
        Position { seq, messages: message.unwrap_or(read).max(read) }
    }

    pub(super) fn note_cursor(&mut self, moved: &CursorMoved) {
        let known = self.cursors.entry(moved.user).or_insert(*moved);
        known.delivered = known.delivered.max(moved.delivered);
        known.read = known.read.max(moved.read);
    }

    /// Merges a page of history that touches the head or what is at hand already.
    pub(super) fn load(&mut self, page: &HistoryPage) {
        let (Some(first), Some(last)) = (page.items.first(), page.items.last()) else { return };
        let oldest = self.items.keys().next().copied();
        let touches = match oldest {
            Some(oldest) => last.entry.seq.next() >= oldest && first.entry.seq < oldest,
            None => last.entry.seq >= self.view.head.seq,
        };
        if !touches {
            return;
        }
        for item in &page.items {
            // An item at hand has folded in everything up to the head; the page may be older or newer than that,
            // and `changed` says which one knows more.
            let newer = |known: &Item| changed(item) > changed(known);
            if item.entry.seq <= self.view.head.seq && self.items.get(&item.entry.seq).is_none_or(newer) {
                self.items.insert(item.entry.seq, item.clone());
            }
        }
    }

    pub(super) fn forget_items(&mut self) {
        self.items.clear();
    }
}

fn changed(item: &Item) -> Seq {
    item.state.as_ref().map_or(Seq::ZERO, |state| state.changed)
}
