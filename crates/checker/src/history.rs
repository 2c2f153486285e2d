//! What happened, as the clients saw it: one record for each thing asked, answered or heard.
//!
//! Kept as lines of JSON, so that a history can be read, cut and changed with ordinary tools. Texts are kept as
//! hashes. Times are microseconds of one monotone clock; the order of records is the order in which they were made.

use std::{
    collections::HashMap,
    io::{self, BufRead, Write},
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use chinwag_protocol::{Entry, Event};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, in microseconds.
    pub ts_mono: u64,
    /// Which client: a device of a user, over all its connections. Zero: nobody, the test itself.
    pub client: u32,
    /// Whose.
    pub user: u32,
    /// Its session.
    pub session: u32,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum What {
    /// A connection begins, from a snapshot or from where the client was.
    Open {
        /// The state of a snapshot; none if it was resumed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<Vec<Position>>,
    },
    /// Everything missed was sent.
    CaughtUp,
    /// The connection is gone.
    Cut,
    /// The client reads nothing for a while, on purpose: what it asked before is answered, but not yet heard.
    Stall,
    /// Something is asked. `call` numbers the questions of a client.
    Invoke {
        /// Its number.
        call: u64,
        /// What.
        #[serde(flatten)]
        op: Op,
    },
    /// It was done, or answered.
    Ok {
        /// The number of the question.
        call: u64,
        /// The number that an entry got.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u32>,
        /// The entries of a page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<Vec<Seen>>,
        /// Whether there are more after the page.
        #[serde(default)]
        more: bool,
    },
    /// It was refused for certain.
    Fail {
        /// The number of the question.
        call: u64,
        /// Why.
        code: String,
    },
    /// Nobody knows whether it happened.
    Info {
        /// The number of the question.
        call: u64,
    },
    /// An entry came.
    Entry {
        /// What it said.
        #[serde(flatten)]
        entry: Seen,
    },
    /// A cursor moved, says the server.
    Cursor {
        /// Where.
        conversation: u32,
        /// Whose.
        of: u32,
        /// How far received.
        delivered: u32,
        /// How far read.
        read: u32,
        /// How many messages that are.
        messages: u32,
    },
    /// Whose user number goes with which handle: wires of old programs know handles only.
    Person {
        /// What he is called.
        handle: String,
    },
    /// A program of another wire is signed in on a new connection.
    Link {
        /// Which wire.
        wire: String,
    },
    /// It took its leave with a word, and read everything up to the end of the connection. Without: `Cut`.
    Left,
    /// It was told a message.
    Told {
        /// Where; zero is a place that this client has never heard of.
        conversation: u32,
        /// Who said it, as the wire says.
        from: String,
        /// The hash of the text.
        body_hash: String,
        /// What the wire calls it, if it numbers messages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
    },
    /// What it said was given this number by its wire.
    Numbered {
        /// Where.
        conversation: u32,
        /// The hash of the text.
        body_hash: String,
        /// The number.
        number: u64,
    },
    /// It sends the same once more, because nothing says that it arrived.
    Again {
        /// The number of the question.
        call: u64,
    },
    /// The server was killed and is not yet started again: what it had in memory only is gone.
    Crash,
    /// A backup is about to be taken.
    Backup,
    /// The server was killed, and the next one has the store as the last backup holds it.
    Restored,
    /// Faults have ended: from here on everything must arrive in time.
    Heal,
    /// What `chinwag read` prints of a whole conversation after the end: numbers and hashes of texts.
    Printed {
        /// Which conversation.
        conversation: u32,
        /// In the order in which it is printed.
        texts: Vec<(u32, String)>,
    },
    /// The end: what is whole now.
    Final {
        /// Which conversation.
        conversation: u32,
        /// All of its log.
        log: Vec<Seen>,
    },
}

/// Something that a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "op")]
pub enum Op {
    /// Says something.
    Post {
        /// Where.
        conversation: u32,
        /// The sender's own name for it.
        client_id: String,
        /// The hash of the text.
        body_hash: String,
        /// The last entry of the conversation that this client had seen.
        seen: u32,
    },
    /// Says something on a wire where the sender cannot name it as `Post` does. Texts of a history are unique.
    Say {
        /// Where.
        conversation: u32,
        /// The hash of the text.
        body_hash: String,
        /// The wire knows a copy for ever; otherwise only while the server that took the first one lives.
        named: bool,
    },
    /// Changes a text.
    Edit {
        /// Where.
        conversation: u32,
        /// Which.
        message: u32,
        /// The hash of the new text.
        body_hash: String,
    },
    /// Something else about a message: `deleted`, `reacted`, `unreacted`.
    Touch {
        /// Where.
        conversation: u32,
        /// Which.
        message: u32,
        /// The event that it leads to.
        kind: String,
    },
    /// Makes somebody a member: oneself or another.
    Enter {
        /// Where.
        conversation: u32,
        /// Whom.
        subject: u32,
    },
    /// Ends a membership: one's own or another's.
    Leave {
        /// Where.
        conversation: u32,
        /// Whose.
        subject: u32,
    },
    /// Reads the log after a number.
    Read {
        /// Where.
        conversation: u32,
        /// After which entry.
        after: u32,
    },
    /// Reads the end of the history.
    Latest {
        /// Where.
        conversation: u32,
    },
    /// Moves one's own cursor. There is no answer.
    Cursor {
        /// Where.
        conversation: u32,
        /// How far.
        cursor: u32,
    },
}

impl Op {
    /// Where it is asked.
    pub fn conversation(&self) -> u32 {
        match self {
            Self::Post { conversation, .. }
            | Self::Say { conversation, .. }
            | Self::Edit { conversation, .. }
            | Self::Touch { conversation, .. }
            | Self::Enter { conversation, .. }
            | Self::Leave { conversation, .. }
            | Self::Read { conversation, .. }
            | Self::Latest { conversation }
            | Self::Cursor { conversation, .. } => *conversation,
        }
    }
}

/// How far a log is in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which log.
    pub log: String,
    /// Its last entry.
    pub seq: u32,
    /// The messages up to it, and one's own read cursor with the messages up to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<(u32, u32, u32)>,
}

/// An entry as somebody saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which log.
    pub log: String,
    /// Its number there.
    pub seq: u32,
    /// Who did it.
    pub author: u32,
    /// The server's time.
    pub at: i64,
    /// What sort of event.
    pub kind: String,
    /// The sender's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The hash of a text, or of the whole event if it has none.
    pub body_hash: String,
    /// The message that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<u32>,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<u32>,
    /// From where a new member may see; the number of a message; the position of a conversation entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
}

impl Seen {
    /// The conversation whose log it is in.
    pub fn conversation(&self) -> Option<u32> {
        self.log.strip_prefix('c')?.parse().ok()
    }
}

/// The hash of a text, as histories keep it.
pub fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl From<&Entry> for Seen {
    fn from(entry: &Entry) -> Self {
        let json = serde_json::to_value(&entry.event).unwrap_or_default();
        let kind = json.as_object().and_then(|object| object.keys().next().cloned()).unwrap_or_default();
        let (subject, number) = match &entry.event {
            Event::Joined { user, since, .. } => (Some(user.0), Some(since.0)),
            Event::Left { user } | Event::Removed { user, .. } => (Some(user.0), None),
            Event::Message(body) => (None, Some(body.number)),
            Event::Entered { conversation } => (Some(conversation.id.0), Some(conversation.head.seq.0)),
            Event::Departed { conversation } => (Some(conversation.0), None),
            _ => (None, None),
        };
        let body_hash = match &entry.event {
            Event::Message(body) => hash(&body.text),
            Event::Edited { text, .. } => hash(text),
            // What a view says besides its position depends on when it is looked at.
            Event::Entered { .. } => String::new(),
            _ => hash(&json.to_string()),
        };
        Self {
            log: entry.log.to_string(),
            seq: entry.seq.0,
            author: entry.by.0,
            at: entry.at.0,
            kind,
            client_id: entry.client_id.clone(),
            body_hash,
            message: entry.event.target().map(|seq| seq.0),
            subject,
            number,
        }
    }
}

/// Where clients write; cheap to clone.
#[derive(Clone)]
pub struct History {
    began: Instant,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Default for History {
    fn default() -> Self {
        Self { began: Instant::now(), records: Arc::default() }
    }
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes what happens now.
    pub fn note(&self, client: u32, user: u32, session: u32, what: What) {
        let mut records = self.lock();
        let ts_mono = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        records.push(Record { ts_mono, client, user, session, what });
    }

    /// Notes something that no client did.
    pub fn mark(&self, what: What) {
        self.note(0, 0, 0, what);
    }

    /// Everything so far.
    pub fn records(&self) -> Vec<Record> {
        self.lock().clone()
    }
}

/// Writes records as lines.
pub fn write(records: &[Record], mut to: impl Write) -> io::Result<()> {
    for record in records {
        serde_json::to_writer(&mut to, record)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads them again.
pub fn read(from: impl BufRead) -> io::Result<Vec<Record>> {
    from.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// How long messages waited for their answer: the median, and what 99 in 100 stayed below, in milliseconds. Those
/// whose author did not listen meanwhile say nothing about the server.
pub fn latencies_ms(records: &[Record]) -> Option<(u64, u64)> {
    let mut asked = HashMap::new();
    let mut took = Vec::new();
    for record in records {
        match &record.what {
            What::Invoke { call, op: Op::Post { .. } } => {
                asked.insert((record.client, *call), record.ts_mono);
            }
            What::Ok { call, seq: Some(_), .. } => {
                took.extend(asked.remove(&(record.client, *call)).map(|at| (record.ts_mono - at) / 1000));
            }
            What::Stall => asked.retain(|(client, _), _| *client != record.client),
            _ => {}
        }
    }
    took.sort_unstable();
    Some((*took.get(took.len() / 2)?, *took.get(took.len() * 99 / 100)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_listen_says_nothing_about_waiting() {
        let history = History::default();
        let post = |client, call| {
            let (client_id, body_hash) = (String::new(), String::new());
            let op = Op::Post { conversation: 1, client_id, body_hash, seen: 0 };
            history.note(client, 1, 1, What::Invoke { call, op });
        };
        let answered = |client, call| {
            history.note(client, 1, 1, What::Ok { call, seq: Some(1), page: None, more: false });
        };
        post(1, 1);
        history.note(1, 1, 1, What::Stall);
        answered(1, 1);
        assert_eq!(latencies_ms(&history.records()), None);
        post(2, 2);
        history.note(1, 1, 1, What::Stall);
        answered(2, 2);
        assert!(latencies_ms(&history.records()).is_some(), "another one did");
    }
}
