//! L4: what a reader is shown equals what the logs say.
//!
//! Random people give random commands; afterwards everything that a snapshot and a page of history show is worked
//! out a second time from the raw entries alone, by the plainest code, and compared.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_protocol::{
    Anchor, Answer, Command, ConversationChange, ConversationId, ConversationKind, Entry, Event, FileId,
    History, Item, LogId, MessageState, Millis, NewAvatar, Position, Posting, ProfileChange, Query, Reaction,
    Reply, Role, Seq, UserId,
};
use proptest::prelude::*;

use super::{
    CatchUp, Missed, catch_up, entries_for, is_hidden,
    memory::{ANNA, BELA, CARLA, DORA, GUS, OPAL, Town},
    snapshot,
};
use crate::{port::Reader, record::Standing};

const PEOPLE: [UserId; 6] = [ANNA, BELA, CARLA, DORA, OPAL, GUS];
const EMOJI: [&str; 3] = ["👍", "❤️", "🎉"];
const PICTURES: [FileId; 2] = [FileId([1; 32]), FileId([2; 32])];

/// Four numbers choose a command: who, what, where, to what.
type Choice = (u8, u8, u8, u8);

struct Run {
    town: Town,
    tokens: Vec<String>,
}

impl Run {
    fn new() -> Self {
        let mut town = Town::new();
        // Something to begin with; the rest is chance.
        town.group(ANNA, History::All, &[BELA, CARLA]);
        town.create(BELA, ConversationKind::Group, true, History::FromJoining, &[ANNA]);
        town.create(ANNA, ConversationKind::Channel, true, History::FromJoining, &[GUS, DORA]);
        for (user, file) in PEOPLE.iter().flat_map(|user| PICTURES.map(|file| (*user, file))) {
            town.upload(user, file, 7, "image/png");
        }
        Self { town, tokens: Vec::new() }
    }

    fn conversation(&self, choice: u8) -> ConversationId {
        let count = self.town.memory.logs.keys().filter(|log| matches!(log, LogId::Conversation(_))).count();
        let count = u32::try_from(count).unwrap();
        match u32::from(choice) % 16 {
            // Sometimes one that does not exist.
            15 => ConversationId(count + 1),
            // Mostly one of the last few: the older ones are closed by and by.
            number => ConversationId(count - number % count.min(5)),
        }
    }

    fn message(&self, conversation: ConversationId, choice: u8) -> Seq {
        let log =
            self.town.memory.logs.get(&LogId::Conversation(conversation)).map_or(&[][..], Vec::as_slice);
        let messages: Vec<Seq> = log
            .iter()
            .filter(|entry| matches!(entry.event, Event::Message(_)))
            .map(|entry| entry.seq)
            .collect();
        // Rarely something that is no message; mostly one of the last few.
        let recent = messages.iter().rev().nth(usize::from(choice) % 8);
        recent.copied().unwrap_or(Seq(u32::from(choice)))
    }

    fn step(&mut self, (who, what, place, target): Choice) {
        // Anna, who owns the first group, acts as often as all others.
        let user = *PEOPLE.get(usize::from(who) % (2 * PEOPLE.len())).unwrap_or(&ANNA);
        let other = PEOPLE[usize::from(target) % PEOPLE.len()];
        let conversation = self.conversation(place);
        let message = self.message(conversation, target);
        let emoji = EMOJI[usize::from(who) % EMOJI.len()].to_owned();
        let command = match what % 48 {
            0 => Command::OpenDirect { user: other },
            1 if target.is_multiple_of(4) => self.create(place, target),
            3 => Command::Join { conversation },
            4 => Command::Leave { conversation },
            5 | 6 | 40 => Command::AddMember { conversation, user: other },
            7 => Command::RemoveMember { conversation, user: other, ban: place.is_multiple_of(2) },
            8 => Command::Unban { conversation, user: other },
            9 => Command::SetRole { conversation, user: other, role: Role::Admin },
            10 => Command::SetRole { conversation, user: other, role: Role::Owner },
            11 => Command::SetRole { conversation, user: other, role: Role::Member },
            12 if target.is_multiple_of(16) => Command::CloseConversation { conversation },
            13 | 14 => Command::ChangeConversation { conversation, change: change(target) },
            15 => Command::Mute { conversation, until: target.is_multiple_of(2).then_some(Millis(5)) },
            16 | 17 => Command::Edit { conversation, message, text: format!("edit {}", self.town.at) },
            18 => Command::Delete { conversation, message },
            19 | 20 | 44 => Command::React { conversation, message, emoji },
            21 | 41..=43 => Command::Unreact { conversation, message, emoji },
            22 => Command::Pin { conversation, message },
            23 | 45..=47 => Command::Unpin { conversation, message },
            24 if target.is_multiple_of(4) => Command::Block { user: other },
            25 => Command::CreateInvite {
                client_id: format!("invite-{}", self.town.at),
                conversation,
                lifetime_s: None,
                uses: Some(2),
                role: Role::Member,
            },
            26 => {
                let token = self.tokens.get(usize::from(target) % self.tokens.len().max(1));
                Command::UseInvite { token: token.cloned().unwrap_or_default() }
            }
            27 => return self.read(user, conversation, message),
            28 => Command::ChangeProfile(ProfileChange {
                avatar: Some(avatar(target)),
                ..ProfileChange::default()
            }),
            _ => self.post(conversation, message, target),
        };
        if let Ok(Reply::Invite { token: Some(token), .. }) = self.town.ask(user, command) {
            self.tokens.push(token);
        }
    }

    fn create(&self, place: u8, target: u8) -> Command {
        Command::CreateConversation {
            client_id: format!("make-{}", self.town.at),
            kind: if place.is_multiple_of(4) { ConversationKind::Channel } else { ConversationKind::Group },
            name: format!("room {}", target % 3),
            handle: None,
            topic: String::new(),
            public: place.is_multiple_of(2),
            history: if target.is_multiple_of(2) { History::All } else { History::FromJoining },
            posting: None,
            members: vec![PEOPLE[usize::from(target) % PEOPLE.len()], BELA],
        }
    }

    fn post(&self, conversation: ConversationId, message: Seq, target: u8) -> Command {
        let at = self.town.at;
        let text = match target % 5 {
            0 => format!("hello @bela, {at}"),
            1 => format!("@everyone listen, {at}"),
            2 => format!("@carla and @nobody and @anna. {at}"),
            _ => format!("words {at}"),
        };
        Command::Post {
            conversation,
            client_id: format!("post-{at}"),
            text,
            attachments: Vec::new(),
            reply_to: target.is_multiple_of(7).then_some(message),
            thread: target.is_multiple_of(3).then_some(message),
            sent_at: None,
        }
    }

    /// A client says that it has read up to here, as a store takes it: never backwards.
    fn read(&mut self, user: UserId, conversation: ConversationId, to: Seq) {
        let memory = &mut self.town.memory;
        let head = memory.logs.get(&LogId::Conversation(conversation)).map_or(0, Vec::len);
        if to.0 as usize > head {
            return;
        }
        let position = memory.position(conversation, to).unwrap();
        let cursor = memory.cursors.entry((conversation, user)).or_default();
        if cursor.read.seq < to {
            cursor.read = position;
        }
    }
}

fn change(target: u8) -> ConversationChange {
    let none = ConversationChange::default();
    match target % 9 {
        0 => ConversationChange { history: Some(History::All), ..none },
        1 => ConversationChange { history: Some(History::FromJoining), ..none },
        2 => ConversationChange { public: Some(true), ..none },
        3 => ConversationChange { public: Some(false), ..none },
        4 => ConversationChange { posting: Some(Posting::Admins), ..none },
        5 => ConversationChange { posting: Some(Posting::Everyone), topic: Some("topic".into()), ..none },
        6 | 7 => ConversationChange { avatar: Some(avatar(target / 9)), ..none },
        _ => ConversationChange { handle: Some(format!("hall-{}", target % 3)), ..none },
    }
}

/// One of the pictures that everybody uploaded, or none.
fn avatar(target: u8) -> NewAvatar {
    NewAvatar { file: PICTURES.get(usize::from(target) % (PICTURES.len() + 1)).copied() }
}

/// A membership, as the log tells it.
#[derive(Clone, Debug)]
struct Told {
    role: Role,
    since: Seq,
    entered: Position,
    until: Option<Seq>,
}

/// A conversation, as its log tells it.
#[derive(Default)]
struct Retold {
    members: BTreeMap<UserId, Told>,
    states: BTreeMap<Seq, MessageState>,
    messages: Vec<Entry>,
    head: Position,
    closed: bool,
    handle: Option<String>,
    /// With who chose it.
    avatar: Option<(FileId, UserId)>,
}

fn retell(log: &[Entry]) -> Retold {
    let mut told = Retold::default();
    for entry in log {
        told.head.seq = entry.seq;
        retell_entry(&mut told, entry);
    }
    told
}

fn retell_entry(told: &mut Retold, entry: &Entry) {
    match &entry.event {
        Event::Created { handle, .. } => told.handle.clone_from(handle),
        Event::Changed(change) => {
            told.handle =
                change.handle.clone().or(told.handle.take()).filter(|_| change.public != Some(false));
            if let Some(avatar) = change.avatar {
                told.avatar = avatar.file.map(|file| (file, entry.by));
            }
        }
        Event::Joined { user, role, since, .. } => {
            let member = Told { role: *role, since: *since, entered: told.head, until: None };
            told.members.insert(*user, member);
        }
        Event::Left { user } | Event::Removed { user, .. } => {
            if let Some(member) = told.members.get_mut(user).filter(|member| member.until.is_none()) {
                member.until = Some(entry.seq);
            }
        }
        Event::RoleChanged { user, role } => told.members.get_mut(user).unwrap().role = *role,
        Event::Closed {} => (told.closed, told.avatar) = (true, None),
        Event::Message(body) => {
            told.head.messages += 1;
            assert_eq!(body.number, told.head.messages);
            told.messages.push(entry.clone());
            if let Some(root) = body.thread {
                let state = told.states.entry(root).or_default();
                state.replies += 1;
                state.changed = entry.seq;
            }
        }
        other => {
            if let Some(target) = other.target() {
                let state = told.states.entry(target).or_default();
                retell_state(state, entry);
                state.changed = entry.seq;
            }
        }
    }
}

fn retell_state(state: &mut MessageState, entry: &Entry) {
    match &entry.event {
        Event::Edited { text, .. } => {
            (state.text, state.edited_at) = (Some(text.clone()), Some(entry.at));
        }
        Event::Deleted { .. } => {
            *state = MessageState { deleted: true, replies: state.replies, ..MessageState::default() };
        }
        Event::Reacted { emoji, .. } => match state.reactions.iter_mut().find(|it| it.emoji == *emoji) {
            Some(reaction) => reaction.users.push(entry.by),
            None => state.reactions.push(Reaction { emoji: emoji.clone(), users: vec![entry.by] }),
        },
        Event::Unreacted { emoji, .. } => {
            let reaction = state.reactions.iter_mut().find(|it| it.emoji == *emoji).unwrap();
            reaction.users.retain(|user| *user != entry.by);
            state.reactions.retain(|it| !it.users.is_empty());
        }
        Event::Pinned { .. } => state.pinned = true,
        Event::Unpinned { .. } => state.pinned = false,
        other => panic!("{other:?} changes no message"),
    }
}

fn told(town: &Town) -> BTreeMap<ConversationId, Retold> {
    let logs = town.memory.logs.iter().filter_map(|(log, entries)| match log {
        LogId::Conversation(id) => Some((*id, retell(entries))),
        _ => None,
    });
    logs.collect()
}

/// Compares what a user is shown with what the logs tell.
fn check_user(town: &Town, all: &BTreeMap<ConversationId, Retold>, user: UserId) {
    let shown = snapshot(&town.memory, &Town::actor(user)).unwrap();
    let active = |told: &Retold| told.members.get(&user).is_some_and(|member| member.until.is_none());
    let expected: Vec<_> = all.iter().filter(|(_, it)| !it.closed && active(it)).map(|(id, _)| *id).collect();
    let listed: Vec<_> = shown.conversations.iter().map(|view| view.id).collect();
    assert_eq!(listed, expected, "user {user}");
    for view in &shown.conversations {
        let told = &all[&view.id];
        let member = &told.members[&user];
        let mine = view.mine.as_ref().unwrap();
        let count = told.members.values().filter(|member| member.until.is_none()).count();
        assert_eq!((view.head, view.members as usize), (told.head, count));
        assert_eq!((&view.handle, view.avatar), (&told.handle, told.avatar.map(|(file, _)| file)));
        assert_eq!((mine.role, mine.since), (member.role, member.since));
        assert!(mine.read.seq >= member.entered.seq);
        // C2: unread is what lies above the cursor, and never negative.
        let unread: Vec<&Entry> = told.messages.iter().filter(|it| it.seq > mine.read.seq).collect();
        assert_eq!((view.head.messages - mine.read.messages) as usize, unread.len());
        assert!(unread.iter().all(|message| message.by != user), "one's own message is read");
        let mentions: Vec<Seq> =
            unread.iter().filter(|it| mentioned(told, it, user)).map(|it| it.seq).collect();
        assert_eq!(mine.mentions, mentions);
        let last = told
            .messages
            .iter()
            .rfind(|it| it.seq >= member.since)
            .map(|entry| Item { entry: entry.clone(), state: told.states.get(&entry.seq).cloned() });
        assert_eq!(view.last.as_deref(), last.as_ref());
        check_history(town, view.id, told, user);
    }
    for (id, told) in all.iter().filter(|(_, told)| told.closed || !active(told)) {
        let query = Query::History { conversation: *id, anchor: Anchor::Latest, limit: 200 };
        assert!(town.look(user, &query).is_err(), "{id} is closed: {}", told.closed);
    }
}

fn mentioned(told: &Retold, message: &Entry, user: UserId) -> bool {
    let deleted = told.states.get(&message.seq).is_some_and(|state| state.deleted);
    matches!(&message.event, Event::Message(body) if body.mentions.contains(&user) || body.mentions_all)
        && !deleted
}

/// A page shows each entry of the window once, and each message as it stands.
fn check_history(town: &Town, id: ConversationId, told: &Retold, user: UserId) {
    let since = told.members[&user].since;
    let page =
        town.page(user, &Query::History { conversation: id, anchor: Anchor::After(Seq(0)), limit: 200 });
    let seen: Vec<u32> = page.items.iter().map(|item| item.entry.seq.0).collect();
    let expected: Vec<u32> = (since.0..=told.head.seq.0).take(200).collect();
    assert_eq!(seen, expected);
    for item in &page.items {
        let raw = &town.memory.logs[&LogId::Conversation(id)][item.entry.seq.0 as usize - 1];
        if is_hidden(raw, since) {
            assert_eq!(
                (&item.entry.event, item.entry.by, &item.state),
                (&Event::Hidden {}, UserId(0), &None)
            );
        } else {
            assert_eq!(&item.entry, raw);
            assert_eq!(item.state.as_ref(), told.states.get(&raw.seq));
        }
        if let (Event::Message(body), Some(state)) = (&item.entry.event, &item.state) {
            assert!(!state.deleted || body.text.is_empty() && state.text.is_none());
        }
    }
    let pinned = told.states.iter().rev().filter(|(seq, state)| state.pinned && **seq >= since);
    let pinned: Vec<Seq> = pinned.map(|(seq, _)| *seq).collect();
    let Ok(Answer::Items(pins)) = town.look(user, &Query::Pins { conversation: id }) else {
        panic!("no pins")
    };
    assert_eq!(pins.iter().map(|item| item.entry.seq).collect::<Vec<_>>(), pinned);
}

/// The records that no reader shows.
fn check_records(town: &Town, all: &BTreeMap<ConversationId, Retold>) {
    for (id, told) in all {
        let record = crate::Facts::conversation(&town.memory, *id).unwrap().unwrap();
        assert_eq!(record.closed, told.closed);
        assert_eq!(record.pins as usize, told.states.values().filter(|state| state.pinned).count());
        let owners = told.members.iter().filter(|(_, it)| it.until.is_none() && it.role == Role::Owner);
        let owners: Vec<UserId> = owners.map(|(user, _)| *user).collect();
        assert_eq!(record.owner.into_iter().collect::<Vec<_>>(), owners, "one owner, or none");
        let named = crate::names::fold(told.handle.as_deref().unwrap_or_default());
        let owner = crate::Facts::name(&town.memory, &named).unwrap().map(|name| name.owner);
        let open = told.handle.is_some() && !told.closed;
        assert_eq!(owner == Some(crate::record::Owner::Conversation(*id)), open);
    }
    for user in PEOPLE {
        let active =
            all.values().filter(|it| it.members.get(&user).is_some_and(|it| it.until.is_none())).count();
        let record = crate::Facts::user(&town.memory, user).unwrap().unwrap();
        assert_eq!(record.conversations as usize, active);
        // A file is held as often as it is shown, and by whoever chose it.
        let profile = last_profile(town, user);
        assert_eq!(record.avatar, profile);
        for file in PICTURES {
            let shown = all.values().filter(|it| it.avatar == Some((file, user))).count();
            let held = crate::Facts::holding(&town.memory, user, file).unwrap().unwrap();
            assert_eq!(held.messages as usize, shown + usize::from(profile == Some(file)), "user {user}");
        }
    }
    let banned = |it: &&std::sync::Arc<crate::record::Member>| it.standing == Standing::Banned;
    for id in all.keys() {
        assert!(town.memory.bans(*id).unwrap().iter().all(|member| banned(&member)));
    }
}

/// The picture that the directory told last of a user.
fn last_profile(town: &Town, user: UserId) -> Option<FileId> {
    let told = town.memory.log(LogId::Directory).iter().rev().find_map(|entry| match &entry.event {
        Event::UserChanged { profile } if profile.id == user => Some(profile.avatar),
        _ => None,
    });
    told.flatten()
}

/// Where a client is that has applied everything up to now.
fn positions(town: &Town, user: UserId) -> Vec<(LogId, Seq)> {
    let shown = snapshot(&town.memory, &Town::actor(user)).unwrap();
    let conversations = shown.conversations.iter().map(|view| (LogId::Conversation(view.id), view.head.seq));
    shown.positions.iter().copied().chain(conversations).collect()
}

/// L1: from where a client was, it is sent exactly what it may see of what came since.
fn check_catching_up(
    town: &Town,
    all: &BTreeMap<ConversationId, Retold>,
    user: UserId,
    from: &[(LogId, Seq)],
) {
    let CatchUp::Entries(runs) = catch_up(&town.memory, &Town::actor(user), from).unwrap() else {
        panic!("so little is never too much")
    };
    let before: BTreeMap<LogId, Seq> = from.iter().copied().collect();
    check_list(town, user, &before, &runs);
    let has_news = has_news(town, user, before[&LogId::User(user)]);
    for (id, told) in all {
        let log = LogId::Conversation(*id);
        let mut sent = Vec::new();
        for run in runs.iter().filter(|run| run.log == log) {
            let (entries, more) = entries_for(&town.memory, user, log, run.from, 10_000).unwrap();
            assert!(!more && entries.last().map(|entry| entry.seq) == Some(run.head));
            sent.extend(entries.iter().map(|entry| entry.seq.0));
        }
        let Some(member) = told.members.get(&user) else {
            assert_eq!(sent, Vec::<u32>::new());
            continue;
        };
        let last = member.until.unwrap_or(told.head.seq).0;
        let listed = member.until.is_none() && (!told.closed || has_news);
        let first = match before.get(&log) {
            Some(seq) => member.since.0.max(seq.0 + 1),
            None if listed => member.entered.seq.0 + 1,
            None => last + 1,
        };
        assert_eq!(sent, (first..=last).collect::<Vec<_>>(), "user {user}, log {log}");
    }
}

/// His own log has something to tell him: perhaps that he entered.
fn has_news(town: &Town, user: UserId, after: Seq) -> bool {
    let own = town.memory.logs.get(&LogId::User(user)).map_or(&[][..], Vec::as_slice);
    own.iter().any(|entry| entry.seq > after)
}

/// L3: what a client lists after it was sent what it missed is what it would list with a fresh snapshot.
fn check_list(town: &Town, user: UserId, before: &BTreeMap<LogId, Seq>, runs: &[Missed]) {
    let mut listed: BTreeSet<ConversationId> = BTreeSet::new();
    listed.extend(before.keys().filter_map(|log| match log {
        LogId::Conversation(id) => Some(*id),
        _ => None,
    }));
    for run in runs {
        let (entries, _) = entries_for(&town.memory, user, run.log, run.from, 10_000).unwrap();
        for entry in entries {
            match (run.log, entry.event) {
                (_, Event::Entered { conversation }) => drop(listed.insert(conversation.id)),
                (_, Event::Departed { conversation }) => drop(listed.remove(&conversation)),
                (LogId::Conversation(id), Event::Closed {}) => drop(listed.remove(&id)),
                _ => {}
            }
        }
    }
    let shown = snapshot(&town.memory, &Town::actor(user)).unwrap();
    assert_eq!(listed, shown.conversations.iter().map(|view| view.id).collect(), "user {user}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn l4_what_is_shown_is_what_the_logs_tell(
        early in prop::collection::vec(any::<Choice>(), 0..400),
        late in prop::collection::vec(any::<Choice>(), 0..250),
    ) {
        let mut run = Run::new();
        for choice in early {
            run.step(choice);
        }
        let places: Vec<_> = PEOPLE.iter().map(|user| (*user, positions(&run.town, *user))).collect();
        for choice in late {
            run.step(choice);
        }
        check(&run.town, &places);
    }
}

fn check(town: &Town, places: &[(UserId, Vec<(LogId, Seq)>)]) {
    let all = told(town);
    for (user, place) in places {
        check_user(town, &all, *user);
        check_catching_up(town, &all, *user, place);
    }
    check_records(town, &all);
}

/// Without this, the test above could be content with people who are refused everything.
#[test]
fn chance_comes_upon_every_kind_of_event() {
    let mut run = Run::new();
    let mut state = 1_u64;
    let mut places = Vec::new();
    for step in 0..4_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [.., a, b, c, d] = state.to_le_bytes();
        run.step((a, b, c, d));
        if step == 2_000 {
            places = PEOPLE.iter().map(|user| (*user, positions(&run.town, *user))).collect();
        }
    }
    check(&run.town, &places);
    let kind =
        |event: &Event| serde_json::to_value(event).unwrap().as_object().unwrap().keys().next().cloned();
    let kinds: BTreeSet<String> =
        run.town.memory.logs.values().flatten().filter_map(|entry| kind(&entry.event)).collect();
    for expected in [
        "created",
        "changed",
        "joined",
        "left",
        "removed",
        "unbanned",
        "role_changed",
        "message",
        "edited",
        "deleted",
        "reacted",
        "unreacted",
        "pinned",
        "unpinned",
        "closed",
        "entered",
        "departed",
        "blocked",
        "muted",
    ] {
        assert!(kinds.contains(expected), "no {expected} among {kinds:?}");
    }
}
