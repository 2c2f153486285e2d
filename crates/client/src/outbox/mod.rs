//! Messages on their way out: on disk before anything is sent, gone when the server has decided.
//!
//! One append-only file of JSON lines for each account, flushed to the disk at every addition. A message keeps its
//! `client_id` for as long as it is here, so that trying again, also after a restart, is harmless. Messages of one
//! conversation leave in the order in which they were written, one at a time.
//!
//! Several processes may use the same outbox: each change is made under a lock of the file and begins with reading
//! what the others wrote; only the one that holds [`Outbox::become_sender`] sends. What it does not do: talk to a
//! server.

mod file;

use std::{collections::BTreeMap, path::Path};

use chinwag_protocol::{Attach, Command, ConversationId, Millis, Posted, Refused, Seq};
use serde::{Deserialize, Serialize};

use file::JournalFile;

/// A message that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Its own id, the same at each attempt.
    pub client_id: String,
    /// Where it goes.
    pub conversation: ConversationId,
    /// What it says.
    pub text: String,
    /// The files it holds: uploaded before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attach>,
    /// The message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Seq>,
    /// The thread it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<Seq>,
    /// When it was written, by the clock of this machine.
    pub written_at: Millis,
}

impl Draft {
    /// A new message with an id of its own.
    pub fn new(conversation: ConversationId, text: impl Into<String>) -> Self {
        let (text, client_id) = (text.into(), crate::fresh_id());
        Self {
            client_id,
            conversation,
            text,
            attachments: Vec::new(),
            reply_to: None,
            thread: None,
            written_at: crate::now(),
        }
    }

    /// The command that sends it.
    pub fn command(&self) -> Command {
        Command::Post {
            conversation: self.conversation,
            client_id: self.client_id.clone(),
            text: self.text.clone(),
            attachments: self.attachments.clone(),
            reply_to: self.reply_to,
            thread: self.thread,
            sent_at: None,
        }
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is on the server's disk.
    Posted(Posted),
    /// It never will be.
    Refused(Refused),
    /// Its writer took it back before it was sent.
    Withdrawn {},
}

impl Outcome {
    /// What a refusal means for a message that waits: `None` if trying again later makes sense.
    ///
    /// Too fast is not wrong, an ended session can be renewed, a full disk gets room again, and nobody knows what
    /// `unavailable` did.
    pub fn of_refusal(refused: &Refused) -> Option<Self> {
        refused.is_definite().then(|| Self::Refused(refused.clone()))
    }
}

/// The outbox cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the outbox {path}")]
pub struct OutboxError {
    /// What was tried.
    pub doing: &'static str,
    /// Which file.
    pub path: String,
    /// Why it failed.
    #[source]
    pub cause: std::io::Error,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Add(Draft),
    Done { client_id: String, at: Millis, outcome: Outcome },
}

/// Outcomes are kept so long, so that another process that waits for one sees it.
const OUTCOMES_KEPT_MS: i64 = 60_000;
/// A file with fewer lines is not worth rewriting.
const LINES_BEFORE_COMPACTING: usize = 256;

/// The outbox of one account.
#[derive(Debug)]
pub struct Outbox {
    file: JournalFile,
    waiting: Vec<Draft>,
    finished: BTreeMap<String, (Millis, Outcome)>,
    lines: usize,
}

impl Outbox {
    /// Opens the outbox with this name, making the file and its folder if needed. A line that a crash left half
    /// written is cut off: its writer was never told that it was kept.
    pub fn open(path: &Path) -> Result<Self, OutboxError> {
        let file = JournalFile::open(path)?;
        let mut outbox = Self { file, waiting: Vec::new(), finished: BTreeMap::new(), lines: 0 };
        outbox.locked(|_| Ok(()))?;
        Ok(outbox)
    }

    /// Takes a message in. It is on the disk when this returns.
    pub fn add(&mut self, draft: Draft) -> Result<(), OutboxError> {
        self.locked(|outbox| outbox.append(Line::Add(draft)))
    }

    /// Notes what became of a message, and forgets it.
    pub fn finish(&mut self, client_id: &str, outcome: Outcome) -> Result<(), OutboxError> {
        self.locked(|outbox| {
            if outbox.finished.contains_key(client_id) {
                return Ok(());
            }
            outbox.append(Line::Done { client_id: client_id.to_owned(), at: crate::now(), outcome })?;
            outbox.compact()
        })
    }

    /// Reads what other processes wrote since. Cheap if nothing.
    pub fn refresh(&mut self) -> Result<(), OutboxError> {
        match self.file.is_unchanged()? {
            true => Ok(()),
            false => self.locked(|_| Ok(())),
        }
    }

    /// What waits, in the order in which it was written.
    pub fn waiting(&self) -> &[Draft] {
        &self.waiting
    }

    /// The messages that may be sent now: the first of each conversation.
    pub fn first_of_each(&self) -> impl Iterator<Item = &Draft> {
        let mut seen = std::collections::BTreeSet::new();
        self.waiting.iter().filter(move |draft| seen.insert(draft.conversation))
    }

    /// What became of a message, if that was noted within the last minute.
    pub fn outcome(&self, client_id: &str) -> Option<&Outcome> {
        self.finished.get(client_id).map(|(_, outcome)| outcome)
    }

    /// Tries to become the one process that sends from this outbox, until it is dropped.
    pub fn become_sender(&mut self) -> Result<bool, OutboxError> {
        self.file.become_sender()
    }

    /// Lets another process send.
    pub fn stop_sending(&mut self) {
        self.file.stop_sending();
    }

    /// Runs under the lock, over what is on the disk now.
    fn locked(&mut self, act: impl FnOnce(&mut Self) -> Result<(), OutboxError>) -> Result<(), OutboxError> {
        let guard = self.file.lock()?;
        let read = self.file.read_new()?;
        if read.from_start {
            self.waiting.clear();
            self.finished.clear();
            self.lines = 0;
        }
        for line in read.lines {
            self.take(line);
        }
        let result = act(self);
        drop(guard);
        result
    }

    fn append(&mut self, line: Line) -> Result<(), OutboxError> {
        let mut text = serde_json::to_string(&line).expect("a line has only text keys");
        text.push('\n');
        self.file.append(&text)?;
        self.take(line);
        Ok(())
    }

    fn take(&mut self, line: Line) {
        self.lines += 1;
        match line {
            Line::Add(draft) => {
                let is_known = self.waiting.iter().any(|waiting| waiting.client_id == draft.client_id);
                if !is_known && !self.finished.contains_key(&draft.client_id) {
                    self.waiting.push(draft);
                }
            }
            Line::Done { client_id, at, outcome } => {
                self.waiting.retain(|draft| draft.client_id != client_id);
                self.finished.insert(client_id, (at, outcome));
            }
        }
    }

    /// Writes the file anew without what is finished, once most of it is.
    fn compact(&mut self) -> Result<(), OutboxError> {
        let now = crate::now();
        self.finished.retain(|_, (at, _)| (now.0 - at.0).abs() < OUTCOMES_KEPT_MS);
        let needed = self.waiting.len() + self.finished.len();
        if self.lines < LINES_BEFORE_COMPACTING || needed * 2 > self.lines {
            return Ok(());
        }
        let adds = self.waiting.iter().cloned().map(Line::Add);
        let dones = self.finished.iter().map(|(client_id, (at, outcome))| Line::Done {
            client_id: client_id.clone(),
            at: *at,
            outcome: outcome.clone(),
        });
        let mut text = String::new();
        for line in dones.chain(adds) {
            text.push_str(&serde_json::to_string(&line).expect("a line has only text keys"));
            text.push('\n');
        }
        self.file.replace(&text)?;
        self.lines = needed;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
