//! The form of a transcript: one thing that happens, or one thing that the door must do, on each line.
//!
//! ```text
//! # a remark                              an empty line, or one that begins with #
//! open 1 127.0.0.1:4000                   link 1 is opened by this peer
//! open 2 127.0.0.1:9000 dial 1            link 2 is the answer to the door's first dial
//! dial-failed 1                           or it did not come about
//! 1> LOGIN|anna|secret\n                  bytes come in on link 1: \n \r \t \\ \xNN, everything else as it is
//! closed 1                                link 1 is gone
//! answer 1 {"reply":{"done":{}}}          the door's question 1 is answered
//! refuse 1 {"kind":"not_found",…}         or refused
//! entry 1 {"log":"c7","seq":1,…}          an entry for who is signed in on link 1
//! signal 1 {"typing":{…}}                 a signal for the same
//! caught-up 1                             what waited for him has been told
//! drained 1                               all that was sent on link 1 has left
//! ended 1 {"kind":"not_signed_in",…}      link 1 is about to be closed, for this reason
//! wait 1500ms                             time passes; a wish to be woken within it is granted
//!
//! person 3 bee Bee Two                    who user 3 is: handle and display name
//! face 3 bee Bee Two abab…                the same, with the picture that stands for him (64 digits)
//! guest 4 cid                             the same of a guest
//! bot 1 chinwag                           and of a bot
//! members 2 2:ade 4:cid:guest             the door's question 2 is answered: these are members
//! signed-in 1 2 ade c7:group:tea          the door's question 1 is answered: signed in as user 2, who is in these
//!                                         conversations: c7:group:HANDLE, c7:channel:HANDLE, c7:direct:PEER;
//!                                         with `:silent` behind it if nothing was said there yet
//! entered 1 c9:group:tea                  the user of link 1 has entered a conversation
//! message 1 c7 12 by 3 Tea?               a message, for who is signed in on link 1; escapes as in bytes
//! posted 1 c7 12                          the door's question 1 is answered: posted as that entry
//! done 1                                  it is answered: the command was done
//! is-done 1                               it is answered with `Given::Done`
//!
//! 1< 0|OK\n                               the door sends exactly these bytes, in one piece
//! ask 1 on 1 {"sign_in":{…}}              asks its question 1 on behalf of link 1
//! passes-on 1 {"cursor":{…}}              passes a signal on for link 1
//! hold 1                                  wants to be told no entries on link 1
//! go 1                                    wants to be told them again
//! pause 1                                 wants nothing more to be read on link 1
//! resume 1                                wants it to be read again
//! foreign-name 1                          says that somebody spoke in another one's name on link 1
//! dial 1 127.0.0.1:9000                   wants a link
//! wake 5000ms                             wants to be woken at this time after the start
//! close 1                                 closes link 1
//! ```

use std::{net::SocketAddr, time::Duration};

use chinwag_doors::{AskId, DialId, Given, LinkId, Moment, Output};
use chinwag_protocol::{
    Answer, ConversationId, ConversationKind, ConversationView, Entry, Event, History, LogId, MemberView,
    MessageBody, Millis, MyMembership, Position, Posted, Posting, Profile, Refused, Reply, Role, Seq,
    ServerSignal, SessionId, Settings, Snapshot, UserId, UserKind,
};

/// What happens, or what is expected of the door.
#[derive(Debug)]
pub(crate) enum Step {
    Opened { link: LinkId, peer: SocketAddr, dial: Option<DialId> },
    DialFailed(DialId),
    Bytes { link: LinkId, bytes: Vec<u8> },
    Closed(LinkId),
    Answered { ask: AskId, result: Box<Result<Given, Refused>> },
    Entry { link: LinkId, entry: Box<Entry> },
    Signal { link: LinkId, signal: Box<ServerSignal> },
    Profile(Box<Profile>),
    CaughtUp(LinkId),
    Drained(LinkId),
    Ended { link: LinkId, reason: Box<Refused> },
    Wait(Duration),
    Expect(Output),
}

/// A step with its place.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) step: Step,
}

/// A conversation between foreign programs and a door.
#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) lines: Vec<Line>,
}

impl Transcript {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let step = step(line).map_err(|error| format!("line {number}: {error}: {line}"))?;
            lines.push(Line { number, step });
        }
        Ok(Self { lines })
    }
}

fn step(line: &str) -> Result<Step, String> {
    if let Some((link, bytes)) = line.split_once("> ")
        && let Ok(link) = link.parse()
    {
        return Ok(Step::Bytes { link: LinkId(link), bytes: unescape(bytes)? });
    }
    if let Some((link, bytes)) = line.split_once("< ")
        && let Ok(link) = link.parse()
    {
        return Ok(Step::Expect(Output::Send { link: LinkId(link), bytes: unescape(bytes)? }));
    }
    let (word, rest) = line.split_once(' ').ok_or("a word and what it is about are needed")?;
    match word {
        "open" => opened(rest),
        "dial-failed" => Ok(Step::DialFailed(DialId(number(rest)?))),
        "closed" => Ok(Step::Closed(LinkId(number(rest)?))),
        "answer" | "refuse" => {
            let (ask, body) = numbered(rest)?;
            let result = if word == "answer" { Ok(json(body)?) } else { Err(json(body)?) };
            Ok(Step::Answered { ask: AskId(ask.into()), result: Box::new(result) })
        }
        "entry" => {
            let (link, body) = numbered(rest)?;
            Ok(Step::Entry { link: LinkId(link), entry: json(body)? })
        }
        "signal" => {
            let (link, body) = numbered(rest)?;
            Ok(Step::Signal { link: LinkId(link), signal: json(body)? })
        }
        "caught-up" => Ok(Step::CaughtUp(LinkId(number(rest)?))),
        "drained" => Ok(Step::Drained(LinkId(number(rest)?))),
        "ended" => {
            let (link, body) = numbered(rest)?;
            Ok(Step::Ended { link: LinkId(link), reason: json(body)? })
        }
        "person" => {
            let (id, names) = numbered(rest)?;
            let (handle, name) = names.split_once(' ').unwrap_or((names, names));
            Ok(Step::Profile(Box::new(person(id, handle, name))))
        }
        "face" => {
            let (person, file) = rest.rsplit_once(' ').ok_or("a picture is needed")?;
            let avatar = Some(file.parse().map_err(|error| format!("{error}"))?);
            let (id, names) = numbered(person)?;
            let (handle, name) = names.split_once(' ').unwrap_or((names, names));
            let profile = Profile { avatar, ..self::person(id, handle, name) };
            Ok(Step::Profile(Box::new(profile)))
        }
        "guest" | "bot" => {
            let (id, handle) = numbered(rest)?;
            Ok(Step::Profile(Box::new(of_kind(word, person(id, handle, handle)))))
        }
        "members" => members(rest),
        "signed-in" => signed_in(rest),
        "entered" => entered(rest),
        "message" => message(rest),
        "posted" => {
            let (ask, place) = numbered(rest)?;
            let (room, seq) = place.split_once(' ').ok_or("a conversation and a number are needed")?;
            let posted = Posted { conversation: conversation(room)?, seq: Seq(number(seq)?), at: NOON };
            Ok(answered(ask, Given::Reply(Reply::Posted(posted))))
        }
        "done" => Ok(answered(number(rest)?, Given::Reply(Reply::Done {}))),
        "is-done" => Ok(answered(number(rest)?, Given::Done {})),
        "wait" => Ok(Step::Wait(time(rest)?)),
        _ => expectation(word, rest).map(Step::Expect),
    }
}

fn opened(rest: &str) -> Result<Step, String> {
    let (link, rest) = numbered(rest)?;
    let (peer, dial) = match rest.split_once(" dial ") {
        Some((peer, dial)) => (peer, Some(DialId(number(dial)?))),
        None => (rest, None),
    };
    Ok(Step::Opened { link: LinkId(link), peer: address(peer)?, dial })
}

/// When everything in shorthand happened: 21 November 2026, 12:00:00 UTC.
const NOON: Millis = Millis(1_795_262_400_000);

fn answered(ask: u32, given: Given) -> Step {
    Step::Answered { ask: AskId(ask.into()), result: Box::new(Ok(given)) }
}

fn person(id: u32, handle: &str, name: &str) -> Profile {
    Profile {
        id: UserId(id),
        handle: handle.to_owned(),
        name: name.to_owned(),
        about: String::new(),
        hue: 0,
        avatar: None,
        kind: UserKind::Person,
        admin: false,
        inactive: false,
    }
}

fn of_kind(kind: &str, profile: Profile) -> Profile {
    let kind = match kind {
        "guest" => UserKind::Guest,
        "bot" => UserKind::Bot,
        _ => UserKind::Person,
    };
    Profile { kind, ..profile }
}

fn members(rest: &str) -> Result<Step, String> {
    let (ask, rest) = numbered(rest)?;
    let member = |text: &str| {
        let mut parts = text.splitn(3, ':');
        let id = number(parts.next().unwrap_or_default())?;
        let handle = parts.next().ok_or("a member is written as 2:ade or 4:cid:guest")?;
        let profile = of_kind(parts.next().unwrap_or_default(), person(id, handle, handle));
        let (joined_at, delivered, read) = (NOON, Seq::ZERO, Seq::ZERO);
        Ok(MemberView { profile, role: Role::Member, joined_at, delivered, read })
    };
    let members: Result<Vec<_>, String> = rest.split(' ').map(member).collect();
    Ok(answered(ask, Given::Answer(Answer::Members(members?))))
}

fn signed_in(rest: &str) -> Result<Step, String> {
    let (ask, rest) = numbered(rest)?;
    let (id, rest) = numbered(rest)?;
    let handle = rest.split(' ').next().unwrap_or_default();
    let me = person(id, handle, handle);
    let rooms = rest.split(' ').skip(1).map(|room| view(room, UserId(id))).collect::<Result<_, _>>()?;
    let snapshot = Snapshot {
        me: me.clone(),
        session: SessionId(id),
        settings: Settings::default(),
        conversations: rooms,
        users: vec![me],
        contacts: Vec::new(),
        blocked: Vec::new(),
        positions: Vec::new(),
    };
    Ok(answered(ask, Given::SignedIn(Box::new(snapshot))))
}

fn conversation(text: &str) -> Result<ConversationId, String> {
    text.strip_prefix('c')
        .ok_or("a conversation is written as c7")?
        .parse()
        .map(ConversationId)
        .map_err(|_| "a conversation is written as c7".to_owned())
}

fn view(text: &str, me: UserId) -> Result<ConversationView, String> {
    let mut parts = text.splitn(3, ':');
    let id = conversation(parts.next().unwrap_or_default())?;
    let (kind, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let kind = match kind {
        "group" => ConversationKind::Group,
        "channel" => ConversationKind::Channel,
        "direct" => ConversationKind::Direct,
        _ => return Err("a conversation is group, channel or direct".to_owned()),
    };
    let (rest, is_silent) = rest.strip_suffix(":silent").map_or((rest, false), |rest| (rest, true));
    let direct = (kind == ConversationKind::Direct).then(|| number(rest)).transpose()?;
    let is_channel = kind == ConversationKind::Channel;
    Ok(ConversationView {
        id,
        kind,
        handle: direct.is_none().then(|| rest.to_owned()),
        name: if direct.is_none() { rest.to_owned() } else { String::new() },
        topic: String::new(),
        avatar: None,
        public: direct.is_none(),
        history: History::All,
        posting: if is_channel { Posting::Admins } else { Posting::Everyone },
        direct: direct.map(|peer| (me.min(UserId(peer)), me.max(UserId(peer)))),
        members: 2,
        closed: false,
        head: if is_silent { Position::default() } else { Position { seq: Seq(4), messages: 1 } },
        call: None,
        mine: Some(MyMembership {
            role: Role::Member,
            since: Seq(1),
            read: Position::default(),
            mentions: Vec::new(),
            muted_until: None,
        }),
        last: None,
    })
}

fn entered(rest: &str) -> Result<Step, String> {
    let (link, room) = numbered(rest)?;
    let mut conversation = Box::new(view(room, UserId(0))?);
    // Whose link it is does not stand here: the other one of a direct conversation is the peer whoever one is.
    conversation.direct = conversation.direct.map(|(_, peer)| (peer, peer));
    let event = Event::Entered { conversation };
    let entry =
        Entry { log: LogId::User(UserId(0)), seq: Seq(1), at: NOON, by: UserId(0), client_id: None, event };
    Ok(Step::Entry { link: LinkId(link), entry: Box::new(entry) })
}

fn message(rest: &str) -> Result<Step, String> {
    let (link, rest) = numbered(rest)?;
    let mut words = rest.splitn(5, ' ');
    let mut word = || words.next().ok_or("`message LINK cN SEQ by USER TEXT` is the form");
    let (room, seq, by_word, by, text) = (word()?, word()?, word()?, word()?, word()?);
    if by_word != "by" {
        return Err("`by` is needed".to_owned());
    }
    let seq = number(seq)?;
    let text = String::from_utf8(unescape(text)?).map_err(|_| "a text is UTF-8")?;
    let entry = Entry {
        log: LogId::Conversation(conversation(room)?),
        seq: Seq(seq),
        at: NOON,
        by: UserId(number(by)?),
        client_id: None,
        event: Event::Message(MessageBody { text, number: seq, ..MessageBody::default() }),
    };
    Ok(Step::Entry { link: LinkId(link), entry: Box::new(entry) })
}

fn expectation(word: &str, rest: &str) -> Result<Output, String> {
    match word {
        "ask" => {
            let (ask, rest) = numbered(rest)?;
            let (link, body) = numbered(rest.strip_prefix("on ").ok_or("`on LINK` is needed")?)?;
            Ok(Output::Ask { ask: AskId(ask.into()), link: LinkId(link), question: json(body)? })
        }
        "passes-on" => {
            let (link, body) = numbered(rest)?;
            Ok(Output::Signal { link: LinkId(link), signal: json(body)? })
        }
        "foreign-name" => Ok(Output::ForeignName { link: LinkId(number(rest)?) }),
        "dial" => {
            let (dial, to) = numbered(rest)?;
            Ok(Output::Dial { dial: DialId(dial), to: address(to)? })
        }
        "hold" | "go" => Ok(Output::Hold { link: LinkId(number(rest)?), hold: word == "hold" }),
        "pause" | "resume" => Ok(Output::Pause { link: LinkId(number(rest)?), pause: word == "pause" }),
        "wake" => Ok(Output::WakeAt(Moment(time(rest)?))),
        "close" => Ok(Output::Close { link: LinkId(number(rest)?) }),
        _ => Err("unknown word".to_owned()),
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn numbered(text: &str) -> Result<(u32, &str), String> {
    let (first, rest) = text.split_once(' ').ok_or("a number and more are needed")?;
    Ok((number(first)?, rest))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is no address"))
}

fn time(text: &str) -> Result<Duration, String> {
    let millis = text.strip_suffix("ms").ok_or("a time is written as 1500ms")?;
    Ok(Duration::from_millis(number(millis)?.into()))
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            bytes.extend(letter.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match letters.next() {
            Some('n') => bytes.push(b'\n'),
            Some('r') => bytes.push(b'\r'),
            Some('t') => bytes.push(b'\t'),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(&digits, 16).map_err(|_| "two hexadecimal digits follow \\x")?);
            }
            _ => return Err("unknown escape".to_owned()),
        }
    }
    Ok(bytes)
}
