//! Links in Markdown lead somewhere: to a file that is there, and to a heading that it has.

use super::Source;

pub(super) fn check(sources: &[Source], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut errors = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with(".md")) {
        for link in links(&source.text) {
            if let Some(problem) = problem(source, link, sources, exists) {
                errors.push(format!("{}: the link `{link}` {problem}", source.path));
            }
        }
    }
    errors
}

fn problem(
    from: &Source,
    link: &str,
    sources: &[Source],
    exists: &dyn Fn(&str) -> bool,
) -> Option<&'static str> {
    if ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return None;
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let target = if path.is_empty() { from.path.clone() } else { resolve(&from.path, path) };
    if !exists(&target) {
        return Some("leads to no file");
    }
    let heading = heading?;
    let text = &sources.iter().find(|source| source.path == target)?.text;
    let found = text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == heading);
    (!found).then_some("leads to no heading")
}

/// What stands in `](…)`, outside of code.
fn links(markdown: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut links = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for part in line.split("](").skip(1) {
            if let Some(link) = part.split([')', ' ']).next() {
                links.push(link);
            }
        }
    }
    links
}

fn resolve(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The name that a forge gives a heading.
fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|letter| match letter {
            ' ' => Some('-'),
            letter if letter.is_alphanumeric() || letter == '-' || letter == '_' => Some(letter),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_noticed() {
        let text = "# The `one` heading\n[a](../b.md) [c](#the-one-heading) [d](#other) [e](gone.md#x) [f](https://x.example)\n```\n[g](gone.md)\n```\n";
        let sources = [Source { path: "docs/a.md".to_owned(), text: text.to_owned() }];
        let errors = check(&sources, &|path| path == "b.md" || path == "docs/a.md");
        let expected = [
            "docs/a.md: the link `#other` leads to no heading",
            "docs/a.md: the link `gone.md#x` leads to no file",
        ];
        assert_eq!(errors, expected);
    }
}
