//! One device of a person: the real state of the client, and around it what the client's task does with frames.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_client::{
    outbox::Outcome,
    sync::{Applied, State},
};
use chinwag_protocol::{
    Answer, ClientFrame, ClientSignal, Command, ConversationId, Entry, Hello, LogId, Millis, Origin,
    PROTOCOL_VERSION, Posted, Query, Refused, Reply, Seq, ServerFrame, ServerSignal, SessionId, Snapshot,
    UserId,
};

use crate::{canary::Canary, oracle::Oracle};

const PAGE: u16 = 200;

/// A message on its way; kept on the device's own disk until the server has decided.
#[derive(Clone)]
pub(crate) struct Draft {
    client_id: String,
    conversation: ConversationId,
    text: String,
    reply_to: Option<Seq>,
    thread: Option<Seq>,
}

enum Open {
    Command,
    Post(Draft),
    /// What of a log comes after an entry.
    Fill(LogId, Seq),
    Users,
}

pub(crate) struct Device {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) token: [u8; 32],
    pub(crate) link: Option<usize>,
    pub(crate) state: Option<State>,
    /// The state as it was last written to the device's own disk.
    kept: Option<Snapshot>,
    pub(crate) drafts: Vec<Draft>,
    pub(crate) online: bool,
    pub(crate) stalled_until: Millis,
    pub(crate) retry_at: Millis,
    post_from: Millis,
    /// The session has ended: sign in again.
    pub(crate) stopped: bool,
    open: BTreeMap<u64, Open>,
    filling: BTreeMap<LogId, Seq>,
    posting: BTreeSet<ConversationId>,
    asked_users: BTreeSet<UserId>,
    delivered: BTreeMap<ConversationId, Seq>,
    /// Read here, and to be told to the server.
    read: BTreeMap<ConversationId, Seq>,
    /// Up to where the server has noted what was read, as far as it said so before it had told everything else.
    noted: BTreeMap<ConversationId, Seq>,
    resumed: bool,
    /// Where its person goes when he is told that he cannot write there.
    pub(crate) wants_in: Option<ConversationId>,
    next_id: u64,
    canary: Option<Canary>,
}

impl Device {
    pub(crate) fn new(user: UserId, session: SessionId, token: [u8; 32], canary: Option<Canary>) -> Self {
        Self {
            user,
            session,
            token,
            link: None,
            state: None,
            kept: None,
            drafts: Vec::new(),
            online: false,
            stalled_until: Millis(0),
            retry_at: Millis(0),
            post_from: Millis(0),
            stopped: false,
            open: BTreeMap::new(),
            filling: BTreeMap::new(),
            posting: BTreeSet::new(),
            asked_users: BTreeSet::new(),
            delivered: BTreeMap::new(),
            read: BTreeMap::new(),
            noted: BTreeMap::new(),
            resumed: false,
            wants_in: None,
            next_id: 0,
            canary,
        }
    }

    pub(crate) fn signed_in(&mut self, session: SessionId, token: [u8; 32]) {
        (self.session, self.token, self.stopped) = (session, token, false);
    }

    pub(crate) fn hello(&self) -> Hello {
        let resume = self
            .state
            .as_ref()
            .map(|state| Origin { epoch: "simulated".to_owned(), positions: state.positions() });
        Hello { version: PROTOCOL_VERSION, token: None, resume }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.online && self.drafts.is_empty() && self.open.is_empty() && self.read.is_empty()
    }

    pub(crate) fn lost(&mut self, retry_at: Millis) {
        self.link = None;
        self.online = false;
        self.retry_at = retry_at;
        self.open.clear();
        self.filling.clear();
        self.posting.clear();
        self.asked_users.clear();
        self.delivered.clear();
        self.noted.clear();
        self.read.clear();
        self.resumed = false;
    }

    /// Writes the state to the device's disk, or begins again from there, as the program does after it was ended.
    pub(crate) fn keep(&mut self) {
        self.kept = self.state.as_ref().map(State::snapshot);
    }

    pub(crate) fn restart(&mut self) {
        self.state = self.kept.clone().map(State::from);
    }

    pub(crate) fn post(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }

    /// The texts that were sent on this connection and not answered yet.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &str> {
        self.open.values().filter_map(|open| match open {
            Open::Post(draft) => Some(draft.text.as_str()),
            Open::Command | Open::Fill(..) | Open::Users => None,
        })
    }

    fn ask(&mut self, open: Open) -> u64 {
        self.next_id += 1;
        self.open.insert(self.next_id, open);
        self.next_id
    }

    pub(crate) fn command(&mut self, command: Command, out: &mut Vec<ClientFrame>) {
        if self.online {
            let id = self.ask(Open::Command);
            out.push(ClientFrame::Command { id, command });
        }
    }

    pub(crate) fn mark_read(&mut self, conversation: ConversationId, seq: Seq) {
        if self.state.as_mut().is_some_and(|state| state.mark_read(conversation, seq)) {
            let read = self.read.entry(conversation).or_default();
            *read = seq.max(*read);
        }
    }

    /// What the client does four times a second.
    pub(crate) fn tick(&mut self, now: Millis, out: &mut Vec<ClientFrame>) {
        if !self.online {
            return;
        }
        self.send_waiting(now, out);
        let Some(state) = &self.state else { return };
        for (id, known) in &state.conversations {
            let head = known.view.head.seq;
            let read = self.read.remove(id).unwrap_or_default();
            let is_new = known.unread() > 0 && self.delivered.get(id).is_none_or(|told| head > *told);
            if is_new || read > Seq::ZERO {
                self.delivered.insert(*id, head);
                out.push(ClientFrame::Signal(ClientSignal::Cursor {
                    conversation: *id,
                    delivered: head,
                    read,
                }));
            }
        }
        // What was left has been left.
        self.read.clear();
        let unknown: Vec<UserId> = state.unknown_users().difference(&self.asked_users).copied().collect();
        if !unknown.is_empty() {
            self.asked_users.extend(&unknown);
            let id = self.ask(Open::Users);
            out.push(ClientFrame::Query { id, get: Query::Users { users: unknown } });
        }
    }

    /// Sends the first waiting message of each conversation that has none on its way.
    fn send_waiting(&mut self, now: Millis, out: &mut Vec<ClientFrame>) {
        if !self.online || now < self.post_from {
            return;
        }
        for draft in self.drafts.clone() {
            if self.posting.insert(draft.conversation) {
                let command = draft.command();
                let id = self.ask(Open::Post(draft));
                out.push(ClientFrame::Command { id, command });
            }
        }
    }

    /// Hears a frame. An error is the end of this connection: when to come back, if at all.
    pub(crate) fn hear(
        &mut self,
        frame: &ServerFrame,
        now: Millis,
        oracle: &mut Oracle,
        out: &mut Vec<ClientFrame>,
    ) -> Result<(), Option<Millis>> {
        match frame {
            ServerFrame::Welcome(welcome) => {
                let former = self.state.replace(State::from(welcome.snapshot.clone()));
                for (id, seq) in former.iter().flat_map(State::reads) {
                    self.mark_read(id, seq);
                }
                self.session = welcome.snapshot.session;
            }
            ServerFrame::Resumed(resumed) => {
                if let Some(state) = &mut self.state {
                    state.session = resumed.session;
                }
                self.resumed = true;
            }
            ServerFrame::CaughtUp {} => {
                self.online = true;
                self.tell_read_again();
                self.send_waiting(now, out);
            }
            ServerFrame::Entry(entry) => {
                oracle.receive(self.user, self.session, entry);
                self.take_entry(entry, oracle, out);
            }
            ServerFrame::Signal(signal) => self.take_signal(signal, now, oracle),
            ServerFrame::Done { id, reply } => self.done(*id, Ok(reply), now, oracle, out),
            ServerFrame::Refused { id: Some(id), refused } => self.done(*id, Err(refused), now, oracle, out),
            ServerFrame::Refused { id: None, .. } | ServerFrame::Pong {} => {}
            ServerFrame::Answer { id, answer } => self.answered(*id, answer, oracle, out),
            ServerFrame::Closing(closing) => {
                let retry = closing.retry_after_ms.map(|ms| Millis(now.0 + i64::from(ms)));
                return Err(retry);
            }
        }
        Ok(())
    }

    /// What the server does not know to be read here, because a connection was cut or it crashed, is told again.
    fn tell_read_again(&mut self) {
        if !self.resumed || self.canary == Some(Canary::ReadForgottenAtCut) {
            return;
        }
        let Some(state) = &self.state else { return };
        for (id, seq) in state.reads() {
            if self.noted.get(&id).is_none_or(|noted| *noted < seq) {
                self.read.insert(id, seq);
            }
        }
    }

    fn take_signal(&mut self, signal: &ServerSignal, now: Millis, oracle: &mut Oracle) {
        let Some(state) = &mut self.state else { return };
        let before: BTreeMap<_, _> = state.reads().collect();
        state.apply_signal(signal, now);
        let after: BTreeMap<_, _> = state.reads().collect();
        if before.iter().any(|(id, seq)| after.get(id).is_some_and(|now| now < seq)) {
            oracle.blame(|| format!("C1: {signal:?} took a cursor of user {} backwards", self.user));
        }
        if let ServerSignal::Cursor(moved) = signal
            && moved.user == self.user
        {
            self.noted.insert(moved.conversation, moved.read.seq);
        }
    }

    fn take_entry(&mut self, entry: &Entry, oracle: &mut Oracle, out: &mut Vec<ClientFrame>) {
        let Some(state) = &mut self.state else { return };
        let before = state.position(entry.log);
        match state.apply(entry) {
            Applied::Applied => {
                if before.map(Seq::next) != Some(entry.seq) {
                    oracle.blame(|| format!("L2: {} {} was applied after {before:?}", entry.log, entry.seq));
                }
                self.forget_read_of_gone();
            }
            Applied::Ignored => {}
            Applied::Gap { log, after } => {
                if let Some(heard) = self.filling.get_mut(&log) {
                    *heard = entry.seq.max(*heard);
                    return;
                }
                self.filling.insert(log, entry.seq);
                let id = self.ask(Open::Fill(log, after));
                out.push(ClientFrame::Query { id, get: Query::Entries { log, after, limit: PAGE } });
            }
        }
    }

    fn forget_read_of_gone(&mut self) {
        if let Some(state) = &self.state {
            self.read.retain(|id, _| state.conversations.contains_key(id));
        }
    }

    fn answered(&mut self, id: u64, answer: &Answer, oracle: &mut Oracle, out: &mut Vec<ClientFrame>) {
        match (self.open.remove(&id), answer) {
            (Some(Open::Users), Answer::Users(profiles)) => {
                if let Some(state) = &mut self.state {
                    state.learn(profiles.clone());
                }
            }
            (Some(Open::Fill(log, after)), Answer::Entries { entries, more }) => {
                for entry in entries {
                    oracle.receive(self.user, self.session, entry);
                }
                self.fill((log, after), entries, *more, oracle, out);
            }
            _ => {}
        }
    }

    fn fill(
        &mut self,
        (log, asked): (LogId, Seq),
        entries: &[Entry],
        more: bool,
        oracle: &mut Oracle,
        out: &mut Vec<ClientFrame>,
    ) {
        let Some(state) = &mut self.state else { return };
        let before = state.position(log);
        let new: Vec<Entry> = entries.iter().filter(|entry| Some(entry.seq) > before).cloned().collect();
        let mut last = before;
        for entry in &new {
            if let Some(after) = last.filter(|after| entry.seq > after.next()) {
                oracle.skip(self.user, log, after, entry.seq);
            }
            last = Some(entry.seq);
        }
        state.fill(&new);
        let position = state.position(log).filter(|position| *position > asked);
        let heard = self.filling.get(&log).copied();
        self.forget_read_of_gone();
        match position {
            Some(after) if more || heard > Some(after) => {
                let id = self.ask(Open::Fill(log, after));
                out.push(ClientFrame::Query { id, get: Query::Entries { log, after, limit: PAGE } });
            }
            _ => drop(self.filling.remove(&log)),
        }
    }

    fn done(
        &mut self,
        id: u64,
        result: Result<&Reply, &Refused>,
        now: Millis,
        oracle: &mut Oracle,
        out: &mut Vec<ClientFrame>,
    ) {
        if let Err(refused) = result
            && refused.code == "failed"
        {
            oracle.blame(|| format!("a rule failed: {refused}"));
        }
        match self.open.remove(&id) {
            Some(Open::Fill(log, _)) => drop(self.filling.remove(&log)),
            Some(Open::Post(draft)) => {
                self.posting.remove(&draft.conversation);
                match result {
                    Ok(Reply::Posted(posted)) => self.posted(&draft, *posted, oracle),
                    Ok(other) => oracle.blame(|| format!("a post was answered {other:?}")),
                    Err(refused) => match Outcome::of_refusal(refused) {
                        None => {
                            self.post_from =
                                Millis(now.0 + i64::from(refused.retry_after_ms.unwrap_or(1_000)));
                        }
                        Some(_) => {
                            oracle.refuse(self.user, &draft.text);
                            self.drafts.retain(|other| other.client_id != draft.client_id);
                            if let Some(conversation) = self.wants_in.take() {
                                self.command(Command::Join { conversation }, out);
                            }
                        }
                    },
                }
                self.send_waiting(now, out);
            }
            Some(Open::Command | Open::Users) | None => {}
        }
    }

    fn posted(&mut self, draft: &Draft, posted: Posted, oracle: &mut Oracle) {
        oracle.ack(self.user, &draft.client_id, &draft.text, posted);
        self.drafts.retain(|other| other.client_id != draft.client_id);
    }
}

impl Draft {
    pub(crate) fn new(
        number: u64,
        conversation: ConversationId,
        text: String,
        about: (Option<Seq>, Option<Seq>),
    ) -> Self {
        let (reply_to, thread) = about;
        Self { client_id: format!("m{number}"), conversation, text, reply_to, thread }
    }

    fn command(&self) -> Command {
        Command::Post {
            conversation: self.conversation,
            client_id: self.client_id.clone(),
            text: self.text.clone(),
            attachments: Vec::new(),
            reply_to: self.reply_to,
            thread: self.thread,
            sent_at: None,
        }
    }
}
