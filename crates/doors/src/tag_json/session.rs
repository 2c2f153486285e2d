//! One client of the door: what it has asked, in which order it is answered, and when it can be told more.

use std::collections::BTreeMap;

use chinwag_protocol::{ConversationId, FileId, Kind as Why, ProfileChange, Refused, UserId};
use serde_json::{Value, json};

use super::{
    Alarm, Shared,
    dialect::{Asked, Kind, Response, Verb, documents, lowered},
    icons::Illustrating,
    place::{Place, Roll},
    wire::{self, Piece, TAG_MAX, Tags},
};
use crate::{Given, LinkId, Moment, Question};

/// Pieces that are no tags before the connection ends.
const STRIKES_MAX: u32 = 3;

/// What may wait to be read while a request is being answered.
pub(super) const WAITING_MAX: usize = 4 * TAG_MAX;

/// Whom a client watches: as many as the server lets it.
const WATCHED_MAX: usize = 500;

/// One client.
pub(super) struct Session {
    pub(super) link: LinkId,
    pub(super) tags: Tags,
    /// A request waits for its answer.
    pub(super) busy: bool,
    /// It is done when the entry of a conversation that the client made or joined has come.
    pub(super) awaited: Option<(Asked, ConversationId)>,
    pub(super) place: Option<Place>,
    /// The client speaks the document's dialect.
    pub(super) document: bool,
    /// The picture that was taken in for the request at work.
    pub(super) picture: Option<FileId>,
    /// An answer that has to be alone in its segment is on its way; nothing else is said until it has left.
    pub(super) alone: bool,
    /// A request that came before its client was ready for an answer.
    waiting: Option<Asked>,
    strikes: u32,
}

/// For what something was asked.
pub(super) enum Purpose {
    Request(Doing),
    /// No request waits for it.
    Aside(Aside),
}

/// The request that waits for its answer.
pub(super) enum Doing {
    LogIn(Asked),
    SignUp(Asked),
    LogOut,
    /// Somebody or something with this id has to be found first.
    Find(Asked, String),
    /// A direct conversation has to be opened first.
    Open(Asked, UserId),
    /// The members of each group and channel are being gathered.
    Data(Gathering),
    /// A contact was added.
    Contact(Asked, UserId),
    /// A conversation is being made or joined; when its entry has come its members are asked for.
    Create(Asked),
    Join(Asked, ConversationId),
    Joined(Asked, Roll),
    /// The key is changed first, then the profile: if the first is refused, nothing is changed.
    Key(Asked, ProfileChange),
    Call(Asked),
    /// A command that has an answer either way, or only when it is refused.
    Simple {
        asked: Asked,
        answers: bool,
    },
    /// A picture that something is told with is being got.
    Icon(Illustrating),
    /// A picture is being taken in; then the request goes on.
    Picture(Asked),
    /// A conversation that was made gets its picture.
    Created(Asked),
    /// A file of a message is being taken in.
    Upload {
        asked: Asked,
        conversation: ConversationId,
    },
}

/// All about the groups and channels of a client, being put together.
pub(super) struct Gathering {
    pub(super) asked: Asked,
    /// Those that are still to be asked for; the last one first.
    pub(super) left: Vec<ConversationId>,
    pub(super) records: Vec<(Kind, ConversationId, Value)>,
    pub(super) roll: Option<Roll>,
    /// How many members may still be named.
    pub(super) names: usize,
}

/// What else was asked.
pub(super) enum Aside {
    Post(Asked),
    /// The members of a conversation that somebody else brought the client into.
    Entered(Roll),
    /// The members of a conversation that changed, and in what.
    Changed(Roll, Vec<(String, Value)>),
    /// A picture that something is told with.
    Icon(Illustrating),
    /// A file of a message, to go with these fields; or, if it cannot be had, a line instead.
    File {
        fields: Vec<(String, Value)>,
        line: String,
    },
    Nothing,
}

impl Session {
    pub(super) fn new(link: LinkId) -> Self {
        Self {
            link,
            tags: Tags::default(),
            busy: false,
            awaited: None,
            place: None,
            document: false,
            picture: None,
            alone: false,
            waiting: None,
            strikes: 0,
        }
    }

    /// Bytes of the client.
    pub(super) fn bytes(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) {
        // Of whoever is being put out nothing is read.
        if self.strikes >= STRIKES_MAX {
            return;
        }
        self.tags.feed(bytes);
        self.go_on(now, shared);
        if self.tags.len() > WAITING_MAX {
            self.strikes = STRIKES_MAX;
            self.close(shared);
        }
    }

    /// Takes the requests that came, one after the other; while one waits no more than those are read.
    pub(super) fn go_on(&mut self, now: Moment, shared: &mut Shared) {
        self.take(now, shared);
        let is_stopped = self.busy || self.alone || self.waiting.is_some();
        shared.desk.pause(self.link, is_stopped && self.tags.has_more());
    }

    fn take(&mut self, now: Moment, shared: &mut Shared) {
        while !self.busy && !self.alone && self.strikes < STRIKES_MAX {
            let Some(asked) = self.waiting.take().or_else(|| self.next(shared)) else { return };
            // "Send nothing more until its DATA request (or >= 300 ms)": what else it asks waits.
            let is_ready = self.place.as_ref().is_none_or(|place| place.ready);
            if !is_ready && !matches!(asked.verb, Verb::Data | Verb::LogOut) {
                self.waiting = Some(asked);
                return;
            }
            self.document = asked.document.is_some();
            self.picture = None;
            self.request(asked, now, shared);
        }
    }

    /// The next request.
    fn next(&mut self, shared: &mut Shared) -> Option<Asked> {
        loop {
            match self.tags.next()? {
                Piece::Tag(tag) => return Some(Asked::read(tag)),
                // "Refuse a tag whose folded keys disagree."
                Piece::Disagreeing(tag) => self.refuse(&Asked::read(tag), Response::Failed, shared),
                Piece::Garbage | Piece::TooLong => {
                    self.strikes += 1;
                    self.send(&[("response", Response::Failed.word(false).into())], shared);
                    if self.strikes >= STRIKES_MAX {
                        self.close(shared);
                        return None;
                    }
                }
                Piece::Probes => {
                    self.strikes = STRIKES_MAX;
                    self.close(shared);
                    return None;
                }
            }
        }
    }

    pub(super) fn close(&self, shared: &mut Shared) {
        shared.desk.close(self.link);
    }

    /// Sends a tag; keys are given in lower case and spelled as the client's dialect does.
    pub(super) fn send(&self, fields: &[(&str, Value)], shared: &mut Shared) {
        if self.document {
            return self.transmit(&documents(fields), shared);
        }
        let spelled: Vec<_> = fields.iter().map(|(key, value)| (wire::spelled(key), value.clone())).collect();
        self.transmit(&spelled, shared);
    }

    fn transmit(&self, fields: &[(String, Value)], shared: &mut Shared) {
        shared.desk.send(self.link, wire::tag(fields, self.tags.wrapped));
    }

    pub(super) fn send_owned(&self, fields: &[(String, Value)], shared: &mut Shared) {
        let fields: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        self.send(&fields, shared);
    }

    /// Answers a request that was done: "same tag + RESPONSE", without the key that was in it.
    pub(super) fn answer(&self, asked: &Asked, more: Vec<(&str, Value)>, shared: &mut Shared) {
        if let Some(action) = &asked.document {
            let mut fields = documents_answer(action, asked, Response::Successful);
            fields.extend(more);
            return self.transmit(&lowered(&fields), shared);
        }
        // "CHANGE for a group or channel must carry `users` and `admins`, else the client empties its member lists":
        // the tag that all members get has them, and an answer that does not must not look like it.
        if asked.verb == Verb::Change && asked.kind.is_some_and(|kind| kind != Kind::User) {
            return self.send(&echo(asked, &["action", "id"], Response::Successful), shared);
        }
        const ECHOED: &[&str] =
            &["id", "name", "action", "type", "user_id", "group_id", "channel_id", "bio", "date_time"];
        let mut fields: Vec<(&str, Value)> =
            ECHOED.iter().filter_map(|key| Some((*key, asked.tag.echo(key)?))).collect();
        // "Ids are spelled one way towards a client."
        for (key, value) in &mut fields {
            if let (true, Some(place), Some(id)) = (key.ends_with("_id"), &self.place, asked.tag.id(key)) {
                *value = place.canonical(&id, shared).into();
            }
        }
        fields.push(("response", Response::Successful.word(false).into()));
        fields.extend(more);
        self.send(&fields, shared);
    }

    /// "A refusal must not look like the event itself: it carries ACTION, ID and RESPONSE only."
    pub(super) fn refuse(&self, asked: &Asked, response: Response, shared: &mut Shared) {
        if let Some(action) = &asked.document {
            return self.transmit(&lowered(&documents_answer(action, asked, response)), shared);
        }
        self.send(&echo(asked, &["action", "id"], response), shared);
    }

    /// The answer to a sign-up or login, which its client reads by itself: "alone in its TCP segment".
    pub(super) fn answer_alone(&mut self, asked: &Asked, response: Response, shared: &mut Shared) {
        self.alone = true;
        if asked.document.is_some() {
            return self.refuse(asked, response, shared);
        }
        let keys: &[&str] = match (asked.verb, response) {
            (Verb::SignUp, Response::Successful) => &["id", "name", "action", "date_time"],
            _ => &["id", "action", "date_time"],
        };
        self.send(&echo(asked, keys, response), shared);
    }

    pub(super) fn ask(&mut self, doing: Doing, question: Question, shared: &mut Shared) {
        self.busy = true;
        shared.desk.ask(self.link, Purpose::Request(doing), question);
    }

    pub(super) fn aside(&self, aside: Aside, question: Question, shared: &mut Shared) {
        shared.desk.ask(self.link, Purpose::Aside(aside), question);
    }

    /// Says of whom this client wants to hear whether they are there.
    pub(super) fn watch(&self, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let users = place.contacts.iter().copied().take(WATCHED_MAX).collect();
        shared.desk.watch(self.link, users);
    }

    /// Tells no entries while something of theirs is looked up.
    pub(super) fn hold(&mut self, shared: &mut Shared) {
        if let Some(place) = &mut self.place {
            place.holds += 1;
            if place.holds == 1 {
                shared.desk.hold(self.link, true);
            }
        }
    }

    pub(super) fn go(&mut self, shared: &mut Shared) {
        if let Some(place) = self.place.as_mut().filter(|place| place.holds > 0) {
            place.holds -= 1;
            if place.holds == 0 {
                shared.desk.hold(self.link, false);
            }
        }
    }

    /// Gets the next file of a message, unless one is on its way.
    pub(super) fn fetch_next(&mut self, shared: &mut Shared) {
        let Some(place) = self.place.as_mut().filter(|place| !place.fetching) else { return };
        if let Some((fields, line, fetch)) = place.fetches.pop_front() {
            place.fetching = true;
            self.aside(Aside::File { fields, line }, fetch, shared);
        }
    }

    /// It is time for something.
    pub(super) fn woken(&mut self, alarm: Alarm, now: Moment, shared: &mut Shared) {
        match alarm {
            Alarm::Ready => {
                self.ready(now, shared);
                self.go_on(now, shared);
            }
            Alarm::Files => {
                let again = self.place.as_mut().and_then(|place| place.files.expire(now));
                if let Some(at) = again {
                    shared.desk.timers.set(self.link, alarm, at);
                }
            }
        }
    }

    /// The client can take more than its login answer: "nothing more until its DATA request (or >= 300 ms)".
    pub(super) fn ready(&mut self, now: Moment, shared: &mut Shared) {
        let Some(place) = self.place.as_mut().filter(|place| !place.ready) else { return };
        place.ready = true;
        place.known.extend(place.contacts.iter().copied());
        shared.desk.timers.clear(self.link, Alarm::Ready);
        let place = &*place;
        let statuses: Vec<Value> = place
            .contacts
            .iter()
            .map(|user| json!([place.id(*user, shared), place.status(*user, shared)]))
            .collect();
        let fields = [
            ("action", Value::from("STATUS")),
            ("statuses", statuses.into()),
            ("date_time", shared.desk.settings.wall(now).0.into()),
        ];
        self.send(&fields, shared);
        self.watch(shared);
        self.tell_silent(shared);
        self.go(shared);
    }

    /// All that was sent is on its way: on this wire that is all we know of delivery.
    pub(super) fn drained(&mut self, now: Moment, shared: &mut Shared) {
        if let Some(place) = &mut self.place {
            place.frames = 0;
            place.fetching &= !std::mem::take(&mut place.fetched);
            // Of an entry that is not told to its end nothing is delivered.
            let whole = if place.holds == 0 { std::mem::take(&mut place.written) } else { BTreeMap::new() };
            for (conversation, delivered) in whole {
                shared.desk.delivered(self.link, conversation, delivered);
            }
        }
        self.fetch_next(shared);
        if std::mem::take(&mut self.alone) {
            self.go_on(now, shared);
        }
    }

    /// An answer to what was asked.
    pub(super) fn answered(
        &mut self,
        purpose: Purpose,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        match purpose {
            Purpose::Aside(aside) => self.aside_done(aside, result, now, shared),
            Purpose::Request(doing) => {
                self.busy = false;
                self.done(doing, result, now, shared);
                self.go_on(now, shared);
            }
        }
    }
}

/// "`{"action": <as asked>, "response": "successful", "response_to": <id if given>}` in lower case."
fn documents_answer<'a>(action: &'a str, asked: &Asked, response: Response) -> Vec<(&'a str, Value)> {
    let mut fields = vec![("action", Value::from(action)), ("response", response.word(true).into())];
    fields.extend(asked.tag.echo("id").map(|id| ("response_to", id)));
    fields
}

/// These fields as they came, and how it ended.
fn echo<'a>(asked: &Asked, keys: &[&'a str], response: Response) -> Vec<(&'a str, Value)> {
    let mut fields: Vec<_> = keys.iter().filter_map(|key| Some((*key, asked.tag.echo(key)?))).collect();
    fields.push(("response", response.word(false).into()));
    fields
}

/// "Wrong rights, unknown ids and bad input are answered with the dialect's own words."
pub(super) fn response_to(refused: &Refused) -> Response {
    match (refused.kind, refused.code.as_str()) {
        (Why::NotFound, _) => Response::Extinct,
        (Why::Conflict, _) => Response::Exist,
        (_, "wrong_password") => Response::FalseKey,
        _ => Response::Failed,
    }
}
