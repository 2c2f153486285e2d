//! The door `udp_ack` against whatever comes: no datagram breaks it, and what an old client depends on always holds.

mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use chinwag_doors::{AskId, Door, Given, Input, LinkId, Mode, Moment, Output, Question, UdpAck};
use chinwag_protocol::{
    Answer, ConversationId, Entry, Event, Kind, LogId, MemberView, MessageBody, Millis, Posted, Profile,
    Refused, Reply, Role, Seq, SessionId, Snapshot, UserId, UserKind,
};
use settings::settings;

/// Three sources that are believed, and three that may be forged.
const SOURCES: [&str; 6] = [
    "127.0.0.1:4000",
    "127.0.0.1:4001",
    "10.0.0.2:4000",
    "203.0.113.1:4000",
    "203.0.113.1:4001",
    "203.0.113.2:4000",
];

const NAMES: [&str; 5] = ["x", "y", "longname", "anna", "nobody"];

/// What sources say; `N` and `M` are names.
const SAID: [&str; 14] = [
    "register N",
    "register N secret",
    "reg N",
    "reg N  ",
    "signout N",
    "send M hello N",
    "send M hello N \t",
    "save_message N M Fri Nov 20 23:19:28 2026 off",
    "send_all group N",
    "ack_on [Message received by N]",
    "ack_channel",
    "send_all [M]: N",
    "",
    "hello",
];

/// A server that knows everybody of `NAMES` but `nobody`, and what was said to each source.
struct World {
    door: UdpAck,
    now: Duration,
    /// Who is at which link.
    seats: BTreeMap<LinkId, UserId>,
    posts: BTreeMap<String, Seq>,
    log: u32,
    /// What each link was told of: it may hear only of these.
    known: BTreeMap<LinkId, BTreeSet<String>>,
    /// Bytes in and out, and the different datagrams, of those who may be forged.
    bytes: BTreeMap<LinkId, (usize, usize)>,
    said: BTreeMap<LinkId, BTreeSet<Vec<u8>>>,
    /// What is outstanding, and how often it was sent.
    pushes: BTreeMap<LinkId, (Vec<u8>, u32)>,
}

fn profile(id: u32) -> Profile {
    let handle = NAMES[id as usize].to_owned();
    let kind = if handle == "anna" { UserKind::Person } else { UserKind::Guest };
    let name = handle.clone();
    Profile {
        id: UserId(id + 2),
        handle,
        name,
        about: String::new(),
        hue: 0,
        avatar: None,
        kind,
        admin: false,
        inactive: false,
    }
}

fn user(handle: &str) -> Option<Profile> {
    (0..4).map(profile).find(|profile| profile.handle == handle)
}

impl World {
    fn new(relay: bool) -> Self {
        let settings = settings(if relay { Mode::Relay } else { Mode::Direct });
        let mut world = Self {
            door: UdpAck::new(settings),
            now: Duration::ZERO,
            seats: BTreeMap::new(),
            posts: BTreeMap::new(),
            log: 0,
            known: BTreeMap::new(),
            bytes: BTreeMap::new(),
            said: BTreeMap::new(),
            pushes: BTreeMap::new(),
        };
        for (link, source) in (1..).zip(SOURCES) {
            let peer: SocketAddr = source.parse().expect("an address");
            world.tell(Input::Opened { link: LinkId(link), peer, dial: None });
        }
        world
    }

    fn tell(&mut self, input: Input<'_>) {
        self.door.handle(input, Moment(self.now));
        while let Some(output) = self.door.poll() {
            match output {
                Output::Send { link, bytes } => self.sent(link, &bytes),
                Output::Ask { ask, link, question } => self.asked(ask, link, *question),
                _ => {}
            }
        }
    }

    fn sent(&mut self, link: LinkId, bytes: &[u8]) {
        assert!(bytes.len() <= 2_048);
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let own = self.seats.get(&link).map(|user| profile(user.0 - 2).handle);
        let words: Vec<&str> = text.split(' ').collect();
        let known = self.known.entry(link).or_default();
        match words[..] {
            ["system_broadcast", name, ip, port] => {
                assert!(ip.parse::<std::net::IpAddr>().is_ok() && port.parse::<u16>().is_ok());
                assert_ne!(Some(name), own.as_deref(), "one's own name");
                known.insert(name.to_owned());
            }
            ["online" | "offline", name] | ["Error", "[Client", name, _] => {
                assert!(known.contains(name), "{text} to a client that was not told of him");
            }
            ["send" | "Channel-Message", ..] => {
                let push = self.pushes.entry(link).or_insert_with(|| (bytes.to_vec(), 0));
                assert_eq!(push.0, bytes, "two pushes at once");
                push.1 += 1;
                assert!(push.1 <= 5, "a sixth try");
            }
            _ => {}
        }
        let (came, went) = self.bytes.entry(link).or_default();
        *went += bytes.len();
        let one = self.said.get(&link).is_none_or(|said| said.len() < 2);
        assert!(
            link.0 <= 3 || !one || *went <= *came,
            "more than it sent to a source that may be forged: {text}"
        );
    }

    fn asked(&mut self, ask: AskId, link: LinkId, question: Question) {
        let me = match question {
            Question::Guest { handle } => user(&handle).filter(|user| user.kind == UserKind::Guest),
            Question::SignIn(device) => user(&device.handle).filter(|user| user.kind == UserKind::Person),
            Question::SignOut {} => {
                self.seats.remove(&link);
                self.pushes.remove(&link);
                return self.tell(Input::Answered { ask, result: Ok(Given::Done {}) });
            }
            other => return self.tell_asked(ask, other),
        };
        let Some(me) = me else {
            let result = Err(Refused::new(Kind::Conflict, "handle_taken", "no"));
            return self.tell(Input::Answered { ask, result });
        };
        self.seats.insert(link, me.id);
        self.pushes.remove(&link);
        self.tell(Input::Profile { profile: &me });
        let json = serde_json::json!({"me": me, "session": SessionId(me.id.0), "settings": {}, "conversations": [everyone()],
            "users": [me], "contacts": [], "blocked": [], "positions": []});
        let snapshot: Snapshot = serde_json::from_value(json).expect("a snapshot");
        self.tell(Input::Answered { ask, result: Ok(Given::SignedIn(Box::new(snapshot))) });
        self.tell(Input::CaughtUp { link });
    }

    fn tell_asked(&mut self, ask: AskId, question: Question) {
        use chinwag_protocol::{Command, Query};
        let not_found = || Err(Refused::new(Kind::NotFound, "not_found", "no"));
        let result = match question {
            Question::Query(Query::Members { .. }) => {
                let members = (0..4).map(|id| {
                    let (role, joined_at) = (Role::Member, Millis(0));
                    MemberView {
                        profile: profile(id),
                        role,
                        joined_at,
                        delivered: Seq::ZERO,
                        read: Seq::ZERO,
                    }
                });
                (0..4).for_each(|id| self.tell(Input::Profile { profile: &profile(id) }));
                Ok(Given::Answer(Answer::Members(members.collect())))
            }
            Question::Query(Query::Handle { handle }) => {
                user(&handle).map_or_else(not_found, |user| Ok(Given::Answer(Answer::User(user))))
            }
            Question::Command(Command::OpenDirect { user }) => {
                Ok(Given::Reply(Reply::Conversation { conversation: ConversationId(10 + user.0) }))
            }
            Question::Command(Command::Post { conversation, client_id, .. }) => {
                self.log += 1;
                let seq = *self.posts.entry(client_id).or_insert(Seq(self.log));
                Ok(Given::Reply(Reply::Posted(Posted { conversation, seq, at: Millis(0) })))
            }
            other => panic!("{other:?}"),
        };
        self.tell(Input::Answered { ask, result });
    }

    /// A source says something.
    fn say(&mut self, source: u8, said: u8, name: u8, other: u8) {
        let link = LinkId(u32::from(source) % 6 + 1);
        let text = SAID[usize::from(said) % SAID.len()];
        let name = NAMES[usize::from(name) % NAMES.len()];
        let bytes =
            text.replace('N', name).replace('M', NAMES[usize::from(other) % NAMES.len()]).into_bytes();
        self.hear(link, &bytes);
    }

    fn hear(&mut self, link: LinkId, bytes: &[u8]) {
        self.bytes.entry(link).or_default().0 += bytes.len();
        self.said.entry(link).or_default().insert(bytes.to_vec());
        if bytes.starts_with(b"ack_") {
            self.pushes.remove(&link);
        }
        self.tell(Input::Bytes { link, bytes });
    }

    /// Somebody elsewhere says something to everybody; who has a push outstanding holds, as the listener does.
    fn post(&mut self) {
        self.log += 1;
        let body = MessageBody { text: format!("message {}", self.log), ..MessageBody::default() };
        let log = LogId::Conversation(ConversationId(1));
        let (seq, event) = (Seq(self.log), Event::Message(body));
        let entry = Entry { log, seq, at: Millis(0), by: UserId(5), client_id: None, event };
        let links: Vec<LinkId> = self.seats.keys().copied().collect();
        for link in links {
            if !self.pushes.contains_key(&link) && (link.0 <= 3 || self.known.contains_key(&link)) {
                self.tell(Input::Entry { link, entry: &entry });
            }
        }
    }
}

fn everyone() -> serde_json::Value {
    serde_json::json!({"id": 1, "kind": "group", "handle": "Everyone", "name": "Everyone", "topic": "", "public": true,
        "history": "all", "posting": "everyone", "members": 4, "closed": false, "head": {"seq": 0, "messages": 0}})
}

/// Whatever is said by whom and when.
#[test]
fn fuzz_udp_ack_door() {
    bolero::check!().with_type::<(bool, Vec<(u8, u8, u8, u8)>)>().for_each(|(relay, steps)| {
        let mut world = World::new(*relay);
        for (source, said, name, other) in steps {
            match source % 16 {
                0..12 => world.say(*source, *said, *name, *other),
                12 => world.hear(LinkId(u32::from(*name) % 6 + 1), &[*said, *name, *other]),
                13 => world.post(),
                _ => {
                    world.now += Duration::from_millis(u64::from(*said) * 10);
                    world.tell(Input::Woken);
                }
            }
        }
    });
}

/// Every datagram, again and again from a source that says nothing else, while others talk to it and to everybody.
#[test]
fn g4_no_datagrams_make_a_forged_source_get_more_than_it_sent() {
    let count = |all: usize| u8::try_from(all).expect("few");
    let (mut answered, mut silent) = (0, 0);
    for case in 0..2 * SAID.len() * NAMES.len() * NAMES.len() {
        let (relay, rest) = (case % 2 == 0, case / 2);
        let (said, rest) = (count(rest % SAID.len()), rest / SAID.len());
        let (name, other) = (count(rest % NAMES.len()), count(rest / NAMES.len()));
        let mut world = World::new(relay);
        // From an address that is believed: `register x`, and later `send M hello N` and `send_all group N`.
        world.say(0, 0, 0, 0);
        for _ in 0..3 {
            world.say(3, said, name, other);
            world.say(0, 5, 0, name);
            world.say(0, 8, 0, 0);
            world.post();
            world.now += Duration::from_millis(600);
            world.tell(Input::Woken);
        }
        let (came, went) = world.bytes[&LinkId(4)];
        assert!(
            went <= came,
            "{went} bytes for {came}: {} by {}",
            SAID[usize::from(said)],
            NAMES[usize::from(name)]
        );
        *if went > 0 { &mut answered } else { &mut silent } += 1;
    }
    assert!(answered > 0 && silent > 0, "{answered} are answered, {silent} are not");
}
