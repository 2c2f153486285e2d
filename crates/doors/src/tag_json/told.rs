//! What a client is told: entries and presence as tags.

use chinwag_protocol::{
    Attachment, CallMedia, ConversationId, Entry, Event, LogId, MemberView, MessageBody, Presence, Query,
    Role, Seq, ServerSignal, UserId,
};
use serde_json::Value;

use super::{
    Shared,
    dialect::Kind,
    session::{Aside, Session, kind_of, multi, room_id},
};
use crate::{Moment, Question, Room, words};

/// "An attachment posted elsewhere arrives as `DATA` up to 512 KiB, else as a line of text with a link."
const INLINE_MAX: u64 = 512 * 1024;

type Fields = Vec<(String, Value)>;

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Fields {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
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
            (LogId::Directory, _) => self.directory(entry, now, shared),
        }
    }

    fn in_room(&mut self, entry: &Entry, room: &Room, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        let me = place.seat.me;
        match &entry.event {
            Event::Message(body) if entry.by != me => self.message(entry, body, room, shared),
            Event::Message(_) => {}
            Event::Edited { .. } | Event::Deleted { .. } => {
                for line in words::lines(entry, &shared.settings.web, |user| shared.id(user)) {
                    let mut fields = self.chat_fields(entry, room, shared);
                    fields.extend(self::fields([
                        ("chat", "TEXT".into()),
                        ("text", line.into()),
                        ("data", "".into()),
                    ]));
                    self.send_owned(&fields, shared);
                }
            }
            Event::Joined { user, .. } if *user != me => self.member("ADD_MEMBER", *user, room, shared),
            Event::Left { user } | Event::Removed { user, .. } => {
                self.member("REMOVE_MEMBER", *user, room, shared);
            }
            Event::RoleChanged { user, role } => {
                let action = if *role == Role::Member { "REMOVE_ADMIN" } else { "ADD_ADMIN" };
                self.member(action, *user, room, shared);
            }
            Event::Changed(change) => {
                if let Some(posting) = change.posting {
                    let only = posting == chinwag_protocol::Posting::Admins;
                    let fields = [
                        ("action", Value::from("ONLY_ADMIN")),
                        ("type", kind_of(room).word().into()),
                        (kind_of(room).key(), room_id(room).into()),
                        ("user_id", only.into()),
                    ];
                    self.send(&fields, shared);
                }
                let mut changed = Fields::new();
                changed.extend(change.name.clone().map(|name| ("name".to_owned(), name.into())));
                changed.extend(change.topic.clone().map(|topic| ("bio".to_owned(), topic.into())));
                changed.extend(
                    change.handle.clone().map(|handle| ("id".to_owned(), handle.to_lowercase().into())),
                );
                if !changed.is_empty() && room.peer.is_none() {
                    self.aside(Aside::Changed(room.id, changed), members(room.id), shared);
                }
            }
            Event::Closed {} => {
                let kind = kind_of(room);
                let fields = [
                    ("action", Value::from("DELETE")),
                    ("type", kind.word().into()),
                    (kind.key(), room_id(room).into()),
                ];
                self.send(&fields, shared);
            }
            Event::CallStarted { media, .. } => {
                place.calls.insert(room.id, entry.seq);
                if entry.by != me {
                    let word = if *media == CallMedia::Video { "VIDEO" } else { "AUDIO" };
                    self.tell_call("CALL_REQUEST", entry, room, vec![("call", word.into())], shared);
                }
            }
            Event::CallAnswered { accepted, .. } if entry.by != me => {
                let word = if *accepted { "ACCEPTED" } else { "DECLINED" };
                self.tell_call("CALL_RESPONSE", entry, room, vec![("response", word.into())], shared);
            }
            Event::CallEnded { .. } => {
                place.calls.remove(&room.id);
                if entry.by != me {
                    self.tell_call(
                        "CALL_RESPONSE",
                        entry,
                        room,
                        vec![("response", "DECLINED".into())],
                        shared,
                    );
                }
            }
            _ => {}
        }
    }

    fn member(&self, action: &str, user: UserId, room: &Room, shared: &mut Shared) {
        if room.peer.is_some() {
            return;
        }
        let kind = kind_of(room);
        let fields = [
            ("action", Value::from(action)),
            ("type", kind.word().into()),
            (kind.key(), room_id(room).into()),
            ("user_id", shared.id(user).into()),
        ];
        self.send(&fields, shared);
    }

    fn tell_call(
        &self,
        action: &str,
        entry: &Entry,
        room: &Room,
        more: Vec<(&str, Value)>,
        shared: &mut Shared,
    ) {
        let Some(place) = &self.place else { return };
        let recipient = if room.peer.is_some() { shared.id(place.seat.me) } else { room_id(room) };
        let mut fields = vec![
            ("action", Value::from(action)),
            ("sender", shared.id(entry.by).into()),
            ("recipient", recipient.into()),
            ("id", name_of(entry).into()),
            ("date_time", entry.at.0.into()),
        ];
        fields.extend(more);
        self.send(&fields, shared);
    }

    /// What all tags of one message share.
    fn chat_fields(&self, entry: &Entry, room: &Room, shared: &Shared) -> Fields {
        let Some(place) = &self.place else { return Fields::new() };
        let (kind, recipient) = match room.peer {
            Some(_) => (Kind::User, shared.id(place.seat.me)),
            None => (kind_of(room), room_id(room)),
        };
        fields([
            ("action", "CHAT".into()),
            ("type", kind.word().into()),
            ("sender", shared.id(entry.by).into()),
            ("recipient", recipient.into()),
            ("id", name_of(entry).into()),
            ("date_time", entry.at.0.into()),
        ])
    }

    fn message(&mut self, entry: &Entry, body: &MessageBody, room: &Room, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.remember(name_of(entry), room.id, entry.seq);
        let reply = body.reply_to.map(|seq| {
            let known = place.chats.iter().find(|(_, of)| *of == (room.id, seq)).map(|(id, _)| id.clone());
            known.unwrap_or_else(|| name(room.id, seq))
        });
        // A client drops a chat of somebody of whom it has no record.
        if room.peer.is_some() && place.known.insert(entry.by) {
            let record = place.contact(entry.by, shared);
            self.tell_contact(record, shared);
        }
        if !body.text.is_empty() || body.attachments.is_empty() {
            let mut fields = self.chat_fields(entry, room, shared);
            fields.extend(self::fields([
                ("chat", "TEXT".into()),
                ("text", body.text.clone().into()),
                ("data", "".into()),
            ]));
            fields.extend(reply.map(|id| ("response_to".to_owned(), id.into())));
            self.send_owned(&fields, shared);
        }
        for (index, file) in (0..).zip(&body.attachments) {
            let line = words::file(entry, file, index.into(), &shared.settings.web);
            self.file(entry, room, file, index, line, shared);
        }
    }

    fn file(
        &mut self,
        entry: &Entry,
        room: &Room,
        file: &Attachment,
        index: u16,
        line: String,
        shared: &mut Shared,
    ) {
        let mut fields = self.chat_fields(entry, room, shared);
        if file.size > INLINE_MAX {
            fields.extend(self::fields([
                ("chat", "TEXT".into()),
                ("text", line.into()),
                ("data", "".into()),
            ]));
            return self.send_owned(&fields, shared);
        }
        let sort = file.media_type.split('/').next().unwrap_or_default();
        let chat = match sort {
            "image" | "audio" | "video" => sort.to_uppercase(),
            _ => "FILE".to_owned(),
        };
        fields.extend(self::fields([
            ("chat", chat.into()),
            ("name", file.name.clone().into()),
            ("size", file.size.into()),
            ("part", 1.into()),
            ("parts", 1.into()),
            ("text", "".into()),
        ]));
        self.hold(shared);
        let fetch =
            Question::Fetch { conversation: room.id, message: entry.seq, index, bytes_max: INLINE_MAX };
        self.aside(Aside::File { fields, line }, fetch, shared);
    }

    /// "The other side gets ACTION ADD, TYPE CONTACT, DATA = adder's record."
    fn tell_contact(&self, record: Value, shared: &mut Shared) {
        let fields = [("action", Value::from("ADD")), ("type", "CONTACT".into()), ("data", record)];
        self.send(&fields, shared);
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
                        self.tell_contact(record, shared);
                    }
                } else if place.entering.take_if(|id| *id == conversation.id).is_none() {
                    self.aside(Aside::Entered(conversation.id), members(conversation.id), shared);
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

    /// "The new member gets ADD with DATA."
    pub(super) fn tell_entered(&self, id: ConversationId, members: &[MemberView], shared: &mut Shared) {
        let Some(room) = self.place.as_ref().and_then(|place| place.seat.room(id)) else { return };
        let kind = kind_of(room);
        let fields = [
            ("action", Value::from("ADD")),
            ("type", kind.word().into()),
            (kind.key(), room_id(room).into()),
            ("data", multi(room, members, shared)),
            ("response", "SUCCESSFUL".into()),
        ];
        self.send(&fields, shared);
    }

    /// "CHANGE for a group or channel must carry `users` and `admins`, else the client empties its lists."
    pub(super) fn tell_changed(
        &self,
        id: ConversationId,
        changed: Fields,
        members: &[MemberView],
        shared: &mut Shared,
    ) {
        let Some(room) = self.place.as_ref().and_then(|place| place.seat.room(id)) else { return };
        let kind = kind_of(room);
        let record = multi(room, members, shared);
        let mut fields = self::fields([
            ("action", "CHANGE".into()),
            ("type", kind.word().into()),
            (kind.key(), room_id(room).into()),
            ("users", record["users"].clone()),
            ("admins", record["admins"].clone()),
        ]);
        fields.extend(changed);
        self.send_owned(&fields, shared);
    }

    /// "Contacts get the changed fields flat in a CHANGE tag."
    fn directory(&self, entry: &Entry, _now: Moment, shared: &mut Shared) {
        let (Some(place), Event::UserChanged { profile }) = (&self.place, &entry.event) else { return };
        if !place.known.contains(&profile.id) {
            return;
        }
        let fields = [
            ("action", Value::from("CHANGE")),
            ("type", "USER".into()),
            ("user_id", shared.id(profile.id).into()),
            ("name", profile.name.clone().into()),
            ("bio", profile.about.clone().into()),
        ];
        self.send(&fields, shared);
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
                told.push((shared.id(one.user), place.status(one.user, shared)));
            }
        }
        for (id, status) in told {
            let fields = [
                ("action", Value::from("STATUS")),
                ("id", id.into()),
                ("status", status),
                ("date_time", shared.settings.wall(now).0.into()),
            ];
            self.send(&fields, shared);
        }
    }
}

fn members(conversation: ConversationId) -> Question {
    Question::Query(Query::Members { conversation, after: UserId(0), limit: 200 })
}

/// The name of a chat on this wire: its sender's own, if he gave it one here, else where it stands.
fn name_of(entry: &Entry) -> String {
    let own = entry.client_id.as_deref().and_then(|id| id.strip_prefix("tag_json:"));
    match (own, entry.log) {
        (Some(own), _) => own.to_owned(),
        (None, LogId::Conversation(id)) => name(id, entry.seq),
        (None, _) => entry.seq.to_string(),
    }
}

fn name(conversation: ConversationId, seq: Seq) -> String {
    format!("c{conversation}-{seq}")
}
