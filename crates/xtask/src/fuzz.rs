//! `cargo xtask fuzz`: the fuzz targets for as long as one likes, guided by coverage.
//!
//! A target is a test named `fuzz_…` that calls `bolero::check!`. In `cargo xtask test` it replays its kept inputs
//! and tries random ones for about a second; here it is built once more with libFuzzer, which needs a C++ compiler
//! and nothing else. What a run finds interesting stays in `target/fuzz/corpus` for the next one; `--keep` brings
//! the smallest of it that covers the same into the folder beside the target. An input that fails is put there at
//! once, so that the ordinary test fails until it is mended.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    cargo::cargo,
    shell::{self, program},
    tidy::targets::{self, Target},
};

const SECONDS: u64 = 60;

/// What is kept of one target in the repository; all of them together stay small.
const KEPT_BYTES: u64 = 6 * 1024;

/// Longer inputs find little that shorter ones do not.
const INPUT_BYTES_MAX: &str = "-max_len=4096";

/// No input may take so long, or so much memory; the libraries under test and libFuzzer itself are in the figure.
const BOUNDS: [&str; 2] = ["-timeout=5", "-rss_limit_mb=768"];

/// Coverage for libFuzzer from the stable compiler.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "--cfg=fuzzing_libfuzzer",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    // A test program of the same package that has no target lacks libFuzzer; it is built and never run.
    "-Clink-arg=-Wl,--unresolved-symbols=ignore-all",
];

struct Wanted {
    seconds: u64,
    jobs: usize,
    keep: bool,
    names: BTreeSet<String>,
}

/// A target with the program that holds it.
struct Built {
    name: String,
    executable: PathBuf,
    /// As the test program calls it.
    path: String,
    /// The folder of its package, where `cargo test` would start it.
    package: PathBuf,
    /// Where its kept inputs are.
    kept: PathBuf,
}

/// What came of one target.
struct Outcome {
    line: String,
    failed: bool,
}

/// Runs the targets asked for and prints a line for each.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let wanted = wanted(arguments)?;
    if !["c++", "g++", "clang++"].iter().any(|compiler| shell::find(compiler).is_some()) {
        bail!("libFuzzer needs a C++ compiler (Debian: package `g++`)");
    }
    let mut targets = targets::all(&shell::root())?;
    if let Some(unknown) = wanted.names.iter().find(|name| !targets.iter().any(|t| t.name == **name)) {
        let known: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        bail!("there is no target {unknown}; there are {}", known.join(", "));
    }
    targets.retain(|target| wanted.names.is_empty() || wanted.names.contains(&target.name));
    let built = build(&targets)?;
    println!("{} targets, {} s each, {} at a time", built.len(), wanted.seconds, wanted.jobs);
    println!("{:<24} {:>12} {:>10} {:>8} {:>8}", "target", "executions", "per s", "edges", "corpus");
    let waiting = Mutex::new(built.into_iter());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..wanted.jobs {
            scope.spawn(|| {
                let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some(built) = next() {
                    let outcome = fuzz(&built, &wanted).unwrap_or_else(|error| Outcome {
                        line: format!("{:<24} {error:#}", built.name),
                        failed: true,
                    });
                    println!("{}", outcome.line);
                    if outcome.failed {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(built.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn wanted(arguments: &[String]) -> Result<Wanted> {
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let mut wanted = Wanted { seconds: SECONDS, jobs, keep: false, names: BTreeSet::new() };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64> {
            let number = arguments.next().with_context(|| format!("{argument} needs a number"))?;
            number.parse().with_context(|| format!("{number} is no number"))
        };
        match argument.as_str() {
            "--seconds" => wanted.seconds = number()?.max(1),
            "--jobs" => wanted.jobs = usize::try_from(number()?)?.max(1),
            "--keep" => wanted.keep = true,
            option if option.starts_with('-') => bail!("unknown argument {option}"),
            name => {
                wanted.names.insert(name.strip_prefix(targets::PREFIX).unwrap_or(name).to_owned());
            }
        }
    }
    Ok(wanted)
}

/// The work folder of fuzzing, beside the other things that are built.
fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| shell::root().join("target")).join("fuzz")
}

/// Builds the programs that hold the targets.
fn build(targets: &[Target]) -> Result<Vec<Built>> {
    let versions = shell::output_of("rustc", &["-vV"])?;
    let host =
        versions.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let mut command = program(cargo(), &shell::root(), &["test", "--no-run", "--locked", "--release"]);
    // With a target named, build scripts and macros are built without the flags.
    command
        .args(["--target", host, "--message-format=json-render-diagnostics", "--target-dir"])
        .arg(folder());
    command.args(["--config", "profile.release.debug-assertions=true"]);
    command.args([
        "--config",
        "profile.release.overflow-checks=true",
        "--config",
        "profile.release.incremental=false",
    ]);
    let packages: BTreeSet<&str> = targets.iter().map(|target| target.package.as_str()).collect();
    for package in packages {
        command.args(["--package", package]);
    }
    let programs: BTreeSet<Vec<String>> = targets.iter().map(|target| target.program.flags()).collect();
    command.args(programs.into_iter().flatten());
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    let output =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the targets cannot be built");
    }
    let executables = executables(&String::from_utf8_lossy(&output.stdout));
    let mut listed: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
    let mut built = Vec::new();
    for target in targets {
        let found = executables.iter().find(|(manifest, name, _)| {
            manifest.parent() == Some(&shell::root().join(&target.folder)) && target.program.is(name)
        });
        let (manifest, _, executable) =
            found.with_context(|| format!("{} was not built", target.file.display()))?;
        if !listed.contains_key(executable.as_path()) {
            listed.insert(executable, list(executable)?);
        }
        let function = format!("{}{}", targets::PREFIX, target.name);
        let path = listed[executable.as_path()]
            .iter()
            .find(|path| path.rsplit("::").next() == Some(&function))
            .with_context(|| format!("{} is no test of {}", function, executable.display()))?;
        let package = manifest.parent().context("a manifest lies in a folder")?.to_owned();
        let kept = kept(executable, path, &package)?;
        let (name, executable, path) = (target.name.clone(), executable.clone(), path.clone());
        built.push(Built { name, executable, path, package, kept });
    }
    Ok(built)
}

/// Manifest, name and path of each program that Cargo says it built.
fn executables(messages: &str) -> Vec<(PathBuf, String, PathBuf)> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter_map(|message| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let executable = text(&message["executable"])?;
            let (manifest, name) = (text(&message["manifest_path"])?, text(&message["target"]["name"])?);
            Some((manifest.into(), name, executable.into()))
        })
        .collect()
}

fn list(executable: &Path) -> Result<Vec<String>> {
    let output = shell::output_of(&executable.to_string_lossy(), &["--list", "--format", "terse"])?;
    Ok(output.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Asks a target where its inputs are kept.
fn kept(executable: &Path, path: &str, package: &Path) -> Result<PathBuf> {
    let mut command = program(executable, package, &[path, "--exact", "--nocapture"]);
    let output = command.env("CARGO_BOLERO_SELECT", "all").stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut folders = said.filter_map(|line| line["work_dir"].as_str().map(PathBuf::from));
    folders.next().with_context(|| format!("{path} is no bolero target"))
}

fn fuzz(built: &Built, wanted: &Wanted) -> Result<Outcome> {
    let corpus = folder().join("corpus").join(&built.name);
    let (kept, crashes) = (built.kept.join("corpus"), built.kept.join("crashes"));
    for folder in [&corpus, &kept, &crashes] {
        fs::create_dir_all(folder)?;
    }
    let time = format!("-max_total_time={}", wanted.seconds);
    let artifacts = format!("-artifact_prefix={}/", crashes.display());
    let options = [time.as_str(), &artifacts, INPUT_BYTES_MAX, BOUNDS[0], BOUNDS[1], "-print_final_stats=1"];
    let (said, succeeded) = fuzzer(built, &options, &[&corpus, &kept])?;
    let log = folder().join(format!("{}.txt", built.name));
    fs::write(&log, &said)?;
    // Nothing failed: no empty folders are left in the repository.
    let _ = fs::remove_dir(&crashes);
    if succeeded && wanted.keep {
        keep(built, &corpus, &kept)?;
    }
    let stat = |name: &str| {
        let found =
            said.lines().rev().find_map(|line| line.trim().strip_prefix(name)?.split_whitespace().next());
        found.unwrap_or("-").to_owned()
    };
    let edges = said.lines().rev().find_map(|line| line.split_once(" cov: ")?.1.split_whitespace().next());
    let mut line = format!(
        "{:<24} {:>12} {:>10} {:>8} {:>8}",
        built.name,
        stat("stat::number_of_executed_units:"),
        stat("stat::average_exec_per_sec:"),
        edges.unwrap_or("-"),
        fs::read_dir(&corpus)?.count(),
    );
    if !succeeded {
        line.push_str(&format!("\n  FAILED, see {} and {}", log.display(), crashes.display()));
    }
    let _ = fs::remove_dir(&kept);
    let _ = fs::remove_dir(&built.kept);
    Ok(Outcome { line, failed: !succeeded })
}

/// Runs libFuzzer over a target; what it said, and whether it found nothing.
fn fuzzer(built: &Built, options: &[&str], corpora: &[&Path]) -> Result<(String, bool)> {
    let mut arguments: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    arguments.extend(corpora.iter().map(|folder| folder.to_string_lossy().into_owned()));
    let mut command = Command::new(&built.executable);
    command.args([&built.path, "--exact", "--nocapture", "--quiet", "--test-threads", "1"]);
    command.current_dir(&built.package).env("BOLERO_LIBFUZZER_ARGS", arguments.join(" "));
    let output = command.stdin(Stdio::null()).output().context("cannot start the target")?;
    let said = [output.stdout, output.stderr].concat();
    Ok((String::from_utf8_lossy(&said).into_owned(), output.status.success()))
}

/// Brings the smallest inputs that cover what was found into the repository, as many as there is room for.
fn keep(built: &Built, corpus: &Path, kept: &Path) -> Result<()> {
    let merged = folder().join("merged").join(&built.name);
    if merged.exists() {
        fs::remove_dir_all(&merged)?;
    }
    fs::create_dir_all(&merged)?;
    let (said, succeeded) = fuzzer(built, &["-merge=1", INPUT_BYTES_MAX], &[&merged, corpus, kept])?;
    if !succeeded {
        bail!("cannot merge: {}", said.lines().last().unwrap_or_default());
    }
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&merged)? {
        let entry = entry?;
        inputs.push((entry.metadata()?.len(), entry.file_name(), entry.path()));
    }
    inputs.sort();
    for entry in fs::read_dir(kept)? {
        fs::remove_file(entry?.path())?;
    }
    let mut bytes = 0;
    for (len, name, path) in inputs.into_iter().filter(|(len, ..)| *len > 0) {
        bytes += len;
        if bytes > KEPT_BYTES {
            break;
        }
        fs::copy(path, kept.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Option<(u64, bool, Vec<String>)> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let Wanted { seconds, keep, names, .. } = wanted(&words).ok()?;
        Some((seconds, keep, names.into_iter().collect()))
    }

    #[test]
    fn reads_what_is_wanted() {
        assert_eq!(read(&[]), Some((SECONDS, false, vec![])));
        let names = vec!["head".to_owned(), "ws_frames".to_owned()];
        assert_eq!(read(&["ws_frames", "--seconds", "7", "fuzz_head", "--keep"]), Some((7, true, names)));
        assert_eq!((read(&["--seconds"]), read(&["--jobs", "x"]), read(&["--fast"])), (None, None, None));
    }

    #[test]
    fn finds_the_programs_in_what_cargo_says() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","target":{"name":"a"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","target":{"name":"b"},"executable":"/t/b-1"}"#,
            "\nwarning: no JSON\n"
        );
        assert_eq!(executables(messages), [("/a/Cargo.toml".into(), "b".to_owned(), "/t/b-1".into())]);
    }
}
