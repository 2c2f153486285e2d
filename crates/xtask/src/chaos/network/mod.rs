//! Faults between server and clients: slow, stalled, cut and lying connections, floods.
//!
//! A row's check is worth something only if it can fail: with `--canary` each is given something wrong (a server built
//! without a bound, a proxy that loses entries, limits that are lifted) and has to say so.
//!
//! All of it stays on loopback or in network namespaces of its own, and nothing of it outlives its row.

mod bystander;
mod flood;
mod gauge;
mod links;
pub(super) mod peer;
mod slow;
mod stalled;
mod storms;
mod wire;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Result;

use bystander::Lap;

use super::{
    Bed, Scenario, Verdict,
    process::{Folder, Found, Random, Server, address},
};

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
];

/// A folder, a port, and the server that a row looks at.
struct Place {
    _folder: Folder,
    server: PathBuf,
    canary: Option<&'static str>,
    data: PathBuf,
    address: SocketAddr,
    random: Random,
}

impl Place {
    /// The usual server.
    fn new(bed: &Bed, row: &str) -> Result<Self> {
        let folder = Folder::new(row)?;
        let data = folder.0.join("data");
        let mut random = Random(bed.seed ^ row.bytes().fold(0, |sum, byte| sum * 31 + u64::from(byte)));
        let address = address(&mut random);
        Ok(Self { _folder: folder, server: bed.server.clone(), canary: None, data, address, random })
    }

    /// The server that does one thing wrong, if that is wanted.
    fn or_canary(bed: &Bed, row: &str, canary: &'static str) -> Result<Self> {
        let mut place = Self::new(bed, row)?;
        if bed.wrong {
            place.server = bed.server_with("canaries", "chinwag/canaries")?;
            place.canary = Some(canary);
        }
        Ok(place)
    }

    /// Starts the server. `tool`: a program with its arguments that is to run it.
    fn start(&self, tool: &[&str], settings: &str) -> Result<Server> {
        let canary = self.canary.map(|name| format!("CHINWAG_CANARY={name}"));
        let mut tool = tool.to_vec();
        if let Some(canary) = &canary {
            tool.extend(["env", canary]);
        }
        Server::start_with(&self.server, &tool, &self.data, self.address, settings)
    }
}

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
