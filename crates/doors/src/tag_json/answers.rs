//! What came of a request, and what follows from it.

use chinwag_protocol::{
    Answer, Attach, Command, ConversationChange, ConversationId, ConversationKind, Event, Kind as Why, LogId,
    NewAvatar, Posting, ProfileChange, Refused, Reply, Role, UserId,
};
use serde_json::{Value, json};

use super::{
    Shared,
    dialect::{Asked, Kind, Response, Verb},
    icons::Then,
    place::{Roll, kind_of},
    session::{Aside, Doing, Session, response_to},
    wire,
};
use crate::{Given, Moment, Question};

impl Session {
    pub(super) fn done(
        &mut self,
        doing: Doing,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        match (doing, result) {
            (Doing::LogIn(asked), result) => self.logged_in(&asked, result, now, shared),
            (Doing::SignUp(asked), result) => {
                let response = result.map_or_else(|refused| response_to(&refused), |_| Response::Successful);
                self.answer_alone(&asked, response, shared);
            }
            (Doing::LogOut, _) => {
                if let Some(place) = self.place.take() {
                    shared.here.remove(&place.seat.me);
                }
                self.close(shared);
            }
            (Doing::Find(asked, id), result) => self.found(asked, &id, result, now, shared),
            (Doing::Open(asked, user), Ok(Given::Reply(Reply::Conversation { conversation }))) => {
                if let Some(place) = &mut self.place {
                    place.directs.insert(user, conversation);
                }
                match asked.verb {
                    Verb::Add => self.contact_added(asked, user, now, shared),
                    _ => self.request(asked, now, shared),
                }
            }
            // The contact stands, whether or not there can be talk.
            (Doing::Open(asked, user), _) if asked.verb == Verb::Add => {
                self.contact_added(asked, user, now, shared);
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
            (Doing::Data(mut gathering), Ok(Given::Answer(Answer::Members(page)))) => {
                let Some(mut roll) = gathering.roll.take() else { return };
                if let Some(more) = roll.take(page) {
                    gathering.roll = Some(roll);
                    return self.ask(Doing::Data(gathering), more, shared);
                }
                gathering.names = gathering.names.saturating_sub(roll.members.len());
                let record = self.record(&roll, shared);
                gathering.records.extend(record.map(|(kind, record)| (kind, roll.conversation, record)));
                self.gather(gathering, now, shared);
            }
            // A group that he was put out of meanwhile.
            (Doing::Data(gathering), _) => self.gather(gathering, now, shared),
            (doing @ (Doing::Join(..) | Doing::Joined(..) | Doing::Create(_)), result) => {
                self.entering(doing, result, now, shared);
            }
            (Doing::Key(asked, change), Ok(_)) if change == ProfileChange::default() => {
                self.answer(&asked, Vec::new(), shared);
            }
            (Doing::Key(asked, change), Ok(_)) => {
                self.simple(asked, true, Command::ChangeProfile(change), shared);
            }
            (Doing::Call(asked), Ok(Given::Reply(Reply::Call { conversation, call }))) => {
                self.called(&asked, conversation, call, shared);
            }
            (Doing::Simple { asked, answers }, Ok(_)) => {
                if answers {
                    self.answer(&asked, Vec::new(), shared);
                }
            }
            (Doing::Icon(on_the_way), result) => self.icon_done(on_the_way, result, now, shared),
            (Doing::Picture(asked), Ok(Given::Uploaded(picture))) => {
                self.picture = Some(picture.file);
                self.request(asked, now, shared);
            }
            // It is there, with its picture or without.
            (Doing::Created(asked), _) => self.created(&asked, shared),
            (Doing::Upload { asked, conversation }, Ok(Given::Uploaded(file))) => {
                self.post(asked, conversation, vec![Attach::from(&file)], shared);
            }
            (
                Doing::Open(asked, _)
                | Doing::Contact(asked, _)
                | Doing::Key(asked, _)
                | Doing::Call(asked)
                | Doing::Simple { asked, .. }
                | Doing::Picture(asked)
                | Doing::Upload { asked, .. },
                result,
            ) => {
                self.ending(None);
                self.refused(&asked, result, shared);
            }
        }
    }

    /// Somebody or something was looked for.
    fn found(
        &mut self,
        asked: Asked,
        id: &str,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        let wants_user = asked.verb != Verb::Add || asked.kind.unwrap_or(Kind::User) == Kind::User;
        let user = self.place.as_ref().and_then(|place| place.user(id, shared));
        match result {
            // He is known by this id now, so it is not asked for twice.
            Ok(Given::Answer(Answer::User(profile))) if wants_user && user == Some(profile.id) => {
                self.request(asked, now, shared);
            }
            // "Ids share one namespace": what is no user is not added as one.
            Ok(Given::Answer(Answer::Conversation(view)))
                if !wants_user
                    && (view.kind == ConversationKind::Channel) == (asked.kind == Some(Kind::Channel)) =>
            {
                let join = Question::Command(Command::Join { conversation: view.id });
                self.ask(Doing::Join(asked, view.id), join, shared);
            }
            // "Chats to unknown recipients vanish without answer": not here.
            _ => self.refuse(&asked, Response::Extinct, shared),
        }
    }

    /// On the way into a conversation: asked, in, and with all its members.
    fn entering(&mut self, doing: Doing, result: Result<Given, Refused>, now: Moment, shared: &mut Shared) {
        match (doing, result) {
            (Doing::Create(asked), Ok(Given::Reply(Reply::Conversation { conversation }))) => {
                self.await_entry(asked, conversation, shared);
            }
            (Doing::Join(asked, conversation), Ok(_)) => self.await_entry(asked, conversation, shared),
            (Doing::Join(asked, _), Err(refused)) => {
                // "ADMIN_ONLY (group limited to admins)": one that is known and may not be joined.
                let is_closed = refused.kind == Why::Forbidden;
                let response = if is_closed { Response::AdminOnly } else { response_to(&refused) };
                self.refuse(&asked, response, shared);
            }
            (Doing::Joined(asked, mut roll), Ok(Given::Answer(Answer::Members(page)))) => {
                if let Some(more) = roll.take(page) {
                    return self.ask(Doing::Joined(asked, roll), more, shared);
                }
                self.illustrate(Then::Joined(asked, roll), now, shared);
            }
            (Doing::Create(asked) | Doing::Joined(asked, _), result) => self.refused(&asked, result, shared),
            // Nothing else comes here.
            _ => {}
        }
    }

    /// "A creator's own lists contain his new group at once": not before its entry has come is it answered.
    fn await_entry(&mut self, asked: Asked, conversation: ConversationId, shared: &mut Shared) {
        if self.place.as_ref().is_some_and(|place| place.seat.room(conversation).is_some()) {
            return self.entered(asked, conversation, shared);
        }
        self.busy = true;
        self.awaited = Some((asked, conversation));
    }

    /// A conversation that was made or joined here is there.
    pub(super) fn entered(&mut self, asked: Asked, conversation: ConversationId, shared: &mut Shared) {
        if asked.verb == Verb::Create {
            let Some(file) = self.picture.take() else { return self.created(&asked, shared) };
            let avatar = Some(NewAvatar { file: Some(file) });
            let change = ConversationChange { avatar, ..ConversationChange::default() };
            let command = Command::ChangeConversation { conversation, change };
            return self.ask(Doing::Created(asked), Question::Command(command), shared);
        }
        let (roll, question) = Roll::new(conversation);
        self.ask(Doing::Joined(asked, roll), question, shared);
    }

    pub(super) fn joined(&mut self, asked: &Asked, roll: &Roll, shared: &mut Shared) {
        let record = self.record(roll, shared).map_or(Value::Null, |(_, record)| record);
        self.answer(asked, vec![("data", record)], shared);
    }

    /// The record of a conversation with these members.
    fn record(&self, roll: &Roll, shared: &Shared) -> Option<(Kind, Value)> {
        let place = self.place.as_ref()?;
        let room = place.seat.room(roll.conversation)?;
        Some((kind_of(room), place.multi(room, &roll.members, shared)))
    }

    fn refused(&self, asked: &Asked, result: Result<Given, Refused>, shared: &mut Shared) {
        let response = result.err().map_or(Response::Failed, |refused| response_to(&refused));
        self.refuse(asked, response, shared);
    }

    fn contact_added(&mut self, asked: Asked, user: UserId, now: Moment, shared: &mut Shared) {
        self.illustrate(Then::Contact(asked, user), now, shared);
    }

    pub(super) fn contact_told(&mut self, asked: &Asked, user: UserId, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        let record = place.contact(user, shared);
        self.answer(asked, vec![("data", record)], shared);
        self.watch(shared);
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

    pub(super) fn aside_done(
        &mut self,
        aside: Aside,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        match (aside, result) {
            (Aside::Post(asked), Ok(Given::Reply(Reply::Posted(posted)))) => {
                if let (Some(place), Some(id)) = (&mut self.place, asked.tag.text("id")) {
                    place.remember(id, posted.conversation, posted.seq);
                }
                if asked.document.is_some() {
                    self.answer(&asked, Vec::new(), shared);
                }
            }
            (Aside::Post(asked), Err(refused)) => {
                // "Silently dropped if the sender is no admin": an answer would make the client send it again.
                let is_silent = asked.document.is_none() && self.only_admins_post(&asked);
                if refused.kind != Why::Forbidden || !is_silent {
                    self.refuse(&asked, response_to(&refused), shared);
                }
            }
            (Aside::Entered(mut roll), Ok(Given::Answer(Answer::Members(page)))) => {
                if let Some(more) = roll.take(page) {
                    return self.aside(Aside::Entered(roll), more, shared);
                }
                self.illustrate(Then::Entered(roll), now, shared);
            }
            (Aside::Changed(mut roll, fields), Ok(Given::Answer(Answer::Members(page)))) => {
                if let Some(more) = roll.take(page) {
                    return self.aside(Aside::Changed(roll, fields), more, shared);
                }
                self.illustrate(Then::Changed(roll, fields), now, shared);
            }
            (Aside::Icon(on_the_way), result) => self.icon_done(on_the_way, result, now, shared),
            (Aside::File { fields, .. }, Ok(Given::File(bytes))) => {
                self.tell_file(&fields, &bytes, shared);
                self.fetched(shared);
            }
            (Aside::File { mut fields, line }, _) => {
                fields.truncate(super::told::CHAT_FIELDS);
                fields.extend(super::told::text_fields(line));
                self.send_owned(&fields, shared);
                self.fetched(shared);
            }
            (Aside::Entered(_) | Aside::Changed(..), _) => self.go(shared),
            (Aside::Post(_) | Aside::Nothing, _) => {}
        }
    }

    fn fetched(&mut self, shared: &mut Shared) {
        if let Some(place) = &mut self.place {
            place.fetched = true;
        }
        self.go(shared);
    }

    fn only_admins_post(&self, asked: &Asked) -> bool {
        let room = self.place.as_ref().zip(asked.tag.id("recipient"));
        room.and_then(|(place, id)| place.room(&id))
            .is_some_and(|room| room.posting == Posting::Admins && room.role == Role::Member)
    }

    /// Goes on with what waited for this entry.
    pub(super) fn was_awaited(&mut self, log: LogId, event: &Event, shared: &mut Shared) {
        let (LogId::User(_), Event::Entered { conversation: view }) = (log, event) else { return };
        if let Some((asked, id)) = self.awaited.take_if(|(_, id)| *id == view.id) {
            self.busy = false;
            self.entered(asked, id, shared);
        }
    }

    /// A file of a message, whole; a plain one in parts, as they are sent too.
    fn tell_file(&self, fields: &[(String, Value)], bytes: &[u8], shared: &mut Shared) {
        let is_plain = fields.iter().any(|(key, value)| key == "chat" && value == "FILE");
        let size = if is_plain { super::files::PART_MAX } else { bytes.len().max(1) };
        let parts: Vec<&[u8]> = if bytes.is_empty() { vec![bytes] } else { bytes.chunks(size).collect() };
        for (number, part) in (1..).zip(&parts) {
            let number: usize = number;
            let mut fields = fields.to_vec();
            fields.extend([
                ("part".to_owned(), number.into()),
                ("parts".to_owned(), parts.len().into()),
                ("text".to_owned(), "".into()),
                ("data".to_owned(), wire::base64(part).into()),
            ]);
            self.send_owned(&fields, shared);
        }
    }
}
