//! The protocol and its document: every variant that can go over the wire is named in `docs/protocol.md`.
//!
//! The list of variants is that of the wire tests, which the compiler keeps complete.

use super::map::spans;

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
}
