//! The bench: plays a transcript to a door in virtual time and compares all that the door does.
//!
//! Strict in both directions: whatever a door says must stand in the transcript, in this order, before the next
//! input; and what stands there must be said. A transcript without an expectation is refused.

pub(crate) mod transcript;

use chinwag_doors::{Door, Input, Moment, Output};
use transcript::{Line, Step, Transcript};

/// How to hand over the bytes of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As they stand in the transcript.
    AsWritten,
    /// Each byte by itself, as a stream may bring them. When the door wants to be woken is not compared then: half
    /// a request may well be a reason to look at the clock.
    EachByte,
}

struct Bench<'d> {
    door: &'d mut dyn Door,
    now: Moment,
    wake: Option<Moment>,
    said: Vec<Output>,
    cut: Cut,
}

/// Plays a transcript; the error says where door and transcript part.
pub(crate) fn play(door: &mut dyn Door, transcript: &Transcript, cut: Cut) -> Result<(), String> {
    if !transcript.lines.iter().any(|line| matches!(line.step, Step::Expect(_))) {
        return Err("the transcript expects nothing, so it cannot fail".to_owned());
    }
    let mut bench = Bench { door, now: Moment::default(), wake: None, said: Vec::new(), cut };
    for line in &transcript.lines {
        match &line.step {
            Step::Expect(Output::WakeAt(_)) if cut == Cut::EachByte => {}
            Step::Expect(expected) => bench.expect(line, expected)?,
            step => {
                bench.expect_silence(line)?;
                bench.tell(step);
            }
        }
    }
    match bench.said.first() {
        None => Ok(()),
        Some(output) => Err(format!("at the end: the door also says {output:?}")),
    }
}

impl Bench<'_> {
    fn tell(&mut self, step: &Step) {
        match step {
            Step::Opened { link, peer, dial } => {
                self.handle(Input::Opened { link: *link, peer: *peer, dial: *dial });
            }
            Step::DialFailed(dial) => self.handle(Input::DialFailed { dial: *dial }),
            Step::Bytes { link, bytes } if self.cut == Cut::EachByte => {
                for byte in bytes.chunks(1) {
                    self.handle(Input::Bytes { link: *link, bytes: byte });
                }
            }
            Step::Bytes { link, bytes } => self.handle(Input::Bytes { link: *link, bytes }),
            Step::Closed(link) => self.handle(Input::Closed { link: *link }),
            Step::Answered { ask, result } => {
                self.handle(Input::Answered { ask: *ask, result: *result.clone() });
            }
            Step::Entry { link, entry } => {
                self.handle(Input::Entry { link: *link, entry });
            }
            Step::Profile(profile) => self.handle(Input::Profile { profile }),
            Step::CaughtUp(link) => self.handle(Input::CaughtUp { link: *link }),
            Step::Drained(link) => self.handle(Input::Drained { link: *link }),
            Step::Ended { link, reason } => self.handle(Input::Ended { link: *link, reason }),
            Step::Signal { link, signal } => self.handle(Input::Signal { link: *link, signal }),
            Step::Wait(time) => {
                let until = self.now + *time;
                while let Some(wake) = self.wake.filter(|wake| *wake <= until) {
                    self.now = self.now.max(wake);
                    self.wake = None;
                    self.handle(Input::Woken);
                }
                self.now = until;
            }
            Step::Expect(_) => unreachable!("expectations are compared, not told"),
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.door.handle(input, self.now);
        while let Some(output) = self.door.poll() {
            if let Output::WakeAt(moment) = output {
                self.wake = Some(moment);
                if self.cut == Cut::EachByte {
                    continue;
                }
            }
            self.said.push(output);
        }
    }

    fn expect(&mut self, line: &Line, expected: &Output) -> Result<(), String> {
        if self.said.is_empty() {
            return Err(format!("line {}: the door says nothing instead of {expected:?}", line.number));
        }
        let said = self.said.remove(0);
        if said == *expected {
            return Ok(());
        }
        Err(format!("line {}: expected {expected:?}\n but the door says {said:?}", line.number))
    }

    fn expect_silence(&self, line: &Line) -> Result<(), String> {
        match self.said.first() {
            None => Ok(()),
            Some(output) => Err(format!("before line {}: the door also says {output:?}", line.number)),
        }
    }
}
