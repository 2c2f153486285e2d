//! `chinwag search`.

use chinwag_protocol::{Answer, LogId, Query};
use serde_json::json;

use super::{
    entry::{self, People},
    session::{Session, foreign},
};
use crate::{
    args::{Global, Search},
    exit::Outcome,
    show::{self, Out, note},
};

const PAGE: usize = 100;

/// `chinwag search`.
pub(crate) async fn run(global: &Global, out: &Out, args: Search) -> Outcome {
    let session = Session::find(global)?;
    let text = args.text.join(" ");
    let snapshot = session.snapshot().await?;
    let mut people = People::of(snapshot.users.iter().cloned());
    let state = chinwag_client::sync::State::from(snapshot);
    let (mut left, mut page, mut found) = (args.limit, None, 0);
    loop {
        let limit = u16::try_from(left.min(PAGE)).unwrap_or(u16::MAX);
        let Answer::Search(answer) = session.query(Query::Search { text: text.clone(), page, limit }).await?
        else {
            return foreign();
        };
        people.complete(&session, answer.hits.iter().map(|hit| &hit.item.entry)).await?;
        found += answer.hits.len();
        for hit in &answer.hits {
            let entry = &hit.item.entry;
            out.either(
                || {
                    let mut object = entry::object(&people, &hit.item);
                    object["context"] = json!(hit.context);
                    object["marks"] = json!(hit.marks);
                    object
                },
                || {
                    let place = match entry.log {
                        LogId::Conversation(id) => {
                            state.conversations.get(&id).map(|known| state.title(&known.view))
                        }
                        _ => None,
                    };
                    let (when, place) = (show::moment(entry.at, "%Y-%m-%d %H:%M"), place.unwrap_or_default());
                    let (place, name) = (out.column(&place, 16), out.column(&people.name(entry.by), 14));
                    format!("{when}  {place}  {name}  {:>6}  {}", entry.seq, show::one_line(&hit.context))
                },
            )?;
        }
        left = left.saturating_sub(answer.hits.len());
        page = answer.next;
        if page.is_none() || left == 0 || answer.hits.is_empty() {
            break;
        }
    }
    if found == 0 && !out.json {
        note("Nothing found.");
    }
    Ok(())
}
