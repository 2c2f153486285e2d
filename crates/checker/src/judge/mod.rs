//! Looks for contradictions in a history. Reads nothing else, and needs no more than sorting.
//!
//! | rule | what must hold |
//! | --- | --- |
//! | K1 | what was acknowledged is in the log once, what was refused is not, what is unknown at most once |
//! | K2 | everything seen was asked for by its author, with that text |
//! | K3 | everybody sees the same entry under the same number, and numbers have no gaps |
//! | K4 | who asks after an answer comes after it in the log, and reads what it said |
//! | K5 | one device's messages keep their order; an answer to a message stands after it |
//! | K6 | nothing is missing and nothing doubled in what a client hears |
//! | K7 | nobody hears or says anything outside his membership |
//! | K9 | cursors never go back, and count right |
//! | K11 | asking again with the same `client_id` gets the same answer |
//! | K12 | after faults have ended, everything arrives within five seconds, and every question is answered |
//!
//! Which of them hold for programs of other wires, and in which form, stands in `crates/checker/src/judge/door.rs`.

mod book;
mod cursor;
mod delivery;
mod door;
mod order;
mod restored;
mod set;
mod wire;

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::history::{Record, What};

/// A rule that was broken, and the lines of the history that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: &'static str,
    /// How.
    pub what: String,
    /// The lines that contradict each other, counted from one.
    pub lines: Vec<usize>,
}

/// What the judge found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The broken rules; empty if all is well.
    pub violations: Vec<Violation>,
    /// What was looked at: records by their phase, and the entries of the final logs.
    pub counts: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Whether a rule was broken.
    pub fn breaks(&self, rule: &str) -> bool {
        self.violations.iter().any(|violation| violation.rule == rule)
    }

    /// The findings with the records that they are about.
    pub fn explain(&self, records: &[Record]) -> String {
        const SHOWN: usize = 12;
        let mut text = String::new();
        for violation in self.violations.iter().take(SHOWN) {
            text.push_str(&format!("{}: {}\n", violation.rule, violation.what));
            for line in &violation.lines {
                let record = line.checked_sub(1).and_then(|at| records.get(at));
                let json = record.map(|record| match &record.what {
                    What::Final { conversation, log } => {
                        format!("the final log of conversation {conversation}, {} entries", log.len())
                    }
                    _ => serde_json::to_string(record).unwrap_or_default(),
                });
                text.push_str(&format!("  line {line}: {:.600}\n", json.unwrap_or_default()));
            }
        }
        if self.violations.len() > SHOWN {
            text.push_str(&format!("and {} more\n", self.violations.len() - SHOWN));
        }
        text
    }

    fn count(&mut self, name: &'static str, more: usize) {
        *self.counts.entry(name).or_default() += more;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        write!(f, "{} violations; {}", self.violations.len(), counts.join(", "))
    }
}

/// Where rules put what they find.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, rule: &'static str, lines: &[usize], what: impl Into<String>) {
        let lines = lines.iter().map(|line| line + 1).collect();
        self.0.push(Violation { rule, what: what.into(), lines });
    }
}

/// After faults have ended, how long anything may take (L6).
pub const IN_TIME: Duration = Duration::from_secs(5);

/// Judges a history.
pub fn judge(records: &[Record]) -> Report {
    judge_within(records, IN_TIME)
}

/// Whether a program of another wire is still to be told something, in a history that has not ended.
pub(crate) fn is_told_less(records: &[Record]) -> bool {
    door::is_told_less(&book::Book::read(records))
}

/// Judges a history of a machine that may be busy with other things: everything must come within `in_time`.
pub fn judge_within(records: &[Record], in_time: Duration) -> Report {
    let mut findings = Findings::default();
    let settled = restored::settle(records, &mut findings);
    let book = book::Book::read(&settled);
    set::check(&book, &mut findings);
    order::check(&book, &mut findings);
    delivery::check(&book, u64::try_from(in_time.as_micros()).unwrap_or(u64::MAX), &mut findings);
    cursor::check(&book, &mut findings);
    door::check(&book, &mut findings);
    let mut report = Report { violations: findings.0, ..Report::default() };
    for record in records {
        let name = match &record.what {
            What::Open { .. } => "connections",
            What::Invoke { .. } => "asked",
            What::Ok { .. } => "done",
            What::Fail { .. } => "refused",
            What::Info { .. } => "unknown",
            What::Entry { .. } => "heard",
            What::Stall => "stalls",
            What::Crash => "crashes",
            What::Final { log, .. } => {
                report.count("logged", log.len());
                continue;
            }
            What::Backup => "backups",
            What::Restored => "restores",
            What::Link { .. } => "links",
            What::Told { .. } => "told",
            What::Again { .. } => "repeated",
            What::Left => "leaves",
            What::CaughtUp
            | What::Cut
            | What::Cursor { .. }
            | What::Heal
            | What::Person { .. }
            | What::Printed { .. }
            | What::Numbered { .. } => continue,
        };
        report.count(name, 1);
    }
    report
}
