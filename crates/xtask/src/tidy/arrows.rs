//! The arrows between crates, and which crate may know what of the outside.
//!
//! Cargo keeps an arrow from pointing backwards; this keeps a new one from appearing unnoticed.

use crate::cargo::Package;

/// Which of our crates each may use, its tests included where marked.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("chinwag-protocol", &[], &[]),
    ("chinwag-domain", &["chinwag-protocol"], &[]),
    ("chinwag-store", &["chinwag-domain", "chinwag-protocol"], &[]),
    ("chinwag-doors", &["chinwag-protocol"], &[]),
    // Its fold of events is held against the rules themselves, over a store in memory.
    ("chinwag-client", &["chinwag-protocol"], &["chinwag-domain", "chinwag-store"]),
    (
        "chinwag-server",
        &["chinwag-domain", "chinwag-doors", "chinwag-protocol", "chinwag-store"],
        &["chinwag-client"],
    ),
    ("chinwag-checker", &["chinwag-protocol"], &[]),
    // It reads files of the server and the store by their paths instead.
    ("chinwag-interleave", &["chinwag-domain", "chinwag-protocol"], &[]),
    ("chinwag", &["chinwag-client", "chinwag-protocol", "chinwag-server"], &["chinwag-checker"]),
    ("chinwag-xtask", &[], &[]),
];

/// Foreign packages that only some of our crates may use, and what would leak otherwise.
const KNOWERS: &[(&str, &[&str], &str)] = &[
    ("rusqlite", &["chinwag-store"], "only the store knows SQL"),
    ("refinery", &["chinwag-store"], "only the store knows SQL"),
    (
        "tokio",
        &["chinwag-server", "chinwag-client", "chinwag", "chinwag-interleave"],
        "rules, doors and stores do not wait",
    ),
    ("axum", &["chinwag-server"], "only the server knows HTTP"),
    ("hyper", &["chinwag-server", "chinwag-client", "chinwag"], "only the edges know HTTP"),
    (
        "rand",
        &["chinwag-server", "chinwag-client", "chinwag", "chinwag-store", "chinwag-interleave"],
        "rules and doors are the same each time",
    ),
    (
        "jiff",
        &["chinwag-domain", "chinwag-doors", "chinwag-server", "chinwag-client", "chinwag"],
        "stores and protocols have no time of day",
    ),
    ("anyhow", &["chinwag", "chinwag-xtask"], "libraries say what went wrong with a type"),
];

pub(super) fn check(members: &[Package]) -> Vec<String> {
    let mut errors = Vec::new();
    for package in members {
        let name = &package.name;
        let Some((_, allowed, in_tests)) = ARROWS.iter().find(|(known, ..)| known == name) else {
            errors.push(format!("{name} is not in the table of arrows (crates/xtask/src/tidy/arrows.rs)"));
            continue;
        };
        for dependency in &package.dependencies {
            let on = dependency.name.as_str();
            let is_ours = ARROWS.iter().any(|(known, ..)| *known == on);
            if is_ours && !(allowed.contains(&on) || dependency.dev && in_tests.contains(&on)) {
                errors.push(format!("{name} may not use {on}"));
            }
            let knower = KNOWERS.iter().find(|(foreign, ..)| *foreign == on);
            if let Some((_, knowers, why)) = knower
                && !dependency.dev
                && !knowers.contains(&name.as_str())
            {
                errors.push(format!("{name} may not use {on}: {why}"));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::Dependency;

    fn package(name: &str, on: &str, dev: bool) -> Package {
        let dependencies = vec![Dependency { name: on.to_owned(), dev }];
        Package { name: name.to_owned(), version: "0.1.0".to_owned(), licence: None, dependencies }
    }

    #[test]
    fn a_new_arrow_is_noticed() {
        assert_eq!(check(&[package("chinwag-doors", "chinwag-domain", false)]).len(), 1);
        assert_eq!(check(&[package("chinwag-server", "chinwag-client", false)]).len(), 1);
        assert!(check(&[package("chinwag-server", "chinwag-client", true)]).is_empty());
        assert_eq!(check(&[package("chinwag-domain", "tokio", false)]).len(), 1);
        assert_eq!(check(&[package("chinwag-new", "serde", false)]).len(), 1);
    }
}
