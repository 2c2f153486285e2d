//! A decision being made: the facts as they are, and what the rule has already decided on top of them.
//!
//! A rule records events one after the other; each is numbered at once and its consequences are visible to the
//! next look-up. Nothing is kept until the store takes the finished plan.

use std::{collections::BTreeSet, sync::Arc};

use chinwag_protocol::{
    ConversationId, Entry, Event, FileId, InviteId, LogId, Millis, Position, Seq, SessionId, UserId,
};

use crate::{
    facts::{Facts, Known},
    project,
    record::{
        Call, Change, Conversation, Counter, Credentials, Head, Holding, Invite, Member, Message, Name,
        OneTime, Overlay, Relation, Sent, Server, Session, TokenHash, User,
    },
};

/// Facts with the consequences of the events recorded so far.
pub struct Plan<'f> {
    facts: &'f dyn Facts,
    at: Millis,
    now: Millis,
    entries: Vec<Entry>,
    changes: Vec<Change>,
}

impl<'f> Plan<'f> {
    /// An empty plan over `facts`; its entries will bear the time `at`.
    pub fn new(facts: &'f dyn Facts, at: Millis) -> Self {
        Self { facts, at, now: at, entries: Vec::new(), changes: Vec::new() }
    }

    /// The same at another time by the wall: entries never get older, but clocks are put right.
    #[must_use]
    pub fn told(self, now: Millis) -> Self {
        Self { now, ..self }
    }

    /// The time of this decision.
    pub fn at(&self) -> Millis {
        self.at
    }

    /// What the clock on the wall says: what has run out by a clock that was wrong for a moment has not run out.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Records that `by` did something: numbers the entry and draws its consequences.
    pub fn record(&mut self, log: LogId, by: UserId, event: Event) -> Known<Position> {
        self.record_as(log, by, None, event)
    }

    /// The same, for a command that had an id of its own.
    pub fn record_as(
        &mut self,
        log: LogId,
        by: UserId,
        client_id: Option<String>,
        event: Event,
    ) -> Known<Position> {
        let head = self.head(log)?.position;
        let entry = Entry { log, seq: head.seq.next(), at: self.at, by, client_id, event };
        project::apply(self, &entry)?;
        self.entries.push(entry);
        Ok(self.head(log)?.position)
    }

    /// Keeps a record that no event makes: secrets, sessions, invitations, what is known of a user.
    pub fn keep(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Forgets everything that was decided: a rule was refused half way, and the refusal itself is to be kept.
    pub fn forget(&mut self) {
        self.entries.clear();
        self.changes.clear();
    }

    /// What the store is to write: the entries in order, and the records after the last of them.
    pub fn finish(self) -> (Vec<Entry>, Vec<Change>) {
        (self.entries, self.changes)
    }

    /// Whether anything was decided.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.changes.is_empty()
    }

    /// The latest change for which `pick` answers.
    fn latest<T>(&self, pick: impl FnMut(&Change) -> Option<T>) -> Option<T> {
        self.changes.iter().rev().find_map(pick)
    }
}

/// The number of messages after one more entry.
pub fn messages_after(before: Position, event: &Event) -> u32 {
    before.messages + u32::from(matches!(event, Event::Message(_)))
}

impl Facts for Plan<'_> {
    fn user(&self, id: UserId) -> Known<Option<Arc<User>>> {
        match self.latest(|change| match change {
            Change::User(user) if user.id == id => Some(user.clone()),
            _ => None,
        }) {
            Some(user) => Ok(Some(user)),
            None => self.facts.user(id),
        }
    }

    fn name(&self, key: &str) -> Known<Option<Arc<Name>>> {
        match self.latest(|change| match change {
            Change::Name(name) if name.key == key => Some(Some(name.clone())),
            Change::NameFreed(freed) if freed == key => Some(None),
            _ => None,
        }) {
            Some(name) => Ok(name),
            None => self.facts.name(key),
        }
    }

    fn name_like(&self, skeleton: &str) -> Known<Option<Arc<Name>>> {
        if let Some(name) = self.latest(|change| match change {
            Change::Name(name) if name.skeleton == skeleton => Some(name.clone()),
            _ => None,
        }) {
            return Ok(Some(name));
        }
        let found = self.facts.name_like(skeleton)?;
        let freed = |name: &Arc<Name>| {
            self.latest(|change| match change {
                Change::NameFreed(key) => (*key == name.key).then_some(true),
                Change::Name(taken) => (taken.key == name.key).then_some(true),
                _ => None,
            })
            .unwrap_or(false)
        };
        Ok(found.filter(|name| !freed(name)))
    }

    fn credentials(&self, user: UserId) -> Known<Option<Arc<Credentials>>> {
        match self.latest(|change| match change {
            Change::Credentials(credentials) if credentials.user == user => Some(credentials.clone()),
            _ => None,
        }) {
            Some(credentials) => Ok(Some(credentials)),
            None => self.facts.credentials(user),
        }
    }

    fn session(&self, id: SessionId) -> Known<Option<Arc<Session>>> {
        match self.latest(|change| match change {
            Change::Session(session) if session.id == id => Some(Some(session.clone())),
            Change::SessionEnded(ended) if *ended == id => Some(None),
            _ => None,
        }) {
            Some(session) => Ok(session),
            None => self.facts.session(id),
        }
    }

    fn sessions(&self, user: UserId) -> Known<Vec<Arc<Session>>> {
        let mut sessions = self.facts.sessions(user)?;
        for change in &self.changes {
            match change {
                Change::Session(session) if session.user == user => {
                    sessions.retain(|other| other.id != session.id);
                    sessions.push(session.clone());
                }
                Change::SessionEnded(ended) => sessions.retain(|session| session.id != *ended),
                _ => {}
            }
        }
        Ok(sessions)
    }

    fn conversation(&self, id: ConversationId) -> Known<Option<Arc<Conversation>>> {
        match self.latest(|change| match change {
            Change::Conversation(conversation) if conversation.id == id => Some(conversation.clone()),
            _ => None,
        }) {
            Some(conversation) => Ok(Some(conversation)),
            None => self.facts.conversation(id),
        }
    }

    fn direct(&self, users: (UserId, UserId)) -> Known<Option<ConversationId>> {
        match self.latest(|change| match change {
            Change::Conversation(conversation) if conversation.direct == Some(users) => Some(conversation.id),
            _ => None,
        }) {
            Some(conversation) => Ok(Some(conversation)),
            None => self.facts.direct(users),
        }
    }

    fn member(&self, conversation: ConversationId, user: UserId) -> Known<Option<Arc<Member>>> {
        match self.latest(|change| match change {
            Change::Member(member) if member.conversation == conversation && member.user == user => {
                Some(member.clone())
            }
            _ => None,
        }) {
            Some(member) => Ok(Some(member)),
            None => self.facts.member(conversation, user),
        }
    }

    fn memberships(&self, user: UserId) -> Known<Vec<Arc<Member>>> {
        let mut members = self.facts.memberships(user)?;
        for change in &self.changes {
            if let Change::Member(member) = change
                && member.user == user
            {
                members.retain(|other| other.conversation != member.conversation);
                if member.is_active() {
                    members.push(member.clone());
                }
            }
        }
        Ok(members)
    }

    fn relation(&self, of: UserId, to: UserId) -> Known<Relation> {
        match self.latest(|change| match change {
            Change::Relation(a, b, relation) if (*a, *b) == (of, to) => Some(*relation),
            _ => None,
        }) {
            Some(relation) => Ok(relation),
            None => self.facts.relation(of, to),
        }
    }

    fn message(&self, conversation: ConversationId, seq: Seq) -> Known<Option<Arc<Message>>> {
        let recorded =
            self.entries.iter().find(|e| e.seq == seq && e.log == LogId::Conversation(conversation));
        let Some(mut message) = (match recorded {
            Some(entry) => message_of(entry, Overlay::default()).map(Arc::new),
            None => self.facts.message(conversation, seq)?,
        }) else {
            return Ok(None);
        };
        if let Some(overlay) = self.latest(|change| match change {
            Change::Overlay(c, s, overlay) if (*c, *s) == (conversation, seq) => Some(overlay.clone()),
            _ => None,
        }) {
            let changed = Arc::make_mut(&mut message);
            if let Some(text) = &overlay.state.text {
                changed.text.clone_from(text);
            }
            if overlay.state.deleted {
                changed.text.clear();
                changed.attachments.clear();
            }
            changed.overlay = Overlay::clone(&overlay);
        }
        Ok(Some(message))
    }

    fn holding(&self, user: UserId, file: FileId) -> Known<Option<Arc<Holding>>> {
        match self.latest(|change| match change {
            Change::Holding(holding) if (holding.user, holding.file) == (user, file) => {
                Some(Some(holding.clone()))
            }
            Change::HoldingGone(of, gone) if (*of, *gone) == (user, file) => Some(None),
            _ => None,
        }) {
            Some(holding) => Ok(holding),
            None => self.facts.holding(user, file),
        }
    }

    fn held_bytes(&self, user: UserId) -> Known<u64> {
        let changed = self.changes.iter().filter_map(|change| match change {
            Change::Holding(holding) if holding.user == user => Some(holding.file),
            Change::HoldingGone(of, file) if *of == user => Some(*file),
            _ => None,
        });
        let mut bytes = self.facts.held_bytes(user)?;
        for file in changed.collect::<BTreeSet<_>>() {
            bytes = bytes.saturating_sub(self.facts.holding(user, file)?.map_or(0, |held| held.size));
            bytes = bytes.saturating_add(self.holding(user, file)?.map_or(0, |held| held.size));
        }
        Ok(bytes)
    }

    fn call(&self, conversation: ConversationId) -> Known<Option<Arc<Call>>> {
        match self.latest(|change| match change {
            Change::Call(call) if call.conversation == conversation => Some(Some(call.clone())),
            Change::CallOver(over) if *over == conversation => Some(None),
            _ => None,
        }) {
            Some(call) => Ok(call),
            None => self.facts.call(conversation),
        }
    }

    fn invite(&self, id: InviteId) -> Known<Option<Arc<Invite>>> {
        match self.latest(|change| match change {
            Change::Invite(invite) if invite.id == id => Some(invite.clone()),
            _ => None,
        }) {
            Some(invite) => Ok(Some(invite)),
            None => self.facts.invite(id),
        }
    }

    fn invite_by_token(&self, token: &TokenHash) -> Known<Option<Arc<Invite>>> {
        match self.latest(|change| match change {
            Change::Invite(invite) if invite.token == *token => Some(invite.clone()),
            _ => None,
        }) {
            Some(invite) => Ok(Some(invite)),
            None => self.facts.invite_by_token(token),
        }
    }

    fn open_invites(&self, conversation: ConversationId, at: Millis) -> Known<u32> {
        self.facts.open_invites(conversation, at)
    }

    fn one_time(&self, token: &TokenHash) -> Known<Option<Arc<OneTime>>> {
        match self.latest(|change| match change {
            Change::OneTime(link) if link.token == *token => Some(Some(link.clone())),
            Change::OneTimeUsed(used) if used == token => Some(None),
            _ => None,
        }) {
            Some(link) => Ok(link),
            None => self.facts.one_time(token),
        }
    }

    fn server(&self) -> Known<Option<Arc<Server>>> {
        match self.latest(|change| match change {
            Change::Server(server) => Some(server.clone()),
            _ => None,
        }) {
            Some(server) => Ok(Some(server)),
            None => self.facts.server(),
        }
    }

    fn head(&self, log: LogId) -> Known<Head> {
        let mut head = self.facts.head(log)?;
        for entry in self.entries.iter().filter(|entry| entry.log == log) {
            let messages = messages_after(head.position, &entry.event);
            head = Head { position: Position { seq: entry.seq, messages }, at: entry.at };
        }
        Ok(head)
    }

    fn sent(&self, user: UserId, client_id: &str) -> Known<Option<Arc<Sent>>> {
        match self.latest(|change| match change {
            Change::Sent(sent) if sent.user == user && sent.client_id == client_id => Some(sent.clone()),
            _ => None,
        }) {
            Some(sent) => Ok(Some(sent)),
            None => self.facts.sent(user, client_id),
        }
    }

    fn next(&self, counter: Counter) -> Known<u32> {
        let taken = self.changes.iter().filter_map(|change| match (counter, change) {
            (Counter::User, Change::User(user)) => Some(user.id.0),
            (Counter::Conversation, Change::Conversation(conversation)) => Some(conversation.id.0),
            (Counter::Session, Change::Session(session)) => Some(session.id.0),
            (Counter::Invite, Change::Invite(invite)) => Some(invite.id.0),
            _ => None,
        });
        let next = self.facts.next(counter)?;
        Ok(taken.max().map_or(next, |last| next.max(last + 1)))
    }
}

/// What a rule needs of a message, from its entry and what later entries made of it; `None` for other entries.
pub fn message_of(entry: &Entry, overlay: Overlay) -> Option<Message> {
    let (LogId::Conversation(conversation), Event::Message(body)) = (entry.log, &entry.event) else {
        return None;
    };
    let text = match (&overlay.state.text, overlay.state.deleted) {
        (_, true) => String::new(),
        (Some(text), false) => text.clone(),
        (None, false) => body.text.clone(),
    };
    Some(Message {
        conversation,
        seq: entry.seq,
        author: entry.by,
        at: entry.at,
        text,
        attachments: if overlay.state.deleted { Vec::new() } else { body.attachments.clone() },
        thread: body.thread,
        overlay,
    })
}
