//! Door `pipe_line`: requests between bars, and a second connection dialled back to the client, over TCP. See
//! `docs/doors/pipe_line.md`.

mod back;
mod session;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use chinwag_protocol::UserId;

use self::session::{Doing, Session};
use crate::{DialId, Door, Input, LinkId, Moment, Output, Settings, desk::Desk};

/// The door.
pub struct PipeLine {
    sessions: BTreeMap<LinkId, Session>,
    /// The connections that were dialled back, each with the one it belongs to.
    backs: BTreeMap<LinkId, LinkId>,
    shared: Shared,
}

/// For what a session wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// Nothing more came for a moment: what is there is a message.
    Quiet,
    /// To dial again.
    Dial,
    /// To push again what was not answered.
    Push,
    /// To leave without the last answer.
    Quit,
}

/// What all links of the door share.
struct Shared {
    desk: Desk<Doing, Alarm>,
    /// Who is signed in on one of the links: once each.
    here: BTreeSet<UserId>,
    dials: BTreeMap<DialId, LinkId>,
    next_dial: u32,
}

impl Shared {
    fn dial(&mut self, link: LinkId, to: std::net::SocketAddr) {
        self.next_dial += 1;
        let dial = DialId(self.next_dial);
        self.dials.insert(dial, link);
        self.desk.dial(dial, to);
    }

    fn is_here(&self, handle: &str) -> bool {
        self.desk.people.by_handle(handle).is_some_and(|profile| self.here.contains(&profile.id))
    }
}

impl PipeLine {
    /// The door, as the server's owner wants it.
    pub fn new(settings: Settings) -> Self {
        let shared =
            Shared { desk: Desk::new(settings), here: BTreeSet::new(), dials: BTreeMap::new(), next_dial: 0 };
        Self { sessions: BTreeMap::new(), backs: BTreeMap::new(), shared }
    }

    fn with(&mut self, link: LinkId, then: impl FnOnce(&mut Session, &mut Shared)) {
        if let Some(session) = self.sessions.get_mut(&link) {
            then(session, &mut self.shared);
        }
    }

    fn gone(&mut self, link: LinkId, now: Moment) {
        self.shared.desk.forget(link);
        if let Some(session) = self.sessions.remove(&link) {
            session.gone(&mut self.shared);
        } else if let Some(main) = self.backs.remove(&link) {
            self.with(main, |session, shared| session.back_gone(link, now, shared));
        }
    }
}

impl Door for PipeLine {
    fn handle(&mut self, input: Input<'_>, now: Moment) {
        match input {
            Input::Opened { link, peer, dial: None } => {
                self.sessions.insert(link, Session::new(link, peer));
            }
            Input::Opened { link, dial: Some(dial), .. } => {
                let main = self.shared.dials.remove(&dial);
                match main.and_then(|main| self.sessions.get_mut(&main)) {
                    Some(session) => {
                        self.backs.insert(link, session.link());
                        session.back_opened(link, now, &mut self.shared);
                    }
                    // Its client has gone meanwhile.
                    None => self.shared.desk.close(link),
                }
            }
            Input::DialFailed { dial } => {
                if let Some(main) = self.shared.dials.remove(&dial) {
                    self.with(main, |session, shared| session.dial_failed(now, shared));
                }
            }
            Input::Bytes { link, bytes } => match self.backs.get(&link).copied() {
                Some(main) => self.with(main, |session, shared| session.answer(bytes, now, shared)),
                None => self.with(link, |session, shared| session.bytes(bytes, now, shared)),
            },
            Input::Ended { link, .. } => {
                // Whichever of a client's two connections is ended first, the other end hears it on the second one.
                let main = self.backs.get(&link).copied().unwrap_or(link);
                self.with(main, Session::say_goodbye);
                self.gone(link, now);
            }
            Input::Closed { link } => self.gone(link, now),
            Input::Answered { ask, result } => {
                if let Some((link, doing)) = self.shared.desk.answered(ask) {
                    self.with(link, |session, shared| session.answered(doing, result, now, shared));
                }
            }
            Input::Profile { profile } => {
                self.shared.desk.people.tell(profile);
            }
            Input::Entry { link, entry } => {
                self.with(link, |session, shared| session.entry(entry, now, shared));
            }
            Input::Signal { link, signal } => {
                self.with(link, |session, shared| session.signal(signal, now, shared));
            }
            Input::Woken => {
                while let Some((link, alarm)) = self.shared.desk.due(now) {
                    self.with(link, |session, shared| session.woken(alarm, now, shared));
                }
            }
            Input::CaughtUp { .. } | Input::Drained { .. } => {}
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.shared.desk.poll()
    }
}
