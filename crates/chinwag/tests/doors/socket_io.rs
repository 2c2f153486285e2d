//! The door `socket_io` with real processes: python-socketio on both transports, socket.io-client, and raw requests.

use std::{
    cell::Cell,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command as Process, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use chinwag_protocol::{Answer, ConversationId, Query, Seq};
use serde_json::{Value, json};

use super::support::{PASSWORD, PATIENCE, Person, Server, folder};

/// Of the system, whose packages the tests install; another one in the way may not have them.
const PYTHON: &str = "/usr/bin/python3";

/// Where npm's packages are.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/package.json");

#[derive(Clone, Copy)]
enum Library {
    Python,
    Node,
}

/// An old client.
struct Client {
    child: Child,
    orders: Option<ChildStdin>,
    told: Receiver<Value>,
}

impl Client {
    fn start(library: Library, transport: &str, door: SocketAddr) -> Self {
        let script = |name: &str| format!("{}/tests/doors/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut program = match library {
            Library::Python => Process::new(if Path::new(PYTHON).exists() { PYTHON } else { "python3" }),
            Library::Node => Process::new("node"),
        };
        let name = match library {
            Library::Python => "socket_io.py",
            Library::Node => "socket_io.mjs",
        };
        program.args([&script(name), &format!("http://{door}"), transport]);
        if matches!(library, Library::Node) {
            program.arg(PACKAGES);
        }
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cargo xtask test` installs what it needs");
        let output = child.stdout.take().expect("piped");
        let (sender, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).expect("it writes objects"));
            }
        });
        let orders = child.stdin.take();
        Self { child, orders, told }
    }

    fn order(&mut self, order: &Value) {
        let orders = self.orders.as_mut().expect("open");
        writeln!(orders, "{order}").expect("it reads");
    }

    fn emit(&mut self, event: &str, data: &Value) {
        self.order(&json!({"do": "emit", "event": event, "data": data}));
    }

    /// The next thing it tells that is not about who comes and goes.
    fn next(&self) -> Value {
        loop {
            let told = self.told.recv_timeout(PATIENCE).expect("it still tells something");
            if !told["data"]["username"].is_string() {
                return told;
            }
        }
    }

    fn answer(&self) -> Value {
        let told = self.next();
        told.get("answer").unwrap_or_else(|| panic!("no answer but {told}")).clone()
    }

    /// Waits until somebody comes or goes.
    fn wait_for(&self, event: &str, name: &str) {
        let wanted = json!({"event": event, "data": {"username": name}});
        let deadline = Instant::now() + PATIENCE;
        while self.told.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect("in time")
            != wanted
        {}
    }

    /// The next message: from whom, in which room, and its text.
    fn message(&self) -> (String, String, String) {
        let told = self.next();
        assert_eq!(told["event"], "received_message", "{told}");
        let part = |name: &str| told["data"][name].as_str().expect("a text").to_owned();
        (part("sender"), part("conversation_room"), part("content"))
    }

    fn hears(&self, text: &str) {
        assert_eq!(self.message(), ("Lisa".to_owned(), "Avi&Lisa".to_owned(), text.to_owned()));
    }

    /// Logs in, connects, and joins the room with Lisa.
    fn come(&mut self) {
        self.order(&json!({"do": "log_in", "username": "Avi", "password": PASSWORD}));
        assert_eq!(self.answer(), json!({"result": "success"}));
        self.order(&json!({"do": "connect"}));
        assert_eq!(self.answer(), json!("connected"));
        self.emit("join", &json!({"client": "Avi", "room": "Avi&Lisa"}));
        assert_eq!(self.answer(), json!({"result": "success"}));
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(data: &Path) -> (Server, SocketAddr) {
    serve_with(data, &["--door", "socket_io=127.0.0.1:0"])
}

fn serve_with(data: &Path, more: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start_with(data, more);
    let mut words = server.greeting.split_whitespace().skip_while(|word| *word != "socket_io").skip(1);
    let address = words.next().expect("the greeting names the door").trim_end_matches(':');
    let address = address.parse().expect("an address");
    (server, address)
}

/// Asks until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} in time");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn until_delivered(from: &Person, conversation: ConversationId, message: Seq, to: &Person) {
    let info = Query::MessageInfo { conversation, message };
    until("delivered", || match from.query(info.clone()) {
        Ok(Answer::MessageInfo(info)) => info.delivered_to.contains(&to.id),
        other => panic!("{other:?}"),
    });
}

/// Signs in, talks with somebody of the native protocol, goes, is killed, and comes back, the server too; hears
/// everything, and in its order.
fn a_life(library: Library, transport: &str) {
    let folder = folder();
    let (server, door) = serve(folder.path());
    let (lisa, avi) = (server.register("Lisa"), server.register("Avi"));
    let room = lisa.direct(avi.id);
    let posts = Cell::new(0);
    let post = |lisa: &Person, text: &str| {
        posts.set(posts.get() + 1);
        lisa.post(room, &format!("post-{}", posts.get()), text).expect("a message")
    };

    let mut client = Client::start(library, transport, door);
    client.order(&json!({"do": "log_in", "username": "Avi", "password": "wrong password"}));
    assert_eq!(client.answer(), json!({"result": "Invalid credentials"}));
    client.come();
    client.order(&json!({"do": "contacts", "name": "Avi"}));
    let list = client.answer();
    assert_eq!(list["contacts"]["Lisa"], "Avi&Lisa");
    assert_eq!(list["contacts"]["Everyone"], "#Everyone");
    assert_eq!(list["all_existing_contacts"], json!(["Admin", "Avi", "Lisa", "chinwag"]));
    client.emit("join", &json!({"client": "Avi", "room": "Era&Lisa"}));
    assert_eq!(client.answer(), json!({"error": "Invalid request, there is no such room"}));

    // Presence of a native client, both ways.
    let socket = lisa.connect();
    client.wait_for("new_user_online", "Lisa");
    drop(socket);
    client.wait_for("user_has_gone_offline", "Lisa");

    // Live, both ways: a text is the same text.
    let text = "grüße, 😀 \"quoted\" <b>\\ &amp;";
    post(&lisa, text);
    client.hears(text);
    let said = json!({"sender": "Avi", "conversation_room": "Avi&Lisa", "content": text});
    client.emit("client_sends_message", &said);
    assert_eq!(client.message(), ("Avi".into(), "Avi&Lisa".into(), text.into()));
    until("stored", || lisa.texts(room).iter().filter(|(_, stored)| stored == text).count() == 2);

    // It goes, and comes back to what waited for it.
    client.order(&json!({"do": "disconnect"}));
    assert_eq!(client.next(), json!({"gone": true}));
    for text in ["one", "two"] {
        post(&lisa, text);
    }
    let mut client = Client::start(library, transport, door);
    client.come();
    client.hears("one");
    client.hears("two");
    let three = post(&lisa, "three");
    client.hears("three");
    until_delivered(&lisa, room, three, &avi);

    // It is killed, and comes back.
    client.kill();
    post(&lisa, "four");
    let mut client = Client::start(library, transport, door);
    client.come();
    client.hears("four");

    // And so is the server. How far a client has come is written once a second, so what it heard last it may hear
    // again, in its order; nothing is missing.
    server.kill();
    let (server, door) = serve(folder.path());
    let lisa = lisa.at(&server);
    post(&lisa, "five");
    let mut client = Client::start(library, transport, door);
    client.come();
    let heard: Vec<String> =
        std::iter::repeat_with(|| client.message().2).take_while(|text| text != "five").collect();
    assert!(["three".to_owned(), "four".to_owned()].ends_with(&heard), "{heard:?}");
    post(&lisa, "six");
    client.hears("six");
}

#[test]
fn python_socketio_lives_on_polling() {
    a_life(Library::Python, "polling");
}

#[test]
fn python_socketio_lives_on_a_websocket() {
    a_life(Library::Python, "websocket");
}

#[test]
fn socket_io_client_lives_on_polling() {
    a_life(Library::Node, "polling");
}

#[test]
fn socket_io_client_lives_on_both_with_an_upgrade() {
    a_life(Library::Node, "both");
}

#[test]
fn the_early_dialect_needs_no_login_at_an_open_door() {
    let folder = folder();
    let file = folder.path().join("doors.toml");
    std::fs::write(&file, "[doors.socket_io]\nlisten = \"127.0.0.1:0\"\nopen = true\n").expect("writable");
    let (server, door) = serve_with(folder.path(), &["--config", file.to_str().expect("UTF-8")]);
    let era = server.register("Era");
    let mut bravo = Client::start(Library::Python, "polling", door);
    bravo.order(&json!({"do": "contacts", "name": "Bravo"}));
    assert_eq!(bravo.answer()["contacts"]["Era"], "Bravo&Era");
    // A name that has a password is nobody's without it.
    bravo.order(&json!({"do": "contacts", "name": "Era"}));
    assert!(bravo.answer()["error"].is_string());
    bravo.order(&json!({"do": "connect"}));
    assert_eq!(bravo.answer(), json!("connected"));
    bravo.emit("join", &json!({"client": "Bravo", "room": "Bravo&Era"}));
    assert_eq!(bravo.answer(), json!({"result": "success"}));
    bravo.wait_for("new_user_online", "Bravo");
    let said = json!({"sender": "Bravo", "conversation_room": "Bravo&Era", "content": "hello era"});
    bravo.emit("client_sends_message", &said);
    assert_eq!(bravo.message(), ("Bravo".into(), "Bravo&Era".into(), "hello era".into()));
    let Ok(Answer::User(profile)) = era.query(Query::Handle { handle: "Bravo".to_owned() }) else {
        panic!("Bravo is a user of this server");
    };
    let room = era.direct(profile.id);
    assert_eq!(era.texts(room).pop().map(|(_, text)| text).as_deref(), Some("hello era"));
    era.post(room, "answer", "hello bravo").expect("a message");
    assert_eq!(bravo.message(), ("Era".into(), "Bravo&Era".into(), "hello bravo".into()));
}

#[test]
fn a_client_that_is_killed_while_it_polls_is_soon_gone() {
    let folder = folder();
    let (server, door) = serve(folder.path());
    server.register("Lisa");
    server.register("Avi");
    let mut lisa = Client::start(Library::Node, "websocket", door);
    let mut avi = Client::start(Library::Python, "polling", door);
    for (client, name) in [(&mut lisa, "Lisa"), (&mut avi, "Avi")] {
        client.order(&json!({"do": "log_in", "username": name, "password": PASSWORD}));
        assert_eq!(client.answer(), json!({"result": "success"}));
        client.order(&json!({"do": "connect"}));
        assert_eq!(client.answer(), json!("connected"));
    }
    for (client, name) in [(&mut lisa, "Lisa"), (&mut avi, "Avi")] {
        client.emit("join", &json!({"client": name, "room": "Avi&Lisa"}));
        assert_eq!(client.answer(), json!({"result": "success"}));
    }
    lisa.wait_for("new_user_online", "Avi");
    avi.kill();
    // Neither tells the server that it lives. If it were the heartbeat that missed Avi, it would have missed Lisa
    // before, who joined before him, and ended her connection.
    lisa.wait_for("user_has_gone_offline", "Avi");
}

/// One request on a connection of its own: its status, and the rest.
fn ask(door: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(door).expect("the door is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{head}\r\nHost: {door}\r\nConnection: close\r\n{length}\r\n{body}");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    // A refused body may be cut off with a reset after the answer.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer to {head}: {answer}")), answer)
}

#[test]
fn what_is_not_of_this_wire_is_refused() {
    const OPEN: &str = "GET /socket.io/?transport=polling&EIO=4 HTTP/1.1";
    let folder = folder();
    let (server, door) = serve(folder.path());
    let (status, opened) = ask(door, OPEN, "");
    assert!(status == 200 && opened.contains("\"pingInterval\":25000,\"pingTimeout\":20000"), "{opened}");
    assert!(!opened.to_lowercase().contains("access-control"), "no page of another site may read this");
    for (head, expected) in [
        ("GET /socket.io/?transport=polling&EIO=3 HTTP/1.1", 400),
        ("GET /socket.io/?transport=polling HTTP/1.1", 400),
        ("GET /socket.io/?transport=carrier_pigeon&EIO=4 HTTP/1.1", 400),
        ("GET /socket.io/?transport=polling&EIO=4&sid=AAAAAAAAAAAAAAHs HTTP/1.1", 400),
        ("GET /socket.io/?transport=polling&EIO=4 HTTP/1.1\r\nOrigin: http://evil.example", 403),
        ("GET /socket.io/?transport=polling&EIO=4 HTTP/1.1\r\nOrigin: null", 403),
        ("GET / HTTP/1.1", 404),
        ("GET /log_in HTTP/1.1", 405),
        ("GET /get_contacts_list/Lisa HTTP/1.1", 200),
    ] {
        let (status, answer) = ask(door, head, "");
        assert_eq!(status, expected, "{head}: {answer}");
    }
    let long = "x".repeat(16 * 1024 + 1);
    assert_eq!(ask(door, "POST /log_in HTTP/1.1", &long).0, 413);
    let (_, missing) = ask(door, "POST /log_in HTTP/1.1", &long[1..]);
    assert!(missing.ends_with("{\"error\":\"Invalid Log In request\"}"), "{missing}");

    // A broken packet ends its own session; the next one gets on.
    let sid_of = |opened: &str| {
        opened.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned)
    };
    let (_, opened) = ask(door, OPEN, "");
    let sid = sid_of(&opened).expect("a session");
    let path = format!("/socket.io/?transport=polling&EIO=4&sid={sid} HTTP/1.1");
    assert_eq!(ask(door, &format!("POST {path}"), "40{}").0, 200);
    // The connect packet may come with a later poll: once in four runs of a busy machine the first had none.
    until("connected", || ask(door, &format!("GET {path}"), "").1.contains("40{\"sid\":"));
    ask(door, &format!("POST {path}"), "42[\"__proto__\",{}]");
    until("disconnected", || ask(door, &format!("GET {path}"), "").1.contains("41"));
    // Two polls at once: the session ends, whichever of them the server takes for the wrong one.
    let (_, opened) = ask(door, OPEN, "");
    let twice = sid_of(&opened).expect("a session");
    let twice = format!("/socket.io/?transport=polling&EIO=4&sid={twice} HTTP/1.1");
    assert_eq!(ask(door, &format!("POST {twice}"), "40{}").0, 200);
    ask(door, &format!("GET {twice}"), "");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(door, &format!("GET {twice}"), ""));
        until("ended", || ask(door, &format!("GET {twice}"), "").0 == 400);
        first.join().expect("answered");
    });

    let too_long = "4".repeat(128 * 1024 + 1);
    assert_eq!(ask(door, &format!("POST {path}"), &too_long).0, 413);
    assert_eq!(ask(door, OPEN, "").0, 200);
    drop(server);
}
