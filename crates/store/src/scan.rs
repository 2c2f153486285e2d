//! Searching without an index: every message that may be read is looked at.

use chinwag_domain::{
    Known,
    port::Reader,
    reading::{
        fold,
        search::{Found, Readable, Wanted},
    },
};
use chinwag_protocol::{ConversationId, Event, LogId, Millis, Seq};

/// How many entries are looked at together.
const PAGE: usize = 1_000;

/// Hits of the same millisecond are told apart by their place among each other, in this many bits.
pub(crate) const PLACE_BITS: u32 = 20;

/// Finds messages, newest first by the time at which they were recorded.
pub(crate) fn scan(reader: &dyn Reader, wanted: &Wanted) -> Known<Found> {
    let mut hits: Vec<(Millis, ConversationId, Seq)> = Vec::new();
    for readable in &wanted.readable {
        scan_one(reader, wanted, *readable, &mut hits)?;
    }
    hits.sort_unstable_by(|one, other| other.cmp(one));
    hits.dedup();
    Ok(page(&hits, wanted))
}

fn scan_one(
    reader: &dyn Reader,
    wanted: &Wanted,
    readable: Readable,
    hits: &mut Vec<(Millis, ConversationId, Seq)>,
) -> Known<()> {
    let log = LogId::Conversation(readable.conversation);
    let mut after = readable.since.prev();
    loop {
        let entries = reader.entries(log, after, Seq(u32::MAX), PAGE)?;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        after = last.seq;
        let overlays = reader.overlays(readable.conversation, first.seq, last.seq)?;
        for entry in &entries {
            let Event::Message(body) = &entry.event else { continue };
            let found = overlays.binary_search_by_key(&entry.seq, |(seq, _)| *seq);
            let state = found.ok().and_then(|index| overlays.get(index)).map(|(_, overlay)| &overlay.state);
            if state.is_some_and(|state| state.deleted)
                || wanted.from.is_some_and(|from| from != entry.by)
                || wanted.before.is_some_and(|before| entry.at >= before)
                || wanted.after.is_some_and(|after| entry.at < after)
            {
                continue;
            }
            let text = state.and_then(|state| state.text.as_deref()).unwrap_or(&body.text);
            if wanted.fits(&fold(text)) {
                hits.push((entry.at, readable.conversation, entry.seq));
            }
        }
    }
}

/// Cuts one page out of all hits. `below` names the time and the place of the first hit of the page.
pub(crate) fn page(hits: &[(Millis, ConversationId, Seq)], wanted: &Wanted) -> Found {
    let time = |at: Millis| u64::try_from(at.0).unwrap_or(0);
    let start = wanted.below.map_or(0, |below| {
        let (at, place) = (below >> PLACE_BITS, (below & ((1 << PLACE_BITS) - 1)) as usize);
        let newer = hits.partition_point(|hit| time(hit.0) > at);
        let same = hits.partition_point(|hit| time(hit.0) >= at) - newer;
        newer + place.min(same)
    });
    let rest = hits.get(start..).unwrap_or_default();
    let shown = rest.get(..wanted.limit).unwrap_or(rest);
    let next = rest.get(shown.len()).filter(|_| !shown.is_empty()).map(|next| {
        let place = (start + shown.len()) - hits.partition_point(|hit| hit.0 > next.0);
        (time(next.0) << PLACE_BITS) | (place as u64).min((1 << PLACE_BITS) - 1)
    });
    Found { hits: shown.iter().map(|(_, conversation, seq)| (*conversation, *seq)).collect(), next }
}
