//! A server that can be killed, people with folders of their own, and lines that are waited for.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_chinwag");
/// Long enough for a loaded machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    data: TempDir,
    child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let (child, url) = start(data.path(), "127.0.0.1:0");
        Self { data, child, url }
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// On the same port, which is free again after a kill.
    pub(crate) fn restart(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.child, _) = start(self.data.path(), &address);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(data: &Path, address: &str) -> (Child, String) {
    let mut child = Command::new(BINARY)
        .args(["serve", "--listen", address, "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let said = lines(child.stdout.take().expect("piped"));
    let mut url = None;
    until(&said, |line| {
        if let Some(from) = line.find("http://127.0.0.1:") {
            let whole = line[from..].trim_end_matches('/');
            let end = whole["http://".len()..].find('/').map_or(whole.len(), |end| end + "http://".len());
            url.get_or_insert_with(|| whole[..end].to_owned());
        }
        line.starts_with("Ready")
    });
    (child, url.expect("the server says where it is"))
}

/// Somebody with a home of his own.
pub(crate) struct Person {
    home: TempDir,
    url: String,
}

impl Person {
    pub(crate) fn new(server: &Server) -> Self {
        Self { home: tempfile::tempdir().expect("a folder"), url: server.url.clone() }
    }

    pub(crate) fn register(server: &Server, handle: &str) -> Self {
        let person = Self::new(server);
        person.run(&["register", handle]).expect_code(0);
        person
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).stdin(Stdio::null()).env("CHINWAG_SERVER", &self.url);
        for (variable, folder) in
            [("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state"), ("XDG_CACHE_HOME", "cache")]
        {
            command.env(variable, self.home.path().join(folder));
        }
        command.env("CHINWAG_PASSWORD", "correct horse").env_remove("CHINWAG_ACCOUNT");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.input(arguments, "")
    }

    pub(crate) fn input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut stdin = child.stdin.take().expect("piped");
        // Whoever does not read his input closes it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("ends");
        Ended {
            arguments: arguments.join(" "),
            code: output.status.code(),
            output: String::from_utf8(output.stdout).expect("text"),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The objects that a successful command prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        self.run(&arguments).expect_code(0).lines().map(object).collect()
    }

    /// Asks again until the answer is as expected: for what comes soon, such as the search index.
    pub(crate) fn until(&self, arguments: &[&str], is_there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.json(arguments);
            if is_there(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "{arguments:?} answers {found:?}");
        }
    }
}

pub(crate) struct Ended {
    arguments: String,
    code: Option<i32>,
    output: String,
    errors: String,
}

impl Ended {
    pub(crate) fn expect_code(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}: {}{}", self.arguments, self.output, self.errors);
        self.output
    }

    /// The same, for what stands on standard error.
    pub(crate) fn expect_errors(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}: {}{}", self.arguments, self.output, self.errors);
        self.errors
    }
}

pub(crate) fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The lines of a stream as they come.
pub(crate) fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // Read on when nobody listens, so that the process is not stopped by a full pipe.
            let _ = tell.send(line);
        }
    });
    told
}

pub(crate) fn next(lines: &Receiver<String>) -> String {
    lines.recv_timeout(PATIENCE).expect("another line")
}

pub(crate) fn until(lines: &Receiver<String>, mut is_it: impl FnMut(&str) -> bool) {
    while !is_it(&next(lines)) {}
}
