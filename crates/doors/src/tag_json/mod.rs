//! Door `tag_json`: JSON objects split by `<TAG>`, over TCP, in two dialects. See `docs/doors/tag_json.md`.
//!
//! `wire` and `tag` read bytes, `dialect` finds what is asked, `asked`, `rooms`, `chats` and `calls` ask for it,
//! `answers` says what came of it, `told` tells what happened; `session` keeps all that in order, `place` knows
//! what the client knows.

mod answers;
mod asked;
mod calls;
mod chats;
mod dialect;
mod files;
mod place;
mod rooms;
mod session;
mod tag;
mod told;
mod wire;

use std::collections::{BTreeMap, VecDeque};

use chinwag_protocol::UserId;

use self::{calls::Frame, chats::Dates, session::Session};
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
    /// Media of calls, for other links than the one at work.
    frames: VecDeque<(LinkId, Frame)>,
    dates: Dates,
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
            frames: VecDeque::new(),
            dates: Dates::default(),
            out: VecDeque::new(),
        };
        Self { sessions: BTreeMap::new(), shared }
    }

    fn with(&mut self, link: LinkId, then: impl FnOnce(&mut Session, &mut Shared)) {
        if let Some(session) = self.sessions.get_mut(&link) {
            then(session, &mut self.shared);
        }
    }

    fn forget(&mut self, link: LinkId) {
        if let Some(mut session) = self.sessions.remove(&link) {
            // Nobody answers on a link that is gone.
            for ask in session.asides.keys().chain(session.doing.as_ref().map(|(ask, _)| ask)) {
                self.shared.asks.remove(ask);
            }
            session.doing = None;
            session.gone(&mut self.shared);
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
            Input::Drained { link } => self.with(link, |session, shared| session.drained(now, shared)),
            Input::Closed { link } | Input::Ended { link, .. } => self.forget(link),
            Input::Answered { ask, result } => {
                if let Some(link) = self.shared.asks.remove(&ask) {
                    self.with(link, |session, shared| session.answered(ask, result, now, shared));
                }
            }
            Input::Profile { profile } => {
                let before = self.shared.people.tell(profile);
                if let Some(before) = before.filter(|before| before.handle != profile.handle) {
                    for place in self.sessions.values_mut().filter_map(|session| session.place.as_mut()) {
                        place.user_was(before.id, &before.handle);
                    }
                }
            }
            Input::Entry { link, entry } => {
                self.with(link, |session, shared| session.entry(entry, now, shared));
            }
            Input::CaughtUp { link } => self.with(link, |session, _| session.caught_up()),
            Input::Signal { link, signal } => {
                self.with(link, |session, shared| session.signal(signal, now, shared));
            }
            Input::Woken => {
                self.shared.timers.woken();
                while let Some((link, alarm)) = self.shared.timers.due(now) {
                    self.with(link, |session, shared| session.woken(alarm, now, shared));
                }
            }
            Input::DialFailed { .. } => {}
        }
        while let Some((link, frame)) = self.shared.frames.pop_front() {
            self.with(link, |session, shared| session.frame(&frame, shared));
        }
        self.shared.out.extend(self.shared.timers.wish());
    }

    fn poll(&mut self) -> Option<Output> {
        self.shared.out.pop_front()
    }
}
