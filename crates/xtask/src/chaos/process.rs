//! The server, perhaps under `strace`, and the checker beside it. Each is ended with its owner, by its own group.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::Bed;

const PATIENCE: Duration = Duration::from_secs(60);

/// Rates that a workload is not to be slowed by.
pub(super) const LIFTED: &str = include_str!("../../../chinwag/tests/support/lifted.toml");

/// A folder that goes with its owner.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("chinwag-chaos-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Numbers that follow from a seed (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    pub(super) fn pause_ms(&mut self, least: u64, most: u64) {
        thread::sleep(Duration::from_millis(least + self.below(most - least)));
    }
}

/// A free port that no outgoing connection is given while the server is down.
pub(super) fn address(random: &mut Random) -> SocketAddr {
    loop {
        let port = 20_000 + u16::try_from(random.below(10_000)).unwrap_or_default();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A server, alone or as the child of a tool that does something to it.
pub(super) struct Server {
    child: Child,
    /// From being started to being ready.
    pub(super) ready_ms: u128,
}

impl Server {
    /// Starts `server` on a data folder. `tool`: a program with its arguments that is to run it.
    pub(super) fn start(server: &Path, tool: &[&str], data: &Path, address: SocketAddr) -> Result<Self> {
        Self::start_with(server, tool, data, address, LIFTED)
    }

    /// The same with a configuration of one's own.
    pub(super) fn start_with(
        server: &Path,
        tool: &[&str],
        data: &Path,
        address: SocketAddr,
        settings: &str,
    ) -> Result<Self> {
        let config = data.with_extension("toml");
        fs::write(&config, settings).with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = command(tool, server);
        let started = Instant::now();
        command
            .args(["serve", "--listen", &address.to_string(), "--data"])
            .arg(data)
            .arg("--config")
            .arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().context("cannot start the server")?;
        let lines = lines(child.stdout.take());
        let mut server = Self { child, ready_ms: 0 };
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line.starts_with("Ready") => break,
                Ok(_) => {}
                Err(_) => bail!("the server is not ready: {:?}", server.child.try_wait()),
            }
        }
        server.ready_ms = started.elapsed().as_millis();
        Ok(server)
    }

    /// Its process, or the one that runs it.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the server and to whatever runs it.
    pub(super) fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args([&format!("-{name}"), "--", &group]).stderr(Stdio::null()).status();
    }

    /// Its end by itself; `None` if it does not come in time.
    pub(super) fn ended_within(&mut self, most: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + most;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.signal("KILL");
        }
        let _ = self.child.wait();
    }
}

/// A program, alone or as the argument of a tool that is to run it.
fn command(tool: &[&str], program: &Path) -> Command {
    match tool {
        [] => Command::new(program),
        [tool, arguments @ ..] => {
            let mut command = Command::new(tool);
            command.args(arguments).arg(program);
            command
        }
    }
}

fn lines(from: Option<impl std::io::Read + Send + 'static>) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    if let Some(from) = from {
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                // Read to the end even if nobody listens: a full pipe would stop the writer.
                let _ = sender.send(line);
            }
        });
    }
    lines
}

/// A running workload.
pub(super) struct Checker {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

/// What the checker found.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) broken: bool,
}

impl Found {
    /// The figures, in one line.
    pub(super) fn figures(&self) -> String {
        let figures = |line: &&str| line.contains(" violations; ") || line.starts_with("answers");
        self.text.lines().filter(figures).collect::<Vec<_>>().join("; ")
    }

    /// How long messages waited for their answers: half of them, and 99 in 100.
    pub(super) fn answers_ms(&self) -> Option<(u64, u64)> {
        let line = self.text.lines().find(|line| line.starts_with("answers"))?;
        let mut within = line.split("within ").skip(1).map(|rest| rest.split(' ').next()?.parse().ok());
        Some((within.next()??, within.next()??))
    }
}

impl Checker {
    pub(super) fn start(bed: &Bed, address: SocketAddr, seed: u64, rate: u32) -> Result<Self> {
        Self::start_with(bed, &[], address, seed, rate, &[])
    }

    /// The same, run by a tool and with more arguments.
    pub(super) fn start_with(
        bed: &Bed,
        tool: &[&str],
        address: SocketAddr,
        seed: u64,
        rate: u32,
        more: &[&str],
    ) -> Result<Self> {
        let mut command = command(tool, &bed.checker);
        let mut child = command
            .args(["run", "--address", &address.to_string(), "--seed", &seed.to_string()])
            .args(["--rate", &rate.to_string()])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the checker")?;
        let lines = lines(child.stdout.take());
        let input = child.stdin.take().context("a pipe")?;
        let mut checker = Self { child, input, lines };
        checker.until("running")?;
        Ok(checker)
    }

    fn until(&mut self, wanted: &str) -> Result<()> {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .with_context(|| format!("the checker did not say {wanted}"))?;
            if line == wanted {
                return Ok(());
            }
        }
    }

    /// Stops all its clients where they are, in the middle of whatever they do, or lets them go on.
    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args([&format!("-{name}"), &pid]).stderr(Stdio::null()).status();
    }

    /// The server was killed.
    pub(super) fn crash(&mut self) -> Result<()> {
        self.note("crash")
    }

    /// Tells the checker what is done to the server.
    pub(super) fn note(&mut self, what: &str) -> Result<()> {
        writeln!(self.input, "{what}")?;
        self.until("noted")
    }

    /// The server is well: the verdict.
    pub(super) fn heal(mut self) -> Result<Found> {
        writeln!(self.input, "heal")?;
        let mut text = String::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            text.push_str(&line);
            text.push('\n');
        }
        let status = self.child.wait()?;
        match status.code() {
            Some(0) => Ok(Found { text, broken: false }),
            Some(1) => Ok(Found { text, broken: true }),
            _ => bail!("the checker ended with {status}: {text}"),
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
