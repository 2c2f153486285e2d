//! Door `socket_io`: contacts, rooms of two, presence and bots over HTTP and Socket.IO. See `docs/doors/socket_io.md`.
//!
//! A link is one Socket.IO connection, or one HTTP request. What they know of each other is here: the tokens that
//! were given out, who is about to appear, and who has.

mod directory;
mod place;
mod request;
mod session;
mod wire;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use chinwag_protocol::{ConversationId, Refused, UserId};

use self::{request::Asked, session::Session, wire::Said};
use crate::{AskId, Door, Given, Input, LinkId, Moment, Output, Settings, desk::Desk};

/// The name of the door.
const DOOR: &str = "socket_io";

/// How long a client has after its first `join` before it is told anything. "Event handlers are registered after
/// initiate_connection returns; anything pushed earlier is lost."
const APPEARS_AFTER: Duration = Duration::from_secs(3);

/// "At least 1 s between cached messages: a first message opens a window in a thread."
const BETWEEN_WAITING: Duration = Duration::from_secs(1);

/// "A fixed deadline of about 14 s checked every second."
const SILENT_FOR: Duration = Duration::from_secs(14);
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// "Once only, and not if the user is back within the same moment."
const MOMENT: Duration = Duration::from_secs(1);

/// By then a connection that is still there has answered a ping that was sent after a message (25 s and 20 s), so
/// the message has arrived, whether its client answers acknowledgements or not.
const PINGED_WITHIN: Duration = Duration::from_secs(46);

/// The name under which the server itself speaks.
const ADMIN: &str = "Admin";

/// The door.
pub struct SocketIo {
    links: BTreeMap<LinkId, Link>,
    shared: Shared,
}

enum Link {
    /// Nothing was said yet.
    Fresh,
    Socket(Box<Session>),
    Request(Box<Asked>),
}

/// For what something was asked.
enum Purpose {
    Socket(session::Doing),
    Request(request::Doing),
}

/// What a link is to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Appear,
    NextWaiting,
    Check,
    Offline(UserId),
}

/// What all links of the door share.
struct Shared {
    desk: Desk<Purpose, Alarm>,
    /// The token that each user was given last. "A new login replaces the previous token."
    tokens: BTreeMap<UserId, String>,
    /// On how many links each user has joined, and on how many of them he has appeared.
    here: BTreeMap<UserId, Here>,
    /// What is to be told to other links, in this order, once the present one is done.
    news: VecDeque<News>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Here {
    coming: u32,
    appeared: u32,
}

/// What other links are to hear.
enum News {
    /// A user has appeared.
    Appeared(UserId),
    /// A token is worth nothing any more.
    Ended(String),
}

impl Shared {
    /// Whether somebody is on his way and not to be announced yet.
    fn is_coming(&self, user: UserId) -> bool {
        self.here.get(&user).is_some_and(|here| here.coming > 0 && here.appeared == 0)
    }

    fn has_appeared(&self, user: UserId) -> bool {
        self.here.get(&user).is_some_and(|here| here.appeared > 0)
    }

    fn comes(&mut self, user: UserId) {
        self.here.entry(user).or_default().coming += 1;
    }

    fn appears(&mut self, user: UserId) {
        let here = self.here.entry(user).or_default();
        here.coming = here.coming.saturating_sub(1);
        here.appeared += 1;
        self.news.push_back(News::Appeared(user));
    }

    fn goes(&mut self, user: UserId, had_appeared: bool) {
        let Some(here) = self.here.get_mut(&user) else { return };
        let count = if had_appeared { &mut here.appeared } else { &mut here.coming };
        *count = count.saturating_sub(1);
        if here.coming == 0 && here.appeared == 0 {
            self.here.remove(&user);
        }
    }
}

/// "All pairs of the sorted name list, `A&B` with A before B in code-point order, case kept." The order of bytes in
/// UTF-8 is that of the code points.
fn pair(one: &str, other: &str) -> String {
    if one < other { format!("{one}&{other}") } else { format!("{other}&{one}") }
}

/// "Room `Admin&X` exists for each user and holds only such notices."
fn notices(name: &str) -> String {
    format!("{ADMIN}&{name}")
}

/// A conversation of more than two, as its room is called: by its handle, or by its number if it has none.
fn group(room: &crate::Room) -> String {
    room.handle.as_ref().map_or_else(|| format!("#:{}", room.id), |handle| format!("#{handle}"))
}

/// What a room of more than two is called, read back.
enum GroupName<'a> {
    Handle(&'a str),
    Number(ConversationId),
}

fn group_name(room: &str) -> Option<GroupName<'_>> {
    let name = room.strip_prefix('#')?;
    match name.strip_prefix(':') {
        Some(number) => number.parse().ok().map(ConversationId).map(GroupName::Number),
        None => Some(GroupName::Handle(name)),
    }
}

impl SocketIo {
    /// The door, as the server's owner wants it.
    pub fn new(settings: Settings) -> Self {
        let shared = Shared {
            desk: Desk::new(settings),
            tokens: BTreeMap::new(),
            here: BTreeMap::new(),
            news: VecDeque::new(),
        };
        Self { links: BTreeMap::new(), shared }
    }

    fn said(&mut self, link: LinkId, bytes: &[u8], now: Moment) {
        let Some(place) = self.links.get_mut(&link) else { return };
        let said = wire::read(bytes);
        match (place, said) {
            (place @ Link::Fresh, Ok(Said::Request(request))) => {
                let asked = Asked::new(link);
                *place = Link::Request(Box::new(asked));
                if let Link::Request(asked) = place {
                    asked.request(&request, &mut self.shared);
                }
            }
            (Link::Request(_), _) | (_, Ok(Said::Request(_))) => self.shared.desk.close(link),
            (place @ Link::Fresh, said) => {
                let mut session = Box::new(Session::new(link));
                session.said(said, now, &mut self.shared);
                *place = Link::Socket(session);
            }
            (Link::Socket(session), said) => session.said(said, now, &mut self.shared),
        }
    }

    fn with(&mut self, link: LinkId, then: impl FnOnce(&mut Session, &mut Shared)) {
        if let Some(Link::Socket(session)) = self.links.get_mut(&link) {
            then(session, &mut self.shared);
        }
    }

    fn gone(&mut self, link: LinkId) {
        self.shared.desk.forget(link);
        if let Some(Link::Socket(mut session)) = self.links.remove(&link) {
            session.forget_place(&mut self.shared);
        }
    }

    /// Tells the others what happened on one link.
    fn spread(&mut self) {
        while let Some(news) = self.shared.news.pop_front() {
            for link in self.links.values_mut() {
                let Link::Socket(session) = link else { continue };
                match &news {
                    News::Appeared(user) => session.appeared(*user, &mut self.shared),
                    News::Ended(token) => session.token_ended(token, &mut self.shared),
                }
            }
        }
    }

    fn answered(&mut self, ask: AskId, result: Result<Given, Refused>, now: Moment) {
        let Some((link, purpose)) = self.shared.desk.answered(ask) else { return };
        let ended = match (self.links.get_mut(&link), purpose) {
            (Some(Link::Socket(session)), Purpose::Socket(doing)) => {
                session.answered(doing, result, now, &mut self.shared);
                None
            }
            (Some(Link::Request(asked)), Purpose::Request(doing)) => {
                asked.answered(doing, result, &mut self.shared)
            }
            _ => None,
        };
        let Some(token) = ended else { return };
        let sits = self.sits_on(&token);
        if sits {
            self.shared.news.push_back(News::Ended(token.clone()));
        }
        if let Some(Link::Request(asked)) = self.links.get_mut(&link) {
            asked.end(token, sits, &mut self.shared);
        }
    }

    /// Whether somebody is signed in with this token at one of the links.
    fn sits_on(&self, token: &str) -> bool {
        self.links
            .values()
            .any(|link| matches!(link, Link::Socket(session) if session.token() == Some(token)))
    }
}

impl Door for SocketIo {
    fn handle(&mut self, input: Input<'_>, now: Moment) {
        match input {
            Input::Opened { link, .. } => {
                self.links.insert(link, Link::Fresh);
            }
            Input::Bytes { link, bytes } => self.said(link, bytes, now),
            Input::Ended { link, reason } => self.with(link, |session, shared| session.ended(reason, shared)),
            Input::Closed { link } => self.gone(link),
            Input::Answered { ask, result } => self.answered(ask, result, now),
            Input::Profile { profile } => {
                self.shared.desk.people.tell(profile);
            }
            Input::Entry { link, entry } => {
                self.with(link, |session, shared| session.entry(entry, now, shared));
            }
            Input::CaughtUp { link } => self.with(link, |session, _shared| session.caught_up()),
            Input::Signal { link, signal } => {
                self.with(link, |session, shared| session.signal(signal, now, shared));
            }
            Input::Woken => {
                while let Some((link, alarm)) = self.shared.desk.due(now) {
                    self.with(link, |session, shared| session.woken(alarm, now, shared));
                }
            }
            // What leaves for the transport has not arrived: acknowledgements tell that.
            Input::Drained { .. } | Input::DialFailed { .. } => {}
        }
        self.spread();
    }

    fn poll(&mut self) -> Option<Output> {
        self.shared.desk.poll()
    }
}
