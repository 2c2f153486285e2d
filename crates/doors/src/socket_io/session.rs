//! One Socket.IO connection: who joined on it, what he says, and what he is told.

use std::collections::VecDeque;

use chinwag_protocol::{
    Answer, Command, Entry, Event as Recorded, Kind, LogId, Presence, Query, Refused, Reply, ServerSignal,
    UserId, UserKind,
};

use super::{
    ADMIN, APPEARS_AFTER, Alarm, BETWEEN_WAITING, CHECK_EVERY, MOMENT, Purpose, SILENT_FOR, Shared, notices,
    place::{Place, Target},
    wire::{self, Event, Fields, Message, Outcome, Said, Whom, Wrong},
};
use crate::{Given, LinkId, Moment, Question, Seat, desk::post, words};

/// Joins that wait while it is found out who asks; beyond, nothing more is read. A client joins one room for each
/// contact, at once.
const WAITING_MAX: usize = 4_096;

/// Messages that wait while a conversation is opened for the first of them; beyond, nothing more is read.
const SAYING_MAX: usize = 16;

/// Whose presence a connection can watch.
const WATCHED_MAX: usize = 500;

/// One connection.
pub(super) struct Session {
    link: LinkId,
    /// Joins that wait, each with the number of its answer.
    waiting: VecDeque<(Option<u64>, Fields)>,
    /// A token with which somebody is being let in; nothing in it for one who comes by his name.
    entering: Option<Option<String>>,
    saying: VecDeque<Saying>,
    opening: bool,
    place: Option<Place>,
    /// Who was signed in last.
    was: Option<String>,
}

/// For what something was asked.
pub(super) enum Doing {
    Enter,
    Directory,
    Online,
    Open(UserId),
    /// With the number under which its answer is wanted.
    Post(Option<u64>),
    Leave,
}

/// A message that waits.
struct Saying {
    target: Target,
    text: String,
    ack: Option<u64>,
}

impl Session {
    pub(super) fn new(link: LinkId) -> Self {
        Self {
            link,
            waiting: VecDeque::new(),
            entering: None,
            saying: VecDeque::new(),
            opening: false,
            place: None,
            was: None,
        }
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.place.as_ref()?.token.as_deref()
    }

    fn ask(&self, doing: Doing, question: Question, shared: &mut Shared) {
        shared.desk.ask(self.link, Purpose::Socket(doing), question);
    }

    /// Reads no more than can wait.
    fn pause(&self, shared: &mut Shared) {
        let is_full = self.waiting.len() >= WAITING_MAX || self.saying.len() >= SAYING_MAX;
        shared.desk.pause(self.link, is_full);
    }

    fn answer(&self, ack: Option<u64>, outcome: &Outcome, shared: &mut Shared) {
        if let Some(ack) = ack {
            shared.desk.send(self.link, wire::answer(ack, outcome));
        }
    }

    /// The client said something.
    pub(super) fn said(&mut self, said: Result<Said, Wrong>, now: Moment, shared: &mut Shared) {
        match said {
            Ok(Said::Event { ack, event: Event::Join(fields) }) => self.join(ack, fields, now, shared),
            Ok(Said::Event { ack, event: Event::Say(fields) }) => {
                if let Err(outcome) = self.say(ack, fields, now, shared) {
                    self.answer(ack, &outcome, shared);
                }
            }
            Ok(Said::Event { ack, event: Event::Alive(fields) }) => {
                let outcome = self.alive(&fields, now);
                self.answer(ack, &outcome, shared);
            }
            Ok(Said::Event { ack, event: Event::Leave(fields) }) => {
                let outcome = self.leave(&fields, now, shared);
                self.answer(ack, &outcome, shared);
            }
            Ok(Said::Acknowledged(number)) => {
                if let Some(place) = &mut self.place {
                    place.acknowledged(number, shared);
                }
            }
            Err(Wrong::Unfit { ack }) => {
                self.answer(ack, &Outcome::error("Invalid request, a field is not a text"), shared);
            }
            Ok(Said::Request(_)) | Err(Wrong::Broken) => shared.desk.close(self.link),
        }
        self.pause(shared);
    }

    fn join(&mut self, ack: Option<u64>, fields: Fields, now: Moment, shared: &mut Shared) {
        if fields.client.is_none() {
            return self.answer(ack, &Outcome::missing("client"), shared);
        }
        if fields.room.is_none() {
            return self.answer(ack, &Outcome::missing("room"), shared);
        }
        // "`jwt` present -> verify; absent -> only if the server is configured open."
        if fields.jwt.is_none() && !shared.desk.settings.open {
            return self.answer(ack, &Outcome::missing("jwt"), shared);
        }
        if self.waiting.len() >= WAITING_MAX {
            return shared.desk.close(self.link);
        }
        match &self.place {
            Some(place) if place.ready => {
                let outcome = self.enter_room(&fields, now, shared);
                self.answer(ack, &outcome, shared);
            }
            None if self.entering.is_none() => {
                self.entering = Some(fields.jwt.clone());
                let question = match (&fields.jwt, &fields.client) {
                    (Some(jwt), _) => Question::Enter { token: jwt.clone() },
                    (None, name) => Question::Guest { handle: name.clone().unwrap_or_default() },
                };
                self.waiting.push_back((ack, fields));
                self.ask(Doing::Enter, question, shared);
            }
            _ => self.waiting.push_back((ack, fields)),
        }
    }

    /// "A user may join only rooms that he is a member of; a foreign room gets an error and nothing more."
    fn enter_room(&mut self, fields: &Fields, now: Moment, shared: &mut Shared) -> Outcome {
        let Some(place) = &mut self.place else { return Outcome::invalid_jwt() };
        if fields.jwt != place.token || fields.client.as_deref() != Some(&place.name) {
            return Outcome::invalid_jwt();
        }
        let Some(target) = fields.room.as_deref().and_then(|room| place.room(room, shared)) else {
            return Outcome::no_such_room();
        };
        place.heard_at = now;
        let is_first = place.joined.is_empty();
        place.joined.insert(target);
        if is_first && !place.appeared {
            // "Must fire once, although six joins race for it."
            shared.comes(place.seat.me);
            shared.desk.timers.set(self.link, Alarm::Appear, now + APPEARS_AFTER);
        }
        Outcome::SUCCESS
    }

    /// "Heartbeat without token: anybody can keep anybody alive." Here a connection keeps itself alive only.
    fn alive(&mut self, fields: &Fields, now: Moment) -> Outcome {
        match &mut self.place {
            Some(place) if fields.client.as_deref() == Some(&place.name) => {
                place.heard_at = now;
                Outcome::SUCCESS
            }
            _ => Outcome::not_yours(),
        }
    }

    /// "`client_disconnection` {client, jwt}: offline event to all, token deleted."
    fn leave(&mut self, fields: &Fields, now: Moment, shared: &mut Shared) -> Outcome {
        let Some(place) = &mut self.place else { return Outcome::invalid_jwt() };
        if fields.jwt != place.token || fields.client.as_deref() != Some(&place.name) {
            return Outcome::invalid_jwt();
        }
        place.pinged(now, shared);
        if let Some(token) = &place.token
            && shared.tokens.get(&place.seat.me) == Some(token)
        {
            shared.tokens.remove(&place.seat.me);
        }
        self.sign_out(shared);
        Outcome::SUCCESS
    }

    /// Signs out, and tells the client itself what the others are told by the server.
    fn sign_out(&mut self, shared: &mut Shared) {
        if let Some(place) = &self.place
            && place.appeared
        {
            let whom = Whom { username: &place.name };
            shared.desk.send(self.link, wire::say("user_has_gone_offline", None, &whom));
        }
        self.ask(Doing::Leave, Question::SignOut {}, shared);
        self.forget_place(shared);
    }

    /// Nobody is signed in any more.
    pub(super) fn forget_place(&mut self, shared: &mut Shared) {
        let Some(place) = self.place.take() else { return };
        if place.appeared || !place.joined.is_empty() {
            shared.goes(place.seat.me, place.appeared);
        }
        shared.desk.timers.forget(self.link);
        self.was = Some(place.name);
        self.saying.clear();
        self.pause(shared);
    }

    /// A token was replaced, or an administrator ended it.
    pub(super) fn token_ended(&mut self, token: &str, shared: &mut Shared) {
        if self.token() == Some(token) {
            self.sign_out(shared);
        }
    }

    /// The listener is about to close this connection.
    pub(super) fn ended(&mut self, reason: &Refused, shared: &mut Shared) {
        if reason.kind == Kind::NotSignedIn
            && let Some(place) = &self.place
        {
            self.must_log_in_again(&place.name, shared);
        }
        self.forget_place(shared);
    }

    /// "Error! User 'X' must disconnect, re login and reconnect so the conversation can be resumed."
    fn must_log_in_again(&self, name: &str, shared: &mut Shared) {
        let content = format!(
            "Error! User '{name}' must disconnect, re login and reconnect so the conversation can be resumed."
        );
        self.notice(name, &content, shared);
    }

    fn notice(&self, name: &str, content: &str, shared: &mut Shared) {
        let room = notices(name);
        let message = Message { sender: ADMIN, content, conversation_room: &room };
        shared.desk.send(self.link, wire::say("received_message", None, &message));
    }

    /// Takes a message, which is answered when it is stored; or says what is wrong with it.
    fn say(
        &mut self,
        ack: Option<u64>,
        fields: Fields,
        now: Moment,
        shared: &mut Shared,
    ) -> Result<(), Outcome> {
        let Some(place) = self.place.as_mut().filter(|place| place.token == fields.jwt) else {
            let name =
                self.place.as_ref().map(|place| &place.name).or(self.was.as_ref()).or(fields.sender.as_ref());
            let name = name.cloned().unwrap_or_default();
            self.must_log_in_again(&name, shared);
            return Err(Outcome::invalid_jwt());
        };
        place.heard_at = now;
        let text = fields.content.ok_or_else(|| Outcome::missing("content"))?;
        let room = fields.conversation_room.ok_or_else(|| Outcome::missing("conversation_room"))?;
        // "A name in a message body is compared and refused if it differs."
        if fields.sender.as_deref() != Some(&place.name) {
            if fields.sender.is_some() {
                shared.desk.foreign_name(self.link);
            }
            return Err(Outcome::not_yours());
        }
        // "Unknown target or malformed room: dropped."
        let target = place.room(&room, shared).filter(|target| place.joined.contains(target));
        let target = target.filter(|target| *target != Target::Notices).ok_or_else(Outcome::no_such_room)?;
        if self.saying.len() >= SAYING_MAX {
            let name = place.name.clone();
            self.notice(&name, "Error! Too many messages at once; one was not sent.", shared);
            return Err(Outcome::error("Too many messages at once"));
        }
        self.saying.push_back(Saying { target, text, ack });
        self.say_on(shared);
        Ok(())
    }

    /// Posts what waits, in its order; the first message to somebody opens the conversation.
    fn say_on(&mut self, shared: &mut Shared) {
        while !self.opening
            && let Some(place) = &mut self.place
            && let Some(target) = self.saying.front().map(|saying| saying.target)
        {
            let (doing, question) = match (place.conversation(target), target) {
                (Some(conversation), _) => {
                    let Some(Saying { text, ack, .. }) = self.saying.pop_front() else { return };
                    let client_id = place.client_id(shared);
                    (Doing::Post(ack), post(conversation, client_id, text))
                }
                (None, Target::Direct(user)) => {
                    self.opening = true;
                    (Doing::Open(user), Question::Command(Command::OpenDirect { user }))
                }
                (None, _) => {
                    self.saying.pop_front();
                    continue;
                }
            };
            self.ask(doing, question, shared);
        }
    }

    /// An answer to what was asked.
    pub(super) fn answered(
        &mut self,
        doing: Doing,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        match (doing, result) {
            (Doing::Enter, result) => self.entered(result, now, shared),
            (Doing::Directory, result) => {
                let Some(place) = &mut self.place else { return };
                let (doing, query) = if place.directory.take(result.as_ref().ok()) {
                    (Doing::Directory, place.directory.query())
                } else {
                    (Doing::Online, Query::Online { conversation: None })
                };
                self.ask(doing, Question::Query(query), shared);
            }
            (Doing::Online, result) => self.ready(result.ok(), now, shared),
            (Doing::Open(user), result) => {
                self.opening = false;
                match (result, &mut self.place) {
                    (Ok(Given::Reply(Reply::Conversation { conversation })), Some(place)) => {
                        place.opened.insert(user, conversation);
                    }
                    (Err(refused), Some(_)) => {
                        let all = std::mem::take(&mut self.saying);
                        let (lost, kept) =
                            all.into_iter().partition(|one| one.target == Target::Direct(user));
                        self.saying = kept;
                        let lost: VecDeque<Saying> = lost;
                        for one in lost {
                            self.answer(one.ack, &Outcome::error(&refused.message), shared);
                        }
                        self.not_stored(&refused, shared);
                    }
                    _ => {}
                }
                self.say_on(shared);
            }
            (Doing::Post(ack), Ok(_)) => self.answer(ack, &Outcome::SUCCESS, shared),
            (Doing::Post(ack), Err(refused)) => {
                self.answer(ack, &Outcome::error(&refused.message), shared);
                self.not_stored(&refused, shared);
            }
            (Doing::Leave, _) => {}
        }
        self.pause(shared);
    }

    fn not_stored(&self, refused: &Refused, shared: &mut Shared) {
        if let Some(place) = &self.place {
            let content = format!("Error! A message was not sent: {}.", refused.message);
            self.notice(&place.name, &content, shared);
        }
    }

    fn entered(&mut self, result: Result<Given, Refused>, now: Moment, shared: &mut Shared) {
        let token = self.entering.take().flatten();
        match result {
            Ok(Given::SignedIn(snapshot)) => {
                // "Anything pushed earlier is lost."
                shared.desk.hold(self.link, true);
                if let Some(token) = &token {
                    shared.tokens.entry(snapshot.me.id).or_insert_with(|| token.clone());
                }
                let (seat, name) = (Seat::new(&snapshot), snapshot.me.handle.clone());
                let place = Place::new(self.link, seat, name, token, now);
                let query = place.directory.query();
                self.place = Some(place);
                self.ask(Doing::Directory, Question::Query(query), shared);
            }
            result => {
                let outcome = match (token, result) {
                    (None, Err(refused)) => Outcome::error(format!("Invalid request, {}", refused.message)),
                    _ => Outcome::invalid_jwt(),
                };
                for (ack, _) in std::mem::take(&mut self.waiting) {
                    self.answer(ack, &outcome, shared);
                }
            }
        }
    }

    /// Whom this user may see, and who of them is there, is known.
    fn ready(&mut self, given: Option<Given>, now: Moment, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.ready = true;
        if let Some(Given::Answer(Answer::Online(online))) = given {
            let seen = online.iter().map(|one| one.user);
            place.online =
                seen.filter(|user| place.directory.contains(*user) && !shared.is_coming(*user)).collect();
        }
        self.watch(shared);
        for (ack, fields) in std::mem::take(&mut self.waiting) {
            let outcome = self.enter_room(&fields, now, shared);
            self.answer(ack, &outcome, shared);
        }
    }

    fn watch(&self, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let others = place.directory.users().iter().filter(|user| **user != place.seat.me);
        let users = others.copied().take(WATCHED_MAX).collect();
        shared.desk.watch(self.link, users);
    }

    /// A time has come.
    pub(super) fn woken(&mut self, alarm: Alarm, now: Moment, shared: &mut Shared) {
        match alarm {
            Alarm::Appear => self.appear(now, shared),
            Alarm::NextWaiting => shared.desk.hold(self.link, false),
            Alarm::Check => self.check(now, shared),
            Alarm::Offline(user) => {
                if let Some(place) = &mut self.place
                    && place.online.remove(&user)
                {
                    self.tell("user_has_gone_offline", user, shared);
                }
            }
        }
    }

    /// "About 3 s later, once per connection: online, `new_user_online` to all, cached messages published 1 s apart,
    /// first heartbeat noted."
    fn appear(&mut self, now: Moment, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.appeared = true;
        place.heard_at = now;
        let me = place.seat.me;
        let missed = std::mem::take(&mut place.missed);
        shared.desk.timers.set(self.link, Alarm::Check, now + CHECK_EVERY);
        self.tell("new_user_online", me, shared);
        for user in missed {
            self.tell("new_user_online", user, shared);
        }
        shared.appears(me);
        shared.desk.hold(self.link, false);
    }

    fn check(&mut self, now: Moment, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.pinged(now, shared);
        if now >= place.heard_at + SILENT_FOR {
            // Closing, not signing out: whoever comes back comes back with the same token.
            let me = place.seat.me;
            self.tell("user_has_gone_offline", me, shared);
            self.forget_place(shared);
            return shared.desk.close(self.link);
        }
        shared.desk.timers.set(self.link, Alarm::Check, now + CHECK_EVERY);
    }

    fn tell(&self, event: &str, user: UserId, shared: &mut Shared) {
        let name = shared.desk.people.handle(user);
        shared.desk.send(self.link, wire::say(event, None, &Whom { username: &name }));
    }

    /// Somebody has appeared at this door.
    pub(super) fn appeared(&mut self, user: UserId, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        if user == place.seat.me || !place.directory.contains(user) {
            return;
        }
        shared.desk.timers.clear(self.link, Alarm::Offline(user));
        place.online.insert(user);
        if place.appeared {
            self.tell("new_user_online", user, shared);
        } else {
            place.missed.insert(user);
        }
    }

    /// Something passing: of it this wire has presence only.
    pub(super) fn signal(&mut self, signal: &ServerSignal, now: Moment, shared: &mut Shared) {
        let (ServerSignal::Presence(all), Some(place)) = (signal, &mut self.place) else { return };
        let mut new = Vec::new();
        for one in all.iter().filter(|one| one.user != place.seat.me) {
            let alarm = Alarm::Offline(one.user);
            match one.presence {
                Presence::Offline => {
                    if place.online.contains(&one.user) && !shared.desk.timers.is_set(self.link, alarm) {
                        shared.desk.timers.set(self.link, alarm, now + MOMENT);
                    }
                }
                Presence::Online | Presence::Away => {
                    shared.desk.timers.clear(self.link, alarm);
                    // Who comes through this door is announced when he appears.
                    if !shared.is_coming(one.user) && place.online.insert(one.user) {
                        new.push(one.user);
                    }
                }
            }
        }
        for user in new {
            self.tell("new_user_online", user, shared);
        }
    }

    pub(super) fn caught_up(&mut self) {
        if let Some(place) = &mut self.place {
            place.caught_up = true;
        }
    }

    /// Something happened.
    pub(super) fn entry(&mut self, entry: &Entry, now: Moment, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.seat.apply(entry);
        if let Recorded::UserChanged { profile } = &entry.event {
            if profile.id == place.seat.me {
                place.name = profile.handle.clone();
            }
            if place.directory.follow(profile) {
                self.watch(shared);
            }
            return;
        }
        let LogId::Conversation(conversation) = entry.log else { return };
        let lines = words::lines(entry, &shared.desk.settings.web, |user| shared.desk.people.handle(user));
        if lines.is_empty() {
            return place.passing(conversation, entry.seq, shared);
        }
        let number = place.sending(conversation, entry.seq, now);
        let author = shared.desk.people.get(entry.by);
        // "A message by a user that is marked as a bot."
        let is_bot = author.is_some_and(|profile| profile.kind == UserKind::Bot);
        let event = if is_bot { "ai_response_received" } else { "received_message" };
        let (sender, room) = (shared.desk.people.handle(entry.by), place.room_name(conversation, shared));
        let message = Message { sender: &sender, content: &lines.join("\n"), conversation_room: &room };
        shared.desk.send(self.link, wire::say(event, Some(number), &message));
        if !place.caught_up && entry.by != place.seat.me {
            shared.desk.hold(self.link, true);
            shared.desk.timers.set(self.link, Alarm::NextWaiting, now + BETWEEN_WAITING);
        }
    }
}
