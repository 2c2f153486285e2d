//! The client of the acknowledged UDP chat: a machine without sockets and clock.
//!
//! Told what was typed, what came and what time it is, it says what to send and what to show. All acknowledgements
//! are looked at in one place and matched with what waits for them by what they say, so none is eaten by somebody
//! who does not want it; whatever is not acknowledged is tried five times, and then there is an end.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use super::words::{self, DATAGRAM_MAX, Heard, MARK_BYTES, NUMBERS};

/// "Timeout 500 ms, up to 5 sends."
const AGAIN: Duration = Duration::from_millis(500);
const TRIES_MAX: u32 = 5;

/// An old program repeats a message within this; ours puts a number on each, so a copy is known however late.
const COPY_WITHIN: Duration = Duration::from_millis(600);

/// A message that came directly, and whose acknowledgement was lost, comes through the server within this.
const AGAIN_BY_SERVER: Duration = Duration::from_secs(5);

/// What came lately, for knowing copies.
const RECENT_MAX: usize = 8;

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// A line was typed.
    Line(&'a str),
    /// No more will be.
    Ended,
    /// A datagram came.
    Datagram { from: SocketAddr, bytes: &'a [u8] },
    /// The time that was wished for has come.
    Woken,
}

/// When it happens.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    /// Since the start.
    pub(crate) at: Duration,
    /// By the clock on the wall, as `Fri Nov 20 23:19:28 2026`.
    pub(crate) date: String,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send a datagram.
    Send { to: SocketAddr, bytes: Vec<u8> },
    /// Show a line, and a new prompt.
    Line(String),
    /// Show a new prompt.
    Prompt,
    /// The program ends. `failed`: the server does not respond.
    End { failed: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not yet known to the server, or told to sign in.
    Out,
    Online,
    Offline,
}

/// Who else there is.
struct Row {
    address: SocketAddr,
    online: bool,
}

/// What waits for its acknowledgement.
struct Waiting {
    what: What,
    to: SocketAddr,
    bytes: Vec<u8>,
    tries: u32,
    again_at: Duration,
}

impl Waiting {
    /// Whether an acknowledgement can be that of this message. One with another number is a late copy of an earlier
    /// one's; an old program puts no number on it.
    fn is_answered_by(&self, acknowledgement: &[u8]) -> bool {
        let mark = words::mark_of(acknowledgement);
        mark.is_empty() || mark == words::mark_of(&self.bytes)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Register,
    Reg,
    SignOut,
    /// From client to client: one try, then the server has it.
    Direct {
        name: String,
        text: String,
    },
    /// To somebody who is reached through the server.
    Relayed {
        name: String,
    },
    Saved {
        name: String,
    },
    All,
}

/// A datagram that came.
struct Came {
    from: SocketAddr,
    bytes: Vec<u8>,
    at: Duration,
}

/// See the module.
pub(crate) struct Client {
    name: String,
    password: Option<String>,
    server: SocketAddr,
    state: State,
    table: BTreeMap<String, Row>,
    waiting: Option<Waiting>,
    no_more_input: bool,
    numbers: u32,
    recent: VecDeque<Came>,
    /// Messages that came from client to client: by whom, what, when.
    direct: VecDeque<(String, String, Duration)>,
    out: VecDeque<Output>,
}

impl Client {
    /// A client that registers at once.
    pub(crate) fn new(name: &str, password: Option<String>, server: SocketAddr) -> Self {
        let mut client = Self {
            name: name.to_owned(),
            password,
            server,
            state: State::Out,
            table: BTreeMap::new(),
            waiting: None,
            no_more_input: false,
            numbers: 0,
            recent: VecDeque::new(),
            direct: VecDeque::new(),
            out: VecDeque::from([Output::Prompt]),
        };
        let register = client.named("register");
        client.send(What::Register, server, register, Duration::ZERO);
        client
    }

    /// Whether a line may be typed now: one thing after the other.
    pub(crate) fn takes_input(&self) -> bool {
        self.waiting.is_none() && !self.no_more_input
    }

    /// When to be woken.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.waiting.as_ref().map(|waiting| waiting.again_at)
    }

    /// What to do next.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Something happened.
    pub(crate) fn handle(&mut self, input: Input<'_>, now: &Now) {
        match input {
            Input::Line(line) => self.typed(line, now),
            Input::Ended => self.no_more_input = true,
            Input::Datagram { from, bytes } => self.came(from, bytes, now),
            Input::Woken => self.woken(now),
        }
        if self.no_more_input && self.waiting.is_none() {
            match self.state {
                State::Online => self.sign_out(now),
                State::Out | State::Offline => self.out.push_back(Output::End { failed: false }),
            }
        }
    }

    /// The server may know the name in other capitals.
    fn is_me(&self, name: &str) -> bool {
        name.to_lowercase() == self.name.to_lowercase()
    }

    fn line(&mut self, line: impl Into<String>) {
        self.out.push_back(Output::Line(line.into()));
    }

    fn named(&self, verb: &str) -> String {
        match &self.password {
            Some(password) => format!("{verb} {} {password}", self.name),
            None => format!("{verb} {}", self.name),
        }
    }

    fn send(&mut self, what: What, to: SocketAddr, text: String, at: Duration) {
        let bytes = text.into_bytes();
        self.out.push_back(Output::Send { to, bytes: bytes.clone() });
        self.waiting = Some(Waiting { what, to, bytes, tries: 1, again_at: at + AGAIN });
    }

    /// A number for words that may be said twice.
    fn number(&mut self) -> String {
        self.numbers = (self.numbers + 1) % NUMBERS;
        words::mark(self.numbers)
    }

    fn typed(&mut self, line: &str, now: &Now) {
        let line = line.trim_end_matches(['\n', '\r']);
        let Some((verb, rest)) = words::first(line) else { return self.out.push_back(Output::Prompt) };
        match (verb, self.state) {
            ("reg", State::Out | State::Offline) => self.reg(rest, now),
            ("send", State::Online) => self.send_to(rest, now),
            ("send_all", State::Online) => self.send_all(rest, now),
            ("dereg", State::Online) => match words::first(rest) {
                Some((name, "")) if name == self.name => self.sign_out(now),
                Some((_, "")) => self.line("[Wrong User_name]"),
                _ => self.line("[Correct Usage: dereg <name>]"),
            },
            _ => self.line("[Wrong Input]"),
        }
    }

    fn reg(&mut self, rest: &str, now: &Now) {
        match words::first(rest) {
            Some((name, "")) if name == self.name => {
                let reg = self.named("reg");
                self.send(What::Reg, self.server, reg, now.at);
            }
            Some((_, "")) => self.line("[Wrong Name]"),
            _ => self.line("[Correct Usage: reg <name>]"),
        }
    }

    fn sign_out(&mut self, now: &Now) {
        self.send(What::SignOut, self.server, format!("signout {}", self.name), now.at);
    }

    fn send_to(&mut self, rest: &str, now: &Now) {
        let Some((name, text)) = words::first(rest).filter(|(_, text)| !text.trim().is_empty()) else {
            return self.line("[Correct Usage: send <name> <content>]");
        };
        let text = text.trim();
        let Some(row) = self.table.get(name) else {
            return self.line(format!("[Couldn't find {name}]"));
        };
        let (address, online) = (row.address, row.online);
        // As long as it can get, so that the way through the server is open too.
        if self.saving(name, text, now).len() + MARK_BYTES > DATAGRAM_MAX || text.contains('\0') {
            return self.line("[Wrong Input]");
        }
        if address != self.server && !online {
            return self.save(name, text, now);
        }
        let name = name.to_owned();
        let mark = self.number();
        let datagram = format!("send {name} {text} {}{mark}", self.name);
        let what = match address == self.server {
            true => What::Relayed { name },
            false => What::Direct { name, text: text.to_owned() },
        };
        self.send(what, address, datagram, now.at);
    }

    fn saving(&self, name: &str, text: &str, now: &Now) -> String {
        format!("save_message {} {name} {} {text}", self.name, now.date)
    }

    /// "No ack from a peer: the sender gives the message to the server to store."
    fn save(&mut self, name: &str, text: &str, now: &Now) {
        self.line(format!("[No ACK from {name}, message sent to server. ]"));
        let saving = self.saving(name, text, now) + &self.number();
        self.send(What::Saved { name: name.to_owned() }, self.server, saving, now.at);
    }

    fn send_all(&mut self, text: &str, now: &Now) {
        let text = text.trim();
        if text.is_empty() {
            return self.line("[Correct Usage: send_all <content>]");
        }
        let mark = self.number();
        let datagram = format!("send_all {text} {}{mark}", self.name);
        if datagram.len() > DATAGRAM_MAX || text.contains('\0') {
            return self.line("[Wrong Input]");
        }
        self.send(What::All, self.server, datagram, now.at);
    }

    fn woken(&mut self, now: &Now) {
        let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.again_at <= now.at) else {
            return;
        };
        let is_direct = matches!(waiting.what, What::Direct { .. });
        if waiting.tries < TRIES_MAX && !is_direct {
            waiting.tries += 1;
            waiting.again_at = now.at + AGAIN;
            if waiting.what == What::Reg {
                // To a server that does not know this address a copy proves nothing; another datagram does.
                waiting.bytes.push(b' ');
            }
            let output = Output::Send { to: waiting.to, bytes: waiting.bytes.clone() };
            return self.out.push_back(output);
        }
        match self.waiting.take().map(|waiting| waiting.what) {
            Some(What::Direct { name, text }) => self.save(&name, &text, now),
            Some(What::All) => self.line("[Server not responding.]"),
            _ => {
                self.line("[Server not responding]");
                self.line("[Existing]");
                self.out.push_back(Output::End { failed: true });
            }
        }
    }

    fn came(&mut self, from: SocketAddr, bytes: &[u8], now: &Now) {
        let Some(heard) = words::read(bytes) else { return };
        match heard {
            Heard::Message { to, text, from: author } => self.message(from, bytes, (to, text, author), now),
            Heard::Received(name) => {
                let expects = |what: &What| match what {
                    What::Direct { name: to, .. } | What::Relayed { name: to } => to == name,
                    _ => false,
                };
                if self
                    .waiting
                    .as_ref()
                    .is_some_and(|waiting| waiting.to == from && waiting.is_answered_by(bytes))
                    && self.settle(expects)
                {
                    self.line(format!("[Message received by {name}]"));
                }
            }
            // Everything else only the server says.
            _ if from != self.server => {}
            Heard::Saved | Heard::Grouped | Heard::Nobody(_)
                if self.waiting.as_ref().is_some_and(|waiting| !waiting.is_answered_by(bytes)) => {}
            Heard::Channel(line) => self.channel(from, bytes, line, now),
            heard => self.told(&heard),
        }
    }

    /// Ends the waiting for this, if that is what is waited for.
    fn settle(&mut self, is_it: impl FnOnce(&What) -> bool) -> bool {
        let settled = self.waiting.as_ref().is_some_and(|waiting| is_it(&waiting.what));
        if settled {
            self.waiting = None;
        }
        settled
    }

    /// What the server says.
    fn told(&mut self, heard: &Heard<'_>) {
        match heard {
            Heard::Registered { plain } if self.settle(|what| *what == What::Register) => {
                self.state = State::Online;
                self.line("[Welcome, You are registered.]");
                if *plain {
                    // A second datagram proves the address; the server then tells who else there is.
                    let bytes = self.named("reg").into_bytes();
                    self.out.push_back(Output::Send { to: self.server, bytes });
                }
            }
            Heard::PleaseSignIn if self.settle(|what| matches!(what, What::Register | What::Reg)) => {
                self.line("[Please sign in.]");
            }
            Heard::WelcomeBack => self.welcome_back(),
            Heard::Offline if self.settle(|what| *what == What::SignOut) => {
                self.state = State::Offline;
                self.line("[You are Offline. Bye.]");
            }
            Heard::Saved if self.settle(|what| matches!(what, What::Saved { .. })) => {
                self.line("[Messages received by the server and saved]");
            }
            Heard::Nobody(name)
                if self.settle(|what| matches!(what, What::Saved { name: to } if to == name)) =>
            {
                self.line(format!("[Client {name} exits!!!]"));
            }
            Heard::Grouped if self.settle(|what| *what == What::All) => {
                self.line("[Message received by Server.]");
            }
            Heard::Here(name, address) => self.row(name, Some(*address), true),
            Heard::Online(name) => self.row(name, None, true),
            Heard::Gone(name) => self.row(name, None, false),
            Heard::Stored(line) => {
                // Its acknowledgement may come later, or be lost.
                self.welcome_back();
                if self.state == State::Online {
                    self.line(*line);
                }
            }
            _ => {}
        }
    }

    fn welcome_back(&mut self) {
        if self.settle(|what| *what == What::Reg) {
            self.state = State::Online;
            self.recent.clear();
            self.line("[Welcome Back]");
        }
    }

    /// Somebody is there, or no longer. "Applied but not printed while offline."
    fn row(&mut self, name: &str, address: Option<SocketAddr>, online: bool) {
        if self.is_me(name) {
            return;
        }
        let is_news = match (self.table.get_mut(name), address) {
            (Some(row), address) => {
                let before = (row.address, row.online);
                row.address = address.unwrap_or(row.address);
                row.online = online;
                before != (row.address, row.online)
            }
            (None, Some(address)) => {
                self.table.insert(name.to_owned(), Row { address, online });
                true
            }
            (None, None) => false,
        };
        if is_news && self.state == State::Online {
            self.line("[client table updated.]");
        }
    }

    /// "Channel-Message SENDER: text", which the server repeats until it is acknowledged.
    fn channel(&mut self, from: SocketAddr, bytes: &[u8], line: &str, now: &Now) {
        if self.state != State::Online {
            return;
        }
        let copy = self.copy(from, bytes, now);
        if copy.is_none() {
            self.line(format!("Channel-Message {line}"));
        }
        if copy != Some(Copy::Old) {
            let mark = self.number();
            let bytes = format!("ack_channel [Message received by {}]{mark}", self.name).into_bytes();
            self.out.push_back(Output::Send { to: from, bytes });
        }
    }

    /// A message to this client, from the server or from whom it says; "messages to an offline client are not shown
    /// and not acknowledged".
    fn message(&mut self, from: SocketAddr, bytes: &[u8], said: (&str, &str, &str), now: &Now) {
        let (to, text, author) = said;
        let is_server = from == self.server;
        let is_author = self.table.get(author).is_some_and(|row| row.address == from);
        if self.state != State::Online || !self.is_me(to) || !is_server && !is_author {
            return;
        }
        let copy = self.copy(from, bytes, now);
        if copy.is_none() && !self.came_directly(is_server, author, text, now) {
            self.line(format!("{author}: {text}"));
        }
        if copy != Some(Copy::Old) {
            let mut answer = format!("ack_on [Message received by {}]", self.name).into_bytes();
            match is_server {
                true => answer.extend(self.number().bytes()),
                false => answer.extend(words::mark_of(bytes)),
            }
            self.out.push_back(Output::Send { to: from, bytes: answer });
        }
    }

    /// Whether this came before, and is only said again.
    fn copy(&mut self, from: SocketAddr, bytes: &[u8], now: &Now) -> Option<Copy> {
        let marked = !words::mark_of(bytes).is_empty();
        let is_latest =
            |at: usize, recent: &VecDeque<Came>| !recent.iter().skip(at + 1).any(|later| later.from == from);
        let found = self.recent.iter().rposition(|came| {
            let is_late = !marked && now.at > came.at + COPY_WITHIN;
            came.from == from && came.bytes == bytes && !is_late
        });
        if let Some(at) = found {
            // An acknowledgement of something older would be taken for one of what waits now.
            return Some(if is_latest(at, &self.recent) { Copy::Latest } else { Copy::Old });
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Came { from, bytes: bytes.to_vec(), at: now.at });
        None
    }

    /// Whether the server brings what its sender has brought already, not having heard that it arrived.
    fn came_directly(&mut self, is_server: bool, author: &str, text: &str, now: &Now) -> bool {
        self.direct.retain(|(_, _, at)| now.at <= *at + AGAIN_BY_SERVER);
        if is_server {
            let known = self.direct.iter().position(|(by, what, _)| by == author && what == text);
            return known.and_then(|at| self.direct.remove(at)).is_some();
        }
        if self.direct.len() >= RECENT_MAX {
            self.direct.pop_front();
        }
        self.direct.push_back((author.to_owned(), text.to_owned(), now.at));
        false
    }
}

/// How a copy stands to what else came from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    Latest,
    Old,
}

#[cfg(test)]
mod tests;
