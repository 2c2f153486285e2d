//! One HTTP request: logging in, asking for the contacts, and what administrators do.
//!
//! "Always 200": what is wrong stands in the answer's body.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_protocol::{Answer, Query, Refused, SignedIn, UserId};
use serde::Serialize;

use super::{
    ADMIN, DOOR, Purpose, Shared,
    directory::Directory,
    group, pair,
    wire::{self, Credentials, Outcome, Request},
};
use crate::{Given, LinkId, Question, Seat, desk::device};

/// One request.
pub(super) struct Asked {
    link: LinkId,
    /// What is answered once a token has ended.
    answer: Vec<u8>,
}

/// For what something was asked.
pub(super) enum Doing {
    LogIn,
    /// Signing in with a token that is to end, and out again.
    EnterOld,
    LeaveOld,
    Enter {
        name: String,
        by_name: bool,
    },
    Directory(Box<Contacts>),
    Online(Box<Contacts>),
    Administrator(Order),
    Leave {
        token: String,
    },
    OnlineForAdmin {
        me: UserId,
    },
}

/// Whose contacts are asked for.
pub(super) struct Contacts {
    seat: Seat,
    name: String,
    directory: Directory,
}

/// What an administrator wants.
pub(super) enum Order {
    Info,
    Kill { name: Option<String> },
}

/// "`contacts` = {other name: room}, `currently_online` = [names], `all_existing_contacts` = [names] (sorted)."
#[derive(Serialize)]
struct ContactsList {
    contacts: BTreeMap<String, String>,
    currently_online: Vec<String>,
    all_existing_contacts: BTreeSet<String>,
}

#[derive(Serialize)]
struct LoggedIn<'a> {
    result: &'static str,
    token: &'a str,
}

#[derive(Serialize)]
struct OnlineClients {
    online_clients_list: Vec<String>,
}

impl Asked {
    pub(super) fn new(link: LinkId) -> Self {
        Self { link, answer: Vec::new() }
    }

    fn ask(&self, doing: Doing, question: Question, shared: &mut Shared) {
        shared.desk.ask(self.link, Purpose::Request(doing), question);
    }

    fn answer(&self, status: u16, body: &impl Serialize, shared: &mut Shared) {
        self.say(wire::respond(status, body), shared);
    }

    fn say(&self, answer: Vec<u8>, shared: &mut Shared) {
        shared.desk.send(self.link, answer);
        shared.desk.close(self.link);
    }

    /// The request itself.
    pub(super) fn request(&mut self, request: &Request, shared: &mut Shared) {
        let (method, path) = (request.method.as_str(), request.path.as_str());
        match (method, path) {
            ("POST", "/log_in") => self.log_in(request, shared),
            ("POST", "/admin/get_info" | "/admin/kill_token") => self.administer(request, shared),
            ("GET", path) if path.starts_with("/get_contacts_list/") => self.contacts(request, shared),
            (_, "/log_in" | "/admin/get_info" | "/admin/kill_token") => {
                self.answer(405, &Outcome::error("method not allowed"), shared);
            }
            _ => self.answer(404, &Outcome::error("not found"), shared),
        }
    }

    /// "`{"error":"Invalid Log In request"}` (a field missing)."
    fn log_in(&mut self, request: &Request, shared: &mut Shared) {
        let given = wire::body::<Credentials>(&request.body).unwrap_or_default();
        let (Some(username), Some(password)) = (given.username, given.password) else {
            return self.answer(200, &Outcome::error("Invalid Log In request"), shared);
        };
        self.ask(Doing::LogIn, Question::Token(device(DOOR, username, password)), shared);
    }

    fn contacts(&mut self, request: &Request, shared: &mut Shared) {
        let name = request.path.strip_prefix("/get_contacts_list/").and_then(wire::unescape);
        let Some(name) = name.filter(|name| !name.is_empty() && !name.contains('/')) else {
            return self.answer(404, &Outcome::error("not found"), shared);
        };
        match (&request.username, &request.jwt) {
            (Some(username), Some(jwt)) if *username == name => {
                let question = Question::Enter { token: jwt.clone() };
                self.ask(Doing::Enter { name, by_name: false }, question, shared);
            }
            (Some(_), Some(_)) => self.answer(200, &Outcome::invalid_jwt(), shared),
            (None, None) if shared.desk.settings.open => {
                let question = Question::Guest { handle: name.clone() };
                self.ask(Doing::Enter { name, by_name: true }, question, shared);
            }
            _ => self.headers_missing(shared),
        }
    }

    fn headers_missing(&self, shared: &mut Shared) {
        let text = "The 'get_contact_list' request headers must contain username and jwt fields";
        self.answer(200, &Outcome::error(text), shared);
    }

    fn administer(&mut self, request: &Request, shared: &mut Shared) {
        let given = wire::body::<Credentials>(&request.body).unwrap_or_default();
        let order = match request.path.as_str() {
            "/admin/get_info" => Order::Info,
            _ => Order::Kill { name: given.user_token_terminate },
        };
        match (given.username, given.password) {
            (Some(username), Some(password)) => {
                let question = Question::SignIn(device(DOOR, username, password));
                self.ask(Doing::Administrator(order), question, shared);
            }
            _ => self.denied(shared),
        }
    }

    /// "`{"error":"Admin access denied"}`." A wrong password gets the same: "there it gives HTTP 500".
    fn denied(&self, shared: &mut Shared) {
        self.answer(200, &Outcome::error("Admin access denied"), shared);
    }

    /// An answer to what was asked. Names a token that is to be ended, if there is one.
    pub(super) fn answered(
        &mut self,
        doing: Doing,
        result: Result<Given, Refused>,
        shared: &mut Shared,
    ) -> Option<String> {
        match (doing, result) {
            (Doing::LogIn, result) => return self.logged_in(result, shared),
            (Doing::EnterOld, Ok(Given::SignedIn(_))) => {
                self.ask(Doing::LeaveOld, Question::SignOut {}, shared);
            }
            // It had ended by itself, or it has now.
            (Doing::EnterOld | Doing::LeaveOld, _) => self.ended(shared),
            (Doing::Enter { name, .. }, Ok(Given::SignedIn(snapshot))) if snapshot.me.handle == name => {
                let contacts = Contacts { seat: Seat::new(&snapshot), name, directory: Directory::default() };
                let query = contacts.directory.query();
                self.ask(Doing::Directory(Box::new(contacts)), Question::Query(query), shared);
            }
            (Doing::Enter { by_name: true, .. }, _) => self.headers_missing(shared),
            (Doing::Enter { .. }, _) => self.answer(200, &Outcome::invalid_jwt(), shared),
            (Doing::Directory(mut contacts), result) => {
                if contacts.directory.take(result.as_ref().ok()) {
                    let query = contacts.directory.query();
                    self.ask(Doing::Directory(contacts), Question::Query(query), shared);
                } else {
                    let query = Query::Online { conversation: None };
                    self.ask(Doing::Online(contacts), Question::Query(query), shared);
                }
            }
            (Doing::Online(contacts), result) => {
                let list = contacts.list(result.ok(), shared);
                self.answer(200, &list, shared);
            }
            (Doing::Administrator(order), Ok(Given::SignedIn(snapshot))) if snapshot.me.admin => {
                self.obey(order, snapshot.me.id, shared);
            }
            (Doing::Administrator(_), _) => self.denied(shared),
            (Doing::Leave { token }, _) => return Some(token),
            (Doing::OnlineForAdmin { me }, result) => {
                // Asking makes nobody appear.
                let is_there =
                    |user: UserId| !shared.is_coming(user) && (user != me || shared.has_appeared(me));
                let list = OnlineClients { online_clients_list: names(result.ok(), is_there, shared) };
                self.answer(200, &list, shared);
            }
        }
        None
    }

    /// "A new login replaces the previous token."
    fn logged_in(&mut self, result: Result<Given, Refused>, shared: &mut Shared) -> Option<String> {
        let Ok(Given::Token(SignedIn { user, token: Some(token), .. })) = result else {
            // Also for one who tries too often: there is no other word, and none would be read.
            self.answer(200, &Outcome::Result("Invalid credentials"), shared);
            return None;
        };
        self.answer = wire::respond(200, &LoggedIn { result: "success", token: &token });
        let old = shared.tokens.insert(user, token);
        if old.is_none() {
            self.ended(shared);
        }
        old
    }

    /// Ends a token. `sits`: a connection is signed in with it and signs out itself.
    pub(super) fn end(&mut self, token: String, sits: bool, shared: &mut Shared) {
        if sits {
            self.ended(shared);
        } else {
            self.ask(Doing::EnterOld, Question::Enter { token }, shared);
        }
    }

    fn ended(&mut self, shared: &mut Shared) {
        let answer = std::mem::take(&mut self.answer);
        self.say(answer, shared);
    }

    fn obey(&mut self, order: Order, me: UserId, shared: &mut Shared) {
        match order {
            Order::Info => {
                let query = Query::Online { conversation: None };
                self.ask(Doing::OnlineForAdmin { me }, Question::Query(query), shared);
            }
            Order::Kill { name } => {
                let name = name.unwrap_or_default();
                let user = shared.desk.people.by_handle(&name).filter(|profile| profile.handle == name);
                let token = user.map(|profile| profile.id).and_then(|user| shared.tokens.remove(&user));
                match token {
                    // The administrator's own session makes way for the one that is to be ended.
                    Some(token) => {
                        self.answer = wire::respond(200, &Outcome::SUCCESS);
                        self.ask(Doing::Leave { token }, Question::SignOut {}, shared);
                    }
                    None => {
                        let text = format!("No JWT for user {name}");
                        self.answer(200, &Outcome::error(text), shared);
                    }
                }
            }
        }
    }
}

impl Contacts {
    fn list(&self, online: Option<Given>, shared: &Shared) -> ContactsList {
        let me = self.seat.me;
        let others = self.directory.users().iter().filter(|user| **user != me);
        let mut all: BTreeSet<String> = others.map(|user| shared.desk.people.handle(*user)).collect();
        all.insert(ADMIN.to_owned());
        let mut contacts: BTreeMap<String, String> =
            all.iter().map(|other| (other.clone(), pair(&self.name, other))).collect();
        contacts.remove(&self.name);
        all.insert(self.name.clone());
        for room in self.seat.rooms().filter(|room| room.peer.is_none() && !room.closed) {
            let (room_name, mut name) = (group(room), room.name.clone());
            if contacts.contains_key(&name) || name == self.name {
                name = format!("{name} ({room_name})");
            }
            contacts.insert(name, room_name);
        }
        let is_there = |user: UserId| {
            self.directory.contains(user)
                && !shared.is_coming(user)
                && (user != me || shared.has_appeared(me))
        };
        let currently_online = names(online, is_there, shared);
        ContactsList { contacts, currently_online, all_existing_contacts: all }
    }
}

fn names(online: Option<Given>, is_there: impl Fn(UserId) -> bool, shared: &Shared) -> Vec<String> {
    let Some(Given::Answer(Answer::Online(online))) = online else { return Vec::new() };
    let there = online.iter().map(|one| one.user).filter(|user| is_there(*user));
    let mut names: Vec<_> = there.map(|user| shared.desk.people.handle(user)).collect();
    names.sort_unstable();
    names
}
