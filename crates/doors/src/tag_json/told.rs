//! What a client is told: entries and presence as tags.

use chinwag_protocol::{
    Attachment, ConversationChange, Entry, Event, LogId, MessageBody, Posting, Presence, Role, ServerSignal,
    UserId,
};
use serde_json::Value;

use super::{
    Shared,
    dialect::Kind,
    icons::Then,
    place::{Roll, chat_name, kind_of},
    session::{Aside, Doing, Purpose, Session},
};
use crate::{Moment, Question, Room, words};

/// "An attachment posted elsewhere arrives as `DATA` up to 512 KiB, else as a line of text with a link."
const INLINE_MAX: u64 = 512 * 1024;

type Fields = Vec<(String, Value)>;

/// How many fields all tags of one message share.
pub(super) const CHAT_FIELDS: usize = 7;

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Fields {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What makes a chat one of text.
pub(super) fn text_fields(text: String) -> Fields {
    fields([("chat", "TEXT".into()), ("text", text.into()), ("data", "".into())])
}

impl Session {
    /// Something happened.
    pub(super) fn entry(&mut self, entry: &Entry, now: Moment, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        // A room that one is removed from is known until its last tag.
        let room = match entry.log {
            LogId::Conversation(id) => place.seat.room(id).cloned(),
            _ => None,
        };
        // An id is the one that the client knows, also after a rename.
        if let (Some(room), Event::Changed(ConversationChange { handle: Some(_), .. })) =
            (&room, &entry.event)
        {
            place.room_was(room);
        }
        place.seat.apply(entry);
        match (entry.log, room) {
            (LogId::Conversation(id), Some(room)) => {
                self.in_room(entry, &room, shared);
                if let Some(place) = &mut self.place {
                    place.wrote(id, entry.seq);
                }
            }
            (LogId::Conversation(_), None) => {}
            (LogId::User(_), _) => self.own(entry, shared),
            (LogId::Directory, _) => self.directory(entry, shared),
        }
        self.was_awaited(entry.log, &entry.event, shared);
        self.go_on(now, shared);
    }

    /// What waited has been told.
    pub(super) fn caught_up(&mut self) {
        if let Some(place) = &mut self.place {
            place.caught_up = true;
        }
    }

    fn in_room(&mut self, entry: &Entry, room: &Room, shared: &mut Shared) {
        let hears = self.hears(entry, room);
        let Some(place) = &mut self.place else { return };
        let me = place.seat.me;
        match &entry.event {
            Event::Message(body) if hears => self.message(entry, body, room, shared),
            Event::Edited { .. } | Event::Deleted { .. } if hears => {
                for line in words::lines(entry, &shared.desk.settings.web, |_| String::new()) {
                    self.line(entry, room, line, shared);
                }
            }
            Event::Joined { user, .. } if *user != me => self.member("ADD_MEMBER", *user, room, shared),
            Event::Left { user } if *user == me && place.ending == Some(room.id) => place.ending = None,
            Event::Left { user } | Event::Removed { user, .. } => {
                self.member("REMOVE_MEMBER", *user, room, shared);
            }
            Event::RoleChanged { user, role } => {
                let action = if *role == Role::Member { "REMOVE_ADMIN" } else { "ADD_ADMIN" };
                self.member(action, *user, room, shared);
            }
            Event::Changed(change) if room.peer.is_none() => self.changed(change, room, shared),
            Event::Closed {} if place.ending == Some(room.id) => place.ending = None,
            Event::Closed {} => {
                let (kind, id) = (kind_of(room), place.room_id(room));
                let fields = [
                    ("action", Value::from("DELETE")),
                    ("type", kind.word().into()),
                    ("id", id.clone().into()),
                    (kind.key(), id.into()),
                ];
                self.send(&fields, shared);
            }
            Event::CallStarted { .. } | Event::CallAnswered { .. } | Event::CallEnded { .. } => {
                self.tell_call(entry, room, shared);
            }
            _ => {}
        }
    }

    /// Whether a client is told what was said: of its own user's only what he said elsewhere, and in a group, where
    /// programs show the sender; in a private chat they would take it for the other's.
    fn hears(&self, entry: &Entry, room: &Room) -> bool {
        let is_own = self.place.as_ref().is_some_and(|place| place.seat.me == entry.by);
        let is_from_here = entry.client_id.as_ref().is_some_and(|id| id.starts_with("tag_json"));
        !is_own || room.peer.is_none() && !is_from_here
    }

    fn member(&self, action: &str, user: UserId, room: &Room, shared: &mut Shared) {
        let Some(place) = self.place.as_ref().filter(|_| room.peer.is_none()) else { return };
        let kind = kind_of(room);
        let fields = [
            ("action", Value::from(action)),
            ("type", kind.word().into()),
            (kind.key(), place.room_id(room).into()),
            ("user_id", place.id(user, shared).into()),
        ];
        self.send(&fields, shared);
    }

    fn changed(&mut self, change: &ConversationChange, room: &Room, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        if let Some(posting) = change.posting {
            let fields = [
                ("action", Value::from("ONLY_ADMIN")),
                ("type", kind_of(room).word().into()),
                (kind_of(room).key(), place.room_id(room).into()),
                ("user_id", (posting == Posting::Admins).into()),
            ];
            self.send(&fields, shared);
        }
        let name = change.name.clone().map(|name| ("name".to_owned(), name.into()));
        let topic = change.topic.clone().map(|topic| ("bio".to_owned(), topic.into()));
        // What it reads like is known when it is at hand.
        let icon = change.avatar.map(|_| ("icon".to_owned(), Value::Null));
        let changed: Fields = name.into_iter().chain(topic).chain(icon).collect();
        if !changed.is_empty() {
            let (roll, question) = Roll::new(room.id);
            self.hold(shared);
            self.aside(Aside::Changed(roll, changed), question, shared);
        }
    }

    /// What all tags of one message share.
    fn chat_fields(&self, entry: &Entry, room: &Room, shared: &Shared) -> Fields {
        let Some(place) = &self.place else { return Fields::new() };
        let (kind, recipient) = match room.peer {
            Some(_) => (Kind::User, place.id(place.seat.me, shared)),
            None => (kind_of(room), place.room_id(room)),
        };
        fields([
            ("action", "CHAT".into()),
            ("type", kind.word().into()),
            ("sender", place.id(entry.by, shared).into()),
            ("recipient", recipient.into()),
            ("id", name_of(entry).into()),
            ("date_time", words::written_at(entry).0.into()),
            ("server_date_time", entry.at.0.into()),
        ])
    }

    /// Tells a chat that is a line of ours.
    pub(super) fn line(&mut self, entry: &Entry, room: &Room, line: String, shared: &mut Shared) {
        self.introduce(entry.by, room, shared);
        let mut fields = self.chat_fields(entry, room, shared);
        fields.extend(text_fields(line));
        self.send_owned(&fields, shared);
    }

    /// A client drops a private chat of somebody of whom it has no record.
    fn introduce(&mut self, user: UserId, room: &Room, shared: &mut Shared) {
        if room.peer.is_some() {
            self.make_known(user, shared);
        }
    }

    fn make_known(&mut self, user: UserId, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        if user != place.seat.me && place.known.insert(user) {
            let record = place.contact(user, shared);
            self.tell_contact(user, record, shared);
        }
    }

    /// "The other side gets ACTION ADD, TYPE CONTACT (queued)": whoever was added while he was away hears it when he
    /// is back. Of those who have said something the first chat tells.
    pub(super) fn tell_silent(&mut self, shared: &mut Shared) {
        let silent = self.place.as_mut().map(|place| std::mem::take(&mut place.silent));
        for user in silent.unwrap_or_default() {
            self.make_known(user, shared);
        }
    }

    fn message(&mut self, entry: &Entry, body: &MessageBody, room: &Room, shared: &mut Shared) {
        self.introduce(entry.by, room, shared);
        let Some(place) = &mut self.place else { return };
        place.remember(name_of(entry), room.id, entry.seq);
        let reply = body.reply_to.map(|seq| ("response_to".to_owned(), place.chat_id(room.id, seq).into()));
        if !body.text.is_empty() || body.attachments.is_empty() {
            let mut fields = self.chat_fields(entry, room, shared);
            fields.extend(text_fields(body.text.clone()));
            fields.extend(reply);
            self.send_owned(&fields, shared);
        }
        for (index, file) in (0..).zip(&body.attachments) {
            self.file(entry, room, file, index, shared);
        }
    }

    fn file(&mut self, entry: &Entry, room: &Room, file: &Attachment, index: u16, shared: &mut Shared) {
        let line = words::file(entry, file, index.into(), &shared.desk.settings.web);
        if file.size > INLINE_MAX {
            return self.line(entry, room, line, shared);
        }
        let mut fields = self.chat_fields(entry, room, shared);
        fields.extend(self::fields([
            ("chat", sort_of(file).into()),
            ("name", file.name.clone().into()),
            ("size", file.size.into()),
        ]));
        self.hold(shared);
        let fetch =
            Question::Fetch { conversation: room.id, message: entry.seq, index, bytes_max: INLINE_MAX };
        if let Some(place) = &mut self.place {
            place.fetches.push_back((fields, line, fetch));
        }
        self.fetch_next(shared);
    }

    /// "The other side gets ACTION ADD, TYPE CONTACT, DATA = adder's record."
    fn tell_contact(&self, user: UserId, record: Value, shared: &mut Shared) {
        let fields = [("action", Value::from("ADD")), ("type", "CONTACT".into()), ("data", record)];
        self.send(&fields, shared);
        // What he said waits for no picture: that one comes when it is at hand.
        let avatar = shared.desk.people.get(user).and_then(|profile| profile.avatar);
        if let Some(file) = avatar.filter(|file| !shared.icons.has(*file)) {
            self.first_icon(Then::Late(user), user, file, shared);
        }
    }

    fn own(&mut self, entry: &Entry, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        let me = place.seat.me;
        match &entry.event {
            Event::Entered { conversation } => {
                if let Some((one, other)) = conversation.direct {
                    let peer = if one == me { other } else { one };
                    if entry.by != me && place.known.insert(peer) {
                        let record = place.contact(peer, shared);
                        self.tell_contact(peer, record, shared);
                    }
                } else if entry.by != me || !self.is_entering(shared) {
                    let (roll, question) = Roll::new(conversation.id);
                    self.hold(shared);
                    self.aside(Aside::Entered(roll), question, shared);
                }
            }
            Event::ContactAdded { user } => {
                place.contacts.insert(*user);
            }
            Event::ContactRemoved { user } => {
                place.contacts.remove(user);
            }
            _ => {}
        }
    }

    /// Whether a request is on its way into a conversation; its answer tells all about it.
    fn is_entering(&self, shared: &Shared) -> bool {
        let is_entering =
            |purpose: &Purpose| matches!(purpose, Purpose::Request(Doing::Create(_) | Doing::Join(..)));
        self.awaited.is_some() || shared.desk.asked(self.link).any(is_entering)
    }

    /// "The new member gets ADD with DATA."
    pub(super) fn tell_entered(&self, roll: &Roll, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let Some(room) = place.seat.room(roll.conversation) else { return };
        let kind = kind_of(room);
        let fields = [
            ("action", Value::from("ADD")),
            ("type", kind.word().into()),
            (kind.key(), place.room_id(room).into()),
            ("data", place.multi(room, &roll.members, shared)),
            ("response", "SUCCESSFUL".into()),
        ];
        self.send(&fields, shared);
    }

    /// "CHANGE for a group or channel must carry `users` and `admins`, else the client empties its lists."
    pub(super) fn tell_changed(&self, roll: &Roll, changed: Fields, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let Some(room) = place.seat.room(roll.conversation) else { return };
        let kind = kind_of(room);
        let record = place.multi(room, &roll.members, shared);
        let mut fields = fields([
            ("action", "CHANGE".into()),
            ("type", kind.word().into()),
            (kind.key(), place.room_id(room).into()),
            ("users", record["users"].clone()),
            ("admins", record["admins"].clone()),
        ]);
        fields.extend(changed);
        for (_, icon) in fields.iter_mut().filter(|(key, _)| key == "icon") {
            *icon = record["ICON"].clone();
        }
        self.send_owned(&fields, shared);
    }

    /// "Contacts get the changed fields flat in a CHANGE tag."
    fn directory(&mut self, entry: &Entry, shared: &mut Shared) {
        let (Some(place), Event::UserChanged { profile }) = (&self.place, &entry.event) else { return };
        if !place.known.contains(&profile.id) {
            return;
        }
        let is_new = profile.avatar != place.faces.get(&profile.id).copied();
        let changed = fields([
            ("name", profile.name.clone().into()),
            ("bio", profile.about.clone().into()),
            ("chat_color", profile.hue.into()),
        ]);
        match profile.avatar.filter(|file| is_new && !shared.icons.has(*file)) {
            Some(file) => {
                self.hold(shared);
                self.first_icon(Then::Profile(profile.id, changed), profile.id, file, shared);
            }
            None => self.tell_profile(profile.id, changed, shared),
        }
    }

    /// What is new of somebody, with his picture if that is.
    pub(super) fn tell_profile(&mut self, user: UserId, changed: Fields, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        let mut fields = fields([
            ("action", "CHANGE".into()),
            ("type", "USER".into()),
            ("user_id", place.id(user, shared).into()),
        ]);
        let before = place.faces.get(&user).copied();
        let icon = place.face(user, shared);
        let is_new = place.faces.get(&user).copied() != before;
        if changed.is_empty() && !is_new {
            return;
        }
        fields.extend(changed);
        fields.extend(is_new.then(|| ("icon".to_owned(), icon.into())));
        self.send_owned(&fields, shared);
    }

    /// "STATUS (push): one user: ID, STATUS."
    pub(super) fn signal(&mut self, signal: &ServerSignal, now: Moment, shared: &mut Shared) {
        let (Some(place), ServerSignal::Presence(all)) = (&mut self.place, signal) else { return };
        let mut told = Vec::new();
        for one in all {
            let was = place.presence.insert(one.user, (one.presence, one.seen_at)).map(|(was, _)| was);
            let is_online = one.presence != Presence::Offline;
            let was_online = was.is_some_and(|was| was != Presence::Offline);
            if is_online != was_online || was.is_none() {
                told.push((place.id(one.user, shared), place.status(one.user, shared)));
            }
        }
        for (id, status) in told {
            let fields = [
                ("action", Value::from("STATUS")),
                ("id", id.into()),
                ("status", status),
                ("date_time", shared.desk.settings.wall(now).0.into()),
            ];
            self.send(&fields, shared);
        }
    }
}

/// What sort of chat a file makes. One whose bytes say nothing of it is known by the name that its sort gave it.
fn sort_of(file: &Attachment) -> &'static str {
    let of = |sort: &str| file.media_type.split('/').next() == Some(sort) || file.name == sort;
    match () {
        () if of("image") => "IMAGE",
        () if of("audio") => "AUDIO",
        () if of("video") => "VIDEO",
        () => "FILE",
    }
}

/// The name of a chat on this wire: its sender's own, if he gave it one here, else where it stands.
fn name_of(entry: &Entry) -> String {
    let own = entry.client_id.as_deref().and_then(|id| id.strip_prefix("tag_json:"));
    match (own, entry.log) {
        (Some(own), _) => own.to_owned(),
        (None, LogId::Conversation(id)) => chat_name(id, entry.seq),
        (None, _) => entry.seq.to_string(),
    }
}
