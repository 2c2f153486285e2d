//! Searching: page by page, as much as one frame holds.

use chinwag_protocol::{Answer, Query, Refused, SearchPage};

use super::{
    Shared,
    said::{LONG_MAX, Said},
    session::{Doing, Session},
    wire::frame,
};
use crate::Given;

/// Results on one page.
const PAGE: u16 = 100;

/// The most pages: a search that finds next to nothing on each is ended somewhere.
const PAGES_MAX: u32 = 20;

/// A search under way.
pub(super) struct Searching {
    term: String,
    /// Newest first.
    results: Vec<String>,
    /// How many characters they take in a frame.
    characters: usize,
    pages: u32,
}

impl Session {
    /// "Over everything the user may read", by every word of the term.
    pub(super) fn search(&mut self, term: &str, shared: &mut Shared) {
        let searching = Searching { term: term.to_owned(), results: Vec::new(), characters: 0, pages: 0 };
        self.look_for(searching, None, shared);
    }

    fn look_for(&mut self, searching: Searching, page: Option<String>, shared: &mut Shared) {
        // "The term is split on single spaces; every word must occur": a colon or a quote in it means itself.
        let words: Vec<_> = searching
            .term
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| format!("\"{}\"", word.replace('"', " ")))
            .collect();
        let query = Query::Search { text: words.join(" "), page, limit: PAGE };
        self.query(Doing::Search(searching), query, shared);
    }

    pub(super) fn search_on(
        &mut self,
        mut searching: Searching,
        result: Result<Given, Refused>,
        shared: &mut Shared,
    ) {
        match result {
            Ok(Given::Answer(Answer::Search(page))) => {
                searching.pages += 1;
                let is_full = !self.take_in(&mut searching, &page, shared);
                match page.next {
                    Some(next) if !is_full && searching.pages < PAGES_MAX => {
                        self.look_for(searching, Some(next), shared);
                    }
                    next => self.found(searching, is_full || next.is_some(), shared),
                }
            }
            // Somebody who searches much may have to wait for the next page; what there is, is of use.
            Err(_) if searching.pages > 0 => self.found(searching, true, shared),
            result => {
                let why = result.err().map_or_else(String::new, |refused| refused.message);
                let no = Said::of("search_chat_history", false, &why);
                self.say(&Said { term: Some(&searching.term), ..no }, shared);
            }
        }
    }

    /// Adds a page; whether there was room for all of it.
    fn take_in(&self, searching: &mut Searching, page: &SearchPage, shared: &Shared) -> bool {
        let Some(place) = &self.place else { return false };
        for hit in &page.hits {
            let Some(text) = place.result(&hit.item.entry, hit.item.state.as_ref(), shared) else { continue };
            // As long as it is in the frame: in ASCII, with its quotes and comma.
            let length = frame(&text).map_or(LONG_MAX, |bytes| bytes.len());
            if searching.characters + length > LONG_MAX {
                return false;
            }
            searching.characters += length;
            searching.results.push(text);
        }
        true
    }

    fn found(&self, searching: Searching, capped: bool, shared: &mut Shared) {
        let Searching { term, mut results, .. } = searching;
        // "Newest last."
        results.reverse();
        let message = if capped {
            format!("Search from chat history successfully (the newest {} only)", results.len())
        } else {
            "Search from chat history successfully".to_owned()
        };
        let yes = Said::of("search_chat_history", true, &message);
        self.say(&Said { term: Some(&term), result: Some(results.into()), ..yes }, shared);
    }
}
