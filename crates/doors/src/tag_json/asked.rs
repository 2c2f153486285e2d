//! What a client asks: which request goes where, and who it is.

use std::time::Duration;

use chinwag_protocol::{ConversationId, ProfileChange, Query, Refused, UserId};
use serde_json::Value;

use super::{
    Alarm, Shared,
    dialect::{Asked, Kind, Response, Verb},
    icons::{self, Then},
    place::{Place, Roll},
    session::{Aside, Doing, Gathering, Session, response_to},
};
use crate::{Given, Moment, Question, desk::device};

/// "Send nothing more until its DATA request (or >= 300 ms)."
const READY_AFTER: Duration = Duration::from_millis(300);

/// How many members one answer to DATA names, in all groups together: it has to fit through the link.
const NAMES_MAX: usize = 40_000;

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
        let me = place.seat.me;
        if asked.sender().is_some_and(|sender| place.user(&sender, shared) != Some(me)) {
            shared.desk.foreign_name(self.link);
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
            Verb::SignUp | Verb::LogIn | Verb::Unknown => self.refuse(&asked, Response::Failed, shared),
        }
    }

    fn sign_up(&mut self, asked: Asked, shared: &mut Shared) {
        let (Some(id), Some(key)) = (own_id(&asked), asked.tag.text("key")) else {
            return self.refuse(&asked, Response::Failed, shared);
        };
        let profile = ProfileChange { name: asked.tag.filled("name"), ..ProfileChange::default() };
        let question = Question::Register { device: device("tag_json", id, key), profile };
        self.ask(Doing::SignUp(asked), question, shared);
    }

    fn log_in(&mut self, asked: Asked, shared: &mut Shared) {
        let (Some(id), Some(key)) = (own_id(&asked), asked.tag.text("key")) else {
            return self.refuse(&asked, Response::Failed, shared);
        };
        if self.place.is_some() {
            return self.refuse(&asked, Response::SimultaneousLogin, shared);
        }
        self.ask(Doing::LogIn(asked), Question::SignIn(device("tag_json", id, key)), shared);
    }

    pub(super) fn logged_in(
        &mut self,
        asked: &Asked,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        match result {
            Ok(Given::SignedIn(snapshot)) if shared.here.contains_key(&snapshot.me.id) => {
                self.aside(Aside::Nothing, Question::SignOut {}, shared);
                self.answer_alone(asked, Response::SimultaneousLogin, shared);
            }
            Ok(Given::SignedIn(snapshot)) => {
                shared.here.insert(snapshot.me.id, self.link);
                self.place = Some(Place::new(&snapshot));
                self.hold(shared);
                shared.desk.timers.set(self.link, Alarm::Ready, now + READY_AFTER);
                self.answer_alone(asked, Response::Successful, shared);
            }
            Ok(_) => self.answer_alone(asked, Response::Failed, shared),
            Err(refused) => self.answer_alone(asked, response_to(&refused), shared),
        }
    }

    /// "DATA = {NAME, ID, ICON, BIO, STATUS, users:[contact...], groups:[multi...], channels:[multi...]}."
    fn data(&mut self, asked: Asked, now: Moment, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        // "DATA: ID (own)": a record of somebody else is not given out.
        let named = asked.tag.id("id").and_then(|id| place.user(&id, shared));
        if named.is_some_and(|user| user != place.seat.me) {
            return self.refuse(&asked, Response::Failed, shared);
        }
        let rooms = place.seat.rooms().filter(|room| room.peer.is_none() && !room.closed);
        let mut left: Vec<ConversationId> = rooms.map(|room| room.id).collect();
        left.reverse();
        let gathering = Gathering { asked, left, records: Vec::new(), roll: None, names: NAMES_MAX };
        self.gather(gathering, now, shared);
    }

    /// Asks for the members of the next group or channel; answers when there is none left.
    pub(super) fn gather(&mut self, mut gathering: Gathering, now: Moment, shared: &mut Shared) {
        if let Some(conversation) = gathering.left.pop() {
            let (roll, question) = Roll::of(conversation, gathering.names);
            gathering.roll = Some(roll);
            return self.ask(Doing::Data(gathering), question, shared);
        }
        self.illustrate(Then::Data(gathering), now, shared);
    }

    /// All that the answer tells is at hand.
    pub(super) fn gathered(&mut self, gathering: Gathering, now: Moment, shared: &mut Shared) {
        let Gathering { asked, mut records, .. } = gathering;
        let Some(place) = &mut self.place else { return };
        let contacts: Vec<UserId> = place.contacts.iter().copied().collect();
        let mut own = place.contact(place.seat.me, shared);
        own["STATUS"] = "ONLINE".into();
        let mut users: Vec<Value> = contacts.iter().map(|user| place.contact(*user, shared)).collect();
        for (_, id, record) in &mut records {
            record["ICON"] = shared.icons.of(place.seat.room(*id).and_then(|room| room.avatar)).into();
        }
        let rooms = records.iter_mut().map(|(_, _, record)| record);
        icons::fit(std::iter::once(&mut own).chain(&mut users).chain(rooms));
        let of = |wanted: Kind| -> Value {
            let records = records.iter().filter(|(kind, ..)| *kind == wanted);
            records.map(|(_, _, record)| record.clone()).collect()
        };
        own["users"] = users.into();
        own["groups"] = of(Kind::Group);
        own["channels"] = of(Kind::Channel);
        self.answer(&asked, vec![("data", own)], shared);
        self.ready(now, shared);
    }

    /// Finds somebody or something by id, and takes the request again.
    pub(super) fn find(&mut self, asked: Asked, id: &str, shared: &mut Shared) {
        let question = Question::Query(Query::Handle { handle: id.to_owned() });
        self.ask(Doing::Find(asked, id.to_owned()), question, shared);
    }
}

/// The id of whoever signs up or logs in.
fn own_id(asked: &Asked) -> Option<String> {
    asked.user().filter(|_| asked.document.is_some()).or_else(|| asked.tag.id("id"))
}
