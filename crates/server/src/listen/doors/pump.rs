//! From the outbox of a signed-in link to its door: entries in order and once, signals, and the end.
//!
//! Pulls only while the door and the link's other end take something, so what waits stays in the bounded outbox
//! and behind it in the log.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use chinwag_doors::Input;
use chinwag_protocol::{Entry, Event, LogId, Refused, Seq, ServerFrame, ServerSignal, UserId};

use super::{gate::Gate, line::Line};
use crate::{
    behind::{PAGE, Wanted},
    hub::Next,
    signed_in::SignedIn,
    ws,
};

/// Frames taken from the outbox at once.
const FRAMES_MAX: usize = 64;
const BYTES_MAX: usize = 64 * 1024;

/// What one signed-in link has been told, and what is to be told next.
#[derive(Default)]
pub(super) struct Pump {
    /// For whose session this is; another one starts afresh.
    key: Option<crate::hub::Key>,
    /// The last entry told of each log.
    told: BTreeMap<LogId, Seq>,
    /// Logs to be read from the store, each after this number.
    behind: BTreeMap<LogId, Seq>,
    ready: VecDeque<Ready>,
    caught_up: bool,
}

enum Ready {
    Entry(Entry),
    Signal(ServerSignal),
}

/// What the link's task is to do after pumping.
pub(super) enum Pumped {
    /// Wait until something changes.
    Idle,
    /// The session is over.
    Ended(Refused),
}

impl Pump {
    /// Tells the door what there is to tell.
    pub(super) async fn run(&mut self, gate: &Gate, line: &Line) -> Pumped {
        let Some(seat) = line.seat() else {
            *self = Self::default();
            return Pumped::Idle;
        };
        if self.key != Some(seat.key()) {
            let (told, behind) = (seat.told.iter().copied().collect(), seat.behind.iter().copied().collect());
            *self = Self { key: Some(seat.key()), told, behind, ..Self::default() };
        }
        if seat.outbox.is_closing() {
            return Pumped::Ended(reason(&seat));
        }
        while line.takes_entries() {
            if let Some(ready) = self.ready.pop_front() {
                self.tell(gate, line, &seat, ready).await;
            } else if !self.behind.is_empty() {
                if let Err(refused) = self.read(&seat).await {
                    return Pumped::Ended(refused);
                }
            } else if !self.caught_up {
                self.caught_up = true;
                gate.tell(line.id, Input::CaughtUp { link: line.id });
            } else {
                let mut frames = VecDeque::new();
                match seat.outbox.next(&mut frames, FRAMES_MAX, BYTES_MAX) {
                    Next::Write => self.ready.extend(frames.iter().filter_map(decode)),
                    Next::CatchUp(missing) => {
                        self.behind.extend(missing.into_iter().map(|(log, first)| (log, first.prev())));
                    }
                    Next::Close(closing) => return Pumped::Ended(closing.reason),
                    Next::Wait => {
                        // An idle link keeps no room for what it caught up with.
                        self.ready = VecDeque::new();
                        return Pumped::Idle;
                    }
                }
            }
        }
        Pumped::Idle
    }

    async fn read(&mut self, seat: &SignedIn) -> Result<(), Refused> {
        let wanted = Wanted::of(self.behind.iter().map(|(log, after)| (*log, *after)), false);
        let found = seat.read(move |reader, actor| wanted.read(reader, actor, PAGE)).await?;
        for (log, entries, more) in found.pages {
            self.behind.remove(&log);
            if let Some(last) = entries.last().map(|entry| entry.seq) {
                seat.outbox.sent(log, last);
                if more {
                    self.behind.insert(log, last);
                }
            }
            self.ready.extend(entries.into_iter().map(Ready::Entry));
        }
        Ok(())
    }

    async fn tell(&mut self, gate: &Gate, line: &Line, seat: &SignedIn, ready: Ready) {
        let link = line.id;
        match ready {
            Ready::Entry(entry) => {
                let told = self.told.entry(entry.log).or_default();
                if entry.seq <= *told {
                    return;
                }
                *told = entry.seq;
                gate.follow(&entry);
                introduce(gate, seat, named(&entry)).await;
                gate.tell(link, Input::Entry { link, entry: &entry });
            }
            Ready::Signal(signal) => {
                let named = match &signal {
                    ServerSignal::Typing { user, .. } => vec![*user],
                    ServerSignal::Cursor(moved) => vec![moved.user],
                    ServerSignal::Presence(all) => all.iter().map(|one| one.user).collect(),
                };
                introduce(gate, seat, named).await;
                gate.tell(link, Input::Signal { link, signal: &signal });
            }
        }
    }
}

/// A frame as the hub encoded it for everybody.
fn decode(frame: &Bytes) -> Option<Ready> {
    match serde_json::from_slice(ws::text_of(frame)) {
        Ok(ServerFrame::Entry(entry)) => Some(Ready::Entry(entry)),
        Ok(ServerFrame::Signal(signal)) => Some(Ready::Signal(signal)),
        Ok(_) => None,
        Err(error) => {
            tracing::error!(%error, "a frame of our own cannot be read");
            None
        }
    }
}

fn reason(seat: &SignedIn) -> Refused {
    match seat.outbox.next(&mut VecDeque::new(), 0, 0) {
        Next::Close(closing) => closing.reason,
        _ => Refused::not_signed_in(),
    }
}

/// Whom an entry names.
pub(super) fn named(entry: &Entry) -> Vec<UserId> {
    let mut users = vec![entry.by];
    match &entry.event {
        Event::Joined { user, .. }
        | Event::Left { user }
        | Event::Removed { user, .. }
        | Event::Banned { user }
        | Event::Unbanned { user }
        | Event::RoleChanged { user, .. }
        | Event::ContactAdded { user }
        | Event::ContactRemoved { user }
        | Event::Blocked { user }
        | Event::Unblocked { user } => users.push(*user),
        Event::Created { direct: Some((one, other)), .. } => users.extend([*one, *other]),
        Event::Entered { conversation } => {
            users.extend(conversation.direct.iter().flat_map(|(a, b)| [*a, *b]));
        }
        _ => {}
    }
    users
}

/// Tells the door who these are, as far as it does not know.
pub(super) async fn introduce(gate: &Gate, seat: &SignedIn, users: impl IntoIterator<Item = UserId>) {
    let strangers = gate.strangers(users);
    if strangers.is_empty() {
        return;
    }
    for users in strangers.chunks(100) {
        if let Ok(profiles) = seat.messenger.profiles(&seat.actor, users.to_vec()).await {
            profiles.iter().for_each(|profile| gate.introduce(profile));
        }
    }
    gate.give_up(&strangers);
}
