//! Somebody with a program of another wire: says things, is cut off, takes leave, and comes back.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Line, Said, Wire,
    ear::Ear,
    places::{Place, Places},
};
use crate::{
    Random,
    client::{Progress, World},
    history::{Op, What, hash},
};

/// What a program that says things again keeps: what was said so shortly before.
const SAID_AGAIN: Duration = Duration::from_secs(2);

/// Between two looks at whether anything is different.
const LOOK: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct Person {
    pub(super) wire: Box<dyn Wire>,
    pub(super) number: u32,
    pub(super) user: u32,
    pub(super) own: String,
    pub(super) places: Arc<Places>,
    pub(super) world: Arc<World>,
    pub(super) random: Random,
    pub(super) progress: Arc<Mutex<Progress>>,
}

/// Its connection, and what is not settled on it.
#[derive(Default)]
struct Link {
    line: Option<(Box<dyn Line>, Arc<Ear>)>,
    waiting: Arc<Mutex<HashMap<String, u64>>>,
    said: VecDeque<(Instant, u64, u32, String)>,
    count: u64,
    crashes: u64,
}

impl Person {
    fn note(&self, what: What) {
        self.world.history.note(self.number, self.user, self.number, what);
    }

    /// Works until the end.
    pub(super) fn run(mut self) {
        let mut link = Link::default();
        let mut back_at = Instant::now();
        let mut next = back_at;
        while !self.world.end.load(Ordering::Acquire) {
            let quiet = self.world.quiet.load(Ordering::Acquire);
            self.mind(&mut link);
            if link.line.is_none() && (quiet || Instant::now() >= back_at) && !self.connect(&mut link) {
                back_at = Instant::now() + Duration::from_millis(30 + self.random.below(100));
                std::thread::park_timeout(5 * LOOK);
            }
            if let Ok(mut progress) = self.progress.lock() {
                progress.settled = link.line.is_some() && quiet;
            }
            if quiet || link.line.is_none() || Instant::now() < next {
                std::thread::park_timeout(LOOK);
                continue;
            }
            next = Instant::now() + self.pause();
            match self.random.below(1_000) {
                0..60 => {
                    self.lose(&mut link);
                    back_at = Instant::now() + Duration::from_millis(self.random.below(900));
                }
                60..120 => {
                    self.leave(&mut link);
                    back_at = Instant::now() + Duration::from_millis(self.random.below(900));
                }
                _ => self.say(&mut link),
            }
        }
    }

    fn pause(&mut self) -> Duration {
        let mean = u64::try_from(self.world.pause.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.random.below(2 * mean))
    }

    /// Sees what has become of the connection.
    fn mind(&self, link: &mut Link) {
        let crashes = self.world.crashes.load(Ordering::Acquire);
        let forgotten = link.crashes != crashes && self.wire.forgets();
        let is_over = |(line, ear): &mut (Box<dyn Line>, Arc<Ear>)| ear.is_over() || line.is_over();
        if link.line.as_mut().is_some_and(is_over) || forgotten {
            self.lose(link);
        }
        link.crashes = crashes;
    }

    fn connect(&mut self, link: &mut Link) -> bool {
        let ids = (self.number, self.user);
        let ear = Arc::new(Ear::new(
            &self.world.history,
            self.wire.name(),
            ids,
            &self.own,
            &self.places,
            &link.waiting,
        ));
        match self.wire.open(&ear) {
            Ok(line) => {
                ear.begin();
                link.line = Some((line, ear));
                self.say_again(link);
                true
            }
            Err(error) => {
                if ear.has_begun() {
                    self.note(What::Cut);
                }
                if let Ok(mut progress) = self.progress.lock() {
                    progress.trouble = format!("{} of {}: {error}", self.wire.name(), self.own);
                }
                false
            }
        }
    }

    /// The connection is gone without a word. What it was told until then is noted.
    fn lose(&self, link: &mut Link) {
        if link.line.take().is_some() {
            self.unknown(link);
            self.note(What::Cut);
        }
    }

    fn leave(&mut self, link: &mut Link) {
        let Some((line, _)) = link.line.take() else { return };
        let left = line.leave();
        self.wire.left();
        self.unknown(link);
        self.note(if left { What::Left } else { What::Cut });
        link.said.clear();
    }

    /// What has no answer will have none.
    fn unknown(&self, link: &Link) {
        let mut open: Vec<u64> = link
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain()
            .map(|(_, call)| call)
            .collect();
        open.sort_unstable();
        open.into_iter().for_each(|call| self.note(What::Info { call }));
    }

    fn say(&mut self, link: &mut Link) {
        let mine = |place: &&Place| place.members.contains(&self.own) && self.wire.reaches(place);
        let from: Vec<u32> = self.places.0.iter().filter(mine).map(|place| place.id).collect();
        let conversation = self.world.choose(&mut self.random, &from);
        link.count += 1;
        let length = usize::try_from(self.random.below(30)).unwrap_or_default();
        let text = format!("d{}-{} {}", self.number, link.count, "wäg 🙂 ".repeat(length));
        let text = text.trim_end().to_owned();
        let call = self.world.calls.fetch_add(1, Ordering::Relaxed);
        let Some(place) = self.places.0.iter().find(|place| place.id == conversation).cloned() else {
            return;
        };
        let named = self.wire.named(call, &place);
        self.note(What::Invoke { call, op: Op::Say { conversation, body_hash: hash(&text), named } });
        link.said.retain(|(at, ..)| at.elapsed() < SAID_AGAIN);
        link.said.push_back((Instant::now(), call, conversation, text.clone()));
        self.put(link, call, &place, &text);
    }

    fn put(&self, link: &mut Link, call: u64, place: &Place, text: &str) {
        let Some((line, ear)) = &mut link.line else { return };
        match line.say(call, place, text) {
            Said::Done { seq } => ear.done(call, seq),
            Said::Refused(code) => ear.refused(call, &code),
            Said::Unknown => self.note(What::Info { call }),
            Said::Later => {}
        }
    }

    /// What was said last before the connection broke, in its order and before anything new.
    fn say_again(&self, link: &mut Link) {
        let said = std::mem::take(&mut link.said);
        if !self.wire.says_again() {
            return;
        }
        for (at, call, conversation, text) in said {
            let place = self.places.0.iter().find(|place| place.id == conversation).cloned();
            let Some(place) = place.filter(|_| at.elapsed() < SAID_AGAIN) else { continue };
            self.note(What::Again { call });
            self.put(link, call, &place, &text);
            link.said.push_back((at, call, conversation, text));
        }
    }
}
