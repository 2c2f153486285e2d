//! What `deny.toml` says of licences, banned packages and duplicates, checked without `cargo-deny`.
//!
//! The file stays a valid configuration of that tool. Here only its lists are read: allowed licences, banned
//! packages, and packages of which more than one version is tolerated.

use std::collections::{BTreeMap, BTreeSet};

use crate::cargo::{Package, locked};

pub(super) fn check(deny: &str, foreign: &[Package], lock: &str) -> Vec<String> {
    let allowed = list(deny, "licenses", "allow");
    let banned = list(deny, "bans", "deny");
    let tolerated = list(deny, "bans", "skip");
    let mut errors = Vec::new();
    if allowed.is_empty() || banned.is_empty() {
        errors.push(
            "deny.toml: the lists `allow` of [licenses] and `deny` of [bans] were not found".to_owned(),
        );
    }
    for package in foreign {
        let Package { name, version, licence, .. } = package;
        match licence {
            None => errors.push(format!("{name} {version} names no licence")),
            Some(licence) if !is_allowed(licence, &allowed) => {
                errors.push(format!("{name} {version}: `{licence}` is not allowed by deny.toml"));
            }
            Some(_) => {}
        }
    }
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, version) in locked(lock) {
        versions.entry(name).or_default().insert(version);
    }
    for name in versions.keys().filter(|name| banned.contains(name)) {
        errors.push(format!("Cargo.lock: {name} is banned by deny.toml"));
    }
    let doubled: BTreeSet<&String> =
        versions.iter().filter(|(_, all)| all.len() > 1).map(|(name, _)| name).collect();
    for name in &doubled {
        if !tolerated.contains(*name) {
            let all = versions[*name].iter().cloned().collect::<Vec<_>>().join(" and ");
            errors.push(format!("Cargo.lock: {name} is there as {all}; list it in deny.toml or remove one"));
        }
    }
    for name in tolerated.iter().filter(|name| !doubled.contains(name)) {
        errors.push(format!("deny.toml: {name} is listed as a duplicate and is none"));
    }
    errors
}

/// The first quoted word of each line of `key = [ … ]` in `[section]`.
fn list(toml: &str, section: &str, key: &str) -> Vec<String> {
    toml.lines()
        .skip_while(|line| line.trim() != format!("[{section}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .skip_while(|line| line.trim() != format!("{key} = ["))
        .skip(1)
        .take_while(|line| line.trim() != "]")
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect()
}

/// Evaluates a licence expression: words joined by `AND`, `OR` and parentheses; `/` is an old `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let answer = any_of(&mut rest, allowed);
    answer && rest.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut answer = all_of(words, allowed);
    while take(words, "OR") {
        answer |= all_of(words, allowed);
    }
    answer
}

fn all_of(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut answer = one(words, allowed);
    while take(words, "AND") {
        answer &= one(words, allowed);
    }
    answer
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    if take(words, "(") {
        let answer = any_of(words, allowed);
        return take(words, ")") && answer;
    }
    let Some((name, rest)) = words.split_first() else { return false };
    *words = rest;
    let mut full = (*name).to_owned();
    if take(words, "WITH")
        && let Some((exception, rest)) = words.split_first()
    {
        *words = rest;
        full = format!("{name} WITH {exception}");
    }
    allowed.contains(&full)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[licenses]\nallow = [\n  \"MIT\",\n  \"Apache-2.0 WITH LLVM-exception\",\n]\n\n[bans]\ndeny = [\n  { crate = \"ring\", reason = \"two\" },\n]\nskip = [\n  { crate = \"rand\", reason = \"x\" },\n  { crate = \"gone\", reason = \"x\" },\n]\n";

    #[test]
    fn licences_are_understood() {
        let allowed = list(DENY, "licenses", "allow");
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(GPL-3.0 OR MIT) AND MIT",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "(MIT", "MIT MIT", ""] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn a_banned_doubled_or_unlicensed_package_is_noticed() {
        let foreign = [Package {
            name: "odd".to_owned(),
            version: "1.0.0".to_owned(),
            licence: None,
            dependencies: Vec::new(),
        }];
        let mut lock = String::new();
        for (name, version) in
            [("ring", "0.17.0"), ("rand", "0.8.0"), ("rand", "0.9.0"), ("two", "1.0.0"), ("two", "2.0.0")]
        {
            lock.push_str(&format!("name = \"{name}\"\nversion = \"{version}\"\n"));
        }
        let errors = check(DENY, &foreign, &lock);
        assert_eq!(errors.len(), 4, "{errors:#?}");
    }
}
