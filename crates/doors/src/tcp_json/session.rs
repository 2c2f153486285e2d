//! One client of the door: what it asked, and what it may be told.
//!
//! "Answers come in request order per connection": one request at a time waits for its answer, the next ones wait
//! in the stream. Only `send_chat`, which has no answer, does not wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chinwag_protocol::{
    Anchor, Answer, ClientSignal, Command, ConversationId, ConversationKind, ConversationView, Device, Entry,
    Event, History, HistoryPage, LogId, ProfileChange, Query, Refused, Reply as Replied, SearchPage, Seq,
    UserId,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Shared,
    wire::{CHARACTERS_MAX, Frames, Number, Request, frame},
};
use crate::{AskId, Given, LinkId, Moment, Output, Question, Room, Seat, people::fold, words};

/// The old server counts groups from here; 200000 itself is the client's own "System" chat.
const GROUPS_FROM: u32 = 200_000;

/// How long a frame that has begun may take: a client never stops in the middle of one.
const FRAME_WITHIN: Duration = Duration::from_secs(10);

/// Requests that may wait in the stream, in bytes; one frame may be longer than a few short ones.
const WAITING_MAX: usize = 1024 * 1024;

/// Results of a search in one frame, at most; and how many characters they may have together.
const RESULTS_MAX: u16 = 100;
const RESULTS_CHARACTERS_MAX: usize = CHARACTERS_MAX - 1_000;

/// Entries of history looked at at once.
const PAGE: u16 = 200;

/// The actions of a signed-in client that have an answer.
const ANSWERED: &[&str] = &[
    "load_history",
    "time",
    "poem",
    "create_group",
    "join_group",
    "search_chat_history",
    "leave_group",
    "logout",
];

/// One client.
pub(super) struct Session {
    link: LinkId,
    frames: Frames,
    doing: Option<(AskId, Doing)>,
    place: Option<Place>,
}

/// Where a signed-in client is.
struct Place {
    seat: Seat,
    /// How the client calls each conversation it has seen, in an answer or in its list. "Never send `recv_chat`
    /// for a group the client has not seen: a KeyError ends its receiver."
    spelled: BTreeMap<ConversationId, String>,
    posts: u64,
    /// Sent but perhaps not yet on its way: up to which entry of each conversation.
    written: BTreeMap<ConversationId, Seq>,
}

/// The request that waits for its answer.
enum Doing {
    Login { username: String },
    Register { username: String, password: String },
    Time,
    Poem { index: u32 },
    Create { name: String },
    Find { name: String },
    FindUser { name: String },
    Join { name: String, conversation: Option<ConversationId> },
    Search { term: String },
    Leave(Leaving),
    Logout { username: String },
}

/// Leaving deletes one's own messages first: "deletes the leaver's own messages of that group".
struct Leaving {
    name: String,
    conversation: ConversationId,
    own: Vec<Seq>,
    step: LeaveStep,
}

enum LeaveStep {
    Looking,
    Deleting,
    Leaving,
}

/// An answer, in the order of keys that the old server wrote.
#[derive(Default, Serialize)]
struct Said<'a> {
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    /// The document calls it so.
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<&'a str>,
}

/// What everybody in a group is sent.
#[derive(Serialize)]
struct Chat<'a> {
    action: &'static str,
    send_from: &'a str,
    send_to: u32,
    message: &'a str,
}

fn group_id(conversation: ConversationId) -> u32 {
    GROUPS_FROM.saturating_add(conversation.0)
}

impl Session {
    pub(super) fn new(link: LinkId) -> Self {
        Self { link, frames: Frames::default(), doing: None, place: None }
    }

    /// Bytes of the client.
    pub(super) fn bytes(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) {
        self.frames.feed(bytes);
        self.go_on(now, shared);
    }

    /// Takes the requests that can be taken now.
    fn go_on(&mut self, now: Moment, shared: &mut Shared) {
        while self.doing.is_none() {
            match self.frames.next() {
                Ok(Some(text)) => match serde_json::from_str::<Request>(&text) {
                    Ok(request) => self.request(request, shared),
                    // "Not JSON: answer what can be answered, then close that connection only."
                    Err(_) => return self.close(shared),
                },
                Ok(None) => break,
                Err(_broken) => return self.close(shared),
            }
        }
        if self.frames.len() > WAITING_MAX {
            self.close(shared);
        } else if self.frames.len() == 0 || self.doing.is_some() {
            shared.timers.clear(self.link);
        } else if shared.timers.get(self.link).is_none() {
            shared.timers.set(self.link, now + FRAME_WITHIN);
        }
    }

    /// A frame was begun and never finished.
    pub(super) fn too_slow(&mut self, shared: &mut Shared) {
        self.close(shared);
    }

    fn close(&self, shared: &mut Shared) {
        shared.out.push_back(Output::Close { link: self.link });
    }

    /// The link is gone, or about to be.
    pub(super) fn gone(self, shared: &mut Shared) {
        shared.timers.clear(self.link);
        if let Some(place) = self.place {
            shared.here.remove(&place.seat.me);
        }
    }

    fn say(&self, said: &Said<'_>, shared: &mut Shared) {
        match frame(said) {
            Some(bytes) => shared.out.push_back(Output::Send { link: self.link, bytes }),
            // Only what the client itself sent can be so long, and it has to be answered.
            None => self.close(shared),
        }
    }

    fn say_no(&self, action: &str, message: &str, shared: &mut Shared) {
        self.say(&Said { action, status: Some(false), message: Some(message), ..Said::default() }, shared);
    }

    /// Only a known action has an answer, and `send_chat` never: "its receiver thread ends silently".
    fn say_no_if_known(&self, action: &str, message: &str, shared: &mut Shared) {
        if ANSWERED.contains(&action) {
            self.say_no(action, message, shared);
        }
    }

    fn ask(&mut self, doing: Doing, question: Question, shared: &mut Shared) {
        let ask = shared.ask(self.link);
        self.doing = Some((ask, doing));
        shared.out.push_back(Output::Ask { ask, link: self.link, question: Box::new(question) });
    }

    fn command(&mut self, doing: Doing, command: Command, shared: &mut Shared) {
        self.ask(doing, Question::Command(command), shared);
    }

    fn query(&mut self, doing: Doing, query: Query, shared: &mut Shared) {
        self.ask(doing, Question::Query(query), shared);
    }

    fn request(&mut self, request: Request, shared: &mut Shared) {
        let action = match request.action.as_str() {
            // The document's own spelling.
            "regster" => "register",
            other => other,
        };
        match action {
            "login" => self.login(request, shared),
            "register" => self.register(request, shared),
            "exit" => self.close(shared),
            _ if self.place.is_none() => self.say_no_if_known(action, "You are not logged in.", shared),
            // "A name in a message body is compared and refused if it differs."
            _ if !self.is_own(request.send_from.as_deref(), shared) => {
                self.say_no_if_known(action, "This is not your name.", shared);
            }
            "load_history" => self.load_history(shared),
            "time" => self.ask(Doing::Time, Question::Time {}, shared),
            "poem" => match request.index.or(request.target).and_then(|index| index.positive()) {
                Some(index) => self.ask(Doing::Poem { index }, Question::Poem { number: index }, shared),
                None => self.no_poem(None, shared),
            },
            "create_group" => self.create(request.group_name, shared),
            "join_group" => self.join(request.group_name, shared),
            "send_chat" => self.send_chat(&request, shared),
            "search_chat_history" => self.search(request.term.or(request.search_term), shared),
            "leave_group" => self.leave(request.group_name, shared),
            "logout" => {
                let username = self.place.as_ref().map(|place| shared.people.handle(place.seat.me));
                let username = username.unwrap_or_default();
                self.ask(Doing::Logout { username }, Question::SignOut {}, shared);
            }
            // "Never send an action outside the table": there is no answer to what is not in it.
            _ => {}
        }
    }

    fn is_own(&self, send_from: Option<&str>, shared: &Shared) -> bool {
        let Some(place) = &self.place else { return false };
        send_from.is_none_or(|name| fold(name) == fold(&shared.people.handle(place.seat.me)))
    }

    fn login(&mut self, request: Request, shared: &mut Shared) {
        let (Some(username), Some(password)) = (request.username, request.password) else {
            return self.say_no("login", "A username and a password are needed.", shared);
        };
        if self.place.is_some() || shared.is_here(&username) {
            return self.duplicate(&username, shared);
        }
        let question = Question::SignIn(device(username.clone(), password));
        self.ask(Doing::Login { username }, question, shared);
    }

    fn duplicate(&self, username: &str, shared: &mut Shared) {
        let message = format!("Duplicated login attempt: {username} has already logged in!");
        self.say(
            &Said {
                action: "login",
                status: Some(false),
                username: Some(username),
                message: Some(&message),
                ..Said::default()
            },
            shared,
        );
    }

    fn register(&mut self, request: Request, shared: &mut Shared) {
        let (Some(username), Some(password)) = (request.username, request.password) else {
            let message = "A username and a password are needed.";
            let no = Said {
                action: "register",
                status: Some(false),
                message: Some(message),
                msg: Some(message),
                ..Said::default()
            };
            return self.say(&no, shared);
        };
        // "register must not log the user in: the client sends login at once."
        let device = device(username.clone(), password.clone());
        let question = Question::Register { device, profile: ProfileChange::default() };
        self.ask(Doing::Register { username, password }, question, shared);
    }

    fn load_history(&mut self, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        let rooms: Vec<Room> = place.seat.rooms().filter(|room| !room.closed).cloned().collect();
        for room in &rooms {
            place.spell(room, None, shared);
        }
        let list: Vec<Value> =
            rooms.iter().map(|room| json!([group_id(room.id), place.spelled[&room.id]])).collect();
        let said = |list: &[Value]| {
            frame(&Said {
                action: "load_history",
                status: Some(true),
                result: Some(Value::Array(list.to_vec())),
                ..Said::default()
            })
        };
        let mut count = list.len();
        while said(&list[..count]).is_none() {
            count = count * 9 / 10;
        }
        for room in &rooms[count..] {
            place.spelled.remove(&room.id);
        }
        if let Some(bytes) = said(&list[..count]) {
            shared.out.push_back(Output::Send { link: self.link, bytes });
        }
        shared.out.push_back(Output::Hold { link: self.link, hold: false });
    }

    fn create(&mut self, name: Option<String>, shared: &mut Shared) {
        let (Some(name), Some(place)) = (name, &mut self.place) else {
            return self.say_no("create_group", "A group needs a name.", shared);
        };
        let command = Command::CreateConversation {
            client_id: place.client_id(),
            kind: ConversationKind::Group,
            name: name.clone(),
            handle: None,
            topic: String::new(),
            public: true,
            history: History::All,
            posting: None,
            members: Vec::new(),
        };
        self.command(Doing::Create { name }, command, shared);
    }

    fn join(&mut self, name: Option<String>, shared: &mut Shared) {
        let (Some(name), Some(place)) = (name, &self.place) else {
            return self.say_no("join_group", "A group has a name.", shared);
        };
        if let Some((id, spelled)) = place.spelled.iter().find(|(_, spelled)| **spelled == name) {
            let message = format!(
                "user: '{}' has already joined group: '{spelled}'.",
                shared.people.handle(place.seat.me)
            );
            let said = Said {
                action: "join_group",
                status: Some(false),
                group_name: Some(spelled),
                group_id: Some(group_id(*id).into()),
                message: Some(&message),
                ..Said::default()
            };
            return self.say(&said, shared);
        }
        if let Some(handle) = name.strip_prefix('@') {
            let query = Query::Handle { handle: handle.to_owned() };
            return self.query(Doing::FindUser { name }, query, shared);
        }
        // His own group that he has just made, or one that appeared after the list: he is in it already.
        let own =
            place.seat.rooms().find(|room| room.peer.is_none() && is_called(room, &name)).map(|room| room.id);
        if let Some(conversation) = own {
            return self.joined(&name, conversation, shared);
        }
        let query = Query::FindConversations { text: name.clone(), limit: 50 };
        self.query(Doing::Find { name }, query, shared);
    }

    fn joined(&mut self, name: &str, conversation: ConversationId, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        let room = place.seat.room(conversation).cloned();
        place.spell_as(conversation, room.as_ref(), name, shared);
        let spelled = place.spelled[&conversation].clone();
        let message =
            format!("{} has joined group #{}", shared.people.handle(place.seat.me), group_id(conversation));
        let said = Said {
            action: "join_group",
            status: Some(true),
            group_name: Some(&spelled),
            group_id: Some(group_id(conversation).into()),
            message: Some(&message),
            ..Said::default()
        };
        self.say(&said, shared);
    }

    fn no_such_group(&self, action: &str, name: &str, shared: &mut Shared) {
        let message = format!("group: '{name}' does not exist.");
        let said = Said {
            action,
            status: Some(false),
            group_name: Some(name),
            group_id: (action == "join_group").then_some(Value::Null),
            message: Some(&message),
            ..Said::default()
        };
        self.say(&said, shared);
    }

    /// "None; everybody in the group incl. sender gets `recv_chat`."
    fn send_chat(&mut self, request: &Request, shared: &mut Shared) {
        let (Some(place), Some(text)) = (&mut self.place, &request.message) else { return };
        let to = request.send_to.as_ref().and_then(Number::positive);
        let Some(conversation) = to.and_then(|to| to.checked_sub(GROUPS_FROM)).map(ConversationId) else {
            return;
        };
        if place.seat.room(conversation).is_none() {
            return;
        }
        let command = Command::Post {
            conversation,
            client_id: place.client_id(),
            text: text.trim_end().to_owned(),
            attachments: Vec::new(),
            reply_to: None,
            thread: None,
        };
        let ask = shared.ask(self.link);
        let question = Box::new(Question::Command(command));
        shared.out.push_back(Output::Ask { ask, link: self.link, question });
    }

    fn search(&mut self, term: Option<String>, shared: &mut Shared) {
        let Some(term) = term else {
            return self.say_no("search_chat_history", "A term is needed.", shared);
        };
        // "The term is split on single spaces; every word must occur": a colon or a quote in it means itself.
        let words: Vec<_> = term
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| format!("\"{}\"", word.replace('"', " ")))
            .collect();
        let query = Query::Search { text: words.join(" "), page: None, limit: RESULTS_MAX };
        self.query(Doing::Search { term }, query, shared);
    }

    fn found(&self, term: &str, page: &SearchPage, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let (mut results, mut characters, mut capped) = (Vec::new(), 0, page.next.is_some());
        for hit in &page.hits {
            let Some(text) = place.result(&hit.item.entry, hit.item.state.as_ref(), shared) else { continue };
            // As long as it is in the frame: in ASCII, with its quotes and comma.
            let length = frame(&text).map_or(CHARACTERS_MAX, |bytes| bytes.len());
            if characters + length > RESULTS_CHARACTERS_MAX {
                capped = true;
                break;
            }
            characters += length;
            results.push(text);
        }
        results.reverse();
        let message = if capped {
            format!("Search from chat history successfully (the newest {} only)", results.len())
        } else {
            "Search from chat history successfully".to_owned()
        };
        let said = Said {
            action: "search_chat_history",
            status: Some(true),
            term: Some(term),
            result: Some(results.into()),
            message: Some(&message),
            ..Said::default()
        };
        self.say(&said, shared);
    }

    fn leave(&mut self, name: Option<String>, shared: &mut Shared) {
        let (Some(name), Some(place)) = (name, &self.place) else {
            return self.say_no("leave_group", "A group has a name.", shared);
        };
        let spelled = place.spelled.iter().find(|(_, spelled)| **spelled == name).map(|(id, _)| *id);
        let own = || place.seat.rooms().find(|room| is_called(room, &name)).map(|room| room.id);
        let Some(conversation) = spelled.or_else(own) else {
            return self.no_such_group("leave_group", &name, shared);
        };
        let leaving = Leaving { name, conversation, own: Vec::new(), step: LeaveStep::Looking };
        self.look_back(leaving, Anchor::Latest, shared);
    }

    fn look_back(&mut self, leaving: Leaving, anchor: Anchor, shared: &mut Shared) {
        let query = Query::History { conversation: leaving.conversation, anchor, limit: PAGE };
        self.query(Doing::Leave(leaving), query, shared);
    }

    fn leave_on(&mut self, mut leaving: Leaving, result: Result<Given, Refused>, shared: &mut Shared) {
        match (&leaving.step, result) {
            (LeaveStep::Looking, Ok(Given::Answer(Answer::History(page)))) => {
                let Some(place) = &self.place else { return };
                leaving.own.extend(own_messages(&page, place.seat.me));
                match page.items.first() {
                    Some(first) if page.more_before => {
                        return self.look_back(leaving, Anchor::Before(first.entry.seq), shared);
                    }
                    _ => leaving.step = LeaveStep::Deleting,
                }
            }
            (LeaveStep::Leaving, Ok(_)) => return self.left(&leaving, shared),
            (LeaveStep::Leaving | LeaveStep::Looking, result) => {
                let why = result.err().map_or_else(String::new, |refused| refused.message);
                return self.say(
                    &Said {
                        action: "leave_group",
                        status: Some(false),
                        group_name: Some(&leaving.name),
                        message: Some(&why),
                        ..Said::default()
                    },
                    shared,
                );
            }
            // A message that can no longer be deleted stays; one leaves all the same.
            (LeaveStep::Deleting, _) => {}
        }
        let conversation = leaving.conversation;
        let command = if let Some(message) = leaving.own.pop() {
            Command::Delete { conversation, message }
        } else {
            leaving.step = LeaveStep::Leaving;
            Command::Leave { conversation }
        };
        self.command(Doing::Leave(leaving), command, shared);
    }

    fn left(&mut self, leaving: &Leaving, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.spelled.remove(&leaving.conversation);
        let message = format!(
            "{} has left group #{}",
            shared.people.handle(place.seat.me),
            group_id(leaving.conversation)
        );
        let said = Said {
            action: "leave_group",
            status: Some(true),
            group_name: Some(&leaving.name),
            message: Some(&message),
            ..Said::default()
        };
        self.say(&said, shared);
    }

    fn no_poem(&self, index: Option<u32>, shared: &mut Shared) {
        let message = "There is no such poem.";
        let said = Said {
            action: "poem",
            index,
            status: Some(false),
            result: Some(Value::Null),
            message: Some(message),
            ..Said::default()
        };
        self.say(&said, shared);
    }

    /// An answer to what was asked.
    pub(super) fn answered(
        &mut self,
        ask: AskId,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        // A post has no answer here: "a refused `send_chat` is silent".
        let Some((_, doing)) = self.doing.take_if(|(asked, _)| *asked == ask) else { return };
        self.done(doing, result, shared);
        self.go_on(now, shared);
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
            (Doing::Poem { index }, Ok(Given::Text(text))) => {
                let said = Said {
                    action: "poem",
                    index: Some(index),
                    status: Some(true),
                    result: Some(text.into()),
                    ..Said::default()
                };
                self.say(&said, shared);
            }
            (Doing::Poem { index }, Err(_)) => self.no_poem(Some(index), shared),
            (Doing::Create { name }, result) => self.created(&name, result.err(), shared),
            (Doing::FindUser { name }, Ok(Given::Answer(Answer::User(profile)))) => {
                let command = Command::OpenDirect { user: profile.id };
                self.command(Doing::Join { name, conversation: None }, command, shared);
            }
            (Doing::Find { name }, Ok(Given::Answer(Answer::Conversations(views)))) => {
                match views.iter().find(|view| view_is_called(view, &name)).map(|view| view.id) {
                    Some(conversation) => {
                        let doing = Doing::Join { name, conversation: Some(conversation) };
                        self.command(doing, Command::Join { conversation }, shared);
                    }
                    None => self.no_such_group("join_group", &name, shared),
                }
            }
            (Doing::Join { name, conversation }, Ok(Given::Reply(reply))) => {
                let opened = match reply {
                    Replied::Conversation { conversation } => Some(conversation),
                    _ => conversation,
                };
                match opened {
                    Some(conversation) => self.joined(&name, conversation, shared),
                    None => self.no_such_group("join_group", &name, shared),
                }
            }
            (Doing::Find { name } | Doing::FindUser { name } | Doing::Join { name, .. }, _) => {
                self.no_such_group("join_group", &name, shared);
            }
            (Doing::Search { term }, Ok(Given::Answer(Answer::Search(page)))) => {
                self.found(&term, &page, shared);
            }
            (Doing::Search { .. }, Err(refused)) => {
                self.say_no("search_chat_history", &refused.message, shared);
            }
            (Doing::Leave(leaving), result) => self.leave_on(leaving, result, shared),
            (Doing::Logout { username }, _) => {
                if let Some(place) = self.place.take() {
                    shared.here.remove(&place.seat.me);
                }
                let message = format!("{username} has logged out");
                let said =
                    Said { action: "logout", status: Some(true), message: Some(&message), ..Said::default() };
                self.say(&said, shared);
            }
            (Doing::Time, _) => self.say_no("time", "The server does not know the time.", shared),
            (Doing::Poem { .. } | Doing::Search { .. }, Ok(_)) => {}
        }
    }

    fn logged_in(&mut self, username: &str, result: Result<Given, Refused>, shared: &mut Shared) {
        let refused = match result {
            Ok(Given::SignedIn(snapshot)) if !shared.here.insert(snapshot.me.id) => {
                let ask = shared.ask(self.link);
                let question = Box::new(Question::SignOut {});
                shared.out.push_back(Output::Ask { ask, link: self.link, question });
                return self.duplicate(username, shared);
            }
            Ok(Given::SignedIn(snapshot)) => {
                self.place = Some(Place {
                    seat: Seat::new(&snapshot),
                    spelled: BTreeMap::new(),
                    posts: 0,
                    written: BTreeMap::new(),
                });
                // "No pushes between the login answer and the load_history answer."
                shared.out.push_back(Output::Hold { link: self.link, hold: true });
                let message = format!("Login successfully as: {username}.");
                let said = Said {
                    action: "login",
                    status: Some(true),
                    username: Some(username),
                    message: Some(&message),
                    ..Said::default()
                };
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
        let said = Said {
            action: "login",
            status: Some(false),
            username: Some(username),
            message: Some(&message),
            ..Said::default()
        };
        self.say(&said, shared);
    }

    fn registered(&self, username: &str, password: &str, refused: Option<Refused>, shared: &mut Shared) {
        let (status, message) = match refused {
            None => (true, format!("Register successfully as {username}")),
            Some(refused) if refused.kind == chinwag_protocol::Kind::Conflict => {
                (false, format!("Username: {username} has been used."))
            }
            Some(refused) => (false, refused.message),
        };
        let said = Said {
            action: "register",
            status: Some(status),
            username: status.then_some(username),
            // "On success also username and password: the client logs in with them." It is what it just sent.
            password: status.then_some(password),
            message: Some(&message),
            msg: Some(&message),
            ..Said::default()
        };
        self.say(&said, shared);
    }

    fn created(&self, name: &str, refused: Option<Refused>, shared: &mut Shared) {
        let (status, message) = match refused {
            None => (true, format!("group: '{name}' has been created.")),
            Some(refused) if refused.kind == chinwag_protocol::Kind::Conflict => {
                (false, format!("group name: '{name}' has been used."))
            }
            Some(refused) => (false, refused.message),
        };
        let said = Said {
            action: "create_group",
            status: Some(status),
            group_name: Some(name),
            message: Some(&message),
            ..Said::default()
        };
        self.say(&said, shared);
    }

    /// Something happened.
    pub(super) fn entry(&mut self, entry: &Entry, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.seat.apply(entry);
        let LogId::Conversation(conversation) = entry.log else { return };
        if !place.spelled.contains_key(&conversation) {
            return;
        }
        place.written.insert(conversation, entry.seq);
        let lines = words::lines(entry, &shared.settings.web, |user| shared.people.handle(user));
        let author = shared.people.handle(entry.by);
        for line in &lines {
            let chat = Chat {
                action: "recv_chat",
                send_from: &author,
                send_to: group_id(conversation),
                message: line.trim_end(),
            };
            if let Some(bytes) = frame(&chat) {
                shared.out.push_back(Output::Send { link: self.link, bytes });
            }
        }
        if lines.is_empty() {
            // Nothing was sent, so nothing has to leave first.
            self.drained(shared);
        }
    }

    /// What was sent is on its way: this is all that the wire lets us know of delivery.
    pub(super) fn drained(&mut self, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        for (conversation, delivered) in std::mem::take(&mut place.written) {
            let signal = ClientSignal::Cursor { conversation, delivered, read: Seq::ZERO };
            shared.out.push_back(Output::Signal { link: self.link, signal });
        }
    }
}

impl Place {
    fn client_id(&mut self) -> String {
        self.posts += 1;
        format!("tcp_json-{}-{}", self.seat.session, self.posts)
    }

    /// Decides how the client is to call a conversation, once. "A duplicate name in one list raises in the GUI."
    fn spell(&mut self, room: &Room, wish: Option<&str>, shared: &Shared) {
        let name = match (wish, room.peer) {
            (Some(wish), _) => wish.to_owned(),
            (None, Some(peer)) => format!("@{}", shared.people.handle(peer)),
            (None, None) => room.name.clone(),
        };
        self.spell_freely(room.id, &name);
    }

    fn spell_as(&mut self, id: ConversationId, room: Option<&Room>, wish: &str, shared: &Shared) {
        match room {
            Some(room) => self.spell(room, Some(wish), shared),
            None => self.spell_freely(id, wish),
        }
    }

    fn spell_freely(&mut self, id: ConversationId, name: &str) {
        if self.spelled.contains_key(&id) {
            return;
        }
        let taken: BTreeSet<&str> = self.spelled.values().map(String::as_str).collect();
        let free = std::iter::once(name.to_owned())
            .chain((2..).map(|number| format!("{name} ({number})")))
            .find(|name| !taken.contains(name.as_str()));
        self.spelled.extend(free.map(|name| (id, name)));
    }

    /// "`[DATE] in group #ID: NAME` newline `[USER] text`."
    fn result(
        &self,
        entry: &Entry,
        state: Option<&chinwag_protocol::MessageState>,
        shared: &Shared,
    ) -> Option<String> {
        let (LogId::Conversation(id), Event::Message(body)) = (entry.log, &entry.event) else { return None };
        let text = state.and_then(|state| state.text.as_ref()).unwrap_or(&body.text);
        let name = match (self.spelled.get(&id), self.seat.room(id)) {
            (Some(spelled), _) => spelled.clone(),
            (None, Some(room)) => room.name.clone(),
            (None, None) => String::new(),
        };
        let date = shared.settings.local(entry.at).strftime("%Y-%m-%d %H:%M:%S");
        let author = shared.people.handle(entry.by);
        Some(format!("[{date}] in group #{}: {name}\n[{author}] {text}", group_id(id)))
    }
}

fn device(handle: String, password: String) -> Device {
    Device { handle, password, device: "tcp_json".to_owned(), invite: None, cookie: false }
}

fn is_called(room: &Room, name: &str) -> bool {
    fold(&room.name) == fold(name) || room.handle.as_deref().is_some_and(|handle| fold(handle) == fold(name))
}

fn view_is_called(view: &ConversationView, name: &str) -> bool {
    fold(&view.name) == fold(name) || view.handle.as_deref().is_some_and(|handle| fold(handle) == fold(name))
}

fn own_messages(page: &HistoryPage, me: UserId) -> impl Iterator<Item = Seq> {
    page.items
        .iter()
        .filter(move |item| {
            item.entry.by == me
                && matches!(item.entry.event, Event::Message(_))
                && !item.state.as_ref().is_some_and(|state| state.deleted)
        })
        .map(|item| item.entry.seq)
}
