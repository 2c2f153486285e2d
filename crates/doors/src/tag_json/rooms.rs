//! What a client asks of contacts, groups and channels.

use chinwag_protocol::{
    Command, ConversationChange, ConversationId, ConversationKind, History, NewAvatar, Posting,
    ProfileChange, Role,
};

use super::{
    Shared,
    dialect::{Asked, Kind, Response, Verb},
    place::Roll,
    session::{Doing, Session},
};
use crate::Question;

impl Session {
    pub(super) fn add(&mut self, asked: Asked, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        if asked.kind.unwrap_or(Kind::User) == Kind::User {
            let Some(id) = asked.user() else { return self.refuse(&asked, Response::Failed, shared) };
            return match place.user(&id, shared) {
                Some(user) => {
                    let command = Question::Command(Command::AddContact { user });
                    self.ask(Doing::Contact(asked, user), command, shared);
                }
                None => self.find(asked, &id, shared),
            };
        }
        let Some(id) = asked.place() else { return self.refuse(&asked, Response::Failed, shared) };
        match place.room(&id).map(|room| room.id) {
            // He is a member already: a record is all that is asked for.
            Some(conversation) => {
                let (roll, question) = Roll::new(conversation);
                self.ask(Doing::Joined(asked, roll), question, shared);
            }
            None => self.find(asked, &id, shared),
        }
    }

    pub(super) fn create(&mut self, asked: Asked, shared: &mut Shared) {
        let kind = match asked.kind {
            Some(Kind::Channel) => ConversationKind::Channel,
            Some(Kind::Group) => ConversationKind::Group,
            _ => return self.refuse(&asked, Response::Failed, shared),
        };
        let Some(id) = asked.place() else { return self.refuse(&asked, Response::Failed, shared) };
        // One that makes no sense is as good as none: the group matters more.
        let icon = asked.tag.bytes("icon").unwrap_or_default();
        if !icon.is_empty() && self.picture.is_none() {
            return self.take_picture(asked, icon, shared);
        }
        let Some(place) = &mut self.place else { return };
        let command = Command::CreateConversation {
            client_id: place.next_name(),
            kind,
            name: asked.tag.filled("name").unwrap_or_else(|| id.clone()),
            handle: Some(id),
            topic: asked.tag.text("bio").unwrap_or_default(),
            public: true,
            history: History::All,
            posting: None,
            members: Vec::new(),
        };
        self.ask(Doing::Create(asked), Question::Command(command), shared);
    }

    /// Takes a picture in; then the request goes on.
    fn take_picture(&mut self, asked: Asked, bytes: Vec<u8>, shared: &mut Shared) {
        let upload = Question::Upload { name: "icon".to_owned(), bytes };
        self.ask(Doing::Picture(asked), upload, shared);
    }

    pub(super) fn simple(&mut self, asked: Asked, answers: bool, command: Command, shared: &mut Shared) {
        self.ask(Doing::Simple { asked, answers }, Question::Command(command), shared);
    }

    /// The group or channel that a request is about, in any of the keys that name it.
    fn room_of(&self, asked: &Asked) -> Option<ConversationId> {
        let place = self.place.as_ref()?;
        let id = asked.place().or_else(|| asked.tag.id("id"))?;
        place.room(&id).map(|room| room.id)
    }

    /// "REMOVE: TYPE, ID." The document's `remove_X` names it by its own key.
    pub(super) fn remove(&mut self, asked: Asked, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        if asked.kind.unwrap_or(Kind::User) == Kind::User {
            let id = asked.user().or_else(|| asked.tag.id("id"));
            let user = id.and_then(|id| place.user(&id, shared));
            let Some(user) = user.filter(|user| place.contacts.remove(user)) else {
                return self.refuse(&asked, Response::Extinct, shared);
            };
            return self.simple(asked, true, Command::RemoveContact { user }, shared);
        }
        let Some(conversation) = self.room_of(&asked) else {
            return self.refuse(&asked, Response::Extinct, shared);
        };
        self.ending(Some(conversation));
        self.simple(asked, true, Command::Leave { conversation }, shared);
    }

    /// "DELETE: TYPE GROUP/CHANNEL; FAILED for contacts."
    pub(super) fn delete(&mut self, asked: Asked, shared: &mut Shared) {
        if asked.kind.unwrap_or(Kind::User) == Kind::User {
            return self.refuse(&asked, Response::Failed, shared);
        }
        let Some(conversation) = self.room_of(&asked) else {
            return self.refuse(&asked, Response::Extinct, shared);
        };
        self.ending(Some(conversation));
        self.simple(asked, true, Command::CloseConversation { conversation }, shared);
    }

    pub(super) fn ending(&mut self, conversation: Option<ConversationId>) {
        if let Some(place) = &mut self.place {
            place.ending = conversation;
        }
    }

    /// Members and admins: the members hear of it by the entry, "broadcast of the tag to the members".
    pub(super) fn membership(&mut self, asked: Asked, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let Some(conversation) = asked.place().and_then(|id| place.room(&id).map(|room| room.id)) else {
            return self.refuse(&asked, Response::Extinct, shared);
        };
        let Some(id) = asked.user() else { return self.refuse(&asked, Response::Failed, shared) };
        let Some(user) = place.user(&id, shared) else { return self.find(asked, &id, shared) };
        let command = match asked.verb {
            Verb::AddMember => Command::AddMember { conversation, user },
            Verb::RemoveMember => Command::RemoveMember { conversation, user, ban: false },
            Verb::AddAdmin => Command::SetRole { conversation, user, role: Role::Admin },
            _ => Command::SetRole { conversation, user, role: Role::Member },
        };
        let answers = asked.document.is_some();
        self.simple(asked, answers, command, shared);
    }

    /// "`user_id` = truth value (field misused)."
    pub(super) fn only_admin(&mut self, asked: Asked, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let room = asked.place().and_then(|id| place.room(&id).map(|room| room.id));
        let truth = asked.tag.truth("user_id").or_else(|| asked.tag.truth("only_admin"));
        match (room, truth) {
            (Some(conversation), Some(only)) => {
                let posting = Some(if only { Posting::Admins } else { Posting::Everyone });
                let change = ConversationChange { posting, ..ConversationChange::default() };
                self.simple(asked, false, Command::ChangeConversation { conversation, change }, shared);
            }
            (None, _) => self.refuse(&asked, Response::Extinct, shared),
            (_, None) => self.refuse(&asked, Response::Failed, shared),
        }
    }

    /// "CHANGE: TYPE, id key, DATA={NAME/KEY/BIO/ICON}"; the document's `change_X_id` and `change_X_name`.
    pub(super) fn change(&mut self, asked: Asked, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let new = New::of(&asked);
        if asked.kind.unwrap_or(Kind::User) == Kind::User {
            let named = asked.user().filter(|_| new.handle != asked.user());
            if named.is_some_and(|id| place.user(&id, shared) != Some(place.seat.me)) {
                return self.refuse(&asked, Response::Failed, shared);
            }
            return self.change_self(asked, new, shared);
        }
        let Some(conversation) = asked.place().and_then(|id| place.room(&id).map(|room| room.id)) else {
            return self.refuse(&asked, Response::Extinct, shared);
        };
        let Some((asked, avatar)) = self.new_picture(asked, shared) else { return };
        let New { handle, name, about, .. } = new;
        let change =
            ConversationChange { handle, name, topic: about, avatar, ..ConversationChange::default() };
        if change == ConversationChange::default() {
            return self.refuse(&asked, Response::Failed, shared);
        }
        self.simple(asked, true, Command::ChangeConversation { conversation, change }, shared);
    }

    /// The picture that a change names, once it is taken in; an empty one takes the picture away.
    ///
    /// `None`: it is on its way, or the request was refused.
    fn new_picture(&mut self, asked: Asked, shared: &mut Shared) -> Option<(Asked, Option<NewAvatar>)> {
        if let Some(file) = self.picture.take() {
            return Some((asked, Some(NewAvatar { file: Some(file) })));
        }
        let data = asked.tag.inner("data");
        let icon = data.as_ref().and_then(|data| Some((data.text("icon")?, data.bytes("icon"))));
        match icon {
            None => return Some((asked, None)),
            Some((_, Ok(bytes))) if bytes.is_empty() => return Some((asked, Some(NewAvatar::default()))),
            Some((_, Ok(bytes))) => self.take_picture(asked, bytes, shared),
            Some((_, Err(()))) => self.refuse(&asked, Response::Failed, shared),
        }
        None
    }

    fn change_self(&mut self, asked: Asked, new: New, shared: &mut Shared) {
        let Some((asked, avatar)) = self.new_picture(asked, shared) else { return };
        let New { handle, name, about, hue, key } = new;
        let change = ProfileChange { handle, name, about, hue, avatar };
        let Some(new) = key else {
            return match change == ProfileChange::default() {
                true => self.refuse(&asked, Response::Failed, shared),
                false => self.simple(asked, true, Command::ChangeProfile(change), shared),
            };
        };
        // Whether secrets may be changed through a door is not decided here.
        let old = asked.tag.text("key").unwrap_or_default();
        let command = Question::Command(Command::ChangePassword { old, new });
        self.ask(Doing::Key(asked, change), command, shared);
    }
}

/// What a change makes new.
struct New {
    handle: Option<String>,
    name: Option<String>,
    about: Option<String>,
    hue: Option<u16>,
    key: Option<String>,
}

impl New {
    fn of(asked: &Asked) -> Self {
        let data = asked.tag.inner("data");
        let within = |key: &str| data.as_ref().and_then(|data| data.text(key));
        // "`action` = change_type_what, the new value, sender": the document does not say under which key.
        let action = asked.document.as_deref().unwrap_or_default().to_lowercase();
        let one_of = |keys: &[&str]| keys.iter().find_map(|key| asked.tag.filled(key));
        let own: &[&str] = &["new_id", "value", "user_id", "id"];
        let others: &[&str] = &["new_id", "value", "id"];
        let is_own = asked.kind.unwrap_or(Kind::User) == Kind::User;
        let handle = match action.ends_with("_id") {
            true => one_of(if is_own { own } else { others }),
            false => within("id"),
        };
        let name = match action.ends_with("_name") {
            true => one_of(&["name", "new_name", "value"]),
            false => within("name"),
        };
        let hue = within("chat_color").and_then(|hue| hue.parse().ok());
        Self { handle, name, about: within("bio"), hue, key: within("key") }
    }
}
