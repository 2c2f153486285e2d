//! The judge of other wires is judged: correct histories pass, and each single lie in them is found.

use std::collections::BTreeMap;

use chinwag_checker::{
    Random,
    history::{Op, Record, Seen, What, hash, read, write},
    judge::judge,
};

/// A group of all, and a private conversation of `tcp` and `pip`.
const GROUP: u32 = 7;
const PRIVATE: u32 = 8;

const PEOPLE: &[(&str, &str)] = &[
    ("tcp", "tcp_json"),
    ("tag", "tag_json"),
    ("pip", "pipe_line"),
    ("udp", "udp_ack"),
    ("sio", "socket_io"),
    ("cli", "command_line"),
];

fn user(index: usize) -> u32 {
    index as u32 + 2
}

fn is_in(place: u32, index: usize) -> bool {
    place == GROUP || matches!(PEOPLE[index].0, "tcp" | "pip")
}

/// A correct server with a program on each wire.
struct World {
    random: Random,
    records: Vec<Record>,
    logs: BTreeMap<u32, Vec<Seen>>,
    linked: Vec<bool>,
    /// Up to where each was told each conversation.
    at: BTreeMap<(usize, u32), u32>,
    calls: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let linked = vec![false; PEOPLE.len()];
        let (records, logs, at) = Default::default();
        let mut world = Self { random: Random::new(seed), records, logs, linked, at, calls: 0 };
        for (index, (handle, _)) in PEOPLE.iter().enumerate() {
            world.note(0, user(index), What::Person { handle: (*handle).to_owned() });
        }
        for place in [GROUP, PRIVATE] {
            world.entry(place, user(0), "created", "");
            for index in (0..PEOPLE.len()).filter(|index| is_in(place, *index)) {
                let subject = user(index);
                let call = world.invoke(0, user(0), Op::Enter { conversation: place, subject });
                world.entry(place, user(0), "joined", "");
                let entry = world.logs.get_mut(&place).and_then(|log| log.last_mut()).expect("just made");
                (entry.subject, entry.number) = (Some(subject), Some(1));
                world.ok(0, user(0), call);
            }
        }
        (0..PEOPLE.len()).for_each(|index| world.link(index));
        world
    }

    fn note(&mut self, client: u32, user: u32, what: What) {
        let ts_mono = 20_000 * (self.records.len() as u64 + 1);
        self.records.push(Record { ts_mono, client, user, session: client, what });
    }

    fn by(&mut self, index: usize, what: What) {
        self.note(index as u32 + 1, user(index), what);
    }

    fn invoke(&mut self, client: u32, user: u32, op: Op) -> u64 {
        self.calls += 1;
        let call = self.calls;
        self.note(client, user, What::Invoke { call, op });
        call
    }

    fn ok(&mut self, client: u32, user: u32, call: u64) {
        self.note(client, user, What::Ok { call, seq: None, page: None, more: false });
    }

    fn entry(&mut self, place: u32, author: u32, kind: &str, body_hash: &str) {
        let log = self.logs.entry(place).or_default();
        let messages = log.iter().filter(|entry| entry.kind == "message").count() as u32;
        let seq = log.len() as u32 + 1;
        log.push(Seen {
            log: format!("c{place}"),
            seq,
            author,
            at: i64::from(seq),
            kind: kind.to_owned(),
            client_id: None,
            body_hash: body_hash.to_owned(),
            message: None,
            subject: None,
            number: (kind == "message").then_some(messages + 1),
        });
    }

    fn link(&mut self, index: usize) {
        self.linked[index] = true;
        self.by(index, What::Link { wire: PEOPLE[index].1.to_owned() });
        self.tell();
    }

    fn tell(&mut self) {
        for index in (0..PEOPLE.len()).filter(|index| self.linked[*index]).collect::<Vec<_>>() {
            let (name, wire) = PEOPLE[index];
            for place in [GROUP, PRIVATE].into_iter().filter(|place| is_in(*place, index)) {
                let at = self.at.insert((index, place), self.logs[&place].len() as u32).unwrap_or(0);
                let missed: Vec<_> = self.logs[&place].iter().skip(at as usize).cloned().collect();
                for entry in missed {
                    let is_own = entry.author == user(index) && matches!(name, "tag" | "pip" | "udp");
                    if entry.kind != "message" || is_own {
                        continue;
                    }
                    let number = match wire {
                        "pipe_line" => Some(u64::from(place) * 1_000_000 + u64::from(entry.seq)),
                        "command_line" => Some(u64::from(entry.seq)),
                        _ => None,
                    };
                    let from = PEOPLE[entry.author as usize - 2].0.to_owned();
                    let told = What::Told { conversation: place, from, body_hash: entry.body_hash, number };
                    self.by(index, told.clone());
                    if matches!(wire, "pipe_line" | "udp_ack") && self.random.per_mille(100) {
                        // Its acknowledgement came too late.
                        self.by(index, told);
                    }
                }
            }
        }
    }

    fn say(&mut self, index: usize) {
        let place = if is_in(PRIVATE, index) && self.random.per_mille(400) { PRIVATE } else { GROUP };
        let body_hash = hash(&format!("text {}", self.calls));
        let (name, _) = PEOPLE[index];
        let named = matches!(name, "tag" | "cli");
        let op = Op::Say { conversation: place, body_hash: body_hash.clone(), named };
        let call = self.invoke(index as u32 + 1, user(index), op);
        if self.random.per_mille(50) {
            // It went astray.
            return self.by(index, What::Info { call });
        }
        if name == "tag" && self.random.per_mille(100) {
            self.by(index, What::Again { call });
        }
        self.entry(place, user(index), "message", &body_hash);
        if name == "pip" {
            let number = u64::from(place) * 1_000_000 + self.logs[&place].len() as u64;
            self.by(index, What::Numbered { conversation: place, body_hash, number });
        }
        self.tell();
        if name != "tag" {
            self.ok(index as u32 + 1, user(index), call);
        }
    }

    /// What was told last may come again.
    fn forget(&mut self, index: usize) {
        let last = self.records.iter().rev().take(20).find_map(|record| match &record.what {
            What::Told { conversation, body_hash, .. } if record.user == user(index) => {
                Some((*conversation, body_hash.clone()))
            }
            _ => None,
        });
        let Some((place, text)) = last else { return };
        let Some(seq) = self.logs[&place].iter().position(|entry| entry.body_hash == text) else { return };
        self.at.insert((index, place), seq as u32);
    }

    fn away(&mut self, index: usize) {
        self.linked[index] = false;
        if self.random.per_mille(500) {
            return self.by(index, What::Left);
        }
        self.by(index, What::Cut);
        self.forget(index);
    }

    fn run(mut self) -> Vec<Record> {
        for _ in 0..250 {
            let index = self.random.below(PEOPLE.len() as u64) as usize;
            match (self.linked[index], self.random.below(100)) {
                (false, _) => self.link(index),
                (true, 0..8) => self.away(index),
                (true, 8) => {
                    self.note(0, 0, What::Crash);
                    for index in 0..PEOPLE.len() {
                        if std::mem::replace(&mut self.linked[index], false) {
                            self.by(index, What::Cut);
                            self.forget(index);
                        }
                    }
                }
                (true, _) => self.say(index),
            }
        }
        self.note(0, 0, What::Heal);
        (0..PEOPLE.len()).filter(|index| !self.linked[*index]).collect::<Vec<_>>().into_iter().for_each(
            |index| {
                self.link(index);
            },
        );
        for (conversation, log) in self.logs.clone() {
            let messages = log.iter().filter(|entry| entry.kind == "message");
            let texts = messages.map(|entry| (entry.seq, entry.body_hash.clone())).collect();
            self.note(0, 0, What::Final { conversation, log });
            self.note(0, 0, What::Printed { conversation, texts });
        }
        self.records
    }
}

fn good(seed: u64) -> Vec<Record> {
    World::new(seed).run()
}

#[test]
fn good_histories_of_all_wires_are_good_also_after_writing_and_reading_them() {
    for seed in 0..20 {
        let records = good(seed);
        let report = judge(&records);
        assert!(report.violations.is_empty(), "seed {seed}\n{}", report.explain(&records));
        let mut bytes = Vec::new();
        write(&records, &mut bytes).unwrap();
        assert_eq!(read(bytes.as_slice()).unwrap(), records);
    }
}

fn pick(records: &[Record], random: &mut Random, wanted: impl Fn(&Record) -> bool) -> Option<usize> {
    let places: Vec<_> = (0..records.len()).filter(|at| wanted(&records[*at])).collect();
    random.pick(&places).copied()
}

fn is_told(record: &Record) -> bool {
    matches!(record.what, What::Told { .. })
}

fn conversation(record: &Record) -> Option<u32> {
    match record.what {
        What::Told { conversation, .. } => Some(conversation),
        _ => None,
    }
}

fn on(record: &Record, wires: &[&str]) -> bool {
    record.client.checked_sub(1).is_some_and(|index| wires.contains(&PEOPLE[index as usize].1))
}

/// The next thing told to the same program in the same conversation on the same connection.
fn next_told(records: &[Record], at: usize) -> Option<usize> {
    let of_it = (at + 1..records.len()).filter(|next| records[*next].client == records[at].client);
    let mut of_it = of_it.take_while(|next| !matches!(records[*next].what, What::Cut | What::Left));
    of_it.find(|next| conversation(&records[*next]) == conversation(&records[at]))
}

fn told_once(records: &[Record], at: usize) -> bool {
    records
        .iter()
        .filter(|other| other.client == records[at].client && other.what == records[at].what)
        .count()
        == 1
}

fn log_of(records: &mut [Record], place: u32) -> Option<&mut Vec<Seen>> {
    records.iter_mut().find_map(|record| match &mut record.what {
        What::Final { conversation, log } if *conversation == place => Some(log),
        _ => None,
    })
}

/// A lie: its name, the rules that can find it, and how it is told.
type Lie = (&'static str, &'static [&'static str], fn(&mut Vec<Record>, &mut Random) -> Option<()>);

const LIES: &[Lie] = &[
    ("a message is lost at a door", &["K6"], |records, random| {
        let at = pick(records, random, is_told)?;
        let next = next_told(records, at).filter(|next| records[*next].what != records[at].what);
        (next.is_some() && told_once(records, at)).then_some(())?;
        // What follows must not be its own first on the connection, where a cut before it would be an excuse.
        let before = (0..at).rev().find(|before| next_told(records, *before) == Some(at))?;
        (records[before].client == records[at].client).then_some(())?;
        records.remove(at);
        Some(())
    }),
    ("what waited is lost where it is acknowledged", &["K6"], |records, random| {
        let wires = ["pipe_line", "socket_io", "command_line"];
        let at = pick(records, random, |record| is_told(record) && on(record, &wires))?;
        told_once(records, at).then_some(())?;
        records.remove(at);
        Some(())
    }),
    ("the first after a leave is lost, where nothing is acknowledged", &["K6"], |records, random| {
        let wires = ["tcp_json", "tag_json", "udp_ack"];
        let at = pick(records, random, |record| is_told(record) && on(record, &wires))?;
        let mine = |other: &&Record| other.client == records[at].client;
        // It was never cut, so nothing can have been on its way then.
        let cut = records[..at].iter().filter(mine).any(|other| other.what == What::Cut);
        (told_once(records, at) && !cut).then_some(())?;
        records.remove(at);
        Some(())
    }),
    ("a message comes twice on a connection", &["K6"], |records, random| {
        let wires = ["tcp_json", "tag_json", "socket_io", "command_line"];
        let at = pick(records, random, |record| is_told(record) && on(record, &wires))?;
        records.insert(at + 1, records[at].clone());
        Some(())
    }),
    ("a push comes again after another", &["K6"], |records, random| {
        let at = pick(records, random, |record| is_told(record) && on(record, &["pipe_line", "udp_ack"]))?;
        let next = next_told(records, at).filter(|next| records[*next].what != records[at].what)?;
        records.insert(next + 1, Record { ts_mono: records[next].ts_mono, ..records[at].clone() });
        Some(())
    }),
    ("a message comes again long after", &["K6"], |records, random| {
        let at = pick(records, random, |record| is_told(record) && on(record, &["socket_io", "pipe_line"]))?;
        let told = records[at].clone();
        let cut = |other: &&Record| {
            other.what == What::Crash || other.client == told.client && other.what == What::Cut
        };
        let later = told.ts_mono..told.ts_mono + 2_100_000;
        (!records.iter().filter(cut).any(|other| later.contains(&other.ts_mono))).then_some(())?;
        // First on a connection that begins later.
        let linked = |other: &Record| other.client == told.client && matches!(other.what, What::Link { .. });
        let link = (at..records.len()).find(|at| linked(&records[*at]))?;
        records.insert(link + 1, Record { ts_mono: records[link].ts_mono, ..told });
        Some(())
    }),
    ("two messages change places on the way", &["K3"], |records, random| {
        let at = pick(records, random, |record| is_told(record) && on(record, &["tcp_json", "socket_io"]))?;
        let next = next_told(records, at)?;
        let (one, other) = (records[at].what.clone(), records[next].what.clone());
        // The first of them must not excuse itself as told before.
        (told_once(records, at) && told_once(records, next)).then_some(())?;
        (records[at].what, records[next].what) = (other, one);
        Some(())
    }),
    ("a stranger's conversation is told", &["K7"], |records, random| {
        let at = pick(records, random, |record| conversation(record) == Some(PRIVATE))?;
        let told = records[at].clone();
        records.insert(at + 1, Record { client: 2, user: user(1), session: 2, ..told });
        Some(())
    }),
    ("a message is told as of another conversation", &["K7"], |records, random| {
        let at = pick(records, random, |record| conversation(record) == Some(GROUP))?;
        let What::Told { conversation, .. } = &mut records[at].what else { return None };
        *conversation = PRIVATE;
        Some(())
    }),
    ("a message is told under a wrong name", &["K2"], |records, random| {
        let at = pick(records, random, is_told)?;
        let What::Told { from, .. } = &mut records[at].what else { return None };
        *from = if from == "sio" { "udp" } else { "sio" }.to_owned();
        Some(())
    }),
    ("a text is altered on the way", &["K3"], |records, random| {
        let at = pick(records, random, is_told)?;
        let What::Told { body_hash, .. } = &mut records[at].what else { return None };
        *body_hash = hash("altered");
        Some(())
    }),
    ("a program is told what it said itself", &["K6"], |records, random| {
        let said = |record: &Record| matches!(record.what, What::Numbered { .. });
        let at = pick(records, random, said)?;
        let What::Numbered { conversation, body_hash, number } = records[at].what.clone() else {
            return None;
        };
        let told = What::Told { conversation, from: "pip".to_owned(), body_hash, number: Some(number) };
        records.insert(at + 1, Record { what: told, ..records[at].clone() });
        Some(())
    }),
    ("something is told without a connection", &["K6"], |records, random| {
        let at = pick(records, random, |record| is_told(record) && on(record, &["tcp_json"]))?;
        let cut = Record { what: What::Left, ..records[at].clone() };
        records.insert(at, cut);
        Some(())
    }),
    ("what was acknowledged is not in the log", &["K1"], |records, random| {
        let at = pick(records, random, |record| {
            matches!(record.what, What::Ok { .. }) && on(record, &["tcp_json", "pipe_line", "udp_ack"])
        })?;
        let What::Ok { call, .. } = records[at].what else { return None };
        let text = records.iter().find_map(|record| match &record.what {
            What::Invoke { call: asked, op: Op::Say { conversation, body_hash, .. } } if *asked == call => {
                Some((*conversation, body_hash.clone()))
            }
            _ => None,
        })?;
        let log = log_of(records, text.0)?;
        log.iter_mut().find(|entry| entry.body_hash == text.1)?.body_hash = hash("lost");
        Some(())
    }),
    ("what was said once is stored twice", &["K1"], |records, random| {
        let said = |record: &Record| matches!(record.what, What::Invoke { op: Op::Say { .. }, .. });
        let at =
            pick(records, random, |record| said(record) && on(record, &["tag_json", "udp_ack", "tcp_json"]))?;
        let What::Invoke { op: Op::Say { conversation, body_hash, .. }, .. } = records[at].what.clone()
        else {
            return None;
        };
        let log = log_of(records, conversation)?;
        let copy = log.iter().find(|entry| entry.body_hash == body_hash)?.clone();
        let messages = log.iter().filter(|entry| entry.kind == "message").count() as u32;
        log.push(Seen { seq: log.len() as u32 + 1, number: Some(messages + 1), ..copy });
        Some(())
    }),
    ("what was refused is stored", &["K1"], |records, random| {
        let at =
            pick(records, random, |record| matches!(record.what, What::Ok { .. }) && record.client != 0)?;
        let What::Ok { call, .. } = records[at].what else { return None };
        records[at].what = What::Fail { call, code: "1".to_owned() };
        Some(())
    }),
    ("what is said later stands before", &["K5"], |records, random| {
        let mine = |record: &Record| matches!(record.what, What::Invoke { op: Op::Say { .. }, .. });
        let at = pick(records, random, mine)?;
        let of_it = (at + 1..records.len()).filter(|next| records[*next].client == records[at].client);
        let next = of_it
            .take_while(|next| !matches!(records[*next].what, What::Cut | What::Left))
            .find(|next| mine(&records[*next]))?;
        let (What::Invoke { op: one, .. }, What::Invoke { op: other, .. }) =
            (records[at].what.clone(), records[next].what.clone())
        else {
            return None;
        };
        (one.conversation() == other.conversation()).then_some(())?;
        for op in [&one, &other] {
            let Op::Say { conversation, body_hash, .. } = op else { return None };
            log_of(records, *conversation)?.iter().find(|entry| entry.body_hash == *body_hash)?;
        }
        for (at, op) in [(at, other), (next, one)] {
            let What::Invoke { op: asked, .. } = &mut records[at].what else { return None };
            *asked = op;
        }
        Some(())
    }),
    ("a number is another message's", &["K3", "K11"], |records, random| {
        let at =
            pick(records, random, |record| is_told(record) && on(record, &["pipe_line", "command_line"]))?;
        // The first of a conversation could have any number that is small.
        (0..at).find(|before| {
            next_told(records, *before) == Some(at) && records[*before].what != records[at].what
        })?;
        let What::Told { number: Some(number), .. } = &mut records[at].what else { return None };
        *number /= 2;
        Some(())
    }),
    ("somebody cannot come back", &["K12"], |records, random| {
        let heal = records.iter().position(|record| record.what == What::Heal)?;
        let end = records.iter().position(|record| matches!(record.what, What::Final { .. }))?;
        let client = random.below(PEOPLE.len() as u64) as u32 + 1;
        (end > heal).then_some(())?;
        let user = user(client as usize - 1);
        records.insert(end, Record { client, user, what: What::Left, ..records[heal].clone() });
        Some(())
    }),
    ("somebody is not told the last message", &["K6"], |records, _| {
        let at =
            records.iter().rposition(|record| is_told(record) && on(record, &["pipe_line", "socket_io"]))?;
        told_once(records, at).then_some(())?;
        records.remove(at);
        Some(())
    }),
    ("the command line prints something else", &["K3"], |records, random| {
        let at = pick(records, random, |record| matches!(record.what, What::Printed { .. }))?;
        let What::Printed { texts, .. } = &mut records[at].what else { return None };
        let at = random.below(texts.len() as u64) as usize;
        texts.get_mut(at)?.1 = hash("altered");
        Some(())
    }),
];

#[test]
fn every_lie_at_a_door_is_found_wherever_it_is_told() {
    for (name, rules, lie) in LIES {
        let mut told = 0;
        for seed in 0..24 {
            let mut records = good(seed);
            if lie(&mut records, &mut Random::new(seed).fork(3)).is_none() {
                continue;
            }
            told += 1;
            let report = judge(&records);
            let found = rules.iter().any(|rule| report.breaks(rule));
            assert!(found, "{name}, seed {seed}: not found by {rules:?}\n{}", report.explain(&records));
        }
        assert!(told > 2, "{name}: told {told} times");
    }
}
