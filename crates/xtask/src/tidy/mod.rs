//! Checks on the sources that no compiler makes: the map, the arrows, the documents, the locks.
//!
//! Each check is a function from texts to complaints, so that it can be shown to complain. Rules that a
//! compiler or linter can keep are not here.

mod arrows;
mod documents;
mod licences;
mod locks;
mod map;
mod promises;
mod sources;
pub(crate) mod targets;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{cargo::Workspace, shell};

/// A text of the repository; the path is relative to its root.
struct Source {
    path: String,
    text: String,
}

/// What is wrong, and what is merely worth a look.
#[derive(Default)]
struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

pub(crate) fn run() -> Result<()> {
    let findings = examine()?;
    for warning in &findings.warnings {
        println!("warning: {warning}");
    }
    for error in &findings.errors {
        println!("{error}");
    }
    match findings.errors.len() {
        0 => Ok(()),
        1 => bail!("one thing is not tidy"),
        many => bail!("{many} things are not tidy"),
    }
}

fn examine() -> Result<Findings> {
    let root = shell::root();
    let sources = read_all(&root)?;
    let workspace = Workspace::read()?;
    let text =
        |path: &str| fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"));
    let exists = |path: &str| root.join(path).exists();

    let mut findings = Findings::default();
    sources::check(&sources, &mut findings);
    let crates: Vec<&str> = workspace.members.iter().map(|package| package.name.as_str()).collect();
    findings.errors.extend(map::check(
        &text("ARCHITECTURE.md")?,
        &crates,
        &|path| fs::read_to_string(root.join(path)).ok(),
        &exists,
    ));
    findings.errors.extend(arrows::check(&workspace.members));
    findings.errors.extend(documents::check(&sources, &exists));
    findings.errors.extend(promises::check(&sources));
    findings.errors.extend(targets::check(&sources));
    findings
        .errors
        .extend(wire::check(&text("crates/protocol/tests/wire/variants.rs")?, &text("docs/protocol.md")?));
    findings.errors.extend(wire::check_codes(&text("docs/protocol.md")?, &sources));
    findings.errors.extend(locks::check_cargo(&text("Cargo.lock")?));
    findings.errors.extend(locks::check_npm(&text("web/package-lock.json")?));
    for settings in [".cargo/config.toml", "web/.npmrc"] {
        findings.errors.extend(locks::check_settings(settings, &text(settings)?));
    }
    findings.errors.extend(licences::check(&text("deny.toml")?, &workspace.foreign, &text("Cargo.lock")?));
    Ok(findings)
}

/// Every text that people write, without what is built or installed.
fn read_all(root: &Path) -> Result<Vec<Source>> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let path = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source { path, text });
        }
    }
    Ok(sources)
}

/// Made by tools, not by people.
const SKIPPED: &[&str] = &["target", "node_modules", "dist", ".git", "chinwag-data"];
const KINDS: &[&str] = &["rs", "ts", "js", "mjs", "svelte", "css", "html", "md", "toml", "sql", "sh"];

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !SKIPPED.contains(&name) {
                walk(&path, files)?;
            }
        } else if path.extension().and_then(|kind| kind.to_str()).is_some_and(|kind| KINDS.contains(&kind)) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let findings = examine().expect("the sources can be read");
        assert!(findings.errors.is_empty(), "{:#?}", findings.errors);
    }
}
