//! One client of the door: its requests, and coming and going.
//!
//! "Answers come in request order per connection": one request at a time waits for its answer, the next ones wait
//! in the stream. Only `send_chat`, which has no answer, does not wait.

use std::time::Duration;

use chinwag_protocol::{Command, ConversationId, Kind, ProfileChange, Query, Refused};
use serde_json::Value;

use super::{
    DOOR, Shared,
    groups::{Joining, Leaving},
    said::{self, LONG_MAX, Said, shortened},
    search::Searching,
    told::Place,
    wire::{Frames, Request, positive},
};
use crate::{Given, LinkId, Moment, Question, Seat, desk::device, people::fold};

/// How long a frame that has begun may take: a client never stops in the middle of one.
const FRAME_WITHIN: Duration = Duration::from_secs(10);

/// Requests that may wait in the stream, in bytes; one frame may be longer than a few short ones.
const WAITING_MAX: usize = 1024 * 1024;

const NO_NAME: &str = "A username and a password are needed.";

/// One client.
pub(super) struct Session {
    pub(super) link: LinkId,
    frames: Frames,
    /// A request waits for its answer.
    busy: bool,
    pub(super) place: Option<Place>,
    /// Nothing more is taken from it.
    pub(super) closed: bool,
}

/// For what something was asked: the request that waits for its answer.
pub(super) enum Doing {
    Login {
        username: String,
    },
    Register {
        username: String,
        password: String,
    },
    Time,
    Poem {
        index: Value,
    },
    Create {
        name: String,
    },
    Join(Joining),
    Search(Searching),
    Leave(Leaving),
    Logout {
        username: String,
    },
    /// No request waits for what was missed in a conversation.
    Missed(ConversationId),
    /// Nor for this, and nothing comes of it.
    Nothing,
}

impl Session {
    pub(super) fn new(link: LinkId) -> Self {
        Self { link, frames: Frames::default(), busy: false, place: None, closed: false }
    }

    /// Bytes of the client.
    pub(super) fn bytes(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) {
        if !self.closed {
            self.frames.feed(bytes);
            self.go_on(now, shared);
        }
    }

    /// Takes the requests that can be taken now.
    fn go_on(&mut self, now: Moment, shared: &mut Shared) {
        while !self.busy && !self.closed {
            match self.frames.next() {
                Ok(Some(text)) => {
                    shared.desk.timers.clear(self.link, ());
                    match Request::read(&text) {
                        Some(request) => self.request(&request, shared),
                        // "Not JSON: answer what can be answered, then close that connection only." Without an
                        // action there is nothing that this client would understand.
                        None => self.close(shared),
                    }
                }
                Ok(None) => break,
                Err(_broken) => self.close(shared),
            }
        }
        if self.frames.len() > WAITING_MAX {
            self.close(shared);
        }
        shared.desk.pause(self.link, self.busy && self.frames.len() > 0);
        if self.frames.len() == 0 || self.busy || self.closed {
            shared.desk.timers.clear(self.link, ());
        } else if !shared.desk.timers.is_set(self.link, ()) {
            shared.desk.timers.set(self.link, (), now + FRAME_WITHIN);
        }
    }

    /// Closes the link; also when a frame was begun and never finished.
    pub(super) fn close(&mut self, shared: &mut Shared) {
        if !std::mem::replace(&mut self.closed, true) {
            shared.desk.close(self.link);
        }
    }

    pub(super) fn say(&self, said: &Said<'_>, shared: &mut Shared) {
        shared.desk.send(self.link, said.frame());
    }

    fn refuse(&self, action: &str, request: &Request, message: &str, shared: &mut Shared) {
        if let Some(said) = Said::no(action, request, message) {
            self.say(&said, shared);
        }
    }

    pub(super) fn ask(&mut self, doing: Doing, question: Question, shared: &mut Shared) {
        self.busy = true;
        shared.desk.ask(self.link, doing, question);
    }

    pub(super) fn command(&mut self, doing: Doing, command: Command, shared: &mut Shared) {
        self.ask(doing, Question::Command(command), shared);
    }

    pub(super) fn query(&mut self, doing: Doing, query: Query, shared: &mut Shared) {
        self.ask(doing, Question::Query(query), shared);
    }

    fn request(&mut self, request: &Request, shared: &mut Shared) {
        let action = match request.text("action") {
            // The document's own spelling.
            Some("regster") => "register",
            Some(action) => action,
            None => return,
        };
        match action {
            "login" => self.login(request, shared),
            "register" => self.register(request, shared),
            "exit" => self.close(shared),
            _ if self.place.is_none() => self.refuse(action, request, "You are not logged in.", shared),
            // "A name in a message body is compared and refused if it differs."
            _ if !self.is_own(request, shared) => {
                shared.desk.foreign_name(self.link);
                self.refuse(action, request, "This is not your name.", shared);
            }
            "load_history" => self.load_history(shared),
            "time" => self.ask(Doing::Time, Question::Time {}, shared),
            "poem" => self.poem(request, shared),
            "create_group" | "join_group" | "leave_group" => match request.text("group_name") {
                Some(name) => self.about_group(action, name, shared),
                None => self.refuse(action, request, "A group has a name.", shared),
            },
            "send_chat" => self.send_chat(request, shared),
            "search_chat_history" => match said::term(request) {
                Some(term) => self.search(term, shared),
                None => self.refuse(action, request, "A term is needed.", shared),
            },
            "logout" => {
                let username = self.me(shared);
                self.ask(Doing::Logout { username }, Question::SignOut {}, shared);
            }
            // "Never send an action outside the table": there is no answer to what is not in it.
            _ => {}
        }
    }

    /// The name of whoever is signed in.
    pub(super) fn me(&self, shared: &Shared) -> String {
        self.place.as_ref().map(|place| shared.desk.people.handle(place.seat.me)).unwrap_or_default()
    }

    fn is_own(&self, request: &Request, shared: &Shared) -> bool {
        let is_own = |name: &str| fold(name) == fold(&self.me(shared));
        !request.is_odd("send_from") && request.text("send_from").is_none_or(is_own)
    }

    fn login(&mut self, request: &Request, shared: &mut Shared) {
        let (Some(username), Some(password)) = (request.text("username"), request.text("password")) else {
            return self.refuse("login", request, NO_NAME, shared);
        };
        if self.place.is_some() || shared.is_here(username) {
            return self.duplicate(username, shared);
        }
        let question = Question::SignIn(device(DOOR, username, password));
        self.ask(Doing::Login { username: username.to_owned() }, question, shared);
    }

    fn duplicate(&self, username: &str, shared: &mut Shared) {
        let message = format!("Duplicated login attempt: {username} has already logged in!");
        let said = Said { username: Some(username), ..Said::of("login", false, &message) };
        self.say(&said, shared);
    }

    fn register(&mut self, request: &Request, shared: &mut Shared) {
        let (Some(username), Some(password)) = (request.text("username"), request.text("password")) else {
            return self.refuse("register", request, NO_NAME, shared);
        };
        // "register must not log the user in: the client sends login at once."
        let question = Question::Register {
            device: device(DOOR, username, password),
            profile: ProfileChange::default(),
        };
        let doing = Doing::Register { username: username.to_owned(), password: password.to_owned() };
        self.ask(doing, question, shared);
    }

    fn poem(&mut self, request: &Request, shared: &mut Shared) {
        let index = said::index(request);
        match positive(&index) {
            Some(number) => self.ask(Doing::Poem { index }, Question::Poem { number }, shared),
            None => self.no_poem(index, shared),
        }
    }

    fn no_poem(&self, index: Value, shared: &mut Shared) {
        let no = Said::of("poem", false, "There is no such poem.");
        self.say(&Said { index: Some(index), result: Some(Value::Null), ..no }, shared);
    }

    /// An answer to what was asked.
    pub(super) fn answered(
        &mut self,
        doing: Doing,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        match doing {
            // A post has no answer here: "a refused `send_chat` is silent".
            Doing::Nothing => {}
            Doing::Missed(conversation) => self.was_missed(conversation, result.ok(), shared),
            doing => {
                self.busy = false;
                self.done(doing, result, shared);
                self.go_on(now, shared);
            }
        }
    }

    fn done(&mut self, doing: Doing, result: Result<Given, Refused>, shared: &mut Shared) {
        match (doing, result) {
            (Doing::Login { username }, result) => self.logged_in(&username, result, shared),
            (Doing::Register { username, password }, result) => {
                self.registered(&username, &password, result.err(), shared);
            }
            (Doing::Time, Ok(Given::Text(text))) => {
                // The bot says the zone too; "result = `YYYY-MM-DD HH:MM:SS` local time".
                let time: String = text.chars().take("YYYY-MM-DD HH:MM:SS".len()).collect();
                self.say(&Said { action: "time", result: Some(time.into()), ..Said::default() }, shared);
            }
            (Doing::Time, _) => {
                let message = "The server does not know the time.";
                let said = Said { result: Some(message.into()), ..Said::of("time", false, message) };
                self.say(&said, shared);
            }
            (Doing::Poem { index }, Ok(Given::Text(text))) => {
                let said = Said {
                    action: "poem",
                    index: Some(index),
                    status: Some(true),
                    result: Some(shortened(&text, LONG_MAX).into()),
                    ..Said::default()
                };
                self.say(&said, shared);
            }
            (Doing::Poem { index }, _) => self.no_poem(index, shared),
            (Doing::Create { name }, result) => self.created(&name, result.err(), shared),
            (Doing::Join(joining), result) => self.join_on(joining, result, shared),
            (Doing::Search(searching), result) => self.search_on(searching, result, shared),
            (Doing::Leave(leaving), result) => self.leave_on(leaving, result, shared),
            (Doing::Logout { username }, _) => {
                if let Some(place) = self.place.take() {
                    shared.here.remove(&place.seat.me);
                    // What he had missed is not for whoever comes after him.
                    shared.desk.forget_questions(self.link);
                }
                let message = format!("{username} has logged out");
                self.say(&Said::of("logout", true, &message), shared);
            }
            (Doing::Missed(_) | Doing::Nothing, _) => {}
        }
    }

    fn logged_in(&mut self, username: &str, result: Result<Given, Refused>, shared: &mut Shared) {
        let refused = match result {
            Ok(Given::SignedIn(snapshot)) if !shared.here.insert(snapshot.me.id) => {
                // Somebody of this account was faster on another connection.
                shared.desk.ask(self.link, Doing::Nothing, Question::SignOut {});
                return self.duplicate(username, shared);
            }
            Ok(Given::SignedIn(snapshot)) => {
                // "No pushes between the login answer and the load_history answer."
                let place = self.place.insert(Place::new(Seat::new(&snapshot)));
                place.hold(self.link, true, shared);
                let message = format!("Login successfully as: {username}.");
                let said = Said { username: Some(username), ..Said::of("login", true, &message) };
                return self.say(&said, shared);
            }
            Ok(_) => Refused::not_signed_in(),
            Err(refused) => refused,
        };
        let message = match refused.code.as_str() {
            "no_such_user" => format!("{username} is not registered!"),
            "wrong_password" => "password incorrect".to_owned(),
            _ => refused.message,
        };
        self.say(&Said { username: Some(username), ..Said::of("login", false, &message) }, shared);
    }

    fn registered(&self, username: &str, password: &str, refused: Option<Refused>, shared: &mut Shared) {
        let (status, message) = match refused {
            None => (true, format!("Register successfully as {username}")),
            Some(refused) if refused.kind == Kind::Conflict => {
                (false, format!("Username: {username} has been used."))
            }
            // "Unknown error has occured during registration", with what it was.
            Some(refused) => (false, refused.message),
        };
        let said = Said {
            // "On success also username and password: the client logs in with them." It is what it just sent.
            username: status.then_some(username),
            password: status.then_some(password),
            msg: Some(&message),
            ..Said::of("register", status, &message)
        };
        self.say(&said, shared);
    }
}
