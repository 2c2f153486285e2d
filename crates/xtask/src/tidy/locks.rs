//! Lock files name packages and checksums, not the place from where somebody once fetched them.

/// What Cargo writes for its default registry, whichever mirror was used.
const DEFAULT_REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

pub(super) fn check_cargo(lock: &str) -> Vec<String> {
    lock.lines()
        .filter(|line| line.starts_with("source = ") && *line != DEFAULT_REGISTRY)
        .map(|line| format!("Cargo.lock: {line}: not the default registry"))
        .collect()
}

pub(super) fn check_npm(lock: &str) -> Vec<String> {
    let resolved = lock.lines().filter(|line| line.trim_start().starts_with("\"resolved\"")).count();
    match resolved {
        0 => Vec::new(),
        many => vec![format!("web/package-lock.json: {many} packages name a registry (`resolved`)")],
    }
}

/// Settings that everybody gets must not choose a registry for them.
pub(super) fn check_settings(path: &str, text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.trim_start().starts_with("registry") || line.trim_start().starts_with("[source"))
        .map(|line| format!("{path}: `{line}` chooses a registry for everybody"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_registry_is_noticed() {
        let lock =
            format!("name = \"a\"\n{DEFAULT_REGISTRY}\nsource = \"registry+https://mirror.example/index\"\n");
        assert_eq!(check_cargo(&lock).len(), 1);
        assert_eq!(check_npm("{\n  \"resolved\": \"https://mirror.example/a.tgz\",\n}").len(), 1);
        assert!(check_npm("{ \"version\": \"1.0.0\" }").is_empty());
        assert_eq!(check_settings(".npmrc", "fund=false\nregistry=https://mirror.example\n").len(), 1);
        assert_eq!(check_settings("config.toml", "[source.crates-io]\n").len(), 1);
    }
}
