//! Door `tcp_json`: groups, poems, time and search over TCP, in frames of JSON. See `docs/doors/tcp_json.md`.

mod groups;
mod said;
mod search;
mod session;
mod told;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chinwag_protocol::UserId;

use self::session::Session;
use crate::{AskId, Door, Input, LinkId, Moment, Output, People, Settings, timers::Timers};

/// The door.
pub struct TcpJson {
    sessions: BTreeMap<LinkId, Session>,
    shared: Shared,
}

/// What all links of the door share.
struct Shared {
    settings: Settings,
    people: People,
    /// Who is signed in on one of the links: once each.
    here: BTreeSet<UserId>,
    asks: BTreeMap<AskId, LinkId>,
    next_ask: u64,
    timers: Timers<()>,
    out: VecDeque<Output>,
}

impl Shared {
    /// Whether somebody of this name is signed in here.
    fn is_here(&self, handle: &str) -> bool {
        self.people.by_handle(handle).is_some_and(|profile| self.here.contains(&profile.id))
    }

    /// A number for a question of a link.
    fn ask(&mut self, link: LinkId) -> AskId {
        self.next_ask += 1;
        let ask = AskId(self.next_ask);
        self.asks.insert(ask, link);
        ask
    }
}

impl TcpJson {
    /// The door, as the server's owner wants it.
    pub fn new(settings: Settings) -> Self {
        let shared = Shared {
            settings,
            people: People::default(),
            here: BTreeSet::new(),
            asks: BTreeMap::new(),
            next_ask: 0,
            timers: Timers::default(),
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

impl Door for TcpJson {
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
            Input::Entry { link, entry } => self.with(link, |session, shared| session.entry(entry, shared)),
            Input::Woken => {
                while let Some((link, ())) = self.shared.timers.due(now) {
                    // A frame was begun and never finished.
                    self.with(link, Session::close);
                }
            }
            // This wire has no presence, and no word for catching up.
            Input::DialFailed { .. } | Input::CaughtUp { .. } | Input::Signal { .. } => {}
        }
        self.shared.out.extend(self.shared.timers.wish());
    }

    fn poll(&mut self) -> Option<Output> {
        self.shared.out.pop_front()
    }
}
