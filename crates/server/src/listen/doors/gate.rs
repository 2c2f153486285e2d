//! One open door: its machine, the links that speak to it, and what it says done.
//!
//! The machine is asked under a lock that is held only while it thinks; nothing in here waits. Whatever takes
//! time is handed to a task or to the store's writer, and comes back as an input.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chinwag_doors::{AskId, DialId, Door, Given, Input, LinkId, Moment, Output};
use chinwag_protocol::{Entry, Event, LogId, Profile, Refused, Seq, Snapshot, UserId};
use tokio::{net::TcpStream, sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{ask, line::Line, tcp};
use crate::{audit::Denials, config::DoorConfig, messenger::Messenger};

/// How long a link that a door wants may take to come about.
const DIAL_WITHIN: Duration = Duration::from_secs(2);

/// One open door.
pub(crate) struct Gate {
    pub(super) name: &'static str,
    pub(super) config: DoorConfig,
    pub(super) messenger: Messenger,
    pub(super) tasks: TaskTracker,
    /// Nothing new is accepted: the door was stopped, or the server ends.
    pub(super) shutdown: CancellationToken,
    /// The door was stopped: its links end at once.
    pub(super) stopped: CancellationToken,
    me: Weak<Self>,
    started: Instant,
    inner: Mutex<Inner>,
    told: Mutex<Told>,
    next_link: AtomicU32,
    wake: watch::Sender<Option<Moment>>,
    denials: Denials,
}

struct Inner {
    door: Box<dyn Door>,
    links: HashMap<LinkId, Arc<Line>>,
}

/// Whom the door has heard of.
#[derive(Default)]
struct Told {
    users: HashSet<UserId>,
    /// How far profiles are known to be fresh.
    directory: Seq,
}

impl Gate {
    /// A gate around a machine. It ends with `shutdown`.
    pub(super) fn new(
        name: &'static str,
        config: DoorConfig,
        door: Box<dyn Door>,
        messenger: Messenger,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let gate = Arc::new_cyclic(|me| Self {
            name,
            config,
            messenger,
            tasks,
            shutdown,
            stopped: CancellationToken::new(),
            me: me.clone(),
            started: Instant::now(),
            inner: Mutex::new(Inner { door, links: HashMap::new() }),
            told: Mutex::default(),
            next_link: AtomicU32::new(1),
            wake: watch::Sender::new(None),
            denials: Denials::default(),
        });
        gate.tasks.spawn(wake_up(Arc::clone(&gate)));
        gate
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn strong(&self) -> Arc<Self> {
        self.me.upgrade().expect("whoever has a gate holds it")
    }

    fn now(&self) -> Moment {
        Moment(self.started.elapsed())
    }

    /// Stops the door.
    pub(super) fn stop(&self) {
        self.stopped.cancel();
        self.shutdown.cancel();
    }

    /// Returns when a link has to end. When the server ends, what was accepted is answered first: signed-in links
    /// then hear from the hub that it is time.
    pub(super) async fn ends(&self, signed_in: bool) {
        if signed_in { self.stopped.cancelled().await } else { self.shutdown.cancelled().await }
    }

    /// How many links there are.
    pub(super) fn links(&self) -> usize {
        self.lock().links.len()
    }

    /// A new link.
    pub(super) fn open(&self, peer: SocketAddr, dial: Option<DialId>) -> Arc<Line> {
        let id = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let line = Arc::new(Line::new(id, peer, self.messenger.limiter()));
        let mut inner = self.lock();
        inner.links.insert(id, Arc::clone(&line));
        self.tell_to(&mut inner, Input::Opened { link: id, peer, dial });
        line
    }

    /// A link that is gone.
    pub(super) fn closed(&self, line: &Line) {
        let mut inner = self.lock();
        if inner.links.remove(&line.id).is_some() {
            self.tell_to(&mut inner, Input::Closed { link: line.id });
        }
        drop(inner);
        line.leave(&self.messenger);
    }

    /// Tells the door something about a link, unless it is gone.
    pub(super) fn tell(&self, link: LinkId, input: Input<'_>) {
        let mut inner = self.lock();
        if inner.links.contains_key(&link) {
            self.tell_to(&mut inner, input);
        }
    }

    /// Tells the door bytes that came on a link. Each thing that it does for that link because of them is paid for as a
    /// frame, for a piece of a stream may hold many requests; a piece that leads to nothing is one.
    pub(super) fn hear(&self, line: &Line, bytes: &[u8]) {
        let mut inner = self.lock();
        if !inner.links.contains_key(&line.id) {
            return;
        }
        inner.door.handle(Input::Bytes { link: line.id, bytes }, self.now());
        let mut frames = 0;
        while let Some(output) = inner.door.poll() {
            frames += u32::from(matches!(
                &output,
                Output::Send { link, .. } | Output::Ask { link, .. } | Output::Signal { link, .. } if *link == line.id
            ));
            self.obey(&inner, output);
        }
        drop(inner);
        line.pay(frames.max(1));
    }

    fn tell_to(&self, inner: &mut Inner, input: Input<'_>) {
        inner.door.handle(input, self.now());
        while let Some(output) = inner.door.poll() {
            self.obey(inner, output);
        }
    }

    fn obey(&self, inner: &Inner, output: Output) {
        match output {
            Output::Send { link, bytes } => {
                if let Some(line) = inner.links.get(&link) {
                    line.send(bytes);
                }
            }
            Output::Ask { ask, link, question } => {
                if let Some(line) = inner.links.get(&link) {
                    ask::ask(self.strong(), Arc::clone(line), ask, *question);
                }
            }
            Output::Signal { link, signal } => {
                if let Some(seat) = inner.links.get(&link).and_then(|line| line.seat())
                    && let Err(refused) = seat.signal(signal)
                {
                    tracing::debug!(door = self.name, code = refused.code, "a signal of a door is refused");
                }
            }
            Output::Hold { link, hold } => {
                if let Some(line) = inner.links.get(&link) {
                    line.hold(hold);
                }
            }
            Output::Pause { link, pause } => {
                if let Some(line) = inner.links.get(&link) {
                    line.pause_reading(pause);
                }
            }
            Output::ForeignName { link } => {
                if let Some(seat) = inner.links.get(&link).and_then(|line| line.seat()) {
                    let peer = inner.links[&link].peer.ip();
                    self.denials.note(self.name, "speak_as_another", &seat.actor, peer);
                }
            }
            Output::Dial { dial, to } => {
                let known = inner.links.values().any(|line| line.peer.ip() == to.ip());
                self.tasks.spawn(dial_out(self.strong(), dial, to, known));
            }
            Output::WakeAt(moment) => {
                self.wake.send_replace(Some(moment));
            }
            Output::Close { link } => {
                if let Some(line) = inner.links.get(&link) {
                    line.close();
                }
            }
        }
    }

    /// Tells the answer to a question, unless its link is gone.
    pub(super) fn answer(&self, link: LinkId, ask: AskId, result: Result<Given, Refused>) {
        self.tell(link, Input::Answered { ask, result });
    }

    /// Forgets who people are, if the directory has moved on while nobody listened.
    pub(super) fn refresh(&self, snapshot: &Snapshot) {
        let directory = snapshot.positions.iter().find(|(log, _)| *log == LogId::Directory);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, seq)) = directory
            && *seq > told.directory
        {
            told.users.clear();
            told.directory = *seq;
        }
    }

    /// Those of `users` of whom the door has not heard.
    pub(super) fn strangers(&self, users: impl IntoIterator<Item = UserId>) -> Vec<UserId> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut strangers: Vec<_> =
            users.into_iter().filter(|user| *user != UserId(0) && !told.users.contains(user)).collect();
        strangers.sort_unstable();
        strangers.dedup();
        strangers
    }

    /// Tells the door who somebody is.
    pub(super) fn introduce(&self, profile: &Profile) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).users.insert(profile.id);
        let mut inner = self.lock();
        self.tell_to(&mut inner, Input::Profile { profile });
    }

    /// Notes that nobody knows who somebody is, so that it is not asked again.
    pub(super) fn give_up(&self, users: &[UserId]) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).users.extend(users);
    }

    /// Tells the door of a profile that changed, the first time it is heard.
    pub(super) fn follow(&self, entry: &Entry) {
        let Event::UserChanged { profile } = &entry.event else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = entry.seq > told.directory;
        told.directory = told.directory.max(entry.seq);
        drop(told);
        if is_news {
            self.introduce(profile);
        }
    }

    /// Whether an address may be dialled: any of a peer, at a port that belongs to no service of the system.
    fn may_dial(to: SocketAddr, known: bool) -> bool {
        let ip = to.ip().to_canonical();
        let is_host = !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::from([255, 255, 255, 255]);
        known && is_host && to.port() >= 1024
    }
}

async fn dial_out(gate: Arc<Gate>, dial: DialId, to: SocketAddr, known: bool) {
    let stream = if Gate::may_dial(to, known) {
        let connecting = tokio::time::timeout(DIAL_WITHIN, TcpStream::connect(to));
        gate.shutdown.run_until_cancelled(connecting).await.and_then(Result::ok).and_then(Result::ok)
    } else {
        None
    };
    match stream {
        Some(stream) => tcp::run(gate, stream, to, Some(dial)).await,
        None => {
            let mut inner = gate.lock();
            gate.tell_to(&mut inner, Input::DialFailed { dial });
        }
    }
}

/// Wakes the door when it wants to be woken.
async fn wake_up(gate: Arc<Gate>) {
    let mut wishes = gate.wake.subscribe();
    loop {
        let wish = *wishes.borrow_and_update();
        let due = async {
            match wish {
                Some(moment) => tokio::time::sleep_until(gate.started + moment.0).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = gate.shutdown.cancelled() => return,
            changed = wishes.changed() => if changed.is_err() { return },
            () = due => {
                // A wish that came meanwhile is a later one and stays.
                gate.wake.send_if_modified(|now| {
                    if *now == wish { *now = None; }
                    false
                });
                wishes.mark_unchanged();
                let mut inner = gate.lock();
                gate.tell_to(&mut inner, Input::Woken);
            }
        }
    }
}
