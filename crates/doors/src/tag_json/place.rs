//! Where a signed-in client is, what it was told, and how people and conversations read to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chinwag_protocol::{
    CallMedia, ConversationId, ConversationKind, ConversationView, FileId, MemberView, Millis, Posting,
    Presence, Query, Role, Seq, Snapshot, UserId,
};
use serde_json::{Value, json};

use super::{Shared, dialect::Kind, files::Files};
use crate::{Question, Room, Seat};

/// Names of chats that a later `response_to` may mean.
const CHATS_MAX: usize = 1_000;

/// Members asked for at once, and told of one conversation.
const PAGE: u16 = 200;
const MEMBERS_MAX: usize = 10_000;

/// Where a signed-in client is.
pub(super) struct Place {
    pub(super) seat: Seat,
    pub(super) contacts: BTreeSet<UserId>,
    /// Of whom the client has a record.
    pub(super) known: BTreeSet<UserId>,
    /// Who opened a conversation, or made him a contact, and has said nothing there yet.
    pub(super) silent: Vec<UserId>,
    /// With which picture the client knows somebody.
    pub(super) faces: BTreeMap<UserId, FileId>,
    pub(super) presence: BTreeMap<UserId, (Presence, Option<Millis>)>,
    /// Direct conversations that were opened before their entry came.
    pub(super) directs: BTreeMap<UserId, ConversationId>,
    /// The conversation that a request of this client ends; its answer tells all about it.
    pub(super) ending: Option<ConversationId>,
    /// Open calls.
    pub(super) calls: BTreeMap<ConversationId, Call>,
    /// Bytes of media frames sent since all was last on its way.
    pub(super) frames: usize,
    pub(super) files: Files,
    /// Files of the message that is being told; one after the other, because together they may be much.
    pub(super) fetches: VecDeque<Fetch>,
    pub(super) fetching: bool,
    /// The file that was got is being sent.
    pub(super) fetched: bool,
    pub(super) posts: u64,
    pub(super) written: BTreeMap<ConversationId, Seq>,
    /// The client can take more than its login answer.
    pub(super) ready: bool,
    /// What waited for it has been told.
    pub(super) caught_up: bool,
    pub(super) holds: u32,
    chats: VecDeque<(String, (ConversationId, Seq))>,
    /// Ids from before a rename: "spelled one way towards a client".
    users: BTreeMap<UserId, String>,
    rooms: BTreeMap<ConversationId, String>,
}

/// The fields of a tag for a file, the line to say instead, and how to get it.
type Fetch = (Vec<(String, Value)>, String, Question);

/// An open call, as this client knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) seq: Seq,
    pub(super) by: UserId,
    pub(super) media: CallMedia,
    /// The client was told that it was declined; its end is no news.
    pub(super) declined: bool,
}

impl Place {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let calls = snapshot.conversations.iter().filter_map(|view| {
            let call = view.call.as_ref()?;
            Some((view.id, Call { seq: call.call, by: call.by, media: call.media, declined: false }))
        });
        let seat = Seat::new(snapshot);
        let is_silent = |view: &&ConversationView| view.head.messages == 0;
        let rooms = snapshot.conversations.iter().filter(is_silent).filter_map(|view| seat.room(view.id));
        let silent = rooms.filter_map(|room| room.peer).filter(|peer| *peer != seat.me).collect();
        Self {
            seat,
            silent,
            contacts: snapshot.contacts.iter().copied().collect(),
            known: BTreeSet::new(),
            faces: BTreeMap::new(),
            presence: BTreeMap::new(),
            directs: BTreeMap::new(),
            ending: None,
            calls: calls.collect(),
            frames: 0,
            files: Files::default(),
            fetches: VecDeque::new(),
            fetching: false,
            fetched: false,
            posts: 0,
            written: BTreeMap::new(),
            ready: false,
            caught_up: false,
            holds: 0,
            chats: VecDeque::new(),
            users: BTreeMap::new(),
            rooms: BTreeMap::new(),
        }
    }

    /// A name for the next thing that the client makes without naming it.
    pub(super) fn next_name(&mut self) -> String {
        self.posts += 1;
        format!("tag_json-{}-{}", self.seat.session, self.posts)
    }

    /// Takes note that entries up to this one are being sent.
    pub(super) fn wrote(&mut self, conversation: ConversationId, seq: Seq) {
        self.written.insert(conversation, seq);
    }

    /// The name under which the client knows a message.
    pub(super) fn remember(&mut self, id: String, conversation: ConversationId, seq: Seq) {
        if self.chats.len() >= CHATS_MAX {
            self.chats.pop_front();
        }
        self.chats.push_back((id, (conversation, seq)));
    }

    /// The message that an id means, in this conversation.
    pub(super) fn chat(&self, id: &str, conversation: ConversationId) -> Option<Seq> {
        let found = self.chats.iter().rev().find(|(known, (place, _))| known == id && *place == conversation);
        // A message without a name of its own is named after where it stands.
        let by_number =
            || id.strip_prefix(&format!("c{conversation}-")).and_then(|seq| seq.parse().ok()).map(Seq);
        found.map(|(_, (_, seq))| *seq).or_else(by_number)
    }

    /// The name of a message, as the client knows it.
    pub(super) fn chat_id(&self, conversation: ConversationId, seq: Seq) -> String {
        let known = self.chats.iter().find(|(_, of)| *of == (conversation, seq)).map(|(id, _)| id.clone());
        known.unwrap_or_else(|| chat_name(conversation, seq))
    }

    /// The direct conversation with somebody.
    pub(super) fn direct(&self, user: UserId) -> Option<ConversationId> {
        self.seat.direct(user).map(|room| room.id).or_else(|| self.directs.get(&user).copied())
    }

    /// Somebody's id: "as in the answer where it first saw them", so the one from before a rename.
    pub(super) fn id(&self, user: UserId, shared: &Shared) -> String {
        if let Some(first) = self.users.get(&user) {
            return first.clone();
        }
        let own = shared.desk.people.handle(user).to_lowercase();
        // Somebody has taken a name under which the client knows somebody else.
        let is_taken = self.users.values().chain(self.rooms.values()).any(|id| *id == own);
        if is_taken { format!("{own}#{user}") } else { own }
    }

    /// Whom an id means: in the spelling that the client knows, or the present one.
    pub(super) fn user(&self, id: &str, shared: &Shared) -> Option<UserId> {
        if let Some((user, _)) = self.users.iter().find(|(_, first)| *first == id) {
            return Some(*user);
        }
        if let Some((name, user)) = id.rsplit_once('#') {
            let user = UserId(user.parse().ok()?);
            return (shared.desk.people.handle(user).to_lowercase() == name).then_some(user);
        }
        let is_room = self.rooms.values().any(|first| first == id);
        if is_room { None } else { shared.desk.people.by_handle(id).map(|profile| profile.id) }
    }

    /// Somebody had this id until now.
    pub(super) fn user_was(&mut self, user: UserId, id: &str) {
        self.users.entry(user).or_insert_with(|| id.to_lowercase());
    }

    /// A conversation had this id until now.
    pub(super) fn room_was(&mut self, room: &Room) {
        let id = self.room_id(room);
        self.rooms.entry(room.id).or_insert(id);
    }

    /// The id of a group or channel: its handle; one without a handle is called by its number.
    pub(super) fn room_id(&self, room: &Room) -> String {
        if let Some(first) = self.rooms.get(&room.id) {
            return first.clone();
        }
        let own = room.handle.as_ref().map(|handle| handle.to_lowercase());
        let is_taken = |own: &String| self.users.values().chain(self.rooms.values()).any(|id| id == own);
        own.filter(|own| !is_taken(own)).unwrap_or_else(|| format!("c{}", room.id))
    }

    /// A group or channel by its id, in the spelling that the client knows, or the present one.
    pub(super) fn room(&self, id: &str) -> Option<&Room> {
        let rooms = || self.seat.rooms().filter(|room| room.peer.is_none());
        let present = |room: &&Room| room.handle.as_ref().is_some_and(|handle| handle.to_lowercase() == id);
        let is_user = self.users.values().any(|first| first == id);
        let known = rooms().find(|room| self.room_id(room) == id);
        known.or_else(|| rooms().find(present).filter(|_| !is_user))
    }

    /// An id in a request, as the client is to read it.
    pub(super) fn canonical(&self, id: &str, shared: &Shared) -> String {
        let room = self.room(id).map(|room| self.room_id(room));
        room.or_else(|| Some(self.id(self.user(id, shared)?, shared))).unwrap_or_else(|| id.to_owned())
    }

    /// "STATUS `ONLINE` or integer last-seen ms", "a real time, never 0".
    pub(super) fn status(&self, user: UserId, shared: &Shared) -> Value {
        match self.presence.get(&user) {
            Some((Presence::Online | Presence::Away, _)) => "ONLINE".into(),
            Some((Presence::Offline, Some(at))) if at.0 > 0 => at.0.into(),
            // Presence tells more than the door's own links, but it comes later.
            None if shared.here.contains_key(&user) => "ONLINE".into(),
            _ => shared.desk.settings.started_at.0.max(1).into(),
        }
    }

    /// Somebody's picture as `ICON`, of which note is taken that it is told.
    pub(super) fn face<'s>(&mut self, user: UserId, shared: &'s Shared) -> &'s str {
        let avatar = shared.desk.people.get(user).and_then(|profile| profile.avatar);
        let icon = shared.icons.of(avatar);
        match avatar.filter(|_| !icon.is_empty()) {
            Some(file) => self.faces.insert(user, file),
            None => self.faces.remove(&user),
        };
        icon
    }

    /// "Contact record: NAME, ID, ICON, BIO, DATE_TIME, STATUS."
    pub(super) fn contact(&mut self, user: UserId, shared: &Shared) -> Value {
        let icon = self.face(user, shared);
        let profile = shared.desk.people.get(user);
        json!({
            "NAME": profile.map_or("", |profile| &profile.name),
            "ID": self.id(user, shared),
            "ICON": icon,
            "BIO": profile.map_or("", |profile| &profile.about),
            "DATE_TIME": shared.desk.settings.started_at.0,
            "STATUS": self.status(user, shared),
        })
    }

    /// "Multi record: NAME, ID, ICON, BIO, CREATOR, admins[], users[], only_admin."
    pub(super) fn multi(&self, room: &Room, members: &[MemberView], shared: &Shared) -> Value {
        let ids = |with: &dyn Fn(&&MemberView) -> bool| -> Vec<String> {
            members.iter().filter(with).map(|member| self.id(member.profile.id, shared)).collect()
        };
        json!({
            "NAME": room.name,
            "ID": self.room_id(room),
            "ICON": shared.icons.of(room.avatar),
            "BIO": room.topic,
            "CREATOR": ids(&|member| member.role == Role::Owner).into_iter().next().unwrap_or_default(),
            "admins": ids(&|member| member.role > Role::Member),
            "users": ids(&|_| true),
            "only_admin": room.posting == Posting::Admins,
        })
    }
}

/// The members of a conversation, asked for page by page.
pub(super) struct Roll {
    pub(super) conversation: ConversationId,
    pub(super) members: Vec<MemberView>,
    most: usize,
}

impl Roll {
    /// To ask for all members, and the first question.
    pub(super) fn new(conversation: ConversationId) -> (Self, Question) {
        Self::of(conversation, MEMBERS_MAX)
    }

    /// To ask for so many members at most.
    pub(super) fn of(conversation: ConversationId, most: usize) -> (Self, Question) {
        let roll = Self { conversation, members: Vec::new(), most: most.min(MEMBERS_MAX) };
        let question = roll.question();
        (roll, question)
    }

    fn question(&self) -> Question {
        let after = self.members.last().map_or(UserId(0), |member| member.profile.id);
        Question::Query(Query::Members { conversation: self.conversation, after, limit: PAGE })
    }

    /// Takes a page in; answers the question for the next one.
    pub(super) fn take(&mut self, page: Vec<MemberView>) -> Option<Question> {
        let is_full = page.len() >= PAGE.into();
        self.members.extend(page);
        (is_full && self.members.len() < self.most).then(|| self.question())
    }
}

/// The name of a message that has none of its own on this wire.
pub(super) fn chat_name(conversation: ConversationId, seq: Seq) -> String {
    format!("c{conversation}-{seq}")
}

/// What sort of thing a conversation is on this wire.
pub(super) fn kind_of(room: &Room) -> Kind {
    match room.kind {
        ConversationKind::Channel => Kind::Channel,
        _ => Kind::Group,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    fn page(ids: impl Iterator<Item = u32>) -> Vec<MemberView> {
        let member = |id| {
            let profile =
                json!({ "id": id, "handle": format!("user{id}"), "name": "", "hue": 0, "kind": "person" });
            let member =
                json!({ "profile": profile, "role": "member", "joined_at": 1, "delivered": 0, "read": 0 });
            from_value(member).unwrap()
        };
        ids.map(member).collect()
    }

    #[test]
    fn the_members_of_a_large_group_are_asked_for_page_by_page() {
        let after = |question: Option<Question>| match question {
            Some(Question::Query(Query::Members { after, .. })) => Some(after.0),
            None => None,
            other => panic!("{other:?}"),
        };
        let (mut roll, question) = Roll::new(ConversationId(7));
        assert_eq!(after(Some(question)), Some(0));
        assert_eq!(after(roll.take(page(1..=200))), Some(200));
        assert_eq!(after(roll.take(page(201..=399))), None);
        assert_eq!(roll.members.len(), 399);
        let (mut roll, _) = Roll::of(ConversationId(7), 300);
        assert_eq!(after(roll.take(page(1..=200))), Some(200));
        assert_eq!(after(roll.take(page(201..=400))), None, "no more than were wanted, but for the page");
    }
}
