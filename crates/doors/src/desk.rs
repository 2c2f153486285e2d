//! The desk of a door: what all links of it share, whatever their wire. Who people are, which questions are open and
//! what each is for, whom to wake when, and what is to be said to the listener.
//!
//! A door adds what its wire knows besides, and never says anything to the listener but through its desk.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
};

use chinwag_protocol::{ClientSignal, Command, ConversationId, Device, Seq, UserId};

use crate::{AskId, DialId, LinkId, Moment, Output, People, Question, Settings, timers::Timers};

/// What all links of a door share. `K` is what a door remembers beside a question until it is answered, `A` is for
/// what it wakes a link.
pub(crate) struct Desk<K, A = ()> {
    pub(crate) settings: Settings,
    pub(crate) people: People,
    pub(crate) timers: Timers<A>,
    questions: BTreeMap<AskId, (LinkId, K)>,
    open: BTreeSet<(LinkId, AskId)>,
    next_ask: u64,
    paused: BTreeSet<LinkId>,
    out: VecDeque<Output>,
}

impl<K, A: Ord + Copy> Desk<K, A> {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            people: People::default(),
            timers: Timers::default(),
            questions: BTreeMap::new(),
            open: BTreeSet::new(),
            next_ask: 0,
            paused: BTreeSet::new(),
            out: VecDeque::new(),
        }
    }

    /// Asks on behalf of whoever is signed in on a link, for this purpose.
    pub(crate) fn ask(&mut self, link: LinkId, purpose: K, question: Question) {
        self.next_ask += 1;
        let ask = AskId(self.next_ask);
        self.questions.insert(ask, (link, purpose));
        self.open.insert((link, ask));
        self.out.push_back(Output::Ask { ask, link, question: Box::new(question) });
    }

    /// A question was answered: on which link it was asked, and for what. Nothing, if nobody waits for it any more.
    pub(crate) fn answered(&mut self, ask: AskId) -> Option<(LinkId, K)> {
        let (link, purpose) = self.questions.remove(&ask)?;
        self.open.remove(&(link, ask));
        Some((link, purpose))
    }

    /// For what the open questions of a link were asked.
    pub(crate) fn asked(&self, link: LinkId) -> impl Iterator<Item = &K> {
        let open = self.open.range((link, AskId(0))..=(link, AskId(u64::MAX)));
        open.filter_map(|(_, ask)| self.questions.get(ask)).map(|(_, purpose)| purpose)
    }

    /// The answers to the open questions of a link are no longer wanted.
    pub(crate) fn forget_questions(&mut self, link: LinkId) {
        while let Some(key) = self.open.range((link, AskId(0))..=(link, AskId(u64::MAX))).next().copied() {
            self.open.remove(&key);
            self.questions.remove(&key.1);
        }
    }

    /// A link is gone: nobody answers there, and nobody wakes it.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.forget_questions(link);
        self.timers.forget(link);
        self.paused.remove(&link);
    }

    pub(crate) fn send(&mut self, link: LinkId, bytes: Vec<u8>) {
        self.out.push_back(Output::Send { link, bytes });
    }

    pub(crate) fn close(&mut self, link: LinkId) {
        self.out.push_back(Output::Close { link });
    }

    /// Tells no entries on a link, or goes on.
    pub(crate) fn hold(&mut self, link: LinkId, hold: bool) {
        self.out.push_back(Output::Hold { link, hold });
    }

    /// Reads nothing more on a link, or goes on; said only where it changes something.
    pub(crate) fn pause(&mut self, link: LinkId, pause: bool) {
        let changes = if pause { self.paused.insert(link) } else { self.paused.remove(&link) };
        if changes {
            self.out.push_back(Output::Pause { link, pause });
        }
    }

    /// Somebody spoke in another one's name on a link, and was refused.
    pub(crate) fn foreign_name(&mut self, link: LinkId) {
        self.out.push_back(Output::ForeignName { link });
    }

    pub(crate) fn dial(&mut self, dial: DialId, to: SocketAddr) {
        self.out.push_back(Output::Dial { dial, to });
    }

    /// The user of a link has received all of a conversation up to this entry.
    pub(crate) fn delivered(&mut self, link: LinkId, conversation: ConversationId, delivered: Seq) {
        let signal = ClientSignal::Cursor { conversation, delivered, read: Seq::ZERO };
        self.out.push_back(Output::Signal { link, signal });
    }

    /// Of whom a link wants to hear whether they are there.
    pub(crate) fn watch(&mut self, link: LinkId, users: Vec<UserId>) {
        self.out.push_back(Output::Signal { link, signal: ClientSignal::Watch { users } });
    }

    /// The next link whose time has come, and for what; to be asked until there is none when the door is woken.
    pub(crate) fn due(&mut self, now: Moment) -> Option<(LinkId, A)> {
        self.timers.due(now)
    }

    /// What to say next; the wish to be woken last, when all else is decided.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.out.pop_front().or_else(|| self.timers.wish())
    }
}

/// Who wants to sign in or to have an account; `door` is the device from which he does.
pub(crate) fn device(door: &str, handle: impl Into<String>, password: impl Into<String>) -> Device {
    Device {
        handle: handle.into(),
        password: password.into(),
        device: door.to_owned(),
        invite: None,
        cookie: false,
    }
}

/// A message of nothing but text.
pub(crate) fn post(conversation: ConversationId, client_id: String, text: impl Into<String>) -> Question {
    Question::Command(Command::Post {
        conversation,
        client_id,
        text: text.into(),
        attachments: Vec::new(),
        reply_to: None,
        thread: None,
        sent_at: None,
    })
}

/// A text with its control characters as the symbols that stand for them. Nobody may say such a character, and these
/// wires have no words to tell their user so: what he typed would be lost.
pub(crate) fn shown(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(c),
        '\u{7f}' => '\u{2421}',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.replace("\r\n", "\n").chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        let text = "a\r\nb\tc\n\u{1b}[2J\u{7}\r\0\u{7f}\u{85}\u{202e}😀";
        let expected = "a\nb\tc\n\u{241b}[2J\u{2407}\u{240d}\u{2400}\u{2421}\u{fffd}\u{202e}😀";
        assert_eq!(shown(text), expected);
    }

    fn desk() -> Desk<char> {
        Desk::new(Settings::plain())
    }

    #[test]
    fn an_answer_finds_its_link_and_purpose_once() {
        let mut desk = desk();
        for (link, purpose) in [(1, 'a'), (2, 'b'), (1, 'c')] {
            desk.ask(LinkId(link), purpose, Question::Time {});
        }
        assert_eq!(desk.asked(LinkId(1)).collect::<String>(), "ac");
        assert_eq!(desk.answered(AskId(1)), Some((LinkId(1), 'a')));
        assert_eq!(desk.answered(AskId(1)), None);
        assert_eq!(desk.asked(LinkId(1)).collect::<String>(), "c");
    }

    #[test]
    fn a_link_that_is_gone_leaves_nothing_behind() {
        let mut desk = desk();
        for link in [1, 2].map(LinkId) {
            desk.ask(link, 'a', Question::Time {});
            desk.timers.set(link, (), Moment::default());
            desk.pause(link, true);
            desk.forget(link);
        }
        assert!(desk.questions.is_empty() && desk.open.is_empty() && desk.paused.is_empty());
        assert_eq!((desk.answered(AskId(1)), desk.due(Moment::default())), (None, None));
    }

    #[test]
    fn a_pause_is_said_where_it_changes_something() {
        let mut desk = desk();
        for pause in [false, true, true, false, false] {
            desk.pause(LinkId(1), pause);
        }
        let said: Vec<_> = std::iter::from_fn(|| desk.poll()).collect();
        assert_eq!(said, [true, false].map(|pause| Output::Pause { link: LinkId(1), pause }));
    }
}
