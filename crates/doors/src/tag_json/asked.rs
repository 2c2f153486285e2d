//! What a client asks, request by request.

use std::time::Duration;

use chinwag_protocol::{
    Answer, Attach, CallMedia, Command, ConversationChange, ConversationId, ConversationKind, Device,
    History, Posting, ProfileChange, Query, Refused, Reply, Role, Seq, UserId,
};
use serde_json::{Value, json};

use super::{
    Alarm, Shared,
    dialect::{Asked, Kind, Response, Verb},
    files::{COMPLETE_WITHIN, Put},
    session::{Aside, Doing, Place, Session, kind_of, multi, response_to},
};
use crate::{Given, Moment, Question, Seat};

/// "Send nothing more until its DATA request (or >= 300 ms)."
const READY_AFTER: Duration = Duration::from_millis(300);

/// Members told of each group.
const MEMBERS_MAX: u16 = 200;

/// Media frames of a call that may be under way to one client; newer ones are dropped.
const FRAMES_MAX: u32 = 16;

impl Session {
    pub(super) fn request(&mut self, asked: Asked, now: Moment, shared: &mut Shared) {
        match asked.verb {
            Verb::SignUp => return self.sign_up(asked, shared),
            Verb::LogIn => return self.log_in(asked, shared),
            Verb::LogOut if self.place.is_none() => return self.close(shared),
            _ => {}
        }
        let Some(place) = &self.place else { return self.refuse(&asked, Response::Failed, shared) };
        // "The sender is always the session user"; another name in a tag is a lie.
        let me = shared.id(place.seat.me);
        if asked.sender().is_some_and(|sender| sender != me) {
            return self.refuse(&asked, Response::Failed, shared);
        }
        match asked.verb {
            Verb::LogOut => self.ask(Doing::LogOut, Question::SignOut {}, shared),
            Verb::Data => self.data(asked, now, shared),
            Verb::Add => self.add(asked, shared),
            Verb::Create => self.create(asked, shared),
            Verb::Remove => self.remove(asked, shared),
            Verb::Delete => self.delete(asked, shared),
            Verb::AddMember | Verb::RemoveMember | Verb::AddAdmin | Verb::RemoveAdmin => {
                self.membership(asked, shared);
            }
            Verb::OnlyAdmin => self.only_admin(asked, shared),
            Verb::Change => self.change(asked, shared),
            Verb::Chat => self.chat(asked, now, shared),
            Verb::CallRequest => self.call(asked, shared),
            Verb::CallResponse => self.call_response(asked, shared),
            Verb::EndCall => self.end_call(asked, shared),
            Verb::CallFrame => self.call_frame(&asked, shared),
            Verb::SignUp | Verb::LogIn | Verb::Status => {}
        }
    }

    fn sign_up(&mut self, asked: Asked, shared: &mut Shared) {
        let id = asked.user().filter(|_| asked.document.is_some()).or_else(|| asked.tag.id("id"));
        let (Some(id), Some(key)) = (id, asked.tag.text("key")) else {
            return self.refuse(&asked, Response::Failed, shared);
        };
        let name = asked.tag.text("name").filter(|name| !name.trim().is_empty());
        let profile = ProfileChange { name, ..ProfileChange::default() };
        let question = Question::Register { device: device(id, key), profile };
        self.ask(Doing::SignUp(asked), question, shared);
    }

    fn log_in(&mut self, asked: Asked, shared: &mut Shared) {
        let id = asked.user().filter(|_| asked.document.is_some()).or_else(|| asked.tag.id("id"));
        let (Some(id), Some(key)) = (id, asked.tag.text("key")) else {
            return self.refuse(&asked, Response::Failed, shared);
        };
        if self.place.is_some() {
            return self.refuse(&asked, Response::SimultaneousLogin, shared);
        }
        self.ask(Doing::LogIn(asked), Question::SignIn(device(id, key)), shared);
    }

    fn logged_in(&mut self, asked: &Asked, result: Result<Given, Refused>, now: Moment, shared: &mut Shared) {
        match result {
            Ok(Given::SignedIn(snapshot)) if shared.here.contains_key(&snapshot.me.id) => {
                self.aside(Aside::Nothing, Question::SignOut {}, shared);
                self.refuse_login(asked, Response::SimultaneousLogin, shared);
            }
            Ok(Given::SignedIn(snapshot)) => {
                let contacts = snapshot.contacts.iter().copied().collect();
                shared.here.insert(snapshot.me.id, self.link);
                self.seated(Place::new(Seat::new(&snapshot), contacts));
                self.hold(shared);
                shared.timers.set((self.link, Alarm::Ready), now + READY_AFTER);
                self.answer(asked, Vec::new(), shared);
            }
            Ok(_) => self.refuse_login(asked, Response::Failed, shared),
            Err(refused) => self.refuse_login(asked, response_to(&refused), shared),
        }
    }

    /// The old client takes a login's answer for it by its `ID`.
    fn refuse_login(&self, asked: &Asked, response: Response, shared: &mut Shared) {
        if asked.document.is_some() {
            return self.refuse(asked, response, shared);
        }
        let mut fields: Vec<(&str, Value)> = ["id", "action", "date_time"]
            .iter()
            .filter_map(|key| Some((*key, asked.tag.echo(key)?)))
            .collect();
        fields.push(("response", response.word(false).into()));
        self.send(&fields, shared);
    }

    /// "DATA = {NAME, ID, ICON, BIO, STATUS, users:[contact...], groups:[multi...], channels:[multi...]}."
    fn data(&mut self, asked: Asked, now: Moment, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let left = place.seat.rooms().filter(|room| room.peer.is_none() && !room.closed);
        let left = left.map(|room| room.id).collect();
        self.gather(asked, left, Vec::new(), now, shared);
    }

    fn gather(
        &mut self,
        asked: Asked,
        mut left: Vec<ConversationId>,
        records: Vec<(Kind, Value)>,
        now: Moment,
        shared: &mut Shared,
    ) {
        if let Some(conversation) = left.last().copied() {
            let members = members_of(conversation);
            left.shrink_to_fit();
            return self.ask(Doing::Data { asked, left, records }, members, shared);
        }
        let Some(place) = &self.place else { return };
        let of = |wanted: Kind| -> Vec<Value> {
            records
                .iter()
                .rev()
                .filter(|(kind, _)| *kind == wanted)
                .map(|(_, record)| record.clone())
                .collect()
        };
        let users: Vec<Value> = place.contacts.iter().map(|user| place.contact(*user, shared)).collect();
        let mut own = place.contact(place.seat.me, shared);
        own["STATUS"] = "ONLINE".into();
        own["users"] = users.into();
        own["groups"] = of(Kind::Group).into();
        own["channels"] = of(Kind::Channel).into();
        self.answer(&asked, vec![("data", own)], shared);
        self.ready(now, shared);
    }

    /// Finds somebody or something by id, and takes the request again.
    fn find(&mut self, asked: Asked, id: &str, shared: &mut Shared) {
        self.ask(Doing::Find(asked), Question::Query(Query::Handle { handle: id.to_owned() }), shared);
    }

    fn add(&mut self, asked: Asked, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        if asked.kind.unwrap_or(Kind::User) == Kind::User {
            let Some(id) = asked.user() else { return self.refuse(&asked, Response::Failed, shared) };
            return match shared.people.by_handle(&id).map(|profile| profile.id) {
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
                self.ask(Doing::Joined(asked, conversation), members_of(conversation), shared);
            }
            None => self.find(asked, &id, shared),
        }
    }

    fn create(&mut self, asked: Asked, shared: &mut Shared) {
        let kind = match asked.kind {
            Some(Kind::Channel) => ConversationKind::Channel,
            Some(Kind::Group) => ConversationKind::Group,
            _ => return self.refuse(&asked, Response::Failed, shared),
        };
        let (Some(id), Some(place)) = (asked.place(), &mut self.place) else {
            return self.refuse(&asked, Response::Failed, shared);
        };
        place.posts += 1;
        let command = Command::CreateConversation {
            client_id: format!("tag_json-{}-{}", place.seat.session, place.posts),
            kind,
            name: asked.tag.text("name").filter(|name| !name.trim().is_empty()).unwrap_or_else(|| id.clone()),
            handle: Some(id),
            topic: asked.tag.text("bio").unwrap_or_default(),
            public: true,
            history: History::All,
            posting: None,
            members: Vec::new(),
        };
        self.ask(Doing::Create(asked), Question::Command(command), shared);
    }

    fn simple(&mut self, asked: Asked, answers: bool, command: Command, shared: &mut Shared) {
        self.ask(Doing::Simple { asked, answers }, Question::Command(command), shared);
    }

    /// "REMOVE: TYPE, ID." The document's `remove_X` names it by its own key.
    fn remove(&mut self, asked: Asked, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        if asked.kind.unwrap_or(Kind::User) == Kind::User {
            let id = asked.user().or_else(|| asked.tag.id("id"));
            let user = id.and_then(|id| shared.people.by_handle(&id)).map(|profile| profile.id);
            let Some(user) = user.filter(|user| place.contacts.remove(user)) else {
                return self.refuse(&asked, Response::Extinct, shared);
            };
            return self.simple(asked, true, Command::RemoveContact { user }, shared);
        }
        let id = asked.place().or_else(|| asked.tag.id("id"));
        match id.and_then(|id| place.room(&id)).map(|room| room.id) {
            Some(conversation) => self.simple(asked, true, Command::Leave { conversation }, shared),
            None => self.refuse(&asked, Response::Extinct, shared),
        }
    }

    /// "DELETE: TYPE GROUP/CHANNEL; FAILED for contacts."
    fn delete(&mut self, asked: Asked, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        if asked.kind.unwrap_or(Kind::User) == Kind::User {
            return self.refuse(&asked, Response::Failed, shared);
        }
        let id = asked.place().or_else(|| asked.tag.id("id"));
        match id.and_then(|id| place.room(&id)).map(|room| room.id) {
            Some(conversation) => {
                self.simple(asked, true, Command::CloseConversation { conversation }, shared);
            }
            None => self.refuse(&asked, Response::Extinct, shared),
        }
    }

    /// Members and admins: the members hear of it by the entry, "broadcast of the tag to the members".
    fn membership(&mut self, asked: Asked, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let Some(conversation) = asked.place().and_then(|id| place.room(&id).map(|room| room.id)) else {
            return self.refuse(&asked, Response::Extinct, shared);
        };
        let Some(id) = asked.user() else { return self.refuse(&asked, Response::Failed, shared) };
        let Some(user) = shared.people.by_handle(&id).map(|profile| profile.id) else {
            return self.find(asked, &id, shared);
        };
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
    fn only_admin(&mut self, asked: Asked, shared: &mut Shared) {
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
    fn change(&mut self, asked: Asked, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let data = asked.tag.inner("data");
        let within = |key: &str| data.as_ref().and_then(|data| data.text(key));
        let action = asked.document.clone().unwrap_or_default();
        let is_documents = asked.document.is_some();
        let new = |suffix: &str, keys: [&str; 3]| -> Option<String> {
            let key = keys.iter().find_map(|key| asked.tag.text(key));
            key.filter(|_| is_documents && action.ends_with(suffix))
        };
        let name = within("name").or_else(|| new("_name", ["name", "new_name", "value"]));
        let handle = new("_id", ["new_id", "id", "value"]);
        let about = within("bio");
        if asked.kind.unwrap_or(Kind::User) == Kind::User {
            if let Some(new) = within("key") {
                let old = asked.tag.text("key").unwrap_or_default();
                return self.simple(asked, true, Command::ChangePassword { old, new }, shared);
            }
            let hue = within("chat_color").and_then(|hue| hue.parse().ok());
            let change = ProfileChange { handle, name, about, hue };
            if change == ProfileChange::default() {
                return self.refuse(&asked, Response::Failed, shared);
            }
            return self.simple(asked, true, Command::ChangeProfile(change), shared);
        }
        let Some(conversation) = asked.place().and_then(|id| place.room(&id).map(|room| room.id)) else {
            return self.refuse(&asked, Response::Extinct, shared);
        };
        let change = ConversationChange { handle, name, topic: about, ..ConversationChange::default() };
        if change == ConversationChange::default() {
            return self.refuse(&asked, Response::Failed, shared);
        }
        self.simple(asked, true, Command::ChangeConversation { conversation, change }, shared);
    }

    /// Where a message or call goes. `None`: it was refused, or something is looked up first.
    fn recipient(&mut self, asked: Asked, shared: &mut Shared) -> Option<(Asked, ConversationId)> {
        let Some(id) = asked.tag.id("recipient") else {
            self.refuse(&asked, Response::Failed, shared);
            return None;
        };
        let place = self.place.as_ref()?;
        // "TYPE guessed from the id's namespace": users and conversations share one.
        let room = place.room(&id).filter(|_| asked.kind != Some(Kind::User)).map(|room| room.id);
        if let Some(conversation) = room {
            return Some((asked, conversation));
        }
        if matches!(asked.kind, Some(Kind::Group | Kind::Channel)) {
            self.refuse(&asked, Response::Extinct, shared);
            return None;
        }
        let Some(user) = shared.people.by_handle(&id).map(|profile| profile.id) else {
            self.find(asked, &id, shared);
            return None;
        };
        if let Some(conversation) = place.direct(user) {
            return Some((asked, conversation));
        }
        let open = Question::Command(Command::OpenDirect { user });
        self.ask(Doing::Open(asked, user), open, shared);
        None
    }

    fn chat(&mut self, asked: Asked, now: Moment, shared: &mut Shared) {
        let Some((asked, conversation)) = self.recipient(asked, shared) else { return };
        let word = asked.tag.word("chat").unwrap_or_default();
        let is_file = asked.document.is_none() && word == "FILE";
        let Some(place) = &mut self.place else { return };
        if is_file || asked.document.is_some() && word == "FILE" {
            let recipient = asked.tag.id("recipient").unwrap_or_default();
            return match place.files.put(&asked.tag, &recipient, now) {
                Put::Waiting => shared.timers.set((self.link, Alarm::Files), now + COMPLETE_WITHIN),
                Put::Wrong => self.refuse(&asked, Response::Failed, shared),
                Put::Whole(bytes) => self.upload(asked, conversation, bytes, shared),
            };
        }
        let media = asked.tag.bytes("data").filter(|bytes| !bytes.is_empty());
        match media {
            Some(bytes) if word != "TEXT" => self.upload(asked, conversation, bytes, shared),
            _ => self.post(asked, conversation, Vec::new(), shared),
        }
    }

    fn upload(&mut self, asked: Asked, conversation: ConversationId, bytes: Vec<u8>, shared: &mut Shared) {
        let word = asked.tag.word("chat").unwrap_or_default().to_lowercase();
        let name = asked.tag.text("name").filter(|name| !name.trim().is_empty()).unwrap_or(word);
        self.ask(Doing::Upload { asked, conversation }, Question::Upload { name, bytes }, shared);
    }

    fn post(
        &mut self,
        asked: Asked,
        conversation: ConversationId,
        attachments: Vec<Attach>,
        shared: &mut Shared,
    ) {
        let Some(place) = &mut self.place else { return };
        place.posts += 1;
        let text = asked.tag.text("text").filter(|text| !text.is_empty());
        // The document has the text in `chat` itself.
        let chat = asked.tag.text("chat").filter(|_| asked.document.is_some() && attachments.is_empty());
        let reply_to = asked.tag.text("response_to").and_then(|id| place.chat(&id, conversation));
        let client_id = match asked.tag.text("id").filter(|id| !id.is_empty()) {
            Some(id) => client_id(&id),
            None => format!("tag_json-{}-{}", place.seat.session, place.posts),
        };
        let text = text.or(chat).unwrap_or_default();
        let command = Command::Post { conversation, client_id, text, attachments, reply_to, thread: None };
        self.aside(Aside::Post(asked), Question::Command(command), shared);
    }

    fn call(&mut self, asked: Asked, shared: &mut Shared) {
        let Some((asked, conversation)) = self.recipient(asked, shared) else { return };
        let Some(place) = &mut self.place else { return };
        place.posts += 1;
        let client_id = format!("tag_json-{}-{}", place.seat.session, place.posts);
        let is_video = asked.tag.word("call").is_some_and(|call| call == "VIDEO")
            || asked.document.as_ref().is_some_and(|action| action.contains("video"));
        let media = if is_video { CallMedia::Video } else { CallMedia::Audio };
        let answers = asked.document.is_some();
        self.simple(asked, answers, Command::StartCall { conversation, client_id, media }, shared);
    }

    fn open_call(&self, asked: &Asked, shared: &Shared) -> Option<(ConversationId, Seq)> {
        let place = self.place.as_ref()?;
        let id = asked.tag.id("recipient")?;
        let direct = shared.people.by_handle(&id).and_then(|profile| place.direct(profile.id));
        let conversation = direct.or_else(|| place.room(&id).map(|room| room.id))?;
        Some((conversation, *place.calls.get(&conversation)?))
    }

    fn call_response(&mut self, asked: Asked, shared: &mut Shared) {
        let Some((conversation, call)) = self.open_call(&asked, shared) else {
            return self.refuse(&asked, Response::Extinct, shared);
        };
        let accept = asked.tag.word("response").is_some_and(|word| word == "ACCEPTED");
        self.simple(asked, false, Command::AnswerCall { conversation, call, accept }, shared);
    }

    fn end_call(&mut self, asked: Asked, shared: &mut Shared) {
        match self.open_call(&asked, shared) {
            Some((conversation, call)) => {
                self.simple(asked, true, Command::EndCall { conversation, call }, shared);
            }
            None => self.refuse(&asked, Response::Extinct, shared),
        }
    }

    /// "Between two clients of this door the media frames in DATA are relayed", while a call is open.
    fn call_frame(&self, asked: &Asked, shared: &mut Shared) {
        if self.open_call(asked, shared).is_none() {
            return;
        }
        let Some(place) = &self.place else { return };
        let recipient = asked.tag.id("recipient").and_then(|id| shared.people.by_handle(&id));
        let Some(link) = recipient.and_then(|profile| shared.here.get(&profile.id)).copied() else { return };
        let mut fields = vec![
            ("action".to_owned(), Value::from("CALL")),
            ("sender".to_owned(), shared.id(place.seat.me).into()),
        ];
        for key in ["recipient", "call", "response", "data", "id", "date_time"] {
            fields.extend(asked.tag.echo(key).map(|value| (key.to_owned(), value)));
        }
        shared.relays.push_back((link, fields));
    }

    /// A media frame of somebody else's call with this client.
    pub(super) fn relayed(&mut self, fields: &[(String, Value)], shared: &mut Shared) {
        let sender = fields.iter().find(|(key, _)| key == "sender").and_then(|(_, id)| id.as_str());
        let Some(place) = &mut self.place else { return };
        let user = sender.and_then(|id| shared.people.by_handle(id)).map(|profile| profile.id);
        let in_call =
            user.and_then(|user| place.direct(user)).is_some_and(|id| place.calls.contains_key(&id));
        if in_call && place.frames < FRAMES_MAX {
            place.frames += 1;
            self.send_owned(fields, shared);
        }
    }

    pub(super) fn done(
        &mut self,
        doing: Doing,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        match (doing, result) {
            (Doing::LogIn(asked), result) => self.logged_in(&asked, result, now, shared),
            (Doing::SignUp(asked), Ok(_)) => self.answer(&asked, Vec::new(), shared),
            (Doing::SignUp(asked), Err(refused)) => self.refuse_login(&asked, response_to(&refused), shared),
            (Doing::LogOut, _) => {
                if let Some(place) = self.place.take() {
                    shared.here.remove(&place.seat.me);
                }
                self.close(shared);
            }
            (Doing::Find(asked), Ok(Given::Answer(Answer::User(_)))) => self.request(asked, now, shared),
            (Doing::Find(asked), Ok(Given::Answer(Answer::Conversation(view))))
                if asked.verb == Verb::Add =>
            {
                if let Some(place) = &mut self.place {
                    place.entering = Some(view.id);
                }
                let join = Question::Command(Command::Join { conversation: view.id });
                self.ask(Doing::Join(asked, view.id), join, shared);
            }
            (Doing::Find(asked), _) => self.refuse(&asked, Response::Extinct, shared),
            (Doing::Open(asked, user), Ok(Given::Reply(Reply::Conversation { conversation }))) => {
                if let Some(place) = &mut self.place {
                    place.directs.insert(user, conversation);
                }
                if asked.verb == Verb::Add {
                    self.contact_added(&asked, user, shared);
                } else {
                    self.request(asked, now, shared);
                }
            }
            (Doing::Open(asked, _), result) => self.refused(&asked, result, shared),
            (Doing::Data { asked, mut left, mut records }, Ok(Given::Answer(Answer::Members(members)))) => {
                let room = left.pop().and_then(|id| self.place.as_ref()?.seat.room(id));
                records.extend(room.map(|room| (kind_of(room), multi(room, &members, shared))));
                self.gather(asked, left, records, now, shared);
            }
            (Doing::Data { asked, mut left, records }, _) => {
                left.pop();
                self.gather(asked, left, records, now, shared);
            }
            (Doing::Contact(asked, user), Ok(_)) => {
                if let Some(place) = &mut self.place {
                    place.contacts.insert(user);
                    place.known.insert(user);
                }
                // "The other side gets ACTION ADD": it learns by the conversation that this opens.
                let open = Question::Command(Command::OpenDirect { user });
                self.ask(Doing::Open(asked, user), open, shared);
            }
            (Doing::Contact(asked, _), result) => self.refused(&asked, result, shared),
            (Doing::Join(asked, conversation), Ok(_)) => {
                self.ask(Doing::Joined(asked, conversation), members_of(conversation), shared);
            }
            (Doing::Join(asked, _), Err(refused)) => {
                // "ADMIN_ONLY (group limited to admins)": one that is known and may not be joined.
                let is_closed = refused.kind == chinwag_protocol::Kind::Forbidden;
                let response = if is_closed { Response::AdminOnly } else { response_to(&refused) };
                self.refuse(&asked, response, shared);
            }
            (Doing::Joined(asked, id), Ok(Given::Answer(Answer::Members(members)))) => {
                let room = self.place.as_ref().and_then(|place| place.seat.room(id));
                let record = room.map_or(Value::Null, |room| multi(room, &members, shared));
                self.answer(&asked, vec![("data", record)], shared);
            }
            (Doing::Joined(asked, _), result) => self.refused(&asked, result, shared),
            (Doing::Create(asked), Ok(Given::Reply(Reply::Conversation { conversation }))) => {
                if let Some(place) = &mut self.place {
                    place.entering = Some(conversation);
                }
                self.created(&asked, shared);
            }
            (Doing::Create(asked), result) => self.refused(&asked, result, shared),
            (Doing::Simple { asked, answers }, Ok(_)) => {
                if answers {
                    self.answer(&asked, Vec::new(), shared);
                }
            }
            (Doing::Simple { asked, .. }, result) => self.refused(&asked, result, shared),
            (Doing::Upload { asked, conversation }, Ok(Given::Uploaded(file))) => {
                self.post(asked, conversation, vec![Attach::from(&file)], shared);
            }
            (Doing::Upload { asked, .. }, result) => self.refused(&asked, result, shared),
        }
    }

    fn refused(&self, asked: &Asked, result: Result<Given, Refused>, shared: &mut Shared) {
        let response = result.err().map_or(Response::Failed, |refused| response_to(&refused));
        self.refuse(asked, response, shared);
    }

    fn contact_added(&self, asked: &Asked, user: UserId, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let users = place.contacts.iter().copied().take(500).collect();
        let record = place.contact(user, shared);
        self.answer(asked, vec![("data", record)], shared);
        self.signal_to(chinwag_protocol::ClientSignal::Watch { users }, shared);
    }

    /// "CREATE: ID (echo), RESPONSE SUCCESSFUL or EXIST, ACTION, TYPE, the id key."
    fn created(&self, asked: &Asked, shared: &mut Shared) {
        if asked.document.is_some() {
            return self.answer(asked, Vec::new(), shared);
        }
        let kind = asked.kind.unwrap_or(Kind::Group);
        let fields = [
            ("id", asked.tag.echo("id").unwrap_or(Value::Null)),
            ("response", json!(Response::Successful.word(false))),
            ("action", "CREATE".into()),
            ("type", kind.word().into()),
            (kind.key(), asked.place().into()),
        ];
        self.send(&fields, shared);
    }
}

fn members_of(conversation: ConversationId) -> Question {
    Question::Query(Query::Members { conversation, after: UserId(0), limit: MEMBERS_MAX })
}

fn device(handle: String, password: String) -> Device {
    Device { handle, password, device: "tag_json".to_owned(), invite: None, cookie: false }
}

/// "A CHAT's ID is the client's chat id": sent again it is the same message.
fn client_id(id: &str) -> String {
    if id.chars().count() <= 55 && !id.contains(char::is_control) {
        return format!("tag_json:{id}");
    }
    // Too long to be kept; FNV-1a keeps two of the same client apart well enough.
    let hash = id.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!("tag_json#{hash:032x}")
}
