//! The web app's tools: are they there, is what they made still current.
//!
//! Two notes in `web/node_modules` (which is not kept in the repository) remember what was installed and built.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result, bail};

use crate::shell::{self, program};

/// What Vite needs.
const NODE_AT_LEAST: (u32, u32) = (20, 19);

pub(crate) fn folder() -> PathBuf {
    shell::root().join("web")
}

/// Fails with what to do if Node or npm is missing or too old.
pub(crate) fn check_node() -> Result<()> {
    let (major, minor) = NODE_AT_LEAST;
    let wanted = format!("Node {major}.{minor} or newer with npm");
    if shell::find("node").is_none() || shell::find("npm").is_none() {
        bail!(
            "{wanted} is needed to build the web app and was not found (Debian: packages `nodejs` and `npm`)"
        );
    }
    let version = shell::output_of("node", &["--version"])?;
    match parse_version(&version) {
        Some(found) if found >= NODE_AT_LEAST => Ok(()),
        _ => bail!("{wanted} is needed to build the web app; this is {}", version.trim()),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.').map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether the installed packages are those of the lock file.
pub(crate) fn is_installed() -> Result<bool> {
    let lock = fs::read(folder().join("package-lock.json")).context("cannot read web/package-lock.json")?;
    Ok(fs::read(installed_note()).is_ok_and(|installed| installed == lock))
}

/// Installs exactly the packages of the lock file. None of them may run a script.
pub(crate) fn install() -> Result<()> {
    shell::show(&mut program(
        "npm",
        &folder(),
        &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    ))?;
    fs::copy(folder().join("package-lock.json"), installed_note())
        .context("cannot note what was installed")?;
    Ok(())
}

/// Whether the built app is that of the present sources.
pub(crate) fn is_built() -> Result<bool> {
    let now = fingerprint()?;
    Ok(fs::read_to_string(built_note()).is_ok_and(|built| built == now))
}

/// Notes that the built app is that of the present sources.
pub(crate) fn note_built() -> Result<()> {
    fs::write(built_note(), fingerprint()?).context("cannot note what was built")
}

fn installed_note() -> PathBuf {
    folder().join("node_modules/.chinwag-installed")
}

fn built_note() -> PathBuf {
    folder().join("node_modules/.chinwag-built")
}

/// Name, size and time of every source file, and of the page that was built from them.
fn fingerprint() -> Result<String> {
    let mut lines = Vec::new();
    collect(&folder(), &mut lines)?;
    lines.sort();
    lines.push(stamp(&folder().join("dist/index.html")).unwrap_or_else(|_| "no page".to_owned()));
    Ok(lines.join("\n"))
}

fn collect(folder: &Path, lines: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || ["node_modules", "dist", "e2e", "tests"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, lines)?;
        } else {
            lines.push(stamp(&path)?);
        }
    }
    Ok(())
}

fn stamp(path: &Path) -> Result<String> {
    let about = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let changed = about.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
    Ok(format!("{} {} {changed}", path.display(), about.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse_version("v20.19.2\n"), Some((20, 19)));
        assert!(parse_version("v9.30.0").is_some_and(|version| version < NODE_AT_LEAST));
        assert_eq!(parse_version("twenty"), None);
    }
}
