//! `docs/promises.md` against the sources: every promise of one node stands in its table with a test of its own, every
//! test, row of chaos and canary that it names is there, and no test of a promise is left out.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, map::spans};

const DOCUMENT: &str = "docs/promises.md";

/// What one node promises.
const IDS: &[&str] = &[
    "D1", "D2", "D3", "D4", "D5", "D6", "D7", "O1", "O2", "O3", "O4", "O5", "L1", "L2", "L3", "L4", "L6",
    "M1", "M2", "M3", "M4", "M5", "C1", "C2", "C3", "C4", "B1", "B2", "B3", "B4", "A1", "A2", "A6", "S1",
];

/// Where the rows of chaos and the canaries are told.
const CHAOS: &str = "crates/xtask/src/chaos/";
const CANARIES: &str = "crates/xtask/src/test/canaries.rs";

/// A line of the table: `| **D1** | what | tests | chaos | canaries | figures |`.
struct Row<'a> {
    id: &'a str,
    tests: Vec<&'a str>,
    chaos: Vec<&'a str>,
    canaries: Vec<&'a str>,
}

pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let Some(document) = sources.iter().find(|source| source.path == DOCUMENT) else {
        return vec![format!("{DOCUMENT}: is not there")];
    };
    let rows: Vec<Row<'_>> = document.text.lines().filter_map(row).collect();
    let functions = functions(sources);
    let mut errors = Vec::new();
    for id in IDS {
        match rows.iter().filter(|row| row.id == *id).count() {
            0 => errors.push(format!("{DOCUMENT}: {id} is not in the table")),
            1 => {}
            more => errors.push(format!("{DOCUMENT}: {id} is in the table {more} times")),
        }
    }
    for row in &rows {
        if !row.tests.iter().any(|test| promise_of(test).as_deref() == Some(row.id)) {
            let prefix = row.id.to_lowercase();
            errors.push(format!("{DOCUMENT}: {} has no test whose name begins with `{prefix}_`", row.id));
        }
        for test in row.tests.iter().filter(|test| !functions.contains_key(**test)) {
            errors.push(format!("{DOCUMENT}: {} names the test `{test}`, which is nowhere", row.id));
        }
        for id in row.chaos.iter().filter(|id| !says(sources, CHAOS, id)) {
            errors.push(format!("{DOCUMENT}: {} names the row {id} of chaos, which is nowhere", row.id));
        }
        for canary in row.canaries.iter().filter(|canary| !says(sources, CANARIES, canary)) {
            errors.push(format!("{DOCUMENT}: {} names the canary `{canary}`, which is nowhere", row.id));
        }
    }
    let listed: BTreeSet<&str> = rows.iter().flat_map(|row| row.tests.iter().copied()).collect();
    for (name, path) in functions {
        let is_promised = promise_of(name)
            .is_some_and(|id| IDS.contains(&id.as_str()) || rows.iter().any(|row| row.id == id));
        if is_promised && !listed.contains(name) {
            errors.push(format!("{path}: `{name}` is the test of a promise, but not in {DOCUMENT}"));
        }
    }
    errors
}

fn row(line: &str) -> Option<Row<'_>> {
    let mut cells = line.strip_prefix("| **")?.split('|').map(str::trim);
    let id = cells.next()?.strip_suffix("**")?;
    let (_what, tests, chaos, canaries) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
    let words = chaos
        .split([',', ' '])
        .filter(|word| word.strip_prefix('F').is_some_and(|rest| rest.parse::<u32>().is_ok()));
    Some(Row {
        id,
        tests: spans(tests).collect(),
        chaos: words.collect(),
        canaries: spans(canaries).collect(),
    })
}

/// Whether a source in this place has this word between quotation marks.
fn says(sources: &[Source], place: &str, word: &str) -> bool {
    let quoted = format!("\"{word}\"");
    sources.iter().any(|source| source.path.starts_with(place) && source.text.contains(&quoted))
}

/// Every function of the Rust sources, with a file that has it. This file only talks of some.
fn functions(sources: &[Source]) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    for source in sources.iter().filter(|s| s.path.ends_with(".rs") && !s.path.ends_with("tidy/promises.rs"))
    {
        for line in source.text.lines() {
            let Some((before, rest)) = line.split_once("fn ") else { continue };
            let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            // Not in a comment, and with arguments.
            if !before.contains("//")
                && let Some(end) = end
                && rest[end..].starts_with(['(', '<'])
            {
                found.insert(&rest[..end], source.path.as_str());
            }
        }
    }
    found
}

/// `D1` for `d1_nothing_is_lost`.
fn promise_of(name: &str) -> Option<String> {
    let (id, _sentence) = name.split_once('_')?;
    let (letter, number) = id.split_at_checked(1)?;
    let is_promise = "dolmcbasg".contains(letter) && !number.is_empty() && number.parse::<u32>().is_ok();
    is_promise.then(|| id.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// A table in which every promise has one test, and the sources that have it.
    fn sound() -> (String, String) {
        let line =
            |id: &&str| format!("| **{id}** | what | `{}_holds` | F01 | `wrong` | – |\n", id.to_lowercase());
        let function = |id: &&str| format!("#[test]\nfn {}_holds() {{}}\n", id.to_lowercase());
        (IDS.iter().map(line).collect(), IDS.iter().map(function).collect())
    }

    fn complaints(table: &str, tests: &str) -> Vec<String> {
        check(&[
            source(DOCUMENT, table),
            source("crates/a/tests/a.rs", tests),
            source("crates/xtask/src/chaos/rows.rs", "id: \"F01\""),
            source(CANARIES, "name: \"wrong\""),
        ])
    }

    #[test]
    fn a_sound_table_is_left_alone() {
        let (table, tests) = sound();
        assert_eq!(complaints(&table, &tests), Vec::<String>::new());
        // What other releases promise may be tested before it is in the table.
        assert_eq!(complaints(&table, &format!("{tests}fn d8_holds() {{}}")), Vec::<String>::new());
    }

    #[test]
    fn a_promise_that_is_missing_or_doubled_is_noticed() {
        let (table, tests) = sound();
        let without: String =
            table.lines().filter(|line| !line.contains("**O3**")).map(|l| format!("{l}\n")).collect();
        let expected = ["docs/promises.md: O3 is not in the table".to_owned()];
        assert_eq!(complaints(&without, &tests)[..1], expected);
        let twice = format!("{table}| **D1** | again | `d1_holds` | – | – | – |");
        assert_eq!(complaints(&twice, &tests), ["docs/promises.md: D1 is in the table 2 times"]);
        assert_eq!(check(&[]), ["docs/promises.md: is not there"]);
    }

    #[test]
    fn a_promise_without_a_test_of_its_own_is_noticed() {
        let (table, tests) = sound();
        let table = table.replace("`d4_holds`", "`d3_holds`");
        let expected = [
            "docs/promises.md: D4 has no test whose name begins with `d4_`",
            "crates/a/tests/a.rs: `d4_holds` is the test of a promise, but not in docs/promises.md",
        ];
        assert_eq!(complaints(&table, &tests), expected);
    }

    #[test]
    fn what_is_named_but_nowhere_is_noticed() {
        let (table, tests) = sound();
        let (in_a_comment, prefix) =
            (tests.replace("fn s1_holds()", "// fn s1_holds()"), tests.replace("s1_holds", "s1_holds_it"));
        let nowhere = "docs/promises.md: S1 names the test `s1_holds`, which is nowhere";
        assert_eq!(complaints(&table, &in_a_comment), [nowhere]);
        assert_eq!(complaints(&table, &prefix).first().map(String::as_str), Some(nowhere));
        let chaos = table.replacen("F01", "F01, F99", 1);
        assert_eq!(
            complaints(&chaos, &tests),
            ["docs/promises.md: D1 names the row F99 of chaos, which is nowhere"]
        );
        let canary = table.replacen("`wrong`", "`right`", 1);
        assert_eq!(
            complaints(&canary, &tests),
            ["docs/promises.md: D1 names the canary `right`, which is nowhere"]
        );
    }

    #[test]
    fn a_test_of_a_promise_that_is_left_out_is_noticed() {
        let (table, tests) = sound();
        let tests =
            format!("{tests}    pub(super) fn b2_more<T>(of: T) {{}}\nfn f08_row() {{}}\nfn l2norm() {{}}\n");
        let expected =
            ["crates/a/tests/a.rs: `b2_more` is the test of a promise, but not in docs/promises.md"];
        assert_eq!(complaints(&table, &tests), expected);
    }
}
