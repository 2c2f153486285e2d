//! One address that sends datagrams: who is signed in there, what it was told, and what it has not acknowledged.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use chinwag_protocol::{
    Answer, ClientSignal, Command, ConversationId, Device, Entry, Event, LogId, Presence, Query, Refused,
    Reply, Seq, ServerSignal, UserId, UserKind,
};

use super::{
    News, Shared,
    table::{Addresses, Table},
    wire::{self, Said, datagram},
};
use crate::{
    AskId, Given, LinkId, Mode, Moment, Output, Question, Room, Seat, Settings, people::fold, words,
};

/// "Timeout 500 ms, up to 5 sends."
const PUSH_AGAIN: Duration = Duration::from_millis(500);
const PUSHES_MAX: u32 = 5;

/// "Treat an identical datagram from the same source within about 600 ms as a retry."
const RETRY_WITHIN: Duration = Duration::from_millis(600);

/// Datagrams remembered for that.
const RECENT_MAX: usize = 16;

/// Users in a newcomer's table.
const TABLE_MAX: u16 = 200;

/// The group that each account is a member of.
const EVERYONE: ConversationId = ConversationId(1);

/// One address.
pub(super) struct Peer {
    pub(super) link: LinkId,
    pub(super) address: SocketAddr,
    /// Its answers arrive there: it may be sent more than it sends.
    proved: bool,
    recent: VecDeque<Heard>,
    doing: BTreeMap<AskId, Doing>,
    place: Option<Place>,
    table: Table,
}

/// A datagram, and what was answered to it.
struct Heard {
    datagram: Vec<u8>,
    at: Moment,
    answer: Option<Vec<u8>>,
}

/// Who is signed in.
struct Place {
    seat: Seat,
    posts: u64,
    caught_up: bool,
    /// "You have messages" was said.
    has_messages: bool,
    push: Option<Push>,
}

/// What was sent and not yet acknowledged.
struct Push {
    bytes: Vec<u8>,
    delivers: (ConversationId, Seq),
    tries: u32,
}

/// The question that waits for its answer, each with the datagram that led to it.
enum Doing {
    Enter { back: bool, heard: Vec<u8> },
    Table,
    Find { text: String, answers: Answers, heard: Vec<u8> },
    Open { text: String, answers: Answers, heard: Vec<u8> },
    Post { answers: Answers, heard: Vec<u8> },
    Leave,
}

/// What is answered to a message.
#[derive(Clone)]
struct Answers {
    stored: String,
    nobody: Option<String>,
}

impl Peer {
    pub(super) fn new(link: LinkId, address: SocketAddr, settings: &Settings) -> Self {
        let trusted = settings.trusted_networks.iter().any(|network| network.contains(address.ip()));
        Self {
            link,
            address,
            proved: trusted,
            recent: VecDeque::new(),
            doing: BTreeMap::new(),
            place: None,
            table: Table::default(),
        }
    }

    fn send(&self, bytes: Vec<u8>, shared: &mut Shared) {
        if self.proved {
            shared.out.push_back(Output::Send { link: self.link, bytes });
        }
    }

    fn say(&self, text: String, shared: &mut Shared) {
        self.send(text.into_bytes(), shared);
    }

    /// Answers a datagram. To an address that may be forged: "the plain acknowledgement only, never more bytes
    /// than it sent".
    fn answer(&mut self, heard: &[u8], text: &str, shared: &mut Shared) {
        let mut bytes = text.as_bytes().to_vec();
        if !self.proved {
            let plain = text.split(' ').next().unwrap_or_default();
            if plain.len() > heard.len() {
                return;
            }
            bytes = plain.as_bytes().to_vec();
        }
        if let Some(recent) = self.recent.iter_mut().find(|recent| recent.datagram == heard) {
            recent.answer = Some(bytes.clone());
        }
        shared.out.push_back(Output::Send { link: self.link, bytes });
    }

    fn ask(&mut self, doing: Doing, question: Question, shared: &mut Shared) {
        let ask = shared.ask(self.link, question);
        self.doing.insert(ask, doing);
    }

    /// A datagram came.
    pub(super) fn datagram(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) {
        let Some(said) = wire::read(bytes) else { return };
        if let Said::Received = said {
            return self.received(shared);
        }
        self.recent.retain(|recent| now <= recent.at + RETRY_WITHIN);
        if let Some(recent) = self.recent.iter_mut().find(|recent| recent.datagram == bytes) {
            recent.at = now;
            if let Some(answer) = recent.answer.clone() {
                shared.out.push_back(Output::Send { link: self.link, bytes: answer });
            }
            return;
        }
        let had_answer = self.place.is_some();
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Heard { datagram: bytes.to_vec(), at: now, answer: None });
        if had_answer {
            // "Until a second datagram from it proves the address."
            self.prove(shared);
        }
        let heard = bytes.to_vec();
        match said {
            Said::Register { name, password } => self.register(name, password, heard, shared),
            Said::Reg { name, password } => self.enter(name, password, true, heard, shared),
            Said::SignOut { name } => self.sign_out(name, &heard, shared),
            Said::Send { to, text, from } => {
                let stored = format!("ack_on [Message received by {to}]");
                self.message(from, to, text, Answers { stored, nobody: None }, heard, shared);
            }
            Said::Save { from, to, text } => {
                let stored = "ack_off [Messages received by the server and saved]".to_owned();
                let nobody = self.table.knows(to).then(|| format!("Error [Client {to} exits!!!]"));
                self.message(from, to, text, Answers { stored, nobody }, heard, shared);
            }
            Said::SendAll { text, from } => self.send_all(from, text, heard, shared),
            Said::Received => {}
        }
    }

    fn prove(&mut self, shared: &mut Shared) {
        if !std::mem::replace(&mut self.proved, true) {
            self.tell_table(shared);
        }
    }

    /// "`register NAME` => registered, or please_signin if the name is taken."
    fn register(&mut self, name: &str, password: Option<&str>, heard: Vec<u8>, shared: &mut Shared) {
        let is_mine = self.place.as_ref().is_some_and(|place| self.is_called(place, name, shared));
        if is_mine && password.is_none() {
            return self.answer(&heard, "registered [Welcome, You are registered.]", shared);
        }
        if password.is_none() && shared.people.by_handle(name).is_some() {
            return self.answer(&heard, "please_signin [Please sign in.]", shared);
        }
        self.enter(name, password, false, heard, shared);
    }

    fn enter(&mut self, name: &str, password: Option<&str>, back: bool, heard: Vec<u8>, shared: &mut Shared) {
        if self.doing.values().any(|doing| matches!(doing, Doing::Enter { .. })) {
            return;
        }
        if self.place.is_some() {
            // The same client under the same name: it has only not heard our answer.
            let is_mine = self.place.as_ref().is_some_and(|place| self.is_called(place, name, shared));
            if is_mine {
                self.answer(&heard, "reg_suc [Welcome Back]", shared);
            }
            return;
        }
        let handle = name.to_owned();
        let question = match password {
            None => Question::Guest { handle },
            Some(password) => Question::SignIn(Device {
                handle,
                password: password.to_owned(),
                device: "udp_ack".to_owned(),
                invite: None,
                cookie: false,
            }),
        };
        self.ask(Doing::Enter { back, heard }, question, shared);
    }

    fn is_called(&self, place: &Place, name: &str, shared: &Shared) -> bool {
        fold(&shared.people.handle(place.seat.me)) == fold(name)
    }

    /// "`signout NAME` => dereg_suc, then `offline NAME` to the others." Only of oneself.
    fn sign_out(&mut self, name: &str, heard: &[u8], shared: &mut Shared) {
        let Some(place) =
            self.place.take_if(|place| fold(&shared.people.handle(place.seat.me)) == fold(name))
        else {
            return;
        };
        self.answer(heard, "dereg_suc [You are Offline. Bye.]", shared);
        self.leave(place.seat.me, shared);
    }

    fn leave(&mut self, user: UserId, shared: &mut Shared) {
        if shared.here.get(&user) == Some(&self.link) {
            shared.here.remove(&user);
            shared.news.push_back(News::Gone(user));
        }
        shared.timers.clear(self.link);
        self.ask(Doing::Leave, Question::SignOut {}, shared);
    }

    /// The user of this link is elsewhere now: "reg from a new address re-binds the name".
    pub(super) fn moved(&mut self, shared: &mut Shared) {
        self.place = None;
        shared.timers.clear(self.link);
        self.ask(Doing::Leave, Question::SignOut {}, shared);
    }

    /// The link is gone.
    pub(super) fn gone(mut self, shared: &mut Shared) {
        shared.timers.clear(self.link);
        if let Some(place) = self.place.take()
            && shared.here.get(&place.seat.me) == Some(&self.link)
        {
            shared.here.remove(&place.seat.me);
            shared.news.push_back(News::Gone(place.seat.me));
        }
    }

    fn message(
        &mut self,
        from: &str,
        to: &str,
        text: String,
        answers: Answers,
        heard: Vec<u8>,
        shared: &mut Shared,
    ) {
        let Some(place) = self.place.as_ref().filter(|place| self.is_called(place, from, shared)) else {
            return;
        };
        let known = shared.people.by_handle(to).and_then(|profile| place.seat.direct(profile.id));
        match known.map(|room| room.id) {
            Some(conversation) => self.post(conversation, text, answers, heard, shared),
            None => {
                let query = Query::Handle { handle: to.to_owned() };
                self.ask(Doing::Find { text, answers, heard }, Question::Query(query), shared);
            }
        }
    }

    /// "Group: all users form one group; the message goes to the server, which sends it to all but the sender."
    fn send_all(&mut self, from: &str, text: String, heard: Vec<u8>, shared: &mut Shared) {
        let Some(place) = self.place.as_ref().filter(|place| self.is_called(place, from, shared)) else {
            return;
        };
        let Some(everyone) = place.seat.rooms().find(|room| is_everyone(room)).map(|room| room.id) else {
            return;
        };
        let answers = Answers { stored: "ack_group [Message received by Server.]".to_owned(), nobody: None };
        self.post(everyone, text, answers, heard, shared);
    }

    fn post(
        &mut self,
        conversation: ConversationId,
        text: String,
        answers: Answers,
        heard: Vec<u8>,
        shared: &mut Shared,
    ) {
        let Some(place) = &mut self.place else { return };
        place.posts += 1;
        let command = Command::Post {
            conversation,
            client_id: format!("udp_ack-{}-{}", place.seat.session, place.posts),
            text,
            attachments: Vec::new(),
            reply_to: None,
            thread: None,
        };
        self.ask(Doing::Post { answers, heard }, Question::Command(command), shared);
    }

    /// An answer to what was asked.
    pub(super) fn answered(
        &mut self,
        ask: AskId,
        result: Result<Given, Refused>,
        addresses: &Addresses,
        shared: &mut Shared,
    ) {
        let Some(doing) = self.doing.remove(&ask) else { return };
        match (doing, result) {
            (Doing::Enter { back, heard }, Ok(Given::SignedIn(snapshot))) => {
                let seat = Seat::new(&snapshot);
                self.entered(seat, back, &heard, shared);
            }
            (Doing::Enter { back: false, heard }, Err(_)) => {
                self.answer(&heard, "please_signin [Please sign in.]", shared);
            }
            (Doing::Table, Ok(Given::Answer(Answer::Members(members)))) => {
                let users: Vec<_> = members.iter().map(|member| &member.profile).collect();
                let watch = users.iter().filter(|user| !user.inactive).map(|user| user.id).collect();
                for user in users.iter().filter(|user| !user.inactive) {
                    self.tell_here(user.id, addresses.get(&user.id).copied(), shared);
                    // "For an offline peer follow it with `offline X`": those of other clients until they are heard of.
                    if !addresses.contains_key(&user.id) {
                        self.tell_gone(user.id, shared);
                    }
                }
                shared.out.push_back(Output::Signal {
                    link: self.link,
                    signal: ClientSignal::Watch { users: watch },
                });
                shared.out.push_back(Output::Hold { link: self.link, hold: false });
            }
            (Doing::Table, _) => shared.out.push_back(Output::Hold { link: self.link, hold: false }),
            (Doing::Find { text, answers, heard }, Ok(Given::Answer(Answer::User(profile)))) => {
                let open = Command::OpenDirect { user: profile.id };
                self.ask(Doing::Open { text, answers, heard }, Question::Command(open), shared);
            }
            (
                Doing::Open { text, answers, heard },
                Ok(Given::Reply(Reply::Conversation { conversation })),
            ) => self.post(conversation, text, answers, heard, shared),
            (Doing::Find { answers, heard, .. } | Doing::Open { answers, heard, .. }, Err(_)) => {
                if let Some(nobody) = answers.nobody {
                    self.answer(&heard, &nobody, shared);
                }
            }
            (Doing::Post { answers, heard }, Ok(_)) => self.answer(&heard, &answers.stored, shared),
            // No word for a refusal: the client tries again and then says that the server does not respond.
            (Doing::Post { .. } | Doing::Enter { .. } | Doing::Leave, _) => {}
            (Doing::Find { .. } | Doing::Open { .. }, Ok(_)) => {}
        }
    }

    fn entered(&mut self, seat: Seat, back: bool, heard: &[u8], shared: &mut Shared) {
        let user = seat.me;
        if let Some(older) = shared.here.insert(user, self.link).filter(|older| *older != self.link) {
            shared.news.push_back(News::Moved(older));
        }
        self.place = Some(Place { seat, posts: 0, caught_up: false, has_messages: false, push: None });
        // The others' rows come before the stored messages.
        shared.out.push_back(Output::Hold { link: self.link, hold: true });
        if back {
            self.answer(heard, "reg_suc [Welcome Back]", shared);
        } else {
            self.answer(heard, "registered [Welcome, You are registered.]", shared);
        }
        shared.news.push_back(News::Here(user, self.link));
        if self.proved {
            self.tell_table(shared);
        }
    }

    /// "For each existing user the two broadcasts."
    fn tell_table(&mut self, shared: &mut Shared) {
        if self.place.is_some() {
            let query = Query::Members { conversation: EVERYONE, after: UserId(0), limit: TABLE_MAX };
            self.ask(Doing::Table, Question::Query(query), shared);
        }
    }

    /// Tells where somebody is; without an address he is not on this wire, and reached through the server.
    pub(super) fn tell_here(&mut self, user: UserId, address: Option<SocketAddr>, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        if place.seat.me == user || !self.proved {
            return;
        }
        let through_us = shared.settings.mode == Mode::Relay;
        let address = address.filter(|_| !through_us).unwrap_or(shared.settings.listen);
        if let Some(text) = self.table.here(&shared.people.handle(user), address) {
            self.say(text, shared);
        }
    }

    /// Tells that somebody has gone.
    pub(super) fn tell_gone(&mut self, user: UserId, shared: &mut Shared) {
        if self.place.as_ref().is_none_or(|place| place.seat.me == user) {
            return;
        }
        if let Some(text) = self.table.gone(&shared.people.handle(user)) {
            self.say(text, shared);
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
        let LogId::Conversation(conversation) = entry.log else { return };
        if let Event::Joined { user, .. } = &entry.event
            && place.seat.room(conversation).is_some_and(is_everyone)
            && !shared.here.contains_key(user)
            && shared.people.get(*user).is_some_and(|profile| profile.kind != UserKind::Guest)
        {
            shared.news.push_back(News::Known(*user));
        }
        let lines = if entry.by == place.seat.me && matches!(entry.event, Event::Message(_)) {
            Vec::new()
        } else {
            words::lines(entry, &shared.settings.web, |user| shared.people.handle(user))
        };
        let delivers = (conversation, entry.seq);
        if lines.is_empty() {
            return self.delivered(delivers, shared);
        }
        let text = lines.join(" ");
        let author = shared.people.handle(entry.by);
        let (direct, group) = match place.seat.room(conversation) {
            Some(room) if room.peer.is_some() => (true, String::new()),
            Some(room) if is_everyone(room) => (false, String::new()),
            Some(room) => (false, format!("[#{}] ", room.handle.as_deref().unwrap_or(&room.name))),
            None => (false, String::new()),
        };
        if place.caught_up {
            let bytes = if direct {
                let me = shared.people.handle(place.seat.me);
                datagram(&format!("send {me} "), &text, &format!(" {author}"))
            } else {
                datagram(&format!("Channel-Message {author}: {group}"), &text, "")
            };
            place.push = Some(Push { bytes, delivers, tries: 0 });
            shared.out.push_back(Output::Hold { link: self.link, hold: true });
            self.push(now, shared);
        } else {
            let header = !std::mem::replace(&mut place.has_messages, true);
            if header {
                self.say("offline_message [You have messages]".to_owned(), shared);
            }
            let date = shared.settings.local(entry.at).strftime("%a %b %e %H:%M:%S %Y").to_string();
            let from = if direct { author } else { format!("Channel-Message: {author}") };
            self.send(datagram(&format!("offline_message {from}: {date} {group}"), &text, ""), shared);
            self.delivered(delivers, shared);
        }
    }

    fn push(&mut self, now: Moment, shared: &mut Shared) {
        let Some(push) = self.place.as_mut().and_then(|place| place.push.as_mut()) else { return };
        push.tries += 1;
        let bytes = push.bytes.clone();
        shared.timers.set(self.link, now + PUSH_AGAIN);
        self.send(bytes, shared);
    }

    /// Nothing was acknowledged in time.
    pub(super) fn woken(&mut self, now: Moment, shared: &mut Shared) {
        let Some(push) = self.place.as_ref().and_then(|place| place.push.as_ref()) else { return };
        if push.tries < PUSHES_MAX {
            return self.push(now, shared);
        }
        // "Then the user counts as offline and gets the rest at `reg`."
        if let Some(place) = self.place.take() {
            self.leave(place.seat.me, shared);
        }
    }

    /// What was pushed has arrived.
    fn received(&mut self, shared: &mut Shared) {
        let Some(push) = self.place.as_mut().and_then(|place| place.push.take()) else { return };
        self.prove(shared);
        shared.timers.clear(self.link);
        self.delivered(push.delivers, shared);
        shared.out.push_back(Output::Hold { link: self.link, hold: false });
    }

    fn delivered(&self, (conversation, delivered): (ConversationId, Seq), shared: &mut Shared) {
        let signal = ClientSignal::Cursor { conversation, delivered, read: Seq::ZERO };
        shared.out.push_back(Output::Signal { link: self.link, signal });
    }

    /// Users of other clients come and go.
    pub(super) fn signal(&mut self, signal: &ServerSignal, shared: &mut Shared) {
        let ServerSignal::Presence(all) = signal else { return };
        for one in all {
            if shared.here.contains_key(&one.user) {
                continue;
            }
            match one.presence {
                Presence::Offline => self.tell_gone(one.user, shared),
                Presence::Online | Presence::Away => self.tell_here(one.user, None, shared),
            }
        }
    }
}

fn is_everyone(room: &Room) -> bool {
    room.id == EVERYONE
}
