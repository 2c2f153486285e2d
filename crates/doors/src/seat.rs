//! What one signed-in link may see: who it is, and in which conversations.

use std::collections::BTreeMap;

use chinwag_protocol::{
    ConversationId, ConversationKind, ConversationView, Entry, Event, FileId, LogId, Posting, Role,
    SessionId, Snapshot, UserId,
};

use crate::people::fold;

/// A conversation, as far as doors need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Which.
    pub id: ConversationId,
    /// What sort.
    pub kind: ConversationKind,
    /// The handle, if it has one.
    pub handle: Option<String>,
    /// The name; empty for a direct conversation.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// The picture that stands for it.
    pub avatar: Option<FileId>,
    /// Who may post.
    pub posting: Posting,
    /// One's own role.
    pub role: Role,
    /// The other one of a direct conversation (oneself, in one's notes).
    pub peer: Option<UserId>,
    /// Whether it is over.
    pub closed: bool,
}

impl Room {
    fn new(view: &ConversationView, me: UserId) -> Self {
        Self {
            id: view.id,
            kind: view.kind,
            handle: view.handle.clone(),
            name: view.name.clone(),
            topic: view.topic.clone(),
            avatar: view.avatar,
            posting: view.posting,
            role: view.mine.as_ref().map_or(Role::Member, |mine| mine.role),
            peer: view.direct.map(|(one, other)| if one == me { other } else { one }),
            closed: view.closed,
        }
    }

    fn apply(&mut self, entry: &Entry, me: UserId) {
        match &entry.event {
            Event::Changed(change) => {
                if let Some(handle) = &change.handle {
                    self.handle = Some(handle.clone()).filter(|handle| !handle.is_empty());
                }
                self.name = change.name.clone().unwrap_or_else(|| std::mem::take(&mut self.name));
                self.avatar = change.avatar.map_or(self.avatar, |avatar| avatar.file);
                self.topic = change.topic.clone().unwrap_or_else(|| std::mem::take(&mut self.topic));
                self.posting = change.posting.unwrap_or(self.posting);
            }
            Event::Joined { user, role, .. } | Event::RoleChanged { user, role } if *user == me => {
                self.role = *role;
            }
            Event::Closed {} => {
                self.closed = true;
                self.handle = None;
            }
            _ => {}
        }
    }
}

/// One signed-in link's view of the server.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Who is signed in.
    pub me: UserId,
    /// His session.
    pub session: SessionId,
    rooms: BTreeMap<ConversationId, Room>,
}

impl Seat {
    /// The seat of whoever signed in with this.
    pub fn new(snapshot: &Snapshot) -> Self {
        let me = snapshot.me.id;
        let rooms = snapshot.conversations.iter().map(|view| (view.id, Room::new(view, me))).collect();
        Self { me, session: snapshot.session, rooms }
    }

    /// Takes note of an entry: where he is, and how the conversations are.
    pub fn apply(&mut self, entry: &Entry) {
        match (&entry.log, &entry.event) {
            (LogId::User(_), Event::Entered { conversation }) => {
                self.rooms.insert(conversation.id, Room::new(conversation, self.me));
            }
            (LogId::User(_), Event::Departed { conversation }) => {
                self.rooms.remove(conversation);
            }
            (LogId::Conversation(id), _) => {
                if let Some(room) = self.rooms.get_mut(id) {
                    room.apply(entry, self.me);
                }
            }
            _ => {}
        }
    }

    /// A conversation he is in.
    pub fn room(&self, id: ConversationId) -> Option<&Room> {
        self.rooms.get(&id)
    }

    /// The conversations he is in, in the order of their numbers.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.rooms.values()
    }

    /// The conversation with a handle, in any case.
    pub fn by_handle(&self, handle: &str) -> Option<&Room> {
        let wanted = fold(handle);
        self.rooms.values().find(|room| room.handle.as_deref().is_some_and(|own| fold(own) == wanted))
    }

    /// The direct conversation with somebody.
    pub fn direct(&self, peer: UserId) -> Option<&Room> {
        self.rooms.values().find(|room| room.peer == Some(peer))
    }
}
