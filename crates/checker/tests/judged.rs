//! The judge is judged: histories of a correct server pass, and each single lie in them is found.

use std::collections::BTreeMap;

use chinwag_checker::{
    Random, Report,
    history::{Op, Position, Record, Seen, What, hash, read, write},
    judge::judge,
};

/// A correct server of one private conversation, and clients that note what they see of it.
struct World {
    random: Random,
    records: Vec<Record>,
    log: Vec<Seen>,
    clients: Vec<Client>,
    members: BTreeMap<u32, bool>,
    calls: u64,
    posts: u64,
    reads: BTreeMap<u32, u32>,
}

struct Client {
    number: u32,
    user: u32,
    open: bool,
    /// The last entry that came.
    at: Option<u32>,
}

const PLACE: u32 = 7;
const OWNER: u32 = 2;

impl World {
    fn new(seed: u64, users: u32) -> Self {
        let clients = (0..users * 2)
            .map(|number| Client { number: number + 1, user: OWNER + number / 2, open: false, at: None })
            .collect();
        let (records, log, members, reads) = Default::default();
        let mut world =
            Self { random: Random::new(seed), records, log, clients, members, calls: 0, posts: 0, reads };
        world.entry(OWNER, "created", |entry| entry.body_hash = hash("created"));
        for user in OWNER..OWNER + users {
            world.enter(user);
        }
        for client in 0..world.clients.len() {
            world.open(client, true);
        }
        world
    }

    fn note(&mut self, client: u32, user: u32, what: What) {
        let ts_mono = 20_000 * (self.records.len() as u64 + 1);
        self.records.push(Record { ts_mono, client, user, session: client, what });
    }

    fn invoke(&mut self, client: u32, user: u32, op: Op) -> u64 {
        self.calls += 1;
        let call = self.calls;
        self.note(client, user, What::Invoke { call, op });
        call
    }

    fn ok(&mut self, client: u32, user: u32, call: u64, seq: Option<u32>) {
        self.note(client, user, What::Ok { call, seq, page: None, more: false });
    }

    fn entry(&mut self, author: u32, kind: &str, more: impl FnOnce(&mut Seen)) -> u32 {
        let seq = self.log.len() as u32 + 1;
        let mut entry = Seen {
            log: format!("c{PLACE}"),
            seq,
            author,
            at: i64::from(seq),
            kind: kind.to_owned(),
            client_id: None,
            body_hash: String::new(),
            message: None,
            subject: None,
            number: None,
        };
        more(&mut entry);
        self.log.push(entry);
        seq
    }

    fn enter(&mut self, subject: u32) {
        let call = self.invoke(0, OWNER, Op::Enter { conversation: PLACE, subject });
        let seq = self.log.len() as u32 + 1;
        self.entry(OWNER, "joined", |entry| {
            entry.subject = Some(subject);
            // Only what is said from now on.
            entry.number = Some(seq);
        });
        self.members.insert(subject, true);
        for client in self.clients.iter_mut().filter(|client| client.user == subject) {
            client.at = client.open.then_some(seq - 1);
        }
        self.ok(0, OWNER, call, None);
        self.reads.insert(subject, seq);
    }

    fn remove(&mut self, subject: u32) {
        let call = self.invoke(0, OWNER, Op::Leave { conversation: PLACE, subject });
        self.entry(OWNER, "removed", |entry| entry.subject = Some(subject));
        self.tell();
        self.members.insert(subject, false);
        self.ok(0, OWNER, call, None);
    }

    fn messages(&self, seq: u32) -> u32 {
        self.log.iter().filter(|entry| entry.seq <= seq && entry.kind == "message").count() as u32
    }

    fn open(&mut self, index: usize, fresh: bool) {
        let (number, user) = (self.clients[index].number, self.clients[index].user);
        let head = self.log.len() as u32;
        let member = self.members.get(&user).copied().unwrap_or_default();
        let snapshot = fresh.then(|| {
            let read = self.reads.get(&user).copied().unwrap_or_default();
            let unread = Some((self.messages(head), read, self.messages(read)));
            let position = Position { log: format!("c{PLACE}"), seq: head, unread };
            member.then_some(position).into_iter().collect()
        });
        self.note(number, user, What::Open { snapshot });
        let client = &mut self.clients[index];
        client.open = true;
        if fresh {
            client.at = member.then_some(head);
        }
        self.tell();
        self.note(number, user, What::CaughtUp);
    }

    /// Everybody who is connected and a member hears what he has not heard.
    fn tell(&mut self) {
        let head = self.log.len() as u32;
        for index in 0..self.clients.len() {
            let Client { number, user, open, at } = self.clients[index];
            if !open || !self.members.get(&user).copied().unwrap_or_default() {
                continue;
            }
            let joined =
                self.log.iter().filter(|e| e.kind == "joined" && e.subject == Some(user)).map(|e| e.seq);
            let joined = joined.max().unwrap_or_default();
            let from = at.map_or(joined, |at| (at + 1).max(joined));
            for seq in from..=head {
                let mut entry = self.log[seq as usize - 1].clone();
                if entry.message.is_some_and(|target| target < joined) {
                    entry.kind = "hidden".to_owned();
                    (entry.message, entry.body_hash) = (None, String::new());
                }
                self.note(number, user, What::Entry { entry });
            }
            self.clients[index].at = Some(head);
        }
    }

    fn post(&mut self, index: usize) {
        let Client { number, user, at, .. } = self.clients[index];
        self.posts += 1;
        let client_id = format!("k{number}-{}", self.posts);
        let body_hash = hash(&client_id);
        let op = Op::Post {
            conversation: PLACE,
            client_id: client_id.clone(),
            body_hash: body_hash.clone(),
            seen: at.unwrap_or_default(),
        };
        let call = self.invoke(number, user, op.clone());
        if !self.members.get(&user).copied().unwrap_or_default() {
            return self.note(number, user, What::Fail { call, code: "not_found".to_owned() });
        }
        if self.random.per_mille(50) {
            // It never arrived, or its answer got lost.
            self.note(number, user, What::Info { call });
            if self.random.per_mille(500) {
                return;
            }
        }
        let count = self.messages(u32::MAX) + 1;
        let seq = self.entry(user, "message", |entry| {
            entry.client_id = Some(client_id);
            entry.body_hash = body_hash;
            entry.number = Some(count);
        });
        self.reads.insert(user, seq);
        self.tell();
        self.ok(number, user, call, Some(seq));
        if self.random.per_mille(100) {
            let call = self.invoke(number, user, op);
            self.ok(number, user, call, Some(seq));
        }
    }

    fn read(&mut self, index: usize) {
        let Client { number, user, at, .. } = self.clients[index];
        let Some(at) = at.filter(|_| self.members.get(&user).copied().unwrap_or_default()) else { return };
        let joined = self.log.iter().filter(|e| e.kind == "joined" && e.subject == Some(user)).map(|e| e.seq);
        let after = at.saturating_sub(self.random.below(20) as u32).max(joined.max().unwrap_or_default());
        let call = self.invoke(number, user, Op::Read { conversation: PLACE, after });
        let page = self.log[after as usize..].iter().filter(|e| e.message.is_none()).cloned();
        let page: Vec<Seen> = page.collect();
        if page.windows(2).any(|pair| pair[1].seq != pair[0].seq + 1)
            || page.first().is_some_and(|e| e.seq != after + 1)
        {
            return self.note(number, user, What::Info { call });
        }
        let more = page.last().map_or(after, |entry| entry.seq) < self.log.len() as u32;
        self.note(number, user, What::Ok { call, seq: None, page: Some(page), more });
    }

    fn edit(&mut self, index: usize) {
        let Client { number, user, .. } = self.clients[index];
        let own = self.log.iter().rev().find(|e| e.kind == "message" && e.author == user).map(|e| e.seq);
        let Some(message) = own.filter(|_| self.members.get(&user).copied().unwrap_or_default()) else {
            return;
        };
        self.posts += 1;
        let body_hash = hash(&format!("edit {}", self.posts));
        let op = Op::Edit { conversation: PLACE, message, body_hash: body_hash.clone() };
        let call = self.invoke(number, user, op);
        self.entry(user, "edited", |entry| (entry.message, entry.body_hash) = (Some(message), body_hash));
        self.tell();
        self.ok(number, user, call, None);
    }

    fn cursor(&mut self, index: usize) {
        let Client { number, user, at, open } = self.clients[index];
        let Some(at) = at.filter(|_| open && self.members.get(&user).copied().unwrap_or_default()) else {
            return;
        };
        let read = self.reads.get(&user).copied().unwrap_or_default().max(at);
        self.reads.insert(user, read);
        let messages = self.messages(read);
        self.note(
            number,
            user,
            What::Cursor { conversation: PLACE, of: user, delivered: read, read, messages },
        );
    }

    fn cut(&mut self, index: usize) {
        let Client { number, user, open, .. } = self.clients[index];
        if open {
            self.note(number, user, What::Cut);
            self.clients[index].open = false;
        }
    }

    fn run(mut self, steps: usize) -> Vec<Record> {
        for _ in 0..steps {
            let index = self.random.below(self.clients.len() as u64) as usize;
            if !self.clients[index].open {
                let fresh = self.random.per_mille(300) || self.clients[index].at.is_none();
                self.open(index, fresh);
            }
            match self.random.below(100) {
                0..60 => self.post(index),
                60..70 => self.read(index),
                70..76 => self.edit(index),
                76..86 => self.cursor(index),
                86..92 => self.cut(index),
                _ => {
                    let user = self.clients[index].user;
                    match self.members.get(&user) {
                        Some(true) if user != OWNER => self.remove(user),
                        Some(false) => self.enter(user),
                        _ => {}
                    }
                    self.tell();
                }
            }
        }
        for index in 0..self.clients.len() {
            if !self.clients[index].open {
                self.open(index, true);
            }
        }
        self.note(0, 0, What::Heal);
        let log = std::mem::take(&mut self.log);
        self.note(0, 0, What::Final { conversation: PLACE, log });
        self.records
    }
}

fn good(seed: u64) -> Vec<Record> {
    World::new(seed, 4).run(150)
}

#[test]
fn good_histories_are_good_also_after_writing_and_reading_them() {
    for seed in 0..60 {
        let records = good(seed);
        let report = judge(&records);
        assert!(report.violations.is_empty(), "seed {seed}\n{}", report.explain(&records));
        let mut lines = Vec::new();
        write(&records, &mut lines).expect("into memory");
        assert_eq!(read(&lines[..]).expect("what was written"), records);
    }
}

/// The places in a history that a test may falsify.
fn places(records: &[Record], wanted: impl Fn(&What) -> bool) -> Vec<usize> {
    (0..records.len()).filter(|at| wanted(&records[*at].what)).collect()
}

/// One lie in a good history; `None` if this history has no place for it.
type Lie = fn(&mut Vec<Record>, &mut Random) -> Option<()>;

fn pick(records: &[Record], random: &mut Random, wanted: impl Fn(&What) -> bool) -> Option<usize> {
    random.pick(&places(records, wanted)).copied()
}

fn heard(what: &What) -> bool {
    matches!(what, What::Entry { entry } if entry.kind != "hidden")
}

fn told(what: &What) -> bool {
    matches!(what, What::Ok { seq: Some(_), .. })
}

fn log_of(records: &mut [Record]) -> Option<&mut Vec<Seen>> {
    records.iter_mut().find_map(|record| match &mut record.what {
        What::Final { log, .. } => Some(log),
        _ => None,
    })
}

/// The single lies: which rules may find each, and how it is told.
const LIES: &[(&str, &[&str], Lie)] = &[
    ("an acknowledged message is lost at the end", &["K1", "K3"], |records, _| {
        let log = log_of(records)?;
        (log.last()?.kind == "message").then(|| drop(log.pop()))
    }),
    ("a message is stored twice", &["K1", "K3"], |records, random| {
        let log = log_of(records)?;
        let message = random.pick(log)?.clone();
        let (seq, count) = (log.len() as u32 + 1, log.iter().filter(|e| e.kind == "message").count() as u32);
        log.push(Seen { seq, number: message.number.map(|_| count + 1), ..message.clone() });
        (message.kind == "message").then_some(())
    }),
    ("a refused message is stored", &["K1", "K7"], |records, random| {
        let at = pick(records, random, told)?;
        let What::Ok { call, .. } = records[at].what else { return None };
        let client = records[at].client;
        let tries =
            records.iter().filter(|r| r.client == client).filter(|r| match (&r.what, &records[at].what) {
                (What::Invoke { op: Op::Post { .. }, call: other }, _) => *other == call,
                _ => false,
            });
        let name = tries.clone().find_map(|r| match &r.what {
            What::Invoke { op: Op::Post { client_id, .. }, .. } => Some(client_id.clone()),
            _ => None,
        })?;
        let times = records.iter().filter(
            |r| matches!(&r.what, What::Invoke { op: Op::Post { client_id, .. }, .. } if *client_id == name),
        );
        if times.count() != 1 {
            return None;
        }
        records[at].what = What::Fail { call, code: "forbidden".to_owned() };
        Some(())
    }),
    ("another number is told", &["K1", "K11"], |records, random| {
        let at = pick(records, random, told)?;
        let What::Ok { seq: Some(seq), .. } = &mut records[at].what else { return None };
        *seq += 1 + random.below(3) as u32;
        Some(())
    }),
    ("a retry is answered differently", &["K11"], |records, random| {
        let at = pick(records, random, told)?;
        let (client, user, session) = (records[at].client, records[at].user, records[at].session);
        let What::Ok { call, seq: Some(seq), .. } = records[at].what else { return None };
        let op = records.iter().find_map(|record| match &record.what {
            What::Invoke { call: other, op } if record.client == client && *other == call => Some(op.clone()),
            _ => None,
        })?;
        let ts_mono = records[at].ts_mono;
        let record = |what| Record { ts_mono, client, user, session, what };
        records.insert(at + 1, record(What::Invoke { call: 1_000_000, op }));
        records.insert(
            at + 2,
            record(What::Ok { call: 1_000_000, seq: Some(seq + 1), page: None, more: false }),
        );
        Some(())
    }),
    ("a retry is refused", &["K11"], |records, random| {
        let at = pick(records, random, told)?;
        let (client, user, session) = (records[at].client, records[at].user, records[at].session);
        let What::Ok { call, .. } = records[at].what else { return None };
        let op = records.iter().find_map(|record| match &record.what {
            What::Invoke { call: other, op } if record.client == client && *other == call => Some(op.clone()),
            _ => None,
        })?;
        let ts_mono = records[at].ts_mono;
        let record = |what| Record { ts_mono, client, user, session, what };
        records.insert(at + 1, record(What::Invoke { call: 1_000_000, op }));
        records.insert(at + 2, record(What::Fail { call: 1_000_000, code: "client_id_reused".to_owned() }));
        Some(())
    }),
    ("another text is accepted under the same name", &["K11"], |records, random| {
        let at = pick(records, random, told)?;
        let (client, user, session) = (records[at].client, records[at].user, records[at].session);
        let What::Ok { call, seq, .. } = records[at].what else { return None };
        let op = records.iter().find_map(|record| match &record.what {
            What::Invoke { call: other, op } if record.client == client && *other == call => Some(op.clone()),
            _ => None,
        })?;
        let Op::Post { conversation, client_id, seen, .. } = op else { return None };
        let op = Op::Post { conversation, client_id, seen, body_hash: hash("another") };
        let ts_mono = records[at].ts_mono;
        let record = |what| Record { ts_mono, client, user, session, what };
        records.insert(at + 1, record(What::Invoke { call: 1_000_000, op }));
        records.insert(at + 2, record(What::Ok { call: 1_000_000, seq, page: None, more: false }));
        Some(())
    }),
    ("a heard entry is dropped", &["K6"], |records, random| {
        let at = pick(records, random, |what| matches!(what, What::Entry { .. }))?;
        records.remove(at);
        Some(())
    }),
    ("a heard entry comes twice", &["K6"], |records, random| {
        // Around the beginning of a connection the protocol allows it.
        let at = pick(records, random, heard)?;
        let opened = records[..at]
            .iter()
            .rev()
            .find(|r| r.client == records[at].client && matches!(r.what, What::Open { .. }))?;
        let What::Entry { entry } = &records[at].what else { return None };
        let first = records
            .iter()
            .find(|r| matches!(&r.what, What::Entry { entry: other } if other.seq == entry.seq))?;
        if first.ts_mono < opened.ts_mono + 1_000_000 {
            return None;
        }
        records.insert(at + 1, records[at].clone());
        Some(())
    }),
    ("two heard entries are swapped", &["K6"], |records, random| {
        let at = pick(records, random, heard)?;
        let client = records[at].client;
        let next = (at + 1..records.len()).find(|next| records[*next].client == client)?;
        let (one, other) = (records[at].what.clone(), records[next].what.clone());
        matches!(other, What::Entry { .. }).then_some(())?;
        (records[at].what, records[next].what) = (other, one);
        Some(())
    }),
    ("a text is altered on the way", &["K2", "K3"], |records, random| {
        let at =
            pick(records, random, |what| matches!(what, What::Entry { entry } if entry.kind == "message"))?;
        let What::Entry { entry } = &mut records[at].what else { return None };
        entry.body_hash = hash("altered");
        Some(())
    }),
    ("a text is altered in the log", &["K2", "K3"], |records, random| {
        let log = log_of(records)?;
        let at = random.below(log.len() as u64) as usize;
        log[at].body_hash = hash("altered");
        matches!(log[at].kind.as_str(), "message" | "edited").then_some(())
    }),
    ("an author is altered", &["K2", "K3", "K7"], |records, random| {
        let at = pick(records, random, heard)?;
        let What::Entry { entry } = &mut records[at].what else { return None };
        entry.author += 1;
        Some(())
    }),
    ("a number is altered on the way", &["K3", "K6", "K7"], |records, random| {
        let at = pick(records, random, heard)?;
        let What::Entry { entry } = &mut records[at].what else { return None };
        entry.seq += 1;
        Some(())
    }),
    ("two entries of the log change places", &["K3"], |records, random| {
        let log = log_of(records)?;
        let at = random.below(log.len() as u64 - 1) as usize;
        let (one, other) = (log[at].clone(), log[at + 1].clone());
        // Two joinings before anybody listened could be in either order.
        (one.kind == "message" || other.kind == "message").then_some(())?;
        log[at] = Seen { seq: one.seq, ..other };
        log[at + 1] = Seen { seq: one.seq + 1, ..one };
        Some(())
    }),
    ("a page has a hole", &["K3"], |records, random| {
        let at = pick(
            records,
            random,
            |what| matches!(what, What::Ok { page: Some(page), .. } if page.len() > 2),
        )?;
        let What::Ok { page: Some(page), .. } = &mut records[at].what else { return None };
        page.remove(page.len() / 2);
        Some(())
    }),
    ("a look does not show what was told before", &["K4"], |records, random| {
        let at = pick(
            records,
            random,
            |what| matches!(what, What::Ok { page: Some(page), more: false, .. } if page.len() > 1),
        )?;
        let What::Ok { page: Some(page), .. } = &mut records[at].what else { return None };
        let last = page.pop()?;
        (last.kind == "message").then_some(())
    }),
    ("what is asked later gets an earlier number", &["K4"], |records, random| {
        // The answer is told before another message is asked for, but stands behind it.
        let at = pick(records, random, told)?;
        let What::Ok { call, seq: Some(seq), .. } = records[at].what else { return None };
        let client = records[at].client;
        let asked = records.iter().position(|r| {
            r.client == client && matches!(&r.what, What::Invoke { call: other, .. } if *other == call)
        })?;
        let earlier = records[..asked]
            .iter()
            .position(|r| matches!(r.what, What::Ok { seq: Some(other), .. } if other < seq))?;
        // Its question moves in front of an answer with a smaller number, and its own answer even further.
        let answer = records.remove(at);
        let question = records.remove(asked);
        let from = records[..earlier].iter().rposition(|r| matches!(r.what, What::Invoke { .. }))?;
        records.insert(from, answer);
        records.insert(from, question);
        Some(())
    }),
    ("a device's messages change their order", &["K4", "K5"], |records, random| {
        let at = pick(records, random, |what| matches!(what, What::Invoke { op: Op::Post { .. }, .. }))?;
        let What::Invoke { op: Op::Post { client_id, .. }, .. } = records[at].what.clone() else {
            return None;
        };
        let named = |r: &Record| matches!(&r.what, What::Invoke { op: Op::Post { client_id: other, .. }, .. } if *other == client_id);
        // A retry may well come after what was sent later.
        (!records[..at].iter().any(named)).then_some(())?;
        let What::Invoke { op: Op::Post { seen, .. }, .. } = &mut records[at].what else { return None };
        *seen += 1_000;
        let What::Invoke { call, .. } = records[at].what else { return None };
        let client = records[at].client;
        records
            .iter()
            .any(|r| {
                r.client == client
                    && matches!(r.what, What::Ok { call: other, seq: Some(_), .. } if other == call)
            })
            .then_some(())
    }),
    ("somebody hears what came after his removal", &["K7"], |records, random| {
        let log = log_of(records)?.clone();
        let removal =
            random.pick(&log.iter().filter(|e| e.kind == "removed").cloned().collect::<Vec<_>>())?.clone();
        let back =
            log.iter().find(|e| e.kind == "joined" && e.subject == removal.subject && e.seq > removal.seq);
        let after = log
            .get(removal.seq as usize)
            .filter(|after| back.is_none_or(|back| after.seq < back.seq))?
            .clone();
        let at = records.iter().rposition(|r| {
            Some(r.user) == removal.subject && matches!(&r.what, What::Entry { entry } if *entry == removal)
        })?;
        let ts_mono = records[at].ts_mono;
        let record = Record { ts_mono, what: What::Entry { entry: after }, ..records[at].clone() };
        records.insert(at + 1, record);
        Some(())
    }),
    ("somebody reads what was said before he came", &["K7", "K3"], |records, random| {
        let log = log_of(records)?.clone();
        let at = pick(
            records,
            random,
            |what| matches!(what, What::Ok { page: Some(page), .. } if !page.is_empty()),
        )?;
        let What::Ok { page: Some(page), .. } = &mut records[at].what else { return None };
        page.insert(0, log[0].clone());
        (page[1].seq > 1).then_some(())
    }),
    ("somebody who is gone says something", &["K7"], |records, _| {
        let log = log_of(records)?;
        let removal = log.iter().find(|e| e.kind == "removed")?.clone();
        let after = log.iter_mut().find(|e| e.seq > removal.seq && e.kind == "message")?;
        after.author = removal.subject?;
        let (seq, author) = (after.seq, after.author);
        let back = log
            .iter()
            .any(|e| e.kind == "joined" && e.subject == Some(author) && e.seq > removal.seq && e.seq < seq);
        (!back).then_some(())
    }),
    ("a hidden change is shown", &["K7"], |records, random| {
        let log = log_of(records)?.clone();
        let at =
            pick(records, random, |what| matches!(what, What::Entry { entry } if entry.kind == "hidden"))?;
        let What::Entry { entry } = &mut records[at].what else { return None };
        *entry = log[entry.seq as usize - 1].clone();
        Some(())
    }),
    ("a change is hidden from somebody who may see it", &["K3"], |records, random| {
        let at =
            pick(records, random, |what| matches!(what, What::Entry { entry } if entry.kind == "edited"))?;
        if records[at].user != OWNER {
            return None;
        }
        let What::Entry { entry } = &mut records[at].what else { return None };
        (entry.kind, entry.message) = ("hidden".to_owned(), None);
        Some(())
    }),
    ("a snapshot shows a conversation to a stranger", &["K7"], |records, random| {
        let at = pick(records, random, |what| matches!(what, What::Open { snapshot: Some(_) }))?;
        let What::Open { snapshot: Some(snapshot) } = &mut records[at].what else { return None };
        snapshot.is_empty().then_some(())?;
        snapshot.push(Position { log: format!("c{PLACE}"), seq: 100_000, unread: None });
        Some(())
    }),
    ("a cursor goes back", &["K9"], |records, random| {
        let at = pick(records, random, |what| matches!(what, What::Cursor { .. }))?;
        let mut earlier = records[at].clone();
        let What::Cursor { read, delivered, messages, .. } = &mut earlier.what else { return None };
        (*read, *delivered, *messages) = (1, 1, 0);
        records.insert(at + 1, earlier);
        Some(())
    }),
    ("a cursor counts wrongly", &["K9"], |records, random| {
        let at = pick(records, random, |what| matches!(what, What::Cursor { .. }))?;
        let What::Cursor { messages, .. } = &mut records[at].what else { return None };
        *messages += 1;
        Some(())
    }),
    ("a snapshot counts wrongly", &["K9"], |records, random| {
        let at = pick(
            records,
            random,
            |what| matches!(what, What::Open { snapshot: Some(all) } if !all.is_empty()),
        )?;
        let What::Open { snapshot: Some(snapshot) } = &mut records[at].what else { return None };
        snapshot[0].unread.as_mut()?.0 += 1;
        Some(())
    }),
    ("something comes late after the heal", &["K12"], |records, _| {
        let heal = records.iter().position(|record| record.what == What::Heal)?;
        let last = records[..heal].iter().rposition(|record| matches!(record.what, What::Entry { .. }))?;
        let last_of_all = records[last + 1..heal]
            .iter()
            .all(|r| r.client != records[last].client || r.what == What::CaughtUp);
        last_of_all.then_some(())?;
        let mut late = records.remove(last);
        late.ts_mono = records.last()?.ts_mono + 6_000_000;
        // At least one other heard it in time, so that it was known.
        let What::Entry { entry } = &late.what else { return None };
        records
            .iter()
            .any(|r| matches!(&r.what, What::Entry { entry: other } if other == entry))
            .then_some(())?;
        records.push(late);
        Some(())
    }),
    ("a question is not answered", &["K12"], |records, _| {
        let at = records.iter().rposition(|r| matches!(r.what, What::Ok { seq: Some(_), .. }))?;
        let client = records[at].client;
        let cut = records[at..].iter().any(|r| r.client == client && r.what == What::Cut);
        (!cut).then_some(())?;
        records.remove(at);
        records.last_mut()?.ts_mono += 40_000_000;
        Some(())
    }),
    ("an entry appears that nobody asked for", &["K2"], |records, random| {
        let at = pick(records, random, |what| matches!(what, What::Invoke { op: Op::Edit { .. }, .. }))?;
        let What::Invoke { op: Op::Edit { body_hash, .. }, .. } = &mut records[at].what else { return None };
        *body_hash = hash("something else was asked");
        Some(())
    }),
    ("a membership appears that nobody asked for", &["K2", "K3", "K6", "K7"], |records, _| {
        let log = log_of(records)?;
        let (seq, since) = (log.len() as u32 + 1, Some(1));
        let joined = log.iter().find(|e| e.kind == "joined")?.clone();
        log.push(Seen { seq, subject: Some(99), number: since, ..joined });
        Some(())
    }),
];

fn found(report: &Report, rules: &[&str]) -> bool {
    rules.iter().any(|rule| report.breaks(rule))
}

#[test]
fn every_kind_of_lie_is_found_wherever_it_is_told() {
    for (name, rules, lie) in LIES {
        let mut told = 0;
        for seed in 0..40 {
            let mut records = good(seed);
            if lie(&mut records, &mut Random::new(seed).fork(3)).is_none() {
                continue;
            }
            told += 1;
            let report = judge(&records);
            assert!(
                found(&report, rules),
                "{name}, seed {seed}: not found by {rules:?}\n{}",
                report.explain(&records)
            );
        }
        assert!(told > 0, "{name}: never told");
    }
}
