//! One order for everybody: commits, what is published, and what readings see.

use std::sync::{Arc, Barrier, Mutex, atomic::Ordering, mpsc};

use chinwag_domain::port::Done;
use chinwag_protocol::{ConversationId, Kind as RefusedKind, LogId, Reply, Seq, UserId};

use super::bed::{Bed, posting, sending};

const LOG: LogId = LogId::Conversation(ConversationId(1));

pub(super) fn o1_commits_are_published_in_order(bed: &mut Bed) {
    bed.group(1, &[1, 2]);
    bed.group(2, &[1, 2]);
    let answered: Arc<Mutex<Vec<(ConversationId, Seq)>>> = Arc::default();
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let (bed, answered) = (&*bed, answered.clone());
            scope.spawn(move || {
                let (tell, told) = mpsc::channel();
                for number in 0..50 {
                    let (tell, answered) = (tell.clone(), answered.clone());
                    let script = move |plan: &mut chinwag_domain::Plan<'_>| {
                        sending(plan, 1 + number % 2, 1, &format!("{thread}-{number}"), "hello")
                    };
                    bed.submit(Box::new(script), move |verdict| {
                        let Ok(Done::Reply(Reply::Posted(posted))) = verdict else { panic!("{verdict:?}") };
                        answered.lock().unwrap().push((posted.conversation, posted.seq));
                        tell.send(number).unwrap();
                    });
                }
                let order: Vec<u32> = told.iter().take(50).collect();
                assert_eq!(order, (0..50).collect::<Vec<_>>(), "one asker's requests stay in order");
            });
        }
    });
    let answered = answered.lock().unwrap();
    let published: Vec<(ConversationId, Seq)> = bed
        .heard
        .entries
        .lock()
        .unwrap()
        .iter()
        .filter(|entry| entry.client_id.is_some())
        .map(|entry| match entry.log {
            LogId::Conversation(conversation) => (conversation, entry.seq),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(*answered, published, "verdicts come in the order of the entries");
    for conversation in [1, 2] {
        let seqs: Vec<u32> =
            published.iter().filter(|(id, _)| id.0 == conversation).map(|(_, seq)| seq.0).collect();
        assert_eq!(seqs, (4..=203).collect::<Vec<_>>(), "the order of publishing is the order of the log");
    }
    assert_eq!(bed.seqs(LOG).len(), 203);
    assert!(bed.heard.batches.load(Ordering::SeqCst) <= 402);
}

pub(super) fn a_reading_sees_one_state(bed: &mut Bed) {
    bed.group(1, &[1]);
    let (asked, ask) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    bed.store().read(Box::new(move |reader| {
        let reader = reader.unwrap();
        let before = reader.head(LOG).unwrap().position;
        asked.send(()).unwrap();
        // The other engine cannot write while somebody reads, so the wait ends with the test's patience, not ours.
        gone.recv().unwrap();
        let after = reader.head(LOG).unwrap().position;
        tell.send((before, after, reader.entries(LOG, Seq::ZERO, Seq(u32::MAX), 100).unwrap().len()))
            .unwrap();
    }));
    ask.recv().unwrap();
    let (posted, done) = mpsc::channel();
    bed.submit(Box::new(|plan| posting(plan, 1, 1, None, |_| {})), move |verdict| {
        posted.send(verdict).unwrap();
    });
    if bed.kind == super::bed::Kind::Sqlite {
        assert!(done.recv().unwrap().is_ok(), "a reading does not hold up the writer");
    }
    go.send(()).unwrap();
    let (before, after, entries) = told.recv().unwrap();
    assert_eq!((before, entries), (after, 2));
    assert_eq!(bed.post(1, 1, "next"), Seq(4));
}

pub(super) fn a_reading_sees_what_was_published(bed: &mut Bed) {
    bed.group(1, &[1]);
    for _ in 0..100 {
        let seq = bed.post(1, 1, "hello");
        assert_eq!(bed.read(|reader| reader.head(LOG).unwrap().position.seq), seq);
    }
}

pub(super) fn a_rule_that_panics_harms_nobody(bed: &mut Bed) {
    bed.group(1, &[1]);
    let verdict = bed.run(|plan| {
        posting(plan, 1, 1, None, |_| {})?;
        panic!("on purpose")
    });
    assert_eq!(verdict.unwrap_err().kind, RefusedKind::Unavailable);
    assert_eq!(bed.post(1, 1, "next"), Seq(3));
}

pub(super) fn a_reading_that_panics_harms_nobody(bed: &mut Bed) {
    bed.group(1, &[1]);
    for _ in 0..5 {
        bed.store().read(Box::new(|_| panic!("on purpose")));
    }
    assert_eq!(bed.read(|reader| reader.user(UserId(1)).unwrap().map(|user| user.id)), Some(UserId(1)));
}

pub(super) fn closing_answers_everybody(bed: &mut Bed) {
    bed.group(1, &[1]);
    let (tell, told) = mpsc::channel();
    let barrier = Arc::new(Barrier::new(2));
    let wait = barrier.clone();
    bed.submit(
        Box::new(move |plan| {
            wait.wait();
            posting(plan, 1, 1, None, |_| {})
        }),
        |_| {},
    );
    for _ in 0..1_000 {
        let tell = tell.clone();
        bed.submit(Box::new(|plan| posting(plan, 1, 1, None, |_| {})), move |verdict| {
            tell.send(verdict).unwrap();
        });
    }
    barrier.wait();
    bed.close();
    drop(tell);
    let verdicts: Vec<_> = told.iter().collect();
    assert_eq!(verdicts.len(), 1_000);
    assert!(verdicts.iter().all(Result::is_ok), "what was accepted is done");
}
