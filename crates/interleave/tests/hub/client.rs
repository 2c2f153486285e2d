//! A connection as its task in the server lives it, with a client at its end that believes nothing.
//!
//! What it does between two places where it waits is what `crates/server/src/connection.rs` does; whatever the client
//! hears is judged at once.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use chinwag_domain::{Actor, Reader, reading};
use chinwag_interleave::{
    hub::{Missing, Next, Opened, Outbox},
    sessions::Known,
};
use chinwag_protocol::{Entry, Event, LogId, Seq, ServerFrame};
use shuttle::future::block_on;

use crate::{
    broken::Broken,
    world::{LOG, World, ask},
};

/// Entries and signals that may wait for a connection.
pub(crate) const OUTBOX_BYTES: usize = 700;

/// Entries read from the store at a time.
const PAGE: usize = 2;

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The hub told it to.
    Closed,
    /// It was cut by its client.
    Cut,
    /// It was not let in.
    Refused,
}

/// What a client has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) places: BTreeMap<LogId, Seq>,
    /// It has heard of its own removal.
    pub(crate) removed: bool,
}

/// What to do with a connection.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// The token's first byte.
    pub(crate) token: u8,
    /// With what it has, rather than with a look at where the logs are.
    pub(crate) resume: bool,
    /// The client goes after so many entries.
    pub(crate) cut_after: usize,
}

/// Lives a connection from its beginning to its end.
pub(crate) fn live(world: &World, client: &mut Client, plan: Plan) -> End {
    let was_over = world.is_over(plan.token);
    let Some(known) = look_up(world, plan.token) else { return End::Refused };
    let identity = known.identity.clone();
    let actor = Actor { user: identity.user, session: identity.session, door: None };
    let most = if world.broken == Broken::Boundless { usize::MAX } else { OUTBOX_BYTES };
    let outbox = Arc::new(Outbox::bounded(most));
    if !plan.resume && world.broken == Broken::PlaceThenSubscribe {
        look_where(world, client);
    }
    let places: Vec<(LogId, Seq)> = client.places.iter().map(|(log, seq)| (*log, *seq)).collect();
    let resume = plan.resume.then_some(places);
    let key = match block_on(world.hub.open(identity, outbox.clone(), resume)) {
        Some(Opened::Fresh(key) | Opened::Resumed(key)) => key,
        Some(Opened::Ended | Opened::TooMany) | None => return End::Refused,
    };
    assert!(!was_over, "M4: a connection was opened with a session that had ended");
    if !plan.resume && world.broken != Broken::PlaceThenSubscribe {
        look_where(world, client);
    }
    world.hub.release_cursors(key);
    let end = match world.is_closing() {
        true => End::Closed,
        false => talk(world, client, plan, &actor, &outbox),
    };
    world.hub.close(key);
    end
}

fn talk(world: &World, client: &mut Client, plan: Plan, actor: &Actor, outbox: &Outbox) -> End {
    let (mut frames, mut heard) = (VecDeque::new(), 0);
    loop {
        let was_over = world.is_over(plan.token);
        match outbox.next(&mut frames, usize::MAX, usize::MAX) {
            Next::Write => {
                assert!(!was_over, "M4: something was told after the session had ended");
                let entries: Vec<(usize, Entry)> =
                    frames.drain(..).filter_map(|frame| decode(&frame)).collect();
                let bytes: usize = entries.iter().map(|(bytes, _)| bytes).sum();
                assert!(bytes <= OUTBOX_BYTES, "bound: {bytes} bytes waited for one connection");
                for (_, entry) in entries {
                    client.hear(world, actor, &entry);
                    heard += 1;
                }
            }
            Next::CatchUp(missing) => {
                if world.broken != Broken::MissingForgotten {
                    match catch_up(world, client, actor, outbox, missing) {
                        Some(told) => heard += told,
                        // Whose session has ended may not read, and hears no more.
                        None => return End::Refused,
                    }
                }
            }
            Next::Close(_) => return End::Closed,
            Next::Wait => {
                world.note(actor.user, client);
                block_on(outbox.changed());
            }
        }
        if heard >= plan.cut_after {
            return End::Cut;
        }
    }
}

/// Reads what the outbox dropped; how many entries that were, or nothing if it may not be read any more.
fn catch_up(
    world: &World,
    client: &mut Client,
    actor: &Actor,
    outbox: &Outbox,
    missing: Missing,
) -> Option<usize> {
    let mut heard = 0;
    for (log, first) in missing {
        let mut after = first.prev();
        loop {
            let (actor_there, broken) = (actor.clone(), world.broken);
            let page = ask(&*world.store, move |reader: &dyn Reader| match broken {
                Broken::CatchUpWithoutRight => {
                    let entries = reader.entries(log, after, Seq(u32::MAX), PAGE)?;
                    let more = entries.len() == PAGE;
                    Ok((entries, more))
                }
                _ => reading::missed(reader, &actor_there, log, after, PAGE),
            });
            let (entries, more) = page.ok()?;
            let Some(last) = entries.last().map(|entry| entry.seq) else { break };
            // The rest of a page is not written once the outbox is closing.
            if outbox.is_closing() {
                return Some(heard);
            }
            for entry in &entries {
                client.hear(world, actor, entry);
                heard += 1;
            }
            after = last;
            outbox.sent(log, last);
            if !more {
                break;
            }
        }
    }
    Some(heard)
}

fn look_where(world: &World, client: &mut Client) {
    let heads = ask(&*world.store, |reader: &dyn Reader| reader.all_heads()).expect("heads can be read");
    client.places = heads.into_iter().map(|(log, head)| (log, head.seq)).collect();
}

/// The session of a token, from the cache or from the store.
fn look_up(world: &World, token: u8) -> Option<Known> {
    let token = [token; 32];
    let asked = match world.sessions.find(&token) {
        Ok(known) => return Some(known),
        Err(asked) => asked,
    };
    let known = ask(&*world.store, move |reader: &dyn Reader| crate::world::known(reader, &token)).ok()??;
    let asked = match world.broken {
        Broken::CacheOvertaken => world.sessions.find(&token).err().unwrap_or(asked),
        _ => asked,
    };
    world.sessions.remember(token, &known, asked);
    Some(known)
}

impl Client {
    /// Takes an entry in, as clients do, and judges that it comes in order and is for him.
    fn hear(&mut self, world: &World, actor: &Actor, entry: &Entry) {
        let place = self.places.entry(entry.log).or_default();
        if entry.seq <= *place {
            return;
        }
        assert_eq!(entry.seq, place.next(), "L1: {} is missing before {entry:?} for {actor:?}", place.next());
        *place = entry.seq;
        if entry.log == LOG {
            assert!(!self.removed, "M1: a removed member was told {entry:?}");
            self.removed = matches!(&entry.event, Event::Removed { user, .. } if *user == actor.user);
        }
        world.note(actor.user, self);
    }
}

/// The entry in a frame of the server, with the frame's length.
fn decode(frame: &Bytes) -> Option<(usize, Entry)> {
    let head = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    match serde_json::from_slice(&frame[head..]).expect("the hub sends frames of the protocol") {
        ServerFrame::Entry(entry) => Some((frame.len(), entry)),
        _ => None,
    }
}
