//! Starting other programs: with progress, a time limit, and their output kept for counting.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// The folder that holds the workspace.
pub(crate) fn root() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in crates/");
    crates.parent().expect("crates/ lies in the root").to_owned()
}

/// Whether this runs in automation rather than in front of somebody.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Where a program is, if it can be started by name.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Runs a program for what it prints.
pub(crate) fn output_of(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} failed: {}", arguments.join(" "), errors.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed something that is no text"))
}

/// A program with its place and arguments.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(folder);
    command
}

/// Runs a program in front of the person; fails if it does.
pub(crate) fn show(command: &mut Command) -> Result<()> {
    let words = words(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {words}"))?;
    if !status.success() {
        bail!("{words}: {status}");
    }
    Ok(())
}

fn words(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy()));
    words.join(" ")
}

/// What a program printed, and whether it said that it succeeded.
pub(crate) struct Finished {
    pub(crate) text: String,
    pub(crate) failure: Option<String>,
}

/// Runs a program, showing and keeping what it prints; ends it when `limit` has passed.
///
/// A program that leaves a child behind with its output open does not hold this up: once it has ended, only
/// what arrives within a moment still counts.
pub(crate) fn watch(command: &mut Command, limit: Duration) -> Result<Finished> {
    let words = words(command);
    println!("$ {words}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("NO_COLOR", "1");
    let grouped = in_ci();
    if grouped {
        // A group of its own can be ended whole. In front of a person it would miss Ctrl-C.
        command.process_group(0);
    }
    let mut child = command.spawn().with_context(|| format!("cannot start {words}"))?;
    let (sender, lines) = mpsc::channel();
    forward(child.stdout.take(), sender.clone());
    forward(child.stderr.take(), sender);

    let started = Instant::now();
    let mut text = String::new();
    let mut status = None;
    let mut failure = None;
    loop {
        match lines.recv_timeout(Duration::from_millis(if status.is_some() { 500 } else { 100 })) {
            Ok(line) => {
                show_line(&line);
                text.push_str(&line);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) if status.is_some() => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if status.is_none() {
            status = child.try_wait()?;
        }
        if status.is_none() && failure.is_none() && started.elapsed() > limit {
            failure = Some(format!("{words} took longer than {} s and was ended", limit.as_secs()));
            end(&mut child, grouped);
        }
    }
    let status = match status {
        Some(status) => status,
        None => child.wait()?,
    };
    if failure.is_none() && !status.success() {
        failure = Some(format!("{words}: {status}"));
    }
    Ok(Finished { text, failure })
}

fn end(child: &mut std::process::Child, grouped: bool) {
    let whom = if grouped { format!("-{}", child.id()) } else { child.id().to_string() };
    // The child may have ended by itself this very moment: then there is nothing to do, and no harm.
    let killed = Command::new("kill").args(["-KILL", "--", &whom]).stderr(Stdio::null()).status();
    if !killed.is_ok_and(|status| status.success()) {
        drop(child.kill());
    }
}

fn show_line(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is listening any more if this fails; the exit code still tells.
    drop(out.write_all(line.as_bytes()));
    drop(out.flush());
}

fn forward(stream: Option<impl Read + Send + 'static>, lines: mpsc::Sender<String>) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// Lines that say what is being done and how long everything has taken so far.
pub(crate) struct Progress {
    started: Instant,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn say(&self, what: &str) {
        let seconds = self.started.elapsed().as_secs();
        println!("[{:>2}:{:02}] {what}", seconds / 60, seconds % 60);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_prints_is_kept_and_its_failure_told() {
        let mut command = program("sh", &root(), &["-c", "echo out; echo err >&2; exit 3"]);
        let finished = watch(&mut command, Duration::from_secs(60)).expect("sh can be started");
        assert!(finished.text.contains("out\n") && finished.text.contains("err\n"), "{}", finished.text);
        assert!(finished.failure.expect("it failed").contains('3'));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let mut command = program("sh", &root(), &["-c", "exec sleep 600"]);
        let finished = watch(&mut command, Duration::from_millis(50)).expect("sh can be started");
        assert!(finished.failure.expect("it was ended").contains("longer"));
    }
}
