//! `chinwag read`.

use chinwag_protocol::{Anchor, Answer, Item, Query, Seq};

use super::{
    entry::{self, People},
    names,
    session::{Session, foreign},
    watch::mark_read,
};
use crate::{
    args::{Global, Read},
    exit::Outcome,
    show::{self, Out, note},
};

/// `chinwag read`.
pub(crate) async fn run(global: &Global, out: &Out, args: Read) -> Outcome {
    let session = Session::find(global)?;
    let conversation = names::conversation(&session, &args.conversation).await?;
    let anchor = match (args.before, args.after) {
        (Some(seq), _) => Anchor::Before(Seq(seq)),
        (None, Some(seq)) => Anchor::After(Seq(seq)),
        (None, None) => Anchor::Latest,
    };
    let Answer::History(page) =
        session.query(Query::History { conversation, anchor, limit: args.limit }).await?
    else {
        return foreign();
    };
    let mut people = People::default();
    people.complete(&session, page.items.iter().map(|item| &item.entry)).await?;
    let mut day = String::new();
    for item in &page.items {
        print(out, &people, item, &mut day)?;
    }
    if let (Some(first), true) = (page.items.first(), page.more_before && !out.json) {
        note(&format!("Older ones: chinwag read {:?} --before {}", args.conversation, first.entry.seq));
    }
    if let (Some(last), true) = (page.items.last(), args.mark_read) {
        mark_read(&session, [(conversation, last.entry.seq)]).await?;
    }
    Ok(())
}

/// Prints an item; a new day has a line of its own.
pub(crate) fn print(out: &Out, people: &People, item: &Item, day: &mut String) -> Outcome {
    if out.json {
        return out.object(&entry::object(people, item));
    }
    let Some(line) = entry::line(out, people, item) else { return Ok(()) };
    let this_day = show::moment(item.entry.at, "%A, %-d %B %Y");
    if this_day != *day {
        out.line(&format!("── {this_day} ──"))?;
        *day = this_day;
    }
    out.line(&line)
}
