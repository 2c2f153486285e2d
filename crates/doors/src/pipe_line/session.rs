//! One client of the door: its requests, strictly one after the other, and what it is pushed.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use chinwag_protocol::{
    Answer, Command, ConversationId, Entry, Kind, LogId, ProfileChange, Query, Refused, Reply, Seq,
    ServerSignal, UserId,
};

use super::{
    Alarm, Shared,
    back::{self, Back, Push},
    wire::{self, MESSAGE_MAX, Messages, Piece, Request},
};
use crate::{
    Given, LinkId, Moment, Question, Seat,
    desk::{device, post},
    people::fold,
    words,
};

/// The name of the door.
const DOOR: &str = "pipe_line";

/// Silence after which what has come is a whole message.
const QUIET: Duration = Duration::from_millis(20);

/// The same of a client that ends its messages with line feeds: it is only slow, or slowed down.
const LINE_WITHIN: Duration = Duration::from_secs(10);

/// How long a client that quits may take to answer what was just pushed.
const QUIT_WITHIN: Duration = Duration::from_secs(2);

/// Messages of one's own that wait for their receipt.
const RECEIPTS_MAX: usize = 1_000;

/// Requests that came before the answer to the one under way; the old client sends none. While so many wait nothing
/// more is read.
const WAITING_MAX: usize = 8;

/// What may have been read before it was clear that nothing more is to be.
const BEHIND_MAX: usize = 2 * MESSAGE_MAX;

/// Messages that are no text before the connection ends.
const STRIKES_MAX: u32 = 3;

/// One client.
pub(super) struct Session {
    link: LinkId,
    messages: Messages,
    waiting: VecDeque<String>,
    /// A request waits for its answer.
    busy: bool,
    place: Option<Place>,
    back: Back,
    /// It has said that it goes, in the middle of a delivery.
    quitting: bool,
    strikes: u32,
    /// Nothing more is taken from it.
    closed: bool,
}

/// Where a signed-in client is.
struct Place {
    seat: Seat,
    posts: u64,
    /// Own messages that have not reached the other yet.
    sent: VecDeque<(ConversationId, Seq)>,
    /// How far the other one of a direct conversation is, as far as was heard.
    reached: BTreeMap<ConversationId, Seq>,
    held: bool,
}

/// For what something was asked: the request that waits for its answer.
pub(super) enum Doing {
    LogIn,
    Add {
        is_name: bool,
    },
    Find {
        text: String,
    },
    Open {
        text: String,
    },
    Post,
    Quit,
    /// No request waits for it.
    Nothing,
}

impl Session {
    pub(super) fn new(link: LinkId, peer: SocketAddr) -> Self {
        Self {
            link,
            messages: Messages::default(),
            waiting: VecDeque::new(),
            busy: false,
            place: None,
            back: Back::new(link, peer.ip()),
            quitting: false,
            strikes: 0,
            closed: false,
        }
    }

    pub(super) fn link(&self) -> LinkId {
        self.link
    }

    /// Bytes of the client on its own connection.
    pub(super) fn bytes(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) {
        if self.closed {
            return;
        }
        self.messages.feed(bytes);
        shared.desk.timers.clear(self.link, Alarm::Quiet);
        self.go_on(now, shared);
        let most = if self.is_full() { BEHIND_MAX } else { MESSAGE_MAX };
        if self.messages.len() > most {
            self.close(shared);
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    fn close(&mut self, shared: &mut Shared) {
        if !std::mem::replace(&mut self.closed, true) {
            shared.desk.close(self.link);
        }
    }

    fn take(&mut self, piece: Piece, shared: &mut Shared) {
        match piece {
            Piece::Message(message) => self.waiting.push_back(message),
            Piece::Garbage => {
                self.strikes += 1;
                self.say("ERR|Unknown Command.", shared);
                if self.strikes >= STRIKES_MAX {
                    self.close(shared);
                }
            }
        }
    }

    /// It is time for something.
    pub(super) fn woken(&mut self, alarm: Alarm, now: Moment, shared: &mut Shared) {
        match alarm {
            Alarm::Quiet => {
                if let Some(piece) = self.messages.rest() {
                    self.take(piece, shared);
                    self.go_on(now, shared);
                }
            }
            Alarm::Dial => self.back.dial(now, shared),
            Alarm::Push => self.back.send(self.messages.letters, now, shared),
            Alarm::Quit => self.quit(shared),
        }
    }

    /// "Strict request/answer": the next request when the one before is answered.
    fn go_on(&mut self, now: Moment, shared: &mut Shared) {
        while !self.closed {
            let is_free = !self.busy && !self.quitting;
            if let Some(message) = self.waiting.pop_front_if(|_| is_free) {
                self.request(&message, now, shared);
            } else if let Some(piece) = if self.is_full() { None } else { self.messages.next() } {
                self.take(piece, shared);
            } else {
                break;
            }
        }
        shared.desk.pause(self.link, self.is_full());
        // Of what is not read nobody knows whether it has come.
        if self.messages.len() == 0 || self.is_full() || self.closed {
            shared.desk.timers.clear(self.link, Alarm::Quiet);
        } else if !shared.desk.timers.is_set(self.link, Alarm::Quiet) {
            let quiet = if self.messages.ends_lines { LINE_WITHIN } else { QUIET };
            shared.desk.timers.set(self.link, Alarm::Quiet, now + quiet);
        }
    }

    fn say(&self, text: &str, shared: &mut Shared) {
        shared.desk.send(self.link, self.messages.letters.encode(text));
    }

    fn ask(&mut self, doing: Doing, question: Question, shared: &mut Shared) {
        self.busy = true;
        shared.desk.ask(self.link, doing, question);
    }

    fn request(&mut self, message: &str, now: Moment, shared: &mut Shared) {
        match wire::request(message) {
            Request::Port(port) => match back::port(port) {
                Some(port) => {
                    self.say("OK", shared);
                    self.back.listens_at(port, self.messages.letters, now, shared);
                    self.hold_unless_ready(shared);
                }
                None => self.say("1|ERROR: bad port", shared),
            },
            Request::LogIn { user, password } => {
                if self.place.is_some() || shared.is_here(user) {
                    return self.say("2|Already signed in.", shared);
                }
                let device = device(DOOR, user, password);
                self.ask(Doing::LogIn, Question::SignIn(device), shared);
            }
            Request::Add { user, password, more, is_name } => {
                let more = Some(more.to_owned()).filter(|more| !more.trim().is_empty());
                let profile = if is_name {
                    ProfileChange { name: more, ..ProfileChange::default() }
                } else {
                    ProfileChange { about: more, ..ProfileChange::default() }
                };
                let question = Question::Register { device: device(DOOR, user, password), profile };
                self.ask(Doing::Add { is_name }, question, shared);
            }
            Request::Message { from, to, text } => self.message(from, to, text, shared),
            // What was just pushed is answered first: two pushes without an answer between run together.
            Request::Quit if self.back.is_pushing() => {
                self.quitting = true;
                shared.desk.timers.set(self.link, Alarm::Quit, now + QUIT_WITHIN);
            }
            Request::Quit => self.quit(shared),
            Request::Unknown => self.say("ERR|Unknown Command.", shared),
        }
    }

    /// "The background connection gets `OUT|OK`; then `0|OK` and close."
    fn quit(&mut self, shared: &mut Shared) {
        if self.busy || self.closed {
            return;
        }
        self.quitting = true;
        shared.desk.timers.clear(self.link, Alarm::Quit);
        self.back.leave(self.messages.letters, shared);
        if self.place.is_some() {
            self.ask(Doing::Quit, Question::SignOut {}, shared);
        } else {
            self.say("0|OK", shared);
            self.close(shared);
        }
    }

    /// "If the client's listener is not yet up the dial is refused: retry."
    pub(super) fn dial_failed(&mut self, now: Moment, shared: &mut Shared) {
        self.back.dial_failed(now, shared);
    }

    pub(super) fn back_opened(&mut self, link: LinkId, now: Moment, shared: &mut Shared) {
        self.back.opened(link, self.messages.letters, now, shared);
        self.hold_unless_ready(shared);
    }

    pub(super) fn back_gone(&mut self, link: LinkId, now: Moment, shared: &mut Shared) {
        self.back.gone(link, now, shared);
        if self.quitting && !self.busy {
            return self.quit(shared);
        }
        self.hold_unless_ready(shared);
    }

    /// The session is over, or the server.
    pub(super) fn say_goodbye(&mut self, shared: &mut Shared) {
        self.back.leave(self.messages.letters, shared);
    }

    /// The link is gone.
    pub(super) fn gone(mut self, shared: &mut Shared) {
        if let Some(place) = self.place.take() {
            shared.here.remove(&place.seat.me);
        }
        self.back.leave(self.messages.letters, shared);
    }

    /// Entries are told one at a time, and only while there is a connection to push them on.
    fn hold_unless_ready(&mut self, shared: &mut Shared) {
        let hold = !self.back.is_ready();
        if let Some(place) = self.place.as_mut().filter(|place| place.held != hold) {
            place.held = hold;
            shared.desk.hold(self.link, hold);
        }
    }

    fn message(&mut self, from: &str, to: &str, text: &str, shared: &mut Shared) {
        // "`from` must be the signed-in user": else there is no source user.
        let Some(place) =
            self.place.as_ref().filter(|place| fold(&shared.desk.people.handle(place.seat.me)) == fold(from))
        else {
            return self.say("1|no source user", shared);
        };
        let known = match to.strip_prefix('#') {
            Some(handle) => place.seat.by_handle(handle).map(|room| room.id),
            None => shared
                .desk
                .people
                .by_handle(to)
                .and_then(|profile| place.seat.direct(profile.id))
                .map(|room| room.id),
        };
        match known {
            Some(conversation) => self.post(conversation, text.to_owned(), shared),
            None => {
                let handle = to.strip_prefix('#').unwrap_or(to).to_owned();
                let doing = Doing::Find { text: text.to_owned() };
                self.ask(doing, Question::Query(Query::Handle { handle }), shared);
            }
        }
    }

    fn post(&mut self, conversation: ConversationId, text: String, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.posts += 1;
        let client_id = format!("{DOOR}-{}-{}", place.seat.session, place.posts);
        self.ask(Doing::Post, post(conversation, client_id, text), shared);
    }

    /// An answer to what was asked.
    pub(super) fn answered(
        &mut self,
        doing: Doing,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        self.busy &= matches!(doing, Doing::Nothing);
        match (doing, result) {
            (Doing::Nothing, _) => return,
            (Doing::LogIn, result) => self.logged_in(result, shared),
            // Each dialect has its own words for it.
            (Doing::Add { is_name }, Ok(_)) => self.say(if is_name { "0|OK" } else { "0|SUCCESS" }, shared),
            (Doing::Add { is_name }, Err(refused)) if refused.kind == Kind::Conflict => {
                let taken = if is_name {
                    "1|A user with this username already exists."
                } else {
                    "1|ERROR: A user with either this username or email already exists"
                };
                self.say(taken, shared);
            }
            (Doing::Add { .. }, Err(refused)) => self.say(&format!("1|ERROR: {}", refused.message), shared),
            (Doing::Find { text }, Ok(Given::Answer(Answer::User(profile)))) => {
                let open = Command::OpenDirect { user: profile.id };
                self.ask(Doing::Open { text }, Question::Command(open), shared);
            }
            (Doing::Find { text }, Ok(Given::Answer(Answer::Conversation(view)))) if view.mine.is_some() => {
                self.post(view.id, text, shared);
            }
            (Doing::Open { text }, Ok(Given::Reply(Reply::Conversation { conversation }))) => {
                self.post(conversation, text, shared);
            }
            (Doing::Find { .. } | Doing::Open { .. }, _) => self.say("2|no target user", shared),
            (Doing::Post, Ok(Given::Reply(Reply::Posted(posted)))) => {
                self.say(&format!("0|{}", wire::number(posted.conversation, posted.seq)), shared);
                self.wait_for_receipt(posted.conversation, posted.seq, now, shared);
            }
            (Doing::Post, Err(refused)) if refused.kind == Kind::NotFound => {
                self.say("2|no target user", shared);
            }
            (Doing::Post, Err(refused)) => self.say(&format!("1|ERROR: {}", refused.message), shared),
            (Doing::Quit, _) => {
                if let Some(place) = self.place.take() {
                    shared.here.remove(&place.seat.me);
                }
                self.say("0|OK", shared);
                self.close(shared);
            }
            (Doing::Post, Ok(_)) => self.say("1|ERROR: not posted", shared),
        }
        self.go_on(now, shared);
    }

    fn logged_in(&mut self, result: Result<Given, Refused>, shared: &mut Shared) {
        match result {
            Ok(Given::SignedIn(snapshot)) if shared.here.insert(snapshot.me.id) => {
                let seat = Seat::new(&snapshot);
                self.back.forget();
                self.place = Some(Place {
                    seat,
                    posts: 0,
                    sent: VecDeque::new(),
                    reached: BTreeMap::new(),
                    held: false,
                });
                self.hold_unless_ready(shared);
                self.say("0|OK", shared);
            }
            Ok(_) => {
                // Somebody of this account was faster on another connection.
                shared.desk.ask(self.link, Doing::Nothing, Question::SignOut {});
                self.say("2|Already signed in.", shared);
            }
            Err(refused) if refused.code == "no_such_user" => self.say("1|That user doesn't exist.", shared),
            Err(refused) if refused.code == "wrong_password" => self.say("1|Invalid Credentials", shared),
            Err(refused) => self.say(&format!("1|{}", refused.message), shared),
        }
    }

    /// "No `OK` receipt" for a group; of a direct message there is one.
    fn wait_for_receipt(&mut self, conversation: ConversationId, seq: Seq, now: Moment, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        let me = place.seat.me;
        let Some(peer) = place.seat.room(conversation).and_then(|room| room.peer).filter(|peer| *peer != me)
        else {
            return;
        };
        if place.reached.get(&conversation).is_some_and(|reached| seq <= *reached) {
            // It was there before we heard that it was sent.
            return self.receipt(conversation, seq, peer, now, shared);
        }
        place.sent.push_back((conversation, seq));
        if place.sent.len() > RECEIPTS_MAX {
            place.sent.pop_front();
        }
    }

    /// "`OK|from|to|id`, delivery notice to the original sender."
    fn receipt(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        to: UserId,
        now: Moment,
        shared: &mut Shared,
    ) {
        let Some(place) = &self.place else { return };
        let (from, to) = (shared.desk.people.handle(place.seat.me), shared.desk.people.handle(to));
        let line = format!("OK|{from}|{to}|{}", wire::number(conversation, seq));
        self.push(Push { line, expects: "0|OK".to_owned(), delivers: None }, now, shared);
    }

    /// Something happened.
    pub(super) fn entry(&mut self, entry: &Entry, now: Moment, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.seat.apply(entry);
        let LogId::Conversation(conversation) = entry.log else { return };
        let me = place.seat.me;
        // What he does in another client he knows: this wire has no word for it.
        let lines = if entry.by == me {
            Vec::new()
        } else {
            words::lines(entry, &shared.desk.settings.web, |user| shared.desk.people.handle(user))
        };
        if lines.is_empty() {
            return shared.desk.delivered(self.link, conversation, entry.seq);
        }
        let author = shared.desk.people.handle(entry.by);
        let sender = match place.seat.room(conversation) {
            Some(room) if room.peer.is_none() => {
                format!("{author} in #{}", room.handle.as_deref().unwrap_or(&room.name))
            }
            _ => author,
        };
        let id = wire::number(conversation, entry.seq);
        let letters = self.messages.letters;
        let line = wire::delivery(&sender, &id, &lines.join("\n"), letters);
        let push = Push { line, expects: format!("0|{id}"), delivers: Some((conversation, entry.seq)) };
        self.push(push, now, shared);
    }

    fn push(&mut self, push: Push, now: Moment, shared: &mut Shared) {
        self.back.push(push, self.messages.letters, now, shared);
        self.hold_unless_ready(shared);
    }

    /// Bytes of the client on the connection that was dialled back.
    pub(super) fn answer(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) {
        let letters = self.messages.letters;
        let Some(push) = self.back.answered(bytes, letters, shared) else { return };
        if let Some((conversation, seq)) = push.delivers {
            shared.desk.delivered(self.link, conversation, seq);
        }
        if self.quitting {
            return self.quit(shared);
        }
        self.back.go_on(letters, now, shared);
        self.hold_unless_ready(shared);
    }

    /// How far others are.
    pub(super) fn signal(&mut self, signal: &ServerSignal, now: Moment, shared: &mut Shared) {
        let ServerSignal::Cursor(moved) = signal else { return };
        let Some(place) = self.place.as_mut().filter(|place| place.seat.me != moved.user) else { return };
        if place.seat.room(moved.conversation).is_none_or(|room| room.peer != Some(moved.user)) {
            return;
        }
        place.reached.insert(moved.conversation, moved.delivered);
        let arrived = |(conversation, seq): &(ConversationId, Seq)| {
            *conversation == moved.conversation && *seq <= moved.delivered
        };
        let all: Vec<_> = place.sent.iter().filter(|sent| arrived(sent)).copied().collect();
        place.sent.retain(|sent| !arrived(sent));
        for (conversation, seq) in all {
            self.receipt(conversation, seq, moved.user, now, shared);
        }
    }
}
