//! Entries: numbers, pages, erasing, and what is found by them.

use std::sync::Arc;

use chinwag_domain::{
    port::Done,
    reading::search::{Readable, Wanted},
    record::Change,
};
use chinwag_protocol::{
    ConversationId, Event, Kind as RefusedKind, LogId, Millis, Position, Refused, Reply, Seq, UserId,
};

use super::bed::{Bed, posting, user_named};

const C1: ConversationId = ConversationId(1);
const LOG: LogId = LogId::Conversation(C1);

pub(super) fn numbers_are_dense_in_each_log(bed: &mut Bed) {
    bed.group(1, &[1, 2]);
    bed.group(2, &[1]);
    for number in 0..20 {
        bed.post(1 + number % 2, 1, "hello");
    }
    bed.reopen();
    bed.post(1, 2, "after");
    assert_eq!(bed.seqs(LOG), (1..=14).collect::<Vec<_>>());
    assert_eq!(bed.seqs(LogId::Conversation(ConversationId(2))), (1..=12).collect::<Vec<_>>());
    assert!(bed.seqs(LogId::Conversation(ConversationId(3))).is_empty());
    assert!(bed.seqs(LogId::Directory).is_empty());
}

pub(super) fn the_same_command_twice_is_one_entry(bed: &mut Bed) {
    bed.group(1, &[1, 2]);
    let first = bed.send(1, 1, "a", "hello");
    assert!(first.is_ok());
    assert_eq!(bed.send(1, 1, "a", "hello"), first);
    assert_eq!(bed.send(1, 1, "a", "other").unwrap_err().kind, RefusedKind::Conflict);
    assert_ne!(bed.send(1, 2, "a", "hello"), first, "another user's id is another id");
    bed.reopen();
    assert_eq!(bed.send(1, 1, "a", "hello"), first);
    assert_eq!(bed.send(1, 1, "a", "other").unwrap_err().kind, RefusedKind::Conflict);
    assert_eq!(bed.seqs(LOG), [1, 2, 3, 4, 5]);
}

pub(super) fn a_refusal_leaves_nothing(bed: &mut Bed) {
    bed.group(1, &[1]);
    let verdict = bed.run(|plan| {
        plan.keep(Change::User(Arc::new(user_named(9, "nobody"))));
        posting(plan, 1, 1, None, |body| body.text = "never".into())?;
        Err(Refused::forbidden("no", "no").into())
    });
    assert_eq!(verdict.unwrap_err().code, "no");
    assert_eq!(bed.seqs(LOG), [1, 2]);
    assert_eq!(bed.read(|reader| reader.user(UserId(9)).unwrap()), None);
    assert_eq!(bed.post(1, 1, "next"), Seq(3));
}

pub(super) fn a_plan_that_cannot_be_kept_leaves_nothing(bed: &mut Bed) {
    bed.group(1, &[1]);
    // What is to be erased does not exist: the engine finds that out when the rest is already written.
    let verdict = bed.run(|plan| {
        plan.keep(Change::User(Arc::new(user_named(9, "nobody"))));
        let done = posting(plan, 1, 1, None, |body| body.text = "never".into())?;
        plan.keep(Change::Erase(C1, Seq(99)));
        Ok(done)
    });
    assert_eq!(verdict.unwrap_err().kind, RefusedKind::Unavailable);
    assert_eq!(bed.post(1, 1, "next"), Seq(3));
    assert_eq!(bed.read(|reader| reader.user(UserId(9)).unwrap()), None);
}

pub(super) fn pages_go_both_ways(bed: &mut Bed) {
    bed.group(1, &[1]);
    bed.group(2, &[1]);
    for _ in 0..10 {
        bed.post(1, 1, "hello");
    }
    let page = |forward: bool, from: u32, to: u32, limit: usize| {
        bed.read(move |reader| {
            let page = match forward {
                true => reader.entries(LOG, Seq(from), Seq(to), limit),
                false => reader.entries_before(LOG, Seq(from), Seq(to), limit),
            };
            page.unwrap().iter().map(|entry| (entry.log == LOG, entry.seq.0)).collect::<Vec<_>>()
        })
    };
    let of = |range: std::ops::RangeInclusive<u32>| range.map(|seq| (true, seq)).collect::<Vec<_>>();
    assert_eq!(page(true, 0, u32::MAX, 100), of(1..=12));
    assert_eq!(page(true, 4, 9, 100), of(5..=9));
    assert_eq!(page(true, 4, 9, 3), of(5..=7));
    assert_eq!(page(true, 12, u32::MAX, 3), []);
    assert_eq!(page(true, 9, 4, 3), []);
    assert_eq!(page(false, 1, u32::MAX, 100), of(1..=12));
    assert_eq!(page(false, 1, 8, 3), of(5..=7));
    assert_eq!(page(false, 6, 8, 3), of(6..=7));
    assert_eq!(page(false, 0, 3, 100), of(1..=2));
    assert_eq!(page(false, 8, 8, 3), []);
    assert_eq!(page(false, 1, 8, 0), []);
}

pub(super) fn a_page_has_at_most_a_mebibyte(bed: &mut Bed) {
    bed.group(1, &[1]);
    let text = "x".repeat(300_000);
    for _ in 0..5 {
        bed.post(1, 1, &text);
    }
    bed.post(1, 1, &"y".repeat(2_000_000));
    let (forward, backward, single) = bed.read(|reader| {
        let seqs =
            |page: Vec<chinwag_protocol::Entry>| page.iter().map(|entry| entry.seq.0).collect::<Vec<_>>();
        (
            seqs(reader.entries(LOG, Seq(2), Seq(u32::MAX), 100).unwrap()),
            seqs(reader.entries_before(LOG, Seq(1), Seq(8), 100).unwrap()),
            seqs(reader.entries(LOG, Seq(7), Seq(u32::MAX), 100).unwrap()),
        )
    });
    assert_eq!(forward, [3, 4, 5]);
    assert_eq!(backward, [5, 6, 7], "the newest ones, for one pages back from the end");
    assert_eq!(single, [8], "a page is never empty because an entry is large");
}

fn texts(bed: &Bed) -> Vec<String> {
    bed.read(|reader| {
        let entries = reader.entries(LOG, Seq::ZERO, Seq(u32::MAX), 1_000).unwrap();
        entries
            .into_iter()
            .filter_map(|entry| match entry.event {
                Event::Message(body) => Some(body.text),
                Event::Edited { text, .. } => Some(text),
                _ => None,
            })
            .collect()
    })
}

pub(super) fn an_erased_text_is_gone_and_the_entry_stays(bed: &mut Bed) {
    bed.group(1, &[1]);
    let first = bed.post(1, 1, "the secret");
    bed.post(1, 1, "something else");
    bed.does(move |plan| {
        plan.record(LOG, UserId(1), Event::Edited { message: first, text: "a secret".into() })?;
        Ok(())
    });
    assert_eq!(texts(bed), ["the secret", "something else", "a secret"]);
    for _ in 0..2 {
        // The second time, there is nothing left to erase, and that is no mistake.
        bed.does(move |plan| {
            plan.record(LOG, UserId(1), Event::Deleted { message: first })?;
            plan.keep(Change::Erase(C1, first));
            Ok(())
        });
        bed.reopen();
        assert_eq!(texts(bed), ["", "something else", ""]);
    }
    let message = bed.read(move |reader| reader.message(C1, first).unwrap().unwrap());
    assert!(message.overlay.state.deleted && message.text.is_empty());
    assert_eq!(bed.seqs(LOG), [1, 2, 3, 4, 5, 6, 7]);
}

pub(super) fn what_became_of_messages_is_kept(bed: &mut Bed) {
    bed.group(1, &[1, 2]);
    let (one, two) = (bed.post(1, 1, "one"), bed.post(1, 1, "two"));
    bed.does(move |plan| {
        plan.record(LOG, UserId(2), Event::Reacted { message: two, emoji: "👍".into() })?;
        plan.record(LOG, UserId(1), Event::Edited { message: two, text: "zwei".into() })?;
        plan.record(LOG, UserId(1), Event::Pinned { message: one })?;
        Ok(())
    });
    bed.reopen();
    let overlays = |from: u32, to: u32| {
        bed.read(move |reader| {
            let overlays = reader.overlays(C1, Seq(from), Seq(to)).unwrap();
            overlays.into_iter().map(|(seq, overlay)| (seq, overlay.state.clone())).collect::<Vec<_>>()
        })
    };
    let all = overlays(1, u32::MAX);
    assert_eq!(all.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [one, two]);
    assert!(all[0].1.pinned);
    assert_eq!(all[1].1.text.as_deref(), Some("zwei"));
    assert_eq!(all[1].1.reactions[0].users, [UserId(2)]);
    assert_eq!(all[1].1.changed, Seq(two.0 + 2));
    assert_eq!(overlays(one.0 + 1, two.0), all[1..]);
    assert_eq!(overlays(two.0 + 1, u32::MAX), []);
    assert_eq!(overlays(two.0, one.0), []);
    let message = bed.read(move |reader| reader.message(C1, two).unwrap().unwrap());
    assert_eq!(message.text, "zwei");
    assert_eq!(bed.read(|reader| reader.message(C1, Seq(1)).unwrap()), None, "no message");
    assert_eq!(bed.read(|reader| reader.message(C1, Seq(99)).unwrap()), None, "no entry");
}

pub(super) fn threads_are_found(bed: &mut Bed) {
    bed.group(1, &[1]);
    let root = bed.post(1, 1, "root");
    let other = bed.post(1, 1, "other");
    for number in 0..6 {
        let to = if number % 3 == 2 { other } else { root };
        bed.run(move |plan| posting(plan, 1, 1, None, |body| body.thread = Some(to))).unwrap();
    }
    bed.reopen();
    let thread = |root: Seq, after: u32, limit: usize| {
        bed.read(move |reader| {
            let replies = reader.thread(C1, root, Seq(after), limit).unwrap();
            replies.iter().map(|entry| entry.seq.0).collect::<Vec<_>>()
        })
    };
    assert_eq!(thread(root, 0, 10), [5, 6, 8, 9]);
    assert_eq!(thread(root, 5, 2), [6, 8]);
    assert_eq!(thread(other, 0, 10), [7, 10]);
    assert!(thread(Seq(5), 0, 10).is_empty());
    let replies = bed.read(move |reader| reader.message(C1, root).unwrap().unwrap().overlay.state.replies);
    assert_eq!(replies, 4);
}

pub(super) fn pins_are_found(bed: &mut Bed) {
    bed.group(1, &[1]);
    let seqs: Vec<Seq> = (0..4).map(|_| bed.post(1, 1, "hello")).collect();
    let (first, second, last) = (seqs[0], seqs[1], seqs[3]);
    bed.does(move |plan| {
        for message in [last, first, second] {
            plan.record(LOG, UserId(1), Event::Pinned { message })?;
        }
        plan.record(LOG, UserId(1), Event::Unpinned { message: second })?;
        Ok(())
    });
    assert_eq!(bed.read(|reader| reader.pins(C1).unwrap()), [last, first]);
    assert_eq!(bed.read(|reader| reader.pins(ConversationId(2)).unwrap()), []);
}

pub(super) fn mentions_are_found_until_deleted(bed: &mut Bed) {
    bed.group(1, &[1, 2, 3]);
    let mention = |bed: &Bed, by: u32, whom: &'static [u32], all: bool| {
        let verdict = bed.run(move |plan| {
            posting(plan, 1, by, None, |body| {
                body.mentions = whom.iter().map(|user| UserId(*user)).collect();
                body.mentions_all = all;
            })
        });
        match verdict {
            Ok(Done::Reply(Reply::Posted(posted))) => posted.seq,
            other => panic!("{other:?}"),
        }
    };
    let two = mention(bed, 1, &[2, 3], false);
    let all = mention(bed, 2, &[], true);
    let both = mention(bed, 1, &[2], true);
    let found = |user: u32, after: Seq, limit: usize| {
        bed.read(move |reader| reader.mentions(UserId(user), C1, after, limit).unwrap())
    };
    assert_eq!(found(2, Seq::ZERO, 10), [two, both], "not one's own, and each only once");
    assert_eq!(found(3, Seq::ZERO, 10), [two, all, both]);
    assert_eq!(found(3, two, 1), [all]);
    assert_eq!(found(1, Seq::ZERO, 10), [all]);
    bed.does(move |plan| plan.record(LOG, UserId(1), Event::Deleted { message: two }).map(drop));
    assert_eq!(found(3, Seq::ZERO, 10), [all, both]);
}

pub(super) fn the_last_message_is_found_behind_other_entries(bed: &mut Bed) {
    let last = |bed: &Bed, from: u32| {
        bed.read(move |reader| reader.last_message(C1, Seq(from)).unwrap().map(|entry| entry.seq))
    };
    assert_eq!(last(bed, 1), None);
    bed.group(1, &[1]);
    assert_eq!(last(bed, 1), None);
    bed.post(1, 1, "one");
    let two = bed.post(1, 1, "two");
    assert_eq!(last(bed, 1), Some(two));
    for number in 0..40 {
        let emoji = format!("{number}");
        bed.does(move |plan| {
            plan.record(LOG, UserId(1), Event::Reacted { message: two, emoji: emoji.clone() }).map(drop)
        });
    }
    assert_eq!(last(bed, 1), Some(two));
    assert_eq!(last(bed, two.0), Some(two));
    assert_eq!(last(bed, two.0 + 1), None);
}

pub(super) fn a_time_leads_to_its_entry(bed: &mut Bed) {
    let seq_at = |bed: &Bed, at: i64| bed.read(move |reader| reader.seq_at(C1, Millis(at)).unwrap().0);
    assert_eq!(seq_at(bed, 0), 0);
    bed.group(1, &[1]);
    for at in [2_000, 2_000, 3_000, 9_000] {
        bed.at(at);
        bed.post(1, 1, "hello");
    }
    assert_eq!(seq_at(bed, 0), 1);
    assert_eq!(seq_at(bed, 1_001), 3);
    assert_eq!(seq_at(bed, 2_000), 3);
    assert_eq!(seq_at(bed, 2_001), 5);
    assert_eq!(seq_at(bed, 9_000), 6);
    assert_eq!(seq_at(bed, 9_001), 6, "the head if there is none");
}

pub(super) fn positions_count_messages(bed: &mut Bed) {
    bed.group(1, &[1]);
    let one = bed.post(1, 1, "one");
    bed.does(move |plan| plan.record(LOG, UserId(1), Event::Pinned { message: one }).map(drop));
    bed.post(1, 1, "two");
    bed.reopen();
    let position = |seq: u32| bed.read(move |reader| reader.position(C1, Seq(seq)).unwrap());
    let at = |seq: u32, messages: u32| Position { seq: Seq(seq), messages };
    assert_eq!([0, 2, 3, 4, 5].map(position), [at(0, 0), at(2, 0), at(3, 1), at(4, 1), at(5, 2)]);
    assert_eq!(position(77), at(5, 2), "not beyond the head");
}

pub(super) fn o4_a_clock_that_is_set_back_changes_no_order(bed: &mut Bed) {
    bed.at(5_000);
    bed.group(1, &[1]);
    bed.at(1_000);
    bed.post(1, 1, "one");
    bed.reopen();
    bed.group(2, &[1]);
    bed.at(6_000);
    bed.post(1, 1, "two");
    let times = bed.read(|reader| {
        let of = |log| reader.entries(log, Seq::ZERO, Seq(u32::MAX), 100).unwrap();
        [of(LOG), of(LogId::Conversation(ConversationId(2)))]
            .map(|entries| entries.iter().map(|entry| entry.at.0).collect::<Vec<_>>())
    });
    assert_eq!(times, [vec![5_000, 5_000, 5_000, 6_000], vec![5_000, 5_000]]);
}

pub(super) fn heads_of_all_logs(bed: &mut Bed) {
    assert_eq!(bed.read(|reader| reader.all_heads().unwrap()), []);
    for id in [3, 1, 700] {
        bed.group(id, &[1]);
    }
    bed.does(|plan| {
        plan.record(LogId::User(UserId(1)), UserId(1), Event::ContactAdded { user: UserId(2) })?;
        let profile = user_named(1, "one").profile();
        plan.record(LogId::Directory, UserId(1), Event::UserChanged { profile })?;
        Ok(())
    });
    bed.post(3, 1, "hello");
    bed.reopen();
    let heads = bed.read(|reader| reader.all_heads().unwrap());
    let head = |id: u32, seq: u32, messages: u32| {
        (LogId::Conversation(ConversationId(id)), Position { seq: Seq(seq), messages })
    };
    let own = Position { seq: Seq(1), messages: 0 };
    let others = [(LogId::Directory, own), (LogId::User(UserId(1)), own)];
    assert_eq!(heads, [&others[..], &[head(1, 2, 0), head(3, 3, 1), head(700, 2, 0)]].concat());
}

pub(super) fn searching_looks_at_what_may_be_read(bed: &mut Bed) {
    bed.group(1, &[1, 2]);
    bed.group(2, &[1]);
    let mut at = 10_000;
    let mut say = |conversation: u32, by: u32, text: &str| {
        at += 1;
        bed.at(at);
        (ConversationId(conversation), bed.post(conversation, by, text))
    };
    let old = say(1, 1, "Old words about CAFÉ");
    let edited = say(1, 2, "nothing yet");
    let link = say(1, 1, "the café is at https://example.org");
    let deleted = say(1, 1, "café deleted");
    let other = say(2, 1, "another cafe");
    let (edited_seq, deleted_seq) = (edited.1, deleted.1);
    bed.does(move |plan| {
        plan.record(LOG, UserId(2), Event::Edited { message: edited_seq, text: "now a café".into() })?;
        plan.record(LOG, UserId(1), Event::Deleted { message: deleted_seq })?;
        Ok(())
    });
    let both = vec![
        Readable { conversation: C1, since: Seq(1) },
        Readable { conversation: ConversationId(2), since: Seq(1) },
    ];
    let found = |wanted: Wanted| bed.read(move |reader| reader.search(&wanted).unwrap());
    let base = Wanted { words: vec!["cafe".into()], readable: both, limit: 10, ..Wanted::default() };
    let hits = |wanted: &Wanted| found(wanted.clone()).hits;
    assert_eq!(hits(&base), [other, link, edited, old]);
    let narrow = vec![Readable { conversation: C1, since: link.1 }];
    assert_eq!(hits(&Wanted { readable: narrow, ..base.clone() }), [link]);
    assert_eq!(hits(&Wanted { from: Some(UserId(2)), ..base.clone() }), [edited]);
    assert_eq!(hits(&Wanted { has_link: true, ..base.clone() }), [link]);
    assert_eq!(hits(&Wanted { phrases: vec!["words about".into()], ..base.clone() }), [old]);
    assert_eq!(hits(&Wanted { before: Some(Millis(10_003)), ..base.clone() }), [edited, old]);
    assert_eq!(hits(&Wanted { after: Some(Millis(10_003)), ..base.clone() }), [other, link]);
    let mut paged = Vec::new();
    let mut below = None;
    loop {
        let page = found(Wanted { below, limit: 1, ..base.clone() });
        paged.extend(page.hits);
        below = page.next;
        if below.is_none() {
            break;
        }
    }
    assert_eq!(paged, [other, link, edited, old]);
}
