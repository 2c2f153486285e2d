//! The fuzz targets, found in the sources: each is a test `fuzz_…` of its own name that calls `bolero::check!`.
//!
//! `cargo xtask fuzz` finds them here too, so that none has to be listed anywhere.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Source;

/// What the name of each begins with, as a function.
pub(crate) const PREFIX: &str = "fuzz_";

/// Written in pieces, so that this file has none.
const CALL: &str = concat!("bolero::", "check!");

/// A fuzz target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Without the prefix.
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) package: String,
    /// Of the package.
    pub(crate) folder: PathBuf,
    pub(crate) program: Program,
}

/// Which test program of a package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Library,
    /// The unit tests of a package that has no library.
    Binary(String),
    Test(String),
}

impl Program {
    /// What tells Cargo to build it.
    pub(crate) fn flags(&self) -> Vec<String> {
        match self {
            Self::Library => vec!["--lib".to_owned()],
            Self::Binary(name) => vec!["--bin".to_owned(), name.clone()],
            Self::Test(name) => vec!["--test".to_owned(), name.clone()],
        }
    }

    /// Whether Cargo calls it so.
    pub(crate) fn is(&self, name: &str) -> bool {
        match self {
            // The only program of a package that has neither a binary's name nor a test's.
            Self::Library => name.starts_with("chinwag_"),
            Self::Binary(own) | Self::Test(own) => own == name,
        }
    }
}

/// Every target in the sources, by name.
pub(crate) fn all(root: &Path) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for source in super::read_all(root)? {
        for (name, _) in calls(&source) {
            let place = place(&source.path, &|path| root.join(path).exists());
            let (package, folder, program) =
                place.with_context(|| format!("{}: not in a crate", source.path))?;
            let Some(name) = name.strip_prefix(PREFIX).map(str::to_owned) else { continue };
            targets.push(Target { name, file: source.path.clone().into(), package, folder, program });
        }
    }
    targets.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(targets)
}

pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut errors = Vec::new();
    let mut names: Vec<(String, &str)> = Vec::new();
    for source in sources {
        for (name, line) in calls(source) {
            if !name.starts_with(PREFIX) {
                errors
                    .push(format!("{}:{line}: `{name}` is a fuzz target: call it `{PREFIX}…`", source.path));
            }
            if let Some((_, other)) = names.iter().find(|(known, _)| *known == name) {
                errors.push(format!("{}:{line}: `{name}` is the name of a target in {other}", source.path));
            }
            names.push((name, &source.path));
        }
    }
    errors
}

/// The functions that call bolero, each with the line of the call.
fn calls(source: &Source) -> Vec<(String, usize)> {
    let mut calls = Vec::new();
    if !source.path.ends_with(".rs") {
        return calls;
    }
    let mut function = "";
    for (at, line) in source.text.lines().enumerate() {
        let code = line.trim_start();
        if let Some(rest) = code.strip_prefix("fn ") {
            function = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        }
        if code.contains(CALL) && !code.starts_with("//") {
            calls.push((function.to_owned(), at + 1));
        }
    }
    calls
}

/// Package, its folder and the program of a file in `crates`.
fn place(file: &str, exists: &dyn Fn(&str) -> bool) -> Option<(String, PathBuf, Program)> {
    let (name, rest) = file.strip_prefix("crates/")?.split_once('/')?;
    let package = if name == "chinwag" { name.to_owned() } else { format!("chinwag-{name}") };
    let folder = format!("crates/{name}");
    let program = match rest.split_once('/')? {
        ("tests", test) => {
            let test =
                test.split_once('/').map_or_else(|| test.trim_end_matches(".rs"), |(folder, _)| folder);
            Program::Test(test.to_owned())
        }
        _ if exists(&format!("{folder}/src/lib.rs")) => Program::Library,
        _ => Program::Binary(package.clone()),
    };
    Some((package, folder.into(), program))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, function: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: format!("//! X.\n#[test]\nfn {function}() {{\n    {CALL}().for_each(f);\n}}\n"),
        }
    }

    #[test]
    fn a_target_without_a_name_of_its_own_is_noticed() {
        let sources = [
            source("crates/a/src/b.rs", "fuzz_b"),
            source("crates/a/src/c.rs", "fuzz_b"),
            source("crates/a/src/d.rs", "d"),
        ];
        let expected = [
            "crates/a/src/c.rs:4: `fuzz_b` is the name of a target in crates/a/src/b.rs",
            "crates/a/src/d.rs:4: `d` is a fuzz target: call it `fuzz_…`",
        ];
        assert_eq!(check(&sources), expected);
    }

    #[test]
    fn finds_the_program_of_a_file() {
        let exists = |path: &str| path == "crates/server/src/lib.rs";
        let program = |file: &str| place(file, &exists).map(|(package, _, program)| (package, program));
        let server = || "chinwag-server".to_owned();
        assert_eq!(program("crates/server/src/http/json.rs"), Some((server(), Program::Library)));
        let test = |name: &str| Some((server(), Program::Test(name.to_owned())));
        assert_eq!(program("crates/server/tests/ws_frames.rs"), test("ws_frames"));
        assert_eq!(program("crates/server/tests/raw/main.rs"), test("raw"));
        let binary = Some(("chinwag".to_owned(), Program::Binary("chinwag".to_owned())));
        assert_eq!(program("crates/chinwag/src/show.rs"), binary);
        assert_eq!(program("web/src/a.ts"), None);
    }
}
