//! The protocol and its document: every variant that can go over the wire is named in `docs/protocol.md`.
//!
//! The list of variants is that of the wire tests, which the compiler keeps complete.

use super::{Source, map::spans};

pub(super) fn check(variants: &str, document: &str) -> Vec<String> {
    let lists = lists(variants);
    if lists.is_empty() {
        return vec!["crates/protocol/tests/wire/variants.rs: found no `variants!` list".to_owned()];
    }
    let named: Vec<&str> = spans(document).collect();
    let mut errors = Vec::new();
    for (of, names) in lists {
        for name in names {
            let word = snake(&name);
            let quoted = format!("\"{word}\"");
            if !named.contains(&word.as_str()) && !document.contains(&quoted) {
                errors.push(format!("docs/protocol.md: `{word}` of {of} is not described"));
            }
        }
    }
    errors
}

/// The codes that the document names are codes that the program can answer with.
pub(super) fn check_codes(document: &str, sources: &[Source]) -> Vec<String> {
    let Some(line) = document.lines().find(|line| line.starts_with(CODES)) else {
        return vec![format!("docs/protocol.md: no line begins with `{CODES}`")];
    };
    let said = |code: &str| {
        let quoted = format!("\"{code}\"");
        sources.iter().any(|source| source.path.starts_with("crates/") && source.text.contains(&quoted))
    };
    spans(line)
        .filter(|code| !said(code))
        .map(|code| format!("docs/protocol.md: nobody answers `{code}`"))
        .collect()
}

const CODES: &str = "Codes that clients may want to know:";

/// `Type: A B C;` within `variants! { … }`.
fn lists(source: &str) -> Vec<(String, Vec<String>)> {
    let Some(start) = source.find("\nvariants! {") else { return Vec::new() };
    let block = &source[start + "\nvariants! {".len()..];
    let block = &block[..block.find("\n}").unwrap_or(block.len())];
    block
        .split(';')
        .filter_map(|list| list.trim().split_once(':'))
        .map(|(of, names)| (of.trim().to_owned(), names.split_whitespace().map(str::to_owned).collect()))
        .collect()
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undescribed_variant_is_noticed() {
        let source =
            "use x;\n\nvariants! {\n    Command: AddContact Block\n        Post;\n    Kind: Invalid;\n}\n";
        let document = "`add_contact` and {\"post\":1}\n```\n{\"invalid\":1}\n```\n";
        assert_eq!(check(source, document), ["docs/protocol.md: `block` of Command is not described"]);
        assert_eq!(check("nothing", document).len(), 1);
    }

    #[test]
    fn a_code_that_nobody_answers_is_noticed() {
        let text = "Refused::conflict(\"name_taken\", why)".to_owned();
        let sources = [Source { path: "crates/a/src/b.rs".to_owned(), text }];
        let document = format!("{CODES} `name_taken`, `gone`.\n");
        assert_eq!(check_codes(&document, &sources), ["docs/protocol.md: nobody answers `gone`"]);
        assert_eq!(check_codes("nothing", &sources).len(), 1);
    }
}
