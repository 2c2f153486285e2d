//! Programs of other wires, and the command line: what they say is stored as promised, what they are told is right.
//!
//! Their wires do not say which entry of a log something is. Every text of a history is unique, so the final logs,
//! which were read natively, tell by the text; the order in which lines came is judged by those numbers. Native
//! clients of the same history are judged by the other modules, which take what was said at a door for what it is.
//!
//! | rule | `tcp_json` | `tag_json` | `pipe_line` | `udp_ack` | `socket_io` | `command_line` |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | K1 stored once | acknowledged by one's own push | no acknowledgement: at most once, also if sent again | acknowledged by a number | `ack_…`; a copy after a crash may be a second one, but for `save_message` | acknowledged by one's own event | by the exit code |
//! | K2 author, name | yes | yes | yes | yes | yes | yes |
//! | K3 order of the log | yes | yes | yes, and numbers grow | yes | yes | yes, and the number is the log's |
//! | K4 asked after an answer | yes | only as the later one | yes | yes | yes | yes |
//! | K5 order of one program | yes | yes | yes | yes | yes | yes |
//! | K6 nothing missing | but for what was on its way when it was cut off | the same | nothing | but for what waited | nothing | nothing |
//! | K6 nothing twice | within a connection | the same | but for a push in a row | the same | within a connection | never |
//! | K7 membership | yes | yes | yes | yes | yes | yes |
//! | K11 asked again | cannot | same `ID`, one entry | same number, same message | see K1 | cannot | its outbox does |
//! | K12 at the end | signed in, has everything | the same | the same | the same | the same | the same |
//!
//! K9 has nothing to judge: these wires show no cursors; how far door users are is heard and counted by native
//! clients. The five seconds of K12 are not asked of wires that prescribe waits.
//!
//! Over two connections something may be told again if the server was killed, or the connection cut, so soon after it
//! was told that nobody had noted it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    Findings,
    book::{Book, Call, Outcome, Stands},
    wire::{self, Numbers, Own, Wire},
};
use crate::history::{Op, What};

/// How long after a cut a server may still write to what it takes for a connection.
const NOTICED_US: u64 = 1_000_000;

pub(super) fn check(book: &Book<'_>, findings: &mut Findings) {
    said(book, findings);
    in_order(book, findings);
    told(book, findings);
    numbers(book, findings);
    printed(book, findings);
}

// ---- what they say

fn said(book: &Book<'_>, findings: &mut Findings) {
    let mut again: HashMap<(u32, u64), Vec<usize>> = HashMap::new();
    let mut named: HashMap<usize, (u32, u64)> = HashMap::new();
    for (line, record) in book.records.iter().enumerate() {
        match &record.what {
            What::Again { call } => again.entry((record.client, *call)).or_default().push(line),
            What::Invoke { call, op: Op::Say { .. } } => {
                named.insert(line, (record.client, *call));
            }
            _ => {}
        }
    }
    for call in &book.calls {
        let tries = named.get(&call.asked).and_then(|name| again.get(name));
        stored(book, call, tries.map_or(&[], Vec::as_slice), findings);
    }
}

fn stored(book: &Book<'_>, call: &Call<'_>, tries: &[usize], findings: &mut Findings) {
    let Op::Say { conversation, body_hash, named } = call.op else { return };
    let Some(whole) = book.finals.get(conversation) else { return };
    let all = book.texts.get(body_hash.as_str()).map_or(&[][..], Vec::as_slice);
    let mut allowed = 1;
    let mut before = call.asked;
    for line in tries.iter().filter(|_| !named) {
        // The server that knew the first one is gone.
        allowed += usize::from(book.records[before..*line].iter().any(|record| record.what == What::Crash));
        before = *line;
    }
    let seqs: Vec<_> = all.iter().map(|at| (at.conversation, at.seq)).collect();
    if all.len() > allowed {
        findings.add("K1", &[call.asked, whole.line], format!("what was said once is stored at {seqs:?}"));
    }
    let ended = call.ended.unwrap_or(call.asked);
    match &call.outcome {
        Outcome::Done { seq, .. } => {
            let is_there = |at: &Stands| {
                at.conversation == *conversation
                    && at.author == call.user
                    && seq.is_none_or(|seq| seq == at.seq)
            };
            if !all.iter().any(is_there) {
                let what = format!("what was acknowledged as {seq:?} is stored at {seqs:?}");
                findings.add("K1", &[call.asked, ended, whole.line], what);
            }
        }
        Outcome::Failed(code) if !all.is_empty() => {
            let what = format!("what was refused ({code}) is stored at {seqs:?}");
            findings.add("K1", &[call.asked, ended, whole.line], what);
        }
        _ => {}
    }
}

/// What one program says on one connection keeps its order.
fn in_order(book: &Book<'_>, findings: &mut Findings) {
    let mut link: HashMap<u32, usize> = HashMap::new();
    let mut highest: HashMap<(u32, usize, u32), (u32, usize)> = HashMap::new();
    let mut calls = book.calls.iter().peekable();
    for (line, record) in book.records.iter().enumerate() {
        if let What::Link { .. } = record.what {
            link.insert(record.client, line);
        }
        let Some(call) = calls.next_if(|call| call.asked == line) else { continue };
        let Some(seq) = book.seq_of(call) else { continue };
        let key = (call.client, link.get(&call.client).copied().unwrap_or_default(), call.op.conversation());
        let (before, at) = highest.get(&key).copied().unwrap_or_default();
        if seq <= before {
            let what = format!("what was said later got {seq}, what was said before it {before}");
            findings.add("K5", &[at, line], what);
        } else {
            highest.insert(key, (seq, line));
        }
    }
}

// ---- what they are told

/// Whether somebody has not got everything, or has no connection.
pub(super) fn is_told_less(book: &Book<'_>) -> bool {
    let asked = asked(book);
    let mut programs = hear(book, &asked, &mut Findings::default());
    let mut missing = Findings::default();
    programs.values_mut().for_each(|program| program.end(book, &asked, &mut missing));
    !missing.0.is_empty()
}

fn told(book: &Book<'_>, findings: &mut Findings) {
    let asked = asked(book);
    for program in hear(book, &asked, findings).values_mut() {
        program.end(book, &asked, findings);
    }
}

/// When each text was said first.
fn asked<'h>(book: &Book<'h>) -> HashMap<&'h str, u64> {
    let mut asked = HashMap::new();
    for call in &book.calls {
        if let Op::Say { body_hash, .. } | Op::Post { body_hash, .. } = call.op {
            asked.entry(body_hash.as_str()).or_insert(book.records[call.asked].ts_mono);
        }
    }
    asked
}

fn hear<'h>(
    book: &Book<'h>,
    asked: &HashMap<&'h str, u64>,
    findings: &mut Findings,
) -> BTreeMap<u32, Program<'static>> {
    let mut handles: HashMap<u32, &str> = HashMap::new();
    let mut programs = BTreeMap::new();
    let crashes: Vec<u64> = book
        .records
        .iter()
        .filter(|record| record.what == What::Crash)
        .map(|record| record.ts_mono)
        .collect();
    for (line, record) in book.records.iter().enumerate() {
        match &record.what {
            What::Person { handle } => {
                handles.insert(record.user, handle);
            }
            What::Link { wire } => {
                let Some(wire) = wire::named(wire) else {
                    findings.add("K2", &[line], format!("there is no wire {wire}"));
                    continue;
                };
                let new = || Program::new(record.user, wire, &crashes);
                let program = programs.entry(record.client).or_insert_with(new);
                program.open = Some(line);
                program.here.clear();
            }
            What::Left | What::Cut => {
                let Some(program): Option<&mut Program<'_>> = programs.get_mut(&record.client) else {
                    continue;
                };
                program.open = None;
                if record.what == What::Cut {
                    program.cuts.push(record.ts_mono);
                    program.was_cut = Some(record.ts_mono);
                }
            }
            What::Told { conversation, from, body_hash, .. } => {
                let Some(program) = programs.get_mut(&record.client) else {
                    findings.add("K6", &[line], "something was told without a connection");
                    continue;
                };
                let all = book.texts.get(body_hash.as_str()).map_or(&[][..], Vec::as_slice);
                let here = all.iter().filter(|at| at.conversation == *conversation);
                let Some(at) = program.which(here.copied()) else {
                    let (rule, what) = match all.first() {
                        Some(at) => ("K7", format!("of c{} was told as of c{conversation}", at.conversation)),
                        None => ("K3", "was told and is in no log".to_owned()),
                    };
                    findings.add(rule, &[line], format!("a message {what}"));
                    continue;
                };
                if handles.get(&at.author) != Some(&from.as_str()) {
                    let what =
                        format!("c{conversation} {} is by {} and was told as of {from}", at.seq, at.author);
                    findings.add("K2", &[line], what);
                }
                program.hear(book, at, asked, line, findings);
            }
            _ => {}
        }
    }
    programs
}

/// What a program has of each conversation.
struct Program<'w> {
    user: u32,
    wire: &'w Wire,
    /// The line at which its connection began.
    open: Option<usize>,
    /// When the server was killed or its connection broke, and the last of these breaks.
    cuts: Vec<u64>,
    was_cut: Option<u64>,
    /// The line that told each message last.
    told: BTreeMap<(u32, u32), usize>,
    /// What it need not be told any more.
    lost: HashSet<(u32, u32)>,
    /// The last message of each conversation on this connection.
    here: HashMap<u32, (u32, usize)>,
}

impl<'w> Program<'w> {
    fn new(user: u32, wire: &'w Wire, crashes: &[u64]) -> Self {
        Self {
            user,
            wire,
            open: None,
            cuts: crashes.to_vec(),
            was_cut: None,
            told: BTreeMap::new(),
            lost: HashSet::new(),
            here: HashMap::new(),
        }
    }

    /// One text may stand in a log twice where a wire permits it: then the first that was not told yet.
    fn which(&self, mut here: impl Iterator<Item = Stands> + Clone) -> Option<Stands> {
        let first = here.clone().next();
        here.find(|at| !self.told.contains_key(&(at.conversation, at.seq))).or(first)
    }

    fn hear(
        &mut self,
        book: &Book<'_>,
        at: Stands,
        asked: &HashMap<&str, u64>,
        line: usize,
        findings: &mut Findings,
    ) {
        let Stands { conversation, seq, author } = at;
        let name = format!("c{conversation} {seq}");
        if !book.may_see(conversation, self.user, seq, line) {
            return findings.add("K7", &[line], format!("user {} was told {name}", self.user));
        }
        if self.open.is_none() {
            findings.add("K6", &[line], "something was told without a connection");
        }
        if author == self.user && self.wire.own == Own::Never {
            return findings.add("K6", &[line], format!("{name} was told to its own author"));
        }
        let last = self.here.get(&conversation).copied();
        if let Some((_, at)) = last.filter(|(last, _)| *last == seq && self.wire.repeats) {
            self.told.insert((conversation, seq), line);
            self.here.insert(conversation, (seq, line.max(at)));
            return;
        }
        let before = self.told.insert((conversation, seq), line);
        if let Some((last, at)) = last.filter(|(last, _)| seq <= *last) {
            let here = before.is_some_and(|before| self.open.is_none_or(|open| before > open));
            match before.filter(|_| here) {
                Some(before) => findings.add("K6", &[before, line], format!("{name} came twice")),
                None => findings.add("K3", &[at, line], format!("{name} came after {last}")),
            }
            return;
        }
        if let Some(before) = before.filter(|before| !self.may_come_again(book, *before)) {
            findings.add("K6", &[before, line], format!("{name} came again, on another connection"));
        }
        self.skipped(book, conversation, last.map_or(0, |(last, _)| last), seq, asked, line, findings);
        self.here.insert(conversation, (seq, line));
    }

    /// Whether it was cut off so soon after this that nobody noted that it had it.
    fn may_come_again(&self, book: &Book<'_>, told: usize) -> bool {
        let at = book.records[told].ts_mono;
        self.cuts.iter().any(|cut| (at..=at + self.wire.noted_us).contains(cut))
    }

    /// What lies between two messages of a conversation and should have come.
    #[expect(clippy::too_many_arguments, reason = "they are what is known at that moment")]
    fn skipped(
        &mut self,
        book: &Book<'_>,
        conversation: u32,
        after: u32,
        before: u32,
        asked: &HashMap<&str, u64>,
        line: usize,
        findings: &mut Findings,
    ) {
        let Some(whole) = book.finals.get(&conversation) else { return };
        let Some(member) = book.memberships(conversation, self.user).last() else { return };
        let first_here = !self.here.contains_key(&conversation);
        let cut = self.was_cut.filter(|_| first_here && self.wire.loses);
        let from = usize::try_from(after).unwrap_or(usize::MAX);
        for entry in whole.log.iter().skip(from).take_while(|entry| entry.seq < before) {
            let key = (conversation, entry.seq);
            let owed = entry.kind == "message"
                && entry.seq > member.joined
                && (entry.author != self.user || self.wire.own == Own::Always);
            if !owed || self.told.contains_key(&key) || self.lost.contains(&key) {
                continue;
            }
            // On its way when the connection broke, which no acknowledgement of this wire could tell.
            let was_asked = asked.get(entry.body_hash.as_str()).copied().unwrap_or(u64::MAX);
            self.lost.insert(key);
            if cut.is_none_or(|cut| was_asked > cut + NOTICED_US) {
                let what = format!(
                    "user {} was not told c{conversation} {} at {}, but what came after it, or the end",
                    self.user, entry.seq, self.wire.name
                );
                findings.add("K6", &[line, whole.line], what);
            }
        }
    }

    /// At the end everybody is there and has everything.
    fn end(&mut self, book: &Book<'_>, asked: &HashMap<&str, u64>, findings: &mut Findings) {
        let Some(open) = self.open else {
            let line = self.told.values().next_back().copied().unwrap_or_default();
            let what = format!("user {} is not connected to {} at the end", self.user, self.wire.name);
            return findings.add("K12", &[line], what);
        };
        let mut places: Vec<u32> = book.finals.keys().copied().collect();
        places.sort_unstable();
        for conversation in places {
            let last = book.memberships(conversation, self.user).last();
            let Some(until) = last.map(|member| member.until) else { continue };
            let after = self.here.get(&conversation).map_or(0, |(last, _)| *last);
            self.skipped(book, conversation, after, until.unwrap_or(u32::MAX), asked, open, findings);
        }
    }
}

// ---- what they call it

/// One number of a wire is one message, and they grow with those of the log.
fn numbers(book: &Book<'_>, findings: &mut Findings) {
    let mut wires: HashMap<u32, &Wire> = HashMap::new();
    let mut known: HashMap<u64, (Stands, usize)> = HashMap::new();
    for (line, record) in book.records.iter().enumerate() {
        let (conversation, body_hash, number) = match &record.what {
            What::Link { wire } => {
                wires.extend(wire::named(wire).map(|wire| (record.client, wire)));
                continue;
            }
            What::Told { conversation, body_hash, number: Some(number), .. }
            | What::Numbered { conversation, body_hash, number } => (*conversation, body_hash, *number),
            _ => continue,
        };
        let here = book.texts.get(body_hash.as_str()).into_iter().flatten();
        let Some(at) = here.copied().find(|at| at.conversation == conversation) else { continue };
        match wires.get(&record.client).map_or(Numbers::None, |wire| wire.numbers) {
            Numbers::None => {}
            Numbers::Seq if u64::from(at.seq) == number => {}
            Numbers::Seq => {
                findings.add("K3", &[line], format!("c{conversation} {} was told as {number}", at.seq));
            }
            Numbers::Grow => {
                let (first, told) = *known.entry(number).or_insert((at, line));
                if first != at {
                    let what = format!("{number} is c{} {} and {at:?}", first.conversation, first.seq);
                    findings.add("K11", &[told, line], what);
                }
            }
        }
    }
    let mut all: Vec<_> =
        known.iter().map(|(number, (at, line))| (at.conversation, at.seq, *number, *line)).collect();
    all.sort_unstable();
    for pair in all.windows(2) {
        let [(place, seq, number, line), (other, next, later, at)] = *pair else { continue };
        if place == other && (later <= number || seq == next) {
            let what = format!("c{place} {seq} has the number {number}, and {next} has {later}");
            findings.add("K3", &[line, at], what);
        }
    }
}

/// What the command line prints of a conversation is what is in it.
fn printed(book: &Book<'_>, findings: &mut Findings) {
    for (line, record) in book.records.iter().enumerate() {
        let What::Printed { conversation, texts } = &record.what else { continue };
        let Some(whole) = book.finals.get(conversation) else { continue };
        let log = whole.log.iter().filter(|entry| entry.kind == "message");
        let printed = texts.iter().filter(|(seq, _)| {
            let at = usize::try_from(*seq).ok().and_then(|seq| whole.log.get(seq.checked_sub(1)?));
            at.is_none_or(|entry| entry.kind == "message")
        });
        if !log.map(|entry| (entry.seq, &entry.body_hash)).eq(printed.map(|(seq, text)| (*seq, text))) {
            findings.add(
                "K3",
                &[line, whole.line],
                format!("c{conversation} is printed otherwise than it is"),
            );
        }
    }
}
