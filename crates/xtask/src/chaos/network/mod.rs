//! Faults between server and clients: slow, stalled, cut and lying connections, floods.
//!
//! All of it stays on loopback or in network namespaces of its own, and nothing of it outlives its row.

mod bystander;
mod doors;
mod flood;
mod gauge;
mod links;
mod peer;
mod slow;
mod stalled;
mod storms;
mod wire;

use std::time::Duration;

use bystander::Lap;

use super::{Scenario, Verdict, process::Found};

pub(super) const ALL: &[Scenario] = &[
    Scenario { id: "F14", what: "clients are stopped in the middle of a frame", run: stalled::stopped },
    Scenario { id: "F15", what: "a thousand readers of a byte a second", run: stalled::slow_readers },
    Scenario { id: "F16", what: "five thousand slow sockets", run: slow::sockets },
    Scenario { id: "F17", what: "the cable is pulled", run: links::half_open },
    Scenario { id: "F18", what: "packets are lost, one way too, and connections reset", run: links::lossy },
    Scenario { id: "F19", what: "a long and uneven way", run: links::uneven },
    Scenario { id: "F20", what: "a line of 56 kbit/s", run: slow::modem },
    Scenario { id: "F23", what: "everybody comes back to a server that was killed", run: storms::cold },
    Scenario { id: "F24", what: "two thousand sign-ins at once", run: storms::passwords },
    Scenario { id: "F25", what: "floods of one user, one conversation, one address", run: flood::all },
    Scenario { id: "F25D", what: "floods and idle connections at every door", run: doors::all },
];

/// What went wrong, gathered, so that all figures are printed in any case.
#[derive(Default)]
struct Findings {
    figures: String,
    wrong: Vec<String>,
}

impl Findings {
    fn figure(&mut self, text: &str) {
        self.figures.push_str(text);
    }

    fn check(&mut self, holds: bool, otherwise: impl Into<String>) {
        if !holds {
            self.wrong.push(otherwise.into());
        }
    }

    /// What the checker found.
    fn found(&mut self, found: &Found) {
        self.figure(&found.figures());
        if found.broken {
            let first = found.text.lines().next().unwrap_or_default();
            self.wrong.push(format!("the checker: {first}"));
        }
    }

    /// Those who had nothing to do with it.
    fn calm(&mut self, before: &Lap, during: &Lap) {
        let (figures, is_worse) = during.against(before);
        self.figure(&figures);
        self.check(!is_worse, "the bystanders had to wait");
    }

    fn verdict(self) -> Verdict {
        let figures = self.figures.trim_end_matches("; ");
        if self.wrong.is_empty() {
            Verdict::Passed(figures.to_owned())
        } else {
            Verdict::Failed(format!("{}; {figures}", self.wrong.join("; ")))
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Asks until something is so; how long that took.
fn within(most: Duration, mut is_so: impl FnMut() -> bool) -> Option<Duration> {
    let from = std::time::Instant::now();
    loop {
        if is_so() {
            return Some(from.elapsed());
        }
        if from.elapsed() > most {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
