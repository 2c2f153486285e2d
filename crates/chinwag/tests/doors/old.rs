//! The old systems' programs, played by small ones in Python: commands in, lines out, and able to be killed.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, Command as Process, Stdio},
    sync::mpsc::{self, Receiver},
    time::Instant,
};

use chinwag_protocol::{ClientFrame, ClientSignal, Presence, ServerFrame, ServerSignal, UserId};

use super::support::{PATIENCE, Server, Socket};

/// A server with a door, at the addresses of a former one or at free ones.
pub(crate) struct Opened {
    pub(crate) server: Server,
    pub(crate) door: SocketAddr,
}

impl Opened {
    pub(crate) fn start(data: &Path, name: &str) -> Self {
        Self::start_at(data, name, "127.0.0.1:0", "127.0.0.1:0")
    }

    fn start_at(data: &Path, name: &str, listen: &str, door: &str) -> Self {
        let wish = format!("{name}={door}");
        let server = Server::start_with(data, &["--listen", listen, "--door", &wish]);
        let line = server.greeting.lines().find(|line| line.contains(name)).expect("the door is told");
        let words = line.split_whitespace().skip_while(|word| *word != name);
        let address = words.skip(1).map(|word| word.trim_end_matches([':', ','])).next();
        let door = address.expect("where it listens").parse().expect("an address");
        Self { server, door }
    }

    /// Ends it as a crash would, and starts it again on the same folder and ports.
    pub(crate) fn crash(self, data: &Path, name: &str) -> Self {
        let (listen, door) = (self.server.address.to_string(), self.door.to_string());
        self.server.kill();
        Self::start_at(data, name, &listen, &door)
    }

    /// Starts a program that knows this door only.
    pub(crate) fn program(&self, script: &str) -> Program {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors").join(script);
        // Compiled modules would be left beside the sources.
        let mut child = Process::new("python3")
            .arg("-B")
            .arg(path)
            .args([self.door.ip().to_string(), self.door.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("python3 starts");
        let (sender, lines) = mpsc::channel();
        let output = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let input = child.stdin.take().expect("piped");
        Program { child, input, lines, earlier: VecDeque::new() }
    }
}

/// A running program.
pub(crate) struct Program {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    /// What it said before something that was waited for.
    earlier: VecDeque<String>,
}

impl Program {
    /// Gives it a command.
    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("it listens");
    }

    /// The next thing it says.
    pub(crate) fn next(&mut self) -> String {
        if let Some(line) = self.earlier.pop_front() {
            return line;
        }
        self.lines.recv_timeout(PATIENCE).expect("it says something")
    }

    /// The next thing it says is this.
    pub(crate) fn says(&mut self, expected: &str) {
        assert_eq!(self.next(), expected);
    }

    /// It says this sooner or later; what it says before, by another of its threads, is next.
    pub(crate) fn says_among_others(&mut self, expected: &str) {
        let mut said = self.until(expected);
        said.pop();
        self.earlier = said.into();
    }

    /// All that it says until this, and this.
    pub(crate) fn until(&mut self, last: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        while said.last().is_none_or(|line| line != last) {
            assert!(Instant::now() < deadline, "{last:?} does not come after {said:?}");
            said.push(self.next());
            assert!(!said.last().is_some_and(|line| line.starts_with("dead")), "{said:?}");
        }
        said
    }

    /// Ends it without giving it a chance to say a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Wants to hear of somebody's coming and going.
pub(crate) fn watch(socket: &mut Socket, user: UserId) {
    socket.send(&ClientFrame::Signal(ClientSignal::Watch { users: vec![user] }));
}

/// Waits until somebody is there, or has gone.
pub(crate) fn until_presence(socket: &mut Socket, user: UserId, wanted: Presence) {
    socket.until(|frame| match frame {
        ServerFrame::Signal(ServerSignal::Presence(all)) => {
            all.iter().find(|one| one.user == user && one.presence == wanted).map(|_| ())
        }
        _ => None,
    });
}
