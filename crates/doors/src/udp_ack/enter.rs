//! Who comes and goes at one address: `register`, `reg`, `signout`, and those whom the server has forgotten.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use chinwag_protocol::{Refused, UserId, UserKind};

use super::{
    DOOR, News, Shared,
    peer::{Doing, Peer, Place},
    table::Table,
};
use crate::{Moment, Question, Seat, desk::device, people::fold};

/// How somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Register,
    Reg,
    /// By a message: he was signed in, and the server has forgotten. Nothing is answered; he repeats it.
    Message,
}

/// Who wants in, and the datagram that is answered once he is.
pub(super) struct Entering {
    how: How,
    name: String,
    password: Option<String>,
    heard: Vec<u8>,
}

impl Entering {
    pub(super) fn new(how: How, name: &str, password: Option<&str>, heard: Vec<u8>) -> Self {
        Self { how, name: name.to_owned(), password: password.map(str::to_owned), heard }
    }
}

/// Accounts are made for so many addresses that may be forged in a minute, all of them together.
const STRANGERS_MAX: usize = 60;
const STRANGERS_WITHIN: Duration = Duration::from_secs(60);

const REGISTERED: &str = "registered [Welcome, You are registered.]";
const PLEASE_SIGN_IN: &str = "please_signin [Please sign in.]";
const WELCOME_BACK: &str = "reg_suc [Welcome Back]";
const OFFLINE: &str = "dereg_suc [You are Offline. Bye.]";

/// When addresses that may be forged came lately.
#[derive(Default)]
pub(super) struct Strangers(VecDeque<Moment>);

impl Strangers {
    fn take(&mut self, now: Moment) -> bool {
        while self.0.front().is_some_and(|first| *first + STRANGERS_WITHIN <= now) {
            self.0.pop_front();
        }
        let free = self.0.len() < STRANGERS_MAX;
        if free {
            self.0.push_back(now);
        }
        free
    }
}

impl Peer {
    /// "`register NAME` => registered, or please_signin if the name is taken." "`reg NAME`: online again."
    pub(super) fn come(&mut self, entering: Entering, now: Moment, shared: &mut Shared) {
        if self.place_of(&entering.name, shared).is_some() {
            // The same program, started anew at the same port: it knows nobody.
            self.welcome(&entering, shared);
            if self.proved {
                self.table = Table::default();
                self.ask_table(shared);
            }
            return;
        }
        let is_new = entering.how == How::Register && entering.password.is_none();
        if is_new && shared.desk.people.by_handle(&entering.name).is_some() {
            return self.answer(&entering.heard, PLEASE_SIGN_IN, shared);
        }
        self.enter(entering, now, shared);
    }

    fn welcome(&mut self, Entering { how, heard, .. }: &Entering, shared: &mut Shared) {
        match how {
            How::Register => self.answer(heard, REGISTERED, shared),
            How::Reg => self.answer(heard, WELCOME_BACK, shared),
            How::Message => self.forget(heard),
        }
    }

    fn enter(&mut self, entering: Entering, now: Moment, shared: &mut Shared) {
        if self.is_entering(shared) || !self.proved && !shared.strangers.take(now) {
            return self.forget(&entering.heard);
        }
        if let Some(place) = self.place.take() {
            // Another program at the port of one that ended without a word.
            self.leave(place.me(), shared);
        }
        let handle = entering.name.clone();
        let question = match &entering.password {
            None => Question::Guest { handle },
            Some(password) => Question::SignIn(device(DOOR, handle, password)),
        };
        self.ask(Doing::Enter(entering), question, shared);
    }

    /// A message of somebody who is not signed in here, but may believe he is: the server was started anew, or gave
    /// him up while his network was away. He is let in by his name, as with `reg`; he repeats the message.
    ///
    /// Not if he is elsewhere or has signed out: then it is a late copy, or not his.
    pub(super) fn remember(&mut self, name: &str, heard: Vec<u8>, now: Moment, shared: &mut Shared) {
        let known = shared.desk.people.by_handle(name).map(|profile| profile.id);
        let is_away =
            known.is_none_or(|user| !shared.here.contains_key(&user) && !shared.left.contains(&user));
        if self.place.is_none() && is_away {
            self.enter(Entering::new(How::Message, name, None, heard), now, shared);
        }
    }

    pub(super) fn entered(&mut self, seat: Seat, entering: &Entering, shared: &mut Shared) {
        let user = seat.me;
        if let Some((older, _)) = shared.here.insert(user, (self.link, self.address))
            && older != self.link
        {
            // "`reg` from a new address re-binds the name."
            shared.news.push_back(News::Moved(older));
        }
        shared.left.remove(&user);
        self.left = None;
        self.place = Some(Place::new(seat));
        self.came_by.clone_from(&entering.heard);
        // The others' rows come before the stored messages.
        shared.desk.hold(self.link, true);
        self.welcome(entering, shared);
        if self.proved {
            self.arrived(user, shared);
        }
    }

    /// Somebody is here, and so is his address: all are told of each other.
    pub(super) fn arrived(&mut self, user: UserId, shared: &mut Shared) {
        shared.news.push_back(News::Here(user, self.link));
        self.ask_table(shared);
    }

    pub(super) fn not_entered(&mut self, entering: &Entering, refused: &Refused, shared: &mut Shared) {
        let is_for_now = refused.retry_after_ms.is_some();
        if is_for_now || entering.how == How::Message {
            return self.forget(&entering.heard);
        }
        self.answer(&entering.heard, PLEASE_SIGN_IN, shared);
    }

    /// "`signout NAME` => dereg_suc, then `offline NAME` to the others." Only of oneself: "the same IP address, the
    /// port may be new", for guests, who are known by it.
    pub(super) fn sign_out(&mut self, name: &str, heard: &[u8], shared: &mut Shared) {
        if let Some(user) = self.place_of(name, shared).map(Place::me) {
            self.place = None;
            self.left = Some(fold(name));
            self.answer(heard, OFFLINE, shared);
            shared.left.insert(user);
            return self.leave(user, shared);
        }
        if self.left.as_deref() == Some(&fold(name)) {
            return self.answer(heard, OFFLINE, shared);
        }
        let Some(guest) =
            shared.desk.people.by_handle(name).filter(|profile| profile.kind == UserKind::Guest)
        else {
            return;
        };
        let (user, ip) = (guest.id, self.address.ip());
        let elsewhere = shared.here.get(&user).filter(|(_, at): &&(_, SocketAddr)| at.ip() == ip).copied();
        if let Some((link, _)) = elsewhere {
            self.answer(heard, OFFLINE, shared);
            shared.left.insert(user);
            shared.leave(user, link);
            shared.news.push_back(News::Moved(link));
        }
    }

    /// Whoever was here no longer is.
    pub(super) fn leave(&mut self, user: UserId, shared: &mut Shared) {
        shared.leave(user, self.link);
        shared.desk.timers.clear(self.link, ());
        self.ask(Doing::Leave, Question::SignOut {}, shared);
    }

    /// The user of this link is elsewhere now, or has signed out from there.
    pub(super) fn moved(&mut self, shared: &mut Shared) {
        if self.place.take().is_some() {
            shared.desk.timers.clear(self.link, ());
            self.ask(Doing::Leave, Question::SignOut {}, shared);
        }
    }
}
