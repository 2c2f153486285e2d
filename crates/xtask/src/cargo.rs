//! What Cargo knows of the workspace: packages, their dependencies and licences.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell;

/// The program that started this one, or the one in the path.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Packages as Cargo resolves them on this machine.
pub(crate) struct Workspace {
    pub(crate) target: PathBuf,
    pub(crate) members: Vec<Package>,
    pub(crate) foreign: Vec<Package>,
}

/// One package.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// What a package asks for.
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only for its tests, benches and examples.
    pub(crate) dev: bool,
}

impl Workspace {
    /// Asks Cargo.
    pub(crate) fn read() -> Result<Self> {
        let versions = shell::output_of("rustc", &["-vV"])?;
        let host =
            versions.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
        let text = shell::output_of(
            &cargo(),
            &["metadata", "--format-version=1", "--locked", "--all-features", "--filter-platform", host],
        )?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(text).context("cannot read what cargo metadata printed")?;
        let text_of = |value: &Value| value.as_str().map(str::to_owned);
        let target = text_of(&json["target_directory"]).context("cargo metadata names no target folder")?;
        let resolved: Vec<_> =
            list(&json["resolve"]["nodes"]).iter().filter_map(|n| n["id"].as_str()).collect();
        let mut members = Vec::new();
        let mut foreign = Vec::new();
        for package in list(&json["packages"]) {
            let id = package["id"].as_str().context("a package without an id")?;
            let read = Package {
                name: text_of(&package["name"]).context("a package without a name")?,
                version: text_of(&package["version"]).context("a package without a version")?,
                licence: text_of(&package["license"]),
                dependencies: list(&package["dependencies"]).iter().filter_map(dependency).collect(),
            };
            if list(&json["workspace_members"]).iter().any(|member| member.as_str() == Some(id)) {
                members.push(read);
            } else if resolved.contains(&id) {
                foreign.push(read);
            }
        }
        Ok(Self { target: target.into(), members, foreign })
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn dependency(value: &Value) -> Option<Dependency> {
    let name = value["name"].as_str()?.to_owned();
    Some(Dependency { name, dev: value["kind"].as_str() == Some("dev") })
}

/// Names and versions of a `Cargo.lock`, those of other systems included.
pub(crate) fn locked(lock: &str) -> Vec<(String, String)> {
    let value = |line: &str, key: &str| {
        let rest = line.strip_prefix(key)?.strip_prefix(" = \"")?;
        rest.strip_suffix('"').map(str::to_owned)
    };
    let mut packages = Vec::new();
    let mut name = None;
    for line in lock.lines() {
        if let Some(found) = value(line, "name") {
            name = Some(found);
        } else if let Some(version) = value(line, "version")
            && let Some(name) = name.take()
        {
            packages.push((name, version));
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_read() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"b\"\nversion = \"2.0.0\"\nsource = \"x\"\n";
        let expected = [("a".to_owned(), "1.0.0".to_owned()), ("b".to_owned(), "2.0.0".to_owned())];
        assert_eq!(locked(lock), expected);
    }
}
