//! A history with its index: calls with their outcomes, final logs, memberships.

use std::collections::{HashMap, HashSet};

use crate::history::{Op, Record, Seen, What, hash};

/// Something asked, and how it ended.
pub(super) struct Call<'h> {
    pub(super) client: u32,
    pub(super) user: u32,
    pub(super) op: &'h Op,
    /// The line that asks; lines are the order of time.
    pub(super) asked: usize,
    /// The line that answers.
    pub(super) ended: Option<usize>,
    pub(super) outcome: Outcome<'h>,
}

pub(super) enum Outcome<'h> {
    Done {
        seq: Option<u32>,
        page: Option<&'h [Seen]>,
        more: bool,
    },
    Failed(&'h str),
    Unknown,
    /// Nothing is said of it at all.
    Open,
}

/// All that was tried under one `client_id` of one user.
pub(super) struct Post {
    pub(super) conversation: u32,
    pub(super) body_hash: String,
    /// Indices of calls, in order.
    pub(super) tries: Vec<usize>,
    /// The answer, if there was one: the number and its line.
    pub(super) done: Option<(u32, usize)>,
}

/// A period in which somebody was a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    pub(super) joined: u32,
    pub(super) since: u32,
    /// The entry that ended it.
    pub(super) until: Option<u32>,
    /// Not before this line.
    pub(super) opened: usize,
}

impl Membership {
    pub(super) fn shows(&self, seq: u32) -> bool {
        seq >= self.since && self.until.is_none_or(|until| seq <= until)
    }
}

pub(super) struct Final<'h> {
    pub(super) line: usize,
    pub(super) log: &'h [Seen],
    /// How many messages there are up to each entry; the first is for number zero.
    pub(super) messages: Vec<u32>,
    pub(super) deleted: HashSet<u32>,
}

pub(super) struct Book<'h> {
    pub(super) records: &'h [Record],
    pub(super) calls: Vec<Call<'h>>,
    pub(super) posts: HashMap<(u32, &'h str), Post>,
    pub(super) finals: HashMap<u32, Final<'h>>,
    pub(super) members: HashMap<(u32, u32), Vec<Membership>>,
    /// Where each text stands in the final logs, in their order: for wires that name messages by nothing else.
    pub(super) texts: HashMap<&'h str, Vec<Stands>>,
    pub(super) nothing: String,
}

/// A message of a final log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stands {
    pub(super) conversation: u32,
    pub(super) seq: u32,
    pub(super) author: u32,
}

impl<'h> Book<'h> {
    pub(super) fn read(records: &'h [Record]) -> Self {
        let mut book = Self {
            records,
            calls: Vec::new(),
            posts: HashMap::new(),
            finals: HashMap::new(),
            members: HashMap::new(),
            texts: HashMap::new(),
            nothing: hash(""),
        };
        book.read_calls();
        book.read_posts();
        book.read_finals();
        book.read_members();
        book
    }

    fn read_calls(&mut self) {
        let mut open: HashMap<(u32, u64), usize> = HashMap::new();
        for (line, record) in self.records.iter().enumerate() {
            let (call, outcome) = match &record.what {
                What::Invoke { call, op } => {
                    open.insert((record.client, *call), self.calls.len());
                    self.calls.push(Call {
                        client: record.client,
                        user: record.user,
                        op,
                        asked: line,
                        ended: None,
                        outcome: Outcome::Open,
                    });
                    continue;
                }
                What::Ok { call, seq, page, more } => {
                    (call, Outcome::Done { seq: *seq, page: page.as_deref(), more: *more })
                }
                What::Fail { call, code } => (call, Outcome::Failed(code)),
                What::Info { call } => (call, Outcome::Unknown),
                _ => continue,
            };
            if let Some(at) = open.get(&(record.client, *call)) {
                self.calls[*at].ended = Some(line);
                self.calls[*at].outcome = outcome;
            }
        }
    }

    fn read_posts(&mut self) {
        for (index, call) in self.calls.iter().enumerate() {
            let Op::Post { conversation, client_id, body_hash, .. } = call.op else { continue };
            let post = self.posts.entry((call.user, client_id)).or_insert_with(|| Post {
                conversation: *conversation,
                body_hash: body_hash.clone(),
                tries: Vec::new(),
                done: None,
            });
            post.tries.push(index);
            if let (Outcome::Done { seq: Some(seq), .. }, Some(line)) = (&call.outcome, call.ended)
                && post.done.is_none_or(|(_, first)| line < first)
            {
                post.done = Some((*seq, line));
            }
        }
    }

    fn read_finals(&mut self) {
        for (line, record) in self.records.iter().enumerate() {
            let What::Final { conversation, log } = &record.what else { continue };
            let mut messages = vec![0];
            let mut deleted = HashSet::new();
            for entry in log {
                let before = messages.last().copied().unwrap_or_default();
                messages.push(before + u32::from(entry.kind == "message"));
                if entry.kind == "message" {
                    let stands = Stands { conversation: *conversation, seq: entry.seq, author: entry.author };
                    self.texts.entry(&entry.body_hash).or_default().push(stands);
                }
                if entry.kind == "deleted" {
                    deleted.extend(entry.message);
                }
            }
            self.finals.insert(*conversation, Final { line, log, messages, deleted });
        }
    }

    fn read_members(&mut self) {
        // When somebody was asked in: (asked, ended) for each conversation and user.
        let mut asked: HashMap<(u32, u32), Vec<(usize, usize)>> = HashMap::new();
        let mut thrown: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
        for call in &self.calls {
            match call.op {
                Op::Enter { conversation, subject } => {
                    let ended = match call.outcome {
                        Outcome::Done { .. } | Outcome::Failed(_) => call.ended.unwrap_or(usize::MAX),
                        Outcome::Unknown | Outcome::Open => usize::MAX,
                    };
                    asked.entry((*conversation, *subject)).or_default().push((call.asked, ended));
                }
                Op::Leave { conversation, subject } => {
                    thrown.entry((*conversation, *subject)).or_default().push(call.asked);
                }
                _ => {}
            }
        }
        for (conversation, whole) in &self.finals {
            for entry in whole.log {
                let Some(subject) = entry.subject else { continue };
                let key = (*conversation, subject);
                let known = self.members.entry(key).or_default();
                match entry.kind.as_str() {
                    "joined" => {
                        // The end before this came not earlier than it was first asked for, and what made him a
                        // member again was still open then or asked later.
                        let nth = known.len();
                        let gone = nth.checked_sub(1).and_then(|n| thrown.get(&key)?.get(n)).copied();
                        let opened = asked.get(&key).and_then(|asked| {
                            asked
                                .iter()
                                .filter(|(_, ended)| gone.is_none_or(|gone| *ended > gone))
                                .map(|(asked, _)| *asked)
                                .min()
                        });
                        known.push(Membership {
                            joined: entry.seq,
                            since: entry.number.unwrap_or(entry.seq),
                            until: None,
                            opened: opened.unwrap_or(0),
                        });
                    }
                    "left" | "removed" => {
                        if let Some(last) = known.last_mut().filter(|last| last.until.is_none()) {
                            last.until = Some(entry.seq);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// The number that something said on another wire has in the log.
    pub(super) fn seq_of(&self, call: &Call<'_>) -> Option<u32> {
        let Op::Say { conversation, body_hash, .. } = call.op else { return None };
        let all = self.texts.get(body_hash.as_str())?;
        Some(all.iter().find(|at| at.conversation == *conversation && at.author == call.user)?.seq)
    }

    /// The periods of somebody in a conversation.
    pub(super) fn memberships(&self, conversation: u32, user: u32) -> &[Membership] {
        self.members.get(&(conversation, user)).map_or(&[], Vec::as_slice)
    }

    /// Whether somebody may know of an entry, at a line of the history.
    pub(super) fn may_see(&self, conversation: u32, user: u32, seq: u32, line: usize) -> bool {
        self.memberships(conversation, user).iter().any(|m| m.opened <= line && m.shows(seq))
    }

    /// Every entry that somebody saw, with the line; pages included, final logs not.
    pub(super) fn seen(&self) -> impl Iterator<Item = (usize, u32, &'h Seen)> {
        self.records.iter().enumerate().flat_map(|(line, record)| {
            let entries = match &record.what {
                What::Entry { entry } => std::slice::from_ref(entry),
                What::Ok { page: Some(page), .. } => page.as_slice(),
                _ => &[],
            };
            entries.iter().map(move |entry| (line, record.user, entry))
        })
    }
}
