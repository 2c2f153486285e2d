//! Cursors: monotone, kept, and moved by what one writes.

use chinwag_domain::record::Cursor;
use chinwag_protocol::{ConversationId, Position, Seq, UserId};

use super::bed::Bed;

const C1: ConversationId = ConversationId(1);

fn cursor(delivered: u32, seq: u32, messages: u32) -> Cursor {
    Cursor { delivered: Seq(delivered), read: Position { seq: Seq(seq), messages } }
}

fn now(bed: &Bed, user: u32) -> Cursor {
    bed.read(move |reader| reader.cursor(C1, UserId(user)).unwrap())
}

pub(super) fn c1_cursors_only_go_forward(bed: &mut Bed) {
    bed.group(1, &[1, 2]);
    for _ in 0..5 {
        bed.post(1, 1, "hello");
    }
    assert_eq!(now(bed, 2), Cursor::default());
    let to = |bed: &Bed, to: Cursor| bed.store().move_cursor(C1, UserId(2), to);
    assert_eq!(to(bed, cursor(6, 4, 1)), cursor(6, 4, 1));
    assert_eq!(to(bed, cursor(5, 5, 2)), cursor(6, 5, 2), "each part by itself");
    assert_eq!(to(bed, cursor(0, 0, 0)), cursor(6, 5, 2));
    bed.reopen();
    assert_eq!(now(bed, 2), cursor(6, 5, 2));
    assert_eq!(to(bed, cursor(1, 1, 0)), cursor(6, 5, 2), "also against what only the disk remembers");
    assert_eq!(to(bed, cursor(8, 8, 5)), cursor(8, 8, 5));
    assert_eq!(now(bed, 2), cursor(8, 8, 5));
    assert_eq!(now(bed, 7), Cursor::default());
}

pub(super) fn what_one_wrote_is_read_and_delivers_nothing_before_it(bed: &mut Bed) {
    bed.group(1, &[1, 2]);
    let first = bed.post(1, 1, "one");
    assert_eq!(now(bed, 1), cursor(0, first.0, 1));
    // He has not been told the first one: at a door it may wait until he comes back.
    let second = bed.post(1, 2, "two");
    assert_eq!(now(bed, 1), cursor(0, first.0, 1));
    assert_eq!(now(bed, 2), cursor(0, second.0, 2));
    bed.reopen();
    assert_eq!(now(bed, 2), cursor(0, second.0, 2));
    let told = cursor(first.0, 0, 0);
    assert_eq!(bed.store().move_cursor(C1, UserId(2), told), cursor(first.0, second.0, 2));
}
