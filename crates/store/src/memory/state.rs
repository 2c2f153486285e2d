//! What the memory engine holds: the logs and the records, as maps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use chinwag_domain::{
    Facts, Failed, Known, Plan, Request,
    plan::{message_of, messages_after},
    port::{Done, Verdict},
    record::{
        Call, Change, Conversation, Counter, Credentials, Cursor, Head, Holding, Invite, Member, Message,
        Name, OneTime, Overlay, Relation, Sent, Server, Session, TokenHash, User,
    },
};
use chinwag_protocol::{
    ConversationId, Entry, Event, FileId, InviteId, LogId, Millis, Position, Seq, SessionId, UserId,
};

use crate::engine;

/// One entry, with the number of messages up to it.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) entry: Entry,
    pub(super) messages: u32,
}

/// Everything. Can be driven by hand, one request after the other, where a thread would be in the way.
#[derive(Clone, Default)]
pub struct State {
    pub(super) logs: HashMap<LogId, Vec<Stored>>,
    pub(super) users: BTreeMap<UserId, Arc<User>>,
    pub(super) names: BTreeMap<String, Arc<Name>>,
    pub(super) credentials: HashMap<UserId, Arc<Credentials>>,
    pub(super) sessions: BTreeMap<SessionId, Arc<Session>>,
    pub(super) conversations: BTreeMap<ConversationId, Arc<Conversation>>,
    pub(super) members: BTreeMap<(ConversationId, UserId), Arc<Member>>,
    pub(super) relations: BTreeMap<(UserId, UserId), Relation>,
    pub(super) overlays: BTreeMap<(ConversationId, Seq), Arc<Overlay>>,
    pub(super) mentions: BTreeSet<(ConversationId, UserId, Seq)>,
    pub(super) holdings: BTreeMap<(UserId, FileId), Arc<Holding>>,
    pub(super) calls: BTreeMap<ConversationId, Arc<Call>>,
    pub(super) invites: BTreeMap<InviteId, Arc<Invite>>,
    pub(super) one_time: HashMap<TokenHash, Arc<OneTime>>,
    pub(super) server: Option<Arc<Server>>,
    pub(super) sent: HashMap<(UserId, String), Arc<Sent>>,
    pub(super) counters: HashMap<Counter, u32>,
    pub(super) cursors: HashMap<(ConversationId, UserId), Cursor>,
}

impl State {
    /// Decides a request by the rules given and keeps what it came to: all of it, or nothing if it is refused.
    pub fn decide(
        &mut self,
        rules: &dyn Fn(&mut Plan<'_>, &Request) -> Known<Done>,
        at: Millis,
        request: &Request,
    ) -> (Vec<Arc<Entry>>, Verdict) {
        let mut plan = Plan::new(self, at);
        let decided = catch_unwind(AssertUnwindSafe(|| rules(&mut plan, request)));
        let done = match decided.unwrap_or_else(|_| Err(engine::panicked())) {
            Ok(done) => done,
            Err(stop) => return (Vec::new(), engine::verdict_of(stop)),
        };
        let (entries, changes) = plan.finish();
        let entries: Vec<Arc<Entry>> = entries.into_iter().map(Arc::new).collect();
        match self.keep(&entries, &changes) {
            Ok(()) => {
                self.advance(&entries);
                (entries, Ok(done))
            }
            Err(stop) => (Vec::new(), engine::verdict_of(stop)),
        }
    }

    /// Keeps what a plan came to; refuses the whole of it if an entry does not follow the one before.
    pub(super) fn keep(&mut self, entries: &[Arc<Entry>], changes: &[Change]) -> Known<()> {
        let mut ends: HashMap<LogId, Seq> = HashMap::new();
        for entry in entries {
            let end = ends.entry(entry.log).or_insert_with(|| self.end(entry.log).seq);
            if entry.seq != end.next() {
                let doing = format!("cannot write entry {} of log {}", entry.seq, entry.log);
                return Err(Failed::new(doing, format!("the log ends at {end}")).into());
            }
            *end = entry.seq;
        }
        for change in changes {
            if let Change::Erase(conversation, seq) = change {
                let log = LogId::Conversation(*conversation);
                if *seq > ends.get(&log).copied().unwrap_or_else(|| self.end(log).seq) {
                    return Err(Failed::new(
                        format!("cannot erase entry {seq} of log {log}"),
                        "there is none",
                    )
                    .into());
                }
            }
        }
        for entry in entries {
            let messages = messages_after(self.end(entry.log), &entry.event);
            let stored = Stored { entry: Entry::clone(entry), messages };
            self.logs.entry(entry.log).or_default().push(stored);
        }
        for change in changes {
            self.change(change);
        }
        Ok(())
    }

    fn change(&mut self, change: &Change) {
        match change.clone() {
            Change::User(user) => {
                self.count(Counter::User, user.id.0);
                self.users.insert(user.id, user);
            }
            Change::Name(name) => {
                self.names.insert(name.key.clone(), name);
            }
            Change::NameFreed(key) => {
                self.names.remove(&key);
            }
            Change::Credentials(credentials) => {
                self.credentials.insert(credentials.user, credentials);
            }
            Change::Session(session) => {
                self.count(Counter::Session, session.id.0);
                self.sessions.insert(session.id, session);
            }
            Change::SessionEnded(id) => {
                self.sessions.remove(&id);
            }
            Change::Conversation(conversation) => {
                self.count(Counter::Conversation, conversation.id.0);
                self.conversations.insert(conversation.id, conversation);
            }
            Change::Member(member) => {
                self.members.insert((member.conversation, member.user), member);
            }
            Change::Relation(of, to, relation) => {
                self.relations.insert((of, to), relation);
            }
            Change::Overlay(conversation, seq, overlay) => {
                self.overlays.insert((conversation, seq), overlay);
            }
            Change::Erase(conversation, seq) => {
                let log = self.logs.get_mut(&LogId::Conversation(conversation));
                if let Some(stored) = log.and_then(|log| log.get_mut(index(seq)?)) {
                    engine::erase(&mut stored.entry.event);
                }
            }
            Change::Mention(user, conversation, seq) => {
                self.mentions.insert((conversation, user, seq));
            }
            Change::Holding(held) => {
                self.holdings.insert((held.user, held.file), held);
            }
            Change::HoldingGone(user, file) => {
                self.holdings.remove(&(user, file));
            }
            Change::Call(call) => {
                self.calls.insert(call.conversation, call);
            }
            Change::CallOver(conversation) => {
                self.calls.remove(&conversation);
            }
            Change::Invite(invite) => {
                self.count(Counter::Invite, invite.id.0);
                self.invites.insert(invite.id, invite);
            }
            Change::OneTime(link) => {
                self.one_time.insert(link.token, link);
            }
            Change::OneTimeUsed(token) => {
                self.one_time.remove(&token);
            }
            Change::Server(server) => self.server = Some(server),
            Change::Sent(sent) => {
                self.sent.insert((sent.user, sent.client_id.clone()), sent);
            }
        }
    }

    fn count(&mut self, counter: Counter, id: u32) {
        let last = self.counters.entry(counter).or_default();
        *last = (*last).max(id);
    }

    /// One log, from its first entry.
    pub(super) fn log(&self, log: LogId) -> &[Stored] {
        self.logs.get(&log).map_or(&[], Vec::as_slice)
    }

    /// One entry.
    pub(super) fn stored(&self, log: LogId, seq: Seq) -> Option<&Stored> {
        self.log(log).get(index(seq)?)
    }

    /// The end of a log.
    pub(super) fn end(&self, log: LogId) -> Position {
        self.log(log).last().map_or_else(Position::default, Stored::position)
    }

    /// Every cursor that was ever moved: what an engine that writes them behind loses in a crash.
    pub fn cursors_mut(&mut self) -> &mut HashMap<(ConversationId, UserId), Cursor> {
        &mut self.cursors
    }

    /// Moves a cursor forward; answers where it is.
    pub fn move_cursor(&mut self, conversation: ConversationId, user: UserId, to: Cursor) -> Cursor {
        let cursor = self.cursors.entry((conversation, user)).or_default();
        *cursor = Cursor { delivered: cursor.delivered.max(to.delivered), read: cursor.read.max(to.read) };
        *cursor
    }

    /// What was committed: the authors have read what they wrote. Nothing before it is delivered by that.
    pub(super) fn advance(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            if let (LogId::Conversation(conversation), Event::Message(body)) = (entry.log, &entry.event) {
                let read = Position { seq: entry.seq, messages: body.number };
                self.move_cursor(conversation, entry.by, Cursor { delivered: Seq::ZERO, read });
            }
        }
    }
}

impl Stored {
    pub(super) fn position(&self) -> Position {
        Position { seq: self.entry.seq, messages: self.messages }
    }
}

/// Where an entry stands in its log; none has the number zero.
fn index(seq: Seq) -> Option<usize> {
    Some(seq.0.checked_sub(1)? as usize)
}

impl Facts for State {
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
        let found = self.conversations.values().rev().find(|conversation| conversation.direct == Some(users));
        Ok(found.map(|conversation| conversation.id))
    }

    fn member(&self, conversation: ConversationId, user: UserId) -> Known<Option<Arc<Member>>> {
        Ok(self.members.get(&(conversation, user)).cloned())
    }

    fn memberships(&self, user: UserId) -> Known<Vec<Arc<Member>>> {
        Ok(self
            .members
            .values()
            .filter(|member| member.user == user && member.is_active())
            .cloned()
            .collect())
    }

    fn relation(&self, of: UserId, to: UserId) -> Known<Relation> {
        Ok(self.relations.get(&(of, to)).copied().unwrap_or_default())
    }

    fn message(&self, conversation: ConversationId, seq: Seq) -> Known<Option<Arc<Message>>> {
        let Some(stored) = self.stored(LogId::Conversation(conversation), seq) else { return Ok(None) };
        let overlay = self.overlays.get(&(conversation, seq)).map(|found| Overlay::clone(found));
        Ok(message_of(&stored.entry, overlay.unwrap_or_default()).map(Arc::new))
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
        Ok(self.invites.values().rev().find(|invite| invite.token == *token).cloned())
    }

    fn open_invites(&self, conversation: ConversationId, at: Millis) -> Known<u32> {
        let open = self.invites.values().filter(|invite| {
            invite.conversation == conversation
                && !invite.revoked
                && invite.uses_left > 0
                && invite.expires_at > at
        });
        Ok(u32::try_from(open.count()).unwrap_or(u32::MAX))
    }

    fn one_time(&self, token: &TokenHash) -> Known<Option<Arc<OneTime>>> {
        Ok(self.one_time.get(token).cloned())
    }

    fn server(&self) -> Known<Option<Arc<Server>>> {
        Ok(self.server.clone())
    }

    fn head(&self, log: LogId) -> Known<Head> {
        let last = self.log(log).last();
        Ok(last.map_or_else(Head::default, |last| Head { position: last.position(), at: last.entry.at }))
    }

    fn sent(&self, user: UserId, client_id: &str) -> Known<Option<Arc<Sent>>> {
        Ok(self.sent.get(&(user, client_id.to_owned())).cloned())
    }

    fn next(&self, counter: Counter) -> Known<u32> {
        Ok(self.counters.get(&counter).copied().unwrap_or(0) + 1)
    }
}
