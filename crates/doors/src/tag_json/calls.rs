//! Calls: what a client asks of them, and what it is told.

use chinwag_protocol::{CallEnd, CallMedia, Command, ConversationId, Entry, Event, Seq, UserId};
use serde_json::Value;

use super::{
    Shared,
    dialect::{Asked, Response},
    place::{Call, chat_name},
    session::{Doing, Session},
};
use crate::{Question, Room, words};

/// Bytes of media frames that may be under way to one client; newer frames are dropped.
const FRAMES_MAX: usize = 1024 * 1024;

/// A media frame of a call, on its way to another client of this door.
pub(super) struct Frame {
    conversation: ConversationId,
    from: UserId,
    fields: Vec<(String, Value)>,
    size: usize,
}

impl Session {
    pub(super) fn call(&mut self, asked: Asked, shared: &mut Shared) {
        let Some((asked, conversation)) = self.recipient(asked, shared) else { return };
        let Some(place) = &mut self.place else { return };
        let answers = asked.document.is_some();
        // Whoever calls the one who is calling him takes that call. The document has no other word for accepting.
        if let Some(open) = place.calls.get(&conversation).filter(|call| call.by != place.seat.me) {
            let command = Command::AnswerCall { conversation, call: open.seq, accept: true };
            return self.simple(asked, answers, command, shared);
        }
        let client_id = place.next_name();
        let media = media_of(&asked);
        let command = Command::StartCall { conversation, client_id, media };
        self.ask(Doing::Call(asked), Question::Command(command), shared);
    }

    /// The open call that a request is about: with the recipient, or one that he made elsewhere.
    fn open_call(&self, asked: &Asked, shared: &Shared) -> Option<(ConversationId, Seq)> {
        let place = self.place.as_ref()?;
        let id = asked.tag.id("recipient")?;
        let user = place.user(&id, shared);
        let direct = user.and_then(|user| place.direct(user));
        let known = direct.or_else(|| place.room(&id).map(|room| room.id));
        if let Some((conversation, call)) = known.and_then(|id| Some((id, place.calls.get(&id)?))) {
            return Some((conversation, call.seq));
        }
        let made = place.calls.iter().find(|(_, call)| Some(call.by) == user);
        made.map(|(conversation, call)| (*conversation, call.seq))
    }

    pub(super) fn call_response(&mut self, asked: Asked, shared: &mut Shared) {
        let Some((conversation, call)) = self.open_call(&asked, shared) else {
            return self.refuse(&asked, Response::Extinct, shared);
        };
        let me = self.place.as_ref().map(|place| place.seat.me);
        let is_own = self.place.as_ref().and_then(|place| place.calls.get(&conversation)).map(|call| call.by);
        let command = match asked.tag.word("response").as_deref() {
            Some("ACCEPTED") => Command::AnswerCall { conversation, call, accept: true },
            // The programs have no other word for hanging up, on either side.
            Some("DECLINED") if is_own == me => Command::EndCall { conversation, call },
            Some("DECLINED") => Command::AnswerCall { conversation, call, accept: false },
            _ => return self.refuse(&asked, Response::Failed, shared),
        };
        self.simple(asked, false, command, shared);
    }

    pub(super) fn end_call(&mut self, asked: Asked, shared: &mut Shared) {
        match self.open_call(&asked, shared) {
            Some((conversation, call)) => {
                self.simple(asked, true, Command::EndCall { conversation, call }, shared);
            }
            None => self.refuse(&asked, Response::Extinct, shared),
        }
    }

    /// "Between two clients of this door the media frames in DATA are relayed", while a call is open.
    pub(super) fn call_frame(&self, asked: &Asked, shared: &mut Shared) {
        let Some((conversation, _)) = self.open_call(asked, shared) else {
            return self.refuse(asked, Response::Extinct, shared);
        };
        let Some(place) = &self.place else { return };
        let recipient = asked.tag.id("recipient").and_then(|id| place.user(&id, shared));
        // Somebody on another wire has no use for it.
        let Some(link) = recipient.and_then(|user| shared.here.get(&user)).copied() else { return };
        let mut fields = Vec::new();
        for key in ["type", "call", "response", "data", "id", "date_time"] {
            fields.extend(asked.tag.whole(key).map(|value| (key.to_owned(), value)));
        }
        let size = asked.tag.text("data").map_or(0, |data| data.len()) + 256;
        shared.frames.push_back((link, Frame { conversation, from: place.seat.me, fields, size }));
    }

    /// A media frame of somebody else's, of a call that this client is in too.
    pub(super) fn frame(&mut self, frame: &Frame, shared: &mut Shared) {
        let Some(place) = self.place.as_mut().filter(|place| place.ready) else { return };
        // What a slow client has not taken yet is old already: newer frames are dropped rather than piling up.
        let has_room = place.frames == 0 || place.frames + frame.size <= FRAMES_MAX;
        if !has_room || !place.calls.contains_key(&frame.conversation) {
            return;
        }
        place.frames += frame.size;
        let mut fields = vec![
            ("action".to_owned(), "CALL".into()),
            ("sender".to_owned(), place.id(frame.from, shared).into()),
            ("recipient".to_owned(), place.id(place.seat.me, shared).into()),
        ];
        fields.extend(frame.fields.iter().cloned());
        self.send_owned(&fields, shared);
    }

    pub(super) fn called(
        &mut self,
        asked: &Asked,
        conversation: ConversationId,
        seq: Seq,
        shared: &mut Shared,
    ) {
        if let Some(place) = &mut self.place {
            let call = Call { seq, by: place.seat.me, media: media_of(asked), declined: false };
            place.calls.entry(conversation).or_insert(call);
        }
        if asked.document.is_some() {
            self.answer(asked, Vec::new(), shared);
        }
    }

    /// A call was started, answered or ended.
    pub(super) fn tell_call(&mut self, entry: &Entry, room: &Room, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        let is_own = entry.by == place.seat.me;
        match &entry.event {
            Event::CallStarted { media, .. } => {
                let call = Call { seq: entry.seq, by: entry.by, media: *media, declined: false };
                // What rang and ended while he was away rings no more.
                let rings =
                    place.caught_up || place.calls.get(&room.id).is_some_and(|it| it.seq == entry.seq);
                if rings {
                    place.calls.insert(room.id, call);
                }
                if rings && !is_own {
                    self.say_call(entry, room, *media, Said::Rings, shared);
                }
            }
            Event::CallAnswered { accepted, .. } => {
                let Some(call) = place.calls.get_mut(&room.id) else { return };
                call.declined |= !accepted && room.peer.is_some();
                let media = call.media;
                if !is_own {
                    self.say_call(entry, room, media, Said::Answered(*accepted), shared);
                }
            }
            Event::CallEnded { reason, .. } => match place.calls.remove(&room.id) {
                Some(call) if !is_own && !call.declined => {
                    self.say_call(entry, room, call.media, Said::Ended, shared);
                }
                None if *reason == CallEnd::Missed && !is_own => {
                    for line in words::lines(entry, &shared.desk.settings.web, |_| String::new()) {
                        self.line(entry, room, line, shared);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn say_call(&self, entry: &Entry, room: &Room, media: CallMedia, said: Said, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let recipient =
            if room.peer.is_some() { place.id(place.seat.me, shared) } else { place.room_id(room) };
        let (program, document) = match media {
            CallMedia::Video => ("VIDEO", "video"),
            CallMedia::Audio => ("AUDIO", "audio"),
        };
        let action = match (self.document, said) {
            (true, Said::Ended) => format!("end_{document}"),
            (true, _) => format!("start_{document}"),
            (false, Said::Rings) => "CALL_REQUEST".to_owned(),
            (false, _) => "CALL_RESPONSE".to_owned(),
        };
        let response = match (said, self.document) {
            (Said::Rings, _) | (Said::Ended, true) => None,
            (Said::Answered(accepted), true) => Some(if accepted { "successful" } else { "failed" }),
            (Said::Answered(true), false) => Some("ACCEPTED"),
            (Said::Answered(false) | Said::Ended, false) => Some("DECLINED"),
        };
        let mut fields = vec![
            ("action", Value::from(action)),
            ("sender", place.id(entry.by, shared).into()),
            ("recipient", recipient.into()),
            ("id", chat_name(room.id, entry.seq).into()),
            ("date_time", entry.at.0.into()),
        ];
        if !self.document {
            fields.push(("call", program.into()));
        }
        fields.extend(response.map(|word| ("response", word.into())));
        self.send(&fields, shared);
    }
}

/// What is said of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Rings,
    Answered(bool),
    Ended,
}

fn media_of(asked: &Asked) -> CallMedia {
    let is_video = asked.tag.word("call").is_some_and(|call| call == "VIDEO")
        || asked.document.as_ref().is_some_and(|action| action.to_lowercase().contains("video"));
    if is_video { CallMedia::Video } else { CallMedia::Audio }
}
