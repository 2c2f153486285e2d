//! For the tests of this crate: a store that is a few maps, and a small town of people who use it.
//!
//! It keeps what a plan says and looks it up in the plainest way, so that what it shows is what the rules and
//! [`crate::project`] made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chinwag_protocol::{
    Answer, Command, ConversationId, ConversationKind, Entry, Event, FileId, History, HistoryPage, InviteId,
    LogId, Millis, Position, Posted, Query, Refused, Registration, Reply, Seq, SessionId, UserId, UserKind,
};

use crate::{
    facts::{Facts, Known, Stop},
    names,
    plan::{Plan, message_of},
    port::{Actor, Prepared, Reader, Request, Token},
    project::ALL_MEMBERS,
    reading::{
        answer, fold,
        search::{Found, Wanted},
    },
    record::{
        Call, Change, Conversation, Counter, Credentials, Cursor, Head, Holding, Invite, Member, Message,
        Name, OneTime, Overlay, Owner, Relation, Sent, Server, Session, Standing, TokenHash, User,
    },
    rules::{self, file::Uploaded},
};

#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) users: BTreeMap<UserId, Arc<User>>,
    pub(crate) names: BTreeMap<String, Arc<Name>>,
    pub(crate) credentials: BTreeMap<UserId, Arc<Credentials>>,
    pub(crate) sessions: BTreeMap<SessionId, Arc<Session>>,
    pub(crate) conversations: BTreeMap<ConversationId, Arc<Conversation>>,
    pub(crate) members: BTreeMap<(ConversationId, UserId), Arc<Member>>,
    pub(crate) relations: BTreeMap<(UserId, UserId), Relation>,
    pub(crate) overlays: BTreeMap<(ConversationId, Seq), Arc<Overlay>>,
    pub(crate) mentions: BTreeSet<(ConversationId, Seq, UserId)>,
    pub(crate) holdings: BTreeMap<(UserId, FileId), Arc<Holding>>,
    pub(crate) calls: BTreeMap<ConversationId, Arc<Call>>,
    pub(crate) invites: BTreeMap<InviteId, Arc<Invite>>,
    pub(crate) one_time: BTreeMap<TokenHash, Arc<OneTime>>,
    pub(crate) server: Option<Arc<Server>>,
    pub(crate) sent: BTreeMap<(UserId, String), Arc<Sent>>,
    pub(crate) logs: BTreeMap<LogId, Vec<Entry>>,
    pub(crate) cursors: BTreeMap<(ConversationId, UserId), Cursor>,
    /// The last number given out by each counter.
    last: [u32; 4],
}

impl Memory {
    pub(crate) fn keep(&mut self, entries: Vec<Entry>, changes: Vec<Change>) {
        for entry in entries {
            let log = self.logs.entry(entry.log).or_default();
            assert_eq!(entry.seq.0 as usize, log.len() + 1, "a log has no gaps");
            log.push(entry.clone());
            if let (LogId::Conversation(id), Event::Message(body)) = (entry.log, &entry.event) {
                let read = Position { seq: entry.seq, messages: body.number };
                let cursor = self.cursors.entry((id, entry.by)).or_default();
                cursor.read = read;
            }
        }
        for change in changes {
            self.change(change);
        }
    }

    fn change(&mut self, change: Change) {
        let taken = match &change {
            Change::User(user) => Some((Counter::User, user.id.0)),
            Change::Session(session) => Some((Counter::Session, session.id.0)),
            Change::Conversation(it) => Some((Counter::Conversation, it.id.0)),
            Change::Invite(invite) => Some((Counter::Invite, invite.id.0)),
            _ => None,
        };
        if let Some((counter, id)) = taken {
            let last = &mut self.last[counter as usize];
            *last = id.max(*last);
        }
        match change {
            Change::User(user) => drop(self.users.insert(user.id, user)),
            Change::Name(name) => drop(self.names.insert(name.key.clone(), name)),
            Change::NameFreed(key) => drop(self.names.remove(&key)),
            Change::Session(session) => drop(self.sessions.insert(session.id, session)),
            Change::SessionEnded(id) => drop(self.sessions.remove(&id)),
            Change::Conversation(it) => drop(self.conversations.insert(it.id, it)),
            Change::Member(it) => drop(self.members.insert((it.conversation, it.user), it)),
            Change::Relation(of, to, relation) => drop(self.relations.insert((of, to), relation)),
            Change::Overlay(id, seq, overlay) => drop(self.overlays.insert((id, seq), overlay)),
            Change::Erase(id, seq) => self.erase(id, seq),
            Change::Mention(user, id, seq) => drop(self.mentions.insert((id, seq, user))),
            Change::Holding(held) => drop(self.holdings.insert((held.user, held.file), held)),
            Change::HoldingGone(user, file) => drop(self.holdings.remove(&(user, file))),
            Change::Call(call) => drop(self.calls.insert(call.conversation, call)),
            Change::CallOver(conversation) => drop(self.calls.remove(&conversation)),
            Change::Invite(invite) => drop(self.invites.insert(invite.id, invite)),
            Change::Server(server) => self.server = Some(server),
            Change::Sent(sent) => drop(self.sent.insert((sent.user, sent.client_id.clone()), sent)),
            Change::Credentials(it) => drop(self.credentials.insert(it.user, it)),
            Change::OneTime(link) => drop(self.one_time.insert(link.token, link)),
            Change::OneTimeUsed(token) => drop(self.one_time.remove(&token)),
        }
    }

    fn erase(&mut self, id: ConversationId, seq: Seq) {
        let log = self.logs.get_mut(&LogId::Conversation(id)).expect("an entry to erase is in a log");
        match &mut log[seq.0 as usize - 1].event {
            Event::Message(body) => {
                body.text.clear();
                body.attachments.clear();
            }
            Event::Edited { text, .. } => text.clear(),
            other => panic!("{other:?} has no text to erase"),
        }
    }

    /// A log as recorded.
    pub(crate) fn log(&self, log: LogId) -> &[Entry] {
        self.logs.get(&log).map_or(&[], Vec::as_slice)
    }

    fn in_log(&self, log: LogId, from: Seq, before: Seq) -> impl DoubleEndedIterator<Item = &Entry> {
        self.log(log).iter().filter(move |entry| from <= entry.seq && entry.seq < before)
    }

    fn text(&self, id: ConversationId, seq: Seq) -> Option<String> {
        Some(self.message(id, seq).ok()??.text.clone())
    }
}

impl Facts for Memory {
    fn user(&self, id: UserId) -> Known<Option<Arc<User>>> {
        Ok(self.users.get(&id).cloned())
    }
    fn name(&self, key: &str) -> Known<Option<Arc<Name>>> {
        Ok(self.names.get(key).cloned())
    }
    fn name_like(&self, skeleton: &str) -> Known<Option<Arc<Name>>> {
        Ok(self.names.values().find(|name| name.skeleton == skeleton).cloned())
    }
    fn credentials(&self, user: UserId) -> Known<Option<Arc<Credentials>>> {
        Ok(self.credentials.get(&user).cloned())
    }
    fn session(&self, id: SessionId) -> Known<Option<Arc<Session>>> {
        Ok(self.sessions.get(&id).cloned())
    }
    fn sessions(&self, user: UserId) -> Known<Vec<Arc<Session>>> {
        Ok(self.sessions.values().filter(|session| session.user == user).cloned().collect())
    }
    fn conversation(&self, id: ConversationId) -> Known<Option<Arc<Conversation>>> {
        Ok(self.conversations.get(&id).cloned())
    }
    fn direct(&self, users: (UserId, UserId)) -> Known<Option<ConversationId>> {
        Ok(self.conversations.values().find(|it| it.direct == Some(users)).map(|it| it.id))
    }
    fn member(&self, conversation: ConversationId, user: UserId) -> Known<Option<Arc<Member>>> {
        Ok(self.members.get(&(conversation, user)).cloned())
    }
    fn memberships(&self, user: UserId) -> Known<Vec<Arc<Member>>> {
        Ok(self.members.values().filter(|it| it.user == user && it.is_active()).cloned().collect())
    }
    fn relation(&self, of: UserId, to: UserId) -> Known<Relation> {
        Ok(self.relations.get(&(of, to)).copied().unwrap_or_default())
    }
    fn message(&self, conversation: ConversationId, seq: Seq) -> Known<Option<Arc<Message>>> {
        let overlay =
            self.overlays.get(&(conversation, seq)).map(|it| Overlay::clone(it)).unwrap_or_default();
        let entry = self.in_log(LogId::Conversation(conversation), seq, seq.next()).next();
        Ok(entry.and_then(|entry| message_of(entry, overlay)).map(Arc::new))
    }
    fn holding(&self, user: UserId, file: FileId) -> Known<Option<Arc<Holding>>> {
        Ok(self.holdings.get(&(user, file)).cloned())
    }
    fn held_bytes(&self, user: UserId) -> Known<u64> {
        Ok(self.holdings.values().filter(|held| held.user == user).map(|held| held.size).sum())
    }
    fn call(&self, conversation: ConversationId) -> Known<Option<Arc<Call>>> {
        Ok(self.calls.get(&conversation).cloned())
    }
    fn invite(&self, id: InviteId) -> Known<Option<Arc<Invite>>> {
        Ok(self.invites.get(&id).cloned())
    }
    fn invite_by_token(&self, token: &TokenHash) -> Known<Option<Arc<Invite>>> {
        Ok(self.invites.values().find(|invite| invite.token == *token).cloned())
    }
    fn open_invites(&self, conversation: ConversationId, at: Millis) -> Known<u32> {
        let open = self.invites(conversation)?.iter().filter(|invite| invite.expires_at > at).count();
        Ok(u32::try_from(open).unwrap())
    }
    fn one_time(&self, token: &TokenHash) -> Known<Option<Arc<OneTime>>> {
        Ok(self.one_time.get(token).cloned())
    }
    fn server(&self) -> Known<Option<Arc<Server>>> {
        Ok(self.server.clone())
    }
    fn head(&self, log: LogId) -> Known<Head> {
        let entries = self.log(log);
        let Some(last) = entries.last() else { return Ok(Head::default()) };
        let messages = entries.iter().filter(|entry| matches!(entry.event, Event::Message(_))).count();
        let position = Position { seq: last.seq, messages: u32::try_from(messages).unwrap() };
        Ok(Head { position, at: last.at })
    }
    fn sent(&self, user: UserId, client_id: &str) -> Known<Option<Arc<Sent>>> {
        Ok(self.sent.get(&(user, client_id.to_owned())).cloned())
    }
    fn next(&self, counter: Counter) -> Known<u32> {
        Ok(self.last[counter as usize] + 1)
    }
}

impl Reader for Memory {
    fn find_users(&self, folded: &str, limit: usize) -> Known<Vec<Arc<User>>> {
        let fits =
            |user: &&Arc<User>| fold(&user.handle).contains(folded) || fold(&user.name).contains(folded);
        Ok(self.users.values().filter(fits).take(limit).cloned().collect())
    }
    fn find_conversations(&self, folded: &str, limit: usize) -> Known<Vec<Arc<Conversation>>> {
        let fits = |it: &&Arc<Conversation>| it.public && !it.closed && fold(&it.name).contains(folded);
        Ok(self.conversations.values().filter(fits).take(limit).cloned().collect())
    }
    fn members(&self, conversation: ConversationId, after: UserId, limit: usize) -> Known<Vec<Arc<Member>>> {
        let inside = |it: &&Arc<Member>| it.conversation == conversation && it.is_active() && it.user > after;
        Ok(self.members.values().filter(inside).take(limit).cloned().collect())
    }
    fn bans(&self, conversation: ConversationId) -> Known<Vec<Arc<Member>>> {
        let out = |it: &&Arc<Member>| it.conversation == conversation && it.standing == Standing::Banned;
        Ok(self.members.values().filter(out).cloned().collect())
    }
    fn all_memberships(&self) -> Known<Vec<Arc<Member>>> {
        Ok(self.members.values().filter(|member| member.is_active()).cloned().collect())
    }
    fn all_heads(&self) -> Known<Vec<(LogId, Position)>> {
        self.logs.keys().map(|log| Ok((*log, self.head(*log)?.position))).collect()
    }
    fn relations(&self, of: UserId) -> Known<Vec<(UserId, Relation)>> {
        let own = self.relations.iter().filter(|((from, _), _)| *from == of);
        Ok(own.map(|((_, to), relation)| (*to, *relation)).collect())
    }
    fn invites(&self, conversation: ConversationId) -> Known<Vec<Arc<Invite>>> {
        let open = |it: &&Arc<Invite>| it.conversation == conversation && !it.revoked && it.uses_left > 0;
        Ok(self.invites.values().filter(open).cloned().collect())
    }
    fn session_by_token(&self, token: &TokenHash) -> Known<Option<Arc<Session>>> {
        Ok(self.sessions.values().find(|session| session.token == *token).cloned())
    }
    fn entries(&self, log: LogId, after: Seq, up_to: Seq, limit: usize) -> Known<Vec<Entry>> {
        Ok(self.in_log(log, after.next(), up_to.next()).take(limit).cloned().collect())
    }
    fn entries_before(&self, log: LogId, from: Seq, before: Seq, limit: usize) -> Known<Vec<Entry>> {
        let mut newest: Vec<Entry> = self.in_log(log, from, before).rev().take(limit).cloned().collect();
        newest.reverse();
        Ok(newest)
    }
    fn overlays(&self, id: ConversationId, from: Seq, to: Seq) -> Known<Vec<(Seq, Arc<Overlay>)>> {
        Ok(self.overlays.range((id, from)..=(id, to)).map(|((_, seq), it)| (*seq, it.clone())).collect())
    }
    fn thread(&self, id: ConversationId, root: Seq, after: Seq, limit: usize) -> Known<Vec<Entry>> {
        let replies = self
            .in_log(LogId::Conversation(id), after.next(), Seq(u32::MAX))
            .filter(|entry| matches!(&entry.event, Event::Message(body) if body.thread == Some(root)));
        Ok(replies.take(limit).cloned().collect())
    }
    fn is_held(&self, file: FileId) -> Known<bool> {
        Ok(self.holdings.keys().any(|(_, held)| *held == file))
    }
    fn idle_holdings(&self, before: Millis, limit: usize) -> Known<Vec<Arc<Holding>>> {
        Ok(self.holdings.values().filter(|held| held.is_idle(before)).take(limit).cloned().collect())
    }
    fn open_calls(&self) -> Known<Vec<Arc<Call>>> {
        Ok(self.calls.values().cloned().collect())
    }
    fn pins(&self, id: ConversationId) -> Known<Vec<Seq>> {
        let all = self.overlays.range((id, Seq::ZERO)..=(id, Seq(u32::MAX)));
        Ok(all.rev().filter(|(_, it)| it.state.pinned).map(|((_, seq), _)| *seq).collect())
    }
    fn mentions(&self, user: UserId, id: ConversationId, after: Seq, limit: usize) -> Known<Vec<Seq>> {
        let mut found: Vec<Seq> = self
            .mentions
            .iter()
            .filter(|(c, seq, whom)| *c == id && *seq > after && (*whom == user || *whom == ALL_MEMBERS))
            .filter(|(_, seq, _)| !self.overlays.get(&(id, *seq)).is_some_and(|it| it.state.deleted))
            .map(|(_, seq, _)| *seq)
            .collect();
        found.dedup();
        found.truncate(limit);
        Ok(found)
    }
    fn last_message(&self, id: ConversationId, from: Seq) -> Known<Option<Entry>> {
        let log = self.in_log(LogId::Conversation(id), from, Seq(u32::MAX));
        Ok(log.rev().find(|entry| matches!(entry.event, Event::Message(_))).cloned())
    }
    fn seq_at(&self, id: ConversationId, at: Millis) -> Known<Seq> {
        let log = self.log(LogId::Conversation(id));
        let found = log.iter().find(|entry| entry.at >= at).or(log.last());
        Ok(found.map_or(Seq::ZERO, |entry| entry.seq))
    }
    fn position(&self, id: ConversationId, seq: Seq) -> Known<Position> {
        let upto = self.in_log(LogId::Conversation(id), Seq::ZERO, seq.next());
        let messages = upto.filter(|entry| matches!(entry.event, Event::Message(_))).count();
        Ok(Position { seq, messages: u32::try_from(messages).unwrap() })
    }
    fn cursor(&self, conversation: ConversationId, user: UserId) -> Known<Cursor> {
        Ok(self.cursors.get(&(conversation, user)).copied().unwrap_or_default())
    }
    fn search(&self, wanted: &Wanted) -> Known<Found> {
        let mut hits = Vec::new();
        for part in &wanted.readable {
            for entry in self.in_log(LogId::Conversation(part.conversation), part.since, Seq(u32::MAX)) {
                let Some(text) = self.text(part.conversation, entry.seq).map(|text| fold(&text)) else {
                    continue;
                };
                let said = wanted.fits(&text);
                if said && !text.is_empty() && wanted.from.is_none_or(|from| from == entry.by) {
                    hits.push((part.conversation, entry.seq));
                }
            }
        }
        hits.reverse();
        let all = hits.len();
        let start = wanted.below.map_or(0, |below| usize::try_from(below).unwrap());
        let hits: Vec<_> = hits.into_iter().skip(start).take(wanted.limit).collect();
        let next = (start + hits.len() < all).then_some((start + hits.len()) as u64);
        Ok(Found { hits, next })
    }
}

/// People of different sorts, each with a session of the same number, and a clock that goes on with each command.
#[derive(Clone)]
pub(crate) struct Town {
    pub(crate) memory: Memory,
    pub(crate) at: i64,
}

pub(crate) const BOT: UserId = UserId(1);
pub(crate) const ANNA: UserId = UserId(2);
pub(crate) const BELA: UserId = UserId(3);
pub(crate) const CARLA: UserId = UserId(4);
pub(crate) const DORA: UserId = UserId(5);
/// A server administrator.
pub(crate) const OPAL: UserId = UserId(6);
/// A guest.
pub(crate) const GUS: UserId = UserId(7);
/// Nobody has this number, and no conversation.
pub(crate) const NOBODY: u32 = 999;

impl Town {
    pub(crate) fn new() -> Self {
        let mut memory = Memory::default();
        for (id, handle) in [
            (BOT, "chinwag"),
            (ANNA, "anna"),
            (BELA, "bela"),
            (CARLA, "carla"),
            (DORA, "dora"),
            (OPAL, "opal"),
            (GUS, "gus"),
        ] {
            let kind = match id {
                BOT => UserKind::Bot,
                GUS => UserKind::Guest,
                _ => UserKind::Person,
            };
            memory.change(Change::User(Arc::new(User {
                id,
                handle: handle.into(),
                name: String::new(),
                about: String::new(),
                hue: 0,
                avatar: None,
                kind,
                admin: id == OPAL,
                suspended: false,
                deleted: false,
                created_at: Millis(0),
                settings: chinwag_protocol::Settings::default(),
                conversations: 0,
            })));
            memory.change(Change::Name(Arc::new(Name {
                key: names::fold(handle),
                skeleton: names::skeleton(handle),
                owner: Owner::User(id),
            })));
            memory.change(Change::Session(Arc::new(Session {
                id: SessionId(id.0),
                user: id,
                token: [u8::try_from(id.0).unwrap(); 32],
                device: String::new(),
                door: String::new(),
                app_password: None,
                bound: false,
                started_at: Millis(0),
                confirmed_at: Millis(0),
                seen_at: Millis(0),
            })));
        }
        memory.change(Change::Server(Arc::new(Server {
            name: "town".into(),
            registration: Registration::Open,
            everyone: None,
            join_everyone: false,
            bot: BOT,
            has_admin: true,
        })));
        Self { memory, at: 1_000 }
    }

    /// Makes this the server's own group.
    pub(crate) fn build_in(&mut self, conversation: ConversationId) {
        let server = Server::clone(self.memory.server.as_ref().unwrap());
        self.memory.change(Change::Server(Arc::new(Server { everyone: Some(conversation), ..server })));
    }

    pub(crate) fn actor(user: UserId) -> Actor {
        Actor { user, session: SessionId(user.0), door: None }
    }

    /// What came of a command. Whatever was refused has left no trace.
    pub(crate) fn ask(&mut self, user: UserId, command: Command) -> Result<Reply, Refused> {
        let hash = crate::rules::invite::token_hash(&format!("token {}", self.at));
        let token = Token { plain: format!("token {}", self.at), hash };
        self.ask_with(user, command, Prepared { token: Some(token), ..Prepared::default() })
    }

    pub(crate) fn ask_with(
        &mut self,
        user: UserId,
        command: Command,
        prepared: Prepared,
    ) -> Result<Reply, Refused> {
        self.at += 1;
        let request = Request::Command { actor: Self::actor(user), command, prepared };
        let mut plan = Plan::new(&self.memory, Millis(self.at));
        let done = rules::decide(&mut plan, &request);
        let (entries, changes) = plan.finish();
        match done {
            Ok(crate::port::Done::Reply(reply)) => {
                self.memory.keep(entries, changes);
                Ok(reply)
            }
            Ok(crate::port::Done::Refused(refused)) => Err(refused),
            Ok(other) => panic!("not the answer to a command: {other:?}"),
            Err(Stop::Refused(refused)) => Err(refused),
            Err(Stop::Failed(failed)) => panic!("{failed}: {}", failed.cause),
        }
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a command is written down where it is asked")]
    pub(crate) fn done(&mut self, user: UserId, command: Command) {
        let reply = self.ask(user, command.clone());
        assert!(reply.is_ok(), "{command:?} of user {user}: {reply:?}");
    }

    /// Somebody handed a file over.
    #[track_caller]
    pub(crate) fn upload(&mut self, user: UserId, file: FileId, size: u64, media_type: &str) {
        let uploaded = Uploaded { file, size, media_type: media_type.into(), bytes_per_user: u64::MAX };
        let request = Request::Uploaded { actor: Self::actor(user), uploaded };
        let mut plan = Plan::new(&self.memory, Millis(self.at));
        rules::decide(&mut plan, &request).unwrap();
        let (entries, changes) = plan.finish();
        self.memory.keep(entries, changes);
    }

    /// The code of a refusal, or `ok`.
    pub(crate) fn code(&mut self, user: UserId, command: Command) -> String {
        self.ask(user, command).map_or_else(|refused| refused.code, |_| "ok".to_owned())
    }

    #[track_caller]
    pub(crate) fn group(&mut self, owner: UserId, history: History, members: &[UserId]) -> ConversationId {
        self.create(owner, ConversationKind::Group, false, history, members)
    }

    #[track_caller]
    pub(crate) fn create(
        &mut self,
        owner: UserId,
        kind: ConversationKind,
        public: bool,
        history: History,
        members: &[UserId],
    ) -> ConversationId {
        let command = Command::CreateConversation {
            client_id: format!("make-{}", self.at),
            kind,
            name: format!("Group {}", self.at),
            handle: None,
            topic: String::new(),
            public,
            history,
            posting: None,
            members: members.to_vec(),
        };
        match self.ask(owner, command) {
            Ok(Reply::Conversation { conversation }) => conversation,
            other => panic!("no conversation: {other:?}"),
        }
    }

    pub(crate) fn message(&self, conversation: ConversationId, text: &str) -> Command {
        let client_id = format!("post-{}", self.at);
        Command::Post {
            conversation,
            client_id,
            text: text.into(),
            attachments: Vec::new(),
            reply_to: None,
            thread: None,
            sent_at: None,
        }
    }

    #[track_caller]
    pub(crate) fn say(&mut self, user: UserId, conversation: ConversationId, text: &str) -> Seq {
        match self.ask(user, self.message(conversation, text)) {
            Ok(Reply::Posted(Posted { seq, .. })) => seq,
            other => panic!("not posted: {other:?}"),
        }
    }

    pub(crate) fn look(&self, user: UserId, query: &Query) -> Result<Answer, Refused> {
        match answer(&self.memory, &Self::actor(user), query, Millis(self.at)) {
            Ok(answer) => Ok(answer),
            Err(Stop::Refused(refused)) => Err(refused),
            Err(Stop::Failed(failed)) => panic!("{failed}: {}", failed.cause),
        }
    }

    #[track_caller]
    pub(crate) fn page(&self, user: UserId, query: &Query) -> HistoryPage {
        match self.look(user, query) {
            Ok(Answer::History(page)) => page,
            other => panic!("no page: {other:?}"),
        }
    }
}
