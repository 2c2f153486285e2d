//! A server process, and plain blocking clients for it: shared by the test programs that start the real binary.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command as Process, ExitStatus, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use chinwag_protocol::{
    Answer, ClientFrame, Command, ConversationId, ConversationKind, Device, Entry, Event, Hello, History,
    LogId, Origin, PROTOCOL_VERSION, Query, Refused, Reply, Seq, ServerFrame, SessionId, SignedIn, Snapshot,
    UserId,
};
use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client::IntoClientRequest};

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_chinwag");

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// What it says of its troubles, once it has ended.
    errors: Option<JoinHandle<String>>,
    /// It runs under a tool; both are ended together.
    grouped: bool,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it printed before it was ready.
    pub(crate) greeting: String,
}

/// A data folder that goes when the test ends.
pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("chinwag-test-").tempdir().expect("a temporary folder")
}

const LIFTED: &str = include_str!("lifted.toml");

/// A configuration that lifts the rates, for tests that write fast.
pub(crate) fn lifted(folder: &Path) -> PathBuf {
    let file = folder.join("lifted.toml");
    std::fs::write(&file, LIFTED).expect("writable");
    file
}

impl Server {
    /// Starts a server on a data folder and waits until it answers.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// The same with rates lifted, for tests that write fast.
    pub(crate) fn start_lifted(data: &Path) -> Self {
        Self::start_with(data, &["--config", lifted(data).to_str().expect("plain")])
    }

    /// The same, with more arguments.
    pub(crate) fn start_with(data: &Path, more: &[&str]) -> Self {
        match Self::try_start(Process::new(BINARY), data, more) {
            Ok(server) => server,
            Err((status, said)) => panic!("the server ended with {status}: {said}"),
        }
    }

    /// The same as the child of a tool such as `strace`.
    pub(crate) fn start_under(mut tool: Process, data: &Path, more: &[&str]) -> Self {
        tool.arg(BINARY).process_group(0);
        match Self::try_start(tool, data, more) {
            Ok(mut server) => {
                server.grouped = true;
                server
            }
            Err((status, said)) => panic!("the server ended with {status}: {said}"),
        }
    }

    /// Starts `program` as a server; it may end instead, with what it said.
    pub(crate) fn try_start(
        mut program: Process,
        data: &Path,
        more: &[&str],
    ) -> Result<Self, (ExitStatus, String)> {
        program.arg("serve");
        if !more.contains(&"--listen") {
            program.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = program
            .arg("--data")
            .arg(data)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut errors = child.stderr.take().expect("piped");
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        let (sender, lines) = mpsc::channel();
        let output = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let (mut greeting, mut address) = (String::new(), None);
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(found) = address_in(&line) {
                address = address.or(Some(found));
            }
            greeting.push_str(&line);
            greeting.push('\n');
            // The last line of the greeting says that everything before it is true.
            if line.starts_with("Ready") {
                break;
            }
        }
        let Some(address) = address else {
            let status = child.wait().expect("it has ended");
            return Err((status, greeting + &errors.join().expect("the reader does not panic")));
        };
        Ok(Self { child, errors: Some(errors), grouped: false, address, greeting })
    }

    /// Its process id; under a tool, that of the server and not of the tool.
    pub(crate) fn pid(&self) -> u32 {
        let own = self.child.id();
        if !self.grouped {
            return own;
        }
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        children.ok().and_then(|all| all.split_whitespace().next()?.parse().ok()).unwrap_or(own)
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        // Under a tool only the server is killed, so that the tool writes down everything up to that moment.
        self.signal("KILL");
        self.wait();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Process::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits for its end; what it said of its troubles.
    pub(crate) fn last_words(&mut self) -> (ExitStatus, String) {
        let status = self.wait();
        let errors = self.errors.take().expect("asked for once");
        (status, errors.join().expect("the reader does not panic"))
    }

    /// Registers a user and signs in.
    pub(crate) fn register(&self, handle: &str) -> Person {
        Person::register(self.address, handle, None).expect("a free handle")
    }

    /// People, and an open group that the first of them owns and all are in.
    pub(crate) fn group_of<const N: usize>(
        &self,
        handles: [&str; N],
        name: &str,
    ) -> ([Person; N], ConversationId) {
        let people = handles.map(|handle| self.register(handle));
        let group = people[0].group(name);
        people[1..].iter().for_each(|person| person.join(group));
        (people, group)
    }

    /// The one-time token of the setup link it printed.
    pub(crate) fn setup_token(&self) -> Option<String> {
        let start = self.greeting.find("#/setup/")? + "#/setup/".len();
        Some(self.greeting[start..].split_whitespace().next()?.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.grouped && !matches!(self.child.try_wait(), Ok(Some(_))) {
            let group = format!("-{}", self.child.id());
            let _ = Process::new("kill").args(["-KILL", "--", &group]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let start = line.find("http://")? + "http://".len();
    line[start..].split(['/', ' ']).next()?.parse().ok()
}

/// The password of every test user.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A signed-in user of the HTTP API.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) address: SocketAddr,
    pub(crate) id: UserId,
    pub(crate) session: SessionId,
    pub(crate) token: String,
}

impl Person {
    /// The same person at another server process.
    pub(crate) fn at(&self, server: &Server) -> Self {
        Self { address: server.address, ..self.clone() }
    }

    /// Makes an account.
    pub(crate) fn register(
        address: SocketAddr,
        handle: &str,
        invite: Option<String>,
    ) -> Result<Self, Refused> {
        Self::enter(address, "/api/register", handle, invite)
    }

    /// Signs in to an account that exists.
    pub(crate) fn sign_in(address: SocketAddr, handle: &str) -> Result<Self, Refused> {
        Self::enter(address, "/api/sign-in", handle, None)
    }

    fn enter(address: SocketAddr, path: &str, handle: &str, invite: Option<String>) -> Result<Self, Refused> {
        let device = Device {
            handle: handle.to_owned(),
            password: PASSWORD.to_owned(),
            device: "test".to_owned(),
            invite,
            cookie: false,
        };
        let SignedIn { user, session, token, .. } = post(address, path, None, &device)?;
        Ok(Self { address, id: user, session, token: token.expect("asked for, not as a cookie") })
    }

    #[expect(clippy::needless_pass_by_value, reason = "a call reads better without a borrow")]
    pub(crate) fn command(&self, command: Command) -> Result<Reply, Refused> {
        post(self.address, "/api/command", Some(&self.token), &command)
    }

    #[expect(clippy::needless_pass_by_value, reason = "a call reads better without a borrow")]
    pub(crate) fn query(&self, query: Query) -> Result<Answer, Refused> {
        post(self.address, "/api/query", Some(&self.token), &query)
    }

    /// Makes a public group of one's own.
    pub(crate) fn group(&self, name: &str) -> ConversationId {
        let command = Command::CreateConversation {
            client_id: format!("make-{name}"),
            kind: ConversationKind::Group,
            name: name.to_owned(),
            handle: None,
            topic: String::new(),
            public: true,
            history: History::All,
            posting: None,
            members: Vec::new(),
        };
        conversation(self.command(command))
    }

    /// Opens the direct conversation with somebody.
    pub(crate) fn direct(&self, user: UserId) -> ConversationId {
        conversation(self.command(Command::OpenDirect { user }))
    }

    pub(crate) fn join(&self, conversation: ConversationId) {
        self.command(Command::Join { conversation }).expect("it is public");
    }

    /// Says something; its number.
    pub(crate) fn post(
        &self,
        conversation: ConversationId,
        client_id: &str,
        text: &str,
    ) -> Result<Seq, Refused> {
        match self.command(say(conversation, client_id, text))? {
            Reply::Posted(posted) => Ok(posted.seq),
            other => panic!("{other:?}"),
        }
    }

    /// Everything of a conversation that one may see, in order.
    pub(crate) fn log(&self, conversation: ConversationId) -> Vec<Entry> {
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let after = all.last().map_or(Seq::ZERO, |entry| entry.seq);
            let log = LogId::Conversation(conversation);
            match self.query(Query::Entries { log, after, limit: 200 }).expect("it is one's own") {
                Answer::Entries { entries, more } => {
                    all.extend(entries);
                    if !more {
                        return all;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The texts of all messages, in order, with their client ids.
    pub(crate) fn texts(&self, conversation: ConversationId) -> Vec<(Option<String>, String)> {
        messages(&self.log(conversation))
    }

    /// Opens a WebSocket from a fresh snapshot.
    pub(crate) fn connect(&self) -> Socket {
        Socket::open(self, None).expect("the session is good")
    }

    /// The same with a receive buffer so small that next to nothing fits in.
    pub(crate) fn connect_narrowly(&self) -> Socket {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(4_096)?;
            socket.connect(self.address).await?.into_std()
        });
        let stream = stream.expect("the server listens");
        stream.set_nonblocking(false).expect("a live socket");
        Socket::over(self, stream, None).expect("the session is good")
    }

    /// Opens a WebSocket from where a former one was.
    pub(crate) fn resume(&self, origin: Origin) -> Socket {
        Socket::open(self, Some(origin)).expect("the session is good")
    }
}

/// A message to post.
pub(crate) fn say(conversation: ConversationId, client_id: &str, text: &str) -> Command {
    Command::Post {
        conversation,
        client_id: client_id.to_owned(),
        text: text.to_owned(),
        attachments: Vec::new(),
        reply_to: None,
        thread: None,
        sent_at: None,
    }
}

/// The texts of all messages, with their client ids.
pub(crate) fn messages(entries: &[Entry]) -> Vec<(Option<String>, String)> {
    entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Message(body) => Some((entry.client_id.clone(), body.text.clone())),
            _ => None,
        })
        .collect()
}

fn conversation(reply: Result<Reply, Refused>) -> ConversationId {
    match reply {
        Ok(Reply::Conversation { conversation }) => conversation,
        other => panic!("{other:?}"),
    }
}

/// One request on a connection of its own.
pub(crate) fn post<T: DeserializeOwned>(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
    body: &impl Serialize,
) -> Result<T, Refused> {
    let body = serde_json::to_vec(body).expect("serialisable");
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n{authorization}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let unreachable = |error: std::io::Error| {
        Refused::new(chinwag_protocol::Kind::Unavailable, "unreachable", error.to_string())
    };
    let mut answer = Vec::new();
    let mut talk = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)?;
        stream.read_to_end(&mut answer).map(|_count| ())
    };
    talk().map_err(unreachable)?;
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let (head, body) = answer.split_at(split);
    let body = body.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let read = |error: serde_json::Error| {
        Refused::new(
            chinwag_protocol::Kind::Unavailable,
            "unreadable",
            format!("{error}: {head} {}", String::from_utf8_lossy(body)),
        )
    };
    if status.starts_with('2') {
        serde_json::from_slice(body).map_err(read)
    } else {
        Err(serde_json::from_slice(body).map_err(read)?)
    }
}

/// A WebSocket connection of a user.
pub(crate) struct Socket {
    socket: WebSocket<TcpStream>,
    /// The state it started from; none if it resumed.
    pub(crate) snapshot: Option<Snapshot>,
    epoch: String,
    positions: Vec<(LogId, Seq)>,
    questions: u64,
}

impl Socket {
    fn open(person: &Person, resume: Option<Origin>) -> Result<Self, Refused> {
        let stream = TcpStream::connect(person.address).expect("the server listens");
        Self::over(person, stream, resume)
    }

    fn over(person: &Person, stream: TcpStream, resume: Option<Origin>) -> Result<Self, Refused> {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let request = format!("ws://{}/api/ws", person.address).into_client_request().expect("a request");
        let (socket, _response) =
            tokio_tungstenite::tungstenite::client(request, stream).expect("an upgrade");
        let mut socket =
            Self { socket, snapshot: None, epoch: String::new(), positions: Vec::new(), questions: 0 };
        if let Some(origin) = &resume {
            socket.epoch.clone_from(&origin.epoch);
            socket.positions.clone_from(&origin.positions);
        }
        let token = Some(person.token.clone());
        socket.send(&ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, token, resume }));
        match socket.next() {
            Some(ServerFrame::Welcome(welcome)) => {
                socket.epoch = welcome.epoch;
                socket.positions.clone_from(&welcome.snapshot.positions);
                for view in &welcome.snapshot.conversations {
                    socket.positions.push((LogId::Conversation(view.id), view.head.seq));
                }
                socket.snapshot = Some(welcome.snapshot);
                Ok(socket)
            }
            Some(ServerFrame::Resumed(_)) => Ok(socket),
            Some(ServerFrame::Closing(closing)) => Err(closing.reason),
            other => panic!("{other:?}"),
        }
    }

    /// Where a new connection can go on.
    pub(crate) fn origin(&self) -> Origin {
        Origin { epoch: self.epoch.clone(), positions: self.positions.clone() }
    }

    pub(crate) fn send(&mut self, frame: &ClientFrame) {
        let text = serde_json::to_string(frame).expect("serialisable");
        // A cut connection shows when reading.
        let _ = self.socket.send(Message::Text(text.into()));
    }

    /// Its own end.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.socket.get_ref().local_addr().expect("a live socket")
    }

    /// Cuts the connection without a word.
    pub(crate) fn hang_up(&mut self) {
        // It may have ended by itself.
        let _ = self.socket.get_ref().shutdown(std::net::Shutdown::Both);
    }

    /// Asks for a change without waiting.
    pub(crate) fn command(&mut self, command: Command) -> u64 {
        self.questions += 1;
        self.send(&ClientFrame::Command { id: self.questions, command });
        self.questions
    }

    /// The next frame; `None` when the connection has ended.
    pub(crate) fn next(&mut self) -> Option<ServerFrame> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let frame = serde_json::from_str(&text).expect("a frame of the protocol");
                    if let ServerFrame::Entry(entry) = &frame {
                        self.note(entry);
                    }
                    return Some(frame);
                }
                Ok(Message::Close(_)) => return None,
                Ok(_) => {}
                Err(tokio_tungstenite::tungstenite::Error::Io(error))
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    panic!("nothing came for {PATIENCE:?}");
                }
                Err(_ended) => return None,
            }
        }
    }

    fn note(&mut self, entry: &Entry) {
        match self.positions.iter_mut().find(|(log, _)| *log == entry.log) {
            Some((_, seq)) => {
                assert!(entry.seq <= seq.next(), "a gap: {} after {seq} of {}", entry.seq, entry.log);
                *seq = entry.seq.max(*seq);
            }
            None => self.positions.push((entry.log, entry.seq)),
        }
    }

    /// Reads until `wanted` answers.
    pub(crate) fn until<T>(&mut self, mut wanted: impl FnMut(&ServerFrame) -> Option<T>) -> T {
        loop {
            let frame = self.next().expect("the connection is open");
            if let Some(found) = wanted(&frame) {
                return found;
            }
        }
    }

    /// Reads until this message has come; all entries on the way.
    pub(crate) fn until_text(&mut self, wanted: &str) -> Vec<Entry> {
        let mut seen = Vec::new();
        self.until(|frame| {
            let ServerFrame::Entry(entry) = frame else { return None };
            seen.push(entry.clone());
            match &entry.event {
                Event::Message(body) if body.text == wanted => Some(()),
                _ => None,
            }
        });
        seen
    }

    /// Reads to the end of the connection; the reason it was given.
    pub(crate) fn until_closed(&mut self) -> (Vec<ServerFrame>, Option<chinwag_protocol::Closing>) {
        let (mut frames, mut closing) = (Vec::new(), None);
        while let Some(frame) = self.next() {
            match frame {
                ServerFrame::Closing(said) => closing = Some(said),
                other => frames.push(other),
            }
        }
        (frames, closing)
    }
}
