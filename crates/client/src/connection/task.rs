//! The task that owns the connection: connect, talk, wait, again.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use chinwag_protocol::{
    Answer, ClientFrame, ClientSignal, Closing, Entry, Kind, LogId, Origin, Query, Refused, Reply, Seq,
    ServerFrame,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    Ask, Happening, Shared, Status,
    backoff::Backoff,
    link::{Heard, Link},
    owed::Owed,
    talk::{OPEN_MAX, Open, Talk},
};
use crate::{
    Address, ClientError,
    outbox::Outcome,
    sync::{Applied, State},
};

const TICK: Duration = Duration::from_millis(250);
/// Above this, nothing more is read from the server until the program has taken some.
const BACKLOG_MAX: usize = 64;
/// Cursors told at each tick; the others at the next.
const CURSORS_PER_TICK: usize = 10;
const PAGE: u16 = 200;

/// Why a connection ended.
enum End {
    /// Come back, after the hinted time.
    Lost(Option<u32>),
    /// Do not come back.
    Stopped(Refused),
    /// The program closed the client.
    Closed,
}

/// What the connection has to do next.
enum Next {
    Close,
    Tick,
    Ask(Ask),
    Told,
    Heard(Heard),
}

pub(super) struct Task {
    server: Address,
    token: String,
    shared: Arc<Shared>,
    asks: mpsc::Receiver<Ask>,
    tell: mpsc::Sender<Happening>,
    backlog: VecDeque<Happening>,
    closing: watch::Receiver<bool>,
    epoch: Option<String>,
    owed: Owed,
}

impl Task {
    pub(super) fn new(
        server: Address,
        token: String,
        shared: Arc<Shared>,
        asks: mpsc::Receiver<Ask>,
        tell: mpsc::Sender<Happening>,
        closing: watch::Receiver<bool>,
        epoch: Option<String>,
    ) -> Self {
        let backlog = VecDeque::new();
        Self { server, token, shared, asks, tell, backlog, closing, epoch, owed: Owed::default() }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let status = loop {
            let (hint, reason) = match self.connect().await {
                Some(Ok(link)) => match self.talk(link, &mut backoff).await {
                    End::Lost(hint) => (hint, None),
                    End::Stopped(refused) => break Status::Stopped(refused),
                    End::Closed => break Status::Closed,
                },
                Some(Err(error)) => (None, Some(Arc::new(error))),
                None => break Status::Closed,
            };
            let retry_in = backoff.next(hint, rand::random());
            self.shared.status.send_replace(Status::Offline);
            self.backlog.push_back(Happening::Offline { retry_in, reason });
            if self.pause(retry_in).await {
                break Status::Closed;
            }
        };
        if let Status::Stopped(refused) = &status {
            // The last word; if nobody listens it is in the status too.
            self.backlog.push_back(Happening::Stopped(refused.clone()));
        }
        while let (Some(happening), Status::Stopped(_)) = (self.backlog.pop_front(), &status) {
            if self.tell.send(happening).await.is_err() {
                break;
            }
        }
        if let Some(mut outbox) = self.shared.outbox() {
            outbox.stop_sending();
        }
        self.shared.status.send_replace(status);
    }

    /// Opens a link; `None` if the program closed the client meanwhile.
    async fn connect(&mut self) -> Option<Result<Link, ClientError>> {
        let positions = self.shared.state().as_ref().map(State::positions);
        let resume = self.epoch.clone().zip(positions).map(|(epoch, positions)| Origin { epoch, positions });
        tokio::select! {
            opened = Link::open(&self.server, &self.token, resume) => Some(opened),
            () = closed(&mut self.closing) => None,
        }
    }

    /// Waits before the next attempt; whether the program closed the client meanwhile.
    async fn pause(&mut self, wait: Duration) -> bool {
        let mut waiting = std::pin::pin!(sleep(wait));
        loop {
            tokio::select! {
                () = &mut waiting => return false,
                () = closed(&mut self.closing) => return true,
                permit = self.tell.reserve(), if !self.backlog.is_empty() => match (permit, self.backlog.pop_front()) {
                    (Ok(permit), Some(happening)) => permit.send(happening),
                    _ => self.backlog.clear(),
                },
            }
        }
    }

    async fn talk(&mut self, mut link: Link, backoff: &mut Backoff) -> End {
        let mut talk = Talk::new();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            let next = tokio::select! {
                () = closed(&mut self.closing) => Next::Close,
                _ = tick.tick() => Next::Tick,
                ask = self.asks.recv(), if talk.online && talk.open.len() < OPEN_MAX => {
                    ask.map_or(Next::Close, Next::Ask)
                }
                permit = self.tell.reserve(), if !self.backlog.is_empty() => {
                    match (permit, self.backlog.pop_front()) {
                        (Ok(permit), Some(happening)) => permit.send(happening),
                        // Nobody listens; the state is kept all the same.
                        _ => self.backlog.clear(),
                    }
                    Next::Told
                }
                heard = link.hear(), if self.backlog.len() < BACKLOG_MAX => Next::Heard(heard),
            };
            let step = match next {
                Next::Close => Err(End::Closed),
                Next::Tick => self.tick(&mut link, &mut talk).await,
                Next::Ask(ask) => self.pass_on(&mut link, &mut talk, ask).await,
                Next::Told => Ok(()),
                Next::Heard(Heard::Gone) => Err(End::Lost(None)),
                Next::Heard(heard) => {
                    talk.heard_at = Instant::now();
                    match heard {
                        Heard::Frame(frame) => self.hear(&mut link, &mut talk, frame).await,
                        _ => Ok(()),
                    }
                }
            };
            if talk.online {
                backoff.reset();
            }
            if let Err(end) = step {
                break end;
            }
        };
        for (_, open) in std::mem::take(&mut talk.open) {
            match open {
                Open::Command(tell) => drop(tell.send(Err(ClientError::Lost))),
                Open::Query(tell) => drop(tell.send(Err(ClientError::Lost))),
                Open::Post { .. } | Open::Fill { .. } | Open::Owed { .. } | Open::Users => {}
            }
        }
        if matches!(end, End::Closed) {
            // What was read is worth telling; questions have nobody who waits for them any more.
            while let Ok(ask) = self.asks.try_recv() {
                if matches!(ask, Ask::Read(..)) {
                    let _ = self.pass_on(&mut link, &mut talk, ask).await;
                }
            }
            if self.tell_cursors(&mut link, &mut talk).await.is_ok() {
                link.settle().await;
            }
        }
        link.close().await;
        end
    }

    async fn hear(&mut self, link: &mut Link, talk: &mut Talk, frame: ServerFrame) -> Result<(), End> {
        match frame {
            ServerFrame::Welcome(welcome) => {
                talk.heartbeat = heartbeat(welcome.heartbeat_ms);
                let is_same = self.epoch.as_ref() == Some(&welcome.epoch);
                self.epoch = Some(welcome.epoch.clone());
                let mut new = State::from(welcome.snapshot);
                let old = self.shared.state().take().filter(|_| is_same);
                let skipped = match &old {
                    Some(old) => self.owed.jump(old, &new),
                    None => {
                        self.owed.clear();
                        Vec::new()
                    }
                };
                for (conversation, seq) in old.iter().flat_map(State::reads) {
                    // Read here, and the server does not know it: a connection was cut, or it crashed.
                    if new.mark_read(conversation, seq) {
                        talk.read.insert(conversation, seq);
                    }
                }
                let (epoch, state) = (welcome.epoch, Box::new(new.clone()));
                *self.shared.state() = Some(new);
                self.backlog.push_back(Happening::Fresh { skipped, epoch, state });
                self.ask_owed(link, talk).await
            }
            ServerFrame::Resumed(resumed) => {
                talk.heartbeat = heartbeat(resumed.heartbeat_ms);
                if let Some(state) = self.shared.state().as_mut() {
                    state.session = resumed.session;
                }
                talk.resumed = true;
                self.ask_owed(link, talk).await
            }
            ServerFrame::CaughtUp {} => {
                talk.online = true;
                if let Some(state) = self.shared.state().as_ref().filter(|_| talk.resumed) {
                    talk.tell_read_again(state);
                }
                self.shared.status.send_replace(Status::Online);
                self.backlog.push_back(Happening::Online);
                self.send_waiting(link, talk).await
            }
            ServerFrame::Entry(entry) => self.take_entry(link, talk, entry).await,
            ServerFrame::Signal(signal) => {
                if let Some(state) = self.shared.state().as_mut() {
                    state.apply_signal(&signal, crate::now());
                    talk.note_own_cursor(&signal, state.me.id);
                }
                self.backlog.push_back(Happening::Signal(signal));
                Ok(())
            }
            ServerFrame::Done { id, reply } => self.done(link, talk, id, Ok(reply)).await,
            ServerFrame::Refused { id: Some(id), refused } => self.done(link, talk, id, Err(refused)).await,
            // Before the welcome it is the hello that was refused.
            ServerFrame::Refused { id: None, refused } => {
                match talk.online || refused.kind == Kind::Unavailable {
                    true => Ok(()),
                    false if refused.kind == Kind::TooMany => Err(End::Lost(refused.retry_after_ms)),
                    false => Err(End::Stopped(refused)),
                }
            }
            ServerFrame::Answer { id, answer } => self.answered(link, talk, id, answer).await,
            ServerFrame::Pong {} => Ok(()),
            ServerFrame::Closing(Closing { reason, retry_after_ms }) => match retry_after_ms {
                Some(hint) => Err(End::Lost(Some(hint))),
                None => Err(End::Stopped(reason)),
            },
        }
    }

    async fn take_entry(&mut self, link: &mut Link, talk: &mut Talk, entry: Entry) -> Result<(), End> {
        let applied = self.shared.state().as_mut().map_or(Applied::Ignored, |state| state.apply(&entry));
        match applied {
            Applied::Applied => {
                let Some(entry) = self.owed.hold(entry) else { return Ok(()) };
                match self.backlog.back_mut() {
                    Some(Happening::Entries(entries)) if entries.len() < BACKLOG_MAX => entries.push(entry),
                    _ => self.backlog.push_back(Happening::Entries(vec![entry])),
                }
                Ok(())
            }
            Applied::Ignored => Ok(()),
            Applied::Gap { log, after } => {
                if let Some(heard) = talk.filling.get_mut(&log) {
                    *heard = entry.seq.max(*heard);
                    return Ok(());
                }
                talk.filling.insert(log, entry.seq);
                self.ask_entries(link, talk, Open::Fill { log, after }, log, after).await
            }
        }
    }

    async fn answered(
        &mut self,
        link: &mut Link,
        talk: &mut Talk,
        id: u64,
        answer: Answer,
    ) -> Result<(), End> {
        match (talk.open.remove(&id), answer) {
            (Some(Open::Query(tell)), answer) => drop(tell.send(Ok(answer))),
            (Some(Open::Users), Answer::Users(profiles)) => {
                if let Some(state) = self.shared.state().as_mut() {
                    state.learn(profiles);
                }
            }
            (Some(Open::Fill { log, after }), Answer::Entries { entries, more }) => {
                return self.fill(link, talk, (log, after), entries, more).await;
            }
            (Some(Open::Owed { log }), Answer::Entries { entries, more }) => {
                let (told, next) = self.owed.pay(log, entries, more);
                self.tell_entries(told);
                if let Some(after) = next {
                    return self.ask_entries(link, talk, Open::Owed { log }, log, after).await;
                }
            }
            // The answer to another question than the one asked: as good as none.
            (Some(Open::Fill { log, .. }), _) => drop(talk.filling.remove(&log)),
            (Some(Open::Owed { log }), _) => {
                let held = self.owed.forgive(log);
                self.tell_entries(held);
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks for what the program was not told though the state has it.
    async fn ask_owed(&mut self, link: &mut Link, talk: &mut Talk) -> Result<(), End> {
        for (log, after) in self.owed.questions() {
            self.ask_entries(link, talk, Open::Owed { log }, log, after).await?;
        }
        Ok(())
    }

    async fn ask_entries(
        &self,
        link: &mut Link,
        talk: &mut Talk,
        open: Open,
        log: LogId,
        after: Seq,
    ) -> Result<(), End> {
        let id = talk.open(open);
        self.send(link, ClientFrame::Query { id, get: Query::Entries { log, after, limit: PAGE } }).await
    }

    fn tell_entries(&mut self, entries: Vec<Entry>) {
        if !entries.is_empty() {
            self.backlog.push_back(Happening::Entries(entries));
        }
    }

    async fn fill(
        &mut self,
        link: &mut Link,
        talk: &mut Talk,
        (log, asked): (LogId, Seq),
        entries: Vec<Entry>,
        more: bool,
    ) -> Result<(), End> {
        let (new, position) = {
            let mut state = self.shared.state();
            let Some(state) = state.as_mut() else { return Ok(()) };
            let before = state.position(log);
            let new: Vec<Entry> = entries.into_iter().filter(|entry| Some(entry.seq) > before).collect();
            state.fill(&new);
            // Somebody who left and came back is farther than where he asked, without anything of this answer.
            (new, state.position(log).filter(|position| *position > asked))
        };
        let told = new.into_iter().filter_map(|entry| self.owed.hold(entry)).collect();
        self.tell_entries(told);
        let heard = talk.filling.get(&log).copied();
        match position {
            // What came while the question was open was not applied: ask on until that is reached.
            Some(after) if more || heard > Some(after) => {
                self.ask_entries(link, talk, Open::Fill { log, after }, log, after).await
            }
            // Reached, or the conversation is gone, or the server has no more: the next entry shows whether a gap
            // is left.
            _ => {
                talk.filling.remove(&log);
                Ok(())
            }
        }
    }

    async fn fill_again(&self, link: &mut Link, talk: &mut Talk) -> Result<(), End> {
        for log in std::mem::take(&mut talk.fill_again) {
            let position = self.shared.state().as_ref().and_then(|state| state.position(log));
            match position {
                Some(after) => self.ask_entries(link, talk, Open::Fill { log, after }, log, after).await?,
                None => drop(talk.filling.remove(&log)),
            }
        }
        Ok(())
    }

    async fn done(
        &mut self,
        link: &mut Link,
        talk: &mut Talk,
        id: u64,
        result: Result<Reply, Refused>,
    ) -> Result<(), End> {
        match talk.open.remove(&id) {
            Some(Open::Command(tell)) => drop(tell.send(result.map_err(Into::into))),
            Some(Open::Query(tell)) => drop(tell.send(Err(match result {
                Err(refused) => refused.into(),
                Ok(_) => ClientError::Foreign(self.server.clone()),
            }))),
            Some(Open::Fill { log, .. }) => match result {
                Err(refused) if !refused.is_definite() => drop(talk.fill_again.insert(log)),
                _ => drop(talk.filling.remove(&log)),
            },
            Some(Open::Owed { log }) => {
                let held = self.owed.forgive(log);
                self.tell_entries(held);
            }
            Some(Open::Users) | None => {}
            Some(Open::Post { client_id, conversation }) => {
                talk.posting.remove(&conversation);
                let outcome = match result {
                    Ok(Reply::Posted(posted)) => Some(Outcome::Posted(posted)),
                    Ok(_) => None,
                    Err(refused) => {
                        let wait = Duration::from_millis(refused.retry_after_ms.unwrap_or(1_000).into());
                        let outcome = Outcome::of_refusal(&refused);
                        if outcome.is_none() {
                            talk.post_from = Instant::now() + wait;
                        }
                        outcome
                    }
                };
                if let Some(outcome) = outcome {
                    self.finish(client_id, outcome).await;
                }
                return self.send_waiting(link, talk).await;
            }
        }
        Ok(())
    }

    async fn finish(&mut self, client_id: String, outcome: Outcome) {
        let (shared, id, kept) = (self.shared.clone(), client_id.clone(), outcome.clone());
        let noting =
            tokio::task::spawn_blocking(move || shared.outbox().map(|mut outbox| outbox.finish(&id, kept)));
        // If it could not be noted, the message is sent again with the same id, which changes nothing.
        let _ = noting.await;
        self.backlog.push_back(Happening::Sent { client_id, outcome });
    }

    async fn pass_on(&mut self, link: &mut Link, talk: &mut Talk, ask: Ask) -> Result<(), End> {
        let frame = match ask {
            Ask::Command(command, tell) => {
                ClientFrame::Command { id: talk.open(Open::Command(tell)), command: *command }
            }
            Ask::Query(get, tell) => ClientFrame::Query { id: talk.open(Open::Query(tell)), get },
            Ask::Signal(signal) => ClientFrame::Signal(signal),
            Ask::Read(conversation, seq) => {
                let read = talk.read.entry(conversation).or_default();
                *read = seq.max(*read);
                return Ok(());
            }
            Ask::Outbox => return self.send_waiting(link, talk).await,
        };
        self.send(link, frame).await
    }

    /// Sends the first waiting message of each conversation that has none on its way.
    async fn send_waiting(&mut self, link: &mut Link, talk: &mut Talk) -> Result<(), End> {
        if !talk.online || Instant::now() < talk.post_from {
            return Ok(());
        }
        let drafts: Vec<_> = {
            let Some(mut outbox) = self.shared.outbox() else { return Ok(()) };
            // An outbox that cannot be read now is tried again at the next tick.
            if !outbox.become_sender().unwrap_or(false) || outbox.refresh().is_err() {
                return Ok(());
            }
            outbox
                .first_of_each()
                .filter(|draft| !talk.posting.contains(&draft.conversation))
                .cloned()
                .collect()
        };
        for draft in drafts.into_iter().take(OPEN_MAX.saturating_sub(talk.open.len())) {
            talk.posting.insert(draft.conversation);
            let (client_id, conversation) = (draft.client_id.clone(), draft.conversation);
            let id = talk.open(Open::Post { client_id, conversation });
            self.send(link, ClientFrame::Command { id, command: draft.command() }).await?;
        }
        Ok(())
    }

    async fn tick(&mut self, link: &mut Link, talk: &mut Talk) -> Result<(), End> {
        let now = Instant::now();
        if !self.backlog.is_empty() {
            // The program is slow, not the server: what was not read is no sign of death.
            talk.heard_at = now;
        }
        // Two pings were not answered: a cable that was pulled is noticed within 30 s.
        if now - talk.heard_at > talk.heartbeat * 5 / 4 {
            return Err(End::Lost(None));
        }
        if now - talk.pinged_at > talk.heartbeat / 2 {
            talk.pinged_at = now;
            self.send(link, ClientFrame::Ping {}).await?;
        }
        if talk.online {
            talk.forget_abandoned();
            self.fill_again(link, talk).await?;
            self.tell_cursors(link, talk).await?;
            self.send_waiting(link, talk).await?;
            self.ask_users(link, talk).await?;
        }
        Ok(())
    }

    /// Tells how far this device has received and its user has read, at most once a tick for each conversation.
    async fn tell_cursors(&mut self, link: &mut Link, talk: &mut Talk) -> Result<(), End> {
        let mut signals = Vec::new();
        if let Some(state) = self.shared.state().as_ref() {
            for (id, known) in &state.conversations {
                let (head, read) = (known.view.head.seq, talk.read.get(id).copied().unwrap_or_default());
                let is_new = known.unread() > 0 && talk.delivered.get(id).is_none_or(|told| head > *told);
                if (is_new || read.0 > 0) && signals.len() < CURSORS_PER_TICK {
                    signals.push((*id, head, read));
                }
            }
        }
        for (conversation, delivered, read) in signals {
            talk.delivered.insert(conversation, delivered);
            talk.read.remove(&conversation);
            let signal = ClientSignal::Cursor { conversation, delivered, read };
            self.send(link, ClientFrame::Signal(signal)).await?;
        }
        Ok(())
    }

    async fn ask_users(&mut self, link: &mut Link, talk: &mut Talk) -> Result<(), End> {
        let mut users: Vec<_> = match self.shared.state().as_ref() {
            Some(state) => state.unknown_users().difference(&talk.asked_users).copied().collect(),
            None => return Ok(()),
        };
        users.truncate(PAGE.into());
        if users.is_empty() {
            return Ok(());
        }
        talk.asked_users.extend(&users);
        let id = talk.open(Open::Users);
        self.send(link, ClientFrame::Query { id, get: Query::Users { users } }).await
    }

    async fn send(&self, link: &mut Link, frame: ClientFrame) -> Result<(), End> {
        link.send(&frame).await.map_err(|()| End::Lost(None))
    }
}

/// Waits until the program closes the client, or has dropped it.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// What the server expects, within reason.
fn heartbeat(ms: u32) -> Duration {
    Duration::from_millis(ms.clamp(2_000, 120_000).into())
}
