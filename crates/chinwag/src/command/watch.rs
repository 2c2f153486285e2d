//! `chinwag watch`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use chinwag_client::{Client, Happening, Places, cache::Cache, sync::State};
use chinwag_protocol::{ConversationId, Entry, Event, Item, LogId, Seq};

use super::{entry::People, names, read::print, session::Session};
use crate::{
    args::{Global, Watch},
    exit::{Outcome, Stop, failed},
    show::{Out, note},
};

/// `chinwag watch`.
pub(crate) async fn run(global: &Global, out: &Out, args: Watch) -> Outcome {
    let session = Session::find(global)?;
    let mut within = BTreeSet::new();
    for name in &args.within {
        within.insert(names::conversation(&session, name).await?);
    }
    let printed = Printed::begin(if args.since_last { session.watched() } else { None });
    let places = Places { outbox: None, cache: printed.file.clone() };
    let token = session.account.token.clone();
    let client = Client::connect(session.http.server.clone(), token, &places)?;
    let mut watching = Watching {
        session: &session,
        client: &client,
        out,
        args: &args,
        within,
        printed,
        count: 0,
        day: String::new(),
        place: None,
    };
    let outcome = tokio::select! {
        outcome = watching.run() => outcome,
        // Ctrl-C is how one ends it: what was printed is noted as seen, and nothing has failed.
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    // Also if it was ended in the middle of much that had come: the rest is printed the next time.
    watching.printed.keep();
    client.close().await;
    outcome
}

/// How often is noted what was printed.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// The state as far as it was printed, which is what the next run goes on from.
struct Printed {
    file: Option<PathBuf>,
    state: Option<(String, State)>,
    kept_at: Instant,
}

impl Printed {
    fn begin(file: Option<PathBuf>) -> Self {
        let state = file.as_deref().and_then(|file| Cache::new(file).load());
        Self { file, state, kept_at: Instant::now() }
    }

    /// All is new: what comes from now on is printed.
    fn fresh(&mut self, epoch: String, state: State) {
        self.state = Some((epoch, state));
        self.keep();
    }

    fn add(&mut self, entry: &Entry) {
        if let (Some(_), Some((_, state))) = (&self.file, &mut self.state) {
            state.fill(std::slice::from_ref(entry));
        }
        if self.kept_at.elapsed() > KEEP_EVERY {
            self.keep();
        }
    }

    fn keep(&mut self) {
        self.kept_at = Instant::now();
        if let (Some(file), Some((epoch, state))) = (&self.file, &self.state) {
            // Should that fail, the next run begins a little earlier, or anew.
            let _ = Cache::new(file).save(epoch, state);
        }
    }
}

/// Notes that one has read up to these entries: over a connection of its own, because it is a signal.
pub(crate) async fn mark_read(
    session: &Session,
    places: impl IntoIterator<Item = (ConversationId, Seq)>,
) -> Outcome {
    let token = session.account.token.clone();
    let client = Client::connect(session.http.server.clone(), token, &Places::default())?;
    let ready = tokio::time::timeout(Duration::from_secs(10), client.ready()).await;
    let Ok(ready) = ready else { return failed("could not note what was read: the server does not answer") };
    ready?;
    for (conversation, seq) in places {
        client.mark_read(conversation, seq);
    }
    client.close().await;
    Ok(())
}

struct Watching<'a> {
    session: &'a Session,
    client: &'a Client,
    out: &'a Out,
    args: &'a Watch,
    within: BTreeSet<ConversationId>,
    printed: Printed,
    count: u64,
    day: String,
    place: Option<ConversationId>,
}

impl Watching<'_> {
    async fn run(&mut self) -> Outcome {
        let Some(mut events) = self.client.events() else {
            return failed("the connection is already watched");
        };
        let mut people = People::default();
        let mut was_online = false;
        while let Some(happening) = events.recv().await {
            match happening {
                Happening::Entries(entries) => {
                    if !self.entries(&entries, &mut people).await? {
                        return Ok(());
                    }
                }
                Happening::Fresh { skipped, epoch, state } => {
                    self.printed.fresh(epoch, *state);
                    if !skipped.is_empty() {
                        note("Too much was missed to print it here; chinwag read shows it.");
                    }
                    self.client.with_state(|state| {
                        let users = state.map(|state| state.users.values().cloned().collect::<Vec<_>>());
                        users.into_iter().flatten().for_each(|user| people.put(user));
                    });
                }
                Happening::Online => {
                    note(if was_online { "Connected again." } else { "Connected. Ctrl-C ends." });
                    was_online = true;
                }
                Happening::Offline { retry_in, reason } => {
                    let why = reason
                        .map_or_else(|| "the connection was lost".to_owned(), |error| error.to_string());
                    if !was_online && self.client.with_state(|state| state.is_none()) {
                        // The first attempt: a wrong address should not be tried for ever.
                        if why.starts_with("cannot reach") {
                            return Err(self.session.http.server_info().await.err().map_or(
                                Stop::Failed(anyhow::anyhow!("{why}, though it answers over HTTP")),
                                Stop::from,
                            ));
                        }
                    }
                    note(&format!("Not connected: {why}. Trying again in {:.1} s.", retry_in.as_secs_f32()));
                }
                Happening::Stopped(refused) => return Err(Stop::Refused(refused)),
                Happening::Signal(_) | Happening::Sent { .. } => {}
            }
        }
        Ok(())
    }

    /// Prints entries; `false` when enough were printed.
    async fn entries(&mut self, entries: &[Entry], people: &mut People) -> Outcome<bool> {
        for entry in entries {
            if let Event::UserChanged { profile } = &entry.event {
                people.put(profile.clone());
            }
        }
        let shown = entries.iter().filter(|entry| self.shown(entry).is_some());
        people.complete(self.session, shown).await?;
        let mut read: BTreeMap<ConversationId, Seq> = BTreeMap::new();
        for entry in entries {
            if let Some(item) = self.shown(entry) {
                self.heading(&item)?;
                print(self.out, people, &item, &mut self.day)?;
                if let LogId::Conversation(id) = entry.log {
                    read.insert(id, entry.seq);
                }
                self.count += u64::from(matches!(entry.event, Event::Message(_)));
            }
            self.printed.add(entry);
            if self.args.limit.is_some_and(|limit| self.count >= limit) {
                break;
            }
        }
        if self.args.mark_read {
            for (conversation, seq) in read {
                self.client.mark_read(conversation, seq);
            }
        }
        Ok(self.args.limit.is_none_or(|limit| self.count < limit))
    }

    /// Says where, when that is another place than before.
    fn heading(&mut self, item: &Item) -> Outcome {
        let LogId::Conversation(id) = item.entry.log else { return Ok(()) };
        if self.out.json || self.place == Some(id) {
            return Ok(());
        }
        self.place = Some(id);
        let title = self.client.with_state(|state| {
            state.and_then(|state| state.conversations.get(&id).map(|known| state.title(&known.view)))
        });
        let title = title.unwrap_or_else(|| format!("id:{id}"));
        self.out.line(&format!("── {} ──", self.out.name(&title)))
    }

    fn shown(&self, entry: &Entry) -> Option<Item> {
        let LogId::Conversation(id) = entry.log else { return None };
        let is_wanted = self.args.all || matches!(entry.event, Event::Message(_));
        let is_within = self.within.is_empty() || self.within.contains(&id);
        (is_wanted && is_within).then(|| Item { entry: entry.clone(), state: None })
    }
}
