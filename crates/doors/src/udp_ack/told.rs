//! What one address is told: the table of users, messages one at a time until each is acknowledged, comings and
//! goings.

use std::{net::SocketAddr, time::Duration};

use chinwag_protocol::{
    ConversationId, Entry, Event, LogId, MemberView, Presence, Query, Seq, ServerSignal, UserId, UserKind,
};

use super::{
    EVERYONE, News, Shared,
    peer::{Doing, Peer, Push},
    table::Addresses,
    wire::{DATE, datagram},
};
use crate::{Mode, Moment, Question, Seat, words};

/// "Timeout 500 ms, up to 5 sends."
const PUSH_AGAIN: Duration = Duration::from_millis(500);
const PUSHES_MAX: u32 = 5;

/// Waiting messages are not acknowledged, so a system that holds a few hundred datagrams for a program must not be
/// sent more than the program has time to take.
const WAITING_AT_ONCE: u32 = 32;
const WAITING_PAUSE: Duration = Duration::from_millis(50);

/// Users in a newcomer's table.
const TABLE_MAX: u16 = 200;

impl Peer {
    /// "For each existing user the two broadcasts."
    pub(super) fn ask_table(&mut self, shared: &mut Shared) {
        if self.is_asking_table(shared) {
            return;
        }
        let query = Query::Members { conversation: EVERYONE, after: UserId(0), limit: TABLE_MAX };
        self.ask(Doing::Table, Question::Query(query), shared);
    }

    pub(super) fn tell_table(&mut self, members: &[MemberView], addresses: &Addresses, shared: &mut Shared) {
        let users = members.iter().map(|member| &member.profile);
        let users: Vec<_> = users.filter(|user| !user.inactive && user.kind != UserKind::Bot).collect();
        for user in &users {
            let address = addresses.get(&user.id).copied();
            // Of whom the client knows already, and who is not here, only that is news.
            if address.is_some() || !self.table.knows(&shared.desk.people.handle(user.id)) {
                self.tell_here(user.id, address, shared);
            }
            // "For an offline peer follow it with `offline X`": those of other clients until they are heard of.
            if address.is_none() {
                self.tell_gone(user.id, shared);
            }
        }
        shared.desk.watch(self.link, users.iter().map(|user| user.id).collect());
        self.tabled(shared);
    }

    /// What waits may follow the table.
    pub(super) fn tabled(&mut self, shared: &mut Shared) {
        if let Some(place) = &mut self.place {
            place.tabled = true;
            if place.push.is_none() && !place.pauses {
                shared.desk.hold(self.link, false);
            }
        }
    }

    /// Tells where somebody is; without an address he is not on this wire, and reached through the server.
    pub(super) fn tell_here(&mut self, user: UserId, address: Option<SocketAddr>, shared: &mut Shared) {
        if self.place.as_ref().is_none_or(|place| place.me() == user) || !self.proved {
            return;
        }
        let is_bot = shared.desk.people.get(user).is_some_and(|profile| profile.kind == UserKind::Bot);
        if is_bot {
            return;
        }
        let through_us = shared.desk.settings.mode == Mode::Relay;
        let address = address.filter(|_| !through_us).unwrap_or_else(|| self.server(&shared.desk.settings));
        if let Some(text) = self.table.here(&shared.desk.people.handle(user), address) {
            self.say(text, shared);
        }
    }

    /// Tells that somebody has gone.
    pub(super) fn tell_gone(&mut self, user: UserId, shared: &mut Shared) {
        if self.place.as_ref().is_none_or(|place| place.me() == user) {
            return;
        }
        if let Some(text) = self.table.gone(&shared.desk.people.handle(user)) {
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
            && conversation == EVERYONE
            && !shared.here.contains_key(user)
            && shared.desk.people.get(*user).is_some_and(|profile| profile.kind == UserKind::Person)
        {
            shared.news.push_back(News::Known(*user));
        }
        let delivers = (conversation, entry.seq);
        let is_own = entry.by == place.me() && matches!(entry.event, Event::Message(_));
        let lines = match is_own {
            true => Vec::new(),
            false => words::lines(entry, &shared.desk.settings.web, |user| shared.desk.people.handle(user)),
        };
        if lines.is_empty() {
            return self.delivered(delivers, shared);
        }
        let text = lines.join(" ");
        if place.caught_up {
            let mark = self.mark();
            let Some(place) = &mut self.place else { return };
            let bytes = live(&place.seat, conversation, entry, &text, &mark, shared);
            place.push = Some(Push { bytes, delivers, tries: 0 });
            shared.desk.hold(self.link, true);
            return self.push(now, shared);
        }
        let bytes = stored(&place.seat, conversation, entry, &text, shared);
        let has_header = std::mem::replace(&mut place.has_messages, true);
        if !has_header {
            self.say("offline_message [You have messages]".to_owned(), shared);
        }
        self.send(bytes, shared);
        self.delivered(delivers, shared);
        self.pause(now, shared);
    }

    /// Lets the client take what waited for it.
    fn pause(&mut self, now: Moment, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.waited += 1;
        if place.waited.is_multiple_of(WAITING_AT_ONCE) {
            place.pauses = true;
            shared.desk.timers.set(self.link, (), now + WAITING_PAUSE);
            shared.desk.hold(self.link, true);
        }
    }

    fn push(&mut self, now: Moment, shared: &mut Shared) {
        let Some(push) = self.place.as_mut().and_then(|place| place.push.as_mut()) else { return };
        push.tries += 1;
        let bytes = push.bytes.clone();
        shared.desk.timers.set(self.link, (), now + PUSH_AGAIN);
        self.send(bytes, shared);
    }

    /// Nothing was acknowledged in time.
    pub(super) fn woken(&mut self, now: Moment, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        if std::mem::take(&mut place.pauses) {
            if place.tabled {
                shared.desk.hold(self.link, false);
            }
            return;
        }
        let Some(push) = &place.push else { return };
        if push.tries < PUSHES_MAX {
            return self.push(now, shared);
        }
        // "Then the user counts as offline and gets the rest at `reg`."
        if let Some(place) = self.place.take() {
            self.leave(place.me(), shared);
        }
    }

    /// What was pushed has arrived.
    pub(super) fn received(&mut self, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        let Some(push) = place.push.take() else { return };
        let tabled = place.tabled;
        shared.desk.timers.clear(self.link, ());
        self.delivered(push.delivers, shared);
        if tabled {
            shared.desk.hold(self.link, false);
        }
    }

    fn delivered(&self, (conversation, delivered): (ConversationId, Seq), shared: &mut Shared) {
        shared.desk.delivered(self.link, conversation, delivered);
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

/// "`send RECEIVER text SENDER`" or "`Channel-Message SENDER: text`", with a mark that old programs do not see.
fn live(
    seat: &Seat,
    conversation: ConversationId,
    entry: &Entry,
    text: &str,
    mark: &str,
    shared: &Shared,
) -> Vec<u8> {
    let author = shared.desk.people.handle(entry.by);
    match group(seat, conversation) {
        Some(group) => datagram(&format!("Channel-Message {author}: {group}"), text, mark),
        None => {
            let me = shared.desk.people.handle(seat.me);
            datagram(&format!("send {me} "), text, &format!(" {author}{mark}"))
        }
    }
}

/// "Stored with the sender's date as text": "`offline_message SENDER: DATE text`" or "`offline_message Channel-Message: SENDER: DATE text`".
fn stored(seat: &Seat, conversation: ConversationId, entry: &Entry, text: &str, shared: &Shared) -> Vec<u8> {
    let author = shared.desk.people.handle(entry.by);
    let date = shared.desk.settings.local(words::written_at(entry)).strftime(DATE).to_string();
    let first = match group(seat, conversation) {
        Some(group) => format!("offline_message Channel-Message: {author}: {date} {group}"),
        None => format!("offline_message {author}: {date} "),
    };
    datagram(&first, text, "")
}

/// What stands before a text that is for more than two. This wire has one group; which other one it is has to be said.
fn group(seat: &Seat, conversation: ConversationId) -> Option<String> {
    match seat.room(conversation) {
        Some(room) if room.peer.is_some() => None,
        Some(room) if room.id != EVERYONE => {
            Some(format!("[#{}] ", room.handle.as_deref().unwrap_or(&room.name)))
        }
        _ => Some(String::new()),
    }
}
