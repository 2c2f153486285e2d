//! Door `tag_json`: JSON objects split by `<TAG>`, over TCP, in two dialects. See `docs/doors/tag_json.md`.

mod asked;
mod dialect;
mod files;
mod session;
mod told;
mod wire;

use std::collections::{BTreeMap, VecDeque};

use chinwag_protocol::UserId;
use serde_json::Value;

use self::session::Session;
use crate::{AskId, Door, Input, LinkId, Moment, Output, People, Question, Settings, Timers};

/// The door.
pub struct TagJson {
    sessions: BTreeMap<LinkId, Session>,
    shared: Shared,
}

/// For what a session wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// The client has had time to be ready for more than its login answer.
    Ready,
    /// Parts of files that never came whole are dropped.
    Files,
}

/// What all links of the door share.
struct Shared {
    settings: Settings,
    people: People,
    /// At which link each user of this wire is: once each.
    here: BTreeMap<UserId, LinkId>,
    asks: BTreeMap<AskId, LinkId>,
    next_ask: u64,
    timers: Timers<(LinkId, Alarm)>,
    /// Tags for other links than the one at work: media of calls.
    relays: VecDeque<(LinkId, Vec<(String, Value)>)>,
    out: VecDeque<Output>,
}

impl Shared {
    fn ask(&mut self, link: LinkId, question: Question) -> AskId {
        self.next_ask += 1;
        let ask = AskId(self.next_ask);
        self.asks.insert(ask, link);
        self.out.push_back(Output::Ask { ask, link, question: Box::new(question) });
        ask
    }

    /// An id as this wire spells it: one way, in lower case.
    fn id(&self, user: UserId) -> String {
        self.people.handle(user).to_lowercase()
    }
}

impl TagJson {
    /// The door, as the server's owner wants it.
    pub fn new(settings: Settings) -> Self {
        let shared = Shared {
            settings,
            people: People::default(),
            here: BTreeMap::new(),
            asks: BTreeMap::new(),
            next_ask: 0,
            timers: Timers::default(),
            relays: VecDeque::new(),
            out: VecDeque::new(),
        };
        Self { sessions: BTreeMap::new(), shared }
    }

    fn with(&mut self, link: LinkId, then: impl FnOnce(&mut Session, &mut Shared)) {
        if let Some(session) = self.sessions.get_mut(&link) {
            then(session, &mut self.shared);
        }
    }
}

impl Door for TagJson {
    fn handle(&mut self, input: Input<'_>, now: Moment) {
        match input {
            Input::Opened { link, .. } => {
                self.sessions.insert(link, Session::new(link));
            }
            Input::Bytes { link, bytes } => {
                self.with(link, |session, shared| session.bytes(bytes, now, shared));
            }
            Input::Drained { link } => self.with(link, Session::drained),
            Input::Closed { link } | Input::Ended { link, .. } => {
                if let Some(session) = self.sessions.remove(&link) {
                    session.gone(&mut self.shared);
                }
            }
            Input::Answered { ask, result } => {
                if let Some(link) = self.shared.asks.remove(&ask) {
                    self.with(link, |session, shared| session.answered(ask, result, now, shared));
                }
            }
            Input::Profile { profile } => {
                self.shared.people.tell(profile);
            }
            Input::Entry { link, entry } => {
                self.with(link, |session, shared| session.entry(entry, now, shared));
            }
            Input::Signal { link, signal } => {
                self.with(link, |session, shared| session.signal(signal, now, shared));
            }
            Input::Woken => {
                self.shared.timers.woken();
                while let Some((link, alarm)) = self.shared.timers.due(now) {
                    self.with(link, |session, shared| session.woken(alarm, now, shared));
                }
            }
            Input::CaughtUp { .. } | Input::DialFailed { .. } => {}
        }
        while let Some((link, fields)) = self.shared.relays.pop_front() {
            self.with(link, |session, shared| session.relayed(&fields, shared));
        }
        self.shared.out.extend(self.shared.timers.wish());
    }

    fn poll(&mut self) -> Option<Output> {
        self.shared.out.pop_front()
    }
}
