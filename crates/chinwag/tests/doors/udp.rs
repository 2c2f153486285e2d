//! The door `udp_ack` and `chinwag udp`, with real processes: an old client, our client, and somebody on the web.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};

use chinwag_protocol::{Answer, ConversationId, Query, UserId};

use crate::{
    support::{BINARY, PATIENCE, Person, Server, folder},
    wires::{at_home, printed},
};

const EVERYONE: ConversationId = ConversationId(1);

/// The old program; see its own head.
const OLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doors/udp_ack.py");
const FORGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doors/udp_forged.py");

/// A server with this door.
fn server(folder: &Path, settings: &str) -> (Server, SocketAddr) {
    let file: PathBuf = folder.join("doors.toml");
    std::fs::write(&file, format!("[doors.udp_ack]\nopen = true\n{settings}")).expect("writable");
    let server = Server::start_with(&folder.join("data"), &["--config", file.to_str().expect("UTF-8")]);
    let line = server.greeting.lines().find(|line| line.contains("udp_ack ")).expect("the door is told");
    let words = line.split_whitespace().skip_while(|word| *word != "udp_ack");
    let address =
        words.skip(1).map(|word| word.trim_end_matches([':', ','])).next().expect("where it listens");
    let address = address.parse().expect("an address");
    (server, address)
}

/// A port that nobody has.
fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("bound").port()
}

/// A program with a prompt.
struct Console {
    child: Child,
    said: Receiver<String>,
    /// All lines so far.
    lines: Vec<String>,
}

impl Console {
    fn start(mut program: Process) -> Self {
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("it starts");
        let mut output = child.stdout.take().expect("piped");
        let (tell, said) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut text, mut buffer) = (String::new(), [0; 4_096]);
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                text.push_str(&String::from_utf8_lossy(&buffer[..count]));
                while let Some(end) = text.find('\n') {
                    let line: String = text.drain(..=end).collect();
                    let _ = tell.send(line.trim_end().trim_start_matches(">>> ").to_owned());
                }
            }
        });
        Self { child, said, lines: Vec::new() }
    }

    fn old(name: &str, at: SocketAddr) -> Self {
        let mut program = Process::new("python3");
        program.args([OLD, name, &at.ip().to_string(), &at.port().to_string()]);
        Self::start(program)
    }

    fn ours(name: &str, at: SocketAddr) -> Self {
        let mut program = Process::new(BINARY);
        let (server, own) = (at.port().to_string(), free_port().to_string());
        program.args(["udp", "-c", name, &at.ip().to_string(), &server, &own]);
        Self::start(program)
    }

    fn type_in(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    /// Reads until there is such a line, from after the last one that was waited for.
    fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("what is waited for does not come: {:?}", self.lines));
            self.lines.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    fn shows(&mut self, wanted: &str) {
        self.until(|line| line == wanted);
    }

    /// How often a line was shown until now.
    fn count(&mut self, wanted: impl Fn(&str) -> bool) -> usize {
        self.lines.extend(self.said.try_iter());
        self.lines.iter().filter(|line| wanted(line)).count()
    }

    /// Ends its input; its exit code.
    fn ends(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end: {:?}", self.lines);
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn texts(person: &Person, conversation: ConversationId) -> Vec<String> {
    person.texts(conversation).into_iter().map(|(_, text)| text).collect()
}

/// The direct conversation with somebody of this handle.
fn direct(person: &Person, handle: &str) -> ConversationId {
    match person.query(Query::Handle { handle: handle.to_owned() }) {
        Ok(Answer::User(profile)) => person.direct(profile.id),
        other => panic!("{other:?}"),
    }
}

#[test]
fn udp_ack_an_old_client_talks_with_ours_and_with_the_web() {
    let folder = folder();
    let (server, at) = server(folder.path(), "listen = '127.0.0.1:0'\n");
    let anna = server.register("anna");
    let mut x = Console::old("x", at);
    x.shows("[Welcome, You are registered.]");
    let mut y = Console::ours("y", at);
    y.shows("[Welcome, You are registered.]");
    // Both tables are told: anna and the other one.
    y.shows("[client table updated.]");
    y.type_in("send_all group  hello");
    y.shows("[Message received by Server.]");
    x.shows("Channel-Message y: group hello");
    y.type_in("send anna from afar");
    y.shows("[Message received by anna]");
    let talk = direct(&anna, "y");
    assert_eq!(texts(&anna, talk), ["from afar"]);
    anna.post(talk, "native", "to y").expect("they talk");
    y.shows("anna: to y");
    // From client to client. The old one's race may bring it through the server too; it is shown once.
    x.type_in("send y hello you");
    y.shows("x: hello you");
    y.type_in("send x hi");
    x.shows("y: hi");
    y.shows("[Message received by x]");
    x.type_in("dereg x");
    x.shows("[You are Offline. Bye.]");
    y.type_in("send x off1");
    y.shows("[No ACK from x, message sent to server. ]");
    y.shows("[Messages received by the server and saved]");
    anna.post(EVERYONE, "away", "while away").expect("a member");
    y.shows("Channel-Message anna: while away");
    x.kill();
    // The same name from another port: taken, and his again with `reg`.
    let mut x = Console::old("x", at);
    x.shows("[Please sign in.]");
    x.type_in("reg x");
    x.shows("[You have messages]");
    let stored = x.until(|line| line.ends_with("while away"));
    assert!(stored.starts_with("Channel-Message: anna: "), "{stored}");
    x.type_in("send_all back");
    y.shows("Channel-Message x: back");
    assert_eq!(x.count(|line| line.starts_with("y: ") && line.ends_with(" off1")), 1, "{:?}", x.lines);
    assert_eq!(x.count(|line| line.ends_with("while away")), 1, "{:?}", x.lines);
    assert_eq!(y.count(|line| line == "x: hello you"), 1, "{:?}", y.lines);
    assert_eq!(texts(&anna, EVERYONE), ["group  hello", "while away", "back"]);
    assert_eq!(y.ends(), Some(0));
}

#[test]
fn udp_ack_much_that_waited_comes_once_and_in_order() {
    const WAITING: usize = 300;
    let folder = folder();
    let limits = "[limits]\nmessages_per_account = { per_s = 1e6, burst = 1000000 }\ncommands_per_account = { per_s = 1e6, burst = 1000000 }\n";
    let (server, at) = server(folder.path(), &format!("listen = '127.0.0.1:0'\n{limits}"));
    let anna = server.register("anna");
    let mut x = Console::ours("x", at);
    x.shows("[client table updated.]");
    x.type_in("dereg x");
    x.shows("[You are Offline. Bye.]");
    for number in 0..WAITING {
        anna.post(EVERYONE, &format!("n{number}"), &format!("number {number}")).expect("a member");
    }
    x.type_in("reg x");
    let last = format!("number {}", WAITING - 1);
    x.until(|line| line.ends_with(&last));
    let shown: Vec<&String> = x.lines.iter().filter(|line| line.contains(" number ")).collect();
    assert_eq!(shown.len(), WAITING);
    assert!(shown.iter().enumerate().all(|(at, line)| line.ends_with(&format!(" number {at}"))), "{shown:?}");
    assert_eq!(x.ends(), Some(0));
}

#[test]
fn udp_ack_clients_go_on_after_the_server_was_killed() {
    let folder = folder();
    let (server, at) = server(folder.path(), "listen = '127.0.0.1:0'\n");
    let anna = server.register("anna");
    let mut y = Console::ours("y", at);
    y.shows("[client table updated.]");
    y.type_in("send_all before");
    y.shows("[Message received by Server.]");
    server.kill();
    let (server, again) = self::server(folder.path(), &format!("listen = '{at}'\n"));
    assert_eq!(again, at);
    y.type_in("send_all after");
    y.shows("[Message received by Server.]");
    let anna = anna.at(&server);
    assert_eq!(texts(&anna, EVERYONE), ["before", "after"]);
    anna.post(EVERYONE, "hears", "y hears").expect("a member");
    y.shows("Channel-Message anna: y hears");
    assert_eq!(y.ends(), Some(0));
}

#[test]
fn udp_ack_nobody_takes_a_name_with_a_password() {
    let folder = folder();
    let (server, at) = server(folder.path(), "listen = '127.0.0.1:0'\n");
    server.register("anna");
    let mut thief = Console::ours("anna", at);
    thief.shows("[Please sign in.]");
    thief.type_in("reg anna");
    thief.shows("[Please sign in.]");
    assert_eq!(thief.ends(), Some(0));
    // What is said in her name by somebody else is not hers. The answer to something later says that it was heard.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    socket.send_to(b"send_all forged anna", at).expect("sent");
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 2_048];
    let count = loop {
        assert!(Instant::now() < deadline, "nobody can register any more");
        socket.send_to(b"register probe", at).expect("sent");
        if let Ok(count) = socket.recv(&mut buffer) {
            break count;
        }
    };
    assert_eq!(&buffer[..count], b"registered [Welcome, You are registered.]");
    let anna = Person::sign_in(server.address, "anna").expect("her password");
    assert!(texts(&anna, EVERYONE).is_empty());
    // She is told, once an hour: the hour may have changed meanwhile.
    let told = texts(&anna, anna.direct(UserId(1)));
    assert!((1..=2).contains(&told.len()), "{told:?}");
    assert!(told[0].starts_with("Somebody at 127.0.0.1 tried to come in by your name"), "{told:?}");
}

#[test]
fn udp_ack_a_wrong_address_is_a_clear_end() {
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut client = Console::ours("x", nobody.local_addr().expect("bound"));
    client.shows("[Server not responding]");
    client.shows("[Existing]");
    assert_eq!(client.ends(), Some(1));
    let mut buffer = [0; 64];
    for _ in 0..5 {
        let count = nobody.recv(&mut buffer).expect("one of five tries");
        assert_eq!(&buffer[..count], b"register x");
    }
    nobody.set_nonblocking(true).expect("a socket");
    assert!(nobody.recv(&mut buffer).is_err(), "a sixth try");
}

#[test]
fn udp_ack_the_server_of_old_is_ours_with_one_door() {
    let folder = folder();
    let port = free_port();
    let mut program = Process::new(BINARY);
    program.args(["udp", "-s", &port.to_string(), "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
    program.stderr(Stdio::null());
    let mut server = Console::start(program);
    server.shows("server is ready");
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let mut client = Console::ours("x", at);
    client.shows("[Welcome, You are registered.]");
    // The port that was asked for is taken now.
    let taken = Process::new(BINARY)
        .args(["udp", "-c", "y", "", &port.to_string(), &port.to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    assert_eq!(taken.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&taken.stderr).contains("[try a different port #]"));
    let wrong = Process::new(BINARY).args(["udp", "-c", "y"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("-c <name> <server-ip> <server-port> <client-port>]"), "{said}");
    assert_eq!((wrong.status.code(), client.ends()), (Some(2), Some(0)));
}

/// A way that loses, doubles and holds back three of ten datagrams, in both directions, once told to.
struct BadWay {
    address: SocketAddr,
    bad: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl BadWay {
    fn new(to: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let back = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let way =
            Self { address: front.local_addr().expect("bound"), bad: Arc::default(), over: Arc::default() };
        back.connect(to).expect("an address");
        for socket in [&front, &back] {
            socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        }
        let (bad, over) = (Arc::clone(&way.bad), Arc::clone(&way.over));
        let (front_too, back_too) =
            (front.try_clone().expect("a socket"), back.try_clone().expect("a socket"));
        let client = Arc::new(std::sync::OnceLock::new());
        let (bad_too, over_too, client_too) = (Arc::clone(&bad), Arc::clone(&over), Arc::clone(&client));
        std::thread::spawn(move || {
            pass(1, &front, &bad, &over, |bytes, from| {
                client.get_or_init(|| from);
                let _ = back.send(bytes);
            });
        });
        std::thread::spawn(move || {
            pass(2, &back_too, &bad_too, &over_too, |bytes, _| {
                if let Some(client) = client_too.get() {
                    let _ = front_too.send_to(bytes, client);
                }
            });
        });
        way
    }
}

impl Drop for BadWay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn pass(
    seed: u64,
    from: &UdpSocket,
    bad: &AtomicBool,
    over: &AtomicBool,
    mut on: impl FnMut(&[u8], SocketAddr),
) {
    let (mut random, mut held, mut buffer) = (seed, None::<Vec<u8>>, [0; 2_048]);
    while !over.load(Ordering::Relaxed) {
        let Ok((count, source)) = from.recv_from(&mut buffer) else { continue };
        let bytes = &buffer[..count];
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match if bad.load(Ordering::Relaxed) { (random >> 33) % 10 } else { 9 } {
            0 => {}
            1 => {
                on(bytes, source);
                on(bytes, source);
            }
            2 if held.is_none() => {
                held = Some(bytes.to_vec());
                continue;
            }
            _ => on(bytes, source),
        }
        if let Some(late) = held.take() {
            on(&late, source);
        }
    }
}

#[test]
fn udp_ack_what_is_lost_doubled_and_late_is_stored_once() {
    let folder = folder();
    let (server, at) = server(folder.path(), "listen = '127.0.0.1:0'\n");
    let anna = server.register("anna");
    let way = BadWay::new(at);
    let mut y = Console::ours("y", way.address);
    y.shows("[client table updated.]");
    way.bad.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for number in 0..12 {
        // The same words each time: two are two, and one is one.
        y.type_in("send_all again");
        let line = y.until(|line| line.ends_with("Server.]") || line == "[Server not responding.]");
        if line == "[Message received by Server.]" {
            acknowledged.push(number);
        }
    }
    way.bad.store(false, Ordering::Relaxed);
    y.type_in("send_all the last");
    y.shows("[Message received by Server.]");
    let stored = texts(&anna, EVERYONE);
    assert!(stored.len() > acknowledged.len() && stored.len() <= 13, "{acknowledged:?}: {stored:?}");
    assert!(!acknowledged.is_empty());
    // The other way round: each is shown once, however often it came.
    way.bad.store(true, Ordering::Relaxed);
    for number in 0..8 {
        anna.post(EVERYONE, &format!("n{number}"), &format!("number {number}")).expect("a member");
        y.shows(&format!("Channel-Message anna: number {number}"));
    }
    way.bad.store(false, Ordering::Relaxed);
    anna.post(EVERYONE, "end", "end").expect("a member");
    y.shows("Channel-Message anna: end");
    assert_eq!(y.count(|line| line.starts_with("Channel-Message anna: number")), 8, "{:?}", y.lines);
    assert_eq!(y.ends(), Some(0));
}

/// A network namespace that goes when the test ends.
struct Space(String);

impl Space {
    fn new() -> Self {
        let space = Self(format!("cwudp{}", std::process::id()));
        let name = space.0.clone();
        for words in [
            format!("netns add {name}"),
            format!("-n {name} link set lo up"),
            format!("-n {name} link add forged0 type veth peer name forged1"),
            // Nobody answers who has which address: what is sent, leaves.
            format!("-n {name} link set forged0 arp off"),
            format!("-n {name} addr add 203.0.113.1/24 dev forged0"),
            format!("-n {name} link set forged0 up"),
            format!("-n {name} link set forged1 up"),
        ] {
            let done = Process::new("ip").args(words.split(' ')).output();
            let done = done.unwrap_or_else(|error| panic!("this test needs `ip` of iproute2: {error}"));
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(
                done.status.success(),
                "this test needs the right to make a network namespace (root): {said}"
            );
        }
        space
    }

    fn run(&self, program: &str) -> Process {
        let mut tool = Process::new("ip");
        tool.args(["netns", "exec", &self.0, program]);
        tool
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Process::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[test]
fn g4_a_source_that_proved_nothing_gets_no_more_bytes_than_it_sent() {
    let (folder, space) = (folder(), Space::new());
    let settings = "plaintext = true\nregistration = 'open'\n[doors.udp_ack]\nopen = true\nlisten = '203.0.113.1:5555'\n";
    let file = folder.path().join("doors.toml");
    std::fs::write(&file, settings).expect("writable");
    let mut tool = Process::new("ip");
    tool.args(["netns", "exec", &space.0]);
    let config = ["--config", file.to_str().expect("UTF-8")];
    let server = Server::start_under(tool, &folder.path().join("data"), &config);
    let mut program = space.run("python3");
    program.args([FORGER, "5555"]);
    let mut forger = Console::start(program);
    forger.shows("forged");
    // What is said to all and to one of them goes to nobody who may be somebody else.
    for arguments in [
        &["register", "anna"][..],
        &["send", "--to", "@longname0", "wake up"],
        &["send", "--to", "#Everyone", "wake up"],
    ] {
        printed(at_home(space.run(BINARY), &folder.path().join("home"), server.address, arguments));
    }
    forger.type_in("");
    forger.shows("done");
    let said = forger.lines.join("\n");
    let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
    for line in forger.lines.iter().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())) {
        let words: Vec<&str> = line.split(' ').collect();
        let [address, port, sent, got] = words[..] else { panic!("{line}") };
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let has_proved = address == "203.0.113.99";
        assert_eq!(number(got) > number(sent), has_proved, "more than was sent, or less: {line}");
        assert!(number(port) >= 1024 || number(got) == 0, "a reserved port is answered: {line}");
        *answered.entry(address).or_default() += usize::from(number(got) > 0);
    }
    assert_eq!(answered["203.0.113.20"], 0, "garbage is answered: {said}");
    assert_eq!(answered["203.0.113.22"], 5, "one address makes five guests a minute: {said}");
    assert_eq!(answered["203.0.113.49"], 1, "{said}");
}
