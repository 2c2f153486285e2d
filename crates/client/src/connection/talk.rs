//! What is open on one connection: questions without an answer, gaps being filled, signs of life.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chinwag_protocol::{Answer, ConversationId, LogId, Reply, Seq, ServerSignal, UserId};
use tokio::{sync::oneshot, time::Instant};

use crate::{ClientError, sync::State};

/// So many questions may be open at once.
pub(super) const OPEN_MAX: usize = 256;

/// Who waits for an answer.
pub(super) enum Open {
    Command(oneshot::Sender<Result<Reply, ClientError>>),
    Query(oneshot::Sender<Result<Answer, ClientError>>),
    Post {
        client_id: String,
        conversation: ConversationId,
    },
    /// What of this log comes after an entry.
    Fill {
        log: LogId,
        after: Seq,
    },
    Owed {
        log: LogId,
    },
    Users,
}

pub(super) struct Talk {
    pub(super) online: bool,
    pub(super) open: BTreeMap<u64, Open>,
    /// Logs with a gap that is being filled, and the last number heard of there meanwhile.
    pub(super) filling: BTreeMap<LogId, Seq>,
    /// Those of them that the server was too busy to answer about: asked again at the next tick.
    pub(super) fill_again: BTreeSet<LogId>,
    /// Conversations with a message on its way.
    pub(super) posting: BTreeSet<ConversationId>,
    /// No message is sent before this.
    pub(super) post_from: Instant,
    /// Users that were asked for already; nobody is asked for twice.
    pub(super) asked_users: BTreeSet<UserId>,
    /// Up to where each conversation was reported as delivered.
    pub(super) delivered: BTreeMap<ConversationId, Seq>,
    /// Read cursors to be reported.
    pub(super) read: BTreeMap<ConversationId, Seq>,
    /// The client went on from where it was, rather than from a snapshot.
    pub(super) resumed: bool,
    /// Up to where each conversation is read, as the server said.
    noted: BTreeMap<ConversationId, Seq>,
    pub(super) heartbeat: Duration,
    pub(super) heard_at: Instant,
    pub(super) pinged_at: Instant,
    next_id: u64,
}

impl Talk {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            online: false,
            open: BTreeMap::new(),
            filling: BTreeMap::new(),
            fill_again: BTreeSet::new(),
            posting: BTreeSet::new(),
            post_from: now,
            asked_users: BTreeSet::new(),
            delivered: BTreeMap::new(),
            read: BTreeMap::new(),
            resumed: false,
            noted: BTreeMap::new(),
            heartbeat: Duration::from_secs(20),
            heard_at: now,
            pinged_at: now,
            next_id: 0,
        }
    }

    /// Opens a question.
    pub(super) fn open(&mut self, open: Open) -> u64 {
        self.next_id += 1;
        self.open.insert(self.next_id, open);
        self.next_id
    }

    /// Notes what the server knows to be read.
    pub(super) fn note_own_cursor(&mut self, signal: &ServerSignal, me: UserId) {
        if let ServerSignal::Cursor(moved) = signal
            && moved.user == me
        {
            self.noted.insert(moved.conversation, moved.read.seq);
        }
    }

    /// Everything that was missed has come, one's own cursors included. What was read here and the server does not
    /// know, because a connection was cut or it crashed, is told again.
    pub(super) fn tell_read_again(&mut self, state: &State) {
        for (conversation, seq) in state.reads() {
            if self.noted.get(&conversation).is_none_or(|noted| *noted < seq) {
                let read = self.read.entry(conversation).or_default();
                *read = seq.max(*read);
            }
        }
    }

    /// Forgets questions whose askers have given up.
    pub(super) fn forget_abandoned(&mut self) {
        self.open.retain(|_, open| match open {
            Open::Command(tell) => !tell.is_closed(),
            Open::Query(tell) => !tell.is_closed(),
            Open::Post { .. } | Open::Fill { .. } | Open::Owed { .. } | Open::Users => true,
        });
    }
}
