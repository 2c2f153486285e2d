//! Messages from one address: to somebody, through the server or to be kept, and to all.

use chinwag_protocol::{Command, ConversationId, Kind, Millis, Query, Refused, UserId};

use super::{
    DOOR, EVERYONE, Shared,
    peer::{Doing, Peer},
};
use crate::{
    Moment, Question,
    desk::{post, shown},
};

/// A message on its way to the store.
pub(super) struct Posted {
    to: String,
    text: String,
    answers: Answers,
    heard: Vec<u8>,
    /// What the wire itself names the message by.
    pub(super) digest: Option<String>,
    /// When it was written, by its sender's clock.
    pub(super) sent_at: Option<Millis>,
}

/// What is answered to a message.
pub(super) struct Answers {
    /// It is stored.
    pub(super) stored: String,
    /// There is no such receiver, and the client can bear to hear it.
    pub(super) nobody: Option<String>,
}

impl Posted {
    pub(super) fn new(to: &str, text: String, answers: Answers, heard: Vec<u8>) -> Self {
        Self { to: to.to_owned(), text, answers, heard, digest: None, sent_at: None }
    }
}

impl Peer {
    pub(super) fn message(&mut self, from: &str, posted: Posted, now: Moment, shared: &mut Shared) {
        let Some(place) = self.place_of(from, shared) else {
            return self.remember(from, posted.heard, now, shared);
        };
        let known =
            shared.desk.people.by_handle(&posted.to).and_then(|profile| place.seat.direct(profile.id));
        match known.map(|room| room.id) {
            Some(conversation) => self.post(conversation, posted, shared),
            None => {
                let query = Query::Handle { handle: posted.to.clone() };
                self.ask(Doing::Find(posted), Question::Query(query), shared);
            }
        }
    }

    pub(super) fn open(&mut self, user: UserId, posted: Posted, shared: &mut Shared) {
        self.ask(Doing::Open(posted), Question::Command(Command::OpenDirect { user }), shared);
    }

    /// "Group: all users form one group; the message goes to the server, which sends it to all but the sender."
    pub(super) fn send_all(
        &mut self,
        from: &str,
        text: &str,
        heard: Vec<u8>,
        now: Moment,
        shared: &mut Shared,
    ) {
        let Some(place) = self.place_of(from, shared) else {
            return self.remember(from, heard, now, shared);
        };
        if place.seat.room(EVERYONE).is_none() {
            return;
        }
        let answers = Answers { stored: "ack_group [Message received by Server.]".to_owned(), nobody: None };
        self.post(EVERYONE, Posted::new("", text.to_owned(), answers, heard), shared);
    }

    pub(super) fn post(&mut self, conversation: ConversationId, posted: Posted, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.posts += 1;
        let client_id = match posted.digest {
            Some(digest) => format!("{DOOR}-{digest}"),
            None => format!("{DOOR}-{}-{}", place.seat.session, place.posts),
        };
        let doing = Doing::Post { answers: posted.answers, heard: posted.heard };
        let mut question = post(conversation, client_id, shown(&posted.text));
        if let Question::Command(Command::Post { sent_at, .. }) = &mut question {
            *sent_at = posted.sent_at;
        }
        self.ask(doing, question, shared);
    }

    /// "The answer `Error [Client ...]` only if the receiver does not exist."
    pub(super) fn not_posted(&mut self, posted: Posted, refused: &Refused, shared: &mut Shared) {
        match posted.answers.nobody.filter(|_| refused.kind == Kind::NotFound) {
            Some(nobody) => self.answer(&posted.heard, &nobody, shared),
            None => self.forget(&posted.heard),
        }
    }
}
