//! Every path named in `ARCHITECTURE.md` exists, every crate is in it, and every function that it names by
//! `path.rs::name` is still there.

pub(super) fn check(
    map: &str,
    packages: &[&str],
    read: &dyn Fn(&str) -> Option<String>,
    exists: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let mut errors = Vec::new();
    for span in spans(map) {
        let (path, name) = span.split_once("::").map_or((span, None), |(path, name)| (path, Some(name)));
        if !is_path(path) {
            continue;
        }
        if !exists(path) {
            errors.push(format!("ARCHITECTURE.md: `{path}` does not exist"));
        } else if let Some(name) = name {
            let text = read(path).unwrap_or_default();
            if !defines(&text, name.trim_end_matches("()")) {
                errors.push(format!("ARCHITECTURE.md: `{path}` has no `{name}`"));
            }
        }
    }
    for package in packages {
        let folder = format!("crates/{}", package.strip_prefix("chinwag-").unwrap_or(package));
        if !map.contains(&folder) {
            errors.push(format!("ARCHITECTURE.md: `{folder}` is not in the map"));
        }
    }
    errors
}

/// What stands between single backticks.
pub(super) fn spans(markdown: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    markdown
        .lines()
        .filter(move |line| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fence && !fenced
        })
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn is_path(span: &str) -> bool {
    let folders = ["crates/", "web/", "docs/", "fixtures/", ".ci/", ".cargo/"];
    folders.iter().any(|folder| span.starts_with(folder)) && !span.contains([' ', '<', '*', '{'])
}

/// Whether a Rust or TypeScript text defines a function, type or constant of this name.
fn defines(text: &str, name: &str) -> bool {
    let name = name.rsplit("::").next().unwrap_or(name);
    let words = ["fn", "struct", "enum", "trait", "const", "type", "function", "class", "mod"];
    words.iter().any(|word| {
        let wanted = format!("{word} {name}");
        text.match_indices(&wanted).any(|(at, _)| {
            let next = text[at + wanted.len()..].chars().next();
            !next.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_has_rotted_is_noticed() {
        let map =
            "In `crates/a/src/x.rs::go` and `crates/gone`, not `crates/<any>`.\n```\n`crates/fenced`\n```\n";
        let read = |path: &str| (path == "crates/a/src/x.rs").then(|| "pub fn gone_on() {}".to_owned());
        let exists = |path: &str| path == "crates/a/src/x.rs";
        let errors = check(map, &["chinwag-a", "chinwag-b", "chinwag"], &read, &exists);
        let expected = [
            "ARCHITECTURE.md: `crates/a/src/x.rs` has no `go`",
            "ARCHITECTURE.md: `crates/gone` does not exist",
            "ARCHITECTURE.md: `crates/b` is not in the map",
            "ARCHITECTURE.md: `crates/chinwag` is not in the map",
        ];
        assert_eq!(errors, expected);
    }

    #[test]
    fn finds_definitions() {
        assert!(defines("pub(crate) fn post(", "post"));
        assert!(defines("impl X { pub fn post<T>(", "Messenger::post"));
        assert!(defines("export function apply(", "apply"));
        assert!(!defines("fn poster(", "post"));
    }
}
