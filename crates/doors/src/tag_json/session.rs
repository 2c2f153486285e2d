//! One client of the door: what it has asked and where it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chinwag_protocol::{
    Answer, ClientSignal, ConversationId, MemberView, Millis, Presence, Refused, Reply, Role, Seq, UserId,
};
use serde_json::{Value, json};

use super::{
    Alarm, Shared,
    dialect::{Asked, Kind, Response},
    files::Files,
    wire::{self, TAG_MAX, Tags},
};
use crate::{AskId, Given, LinkId, Moment, Output, Question, Room, Seat};

/// Pieces that are no tags before the connection ends.
const STRIKES_MAX: u32 = 3;

/// Names of chats that a later `response_to` may mean.
const CHATS_MAX: usize = 1_000;

/// One client.
pub(super) struct Session {
    pub(super) link: LinkId,
    pub(super) tags: Tags,
    pub(super) doing: Option<(AskId, Doing)>,
    /// Questions that no request waits for.
    pub(super) asides: BTreeMap<AskId, Aside>,
    pub(super) place: Option<Place>,
    /// The client speaks the document's dialect.
    pub(super) document: bool,
}

/// Where a signed-in client is.
pub(super) struct Place {
    pub(super) seat: Seat,
    pub(super) contacts: BTreeSet<UserId>,
    /// Of whom the client has a record.
    pub(super) known: BTreeSet<UserId>,
    pub(super) presence: BTreeMap<UserId, (Presence, Option<Millis>)>,
    /// Direct conversations that were opened before their entry came.
    pub(super) directs: BTreeMap<UserId, ConversationId>,
    /// The conversation that a request of this client enters; its answer tells all about it.
    pub(super) entering: Option<ConversationId>,
    /// Open calls.
    pub(super) calls: BTreeMap<ConversationId, Seq>,
    /// Media frames sent since all was last on its way.
    pub(super) frames: u32,
    pub(super) chats: VecDeque<(String, (ConversationId, Seq))>,
    pub(super) files: Files,
    pub(super) posts: u64,
    written: BTreeMap<ConversationId, Seq>,
    ready: bool,
    holds: u32,
}

/// The request that waits for its answer.
pub(super) enum Doing {
    LogIn(Asked),
    SignUp(Asked),
    LogOut,
    /// Somebody or something with this id has to be found first.
    Find(Asked),
    /// A direct conversation has to be opened first.
    Open(Asked, UserId),
    /// The members of each group and channel are being gathered.
    Data {
        asked: Asked,
        left: Vec<ConversationId>,
        records: Vec<(Kind, Value)>,
    },
    /// A contact was added.
    Contact(Asked, UserId),
    /// A conversation is being entered; then its members are asked for.
    Join(Asked, ConversationId),
    Joined(Asked, ConversationId),
    Create(Asked),
    /// A command that has an answer either way, or only when it is refused.
    Simple {
        asked: Asked,
        answers: bool,
    },
    /// A file of a message is being taken in.
    Upload {
        asked: Asked,
        conversation: ConversationId,
    },
}

/// What else was asked.
pub(super) enum Aside {
    Post(Asked),
    /// The members of a conversation that somebody else brought the client into.
    Entered(ConversationId),
    /// The members of a conversation that changed, and in what.
    Changed(ConversationId, Vec<(String, Value)>),
    /// A file of a message, to go with these fields.
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
            doing: None,
            asides: BTreeMap::new(),
            place: None,
            document: false,
        }
    }

    /// Bytes of the client.
    pub(super) fn bytes(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) {
        self.tags.feed(bytes);
        self.go_on(now, shared);
    }

    fn go_on(&mut self, now: Moment, shared: &mut Shared) {
        while self.doing.is_none() {
            match self.tags.next() {
                Ok(Some(tag)) => {
                    if let Some(asked) = Asked::read(tag) {
                        self.document = asked.document.is_some();
                        self.request(asked, now, shared);
                    }
                }
                Ok(None) => break,
                Err(_broken) => return self.close(shared),
            }
        }
        if self.tags.garbage >= STRIKES_MAX || self.tags.len() > 2 * TAG_MAX {
            self.close(shared);
        }
    }

    pub(super) fn close(&self, shared: &mut Shared) {
        shared.out.push_back(Output::Close { link: self.link });
    }

    /// The link is gone, or about to be.
    pub(super) fn gone(self, shared: &mut Shared) {
        for alarm in [Alarm::Ready, Alarm::Files] {
            shared.timers.clear((self.link, alarm));
        }
        if let Some(place) = self.place {
            shared.here.remove(&place.seat.me);
        }
    }

    /// Sends a tag; keys are given in lower case and spelled as the wire does.
    pub(super) fn send(&self, fields: &[(&str, Value)], shared: &mut Shared) {
        let spelled: Vec<_> = fields.iter().map(|(key, value)| (wire::spelled(key), value.clone())).collect();
        let fields: Vec<_> = spelled.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        shared.out.push_back(Output::Send { link: self.link, bytes: wire::tag(&fields, self.tags.wrapped) });
    }

    pub(super) fn send_owned(&self, fields: &[(String, Value)], shared: &mut Shared) {
        let fields: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        self.send(&fields, shared);
    }

    /// Answers a request that was done: "same tag + RESPONSE", without the key that was in it.
    pub(super) fn answer(&self, asked: &Asked, more: Vec<(&str, Value)>, shared: &mut Shared) {
        let response = Response::Successful;
        if let Some(action) = &asked.document {
            let mut fields = self.documents_answer(action, asked, response);
            fields.extend(more);
            shared
                .out
                .push_back(Output::Send { link: self.link, bytes: wire::tag(&fields, self.tags.wrapped) });
            return;
        }
        const ECHOED: &[&str] = &[
            "id",
            "name",
            "action",
            "type",
            "user_id",
            "group_id",
            "channel_id",
            "icon",
            "bio",
            "date_time",
        ];
        let mut fields: Vec<(&str, Value)> =
            ECHOED.iter().filter_map(|key| Some((*key, asked.tag.echo(key)?))).collect();
        fields.push(("response", response.word(false).into()));
        fields.extend(more);
        self.send(&fields, shared);
    }

    /// "A refusal must not look like the event itself: it carries ACTION, ID and RESPONSE only."
    pub(super) fn refuse(&self, asked: &Asked, response: Response, shared: &mut Shared) {
        if let Some(action) = &asked.document {
            let fields = self.documents_answer(action, asked, response);
            shared
                .out
                .push_back(Output::Send { link: self.link, bytes: wire::tag(&fields, self.tags.wrapped) });
            return;
        }
        let mut fields: Vec<(&str, Value)> =
            ["action", "id"].iter().filter_map(|key| Some((*key, asked.tag.echo(key)?))).collect();
        fields.push(("response", response.word(false).into()));
        self.send(&fields, shared);
    }

    /// "`{"action": <as asked>, "response": "successful", "response_to": <id if given>}` in lower case."
    fn documents_answer<'a>(
        &self,
        action: &'a str,
        asked: &Asked,
        response: Response,
    ) -> Vec<(&'a str, Value)> {
        let mut fields = vec![("action", Value::from(action)), ("response", response.word(true).into())];
        fields.extend(asked.tag.echo("id").map(|id| ("response_to", id)));
        fields
    }

    pub(super) fn ask(&mut self, doing: Doing, question: Question, shared: &mut Shared) {
        let ask = shared.ask(self.link, question);
        self.doing = Some((ask, doing));
    }

    pub(super) fn aside(&mut self, aside: Aside, question: Question, shared: &mut Shared) {
        let ask = shared.ask(self.link, question);
        self.asides.insert(ask, aside);
    }

    pub(super) fn signal_to(&self, signal: ClientSignal, shared: &mut Shared) {
        shared.out.push_back(Output::Signal { link: self.link, signal });
    }

    /// Tells no entries while something of theirs is looked up.
    pub(super) fn hold(&mut self, shared: &mut Shared) {
        if let Some(place) = &mut self.place {
            place.holds += 1;
            if place.holds == 1 {
                shared.out.push_back(Output::Hold { link: self.link, hold: true });
            }
        }
    }

    pub(super) fn go(&mut self, shared: &mut Shared) {
        if let Some(place) = self.place.as_mut().filter(|place| place.holds > 0) {
            place.holds -= 1;
            if place.holds == 0 {
                shared.out.push_back(Output::Hold { link: self.link, hold: false });
            }
        }
    }

    pub(super) fn seated(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// It is time for something.
    pub(super) fn woken(&mut self, alarm: Alarm, now: Moment, shared: &mut Shared) {
        match alarm {
            Alarm::Ready => self.ready(now, shared),
            Alarm::Files => {
                let again = self.place.as_mut().and_then(|place| place.files.expire(now));
                if let Some(at) = again {
                    shared.timers.set((self.link, alarm), at);
                }
            }
        }
    }

    /// The client can take more than its login answer: "nothing more until its DATA request (or >= 300 ms)".
    pub(super) fn ready(&mut self, now: Moment, shared: &mut Shared) {
        let Some(place) = self.place.as_mut().filter(|place| !place.ready) else { return };
        place.ready = true;
        place.known.extend(place.contacts.iter().copied());
        shared.timers.clear((self.link, Alarm::Ready));
        let statuses: Vec<Value> = place
            .contacts
            .iter()
            .map(|user| json!([shared.id(*user), place.status(*user, shared)]))
            .collect();
        let users = place.contacts.iter().copied().take(500).collect();
        let fields = [
            ("action", Value::from("STATUS")),
            ("statuses", statuses.into()),
            ("date_time", shared.settings.wall(now).0.into()),
        ];
        self.send(&fields, shared);
        self.signal_to(ClientSignal::Watch { users }, shared);
        self.go(shared);
    }

    /// All that was sent is on its way: on this wire that is all we know of delivery.
    pub(super) fn drained(&mut self, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        place.frames = 0;
        for (conversation, delivered) in std::mem::take(&mut place.written) {
            let signal = ClientSignal::Cursor { conversation, delivered, read: Seq::ZERO };
            shared.out.push_back(Output::Signal { link: self.link, signal });
        }
    }

    /// An answer to what was asked.
    pub(super) fn answered(
        &mut self,
        ask: AskId,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        if let Some(aside) = self.asides.remove(&ask) {
            return self.aside_done(aside, result, shared);
        }
        if let Some((_, doing)) = self.doing.take_if(|(asked, _)| *asked == ask) {
            self.done(doing, result, now, shared);
        }
        self.go_on(now, shared);
    }

    fn aside_done(&mut self, aside: Aside, result: Result<Given, Refused>, shared: &mut Shared) {
        match (aside, result) {
            (Aside::Post(asked), Ok(Given::Reply(Reply::Posted(posted)))) => {
                if let (Some(place), Some(id)) = (&mut self.place, asked.tag.text("id")) {
                    place.remember(id, posted.conversation, posted.seq);
                }
                if asked.document.is_some() {
                    self.answer(&asked, Vec::new(), shared);
                }
            }
            (Aside::Post(asked), Err(refused)) => {
                // "Silently dropped if the sender is no admin": an answer would make the client send it again.
                if refused.code != "admins_post" || asked.document.is_some() {
                    self.refuse(&asked, response_to(&refused), shared);
                }
            }
            (Aside::Entered(id), Ok(Given::Answer(Answer::Members(members)))) => {
                self.tell_entered(id, &members, shared);
            }
            (Aside::Changed(id, fields), Ok(Given::Answer(Answer::Members(members)))) => {
                self.tell_changed(id, fields, &members, shared);
            }
            (Aside::File { mut fields, .. }, Ok(Given::File(bytes))) => {
                fields.push(("data".to_owned(), wire::base64(&bytes)));
                self.send_owned(&fields, shared);
                self.go(shared);
            }
            (Aside::File { mut fields, line }, _) => {
                fields.retain(|(key, _)| key != "chat" && key != "text");
                fields.push(("chat".to_owned(), "TEXT".into()));
                fields.push(("text".to_owned(), line.into()));
                fields.push(("data".to_owned(), "".into()));
                self.send_owned(&fields, shared);
                self.go(shared);
            }
            (Aside::Entered(_) | Aside::Changed(..), _) => {}
            (Aside::Post(_) | Aside::Nothing, _) => {}
        }
    }
}

impl Place {
    pub(super) fn new(seat: Seat, contacts: BTreeSet<UserId>) -> Self {
        Self {
            seat,
            contacts,
            known: BTreeSet::new(),
            presence: BTreeMap::new(),
            directs: BTreeMap::new(),
            entering: None,
            calls: BTreeMap::new(),
            frames: 0,
            chats: VecDeque::new(),
            files: Files::default(),
            posts: 0,
            written: BTreeMap::new(),
            ready: false,
            holds: 0,
        }
    }

    /// Takes note that entries up to this one are being sent.
    pub(super) fn wrote(&mut self, conversation: ConversationId, seq: Seq) {
        self.written.insert(conversation, seq);
    }

    /// The name under which the client knows a message.
    pub(super) fn remember(&mut self, id: String, conversation: ConversationId, seq: Seq) {
        if self.chats.len() >= CHATS_MAX {
            self.chats.pop_front();
        }
        self.chats.push_back((id, (conversation, seq)));
    }

    /// The message that an id means, in this conversation.
    pub(super) fn chat(&self, id: &str, conversation: ConversationId) -> Option<Seq> {
        let found = self.chats.iter().rev().find(|(known, (place, _))| known == id && *place == conversation);
        found.map(|(_, (_, seq))| *seq)
    }

    /// The direct conversation with somebody.
    pub(super) fn direct(&self, user: UserId) -> Option<ConversationId> {
        self.seat.direct(user).map(|room| room.id).or_else(|| self.directs.get(&user).copied())
    }

    /// A group or channel by its id.
    pub(super) fn room(&self, id: &str) -> Option<&Room> {
        self.seat.rooms().find(|room| room.peer.is_none() && room_id(room) == id)
    }

    /// "STATUS `ONLINE` or integer last-seen ms", "a real time, never 0".
    pub(super) fn status(&self, user: UserId, shared: &Shared) -> Value {
        match self.presence.get(&user) {
            Some((Presence::Online | Presence::Away, _)) => "ONLINE".into(),
            Some((Presence::Offline, Some(at))) if at.0 > 0 => at.0.into(),
            _ => shared.settings.started_at.0.max(1).into(),
        }
    }

    /// "Contact record: NAME, ID, ICON, BIO, DATE_TIME, STATUS."
    pub(super) fn contact(&self, user: UserId, shared: &Shared) -> Value {
        let profile = shared.people.get(user);
        json!({
            "NAME": profile.map_or("", |profile| &profile.name),
            "ID": shared.id(user),
            "ICON": "",
            "BIO": profile.map_or("", |profile| &profile.about),
            "DATE_TIME": shared.settings.started_at.0,
            "STATUS": self.status(user, shared),
        })
    }
}

/// "Multi record: NAME, ID, ICON, BIO, CREATOR, admins[], users[], only_admin."
pub(super) fn multi(room: &Room, members: &[MemberView], shared: &Shared) -> Value {
    let ids = |with: &dyn Fn(&&MemberView) -> bool| -> Vec<String> {
        members.iter().filter(with).map(|member| shared.id(member.profile.id)).collect()
    };
    json!({
        "NAME": room.name,
        "ID": room_id(room),
        "ICON": "",
        "BIO": room.topic,
        "CREATOR": ids(&|member| member.role == Role::Owner).into_iter().next().unwrap_or_default(),
        "admins": ids(&|member| member.role > Role::Member),
        "users": ids(&|_| true),
        "only_admin": room.posting == chinwag_protocol::Posting::Admins,
    })
}

/// The id of a group or channel: its handle, in lower case; one without a handle is called by its number.
pub(super) fn room_id(room: &Room) -> String {
    room.handle.as_ref().map_or_else(|| format!("c{}", room.id), |handle| handle.to_lowercase())
}

/// What sort of thing a conversation is on this wire.
pub(super) fn kind_of(room: &Room) -> Kind {
    match room.kind {
        chinwag_protocol::ConversationKind::Channel => Kind::Channel,
        _ => Kind::Group,
    }
}

/// "Wrong rights, unknown ids and bad input are answered with the dialect's own words."
pub(super) fn response_to(refused: &Refused) -> Response {
    match (refused.kind, refused.code.as_str()) {
        (chinwag_protocol::Kind::NotFound, _) => Response::Extinct,
        (chinwag_protocol::Kind::Conflict, _) => Response::Exist,
        (_, "wrong_password") => Response::FalseKey,
        _ => Response::Failed,
    }
}
