//! Door `tcp_json`: groups, poems, time and search over TCP, in frames of JSON. See `docs/doors/tcp_json.md`.

mod groups;
mod said;
mod search;
mod session;
mod told;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use chinwag_protocol::UserId;

use self::session::{Doing, Session};
use crate::{Door, Input, LinkId, Moment, Output, Settings, desk::Desk};

/// The name of the door.
const DOOR: &str = "tcp_json";

/// The door.
pub struct TcpJson {
    sessions: BTreeMap<LinkId, Session>,
    shared: Shared,
}

/// What all links of the door share.
struct Shared {
    desk: Desk<Doing>,
    /// Who is signed in on one of the links: once each.
    here: BTreeSet<UserId>,
}

impl Shared {
    /// Whether somebody of this name is signed in here.
    fn is_here(&self, handle: &str) -> bool {
        self.desk.people.by_handle(handle).is_some_and(|profile| self.here.contains(&profile.id))
    }
}

impl TcpJson {
    /// The door, as the server's owner wants it.
    pub fn new(settings: Settings) -> Self {
        let shared = Shared { desk: Desk::new(settings), here: BTreeSet::new() };
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
                self.shared.desk.forget(link);
                if let Some(place) = self.sessions.remove(&link).and_then(|session| session.place) {
                    self.shared.here.remove(&place.seat.me);
                }
            }
            Input::Answered { ask, result } => {
                if let Some((link, doing)) = self.shared.desk.answered(ask) {
                    self.with(link, |session, shared| session.answered(doing, result, now, shared));
                }
            }
            Input::Profile { profile } => {
                self.shared.desk.people.tell(profile);
            }
            Input::Entry { link, entry } => self.with(link, |session, shared| session.entry(entry, shared)),
            Input::Woken => {
                while let Some((link, ())) = self.shared.desk.due(now) {
                    // A frame was begun and never finished.
                    self.with(link, Session::close);
                }
            }
            // This wire has no presence, and no word for catching up.
            Input::DialFailed { .. } | Input::CaughtUp { .. } | Input::Signal { .. } => {}
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.shared.desk.poll()
    }
}
