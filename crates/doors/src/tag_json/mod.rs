//! Door `tag_json`: JSON objects split by `<TAG>`, over TCP, in two dialects. See `docs/doors/tag_json.md`.
//!
//! `wire` and `tag` read bytes, `dialect` finds what is asked, `asked`, `rooms`, `chats` and `calls` ask for it,
//! `answers` says what came of it, `told` tells what happened, with the pictures of `icons`; `session` keeps all that in order, `place` knows
//! what the client knows.

mod answers;
mod asked;
mod calls;
mod chats;
mod dialect;
mod files;
mod icons;
mod place;
mod rooms;
mod session;
mod tag;
mod told;
mod wire;

use std::collections::{BTreeMap, VecDeque};

use chinwag_protocol::UserId;

use self::{
    calls::Frame,
    icons::Icons,
    session::{Purpose, Session},
};
use crate::{Door, Input, LinkId, Moment, Output, Settings, desk::Desk};

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
    desk: Desk<Purpose, Alarm>,
    /// At which link each user of this wire is: once each.
    here: BTreeMap<UserId, LinkId>,
    /// Media of calls, for other links than the one at work.
    frames: VecDeque<(LinkId, Frame)>,
    icons: Icons,
}

impl TagJson {
    /// The door, as the server's owner wants it.
    pub fn new(settings: Settings) -> Self {
        let shared = Shared {
            desk: Desk::new(settings),
            here: BTreeMap::new(),
            frames: VecDeque::new(),
            icons: Icons::default(),
        };
        Self { sessions: BTreeMap::new(), shared }
    }

    fn with(&mut self, link: LinkId, then: impl FnOnce(&mut Session, &mut Shared)) {
        if let Some(session) = self.sessions.get_mut(&link) {
            then(session, &mut self.shared);
        }
    }

    fn forget(&mut self, link: LinkId) {
        self.shared.desk.forget(link);
        let place = self.sessions.remove(&link).and_then(|session| session.place);
        if let Some(place) = place {
            self.shared.here.remove(&place.seat.me);
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
                if let Some((link, purpose)) = self.shared.desk.answered(ask) {
                    self.with(link, |session, shared| session.answered(purpose, result, now, shared));
                }
            }
            Input::Profile { profile } => {
                let before = self.shared.desk.people.tell(profile);
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
                while let Some((link, alarm)) = self.shared.desk.due(now) {
                    self.with(link, |session, shared| session.woken(alarm, now, shared));
                }
            }
            Input::DialFailed { .. } => {}
        }
        while let Some((link, frame)) = self.shared.frames.pop_front() {
            self.with(link, |session, shared| session.frame(&frame, shared));
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.shared.desk.poll()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, from_value, json};

    use super::{session::WAITING_MAX, *};
    use crate::{AskId, Given};

    /// Two users in a call, each at a link of his number, and what is said on the link of the second.
    struct Two(TagJson);

    impl Two {
        fn new() -> Self {
            let mut two = Self(TagJson::new(Settings::plain()));
            let profile = |id: u32| json!({ "id": id, "handle": format!("user{id}"), "name": "", "hue": 0, "kind": "person" });
            for id in [1, 2] {
                let link = LinkId(id);
                let profile = profile(id);
                two.hear(Input::Profile { profile: &from_value(profile.clone()).unwrap() });
                two.hear(Input::Opened { link, peer: "127.0.0.1:4000".parse().unwrap(), dial: None });
                two.say(id, &json!({ "action": "login", "id": format!("user{id}"), "key": "k" }));
                let call = json!({ "call": 3, "by": 1, "at": 1, "media": "audio" });
                let room = json!({ "id": 9, "kind": "direct", "name": "", "topic": "", "public": false,
                    "history": "all", "posting": "everyone", "direct": [1, 2], "members": 2,
                    "head": { "seq": 3, "messages": 0 }, "call": call });
                let snapshot = json!({ "me": profile, "session": id, "settings": {}, "conversations": [room],
                    "users": [profile], "contacts": [], "blocked": [], "positions": [] });
                let snapshot = Box::new(from_value(snapshot).unwrap());
                two.hear(Input::Answered { ask: AskId(id.into()), result: Ok(Given::SignedIn(snapshot)) });
                two.hear(Input::Drained { link });
            }
            two.0.handle(Input::Woken, Moment(Duration::from_millis(300)));
            two.outputs();
            two
        }

        fn outputs(&mut self) -> Vec<Output> {
            std::iter::from_fn(|| self.0.poll()).collect()
        }

        fn hear(&mut self, input: Input<'_>) -> Vec<Output> {
            self.0.handle(input, Moment::default());
            self.outputs()
        }

        fn say(&mut self, link: u32, tag: &Value) -> Vec<Output> {
            let bytes = format!("{tag}<TAG>").into_bytes();
            self.hear(Input::Bytes { link: LinkId(link), bytes: &bytes })
        }
    }

    #[test]
    fn frames_for_a_slow_client_are_dropped_rather_than_piling_up() {
        let mut two = Two::new();
        let frame = |two: &mut Two, size: usize| {
            let tag = json!({ "action": "CALL", "recipient": "user2", "data": "A".repeat(size) });
            let said = two.say(1, &tag);
            assert!(
                said.iter().all(|output| matches!(output, Output::Send { link: LinkId(2), .. })),
                "{said:?}"
            );
            said.len()
        };
        let sent: usize = (0..20).map(|_| frame(&mut two, 300 * 1024)).sum();
        assert_eq!(sent, 3, "three of them are less than a mebibyte");
        two.hear(Input::Drained { link: LinkId(2) });
        assert_eq!(frame(&mut two, 900 * 1024), 1);
        assert_eq!(frame(&mut two, 900 * 1024), 0);
    }

    #[test]
    fn what_waits_while_a_request_is_answered_is_bounded() {
        let mut two = Two::new();
        let upload = json!({ "action": "CHAT", "type": "CONTACT", "recipient": "user2", "chat": "IMAGE", "data": "AAAA" });
        assert!(matches!(two.say(1, &upload).as_slice(), [Output::Ask { .. }]));
        let piece = vec![b' '; 64 * 1024];
        let closes = |said: &[Output]| said.iter().any(|output| matches!(output, Output::Close { .. }));
        let pieces = (1..).find(|_| closes(&two.hear(Input::Bytes { link: LinkId(1), bytes: &piece })));
        assert_eq!(pieces, Some(64), "four mebibytes are too much together with the mark before them");
        assert_eq!(two.0.sessions[&LinkId(1)].tags.len(), WAITING_MAX + 5);
        two.hear(Input::Bytes { link: LinkId(1), bytes: &piece });
        assert_eq!(two.0.sessions[&LinkId(1)].tags.len(), WAITING_MAX + 5, "nothing is kept after that");
    }

    #[test]
    fn whoever_goes_leaves_nothing_behind() {
        let mut two = Two::new();
        two.say(1, &json!({ "action": "ADD", "type": "CONTACT", "user_id": "user2" }));
        assert_eq!((two.0.shared.desk.asked(LinkId(1)).count(), two.0.shared.here.len()), (1, 2));
        two.hear(Input::Closed { link: LinkId(1) });
        two.hear(Input::Closed { link: LinkId(2) });
        let shared = &two.0.shared;
        assert_eq!(shared.desk.asked(LinkId(1)).count(), 0);
        assert!(shared.here.is_empty() && two.0.sessions.is_empty());
        let said = two.hear(Input::Woken);
        assert!(said.is_empty(), "{said:?}");
    }
}
