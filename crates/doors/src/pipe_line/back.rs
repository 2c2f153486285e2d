//! The connection that the server dials back: pushes, one at a time, each until it is answered.
//!
//! "Must wait for each answer before the next push, otherwise messages run together."

use std::{collections::VecDeque, time::Duration};

use chinwag_protocol::{ConversationId, Seq};

use super::{Alarm, Shared, wire::Letters};
use crate::{LinkId, Moment};

/// "Tried again after 5 s, 10 s, then every 30 s while connected."
const AGAIN_AFTER: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(30)];

/// Of an answer; more than that is no answer.
const ANSWER_MAX: usize = 256;

/// Something to push.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) line: String,
    /// What the client answers to it.
    pub(super) expects: String,
    /// What it has received by then.
    pub(super) delivers: Option<(ConversationId, Seq)>,
}

/// One such connection.
#[derive(Debug)]
pub(super) struct Back {
    pub(super) link: LinkId,
    pushes: VecDeque<Push>,
    tries: usize,
    answer: Vec<u8>,
}

impl Back {
    pub(super) fn new(link: LinkId) -> Self {
        Self { link, pushes: VecDeque::new(), tries: 0, answer: Vec::new() }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pushes.is_empty()
    }

    /// Pushes this after what is being pushed.
    pub(super) fn push(
        &mut self,
        main: LinkId,
        push: Push,
        letters: Letters,
        now: Moment,
        shared: &mut Shared,
    ) {
        self.pushes.push_back(push);
        if self.pushes.len() == 1 {
            self.tries = 0;
            self.send(main, letters, now, shared);
        }
    }

    /// Sends the first push, again or for the first time.
    pub(super) fn send(&mut self, main: LinkId, letters: Letters, now: Moment, shared: &mut Shared) {
        let Some(push) = self.pushes.front() else { return };
        shared.send(self.link, letters.encode(&push.line));
        let after = AGAIN_AFTER[self.tries.min(AGAIN_AFTER.len() - 1)];
        self.tries += 1;
        shared.timers.set((main, Alarm::Push), now + after);
    }

    /// Bytes of the client; the push that they answer, if they do.
    pub(super) fn answered(&mut self, bytes: &[u8], letters: Letters) -> Option<Push> {
        let Some(push) = self.pushes.front() else {
            // A late answer to a push that was sent twice.
            self.answer.clear();
            return None;
        };
        self.answer.extend_from_slice(bytes);
        let expected = letters.encode(&push.expects);
        // Late answers may stand before it; what it says is what counts, so another number is no answer.
        let is_there = self.answer.windows(expected.len()).enumerate().any(|(at, window)| {
            window == expected && !self.answer.get(at + expected.len()).is_some_and(u8::is_ascii_digit)
        });
        if is_there {
            self.answer.clear();
            return self.pushes.pop_front();
        }
        if self.answer.len() > ANSWER_MAX {
            self.answer.clear();
        }
        None
    }

    /// The next push begins.
    pub(super) fn go_on(&mut self, main: LinkId, letters: Letters, now: Moment, shared: &mut Shared) {
        self.tries = 0;
        shared.timers.clear((main, Alarm::Push));
        self.send(main, letters, now, shared);
    }
}
