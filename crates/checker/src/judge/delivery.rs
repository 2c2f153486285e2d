//! K6, K7, K12: every client hears exactly what it may, once, in order, and in time.

use std::collections::{HashMap, HashSet};

use super::{
    Findings,
    book::{Book, Membership, Outcome},
};
use crate::history::{Op, Record, Seen, What};

/// How long a question may stay open at any time.
const ANSWER_US: u64 = 30_000_000;
/// How long after a connection began something may come twice, because it was told just then.
const AROUND_US: u64 = 1_000_000;

pub(super) fn check(book: &Book<'_>, in_time_us: u64, findings: &mut Findings) {
    let known = known(book);
    let heal = book.records.iter().find(|record| record.what == What::Heal).map(|record| record.ts_mono);
    let mut clients: HashMap<u32, Client> = HashMap::new();
    for (line, record) in book.records.iter().enumerate().filter(|(_, record)| record.client != 0) {
        let client = clients.entry(record.client).or_insert_with(|| Client::new(record));
        match &record.what {
            What::Open { snapshot } => {
                client.open = Some((line, record.ts_mono));
                client.fresh = snapshot.is_some();
                client.here.clear();
                let Some(snapshot) = snapshot else { continue };
                client.whole.clear();
                for position in snapshot {
                    client.whole.insert(position.log.clone(), position.seq);
                    entitled(book, record.user, &position.log, position.seq, line, findings);
                }
            }
            What::Cut => client.open = None,
            What::Cursor { conversation, .. } => {
                let periods = book.memberships(*conversation, record.user);
                if book.finals.contains_key(conversation) && !periods.iter().any(|m| m.opened <= line) {
                    findings.add(
                        "K7",
                        &[line],
                        format!("user {} heard of cursors in c{conversation}", record.user),
                    );
                }
            }
            What::Entry { entry } => {
                let told = known.get(&(entry.log.as_str(), entry.seq)).copied().unwrap_or_default();
                if let (Some(heal), Some((_, since))) = (heal, client.open) {
                    let late_at = told.max(heal.max(since)) + in_time_us;
                    in_time(record, line, entry, late_at, findings);
                }
                client.hear(book, entry, line, told, findings);
            }
            _ => {}
        }
    }
    for (line, record) in book.records.iter().enumerate() {
        if let What::Ok { page: Some(page), .. } = &record.what {
            page.iter().for_each(|entry| may_hear(book, record.user, entry, line, findings));
        }
    }
    for client in clients.values() {
        client.end(book, findings);
    }
    authors(book, findings);
    answers(book, &clients, findings);
}

/// What a client has of each log.
struct Client {
    user: u32,
    /// The line and time at which the connection that is open began.
    open: Option<(usize, u64)>,
    /// It began with a snapshot.
    fresh: bool,
    /// Up to where there is nothing missing.
    whole: HashMap<String, u32>,
    /// The last entry of each log on this connection.
    here: HashMap<String, (u32, usize)>,
}

impl Client {
    fn new(record: &Record) -> Self {
        let (whole, here) = (HashMap::new(), HashMap::new());
        Self { user: record.user, open: None, fresh: false, whole, here }
    }

    fn hear(&mut self, book: &Book<'_>, entry: &Seen, line: usize, told: u64, findings: &mut Findings) {
        may_hear(book, self.user, entry, line, findings);
        if self.open.is_none() {
            findings.add("K6", &[line], "an entry came without a connection");
        }
        let before = self.here.insert(entry.log.clone(), (entry.seq, line));
        let again = before.is_some_and(|(last, _)| entry.seq <= last)
            || self.whole.get(&entry.log).is_some_and(|whole| entry.seq <= *whole);
        // What was told around the beginning of a connection may come by two ways.
        let (opened, since) = self.open.unwrap_or((line, 0));
        if again && told > since + AROUND_US {
            let what = format!("{} {} came twice on one connection", entry.log, entry.seq);
            findings.add("K6", &[before.map_or(opened, |(_, at)| at), line], what);
        }
        self.follow(book, entry, line, told, findings);
        if let ("entered", Some(conversation), Some(head)) =
            (entry.kind.as_str(), entry.subject, entry.number)
        {
            let whole = self.whole.entry(format!("c{conversation}")).or_default();
            *whole = head.max(*whole);
        }
    }

    /// Moves the mark up to which nothing is missing.
    fn follow(&mut self, book: &Book<'_>, entry: &Seen, line: usize, told: u64, findings: &mut Findings) {
        let began = self.open.filter(|(_, since)| self.fresh && told <= since + AROUND_US);
        let Some(whole) = self.whole.get_mut(&entry.log) else {
            // Nothing known of it yet: it begins where this user's membership does. Or the snapshot was taken when
            // the membership had ended already, but before what led to its end was told: then that may still come.
            let may_begin = |m: &Membership| {
                let is_over = m.joined < entry.seq && m.until.is_some_and(|until| entry.seq <= until);
                m.joined == entry.seq || is_over && began.is_some_and(|(opened, _)| m.opened < opened)
            };
            if let Some(conversation) = entry.conversation().filter(|id| book.finals.contains_key(id))
                && !book.memberships(conversation, self.user).iter().any(may_begin)
            {
                let what = format!(
                    "{} begins with {}, which is not where {} joined",
                    entry.log, entry.seq, self.user
                );
                findings.add("K6", &[line], what);
            }
            self.whole.insert(entry.log.clone(), entry.seq);
            return;
        };
        if entry.seq <= *whole {
            return;
        }
        let missing = match entry.conversation() {
            // With one's own joining a membership begins anew, and what was before it is no longer owed.
            Some(_) if entry.kind == "joined" && entry.subject == Some(self.user) => None,
            Some(id) if book.finals.contains_key(&id) => {
                let periods = book.memberships(id, self.user);
                // What lies between two memberships is not owed, even if a later one may look back at it.
                (*whole + 1..entry.seq).find(|seq| {
                    periods.iter().any(|m| *seq >= m.joined && m.until.is_none_or(|until| *seq <= until))
                })
            }
            _ => (*whole + 1 < entry.seq).then_some(*whole + 1),
        };
        if let Some(missing) = missing {
            let what = format!("{} {} came, {missing} did not", entry.log, entry.seq);
            findings.add("K6", &[line], what);
        }
        *whole = entry.seq;
    }

    /// At the end, whoever is connected has everything.
    fn end(&self, book: &Book<'_>, findings: &mut Findings) {
        let Some((opened, _)) = self.open else { return };
        for (conversation, whole) in &book.finals {
            let periods = book.memberships(*conversation, self.user);
            let Some(last) = periods.last() else { continue };
            let has = self.whole.get(&format!("c{conversation}")).copied();
            let owed = last.until.unwrap_or(u32::try_from(whole.log.len()).unwrap_or(u32::MAX));
            // A membership that ended before this client knew anything of it leaves nothing to know.
            let knows = has.map_or(last.until.is_none(), |has| has >= last.joined || last.until.is_none());
            if knows && has.unwrap_or_default() < owed {
                let what = format!(
                    "user {} has c{conversation} up to {has:?} at the end, {owed} is owed",
                    self.user
                );
                findings.add("K6", &[opened, whole.line], what);
            }
        }
    }
}

fn entitled(book: &Book<'_>, user: u32, log: &str, seq: u32, line: usize, findings: &mut Findings) {
    let conversation = log.strip_prefix('c').and_then(|id| id.parse().ok());
    match conversation.filter(|id| book.finals.contains_key(id)) {
        Some(id) if !book.may_see(id, user, seq, line) => {
            findings.add("K7", &[line], format!("user {user} heard of {log} {seq}"));
        }
        _ if log.starts_with('u') && log != format!("u{user}") => {
            findings.add("K7", &[line], format!("user {user} heard of {log}"));
        }
        _ => {}
    }
}

fn may_hear(book: &Book<'_>, user: u32, entry: &Seen, line: usize, findings: &mut Findings) {
    entitled(book, user, &entry.log, entry.seq, line, findings);
    let (Some(conversation), Some(target)) = (entry.conversation(), entry.message) else { return };
    let judged = book.finals.contains_key(&conversation);
    let mut periods =
        book.memberships(conversation, user).iter().filter(|m| m.opened <= line && m.shows(entry.seq));
    // Both in the same membership: what one knew in an earlier one may be hidden now.
    if judged && !periods.any(|m| target >= m.since) {
        let what = format!("user {user} heard of {} {target} by {} {}", entry.log, entry.kind, entry.seq);
        findings.add("K7", &[line], what);
    }
}

/// Whoever says something is a member where it stands in the log.
fn authors(book: &Book<'_>, findings: &mut Findings) {
    for (conversation, whole) in &book.finals {
        let mut members: HashSet<u32> = HashSet::new();
        for entry in whole.log {
            match (entry.kind.as_str(), entry.subject) {
                ("joined", Some(user)) => {
                    members.insert(user);
                }
                ("left" | "removed", Some(user)) => {
                    members.remove(&user);
                }
                ("message" | "edited" | "reacted" | "unreacted", _) if !members.contains(&entry.author) => {
                    let what =
                        format!("c{conversation} {} is by {}, no member then", entry.seq, entry.author);
                    findings.add("K7", &[whole.line], what);
                }
                _ => {}
            }
        }
    }
}

/// When each entry was first told to anybody.
fn known<'h>(book: &Book<'h>) -> HashMap<(&'h str, u32), u64> {
    let mut known = HashMap::new();
    for (line, _user, entry) in book.seen() {
        known.entry((entry.log.as_str(), entry.seq)).or_insert(book.records[line].ts_mono);
    }
    known
}

fn in_time(record: &Record, line: usize, entry: &Seen, late_at: u64, findings: &mut Findings) {
    if record.ts_mono > late_at {
        let late_ms = (record.ts_mono - late_at) / 1000;
        let what = format!("{} {} came {late_ms} ms too late", entry.log, entry.seq);
        findings.add("K12", &[line], what);
    }
}

fn answers(book: &Book<'_>, clients: &HashMap<u32, Client>, findings: &mut Findings) {
    let end = book.records.last().map_or(0, |record| record.ts_mono);
    for call in &book.calls {
        let asked = book.records[call.asked].ts_mono;
        let took = match (&call.outcome, call.ended) {
            (Outcome::Open, _) => {
                // The connection is still the one on which it was asked.
                let waiting = clients.get(&call.client).and_then(|client| client.open);
                match waiting {
                    Some((opened, _)) if opened < call.asked => end.saturating_sub(asked),
                    _ => continue,
                }
            }
            (_, Some(line)) => book.records[line].ts_mono.saturating_sub(asked),
            (_, None) => continue,
        };
        // What another wire answers waits where its document prescribes a wait.
        let waits = matches!(call.op, Op::Cursor { .. } | Op::Say { .. });
        if took > ANSWER_US && !waits {
            findings.add("K12", &[call.asked], format!("no answer for {} ms", took / 1000));
        }
    }
}
