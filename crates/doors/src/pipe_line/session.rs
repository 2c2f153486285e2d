//! One client of the door: its requests, strictly one after the other, and what it is pushed.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use chinwag_protocol::{
    Answer, ClientSignal, Command, ConversationId, Device, Entry, Event, Kind, LogId, ProfileChange, Query,
    Refused, Reply, Seq, ServerSignal,
};

use super::{
    Alarm, Shared,
    back::{Back, Push},
    wire::{self, MESSAGE_MAX, Messages, Piece, Request},
};
use crate::{AskId, Given, LinkId, Moment, Output, Question, Seat, people::fold, words};

/// Silence after which what has come is a whole message.
const QUIET: Duration = Duration::from_millis(20);

/// "At most one dial at a time, 2 s apart, 5 tries."
const DIAL_AGAIN: Duration = Duration::from_secs(2);
const DIALS_MAX: u32 = 5;

/// Ports of well-known services, which nobody may make us knock at: "n >= 1024 only, never a privileged or
/// well-known service port".
const SERVICES: &[u16] = &[
    1080, 1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3128, 3260, 3306, 3389, 4369, 5000, 5222, 5432,
    5601, 5672, 5900, 5984, 5985, 5986, 6000, 6379, 6443, 7001, 8000, 8008, 8080, 8086, 8443, 8888, 9000,
    9042, 9090, 9092, 9200, 9300, 9418, 10250, 11211, 15672, 26257, 27017, 50070,
];

/// Messages of one's own that wait for their receipt.
const RECEIPTS_MAX: usize = 1_000;

/// Messages that are no text before the connection ends.
const STRIKES_MAX: u32 = 3;

/// One client.
pub(super) struct Session {
    link: LinkId,
    peer: SocketAddr,
    messages: Messages,
    waiting: VecDeque<String>,
    doing: Option<(AskId, Doing)>,
    place: Option<Place>,
    back: Option<Back>,
    /// The port that the client listens at, and how often it was dialled in vain.
    port: Option<(u16, u32)>,
    dialling: bool,
    strikes: u32,
}

/// Where a signed-in client is.
struct Place {
    seat: Seat,
    posts: u64,
    /// Own messages that have not reached the other yet.
    sent: VecDeque<(ConversationId, Seq)>,
    held: bool,
}

/// The request that waits for its answer.
enum Doing {
    LogIn,
    Add,
    Find { text: String },
    Open { text: String },
    Post,
    Quit,
}

impl Session {
    pub(super) fn new(link: LinkId, peer: SocketAddr) -> Self {
        Self {
            link,
            peer,
            messages: Messages::default(),
            waiting: VecDeque::new(),
            doing: None,
            place: None,
            back: None,
            port: None,
            dialling: false,
            strikes: 0,
        }
    }

    pub(super) fn link(&self) -> LinkId {
        self.link
    }

    /// Bytes of the client on its own connection.
    pub(super) fn bytes(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) {
        self.messages.feed(bytes);
        while let Some(piece) = self.messages.next() {
            self.take(piece, shared);
        }
        if self.messages.len() > MESSAGE_MAX || self.waiting.len() > 64 {
            return shared.out.push_back(Output::Close { link: self.link });
        }
        if self.messages.len() > 0 {
            shared.timers.set((self.link, Alarm::Quiet), now + QUIET);
        } else {
            shared.timers.clear((self.link, Alarm::Quiet));
        }
        self.go_on(shared);
    }

    fn take(&mut self, piece: Piece, shared: &mut Shared) {
        match piece {
            Piece::Message(message) => self.waiting.push_back(message),
            Piece::Garbage => {
                self.strikes += 1;
                self.say("ERR|Unknown Command.", shared);
                if self.strikes >= STRIKES_MAX {
                    shared.out.push_back(Output::Close { link: self.link });
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
                    self.go_on(shared);
                }
            }
            Alarm::Dial => self.dial(shared),
            Alarm::Push => {
                let letters = self.messages.letters;
                if let Some(back) = &mut self.back {
                    back.send(self.link, letters, now, shared);
                }
            }
        }
    }

    /// "Strict request/answer": the next request when the one before is answered.
    fn go_on(&mut self, shared: &mut Shared) {
        while self.doing.is_none()
            && let Some(message) = self.waiting.pop_front()
        {
            self.request(&message, shared);
        }
    }

    fn say(&self, text: &str, shared: &mut Shared) {
        shared.send(self.link, self.messages.letters.encode(text));
    }

    fn ask(&mut self, doing: Doing, question: Question, shared: &mut Shared) {
        let ask = shared.ask(self.link, question);
        self.doing = Some((ask, doing));
    }

    fn request(&mut self, message: &str, shared: &mut Shared) {
        match wire::request(message) {
            Request::Port(port) => self.listens_at(port, shared),
            Request::LogIn { user, password } => {
                if self.place.is_some() || shared.is_here(user) {
                    return self.say("2|Already signed in.", shared);
                }
                let device = device(user, password);
                self.ask(Doing::LogIn, Question::SignIn(device), shared);
            }
            Request::Add { user, password, more, is_name } => {
                let more = Some(more.to_owned()).filter(|more| !more.trim().is_empty());
                let profile = if is_name {
                    ProfileChange { name: more, ..ProfileChange::default() }
                } else {
                    ProfileChange { about: more, ..ProfileChange::default() }
                };
                let question = Question::Register { device: device(user, password), profile };
                self.ask(Doing::Add, question, shared);
            }
            Request::Message { from, to, text } => self.message(from, to, text, shared),
            Request::Quit => {
                self.leave_back(shared);
                if self.place.is_some() {
                    self.ask(Doing::Quit, Question::SignOut {}, shared);
                } else {
                    self.say("0|OK", shared);
                    shared.out.push_back(Output::Close { link: self.link });
                }
            }
            Request::Unknown => self.say("ERR|Unknown Command.", shared),
        }
    }

    /// "`PORT|n` => `OK`, then the server dials the client's own address at port n."
    fn listens_at(&mut self, port: &str, shared: &mut Shared) {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port >= 1_024 && !SERVICES.contains(port));
        let Some(port) = port else { return self.say("1|ERROR: bad port", shared) };
        self.say("OK", shared);
        self.leave_back(shared);
        self.port = Some((port, 0));
        if !self.dialling && shared.timers.get((self.link, Alarm::Dial)).is_none() {
            self.dial(shared);
        }
    }

    fn dial(&mut self, shared: &mut Shared) {
        let Some((port, _)) = self.port.filter(|_| !self.dialling && self.back.is_none()) else { return };
        self.dialling = true;
        shared.dial(self.link, SocketAddr::new(self.peer.ip(), port));
    }

    /// "If the client's listener is not yet up the dial is refused: retry."
    pub(super) fn dial_failed(&mut self, now: Moment, shared: &mut Shared) {
        self.dialling = false;
        if let Some((_, tries)) = &mut self.port {
            *tries += 1;
            if *tries < DIALS_MAX {
                shared.timers.set((self.link, Alarm::Dial), now + DIAL_AGAIN);
            }
        }
    }

    pub(super) fn back_opened(&mut self, link: LinkId, shared: &mut Shared) {
        self.dialling = false;
        if let Some((_, tries)) = &mut self.port {
            *tries = 0;
        }
        self.back = Some(Back::new(link));
        self.hold(false, shared);
    }

    /// The client's listener has gone; it may come back.
    pub(super) fn back_gone(&mut self, link: LinkId, now: Moment, shared: &mut Shared) {
        if self.back.as_ref().is_none_or(|back| back.link != link) {
            return;
        }
        self.back = None;
        shared.timers.clear((self.link, Alarm::Push));
        self.hold(true, shared);
        self.dial_failed(now, shared);
    }

    /// "On server shutdown send `OUT|OK` first: on a bare close the client's background thread loops."
    fn leave_back(&mut self, shared: &mut Shared) {
        if let Some(back) = self.back.take() {
            shared.send(back.link, self.messages.letters.encode("OUT|OK"));
            shared.out.push_back(Output::Close { link: back.link });
            shared.timers.clear((self.link, Alarm::Push));
            self.hold(true, shared);
        }
        self.port = None;
    }

    /// The session is over, or the server.
    pub(super) fn say_goodbye(&mut self, shared: &mut Shared) {
        self.leave_back(shared);
    }

    /// The link is gone.
    pub(super) fn gone(mut self, shared: &mut Shared) {
        self.place.take().into_iter().for_each(|place| {
            shared.here.remove(&place.seat.me);
        });
        self.leave_back(shared);
        for alarm in [Alarm::Quiet, Alarm::Dial, Alarm::Push] {
            shared.timers.clear((self.link, alarm));
        }
    }

    /// Entries are told one at a time, and only while there is a connection to push them on.
    fn hold(&mut self, hold: bool, shared: &mut Shared) {
        if let Some(place) = self.place.as_mut().filter(|place| place.held != hold) {
            place.held = hold;
            shared.out.push_back(Output::Hold { link: self.link, hold });
        }
    }

    fn message(&mut self, from: &str, to: &str, text: &str, shared: &mut Shared) {
        // "`from` must be the signed-in user": else there is no source user.
        let Some(place) =
            self.place.as_ref().filter(|place| fold(&shared.people.handle(place.seat.me)) == fold(from))
        else {
            return self.say("1|no source user", shared);
        };
        let known = match to.strip_prefix('#') {
            Some(handle) => place.seat.by_handle(handle).map(|room| room.id),
            None => shared
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
        let command = Command::Post {
            conversation,
            client_id: format!("pipe_line-{}-{}", place.seat.session, place.posts),
            text,
            attachments: Vec::new(),
            reply_to: None,
            thread: None,
        };
        self.ask(Doing::Post, Question::Command(command), shared);
    }

    /// An answer to what was asked.
    pub(super) fn answered(&mut self, ask: AskId, result: Result<Given, Refused>, shared: &mut Shared) {
        let Some((_, doing)) = self.doing.take_if(|(asked, _)| *asked == ask) else { return };
        match (doing, result) {
            (Doing::LogIn, result) => self.logged_in(result, shared),
            (Doing::Add, Ok(_)) => self.say("0|SUCCESS", shared),
            (Doing::Add, Err(refused)) if refused.kind == Kind::Conflict => {
                self.say("1|ERROR: A user with either this username or email already exists", shared);
            }
            (Doing::Add, Err(refused)) => self.say(&format!("1|ERROR: {}", refused.message), shared),
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
                self.wait_for_receipt(posted.conversation, posted.seq);
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
                shared.out.push_back(Output::Close { link: self.link });
            }
            (Doing::Post, Ok(_)) => self.say("1|ERROR: not posted", shared),
        }
        self.go_on(shared);
    }

    fn logged_in(&mut self, result: Result<Given, Refused>, shared: &mut Shared) {
        match result {
            Ok(Given::SignedIn(snapshot)) if shared.here.insert(snapshot.me.id) => {
                let seat = Seat::new(&snapshot);
                self.place = Some(Place { seat, posts: 0, sent: VecDeque::new(), held: false });
                if self.back.is_none() {
                    self.hold(true, shared);
                }
                self.say("0|OK", shared);
            }
            Ok(_) => {
                // Somebody of this account was faster on another connection.
                shared.ask(self.link, Question::SignOut {});
                self.say("2|Already signed in.", shared);
            }
            Err(refused) if refused.code == "no_such_user" => self.say("1|That user doesn't exist.", shared),
            Err(refused) if refused.code == "wrong_password" => self.say("1|Invalid Credentials", shared),
            Err(refused) => self.say(&format!("1|{}", refused.message), shared),
        }
    }

    /// "No `OK` receipt" for a group; of a direct message there is one.
    fn wait_for_receipt(&mut self, conversation: ConversationId, seq: Seq) {
        let Some(place) = &mut self.place else { return };
        let me = place.seat.me;
        if place.seat.room(conversation).is_some_and(|room| room.peer.is_some_and(|peer| peer != me)) {
            place.sent.push_back((conversation, seq));
            if place.sent.len() > RECEIPTS_MAX {
                place.sent.pop_front();
            }
        }
    }

    /// Something happened.
    pub(super) fn entry(&mut self, entry: &Entry, now: Moment, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.seat.apply(entry);
        let LogId::Conversation(conversation) = entry.log else { return };
        let me = place.seat.me;
        let lines = if entry.by == me && matches!(entry.event, Event::Message(_)) {
            Vec::new()
        } else {
            words::lines(entry, &shared.settings.web, |user| shared.people.handle(user))
        };
        if lines.is_empty() {
            self.delivered(conversation, entry.seq, shared);
            return;
        }
        let author = shared.people.handle(entry.by);
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
        let letters = self.messages.letters;
        let Some(back) = &mut self.back else { return };
        back.push(self.link, push, letters, now, shared);
        self.hold(true, shared);
    }

    /// Bytes of the client on the connection that was dialled back.
    pub(super) fn answer(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) {
        let letters = self.messages.letters;
        let Some(push) = self.back.as_mut().and_then(|back| back.answered(bytes, letters)) else { return };
        if let Some((conversation, seq)) = push.delivers {
            self.delivered(conversation, seq, shared);
        }
        let Some(back) = &mut self.back else { return };
        back.go_on(self.link, letters, now, shared);
        if back.is_idle() {
            self.hold(false, shared);
        }
    }

    fn delivered(&self, conversation: ConversationId, delivered: Seq, shared: &mut Shared) {
        let signal = ClientSignal::Cursor { conversation, delivered, read: Seq::ZERO };
        shared.out.push_back(Output::Signal { link: self.link, signal });
    }

    /// How far others are: "`OK|from|to|id`, delivery notice to the original sender".
    pub(super) fn signal(&mut self, signal: &ServerSignal, now: Moment, shared: &mut Shared) {
        let ServerSignal::Cursor(moved) = signal else { return };
        let Some(place) = self.place.as_mut().filter(|place| place.seat.me != moved.user) else { return };
        let arrived = |(conversation, seq): &(ConversationId, Seq)| {
            *conversation == moved.conversation && *seq <= moved.delivered
        };
        let all: Vec<_> = place.sent.iter().filter(|sent| arrived(sent)).copied().collect();
        place.sent.retain(|sent| !arrived(sent));
        let (from, to) = (shared.people.handle(place.seat.me), shared.people.handle(moved.user));
        for (conversation, seq) in all {
            let line = format!("OK|{from}|{to}|{}", wire::number(conversation, seq));
            self.push(Push { line, expects: "0|OK".to_owned(), delivers: None }, now, shared);
        }
    }
}

fn device(user: &str, password: &str) -> Device {
    Device {
        handle: user.to_owned(),
        password: password.to_owned(),
        device: "pipe_line".to_owned(),
        invite: None,
        cookie: false,
    }
}
