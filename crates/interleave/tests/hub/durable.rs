//! The store on disk alone: two people post, some of it twice, somebody reads, something may fail, and it ends.

use std::{collections::BTreeMap, sync::Arc};

use chinwag_domain::{
    Ask, Committed, Prepared, Publish, Request, Store,
    port::{Done, Verdict},
    rules,
};
use chinwag_interleave::disk::{Disk, Fault, Faults, Open, Parts};
use chinwag_protocol::{Millis, Reply};
use shuttle::{
    rand::{Rng, thread_rng},
    sync::Mutex,
    thread,
};

use crate::world::{LOG, Template, ask, post, template};

/// Messages of each person; every second one is asked for twice.
const MESSAGES: usize = 3;
const PEOPLE: usize = 2;
const READINGS: usize = 2;

/// What a request was answered, one answer for each time it was asked.
type Answers = Arc<Mutex<BTreeMap<usize, Vec<Verdict>>>>;

/// Tells nobody but those who asked.
struct Tickets;

impl Publish for Tickets {
    fn publish(&self, batch: Vec<Committed>) {
        batch.into_iter().for_each(|committed| (committed.ticket)(committed.verdict));
    }
}

/// At most one thing goes wrong.
fn faults() -> Faults {
    let mut random = thread_rng();
    let nothing = Faults::default();
    match random.gen_range(0..8) {
        0 | 1 => Faults { sync: Some(random.gen_range(1..4)), ..nothing },
        2 => Faults { request: Some((random.gen_range(1..7), Fault::Request)), ..nothing },
        3 => Faults { request: Some((random.gen_range(1..7), Fault::Broken)), ..nothing },
        4 => Faults { commit: Some((random.gen_range(1..4), Fault::Full)), ..nothing },
        5 => Faults { commit: Some((random.gen_range(1..4), Fault::Broken)), ..nothing },
        _ => nothing,
    }
}

/// How often a message is asked for.
fn times(number: usize) -> usize {
    1 + number % 2
}

/// One schedule.
pub(crate) fn live(open: Open) {
    let Template { state, anna, ben, .. } = template();
    let disk = Disk::new(faults());
    let store = open(Parts {
        state: state.clone(),
        decide: Arc::new(rules::decide),
        clock: Arc::new(|| Millis(2_000)),
        publish: Arc::new(Tickets),
        disk: disk.clone(),
        queue: 64,
    });
    let answers = Answers::default();
    let mut threads = Vec::new();
    for (person, actor) in [anna, ben].into_iter().enumerate() {
        let (store, disk, answers) = (store.clone(), disk.clone(), answers.clone());
        threads.push(thread::spawn(move || {
            for number in (person * MESSAGES..).take(MESSAGES) {
                for _ in 0..times(number) {
                    let command = post(number);
                    let prepared = Prepared::of(&command);
                    let request = Request::Command { actor: actor.clone(), command, prepared };
                    let (disk, answers) = (disk.clone(), answers.clone());
                    let ticket = Box::new(move |verdict| note(&disk, &answers, number, verdict));
                    store.transact(Ask { request, ticket });
                }
            }
        }));
    }
    let reading = store.clone();
    threads.push(thread::spawn(move || {
        for _ in 0..READINGS {
            // It is judged on the way. A store that has failed may say that it cannot tell.
            drop(ask(&*reading, |_| Ok(())));
        }
    }));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Nobody waited for an answer: what is in the queue is still to be done.
    drop::<Arc<dyn Store>>(store);

    assert_eq!(disk.complaints(), Vec::<String>::new());
    let answers = answers.lock().unwrap();
    let (deaths, reason) = disk.deaths();
    assert_eq!(deaths, u32::from(reason), "death: it ends once if the disk fails, and else never");
    for number in 0..PEOPLE * MESSAGES {
        let answers = answers.get(&number).map_or(&[][..], Vec::as_slice);
        assert_eq!(answers.len(), times(number), "answer: everybody gets one, message {number}: {answers:?}");
        assert!(reason || answers.iter().all(may_be), "answer: {answers:?}");
    }
}

/// Whether this is an answer of a store whose disk works, full as it may be at times.
fn may_be(answer: &Verdict) -> bool {
    answer.as_ref().map_or_else(|refused| matches!(&*refused.code, "storage_full" | "failed"), |_| true)
}

/// Somebody is answered.
fn note(disk: &Disk, answers: &Answers, number: usize, verdict: Verdict) {
    if let Ok(Done::Reply(Reply::Posted(posted))) = &verdict {
        disk.judge_answer(LOG, posted.seq);
    }
    answers.lock().unwrap().entry(number).or_default().push(verdict);
}
